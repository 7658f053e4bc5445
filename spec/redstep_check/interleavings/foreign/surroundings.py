"""
Surroundings: the clocks and the chance that foreign code sees, so that it does the same whenever it is told the same.

`time.time` is the store's time: between a reading and the round trip after it no time passes. The monotonic clocks are the
process's own, and go on by what it sleeps. Draws (`random`, `os.urandom`, `uuid`, `secrets`) depend on the operation alone.
What reads a clock in C, as `datetime.now` does, sees the real one, unless the binding's `patched` puts something there.

What leads out of the scheduler's reach is refused: threads, and sockets that connect. Code may catch that; so the first refusal
is kept, and raised whenever the code stops.
"""

import hashlib
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, NoReturn

from attrs import define

from redstep_check.interleavings.foreign.requests import Unfit

Patch = tuple[Any, str, Any]
"""An object, the name of its attribute, and its value."""


@define
class Surroundings:
    """What one operation sees."""

    running: ClassVar["Surroundings | None"] = None
    """Those of the operation that is under way now; whatever thread something is refused in, it is refused to that."""

    identity: str
    unit_ms: int
    """How many milliseconds of the implementation's a millisecond of the schedule is."""
    now_ms: int = 0
    """Of the schedule."""
    slept_s: float = 0.0
    was_read: bool = False
    """Whether the store's time was read."""
    drawn: int = 0
    unfit: Unfit | None = None
    """What was refused first."""

    def require_fit(self) -> None:
        """Raises Unfit if something was refused, whatever the code has made of it."""
        if self.unfit is not None:
            raise self.unfit

    def time_s(self) -> float:
        """The store's time, in seconds of the implementation's."""
        self.was_read = True
        return self.now_ms * self.unit_ms / 1000

    def time_ns(self) -> int:
        """The same, in nanoseconds."""
        self.was_read = True
        return self.now_ms * self.unit_ms * 1_000_000

    def monotonic_s(self) -> float:
        """The process's own clock."""
        return self.slept_s

    def monotonic_ns(self) -> int:
        """The same, in nanoseconds."""
        return int(self.slept_s * 1e9)

    def draw(self, size: int, /) -> bytes:
        """Random bytes, the same for the same operation."""
        self.drawn += 1
        return hashlib.shake_256(f"{self.identity}.{self.drawn}".encode()).digest(size)

    def draw_uuid(self, node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        """Stands in the place of `uuid.uuid1`, which asks clock and machine."""
        del node, clock_seq
        return uuid.UUID(bytes=self.draw(16), version=1)


def refuse(why: str) -> NoReturn:
    """Refuse something to the operation that is under way. Raises Unfit."""
    refusal = Unfit(why)
    if (given := Surroundings.running) is not None and given.unfit is None:
        given.unfit = refusal
    raise refusal


def _starts(thread: threading.Thread) -> NoReturn:
    del thread
    refuse("it starts a thread, which would go on without the scheduler")


def _connects(own: socket.socket, address: Any) -> NoReturn:
    own.close()
    refuse(f"it connects a socket of its own to {address!r}, on which the scheduler can't follow it")


LEADING_OUT: tuple[Patch, ...] = (
    (threading.Thread, "start", _starts),
    (socket.socket, "connect", _connects),
    (socket.socket, "connect_ex", _connects),
)
"""What is refused while foreign code runs."""


def sites(modules: Iterable[str]) -> tuple[Patch, ...]:
    """Where clocks and chance are to be had; also under the names that these modules imported them by."""
    wanted = (time.time, time.time_ns, time.monotonic, time.monotonic_ns, time.perf_counter, time.perf_counter_ns)
    found = []
    for module in (time, os, random, uuid, *map(import_module, modules)):
        for name, value in vars(module).items():
            if any(value is each for each in (*wanted, time.sleep, os.urandom, uuid.uuid1)):
                found.append((module, name, value))
    return tuple(found)


def patches(given: Surroundings, sleep: Callable[[float], None], where: Iterable[Patch]) -> Iterator[Patch]:
    """What stands there as long as foreign code runs."""
    instead: dict[Any, Callable[..., Any]] = {
        time.time: given.time_s,
        time.time_ns: given.time_ns,
        time.monotonic: given.monotonic_s,
        time.monotonic_ns: given.monotonic_ns,
        time.perf_counter: given.monotonic_s,
        time.perf_counter_ns: given.monotonic_ns,
        time.sleep: sleep,
        os.urandom: given.draw,
        uuid.uuid1: given.draw_uuid,
    }
    owner = threading.get_ident()
    for module, name, value in where:
        yield module, name, _for_thread(owner, instead[value], value)
    for kind, name, refused in LEADING_OUT:
        yield kind, name, _for_thread(owner, refused, getattr(kind, name))


def _for_thread(owner: int, instead: Callable[..., Any], real: Callable[..., Any]) -> Callable[..., Any]:
    """Other threads of this process go on by the real clock."""

    def given(*args: Any, **kwargs: Any) -> Any:
        return (instead if threading.get_ident() == owner else real)(*args, **kwargs)

    return given


@contextmanager
def around(given: Surroundings, wanted: Iterable[Patch]) -> Iterator[None]:
    """Put the surroundings in place, and what was there back again."""
    before = [(owner, name, getattr(owner, name), value) for owner, name, value in wanted]
    chance, outer = random.getstate(), Surroundings.running
    for owner, name, _, value in before:
        setattr(owner, name, value)
    random.seed(given.identity)
    Surroundings.running = given
    try:
        yield
    finally:
        Surroundings.running = outer
        random.setstate(chance)
        for owner, name, was, _ in before:
            setattr(owner, name, was)
