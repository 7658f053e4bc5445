"""The shipped limiter behind its breaker as a target: its protocol under the checking driver, on a store that fails as told."""

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from attrs import asdict, define, field

from redstep import circuit_breaker, rate_limiter, regions
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable
from redstep.wishes import CallScript
from redstep_check.binding import Answer, Answered, Broke, Misused, Stored, Target, session_prefix
from redstep_check.engines import Engine
from redstep_check.guards.store_failure import Asked
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.rate_limiter import require_struct
from redstep_check.targets.stored_breakers import read_local
from redstep_spec import store_failure as spec
from redstep_spec.delivery import Fate
from redstep_spec.store_failure import Store


@define(kw_only=True)
class FailingDriver(CheckingDriver):
    """A client whose store does as it is told."""

    store: Store = field(default=Store.ANSWERS)

    def attempt(self, request: CallScript) -> object:
        """Let one attempt meet what the store does."""
        match self.store:
            case Store.FAILS:
                raise Unavailable("no server was reached", definite=True)
            case Store.HAS_NO_CONNECTION:
                raise ServiceOverloaded("no connection of the pool is free")
            case Store.LOSES_THE_REPLY:
                super().attempt(request)
                raise Unavailable("the reply was lost", definite=False)
            case Store.IS_FULL:
                return self._without_memory(request)
        return super().attempt(request)

    def _without_memory(self, request: CallScript) -> object:
        """The engine itself refuses, with no memory left; `maxmemory` is set for just this call."""
        self.client.config_set("maxmemory", "1")
        try:
            return super().attempt(request)
        finally:
            self.client.config_set("maxmemory", "0")


class StoreFailureTarget(Target[Asked]):
    """One limiter of one process."""

    def __init__(self, engine: Engine, representation: str, module: ModuleType = regions) -> None:
        self.module: Any = module
        self.engine = engine
        self.representation = representation
        require_struct(engine, representation)
        full = {Store.IS_FULL.value} if engine.owned and engine.pid else set()
        self.features = frozenset({"stored", *full})
        self.driver = FailingDriver(client=engine.client(), flush_scripts=engine.flush_scripts)
        self.driver.draw_integer = lambda _least, _most: self.open_ms
        self.open_ms = 0

    def begin(self) -> None:
        """Start anew: another prefix, another limiter."""
        self.prefix = session_prefix(self.engine.prefix)
        self.limiter: Any = None

    def call(self, call: Asked, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  the move says what the store does
        """Make one call."""
        asked = call.call
        self.limiter = self.limiter or self._limiter(asked)
        self.driver.store, self.driver.store_ms, self.driver.client_ms = call.store, asked.own.now_ms, asked.client_ms
        self.open_ms = asked.open_ms
        try:
            decision = self.driver.run(self.module.acquire(self.limiter, asked.own.name, asked.own.cost))
        except Misuse as error:
            return Misused(error.argument)
        except ServiceOverloaded:
            return Answered({"error": "overloaded", "definite": True})
        except Unavailable as error:
            return Answered({"error": "unavailable", "definite": error.definite})
        except Corrupt as error:
            return Broke(repr(error))
        return Answered({"error": "", **asdict(decision)})

    def _limiter(self, asked: spec.GuardedAcquire) -> Any:
        breaker = circuit_breaker.Policy(
            failure_threshold=asked.breaker.failure_threshold,
            success_threshold=asked.breaker.success_threshold,
            open_ms=asked.breaker.open_ms,
        )
        return self.module.plan(
            [self.module.Limit(limit.limit, limit.window_ms) for limit in asked.own.limits],
            on_store_failure=asked.policy.value,
            breaker=breaker,
            representation=self.representation,
            prefix=self.prefix,
        )

    def stored(self, *key: Any) -> Stored:  # noqa: ARG002  there is one breaker
        """Look at the breaker, which nothing but this process holds."""
        return read_local(self.limiter.store.breaker.state)

    def close(self) -> None:
        """Close the connection."""
        self.driver.client.close()


CLIENTS = {
    f"{representation}/protocol": partial(StoreFailureTarget, representation=representation)
    for representation in rate_limiter.REPRESENTATIONS
}
"""Every way into the shipped limiter behind its breaker."""
