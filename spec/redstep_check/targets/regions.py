"""The shipped limiter across regions as a target: its protocol under the checking driver, on two deployments."""

from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

from redstep import rate_limiter, regions
from redstep.wishes import Store
from redstep_check.binding import Answer, Target, session_prefix
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.rate_limiter import answer, require_struct
from redstep_spec import rate_limiter as rl
from redstep_spec import regions as spec
from redstep_spec.delivery import Fate


class RegionsTarget(Target[spec.RegionalAcquire]):
    """Regions on one engine, under prefixes of their own; the global limit on another, or on the same one."""

    fates = frozenset(Fate)

    def __init__(self, own: Engine, overall: Engine, representation: str, module: ModuleType = regions) -> None:
        self.module: Any = module
        self.representation = representation
        self.engines = (own, overall)
        require_struct(own, representation)
        self.overall = CheckingDriver(client=overall.client(), flush_scripts=overall.flush_scripts)
        self.own = CheckingDriver(client=own.client(), flush_scripts=own.flush_scripts, elsewhere={Store.GLOBAL: self.overall})

    def begin(self) -> None:
        """Start anew under another prefix."""
        self.prefix = session_prefix(self.engines[0].prefix)

    def call(self, call: spec.RegionalAcquire, fates: Sequence[Fate]) -> Answer:
        """Run one protocol; the fates are those of the global attempts."""
        self.own.store_ms, self.overall.store_ms = call.own.now_ms, call.overall.now_ms
        self.overall.meet(fates)
        regional = self.module.plan(
            _limits(call.own),
            on_store_failure="closed",
            global_limits=_limits(call.overall),
            region=rate_limiter.Region(call.region, 0, 0),
            representation=self.representation,
            prefix=self.prefix,
            global_prefix=self.prefix,
        )
        return answer(lambda: self.own.run(self.module.acquire(regional, call.own.name, call.own.cost)))

    def close(self) -> None:
        """Close the connections."""
        self.own.client.close()
        self.overall.client.close()


def _limits(call: rl.Acquire) -> list[rate_limiter.Limit]:
    return [rate_limiter.Limit(limit.limit, limit.window_ms) for limit in call.limits]


def on_one_engine(engine: Engine, representation: str) -> RegionsTarget:
    """All regions and the global limit on one engine."""
    return RegionsTarget(engine, engine, representation)


CLIENTS = {
    f"{representation}/protocol": partial(on_one_engine, representation=representation)
    for representation in rate_limiter.REPRESENTATIONS
}
"""Every way into the shipped limiter across regions."""
