"""
Processes: tasks of one event loop that share memory, in every order, and cancelled wherever they can be.

    task 0  ├─ waits ──────▶ goes on ──▶ ...
    task 1     ├─ waits ──✗ cancelled: at a wait, or between any two callbacks of the loop

The shared memory of a process can't be taken and put back; so each schedule is run from the beginning, one after the other, and
none is merged with another. What is chosen: which of those that wait goes on, and before each callback of the loop, as long as
there are cancellations left, whether a task is cancelled there.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

from attrs import define, field, frozen

from redstep_check.interleavings.foreign.coroutines import Loop, no_sleep
from redstep_check.interleavings.foreign.operations import Outcome
from redstep_check.interleavings.foreign.requests import Unfit
from redstep_check.interleavings.foreign.surroundings import Surroundings, around, patches, sites
from redstep_check.lockstep import Mismatch, Told

CHOICES_MAX = 10_000
"""Of one schedule."""


@frozen
class GoesOn:
    """One of those that wait goes on: the nth in the order in which they came to."""

    which: int


@frozen
class Wakes:
    """Nobody waits for a reply, and the next timer's time comes."""


@frozen
class Cancels:
    """A task is cancelled, before the loop's next callback."""

    task: int


@frozen
class RunsOn:
    """No task is cancelled there."""


Choice = GoesOn | Wakes | Cancels | RunsOn


class Process(ABC):
    """One process, begun afresh."""

    @abstractmethod
    def tasks(self) -> Sequence[Coroutine[Any, Any, Any]]:
        """What its tasks do; it is called on the event loop."""

    def outcome(self, data: bytes) -> Outcome:
        """What comes of what a task waits for."""
        del data
        return b""

    def check(self) -> None:  # noqa: B027  there may be nothing to say
        """What holds whenever all tasks wait. Raises Mismatch."""

    @abstractmethod
    def ended(self, outcomes: Sequence[object]) -> None:
        """What each task has returned or raised. Raises Mismatch if that, or what is left, is wrong."""


async def pause(what: str) -> None:
    """Wait for the scheduler: within the work of a task, say."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Loop):
        raise Unfit("there is no scheduler to wait for")
    await loop.exchange(what.encode())


@define
class Schedules:
    """What the exploration of a process came to."""

    schedules: int = 0
    cancellations: int = 0
    """In all schedules together."""
    exhausted: bool = False
    mismatch: Mismatch | None = None
    """The first difference, with the choices that led to it, but for those of nothing."""


@define
class _Path:
    """The choices of one schedule: those that are to be made again, and then always the first there is."""

    taken: list[tuple[int, int]] = field(factory=list)
    """Which one, of how many."""
    made: list[Choice] = field(factory=list)
    _at: int = 0

    def choose(self, offered: Sequence[Choice]) -> Choice:
        """One of them."""
        if self._at == len(self.taken):
            if self._at == CHOICES_MAX:
                raise Unfit(f"it has not come to an end after {CHOICES_MAX} choices")
            self.taken.append((0, len(offered)))
        which, of = self.taken[self._at]
        if of != len(offered):
            raise Unfit(f"it offers {len(offered)} choices where it offered {of} before")
        self._at += 1
        if not isinstance(offered[which], RunsOn):
            self.made.append(offered[which])
        return offered[which]

    def next(self) -> "_Path | None":
        """The path that differs in the last choice that can."""
        taken = list(self.taken)
        while taken and taken[-1][0] == taken[-1][1] - 1:
            taken.pop()
        return _Path([*taken[:-1], (taken[-1][0] + 1, taken[-1][1])]) if taken else None


def explore(make: Callable[[], Process], cancellations: int, on_progress: Callable[[Schedules], object] = bool) -> Schedules:
    """Run every schedule with at most so many cancellations; a difference ends it. Raises Unfit."""
    found = Schedules()
    for path in _paths():
        try:
            _run(make(), path, cancellations)
        except Mismatch as mismatch:
            mismatch.story = tuple(Told(choice, None, None) for choice in path.made)
            found.mismatch = mismatch
            return found
        found.schedules += 1
        found.cancellations += sum(isinstance(each, Cancels) for each in path.made)
        on_progress(found)
    found.exhausted = True
    return found


def _paths() -> Iterator[_Path]:
    path: _Path | None = _Path()
    while path is not None:
        yield path
        path = path.next()


def _run(process: Process, path: _Path, cancellations: int) -> None:
    given = Surroundings("process", 1)
    loop = Loop(given)  # type: ignore[abstract]  # what it leaves out leads out of it
    with around(given, patches(given, no_sleep, sites(()))):
        try:
            outcomes = _played(process, path, loop, cancellations)
        finally:
            loop.discard()
    process.ended(outcomes)


def _is_under_way(loop: Loop, tasks: Sequence[asyncio.Task[Any]]) -> bool:
    """Raises Unfit."""
    loop.given.require_fit()
    return bool(loop.sent) or loop.sleeps or not all(task.done() for task in tasks)


def _played(process: Process, path: _Path, loop: Loop, cancellations: int) -> list[object]:
    tasks: list[asyncio.Task[Any]] = []
    left = cancellations

    async def begin() -> None:
        tasks.extend(map(loop.create_task, process.tasks()))

    def between() -> None:
        nonlocal left
        able = [Cancels(number) for number, task in enumerate(tasks) if left and not task.done()]
        choice = path.choose([RunsOn(), *able]) if able else RunsOn()
        if isinstance(choice, Cancels):
            left -= 1
            tasks[choice.task].cancel()

    loop.create_task(begin())
    loop.turn(between)
    while _is_under_way(loop, tasks):
        process.check()
        offered: list[Choice] = [GoesOn(which) for which in range(len(loop.sent))] or [Wakes()] * loop.sleeps
        offered += [Cancels(number) for number, task in enumerate(tasks) if left and not task.done()]
        if not offered:
            raise Mismatch("CM-10", "whether its tasks come to an end", "they do", "they wait for what nobody will give them")
        match path.choose(offered):
            case GoesOn(which):
                future, data = loop.sent[which]
                future.set_result(process.outcome(data))
            case Cancels(number):
                left -= 1
                tasks[number].cancel()
            case _:
                loop.wake()
        loop.turn(between)
    process.check()
    return [asyncio.CancelledError() if task.cancelled() else task.exception() or task.result() for task in tasks]
