"""
Points: what the search has to choose from while each completion is due.

        A  ├──── write 1 ────────┤           due in turn: B, A, D
        B      ├── read ──┤      :           while B is due: A, B, and at last C
        C             ├───:──────:──── …     while A is due: A, D, and at last C
        D                 :  ├───:──┤

An operation has a bit from its invocation to its completion, which then is free for another; one of unknown outcome keeps its
own. So a set of placed operations takes as many bits as operations ever overlapped. What was invoked first is tried first;
but what only reads before all that, and what may never have taken effect after it.
"""

import pickle
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from redstep_check.linearizability.histories import Operation
from redstep_spec.delivery import Replied

Candidate = tuple[int, int, int, int, dict[int, int]]
"""
The index of an operation; its bit; this and the bit of its twin; the bit of its twin, or 0; the steps of it that are known.

The twin of one of unknown outcome is the one before it that made the same call, and is placed before it if both are. That two
calls are equal is not enough to be the same, for True is 1, and a field may be no part of the comparison: they must be so in
the bytes of their pickles. What can't be pickled has no twin.
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
        self._reads: list[Candidate] = []
        self._others: list[Candidate] = []
        self._unknown: list[Candidate] = []
        self._twins: dict[bytes, int] = {}
        """Of those of unknown outcome, the bit of the last that made each call."""
        self._lay_out(operations, is_read)

    def _lay_out(self, operations: Sequence[Operation], is_read: Sequence[bool]) -> None:
        completed = [
            (each.completed_at, index)
            for index, each in enumerate(operations)
            if isinstance(each.outcome, Replied) and each.completed_at is not None
        ]
        invoked = 0
        for completed_at, due in sorted(completed):
            while invoked < len(operations) and operations[invoked].invoked_at <= completed_at:
                self._invoke(invoked, operations[invoked], is_read=is_read[invoked])
                invoked += 1
            self.candidates.append(self._reads + self._others + self._unknown)
            answered = self._reads if is_read[due] else self._others
            bit = answered.pop(bisect_left(answered, (due,)))[1]
            self.due.append(due)
            self.due_bits.append(bit)
            self._free.append(bit)

    def _invoke(self, index: int, operation: Operation, *, is_read: bool) -> None:
        if self._free:
            bit = self._free.pop()
        else:
            bit, self.width = 1 << self.width, self.width + 1
        if isinstance(operation.outcome, Replied):
            (self._reads if is_read else self._others).append((index, bit, bit, 0, {}))
        else:
            twin = self._twin(operation.call, bit)
            self._unknown.append((index, bit, bit | twin, twin, {}))

    def _twin(self, call: Any, bit: int) -> int:
        """The bit of an operation's twin, if it has one, whose next twin it is."""
        try:
            pickled = pickle.dumps(call)
        except Exception:  # noqa: BLE001  whatever a class of somebody's own raises
            return 0
        twin = self._twins.get(pickled, 0)
        self._twins[pickled] = bit
        return twin
