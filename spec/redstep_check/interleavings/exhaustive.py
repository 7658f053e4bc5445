"""
Exhaustive worlds: every schedule of a few clients, a few operations each, and a few faults.

Depth first, equal situations merged: two ways that lead to the same stored state, the same clients, the same requests adrift,
the same time and the same faults left have the same future. Each execution is compared when it is made, so nothing of the past
needs to be remembered for a later verdict; what must be is in the ledger, and so in the situation.

What a client does within its own process commutes with all that others do. So it does that at once, instead of at every moment
there is (a persistent set, in the terms of Godefroid's *Partial-Order Methods*, 1996); a held reply is held only to be lost to
a cancellation or a crash. Time goes on by a millisecond, or to the next instant that matters, a bounded number of times, as
long as somebody is under way or something adrift; also where nothing is going to end, for whoever asked for the time may have
kept it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from attrs import define, evolve, field, frozen

from redstep_check.interleavings.binding import Asks, Concurrent, Pauses, Sequential, Standing
from redstep_check.interleavings.executing import Recalled
from redstep_check.interleavings.moves import HARMLESS, Arrives, Begins, Fate, Goes
from redstep_check.interleavings.session import START_MS
from redstep_check.interleavings.situations import Client, Situation, Stage, fates
from redstep_check.interleavings.tallies import Tally, overlaps
from redstep_check.lockstep import Mismatch, Told

Move = Begins | Goes | Arrives
CHECKED_EVERY = 256
"""Moves between two looks at the clock."""


@frozen(kw_only=True)
class Bounds:
    """How large a world is."""

    clients: int = 2
    operations: int = 2
    """Of each client."""
    faults: int = 1
    """Of all clients together."""
    ticks: int = 1
    """How often the store's clock goes on."""
    seconds: float | None = None
    """When the exploration is cut."""


@frozen(cache_hash=True)
class Node:
    """A situation, and what may still be spent."""

    situation: Situation
    faults: int
    ticks: int


@define
class Found:
    """What the exploration of a world came to."""

    program: str
    bounds: Bounds
    states: int = 0
    """Different situations."""
    moves: int = 0
    """From all of them together."""
    executions: int = 0
    """Of scripts on the engine, each compared with the specification."""
    schedules: int = 0
    """How many ways lead from the beginning to an end; 0 unless it was exhausted."""
    depth: int = 0
    """The most moves of a schedule."""
    exhausted: bool = False
    seconds: float = 0.0
    mismatch: Mismatch | None = None
    """The first difference; its story holds the moves that led to it."""
    tally: Tally = field(factory=Tally)
    """What was met on the way."""
    features: frozenset[str] = frozenset()
    """Of the target."""


@frozen
class RecallingStage(Stage):
    """A stage that remembers where clients stand."""

    known: dict[Any, Standing] = field(factory=dict)

    def standing(self, client: Client) -> Standing:
        """Look where a client stands, or remember it."""
        key = (client.number, client.begun, client.operation, client.memory, client.fed)
        if (known := self.known.get(key)) is None:
            known = self.known[key] = Stage.standing(self, client)
        return known


@define
class _Level:
    """One situation on the way down."""

    node: Node
    left: Iterator[tuple[Move | None, Node]]
    schedules: int = 0
    came_by: Move | None = None


