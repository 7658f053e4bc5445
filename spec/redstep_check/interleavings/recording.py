"""
Recording: the schedules of a run that draws them, counted on the way; and a few of them made once more.

The same moves must give the same trace: what every move came to, hash for hash. If they do not, something decides that is no
part of a schedule, and a story would not replay.
"""

import hashlib
from collections import deque
from typing import Any

from attrs import define, field

from redstep_check.binding import Target
from redstep_check.interleavings.binding import Concurrent, Sequential
from redstep_check.interleavings.moves import Move
from redstep_check.interleavings.seen import Moment
from redstep_check.interleavings.session import InterleavedSession
from redstep_check.interleavings.tallies import Tally, overlaps
from redstep_check.lockstep import Mismatch

KEPT = 10
"""How many schedules are made once more: the last ones."""


class Counted(InterleavedSession):
    """A session that counts what it meets."""

    def __init__(self, target: Concurrent, sequential: Sequential, tally: Tally) -> None:
        super().__init__(target, sequential)
        self._tally = tally
        self.made = 0
        """How many moves were made, those included that clients make to come to their ends."""
        self.has_overlapped = False

    def _observe(self, moment: Moment) -> None:
        is_amid = overlaps(moment.before)
        self.made += 1
        self.has_overlapped |= is_amid
        self._tally.note(moment.move, moment.event, overlaps=is_amid)
        super()._observe(moment)


@define
class Recorder:
    """Counts all schedules up to the first difference."""

    sequential: Sequential
    tally: Tally = field(factory=Tally)
    overlapping: int = 0
    """Schedules in which two operations or more were under way at once."""
    made: int = 0
    """Moves of all of them."""
    _trace: Any = field(factory=hashlib.sha256)
    _kept: deque[tuple[tuple[Move, ...], str]] = field(factory=lambda: deque(maxlen=KEPT))
    _current: Counted | None = None
    _is_over: bool = False

    def session(self, target: Target[Any]) -> InterleavedSession:
        """Begin a schedule, and count the one before."""
        if not isinstance(target, Concurrent):
            raise TypeError(f"a {type(target).__name__} does not stop at its round trips: it is no Concurrent")
        self.finish()
        if self._is_over:
            return InterleavedSession(target, self.sequential)
        self._current = Counted(target, self.sequential, self.tally)
        return self._current

    def finish(self) -> None:
        """Count the last schedule; after a difference there are no more, for those that shrink it are not drawn."""
        session, self._current = self._current, None
        if session is None:
            return
        self.overlapping += session.has_overlapped
        self.made += session.made
        self._is_over = session.mismatch is not None
        self._trace.update(session.trace.encode())
        if session.mismatch is None:
            self._kept.append((tuple(told.move for told in session.story), session.trace))

    @property
    def trace(self) -> str:
        """What tells this run from others: every move of every schedule, and all that came of it."""
        return str(self._trace.hexdigest())

    def again(self, target: Concurrent) -> tuple[int, int]:
        """Make a few schedules once more. Returns how many, and how many of them came out otherwise."""
        otherwise = 0
        for moves, trace in self._kept:
            session = InterleavedSession(target, self.sequential)
            try:
                for move in moves:
                    session.play(move)
            except Mismatch:
                pass
            otherwise += session.trace != trace or session.mismatch is not None
        return len(self._kept), otherwise
