"""
Idempotency store: one piece of work is done once, however often it is asked for; later callers get its response.

              claim, fence 1                complete
    Absent ──────────────────▶ Claimed ─────────────────▶ Completed ↻ claim: the response again
      ▲                         │ ▲ ↻ claim after the lease: takeover, fence + 1
      │                 release │ │
      │                         ▼ │ claim, fence + 1
      │ dead                  Released
      └────────── each of them dies at an instant of its own; from then on the key is new

A caller claims a key with a fingerprint of its payload and a token of its own. It is told to do the work, or what the work
came to, or that another is at it. Four laws carry the rest:

- one owner: a second caller is given the work only after the lease of the first has ended, or the first gave it up;
- as long as a key is remembered, every owner has a greater fence than all before it, so that what is downstream can refuse
  the ones that are late;
- what is completed stays as it is for the retention: it is replayed byte for byte, and the work never runs again;
- the fingerprint is compared first: who asks with another payload is told so, and learns nothing else.

A lease that has ended takes nothing from its owner until another takes over: it may still complete, release or renew.
Each of the calls may be sent again: the same token means the same caller. Time is an argument, in integer milliseconds.

The outcomes are those of the IETF's draft of the Idempotency-Key header field; the fence is the fencing token of
distributed locks, without which a lease protects nothing that its owner does late.
"""

from hashlib import sha256
from typing import Annotated, Any

from attrs import evolve, field, frozen

from redstep_spec.arguments import Misuse, is_integer, is_name

FINGERPRINT_MAX_BYTES = 512
RESPONSE_MAX_BYTES = 262_144
"""The size up to which a response is kept, unless the caller says otherwise."""


@frozen
class Scope:
    """What a key is unique in; two scopes that differ in any part never see each other (ID-9)."""

    tenant: str
    operation: str
    key: str


# ---------------------------------------------------------------------------------------------- state


@frozen
class Absent:
    """Nothing is known of the key."""


@frozen(kw_only=True)
class Claimed:
    """Somebody is at it, or was."""

    fingerprint: Annotated[bytes, "ID-2"]
    token: Annotated[str, "ID-3"]
    """The owner's."""
    fence: Annotated[int, "ID-5"]
    lease_until_ms: Annotated[int, "ID-4"]
    """The first instant at which another may take over."""
    dies_at_ms: Annotated[int, "ID-4"]


@frozen(kw_only=True)
class Completed:
    """The work is done."""

    fingerprint: Annotated[bytes, "ID-2"]
    token: Annotated[str, "ID-6"]
    """The last owner's."""
    fence: Annotated[int, "ID-5"]
    payload: Annotated[bytes, "ID-10"]
    """The response; of one that was too large, its SHA-256."""
    replayable: Annotated[bool, "ID-10"]
    """Whether the payload is the response."""
    dies_at_ms: Annotated[int, "ID-8"]


@frozen(kw_only=True)
class Released:
    """A tombstone: the work was given up without effect, and the fence is remembered."""

    fingerprint: Annotated[bytes, "ID-2"]
    token: Annotated[str, "ID-6"]
    """The last owner's."""
    fence: Annotated[int, "ID-5"]
    dies_at_ms: Annotated[int, "ID-5"]


Record = Claimed | Completed | Released
State = Absent | Record
"""The state of one scope."""

INITIAL: State = Absent()


# ---------------------------------------------------------------------------------------------- calls


@frozen(kw_only=True)
class Claim:
    """Am I to do this work?"""

    scope: Scope
    fingerprint: bytes | str
    """Of the payload; a text stands for its UTF-8."""
    token: str
    """Who asks: the same for every attempt of one logical call, and for no other call."""
    lease_ms: int
    retention_ms: int
    """How much longer than its lease the claim is remembered if its owner dies."""
    now_ms: int


@frozen(kw_only=True)
class Complete:
    """It is done, and this is the response."""

    scope: Scope
    token: str
    response: bytes
    retention_ms: int
    """How long the response is remembered."""
    now_ms: int
    response_max_bytes: int = RESPONSE_MAX_BYTES


@frozen(kw_only=True)
class Release:
    """It had no effect, and somebody else may try."""

    scope: Scope
    token: str
    retention_ms: int
    """How long the fence is remembered."""
    now_ms: int


@frozen(kw_only=True)
class Renew:
    """I am still at it."""

    scope: Scope
    token: str
    lease_ms: int
    """Counted from now."""
    retention_ms: int
    now_ms: int


Call = Claim | Complete | Release | Renew


# ---------------------------------------------------------------------------------------------- replies


def says(word: str) -> Any:
    """What tells a kind of reply from the others."""
    return field(default=word, init=False)


@frozen(kw_only=True)
class Acquired:
    """Do the work."""

    verdict: Annotated[str, "ID-1"] = says("acquired")
    fence: Annotated[int, "ID-5"]
    """To be passed on to whatever the work writes to."""
    lease_until_ms: Annotated[int, "ID-4"]
    """From this instant on another may take over."""
    now_ms: Annotated[int, "CM-2"]
    """The time that was used."""
    because: tuple[str, ...] = field(eq=False)
    """The rules that decided, the most specific first."""


