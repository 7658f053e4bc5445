"""Subjects: the guards whose interleavings can be explored, each with its specification, its variants and its planted bugs."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import frozen

from redstep_check.binding import Target
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Concurrent, Sequential
from redstep_check.interleavings.machine import InterleavingMachine
from redstep_check.interleavings.moves import KINDS
from redstep_check.interleavings.seen import PROPERTIES
from redstep_check.interleavings.session import CLIENTS, InterleavedSession
from redstep_check.interleavings.simpler import simpler, unswitched
from redstep_check.lockstep import ImpossibleStory, Mismatch
from redstep_check.runs import Bench, replayed
from redstep_check.shrinking import shortest


@frozen(kw_only=True)
class Bug:
    """A mistake that only interleavings show."""

    name: str
    rule: str
    """The one that it breaks."""
    variant: str
    make: Callable[[Engine], Concurrent]
    faults: int = 1
    """How many faults it takes to show it, in a small world."""
    clients: int = 2
    ticks: int = 1
    also: frozenset[str] = frozenset()
    """The rules that it breaks in other schedules."""


@frozen(kw_only=True)
class Subject:
    """A guard among concurrent clients."""

    name: str
    sequential: Sequential
    variants: Mapping[str, Callable[[Engine], Concurrent]]
    bugs: tuple[Bug, ...] = ()
    operations: tuple[type, ...] = ()
    """The classes of its operations."""

    def bench(self, clients: int = CLIENTS) -> Bench:
        """What a run needs."""
        return Bench(
            session=partial(self._session, clients=clients),
            machine=InterleavingMachine,
            sometimes=PROPERTIES.sometimes,
            simpler=simpler,
        )

    def _session(self, target: Target[Any], clients: int) -> InterleavedSession:
        if not isinstance(target, Concurrent):
            raise TypeError(f"a {type(target).__name__} does not stop at its round trips: it is no Concurrent")
        return InterleavedSession(target, self.sequential, clients)

    @property
    def kinds(self) -> dict[str, type]:
        """The classes that occur in a story, by name."""
        return {each.__name__: each for each in (*KINDS, *self.operations)}

    def shrunk(self, target: Concurrent, found: Mismatch, clients: int = CLIENTS) -> Mismatch | None:
        """The shortest story of a difference, with the fewest switches; None if it does not show again."""
        bench = self.bench(clients)

        def play(moves: tuple[Any, ...]) -> Mismatch | None:
            try:
                return replayed(bench, target, moves)
            except ImpossibleStory:
                return None

        shrunk = shortest(found, play, simpler)
        return unswitched(shrunk, play) if shrunk else None
