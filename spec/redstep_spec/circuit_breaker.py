"""
Circuit breaker: stop calling what fails, and learn cheaply that it has healed.

              F failures in a row
    CLOSED ─────────────────────────▶ OPEN ◀─────────────┐
      ▲                                │                 │
      │                                │ an acquire,     │ one failure
      │ S successes                    │ at open_until   │
      │                                ▼                 │
      └──────────────────────────── HALF_OPEN ───────────┘
                                       ↻ an acquire, at the deadline of probes that fell silent

A caller acquires a permit before it calls, and reports the outcome under it. CLOSED admits every call, OPEN none, and
HALF_OPEN only a few probes: as many as it needs successes. Three laws carry the rest:

- every arrow, and every intervention by hand, begins a new epoch; a result of an older epoch speaks of a world that is
  gone, and changes nothing;
- how long it stays open is drawn by the caller, around T, and is settled at the moment of opening: while it is open
  nothing makes that later;
- nothing is stuck: from every state successes alone lead to CLOSED, and no state refuses for ever.

Time is an argument, in integer milliseconds; so is chance. Nothing happens by itself: an open breaker whose time is up, and
a half-open one whose probes fell silent, stay what they are until the next acquire.

The states are those of Nygard's *Release It!*; the epoch is gobreaker's generation, extended to every state and kept for ever.
"""

from enum import Enum
from typing import Annotated, Literal

from attrs import evolve, field, frozen

from redstep_spec.arguments import Misuse, is_integer, is_name

Kind = Literal["closed", "open", "half_open"]

# ---------------------------------------------------------------------------------------------- policy


@frozen(kw_only=True)
class Policy:
    """When to open, when to close, and how long to wait in between."""

    failure_threshold: int = 5
    """F: so many failures in a row open it."""
    success_threshold: int = 3
    """S: so many successes close it again; until then at most so many probes are in flight."""
    open_ms: int = 30_000
    """T: how long it stays open, but for the jitter; and how long a probe may stay silent."""

    @property
    def open_least_ms(self) -> int:
        """CB-3: ceil(0.8 T)."""
        return self.open_ms - self.open_ms // 5

    @property
    def open_most_ms(self) -> int:
        """CB-3: floor(1.2 T)."""
        return self.open_ms + self.open_ms // 5


# ---------------------------------------------------------------------------------------------- state


@frozen
class Closed:
    """All calls are admitted."""

    epoch: Annotated[int, "CB-1"] = 0
    failures: Annotated[int, "CB-2"] = 0
    """In a row, up to now."""


@frozen
class Open:
    """No call is admitted."""

    epoch: Annotated[int, "CB-1"]
    open_until_ms: Annotated[int, "CB-3"]
    """The first instant at which an acquire is admitted again."""


@frozen
class HalfOpen:
    """A few calls are admitted, and their outcome decides."""

    epoch: Annotated[int, "CB-1"]
    successes: Annotated[int, "CB-6"] = 0
    probes: Annotated[frozenset[int], "CB-5"] = frozenset()
    """The numbers of the permits in flight: given, and not reported yet."""
    next_number: Annotated[int, "CB-5"] = 1
    """The number of the next permit."""
    deadline_ms: Annotated[int, "CB-8"] = 0
    """When the probes in flight are given up: T after the last was admitted. It means nothing when there are none."""

    def is_silent(self, now_ms: int) -> bool:
        """CB-8: with no probes in flight, time changes nothing."""
        return bool(self.probes) and now_ms >= self.deadline_ms

    def has_room(self, success_threshold: int) -> bool:
        """CB-5. Where nothing is in flight there is always room, should S have been lowered to what succeeded already."""
        return not self.probes or self.successes + len(self.probes) < success_threshold


State = Closed | Open | HalfOpen

INITIAL: State = Closed()


def kind(state: State) -> Kind:
    """The name of a state."""
    match state:
        case Closed():
            return "closed"
        case Open():
            return "open"
        case HalfOpen():
            return "half_open"


def essence(state: State) -> State:
    """What of a state can ever be told from outside: a deadline only while there are probes in flight."""
    return evolve(state, deadline_ms=0) if isinstance(state, HalfOpen) and not state.probes else state


# ---------------------------------------------------------------------------------------------- calls


