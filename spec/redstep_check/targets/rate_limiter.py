"""The shipped rate limiter as a target: its protocols under the checking driver, and its clients, sync and asyncio."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import attrs

from redstep import clients, rate_limiter
from redstep.errors import Misuse, Unavailable, UnexpectedReply
from redstep_check.binding import Answer, Answered, Broke, Misused, Stored, Target, Unsupported, session_prefix
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.proxied import Proxied
from redstep_check.targets.stored_logs import read_packed, read_zset
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Failed, Fate, Unknown

HERE = "here"
"""The region of all calls."""
FEATURES = frozenset({"cost", "region", "several", "peek", "reset", "misuse", "stored"})


def answer(run: Callable[[], Any]) -> Answer:
    """Tell what a caller of the shipped implementation saw."""
    try:
        reply = run()
    except Misuse as error:
        return Misused(error.argument)
    except Unavailable as error:
        return Failed() if error.definite else Unknown()
    except UnexpectedReply as error:
        return Broke(str(error), "CM-8")
    except Exception as error:  # noqa: BLE001  whatever else is raised, no rule allows it
        return Broke(repr(error))
    return Answered({} if reply is None else attrs.asdict(reply))


def require_struct(engine: Engine, representation: str) -> None:
    """Raise Unsupported where the representation `packed` cannot run."""
    if representation == rate_limiter.PACKED:
        with engine.client() as client:
            if not client.eval("return struct and 1 or 0", 0):
                raise Unsupported(f"the Lua of {engine.name} lacks `struct`, which `packed` needs")


class ShippedRateLimiter(Target[spec.Call]):
    """What the shipped targets share: how its arguments are made, and how what it stores is read."""

    def __init__(self, engine: Engine, representation: str, module: ModuleType = rate_limiter) -> None:
        self.engine = engine
        self.representation = representation
        self.features = FEATURES | ({"request_id"} if representation == rate_limiter.ZSET else {"dear"})
        self.module: Any = module
        require_struct(engine, representation)
        self.client = engine.client()
        self.prefix = engine.prefix

    def begin(self) -> None:
        """Start anew under another prefix."""
        self.prefix = session_prefix(self.engine.prefix)

    def limits(self, call: spec.Call) -> list[Any]:
        """The limits of a call in the implementation's terms."""
        return [self.module.Limit(limit.limit, limit.window_ms) for limit in call.limits]

    def region(self, call: spec.Call) -> Any:
        """The region of a call in the implementation's terms: always the same one, for its name is part of the keys."""
        region = None if isinstance(call, spec.Reset) else call.region
        if region is None:
            return self.module.Region(HERE, 0, 0)
        return self.module.Region(HERE, region.start_ms, region.cold_ms, region.percent)

    def key(self, name: str, window_ms: int) -> str:
        """The key of a log."""
        settings = {"region": self.module.Region(HERE, 0), "representation": self.representation, "prefix": self.prefix}
        [key] = self.module.Policy(limits=self.module.Limit(1, window_ms), **settings).keys(name)
        return str(key)

    def stored(self, *key: Any) -> Stored:
        """Read a log through the abstraction function of its representation."""
        _, window_ms = key
        read = read_packed if self.representation == rate_limiter.PACKED else read_zset
        return read(self.client, self.key(*key), window_ms)

    def remove(self, *key: Any) -> None:
        """Delete a log, as its TTL would."""
        self.client.delete(self.key(*key))

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


class ProtocolTarget(ShippedRateLimiter):
    """The shipped protocols under the checking driver."""

    def __init__(self, engine: Engine, representation: str, module: ModuleType = rate_limiter) -> None:
        super().__init__(engine, representation, module)
        self.fates = frozenset(Fate) if engine.owned else frozenset(Fate) - {Fate.FLUSHED}
        self.driver = CheckingDriver(client=self.client, flush_scripts=engine.flush_scripts)

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Run one protocol."""
        self.driver.store_ms = call.now_ms
        self.driver.executions.clear()
        told = answer(lambda: self.driver.run(self.protocol(call), fates))
        if isinstance(told, Misused) and self.driver.executions:
            return Broke(f"{told.argument} is refused only after a command was sent", "CM-9")
        return told

    def protocol(self, call: spec.Call) -> Any:
        """The protocol of a call."""
        policy = self.module.Policy(
            limits=self.limits(call), region=self.region(call), representation=self.representation, prefix=self.prefix
        )
        match call:
            case spec.Acquire():
                return self.module.acquire(policy, call.name, call.cost, call.request_id)
            case spec.Peek():
                return self.module.peek(policy, call.name)
            case spec.Reset():
                return self.module.reset(policy, call.name)


class ClientTarget(ShippedRateLimiter):
    """A client that ships. Where the kit owns a real engine, its faults are real: a proxy does them to its connections."""

    def __init__(self, engine: Engine, representation: str) -> None:
        super().__init__(engine, representation)
        self.now_ms = 0
        self.proxied = Proxied(engine)
        self.fates = self.proxied.fates

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Make one call."""
        self.now_ms = call.now_ms
        self.proxied.arm(fates)
        return answer(lambda: self.make(call))

    @abstractmethod
    def make(self, call: spec.Call) -> object:
        """Make one call through a client."""

    def settings(self, call: spec.Call) -> dict[str, Any]:
        """What a client is made with."""
        return {
            "limits": self.limits(call),
            "region": self.region(call),
            "representation": self.representation,
            "prefix": self.prefix,
            "clock": lambda: self.now_ms,
        }

    def close(self) -> None:
        """Close the connections and the proxy."""
        super().close()
        self.proxied.close()


class SyncTarget(ClientTarget):
    """`redstep.RateLimiter`."""

    def __init__(self, engine: Engine, representation: str) -> None:
        super().__init__(engine, representation)
        self._redis = self.proxied.sync_client()

    def make(self, call: spec.Call) -> object:
        """Make one call."""
        limiter = clients.RateLimiter(self._redis, **self.settings(call), on_store_failure="closed")
        match call:
            case spec.Acquire():
                return limiter.acquire(call.name, call.cost, request_id=call.request_id)
            case spec.Peek():
                return limiter.peek(call.name)
            case spec.Reset():
                limiter.reset(call.name)
        return None


class AsyncTarget(ClientTarget):
    """`redstep.AsyncRateLimiter`, on an event loop that lives as long as the target."""

    def __init__(self, engine: Engine, representation: str) -> None:
        super().__init__(engine, representation)
        self._redis = self.proxied.async_client()

    def make(self, call: spec.Call) -> object:
        """Make one call."""
        return self.proxied.run(lambda: self._make(call))

    async def _make(self, call: spec.Call) -> object:
        limiter = clients.AsyncRateLimiter(self._redis, **self.settings(call), on_store_failure="closed")
        match call:
            case spec.Acquire():
                return await limiter.acquire(call.name, call.cost, request_id=call.request_id)
            case spec.Peek():
                return await limiter.peek(call.name)
            case spec.Reset():
                await limiter.reset(call.name)
        return None


CLIENTS = {
    f"{representation}/{client}": partial(target, representation=representation)
    for representation in rate_limiter.REPRESENTATIONS
    for client, target in (("protocol", ProtocolTarget), ("sync", SyncTarget), ("asyncio", AsyncTarget))
}
"""Every way into the shipped limiter: a representation, and how it is driven."""
