"""The specification of the circuit breaker as a target."""

from collections.abc import Sequence

import attrs

from redstep_check.binding import Answer, Answered, Misused, Stored, Target
from redstep_check.guards.circuit_breaker import Ask, Handed, Step, expected
from redstep_spec import circuit_breaker as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Replied


class ModelCircuitBreaker(Target[Ask]):
    """The specification, with handles around its permits; what it stores is its state."""

    features = frozenset({"neutral", "view", "interventions", "jitter", "handles", "forged", "misuse", "stored"})
    fates = frozenset(Fate)

    def __init__(self, step: Step = spec.step) -> None:
        self._step = step
        self._states: dict[str, spec.State] = {}
        self._given = 0
        self._spent: set[int] = set()

    def begin(self) -> None:
        """Forget everything."""
        self._states, self._spent, self._given = {}, set(), 0

    def call(self, call: Ask, fates: Sequence[Fate]) -> Answer:
        """Take a step."""
        if not isinstance(call, Handed):
            return self.take(call, fates)
        answer = self.take(call.report, fates, again=call.given in self._spent)
        if not isinstance(answer, Misused):
            self._spent.add(call.given)
        return answer

    def take(self, call: spec.Call, fates: Sequence[Fate], *, again: bool = False) -> Answer:
        """Take a step of the specification."""
        before = self._states.get(call.name, spec.INITIAL)
        self._states[call.name], outcome = expected(before, call, tuple(fates), again=again, step=self._step)
        if not isinstance(outcome, Replied):
            return outcome
        if isinstance(outcome.reply, Misuse):
            return Misused(outcome.reply.argument)
        return Answered(attrs.asdict(outcome.reply, recurse=False))

    def stored(self, *key: object) -> Stored:
        """The state of a name."""
        [name] = key
        state = self._states.get(str(name), spec.INITIAL)
        return Stored(state, 1, None, state)
