"""
Stepping: a model as the search sees it, small integers in and out.

States are numbered as they turn up; an operation's step from a state is taken once, and the search remembers its number. A
nondeterministic model is searched by the set of all states that it may be in, which makes it deterministic again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from redstep_check.linearizability.histories import Operation
from redstep_check.linearizability.models import AnyModel, Model, ModelError, NondeterministicModel
from redstep_check.linearizability.verdicts import Placed
from redstep_spec.delivery import Replied

IMPOSSIBLE = -1
"""An operation cannot be placed in a state, or there is no use in it."""
OPEN = object()
"""In place of the reply that never came."""

Step = Callable[[int, int], int]
"""
From the index of an operation and the number of a state to the number of the state after it, or IMPOSSIBLE. Raises ModelError.
"""


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
    def step(self) -> Step:
        """The step of the model, as a function that has all it needs at hand: nothing is called so often."""

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

    def step(self) -> Step:
        """Compare the model's reply, if there is one to compare it with."""
        take, calls, replies, is_read = self._step, self._calls, self._replies, self.is_read
        numbers, states, shift = self._numbers, self._states, self._shift

        def step(index: int, number: int) -> int:
            expected = replies[index]
            after, reply = take(states[number >> shift], calls[index])
            if reply != expected and expected is not OPEN:
                return IMPOSSIBLE
            try:
                found = numbers.get(after)
            except TypeError as error:
                raise _unhashable(after, error) from error
            if found is None:
                found = numbers[after] = len(states) << shift
                states.append(after)
            elif found == number:
                return IMPOSSIBLE if expected is OPEN else found
            if is_read[index]:
                raise _no_read(calls[index], states[number >> shift], after)
            return found

        return step

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

    def step(self) -> Step:
        """Go wherever the outcome lets it go."""
        return self._go

    def _go(self, index: int, number: int) -> int:
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
    states = tuple(states)  # what the model raises meanwhile is its own affair
    try:
        return frozenset(states)
    except TypeError as error:
        raise _unhashable(states, error) from error


def _unhashable(state: Any, error: TypeError) -> ModelError:
    return ModelError(f"a state of the model cannot be remembered ({error}): {state!r}; make it of tuples and frozen values")


def _no_read(call: Any, before: Any, after: Any) -> ModelError:
    return ModelError(f"only_reads says that {call} only reads, and it makes {after!r} of {before!r}")
