"""
The local breaker: one for the threads or the tasks of a process. A lock is held while its state is replaced, and for no more.

It guards what a shared one could not: the store itself. Its time is this process's monotonic clock.
"""

from collections.abc import Callable
from secrets import token_hex
from typing import TypeVar

from attrs import define, field, setters

from redstep import circuit_breaker_transitions as transitions
from redstep.circuit_breaker import INTERVENTIONS, Admission, Intervention, Outcome, Permit, Reason, Report, State, View
from redstep.circuit_breaker_protocols import Breaker
from redstep.circuit_breaker_transitions import BreakerState
from redstep.wishes import Protocol, ReadClock

Answer = TypeVar("Answer", Admission, Report, Intervention)


@define(kw_only=True, eq=False, on_setattr=setters.NO_OP)
class LocalBreaker(Breaker):
    """A breaker of this process."""

    asks_a_store = False
    identity: str = field(init=False, factory=lambda: token_hex(8), repr=False)
    """Drawn: others may have the same name, in this process or elsewhere."""
    state: BreakerState = field(init=False, default=transitions.Closed())

    def acquire(self) -> Protocol[Admission]:
        """Ask whether a call may be made."""
        return (yield from self._step(lambda state, now_ms: transitions.acquire(self.policy, state, now_ms)))

    def report(self, permit: Permit, outcome: Outcome) -> Protocol[Report]:
        """Tell what a call came to."""
        self.checked(permit, outcome)
        open_ms = (yield from self.draw_open_ms()) if outcome is Outcome.FAILURE else 0
        return (
            yield from self._step(
                lambda state, now_ms: transitions.report(self.policy, state, permit, outcome, open_ms, now_ms)
            )
        )

    def intervene(self, reason: Reason) -> Protocol[Intervention]:
        """Open or close the breaker by hand."""
        open_ms = (yield from self.draw_open_ms()) if INTERVENTIONS[reason] is State.OPEN else 0
        return (yield from self._step(lambda state, now_ms: transitions.intervene(state, reason, open_ms, now_ms)))

    def view(self) -> Protocol[View]:
        """Look at the breaker, which changes nothing."""
        state = self.state
        now_ms: int = yield ReadClock()
        return transitions.view(self.policy, state, now_ms)

    def _step(self, step: Callable[[BreakerState, int], tuple[BreakerState, Answer]]) -> Protocol[Answer]:
        """Take a step from the state that was there before the clock was read; if others came first, begin again.

        So the time of a step is never older than its state. To a caller that read the clock and then came late, a fresh timeout
        would look like one that a clock left behind when it stepped back.
        """
        while True:
            state = self.state
            now_ms: int = yield ReadClock()
            after, answer = step(state, now_ms)
            with self.lock:
                if self.state is state:  # and nothing comes before it is replaced, no signal either: neither is a call
                    self.state = after
                    return self.noted(answer)
