"""
Points: what the search has to choose from while each completion is due.

        A  ├──── write 1 ────────┤           due in turn: B, A, D
        B      ├── read ──┤      :           while B is due: B, A, and C, which has been invoked, too
        C             ├───:──────:──── …     while A is due: A, D, C
        D                 :  ├───:──┤

An operation has a bit from its invocation to its completion, which then is free for another; one of unknown outcome keeps its
own. So a set of placed operations takes as many bits as operations ever overlapped. What is completed first is tried first,
after what only reads, and what may never have taken effect is tried last.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from redstep_check.linearizability.histories import Operation
from redstep_spec.delivery import Replied

Candidate = tuple[int, int, int, int, dict[int, int]]
"""
An operation's bit; this and the bit of its twin; the bit of its twin, or 0; its index; the steps of it that are known.

The twin of one of unknown outcome is the one before it that made the same call, and is placed before it if both are.
"""


class Points:
    """The points of some operations, none of them failed, in order of invocation."""

    def __init__(self, operations: Sequence[Operation], is_read: Sequence[bool]) -> None:
        self.width = 0
        """How many bits are in use."""
        self.due: list[int] = []
        """The index of the operation that is due at each point."""
        self.due_bits: list[int] = []
        self.candidates: list[list[Candidate]] = []
        self._free: list[int] = []
        self._answered: list[Candidate] = []
        self._places: list[int] = []
        """Of those, sorted: what is tried first."""
        self._unknown: list[Candidate] = []
        self._twins: dict[tuple[type, str], tuple[int, Any]] = {}
        """The last of each look, and its bit."""
        self._lay_out(operations, is_read)

    def _lay_out(self, operations: Sequence[Operation], is_read: Sequence[bool]) -> None:
        completed = sorted(
            (each.completed_at, index)
            for index, each in enumerate(operations)
            if isinstance(each.outcome, Replied) and each.completed_at is not None
        )
        places = {index: rank if is_read[index] else rank + len(completed) for rank, (_, index) in enumerate(completed)}
        invoked = 0
        for completed_at, due in completed:
            while invoked < len(operations) and operations[invoked].invoked_at <= completed_at:
                self._invoke(invoked, operations[invoked], places.get(invoked))
                invoked += 1
            where = bisect_left(self._places, places[due])
            self.due.append(due)
            self.due_bits.append(self._answered[where][0])
            self.candidates.append(self._answered + self._unknown)
            del self._places[where]
            self._free.append(self._answered.pop(where)[0])

    def _invoke(self, index: int, operation: Operation, place: int | None) -> None:
        if self._free:
            bit = self._free.pop()
        else:
            bit = 1 << self.width
            self.width += 1
        if place is not None:
            where = bisect_left(self._places, place)
            self._places.insert(where, place)
            self._answered.insert(where, (bit, bit, 0, index, {}))
            return
        twin = self._twin(operation.call)
        self._unknown.append((bit, bit | twin, twin, index, {}))
        self._twins[_look(operation.call)] = (bit, operation.call)

    def _twin(self, call: Any) -> int:
        bit, other = self._twins.get(_look(call), (0, None))
        return bit if call == other else 0


def _look(call: Any) -> tuple[type, str]:
    """What a call looks like: that two are equal is not enough, for True is 1."""
    return (type(call), repr(call))
