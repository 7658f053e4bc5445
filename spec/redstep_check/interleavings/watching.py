"""Watching: a story of several clients played once more, with all that happens on the way taken down."""

from collections.abc import Sequence

from redstep_check.interleavings.binding import Concurrent, Sequential
from redstep_check.interleavings.moves import Arrives, Begins, Goes, Move, Settles
from redstep_check.interleavings.seen import Moment
from redstep_check.interleavings.session import CLIENTS, InterleavedSession
from redstep_check.lockstep import Mismatch


class Watched(InterleavedSession):
    """A session that remembers every move, and the one that it could not make."""

    def __init__(self, target: Concurrent, sequential: Sequential, clients: int = CLIENTS) -> None:
        super().__init__(target, sequential, clients)
        self.moments: list[Moment] = []
        """The moves that were made, those included that clients make to come to their ends."""
        self.failed: Begins | Goes | Arrives | None = None
        """The move at which both sides differ; None if they do not, or only the history as a whole does."""
        self.settles: tuple[int, int] | None = None
        """After how many moves, and when, the clients went on to their ends."""

    def _make(self, move: Begins | Goes | Arrives, *, tell: bool) -> None:
        self.failed = move
        super()._make(move, tell=tell)
        self.failed = None

    def _observe(self, moment: Moment) -> None:
        self.moments.append(moment)
        super()._observe(moment)

    def _settle(self, move: Settles) -> None:
        self.settles = (len(self.moments), move.now_ms)
        super()._settle(move)


def clients_of(moves: Sequence[Move]) -> int:
    """How many clients there must be for a story, and at least as many as schedules are drawn for."""
    return max([CLIENTS, *(move.client + 1 for move in moves if isinstance(move, Begins | Goes))])


def watch(target: Concurrent, sequential: Sequential, moves: Sequence[Move]) -> Watched:
    """Play a story; a difference, if there is one, is the session's. Raises ImpossibleStory."""
    session = Watched(target, sequential, clients_of(moves))
    try:
        for move in moves:
            session.play(move)
    except Mismatch:
        pass
    return session