@frozen
class Permit:
    """The right to make one call, and to report what came of it once."""

    epoch: Annotated[int, "CB-7"]
    number: Annotated[int, "CB-7"] = 0
    """Of a probe, from 1 on; 0 in CLOSED, where permits are not numbered."""


class Outcome(Enum):
    """What came of a call."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """Neither for nor against: a cancellation, an excluded exception, a pool that ran out (CB-10)."""


@frozen(kw_only=True)
class Acquire:
    """May this call of the caller's proceed?"""

    name: str
    policy: Policy
    now_ms: int


@frozen(kw_only=True)
class Report:
    """What came of a call that could proceed."""

    name: str
    policy: Policy
    now_ms: int
    permit: Permit
    outcome: Outcome
    open_ms: int = 0
    """Drawn by the caller for every failure; it takes effect if that is the one that opens. Else it is not looked at."""


@frozen(kw_only=True)
class View:
    """What is the breaker's state?"""

    name: str
    policy: Policy
    now_ms: int


@frozen(kw_only=True)
class ForceOpen:
    """Open it by hand."""

    name: str
    policy: Policy
    now_ms: int
    open_ms: int
    """Drawn by the caller; it takes effect unless the breaker is open already."""


@frozen(kw_only=True)
class ForceClose:
    """Close it by hand, for what it guards is known to be well."""

    name: str
    policy: Policy
    now_ms: int


@frozen(kw_only=True)
class Reset:
    """Begin anew. It differs from closing by hand in the reason that is announced, and its epoch is not forgotten either."""

    name: str
    policy: Policy
    now_ms: int


Call = Acquire | Report | View | ForceOpen | ForceClose | Reset

# ---------------------------------------------------------------------------------------------- replies


@frozen
class Change:
    """A new epoch that began with this very call, which is the one to announce it."""

    old: Kind
    new: Kind
    epoch: int


@frozen(kw_only=True)
class Admitted:
    """The call may proceed, under this permit."""

    admitted: Annotated[bool, "CB-5"] = field(default=True, init=False)
    epoch: Annotated[int, "CB-1"]
    number: Annotated[int, "CB-5"]
    transition: Annotated[Change | None, "CB-9"]
    now_ms: Annotated[int, "CM-2"]
    """The time that was used."""
    because: tuple[str, ...] = field(eq=False)
    """The rules that decided, the most specific first."""

    @property
    def permit(self) -> Permit:
        """What the outcome is to be reported under."""
        return Permit(self.epoch, self.number)


@frozen(kw_only=True)
class Refused:
    """The call may not proceed. A refusal changes nothing, unless a deadline was too far off (CB-13)."""

    admitted: Annotated[bool, "CB-4"] = field(default=False, init=False)
    why: Annotated[Literal["open", "full"], "CB-5"]
    """Is it open, or half-open with as many probes in flight as may be?"""
    retry_after_ms: Annotated[int, "CB-3"]
    """The wait until an acquire is admitted, if nothing else happened: when open exact, when full an upper bound. Never 0."""
    epoch: Annotated[int, "CB-1"]
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class Counted:
    """The answer to a report."""

    counted: Annotated[bool, "CB-7"]
    """False if the report was stale, and changed nothing."""
    state: Annotated[Kind, "CB-1"]
    """After this call."""
    epoch: Annotated[int, "CB-1"]
    transition: Annotated[Change | None, "CB-9"]
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class Seen:
    """The answer to a view."""

    state: Annotated[Kind, "CB-4"]
    epoch: Annotated[int, "CB-1"]
    failures: Annotated[int, "CB-2"]
    """In a row; 0 unless closed."""
    successes: Annotated[int, "CB-6"]
    """Of this epoch; 0 unless half-open."""
    in_flight: Annotated[int, "CB-5"]
    """How many probes are; 0 unless half-open."""
    retry_after_ms: Annotated[int, "CB-4"]
    """What an acquire at the same instant would be told; 0 if it would be admitted."""
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class Forced:
    """The answer to an intervention."""

    state: Annotated[Kind, "CB-15"]
    epoch: Annotated[int, "CB-15"]
    transition: Annotated[Change | None, "CB-15"]
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


