"""
A small world of the circuit breaker: F = 2, S = 2, T = 5, and callers of every kind.

A breaker knows no first epoch, no first number and no beginning of time. So a state stands here for all that differ from it
only by these: its epoch is always 1, it is always looked at at the same instant, and probes are numbered anew. Every result
that a caller could bring is offered: under the permits in flight, of an older epoch, of a number that is not in flight. Time
jumps around the deadlines, and may step back by T.
"""

from collections.abc import Iterator

from attrs import evolve

from redstep_spec import circuit_breaker as spec
from redstep_spec.circuit_breaker import Closed, HalfOpen, Open, Outcome, Permit

POLICY = spec.Policy(failure_threshold=2, success_threshold=2, open_ms=5)
NOW_MS = 100
EPOCH = 1
INITIAL: spec.State = Closed(EPOCH)


def normal(state: spec.State, now_ms: int) -> spec.State:
    """The state of this world that stands for another, seen at `now_ms`; what has long passed has just passed."""
    latest_past_ms = NOW_MS - POLICY.open_ms
    match spec.essence(state):
        case Open(open_until_ms=until_ms):
            return Open(EPOCH, max(latest_past_ms, until_ms - now_ms + NOW_MS))
        case HalfOpen(successes=successes, probes=probes, deadline_ms=deadline_ms):
            numbers = frozenset(range(1, len(probes) + 1))
            deadline_ms = max(latest_past_ms, deadline_ms - now_ms + NOW_MS) if probes else 0
            return HalfOpen(EPOCH, successes, numbers, len(numbers) + 1, deadline_ms)
        case closed:
            return evolve(closed, epoch=EPOCH)


def step(state: spec.State, call: spec.Call) -> tuple[spec.State, spec.Reply]:
    """One step of the specification."""
    after, reply = spec.step(state, call)
    return normal(after, call.now_ms), reply


def calls(state: spec.State) -> Iterator[spec.Call]:
    """All that may be called in a state, now or when something is about to happen."""
    for now_ms in times_ms(state):
        yield spec.Acquire(name="a", policy=POLICY, now_ms=now_ms)
        yield spec.View(name="a", policy=POLICY, now_ms=now_ms)
        yield spec.ForceClose(name="a", policy=POLICY, now_ms=now_ms)
        yield spec.Reset(name="a", policy=POLICY, now_ms=now_ms)
        for open_ms in range(POLICY.open_least_ms, POLICY.open_most_ms + 1):
            yield spec.ForceOpen(name="a", policy=POLICY, now_ms=now_ms, open_ms=open_ms)
        for permit in permits(state):
            yield from reports(permit, now_ms)


def times_ms(state: spec.State) -> list[int]:
    """Now, just before the deadline, at it, and long after; and if it is not too far off, once the clock stepped back."""
    match spec.essence(state):
        case Open(open_until_ms=deadline_ms) | HalfOpen(deadline_ms=deadline_ms) if deadline_ms:
            late_ms = deadline_ms + POLICY.open_ms
            ahead_ms = [at_ms for at_ms in (deadline_ms - 1, deadline_ms, late_ms) if at_ms > NOW_MS]
            is_back = deadline_ms > NOW_MS + POLICY.open_most_ms
            return [NOW_MS, *ahead_ms] if is_back else [NOW_MS - POLICY.open_ms, NOW_MS, *ahead_ms]
    return [NOW_MS]


def permits(state: spec.State) -> list[Permit]:
    """Whatever somebody may hold: an older permit, one that was reported already, and those in flight."""
    in_flight = state.probes if isinstance(state, HalfOpen) else ()
    return [Permit(EPOCH - 1), Permit(EPOCH - 1, 1), Permit(EPOCH), *(Permit(EPOCH, number) for number in {*in_flight, 9})]


def reports(permit: Permit, now_ms: int) -> Iterator[spec.Report]:
    """Every outcome, and for a failure every time that could be drawn."""
    for outcome in (Outcome.SUCCESS, Outcome.NEUTRAL):
        yield spec.Report(name="a", policy=POLICY, now_ms=now_ms, permit=permit, outcome=outcome)
    for open_ms in range(POLICY.open_least_ms, POLICY.open_most_ms + 1):
        failure = Outcome.FAILURE
        yield spec.Report(name="a", policy=POLICY, now_ms=now_ms, permit=permit, outcome=failure, open_ms=open_ms)


def kind(state: spec.State) -> str:
    """The name of a state, as it stands in the rules."""
    return spec.kind(state).upper()


def label(call: spec.Call, reply: spec.Reply) -> str:
    """The name of a step that begins an epoch; empty for any other."""
    match call, reply:
        case _, spec.Admitted(transition=spec.Change(old="open")):
            return "an acquire from open_until on"
        case _, spec.Admitted(transition=spec.Change()):
            return "an acquire from the probe deadline on"
        case _, spec.Counted(transition=spec.Change(old="closed")):
            return "the F-th failure in a row"
        case _, spec.Counted(transition=spec.Change(new="open")):
            return "a failure"
        case _, spec.Counted(transition=spec.Change()):
            return "the S-th success"
        case spec.ForceOpen(), _:
            return "force_open"
        case spec.ForceClose(), _:
            return "force_close"
        case spec.Reset(), _:
            return "reset"
    return ""