@frozen(kw_only=True)
class Replay:
    """It was done already."""

    verdict: Annotated[str, "ID-1"] = says("replay")
    response: Annotated[bytes | None, "ID-10"]
    """What it came to; None if that was too large to be kept."""
    replayable: Annotated[bool, "ID-10"]
    """Whether the response was kept."""
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class InProgress:
    """Another is at it."""

    verdict: Annotated[str, "ID-1"] = says("in_progress")
    retry_after_ms: Annotated[int, "ID-4"]
    """The least wait after which this very claim would take over, if nothing else happened."""
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class Mismatch:
    """The key was used with another payload."""

    verdict: Annotated[str, "ID-2"] = says("mismatch")
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False, default=("ID-2",))


@frozen(kw_only=True)
class Done:
    """Completed, or released; now or before."""

    verdict: Annotated[str, "ID-6"] = says("done")
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class Renewed:
    """The lease goes on."""

    verdict: Annotated[str, "ID-4"] = says("renewed")
    lease_until_ms: Annotated[int, "ID-4"]
    """From this instant on another may take over; never earlier than before."""
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class StaleOwner:
    """The key is not the caller's, or no longer; nothing was changed."""

    verdict: Annotated[str, "ID-6"] = says("stale_owner")
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class Conflict:
    """The caller itself completed it already, and otherwise; nothing was changed."""

    verdict: Annotated[str, "ID-6"] = says("conflict")
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False, default=("ID-6",))


Reply = Acquired | Replay | InProgress | Mismatch | Done | Renewed | StaleOwner | Conflict | Misuse


# ---------------------------------------------------------------------------------------------- the operations


def claim(state: State, call: Claim) -> tuple[State, Reply]:
    """ID-1: the work, its response, a wait or a refusal; ID-2: and before all else the fingerprint."""
    match known(state, call.now_ms):
        case Absent():
            return acquired(call, 1, (*of_death(state), "ID-1"))
        case record if record.fingerprint != encoded(call.fingerprint):
            return state, Mismatch(now_ms=call.now_ms)
        case Completed(payload=payload, replayable=replayable):
            rules = ("ID-1", "ID-10") if replayable else ("ID-10", "ID-1")
            response = payload if replayable else None
            return state, Replay(response=response, replayable=replayable, now_ms=call.now_ms, because=rules)
        case Released(fence=fence):
            return acquired(call, fence + 1, ("ID-5", "ID-1"))
        case Claimed(fence=fence, lease_until_ms=until_ms) if until_ms <= call.now_ms:
            return acquired(call, fence + 1, ("ID-4", "ID-5", "ID-1"))
        case Claimed(token=owner, fence=fence, lease_until_ms=until_ms) if owner == call.token:
            rules = ("ID-1", "CM-4")
            return state, Acquired(fence=fence, lease_until_ms=until_ms, now_ms=call.now_ms, because=rules)
        case Claimed(lease_until_ms=until_ms):
            wait_ms = until_ms - call.now_ms
            return state, InProgress(retry_after_ms=wait_ms, now_ms=call.now_ms, because=("ID-3", "ID-4", "ID-1"))


def acquired(call: Claim, fence: int, rules: tuple[str, ...]) -> tuple[Claimed, Acquired]:
    """ID-3, ID-4: from now on the key is this caller's; if it dies, all of it is forgotten in the end."""
    until_ms = call.now_ms + call.lease_ms
    claimed = Claimed(
        fingerprint=encoded(call.fingerprint),
        token=call.token,
        fence=fence,
        lease_until_ms=until_ms,
        dies_at_ms=until_ms + call.retention_ms,
    )
    return claimed, Acquired(fence=fence, lease_until_ms=until_ms, now_ms=call.now_ms, because=rules)


def complete(state: State, call: Complete) -> tuple[State, Reply]:
    """ID-6: the owner's response is kept; ID-8: from now on, for the retention."""
    payload, replayable = kept(call.response, call.response_max_bytes)
    match known(state, call.now_ms):
        case Claimed(fingerprint=fingerprint, token=call.token, fence=fence, lease_until_ms=until_ms):
            completed = Completed(
                fingerprint=fingerprint,
                token=call.token,
                fence=fence,
                payload=payload,
                replayable=replayable,
                dies_at_ms=call.now_ms + call.retention_ms,
            )
            return completed, Done(now_ms=call.now_ms, because=of_owner(until_ms, call.now_ms))
        case Completed(token=call.token, payload=same, replayable=flag) if (same, flag) == (payload, replayable):
            return state, Done(now_ms=call.now_ms, because=("ID-6", "CM-4"))
        case Completed(token=call.token):
            return state, Conflict(now_ms=call.now_ms)
    return state, stale_owner(state, call.now_ms)


