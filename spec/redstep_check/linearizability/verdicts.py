"""
Verdicts: what can be said of a history.

Only `Legal` is true in a condition, so that `assert check(model, history)` means what it says: a search that was given up
and a history that could not have failed are not passes.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

from attrs import frozen

from redstep_check.linearizability.histories import Operation


class Placed(NamedTuple):
    """An operation in its place of an order, and the state that the model is in after it."""

    operation: Operation
    state: Any
    """Of the part that the operation is about, if the model has parts."""


@frozen
class Legal:
    """The history is linearizable: its operations may have taken effect one after the other, in this order."""

    witness: tuple[Placed, ...]
    """All that were answered, and those of unknown outcome that must have taken effect to explain the answers."""
    steps: int
    """Of the search: how many times an operation was placed somewhere."""

    def __str__(self) -> str:
        return f"legal: {counted(len(self.witness), 'operation')} in an order found in {counted(self.steps, 'step')}"


@frozen
class Illegal:
    """
    The history is not linearizable, and `stuck` is the first operation, by completion, at which that shows.

    The prefix explains all that was completed before that completion. No order of what was invoked by then explains this one,
    too, given what everybody was told in the end.
    """

    stuck: Operation
    prefix: tuple[Placed, ...]
    """The longest that was seen; of the part that the operation is about."""
    steps: int
    partition: Hashable = None
    """The key of that part, if the model has parts."""
    instead: Any = None
    """What a deterministic model would have answered after the prefix."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        heard = f"client {self.stuck.client} heard {self.stuck.reply} (at {self.stuck.completed_at})"
        return f"illegal: no order explains that {heard}; before that, one explains {counted(len(self.prefix), 'operation')}"


@frozen
class Undecided:
    """The search was given up: the history may be either."""

    steps: int
    open_partitions: tuple[Hashable, ...]
    """The keys of the parts that were not decided; None for a model without parts."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"undecided: given up after {counted(self.steps, 'step')}"


@frozen
class Vacuous:
    """No operation was answered, so that the history could not have been found illegal: it says nothing."""

    operations: int
    """How many there are, all of them failed or of unknown outcome."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"vacuous: of {counted(self.operations, 'operation')} none was answered"


def counted(number: int, what: str) -> str:
    """So many of them."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


Verdict = Legal | Illegal | Undecided | Vacuous
