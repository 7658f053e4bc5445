"""
The local breaker's transitions: pure functions of its state, the time and the policy.

Nothing is stored for a call in CLOSED. In HALF_OPEN the numbers of the probes under way are kept, so that each counts once. A
deadline farther off than the longest timeout is one that a clock left behind when it stepped back: an acquire brings it near.
"""

from attrs import evolve, frozen

from redstep.circuit_breaker import (
    INTERVENTIONS,
    Admission,
    Intervention,
    Outcome,
    Permit,
    Policy,
    Reason,
    Report,
    State,
    View,
)


@frozen
class Closed:
    """Calls are made, and failures in a row counted."""

    epoch: int = 0
    failures: int = 0
    kind = State.CLOSED


@frozen
class Open:
    """Calls are refused."""

    epoch: int
    open_until_ms: int
    kind = State.OPEN


@frozen
class HalfOpen:
    """A few calls are let through."""

    epoch: int
    deadline_ms: int
    """When probes under way are given up; it matters only while there are any."""
    next_number: int = 1
    probes: frozenset[int] = frozenset()
    """The numbers of those under way."""
    successes: int = 0
    kind = State.HALF_OPEN


BreakerState = Closed | Open | HalfOpen


def acquire(policy: Policy, state: BreakerState, now_ms: int) -> tuple[BreakerState, Admission]:
    """Admit a call, or refuse it."""
    if isinstance(state, Closed):
        return state, _admitted(state, 0, None, now_ms)
    state = _clamped(policy, state, now_ms)
    match state:
        case Open(epoch, open_until_ms) if now_ms < open_until_ms:
            return state, _refused(state, open_until_ms - now_ms, now_ms)
        case Open(epoch):
            return _probing(policy, HalfOpen(epoch + 1, 0), State.OPEN, now_ms)
        case HalfOpen(epoch, deadline_ms, probes=probes) if probes and now_ms >= deadline_ms:
            return _probing(policy, HalfOpen(epoch + 1, 0), State.HALF_OPEN, now_ms)
        case HalfOpen(deadline_ms=deadline_ms) if _is_full(policy, state):
            return state, _refused(state, deadline_ms - now_ms, now_ms)
        case _:
            return _probing(policy, state, None, now_ms)


def _clamped(policy: Policy, state: Open | HalfOpen, now_ms: int) -> Open | HalfOpen:
    latest_ms = now_ms + policy.open_ms_most
    if isinstance(state, Open):
        return evolve(state, open_until_ms=latest_ms) if state.open_until_ms > latest_ms else state
    if state.probes and state.deadline_ms > latest_ms:
        return evolve(state, deadline_ms=latest_ms)
    return state


def _is_full(policy: Policy, state: HalfOpen) -> bool:
    """None under way is never full, even if the policy wants fewer successes than it did."""
    return bool(state.probes) and state.successes + len(state.probes) >= policy.success_threshold


def _probing(policy: Policy, state: HalfOpen, left: State | None, now_ms: int) -> tuple[BreakerState, Admission]:
    number = state.next_number
    after = evolve(state, deadline_ms=now_ms + policy.open_ms, next_number=number + 1, probes=state.probes | {number})
    return after, _admitted(after, number, left, now_ms)


def _admitted(state: BreakerState, number: int, left: State | None, now_ms: int) -> Admission:
    permit = Permit(state.epoch, number)
    return Admission(state=state.kind, epoch=state.epoch, left=left, now_ms=now_ms, permit=permit, retry_after_ms=0)


def _refused(state: BreakerState, wait_ms: int, now_ms: int) -> Admission:
    return Admission(state=state.kind, epoch=state.epoch, left=None, now_ms=now_ms, permit=None, retry_after_ms=wait_ms)


def report(
    policy: Policy, state: BreakerState, permit: Permit, outcome: Outcome, open_ms: int, now_ms: int
) -> tuple[BreakerState, Report]:
    """Count the outcome of a call; `open_ms` is how long the breaker stays open if it opens now."""
    if not _is_current(state, permit):
        return state, Report(state=state.kind, epoch=state.epoch, left=None, now_ms=now_ms, counted=False)
    after = _counted(policy, state, permit.number, outcome, now_ms + open_ms)
    left = state.kind if after.epoch != state.epoch else None
    return after, Report(state=after.kind, epoch=after.epoch, left=left, now_ms=now_ms, counted=True)


def _is_current(state: BreakerState, permit: Permit) -> bool:
    if permit.epoch != state.epoch or isinstance(state, Open):
        return False
    return permit.number == 0 if isinstance(state, Closed) else permit.number in state.probes


def _counted(policy: Policy, state: BreakerState, number: int, outcome: Outcome, open_until_ms: int) -> BreakerState:
    opened = Open(state.epoch + 1, open_until_ms)
    match state, outcome:
        case Closed(epoch, failures), Outcome.FAILURE:
            return opened if failures + 1 >= policy.failure_threshold else Closed(epoch, failures + 1)
        case Closed(epoch, failures), Outcome.SUCCESS:
            return Closed(epoch) if failures else state
        case HalfOpen(), Outcome.FAILURE:
            return opened
        case HalfOpen(epoch, successes=successes), Outcome.SUCCESS if successes + 1 >= policy.success_threshold:
            return Closed(epoch + 1)
        case HalfOpen(probes=probes, successes=successes), _:
            succeeded = successes + (outcome is Outcome.SUCCESS)
            return evolve(state, probes=probes - {number}, successes=succeeded)
        case _:
            return state


def intervene(state: BreakerState, reason: Reason, open_ms: int, now_ms: int) -> tuple[BreakerState, Intervention]:
    """Open or close the breaker by hand, in a new epoch. One that is open already stays so no longer than it would have."""
    after: BreakerState = Closed(state.epoch + 1)
    if INTERVENTIONS[reason] is State.OPEN:
        until_ms = state.open_until_ms if isinstance(state, Open) else now_ms + open_ms
        after = Open(state.epoch + 1, until_ms)
    return after, Intervention(state=after.kind, epoch=after.epoch, left=state.kind, now_ms=now_ms, reason=reason)


def view(policy: Policy, state: BreakerState, now_ms: int) -> View:
    """Look at the breaker."""
    _, would = acquire(policy, state, now_ms)
    half_open = state if isinstance(state, HalfOpen) else HalfOpen(state.epoch, 0)
    return View(
        state=state.kind,
        epoch=state.epoch,
        failures=state.failures if isinstance(state, Closed) else 0,
        successes=half_open.successes,
        probes=len(half_open.probes),
        retry_after_ms=would.retry_after_ms,
        now_ms=now_ms,
    )