Reply = Admitted | Refused | Counted | Seen | Forced | Misuse


def change(before: State, after: State) -> Change | None:
    """CB-9: what is to be announced, by the call that made it and nobody else."""
    return None if after.epoch == before.epoch else Change(kind(before), kind(after), after.epoch)


# ---------------------------------------------------------------------------------------------- acquire


def acquire(state: State, call: Acquire) -> tuple[State, Admitted | Refused]:
    """CB-4, CB-5, CB-8: a closed breaker admits; an open one whose time is up and a half-open one with room admit a probe."""
    seen, now_ms = clamped(state, call), call.now_ms
    moved = ("CB-13",) if seen != state else ()
    match seen:
        case Closed(epoch):
            return state, Admitted(epoch=epoch, number=0, transition=None, now_ms=now_ms, because=("CB-1",))
        case Open(epoch, open_until_ms) if now_ms >= open_until_ms:
            return admit(state, HalfOpen(epoch + 1), call, ("CB-4", "CB-5"))
        case Open(epoch, open_until_ms):
            return seen, Refused(
                why="open",
                retry_after_ms=open_until_ms - now_ms,
                epoch=epoch,
                now_ms=now_ms,
                because=(*moved, "CB-4", "CB-3"),
            )
        case HalfOpen(epoch) if seen.is_silent(now_ms):
            return admit(state, HalfOpen(epoch + 1), call, ("CB-8", "CB-5"))
        case HalfOpen() if seen.has_room(call.policy.success_threshold):
            idle = not seen.probes and now_ms >= seen.deadline_ms
            return admit(state, seen, call, ("CB-8", "CB-5") if idle else ("CB-5", "CB-8"))
        case HalfOpen(epoch, deadline_ms=deadline_ms):
            return seen, Refused(
                why="full",
                retry_after_ms=deadline_ms - now_ms,
                epoch=epoch,
                now_ms=now_ms,
                because=(*moved, "CB-5", "CB-8"),
            )


def clamped(state: State, call: Acquire) -> State:
    """CB-13: no deadline is farther off than the longest that could be drawn now; the clock must have stepped back."""
    latest_ms = call.now_ms + call.policy.open_most_ms
    match state:
        case Open(open_until_ms=open_until_ms) if open_until_ms > latest_ms:
            return evolve(state, open_until_ms=latest_ms)
        case HalfOpen(probes=probes, deadline_ms=deadline_ms) if probes and deadline_ms > latest_ms:
            return evolve(state, deadline_ms=latest_ms)
    return state


def admit(before: State, probing: HalfOpen, call: Acquire, because: tuple[str, ...]) -> tuple[State, Admitted]:
    """CB-5, CB-8: one more probe, with a number of its own; all that are in flight have until T from now."""
    number = probing.next_number
    after = evolve(
        probing,
        probes=probing.probes | {number},
        next_number=number + 1,
        deadline_ms=call.now_ms + call.policy.open_ms,
    )
    return after, Admitted(
        epoch=after.epoch, number=number, transition=change(before, after), now_ms=call.now_ms, because=because
    )


# ---------------------------------------------------------------------------------------------- report


def report(state: State, call: Report) -> tuple[State, Counted]:
    """CB-7: an outcome counts once, in the epoch of its permit; one that is stale changes nothing at all."""
    fresh = counted(state, call)
    after, because = fresh or (state, ("CB-7",))
    return after, Counted(
        counted=fresh is not None,
        state=kind(after),
        epoch=after.epoch,
        transition=change(state, after),
        now_ms=call.now_ms,
        because=because,
    )


def counted(state: State, call: Report) -> tuple[State, tuple[str, ...]] | None:
    """What an outcome makes of a state, and by which rules; None if it is stale."""
    match state:
        case Closed(epoch) if call.permit == Permit(epoch):
            return counted_while_closed(state, call)
        case HalfOpen(epoch, probes=probes) if call.permit.epoch == epoch and call.permit.number in probes:
            return counted_of_a_probe(state, call)
    return None


