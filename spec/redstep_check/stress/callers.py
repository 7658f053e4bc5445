"""
Callers: what a thread, a task or a process does until its time is over.

It reads off the counter which keys are in use, draws what to ask for, asks, and writes down what it was told.
"""

import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from attrs import frozen

from redstep_check.stress.binding import Clients, Stressed, Surroundings, Values, Where
from redstep_check.stress.counting import Tick
from redstep_check.stress.logs import ANSWERED, Began, Ended, Log

START_MS = 1_000_000
"""Where the explicit clock begins."""
SKEW_MS = 3
"""How many milliseconds the clocks of clients may be apart."""
EVENTS = 4
"""How many places an operation draws, about."""


@frozen(kw_only=True)
class Plan:
    """A slice of a run, as each of its processes must know it. It can be pickled."""

    guard: str
    variant: str
    bug: str
    where: Where
    prefix: str
    directory: Path
    seed: int
    is_explicit: bool
    """Whether clients send times of their own."""
    began_ns: int
    """Of the monotonic clock, which all processes of a machine share."""

    def clock(self, name: str) -> Callable[[], int] | None:
        """The explicit clock of clients, a little wrong; or None."""
        if not self.is_explicit:
            return None
        start_ms = START_MS + Random(f"{self.seed}/{name}/clock").randrange(SKEW_MS)  # noqa: S311  no secret
        began_ns = self.began_ns
        return lambda: start_ms + (time.monotonic_ns() - began_ns) // 1_000_000

    def clients(self, guard: Stressed, name: str, tick: Tick, log: Log, *, is_async: bool) -> Clients:
        """The clients of a process, or of some threads or tasks."""
        return guard.clients(
            Surroundings(
                variant=self.variant,
                bug=self.bug,
                is_async=is_async,
                name=name,
                where=self.where,
                prefix=self.prefix,
                clock=self.clock(name),
                tick=tick,
                log=log,
            )
        )


class Caller:
    """One caller: a thread, a task, or a process."""

    def __init__(self, guard: Stressed, clients: Clients, plan: Plan, name: str, tick: Tick, log: Log) -> None:
        self._clients, self._plan, self._name, self._tick, self._log = clients, plan, name, tick, log
        self._chance = Random(f"{plan.seed}/{name}")  # noqa: S311  no secret
        self._numbers = count(1)
        self._keys, self._span = guard.keys, guard.keys * guard.per_key * EVENTS

    def go_on(self, is_over: Callable[[], bool]) -> None:
        """Make one call after the other."""
        while not is_over():
            name, key, call = self._draw()
            try:
                told = ANSWERED, self._clients.told(self._clients.begin(name, key, call))
            except Exception as error:  # noqa: BLE001  whatever it is, it is what the caller was told
                told = self._clients.raised(error)
            self._end(name, *told)

    async def go_on_async(self, is_over: Callable[[], bool]) -> None:
        """The same under an event loop."""
        while not is_over():
            name, key, call = self._draw()
            try:
                told = ANSWERED, self._clients.told(await self._clients.begin(name, key, call))
            except Exception as error:  # noqa: BLE001  whatever it is, it is what the caller was told
                told = self._clients.raised(error)
            self._end(name, *told)

    def _draw(self) -> tuple[str, str, Values]:
        at = self._tick()
        key = f"{at // self._span}.{self._chance.randrange(self._keys)}"
        name = f"{self._name}/{next(self._numbers)}"
        call = self._clients.draw(self._chance, key)
        self._log.write(Began(at, self._name, name, key, call))
        return name, key, call

    def _end(self, name: str, outcome: str, values: dict[str, Any]) -> None:
        self._log.write(Ended(self._tick(), self._name, name, outcome, values))
