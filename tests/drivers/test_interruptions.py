"""Interruptions: one is thrown into the protocol, compensated within a bounded time, and goes on (CM-10)."""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from redstep.wishes import Announce, Protocol, ReadClock, RunWork, Sleep, Wish
from support.servers import FOREVER_S

from .stage import Stage, compensation_ms_max, count, guarding

INTERRUPTIONS = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


def interrupted() -> None:
    """Work that is interrupted."""
    raise SystemExit(3)


@pytest.mark.parametrize("kind", INTERRUPTIONS)
@pytest.mark.parametrize("place", ["work", "listener"])
def test_an_interruption_is_thrown_in_compensated_and_goes_on(stage: Stage, kind: type[BaseException], place: str) -> None:
    """The protocol learns of it at its wish, its compensation is carried out, and what it returned does not matter."""
    own = kind("now")

    def interrupted_so(*_: object) -> None:
        raise own

    seen: list[BaseException] = []
    wish = RunWork(interrupted_so) if place == "work" else Announce((interrupted_so,), "event")
    with pytest.raises(kind) as caught:
        stage.run(guarding(wish, seen, count("compensated"), count("compensated")))
    assert caught.value is own
    assert len(seen) == 1
    assert not isinstance(seen[0], Exception)
    assert stage.counted("compensated") == 2


def test_an_interruption_goes_on_whatever_compensation_comes_to(stage: Stage) -> None:
    """An error of the compensation neither replaces nor ends it."""

    def failing() -> Protocol[None]:
        try:
            yield RunWork(interrupted)
        finally:
            raise ValueError("of the compensation")

    with pytest.raises(SystemExit):
        stage.run(failing())

    def broken_work() -> None:
        raise ValueError("of the work in it")

    with pytest.raises(SystemExit):
        stage.run(guarding(RunWork(interrupted), [], RunWork(broken_work)))


ENDLESS: dict[str, Callable[[], Iterator[Wish]]] = {
    "many short wishes": lambda: itertools.repeat(ReadClock()),
    "a long sleep": lambda: iter([Sleep(FOREVER_S * 1000)]),
    "many sleeps": lambda: itertools.repeat(Sleep(20)),
}


@pytest.mark.parametrize("length", ENDLESS)
@pytest.mark.parametrize("obstinacy", ["goes", "wishes on", "raises"])
def test_compensation_has_an_end(stage: Stage, length: str, obstinacy: str) -> None:
    """After COMPENSATION_MAX_MS the protocol is closed, and whatever it does then, the interruption goes on."""

    def endless() -> Protocol[None]:
        try:
            yield RunWork(interrupted)
        finally:
            try:
                for wish in ENDLESS[length]():  # noqa: UP028  an iterator takes no replies
                    yield wish
            except GeneratorExit:
                if obstinacy == "wishes on":
                    yield Sleep(1)
                if obstinacy == "raises":
                    raise ValueError("while closing") from None
                raise

    started = time.monotonic()
    with compensation_ms_max(stage, 60), pytest.raises(SystemExit):
        stage.run(endless())
    assert 0.05 < time.monotonic() - started < 2