def counted_while_closed(state: Closed, call: Report) -> tuple[State, tuple[str, ...]]:
    """CB-2: the F-th failure in a row opens it, and a success begins the row anew."""
    match call.outcome:
        case Outcome.SUCCESS:
            return evolve(state, failures=0), ("CB-2",)
        case Outcome.FAILURE if state.failures + 1 >= call.policy.failure_threshold:
            return Open(state.epoch + 1, call.now_ms + call.open_ms), ("CB-2", "CB-3")
        case Outcome.FAILURE:
            return evolve(state, failures=state.failures + 1), ("CB-2",)
        case Outcome.NEUTRAL:
            return state, ("CB-10",)


def counted_of_a_probe(state: HalfOpen, call: Report) -> tuple[State, tuple[str, ...]]:
    """CB-6: the S-th success closes it, and one failure opens it again; in any case the permit is freed (CB-10)."""
    freed = evolve(state, probes=state.probes - {call.permit.number})
    match call.outcome:
        case Outcome.SUCCESS if state.successes + 1 >= call.policy.success_threshold:
            return Closed(state.epoch + 1), ("CB-6",)
        case Outcome.SUCCESS:
            return evolve(freed, successes=state.successes + 1), ("CB-6", "CB-5")
        case Outcome.FAILURE:
            return Open(state.epoch + 1, call.now_ms + call.open_ms), ("CB-6", "CB-3")
        case Outcome.NEUTRAL:
            return freed, ("CB-10", "CB-5")


# ---------------------------------------------------------------------------------------------- the other operations


def view(state: State, call: View) -> tuple[State, Seen]:
    """CB-4: reads, and moves nothing; an open breaker stays open until an acquire, however late it is."""
    _, answer = acquire(state, Acquire(name=call.name, policy=call.policy, now_ms=call.now_ms))
    return state, Seen(
        state=kind(state),
        epoch=state.epoch,
        failures=state.failures if isinstance(state, Closed) else 0,
        successes=state.successes if isinstance(state, HalfOpen) else 0,
        in_flight=len(state.probes) if isinstance(state, HalfOpen) else 0,
        retry_after_ms=answer.retry_after_ms if isinstance(answer, Refused) else 0,
        now_ms=call.now_ms,
        because=("CB-4",),
    )


def intervene(state: State, call: ForceOpen | ForceClose | Reset) -> tuple[State, Forced]:
    """CB-15: a new epoch, whatever the state; one that is open already is not open for longer (CB-9)."""
    epoch = state.epoch + 1
    after: State = Closed(epoch)
    if isinstance(call, ForceOpen):
        after = Open(epoch, state.open_until_ms if isinstance(state, Open) else call.now_ms + call.open_ms)
    return after, Forced(
        state=kind(after), epoch=epoch, transition=change(state, after), now_ms=call.now_ms, because=("CB-15", "CB-9")
    )


def misuse(call: Call) -> Misuse | None:
    """CM-9: what is wrong with a call that no state could ever answer."""
    if not is_name(call.name):
        return Misuse("name", ("CM-7", "CM-9"))
    for argument in ("failure_threshold", "success_threshold", "open_ms"):
        if not is_integer(getattr(call.policy, argument), 1):
            return Misuse(argument, ("CM-9",))
    drawn = (call.open_ms,) if isinstance(call, ForceOpen) else ()
    if isinstance(call, Report):
        if not (is_integer(call.permit.epoch, 0) and is_integer(call.permit.number, 0)):
            return Misuse("permit", ("CM-9", "CB-7"))
        if not isinstance(call.outcome, Outcome):
            return Misuse("outcome", ("CM-9",))
        drawn = (call.open_ms,) if call.outcome is Outcome.FAILURE else ()
    if not all(is_integer(ms, call.policy.open_least_ms, call.policy.open_most_ms) for ms in drawn):
        return Misuse("open_ms", ("CB-3", "CM-9"))
    return None


def is_idempotent(call: Call) -> bool:
    """CM-4: only a view may be sent again after an ambiguous error; all else would count, admit or intervene twice."""
    return isinstance(call, View)


def step(state: State, call: Call) -> tuple[State, Reply]:
    """One operation on the breaker of one name."""
    if wrong := misuse(call):
        return state, wrong
    match call:
        case Acquire():
            return acquire(state, call)
        case Report():
            return report(state, call)
        case View():
            return view(state, call)
        case ForceOpen() | ForceClose() | Reset():
            return intervene(state, call)
