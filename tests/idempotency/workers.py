"""Workers: callers of idempotent work that a play can stop at any wish, for good or for a while."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import redis
from attrs import define, field

from redstep.driving import Run
from redstep.idempotency import Acquired, Policy
from redstep.idempotency_errors import InProgress
from redstep.idempotency_run import Manner, Outcome, run
from redstep.wishes import CallScript, RunWork, Wish
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_spec.delivery import Fate

from .stage import POLICY, SCOPE

Work = Callable[[Acquired], Any]
Place = Callable[[Wish], bool]


def calls(script: str) -> Place:
    """Where a script is about to be called."""
    return lambda wish: isinstance(wish, CallScript) and wish.script.name == f"idempotency_{script}"


def runs_work(wish: Wish) -> bool:
    """Where the work is about to begin."""
    return isinstance(wish, RunWork)


@define
class World:
    """A store and the clock that all workers see; counts how often the work was begun, and with which fences."""

    engine: Engine
    now_ms: int = 5_000
    fences: list[int] = field(factory=list)
    policy: Policy = POLICY
    _drivers: list[CheckingDriver] = field(factory=list, init=False)

    @property
    def observer(self) -> redis.Redis:
        """A client that looks at the store past all workers."""
        return self._drivers[0].client if self._drivers else self.driver().client

    @property
    def executions(self) -> int:
        """How often the work was begun."""
        return len(self.fences)

    def driver(self) -> CheckingDriver:
        """A driver of a new client."""
        driver = CheckingDriver(
            client=self.engine.client(), flush_scripts=self.engine.flush_scripts, draw_bytes=secrets.token_bytes
        )
        self._drivers.append(driver)
        return driver

    def worker(self, work: Work = lambda _: b"done", payload: str = "payload", **manner: Any) -> "Worker":
        """Somebody who is to do the work, and has not begun."""
        return Worker(self, work, payload, Manner(**manner))

    def call(self, work: Work = lambda _: b"done", payload: str = "payload", **manner: Any) -> Outcome[Any]:
        """Have the work done by a worker who is not stopped."""
        return self.worker(work, payload, **manner).finish()

    def refused_for_ms(self) -> int:
        """How long another caller is told to wait; 0 if it is not refused. Nothing comes of its own work."""
        before = len(self.fences)
        with suppress(Probed):
            try:
                self.call(_probe, had_no_effect=lambda error: isinstance(error, Probed))
            except InProgress as refusal:
                return refusal.retry_after_ms
        del self.fences[before:]
        return 0

    def close(self) -> None:
        """Close the connections."""
        for driver in self._drivers:
            driver.client.close()


class Probed(Exception):
    """The work could have been done."""


def _probe(_: Acquired) -> bytes:
    raise Probed


class Worker:
    """One call of `run`, carried out wish by wish."""

    def __init__(self, world: World, work: Work, payload: str, manner: Manner) -> None:
        self.world = world
        self.driver = world.driver()

        def counted(claim: Acquired) -> Any:
            world.fences.append(claim.fence)
            return work(claim)

        self.run: Run[Outcome[Any]] = Run(run(world.policy, SCOPE, payload, counted, manner))

    def to(self, place: Place) -> Wish:
        """Go on until it waits there."""
        while self.run.wish is not None and not place(self.run.wish):
            self.step()
        assert self.run.wish is not None, "it ended before it came there"
        return self.run.wish

    def step(self) -> None:
        """Have one wish carried out, and go on to the next."""
        assert self.run.wish is not None
        self.run.feed(self.carry_out())

    def carry_out(self) -> Any:
        """Have the wish carried out, and stay: it is as if the worker died before it heard what came of it."""
        assert self.run.wish is not None
        self.driver.store_ms = self.world.now_ms
        return self.driver.outcome(self.run.wish)

    def finish(self, fates: Sequence[Fate] = ()) -> Outcome[Any]:
        """Go on to the end; attempts meet these fates."""
        self.driver.meet(fates)
        while self.run.wish is not None:
            self.step()
        return self.run.result()
