"""
The idempotency store's protocols: of many calls for the same work one is told to do it, and the others what came of it.

                  claim                        complete
         new ───────────────▶ claimed ─────────────────────▶ completed        each with the fingerprint of the payload,
          ▲                    ▲  │ ▲ renew, takeover           │             the token of the last owner, and the fence
          │              claim │  │ release                     │
          │                    │  ▼                             │
          └───────────────── released ◀─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─┘
                 retention              every record dies, and the key is new again

An owner is a token: whoever claims first. His lease bounds how long he may keep others waiting if he dies. After it anybody may
take over; until somebody does, he is still the owner. Each takeover raises the fence by one: pass it on to whatever the work
changes, and refuse there what carries a lower one, for no lease can stop an owner who is merely slow.

The record is one hash, in the field `claim` the state, token, death, lease, fence and fingerprint, in `response` what was
completed. The engine's clock is the only clock. The vocabulary (idempotency key, payload fingerprint, 409 while in progress, 422
for another payload) is that of the IETF's draft of the Idempotency-Key header field; the fence is Kleppmann's fencing token.
"""

import hashlib
from typing import cast

from attrs import field, frozen

from redstep import scripts
from redstep.arguments import checked_integer, checked_name
from redstep.errors import Misuse, RedstepError, Unavailable, UnexpectedReply
from redstep.protocols import send
from redstep.scripts import Script
from redstep.store_failure import FAIL_CLOSED, as_policy
from redstep.wishes import NOW, Argument, CallScript, DrawBytes, GoOn, Lane, Protocol

CLAIM = scripts.load("idempotency_claim")
COMPLETE = scripts.load("idempotency_complete")
RELEASE = scripts.load("idempotency_release")
RENEW = scripts.load("idempotency_renew")
SCRIPTS = (CLAIM, COMPLETE, RELEASE, RENEW)
"""What `load` puts into an engine ahead of time."""

COMMANDS = frozenset(
    {"evalsha", "eval", "script|load", "time", "hget", "hgetall", "hset", "hdel", "pexpire", "pexpireat"}
)
"""The commands that an ACL user needs, on keys that start with the prefix.

    ACL SETUSER service on >password ~redstep:* +evalsha +eval +script|load +time +hget +hgetall +hset +hdel ...

All of them, as for a rate limiter: an engine keeps what a script wrote before it was refused a command. `script|load` is for
`load` alone, `pexpire` for an explicit clock.
"""

FINGERPRINT_BYTES_MAX = 512
RESPONSE_BYTES_MAX = 262_144
"""The default of what is kept of a response."""
LIMIT_BYTES_MAX = 2**28
TOKEN_BYTES = 16


def fingerprint(*parts: str | bytes | int | None) -> str:
    """Tell a payload from every other: the SHA-256, in hex, of its parts, each with its type and length.

    So ("ab", "c") and ("a", "bc") differ, and so do 1, "1" and b"1". Raises Misuse for a part of another type.
    """
    digest = hashlib.sha256()
    for part in parts:
        if not isinstance(part, str | bytes | int | None):
            raise Misuse("parts", f"must be str, bytes, int or None, not {type(part).__name__}")
        text = part if isinstance(part, bytes) else _encoded("parts", str(part))
        digest.update(b"%s:%d:" % (type(part).__name__.encode(), len(text)) + text)
    return digest.hexdigest()


