"""
The local breaker: one for the threads or the tasks of a process. A lock is held around each transition, and nothing else.

It guards what a shared one could not: the store itself. Its time is this process's monotonic clock.
"""

from attrs import define, field

from redstep import circuit_breaker_transitions as transitions
from redstep.circuit_breaker import INTERVENTIONS, Admission, Intervention, Outcome, Permit, Reason, Report, State, View
from redstep.circuit_breaker_protocols import Breaker
from redstep.wishes import Protocol, ReadClock


@define(kw_only=True, eq=False)
class LocalBreaker(Breaker):
    """A breaker of this process."""

    asks_a_store = False
    state: transitions.BreakerState = field(init=False, default=transitions.Closed())

    def acquire(self) -> Protocol[Admission]:
        """Ask whether a call may be made."""
        now_ms: int = yield ReadClock()
        with self.lock:
            self.state, answer = transitions.acquire(self.policy, self.state, now_ms)
            return self.noted(answer)

    def report(self, permit: Permit, outcome: Outcome) -> Protocol[Report]:
        """Tell what a call came to."""
        self.checked(permit, outcome)
        open_ms = (yield from self.draw_open_ms()) if outcome is Outcome.FAILURE else 0
        now_ms: int = yield ReadClock()
        with self.lock:
            self.state, answer = transitions.report(self.policy, self.state, permit, outcome, open_ms, now_ms)
            return self.noted(answer)

    def intervene(self, reason: Reason) -> Protocol[Intervention]:
        """Open or close the breaker by hand."""
        open_ms = (yield from self.draw_open_ms()) if INTERVENTIONS[reason] is State.OPEN else 0
        now_ms: int = yield ReadClock()
        with self.lock:
            self.state, answer = transitions.intervene(self.state, reason, open_ms, now_ms)
            return self.noted(answer)

    def view(self) -> Protocol[View]:
        """Look at the breaker, which changes nothing."""
        now_ms: int = yield ReadClock()
        return transitions.view(self.policy, self.state, now_ms)