def release(state: State, call: Release) -> tuple[State, Reply]:
    """ID-6, ID-7: the owner gives the key up; ID-5: the fence is not forgotten with it."""
    match known(state, call.now_ms):
        case Claimed(fingerprint=fingerprint, token=call.token, fence=fence, lease_until_ms=until_ms):
            dies_at_ms = call.now_ms + call.retention_ms
            released = Released(fingerprint=fingerprint, token=call.token, fence=fence, dies_at_ms=dies_at_ms)
            return released, Done(now_ms=call.now_ms, because=(*of_owner(until_ms, call.now_ms), "ID-7"))
        case Released(token=call.token):
            return state, Done(now_ms=call.now_ms, because=("ID-6", "CM-4"))
        case Completed(token=call.token):
            return state, Conflict(now_ms=call.now_ms)
    return state, stale_owner(state, call.now_ms)


def renew(state: State, call: Renew) -> tuple[State, Reply]:
    """ID-4: the owner's lease is made longer, never shorter."""
    match known(state, call.now_ms):
        case Claimed(token=call.token, lease_until_ms=until_ms) as claimed:
            longer_ms = max(until_ms, call.now_ms + call.lease_ms)
            renewed = evolve(claimed, lease_until_ms=longer_ms, dies_at_ms=longer_ms + call.retention_ms)
            return renewed, Renewed(lease_until_ms=longer_ms, now_ms=call.now_ms, because=("ID-4", "ID-6"))
        case Completed(token=call.token):
            return state, Conflict(now_ms=call.now_ms)
    return state, stale_owner(state, call.now_ms)


def stale_owner(state: State, now_ms: int) -> StaleOwner:
    """ID-6: the key is not the caller's; ID-8: or it is nobody's any more, and is not brought back."""
    has_died = known(state, now_ms) != state
    return StaleOwner(now_ms=now_ms, because=("ID-8", "ID-6") if has_died else ("ID-6",))


def encoded(fingerprint: bytes | str) -> bytes:
    """ID-2: what is compared."""
    return fingerprint.encode() if isinstance(fingerprint, str) else fingerprint


def kept(response: bytes, most: int) -> tuple[bytes, bool]:
    """ID-10: the response and True; of one that is too large its SHA-256, by which it is known again, and False."""
    return (response, True) if len(response) <= most else (sha256(response).digest(), False)


def of_owner(lease_until_ms: int, now_ms: int) -> tuple[str, ...]:
    """The rules by which the owner may act; after its lease it may by one more."""
    return ("ID-6",) if now_ms < lease_until_ms else ("ID-4", "ID-6")


def of_death(state: State) -> tuple[str, ...]:
    """The rules by which a key is new again."""
    match state:
        case Absent():
            return ()
        case Claimed():
            return ("ID-4", "ID-8")
        case Completed():
            return ("ID-8",)
        case Released():
            return ("ID-5", "ID-8")


# ---------------------------------------------------------------------------------------------- life and death


def known(state: State, now_ms: int) -> State:
    """ID-8: what a call sees of a state: nothing, from the instant of its death on."""
    return Absent() if life_ms(state, now_ms) == 0 else state


def life_ms(state: State, now_ms: int) -> int:
    """How long a record must be kept, counted from now."""
    return 0 if isinstance(state, Absent) else max(0, state.dies_at_ms - now_ms)


# ---------------------------------------------------------------------------------------------- any call


def misuse(call: Call) -> Misuse | None:
    """CM-7, CM-9: what is wrong with a call that no state could ever answer."""
    for argument in ("tenant", "operation", "key"):
        if not is_name(getattr(call.scope, argument)):
            return Misuse(argument, ("CM-7", "ID-9"))
    if isinstance(call, Claim) and not is_fingerprint(call.fingerprint):
        return Misuse("fingerprint", ("ID-2", "CM-9"))
    if not is_name(call.token):
        return Misuse("token", ("CM-7", "CM-9"))
    if isinstance(call, Complete) and type(call.response) is not bytes:
        return Misuse("response", ("ID-10", "CM-9"))
    if isinstance(call, Complete) and not is_integer(call.response_max_bytes, 0):
        return Misuse("response_max_bytes", ("ID-10", "CM-9"))
    if isinstance(call, Claim | Renew) and not is_integer(call.lease_ms, 1):
        return Misuse("lease_ms", ("ID-4", "CM-9"))
    if not is_integer(call.retention_ms, 1):
        return Misuse("retention_ms", ("ID-8", "CM-9"))
    return None


def is_fingerprint(value: object) -> bool:
    """Whether `value` may tell payloads apart: 1 to 512 bytes of any kind, or a text that is so many in UTF-8."""
    if isinstance(value, str):
        try:
            value = value.encode()
        except UnicodeEncodeError:
            return False
    return type(value) is bytes and 1 <= len(value) <= FINGERPRINT_MAX_BYTES


def is_idempotent(call: Call) -> bool:
    """CM-4: all of them may be sent again, for each carries its caller's token; a lease may be renewed twice."""
    return isinstance(call, Call)


def step(state: State, call: Call) -> tuple[State, Reply]:
    """One operation on one scope."""
    if wrong := misuse(call):
        return state, wrong
    match call:
        case Claim():
            return claim(state, call)
        case Complete():
            return complete(state, call)
        case Release():
            return release(state, call)
        case Renew():
            return renew(state, call)