def _encoded(argument: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Misuse(argument, "holds a lone surrogate, which UTF-8 cannot encode") from None


def checked_fingerprint(value: object) -> bytes:
    """Take a fingerprint, of 1 to 512 bytes; a str is taken as its UTF-8. Raises Misuse."""
    if not isinstance(value, str | bytes):
        raise Misuse("fingerprint", f"must be a str or bytes, not {type(value).__name__}")
    text = value if isinstance(value, bytes) else _encoded("fingerprint", value)
    if not 1 <= len(text) <= FINGERPRINT_BYTES_MAX:
        raise Misuse("fingerprint", f"must have 1 to {FINGERPRINT_BYTES_MAX} bytes, has {len(text)}: see `fingerprint()`")
    return text


def checked_response(value: object) -> bytes:
    """Take a response. Raises Misuse."""
    if not isinstance(value, bytes):
        raise Misuse("response", f"must be bytes, not {type(value).__name__}")
    return value


@frozen(kw_only=True)
class Scope:
    """What a key belongs to: the same key of another tenant or operation is another one. Raises Misuse for what is no name."""

    operation: str = field()
    key: str = field()
    tenant: str = "default"

    def __attrs_post_init__(self) -> None:
        checked_name("tenant", self.tenant)
        checked_name("operation", self.operation)
        checked_name("key", self.key)

    def __str__(self) -> str:
        return f"{self.tenant}/{self.operation}/{self.key}"

    @property
    def tag(self) -> str:
        """All three, in one text that no other scope has: the lengths, in bytes, tell where the first two end."""
        tenant, operation = (f"{len(name.encode())}:{name}" for name in (self.tenant, self.operation))
        return f"{tenant}:{operation}:{self.key}"


def as_prefix(value: str) -> str:
    """Take what all keys start with: nothing, or anything that a name may be."""
    return value if value == "" else checked_name("prefix", value)


@frozen(kw_only=True)
class Policy:
    """How long a claim lasts, how long its outcome is remembered, how much of a response is kept. Raises Misuse."""

    lease_ms: int = 30_000
    """How long an owner that died blocks its key. Work that takes longer renews."""
    retention_ms: int = 86_400_000
    """How long a response is replayed, from completion; a claim that was abandoned is remembered as long after its lease."""
    response_max_bytes: int = RESPONSE_BYTES_MAX
    """A longer response is not kept: the work counts as done, and is not replayable."""
    prefix: str = field(default="redstep:", converter=as_prefix)
    on_store_failure: str = field(default=FAIL_CLOSED, converter=as_policy)
    """What `run` does when the store does not answer a claim: "closed" raises, "open" runs the work unprotected."""

    def __attrs_post_init__(self) -> None:
        checked_integer("lease_ms", self.lease_ms, 1)
        checked_integer("retention_ms", self.retention_ms, 1)
        checked_integer("response_max_bytes", self.response_max_bytes, 0, LIMIT_BYTES_MAX)

    def key(self, scope: Scope) -> str:
        """Where the record of a scope is. Raises Misuse."""
        if not isinstance(scope, Scope):
            raise Misuse("scope", f"must be a Scope, not a {type(scope).__name__}")
        return f"{self.prefix}idempotency:{{{scope.tag}}}"


@frozen
class Acquired:
    """The key is the caller's: he is to do the work, and then to complete it or to release the key."""

    token: str
    """What he is known by."""
    fence: int
    """How often the key was acquired, by now, since it was new."""
    lease_until_ms: int
    now_ms: int


@frozen
class Replay:
    """The work was done."""

    response: bytes
    """As it was stored, byte for byte; empty if it is not replayable."""
    replayable: bool
    """Whether the response was kept."""
    now_ms: int


@frozen
class Underway:
    """Somebody else owns the key."""

    retry_after_ms: int
    """What is left of the lease."""
    now_ms: int


@frozen
class Mismatch:
    """The key was claimed with another fingerprint."""

    now_ms: int


@frozen
class Done:
    """It is as the caller wished: by this call, or already."""

    now_ms: int


@frozen
class Renewed:
    """The lease is extended."""

    lease_until_ms: int
    now_ms: int


@frozen
class StaleOwner:
    """The key is not the caller's, or not any more; nothing was changed."""

    now_ms: int


@frozen
class Conflict:
    """The caller has completed the key already, otherwise than he now wishes; nothing was changed."""

    now_ms: int


Claim = Acquired | Replay | Underway | Mismatch
Settled = Done | StaleOwner | Conflict


def claim(policy: Policy, scope: Scope, fingerprint: str | bytes, token: str | None = None) -> Protocol[Claim]:
    """Ask to do the work of a scope, for a payload with this fingerprint.

    Without a token one is drawn, and a claim of which nobody will hear is released again. With a token of his own a caller can
    go on with a claim that he made before; then it is his business to release it.

    Raises Misuse, Unavailable, Corrupt, ServiceOverloaded.
    """
    key, payload = policy.key(scope), checked_fingerprint(fingerprint)
    if token is not None:
        return (yield from _claim(policy, key, checked_name("token", token), payload))
    return (yield from claim_as((yield from draw_token()), policy, scope, fingerprint))


def draw_token() -> Protocol[str]:
    """Draw what nobody else is known by."""
    drawn: bytes = yield DrawBytes(TOKEN_BYTES)
    return drawn.hex()


def claim_as(token: str, policy: Policy, scope: Scope, fingerprint: str | bytes) -> Protocol[Claim]:
    """Claim by a token that was drawn for this call.

    If it is cancelled, or its outcome stays unknown, the key is released: else it might be blocked for a lease by nobody.
    """
    try:
        answer = yield from _claim(policy, policy.key(scope), token, checked_fingerprint(fingerprint))
        yield GoOn()
    except BaseException as error:
        if not isinstance(error, Exception) or (isinstance(error, Unavailable) and not error.definite):
            with suppress(RedstepError):
                yield _releasing(policy, scope, token)
        raise
    return answer


def _claim(policy: Policy, key: str, token: str, payload: bytes) -> Protocol[Claim]:
    args = (NOW, token, _as_it_is(payload), policy.lease_ms, policy.retention_ms)
    request = CallScript(script=CLAIM, keys=(key,), args=args, idempotent=True, finishes=True)
    verdict, fence, lease_until_ms, retry_after_ms, response, now_ms = _read(
        (yield from send(request)), (bytes, int, int, int, bytes, int)
    )
    match verdict:
        case b"ACQUIRED":
            return Acquired(token, fence, lease_until_ms, now_ms)
        case b"REPLAY" | b"UNREPLAYABLE":
            return Replay(response, verdict == b"REPLAY", now_ms)
        case b"IN_PROGRESS":
            return Underway(retry_after_ms, now_ms)
        case b"MISMATCH":
            return Mismatch(now_ms)
        case _:
            raise UnexpectedReply(f"a claim was answered {verdict!r}")


def complete(policy: Policy, scope: Scope, token: str, response: bytes) -> Protocol[Settled]:
    """Store what the work came to, for the owner. Again with the same response it is Done, and nothing is changed.

    A response above the policy's limit is not kept, but for a digest. Raises as `claim`.
    """
    checked_name("token", token)
    if len(checked_response(response)) > policy.response_max_bytes:
        return (yield from _complete(policy, scope, token, hashlib.sha256(response).hexdigest().encode(), replayable=False))
    return (yield from _complete(policy, scope, token, response, replayable=True))


def complete_without_response(policy: Policy, scope: Scope, token: str) -> Protocol[Settled]:
    """Store that the work was done, and nothing to replay, for the owner. Raises as `claim`."""
    return (yield from _complete(policy, scope, checked_name("token", token), b"", replayable=False))


def _complete(policy: Policy, scope: Scope, token: str, response: bytes, *, replayable: bool) -> Protocol[Settled]:
    args = (token, _as_it_is(response), int(replayable), policy.retention_ms)
    return _settled((yield from send(_for_the_owner(COMPLETE, policy, scope, *args))))


def release(policy: Policy, scope: Scope, token: str) -> Protocol[Settled]:
    """Give the key up, for the owner whose work has had no effect: the next claim acquires it. Raises as `claim`."""
    return _settled((yield from send(_releasing(policy, scope, checked_name("token", token)))))


def _releasing(policy: Policy, scope: Scope, token: str) -> CallScript:
    return _for_the_owner(RELEASE, policy, scope, token, policy.retention_ms)


def renew(policy: Policy, scope: Scope, token: str) -> Protocol[Renewed | StaleOwner | Conflict]:
    """Have the lease last for another `lease_ms` from now, for the owner; it never becomes shorter. Raises as `claim`."""
    args = (checked_name("token", token), policy.lease_ms, policy.retention_ms)
    reply = yield from send(_for_the_owner(RENEW, policy, scope, *args))
    verdict, lease_until_ms, now_ms = _read(reply, (bytes, int, int))
    return Renewed(lease_until_ms, now_ms) if verdict == b"RENEWED" else _settled([verdict, now_ms], done=None)


def _for_the_owner(script: Script, policy: Policy, scope: Scope, *args: Argument) -> CallScript:
    lane = Lane.RESERVED
    return CallScript(script=script, keys=(policy.key(scope),), args=(NOW, *args), idempotent=True, finishes=True, lane=lane)


def _settled(reply: list[int | bytes]) -> Settled:
    verdict, now_ms = _read(reply, (bytes, int))
    if verdict not in VERDICTS:
        raise UnexpectedReply(f"a claim was settled by {verdict!r}")
    return VERDICTS[verdict](now_ms)


VERDICTS: Mapping[bytes, Callable[[int], Settled]] = MappingProxyType(
    {b"DONE": Done, b"STALE_OWNER": StaleOwner, b"CONFLICT": Conflict}
)


def _read(reply: list[int | bytes], kinds: tuple[type, ...]) -> list[Any]:
    if not isinstance(reply, list) or tuple(map(type, reply)) != kinds:
        raise UnexpectedReply(f"a script answered {reply!r} where {len(kinds)} values belong")
    return reply


def _as_it_is(value: bytes) -> Argument:
    return cast("Argument", value)  # drivers encode what is str, and nothing else
