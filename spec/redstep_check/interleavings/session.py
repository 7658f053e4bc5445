"""
The session: moves are made on a situation, one after the other, and the whole is judged in the end.

What is judged at every move: each execution against the specification's step, reply and stored state; each operation's end
against what it asked and heard. At the end, when all clients have gone on to theirs, the history of all requests is held
against the specification once more, without their order being known: it must be linearizable. That can only fail where the
comparison at each execution has a hole, and so checks the checker.
"""

import hashlib

from attrs import evolve

from redstep_check.interleavings.binding import Concurrent, Sequential
from redstep_check.interleavings.executing import Live
from redstep_check.interleavings.histories import History
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Move, Settles
from redstep_check.interleavings.seen import PROPERTIES, Moment
from redstep_check.interleavings.situations import Event, Stage
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, Told

CLIENTS = 3
START_MS = 1_000
STEPS_MAX = 10_000
"""How many moves clients may take to go on to their ends."""


class InterleavedSession(Session[Move]):
    """The specification of one guard beside several clients of an implementation."""

    def __init__(self, target: Concurrent, sequential: Sequential, clients: int = CLIENTS) -> None:
        super().__init__(target)
        self.sequential = sequential
        self.stage = Stage(sequential, target, Live(sequential, target))
        self.situation = self.stage.opening(clients, START_MS)
        self.waiting: list[int] = []
        """Who waits for something, in the order in which they came to."""
        self.history = History()
        self.properties = PROPERTIES
        self._trace = hashlib.sha256()

    @property
    def trace(self) -> str:
        """What tells this run from others: every move, and all that came of it."""
        return self._trace.hexdigest()

    def _play(self, move: Move) -> None:
        if isinstance(move, Settles):
            self._settle(move)
        else:
            self._make(move, tell=True)

    def _make(self, move: Begins | Goes | Arrives, *, tell: bool) -> None:
        before = self.situation
        try:
            self.situation, event = self.stage.after(before, move)
        except Mismatch as mismatch:
            if tell:
                self.story.append(Told(move, mismatch.expected, mismatch.actual))
            raise
        self._queue(move)
        self.history.note(before, move, event, self.situation)
        self._trace.update(f"{move}|{event.executed}|{event.answer}|{self.situation.state}\n".encode())
        if tell:
            self.story.append(Told(move, *_both(event)))
        self._observe(Moment(before, move, event, self.situation))

    def _observe(self, moment: Moment) -> None:
        rules = [rule for each in moment.event.executed for rule in each.reply.because]
        self.observe(self.properties, moment, (*moment.rules, *rules))

    def _queue(self, move: Begins | Goes | Arrives) -> None:
        if isinstance(move, Arrives):
            return
        if move.client in self.waiting:
            self.waiting.remove(move.client)
        if self.situation.clients[move.client].stop is not None:
            self.waiting.append(move.client)

    def _settle(self, move: Settles) -> None:
        if move.now_ms < self.situation.now_ms:
            raise ImpossibleStory("the store's clock steps back")
        self.story.append(Told(move, None, None))
        self.situation = evolve(self.situation, now_ms=move.now_ms)
        for _ in range(STEPS_MAX):
            if not self.waiting:
                break
            self._make(Goes(self.waiting[0], Fate.DELIVERED, move.now_ms), tell=False)
        else:
            raise Mismatch("CM-4", "whether clients come to an end", "they do", f"not within {STEPS_MAX} moves")
        self.history.judge(self.sequential)


def _both(event: Event) -> tuple[object, object]:
    """What a story tells of a move: what the specification says, and how the operation ended."""
    expected = event.executed[-1].reply if event.executed else None
    return expected, event.answer
