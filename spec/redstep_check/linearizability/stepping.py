"""
Stepping: a model as the search sees it, small integers in and out.

States are numbered as they turn up; an operation's step from a state is taken once, and the search remembers its number. A
nondeterministic model is searched by the set of all states that it may be in, which makes it deterministic again.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from redstep_check.linearizability.histories import Operation
from redstep_check.linearizability.models import AnyModel, Model, ModelError, NondeterministicModel
from redstep_check.linearizability.verdicts import Placed
from redstep_spec.delivery import Replied

IMPOSSIBLE = -1
"""An operation cannot be placed in a state, or there is no use in it."""
OPEN = object()
"""In place of the reply that never came."""


class Stepper(ABC):
    """The steps of a model on some operations; the numbers of its states leave the lowest `shift` bits free."""

    def __init__(self, operations: Sequence[Operation], is_read: Sequence[bool], shift: int) -> None:
        self.is_read = is_read
        """Of each operation, whether it only reads."""
        self._operations = operations
        self._calls = [each.call for each in operations]
        self._replies = [each.outcome.reply if isinstance(each.outcome, Replied) else OPEN for each in operations]
        self._shift = shift
        self._numbers: dict[Hashable, int] = {}
        self._states: list[Any] = []

    @abstractmethod
    def initial(self) -> int:
        """The number of the first state."""

    @abstractmethod
    def step(self, index: int, number: int) -> int:
        """The number of the state after an operation, or IMPOSSIBLE. Raises ModelError."""

    @abstractmethod
    def placed(self, order: Sequence[tuple[int, int]]) -> tuple[Placed, ...]:
        """An order that the search found: operations, and the numbers of the states after them."""

    def _number(self, state: Any) -> int:
        try:
            number = self._numbers.get(state)
        except TypeError as error:
            raise _unhashable(state, error) from error
        if number is None:
            number = self._numbers[state] = len(self._states) << self._shift
            self._states.append(state)
        return number


class One(Stepper):
    """The steps of a deterministic model."""

    def __init__(
        self, model: Model[Any, Any, Any], operations: Sequence[Operation], is_read: Sequence[bool], shift: int
    ) -> None:
        super().__init__(operations, is_read, shift)
        self._init = model.init
        self._step = model.step

    def initial(self) -> int:
        """The number of the first state."""
        return self._number(self._init)

    def step(self, index: int, number: int) -> int:
        """Compare the model's reply, if there is one to compare it with."""
        before, call, expected = self._states[number >> self._shift], self._calls[index], self._replies[index]
        after, reply = self._step(before, call)
        if expected is OPEN:
            after_number = self._number(after)
            return IMPOSSIBLE if after_number == number else after_number
        if reply != expected:
            return IMPOSSIBLE
        after_number = self._number(after)
        if self.is_read[index] and after_number != number:
            raise _no_read(call, before, after)
        return after_number

    def placed(self, order: Sequence[tuple[int, int]]) -> tuple[Placed, ...]:
        """Look them up."""
        return tuple(Placed(self._operations[index], self._states[number >> self._shift]) for index, number in order)


class Several(Stepper):
    """The steps of a nondeterministic model, from all the states it may be in to all that it may come to."""

    def __init__(
        self,
        model: NondeterministicModel[Any, Any, Any],
        operations: Sequence[Operation],
        is_read: Sequence[bool],
        shift: int,
    ) -> None:
        super().__init__(operations, is_read, shift)
        self._inits = _set(model.inits)
        self._steps = model.steps

    def initial(self) -> int:
        """The number of the set of first states."""
        return self._number(self._inits)

    def step(self, index: int, number: int) -> int:
        """Go wherever the outcome lets it go."""
        operation, before = self._operations[index], self._states[number >> self._shift]
        after = frozenset[Any]().union(*(self._after(each, operation) for each in before))
        if not after or (operation.is_open and after <= before):
            return IMPOSSIBLE
        if self.is_read[index] and not after <= before:
            raise _no_read(operation.call, before, after)
        return self._number(after)

    def _after(self, state: Any, operation: Operation) -> frozenset[Any]:
        return _set(self._steps(state, operation.call, operation.outcome))

    def placed(self, order: Sequence[tuple[int, int]]) -> tuple[Placed, ...]:
        """Go back from one of the last states, by one way that leads to it."""
        states = [self._inits, *(self._states[number >> self._shift] for _, number in order)]
        found: list[Placed] = []
        ways = states.pop()
        for index, _ in reversed(order):
            operation, state = self._operations[index], min(ways, key=repr)
            found.append(Placed(operation, state))
            ways = [each for each in states.pop() if state in self._after(each, operation)]
        return tuple(reversed(found))


def stepper(model: AnyModel, operations: Sequence[Operation], is_read: Sequence[bool], shift: int) -> Stepper:
    """The steps of a model of either kind."""
    if isinstance(model, Model):
        return One(model, operations, is_read, shift)
    return Several(model, operations, is_read, shift)


def _set(states: Iterable[Any]) -> frozenset[Any]:
    try:
        return frozenset(states)
    except TypeError as error:
        raise _unhashable(states, error) from error


def _unhashable(state: Any, error: TypeError) -> ModelError:
    return ModelError(f"a state of the model cannot be remembered ({error}): {state!r}; make it of tuples and frozen values")


def _no_read(call: Any, before: Any, after: Any) -> ModelError:
    return ModelError(f"only_reads says that {call} only reads, and it makes {after!r} of {before!r}")