class World:
    """A bounded world of one guard."""

    def __init__(self, sequential: Sequential, target: Concurrent, program: str, bounds: Bounds) -> None:
        self.sequential = sequential
        self.bounds = bounds
        self.program: Sequence[Any] = sequential.programs(target.features)[program]
        target.begin()
        self.engine = Recalled(sequential, target)
        self.engine.begin(sequential.initial)
        self.stage = RecallingStage(sequential, target, self.engine)
        self.found = Found(program, bounds, features=target.features)
        self.path: list[Move] = []

    def explore(self, on_progress: Callable[[Found], object] = bool) -> Found:
        """Run every schedule. Raises nothing for a difference, which ends it: it is among what was found."""
        started_s = time.monotonic()
        found = self.found
        try:
            for _ in self._descend():
                found.seconds = time.monotonic() - started_s
                found.executions = self.engine.executions
                on_progress(found)
                if self.bounds.seconds is not None and found.seconds >= self.bounds.seconds:
                    break
            else:
                found.exhausted = True
        except Mismatch as mismatch:
            mismatch.story = tuple(Told(move, None, None) for move in self.path)
            found.mismatch = mismatch
        found.seconds = time.monotonic() - started_s
        found.executions = self.engine.executions
        return found

    def _descend(self) -> Iterator[None]:
        """Depth first; gives way now and then."""
        opening = self.stage.opening(self.bounds.clients, START_MS)
        root = Node(opening, self.bounds.faults, self.bounds.ticks)
        known: dict[Node, int] = {}
        levels = [self._level(root, None)]
        found = self.found
        while levels:
            level = levels[-1]
            step = next(level.left, None)
            if step is None:
                levels.pop()
                known[level.node] = level.schedules = level.schedules or 1
                if level.came_by is not None:
                    self.path.pop()
                if levels:
                    levels[-1].schedules += level.schedules
                continue
            move, node = step
            if (schedules := known.get(node)) is not None:
                level.schedules += schedules
                if move is not None:
                    self.path.pop()
            else:
                levels.append(self._level(node, move))
                found.depth = max(found.depth, len(self.path))
            if found.moves % CHECKED_EVERY == 0:
                yield
        found.schedules = known[root]

    def _level(self, node: Node, came_by: Move | None) -> _Level:
        self.found.states += 1
        return _Level(node, self._after(node), came_by=came_by)

    def _after(self, node: Node) -> Iterator[tuple[Move | None, Node]]:
        """What may come next; each move stands on the path while its situation is looked at."""
        is_amid = overlaps(node.situation)
        for move, faults in self._moves(node):
            self.found.moves += 1
            self.path.append(move)
            situation, event = self.stage.after(node.situation, move)
            self.found.tally.note(move, event, overlaps=is_amid)
            yield move, Node(situation, node.faults - faults, node.ticks)
        if node.ticks and _is_open(node.situation):
            for now_ms in self._instants_ms(node.situation):
                self.found.moves += 1
                self.found.tally.overlapping += is_amid
                yield None, Node(evolve(node.situation, now_ms=now_ms), node.faults, node.ticks - 1)

    def _instants_ms(self, situation: Situation) -> set[int]:
        now_ms = situation.now_ms
        ahead = [each for each in self.sequential.instants_ms(situation.state) if each > now_ms]
        return {now_ms + 1, *([min(ahead)] if ahead else [])}

    def _moves(self, node: Node) -> Iterator[tuple[Move, int]]:
        """The moves of a situation, and how many faults each costs."""
        now_ms = node.situation.now_ms
        for client in node.situation.clients:
            if client.is_idle and client.begun < self.bounds.operations:
                operation = self.program[(client.number + client.begun) % len(self.program)]
                yield Begins(client.number, operation, now_ms), 0
                return
        alone = next((each for each in node.situation.clients if _is_local(each)), None)
        clients = node.situation.clients if alone is None else (alone,)
        for client in clients:
            for fate in self._fates(client, node.faults):
                yield Goes(client.number, fate, now_ms), int(fate not in HARMLESS)
        if alone is None:
            for which, adrift in enumerate(node.situation.adrift):
                if adrift not in node.situation.adrift[:which]:
                    yield Arrives(which, now_ms), 0

    def _fates(self, client: Client, faults: int) -> Iterator[Fate]:
        for fate in fates(client, can_flush=self.stage.target.can_flush):
            if client.held is not None:
                if fate not in (Fate.DELIVERED, Fate.REPLY_LOST):
                    yield fate
            elif fate is Fate.DELIVERED or faults:
                yield fate


def _is_local(client: Client) -> bool:
    """Whether what comes next is nobody else's business."""
    return isinstance(client.stop, Pauses) or (isinstance(client.stop, Asks) and client.held is not None)


def _is_open(situation: Situation) -> bool:
    """Whether it makes a difference when what comes next comes."""
    clients = situation.clients
    return not any(map(_is_local, clients)) and (bool(situation.adrift) or any(each.stop for each in clients))
