"""
The rate limiter as services use it, sync and asyncio.

    limiter = RateLimiter(redis.Redis(), Limit(100, window_ms=60_000), on_store_failure="open")
    decision = limiter.acquire("user:42")
    if not decision.allowed:
        ...  # try again in decision.retry_after_ms

The two differ by `await` alone: what they do is one protocol.
"""

from collections.abc import Callable, Iterable
from typing import Self

import redis
import redis.asyncio

from redstep import rate_limiter, regions
from redstep.arguments import PREFIX
from redstep.asyncio_driver import AsyncDriver
from redstep.circuit_breaker import Policy
from redstep.errors import Misuse
from redstep.rate_limiter import PACKED, Decision, Limit, Region, Usage
from redstep.store_failure import BREAKER
from redstep.sync_driver import SyncDriver
from redstep.wishes import Store


class RateLimiter:
    """Admits at most so much in any window, across all processes that share a Redis. Safe to share between threads.

    `limits`  one Limit, or several of different windows: a call is admitted by all of them or charged to none.
    `on_store_failure`  "open" admits what the store did not decide, marked degraded; "closed" raises Unavailable.
    `breaker`  the policy of the circuit breaker in front of each store; see `redstep.store_failure`.
    `global_limits`  are asked when the region's own deny: a call is admitted if they have room. See `redstep.regions`.
    `global_client`  for the deployment that all regions share; by default they are kept where the region's own are.
    `cache_denials`  repeats a denial for as long as it holds, without asking the engine; see `redstep.denials`.
    `region`  makes limits start cold; see `start_region`.
    `representation`  `packed` (the default) or `zset`; see `redstep.rate_limiter`.
    `prefix`  what all keys start with; `global_prefix` for the global ones, the same in all regions.
    `clock`   ms; for tests. By default the engine's own clock decides, so that clients' clocks do not matter.

    As a context manager it closes itself at the end. Raises Misuse for a bad argument.
    """

    def __init__(
        self,
        client: redis.Redis,
        limits: Limit | Iterable[Limit],
        *,
        on_store_failure: str,
        breaker: Policy = BREAKER,
        global_limits: Limit | Iterable[Limit] | None = None,
        global_client: redis.Redis | None = None,
        cache_denials: bool = False,
        region: Region | None = None,
        representation: str = PACKED,
        prefix: str = PREFIX,
        global_prefix: str = PREFIX,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if cache_denials and clock is not None:
            raise Misuse("clock", "denials are remembered by the monotonic clock: not with cache_denials")
        elsewhere = {} if global_client is None else {Store.GLOBAL: global_client}
        self._driver = SyncDriver(client, clock=clock, elsewhere=elsewhere)
        self._regional = regions.plan(
            limits,
            on_store_failure=on_store_failure,
            breaker=breaker,
            global_limits=global_limits,
            global_client=global_client,
            cache_denials=cache_denials,
            region=region,
            representation=representation,
            prefix=prefix,
            global_prefix=global_prefix,
        )

    def acquire(self, name: str, cost: int = 1, *, request_id: str | None = None) -> Decision:
        """Ask whether a call may proceed, and charge it if so. See `redstep.regions.acquire`."""
        return self._driver.run(regions.acquire(self._regional, name, cost, request_id))

    def peek(self, name: str) -> Usage:
        """Ask how much is left, without using any."""
        return self._driver.run(regions.peek(self._regional, name))

    def reset(self, name: str) -> None:
        """Forget what was admitted under this name."""
        self._driver.run(regions.reset(self._regional, name))

    def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        self._driver.load(rate_limiter.scripts_of(self._regional.local.representation))

    def close(self) -> None:
        """Close the connections that this limiter opened; the client's own stay."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncRateLimiter:
    """`RateLimiter` for asyncio. Safe to share between the tasks of one event loop."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        limits: Limit | Iterable[Limit],
        *,
        on_store_failure: str,
        breaker: Policy = BREAKER,
        global_limits: Limit | Iterable[Limit] | None = None,
        global_client: redis.asyncio.Redis | None = None,
        cache_denials: bool = False,
        region: Region | None = None,
        representation: str = PACKED,
        prefix: str = PREFIX,
        global_prefix: str = PREFIX,
        clock: Callable[[], int] | None = None,
    ) -> None:
        if cache_denials and clock is not None:
            raise Misuse("clock", "denials are remembered by the monotonic clock: not with cache_denials")
        elsewhere = {} if global_client is None else {Store.GLOBAL: global_client}
        self._driver = AsyncDriver(client, clock=clock, elsewhere=elsewhere)
        self._regional = regions.plan(
            limits,
            on_store_failure=on_store_failure,
            breaker=breaker,
            global_limits=global_limits,
            global_client=global_client,
            cache_denials=cache_denials,
            region=region,
            representation=representation,
            prefix=prefix,
            global_prefix=global_prefix,
        )

    async def acquire(self, name: str, cost: int = 1, *, request_id: str | None = None) -> Decision:
        """Ask whether a call may proceed, and charge it if so. See `redstep.regions.acquire`."""
        return await self._driver.run(regions.acquire(self._regional, name, cost, request_id))

    async def peek(self, name: str) -> Usage:
        """Ask how much is left, without using any."""
        return await self._driver.run(regions.peek(self._regional, name))

    async def reset(self, name: str) -> None:
        """Forget what was admitted under this name."""
        await self._driver.run(regions.reset(self._regional, name))

    async def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        await self._driver.load(rate_limiter.scripts_of(self._regional.local.representation))

    async def close(self) -> None:
        """Close the connections that this limiter opened; the client's own stay."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def start_region(client: redis.Redis, name: str, *, cold_ms: int = 300_000, percent: int = 50) -> Region:
    """Make the region that starts now, on the engine's clock. Do it once, when the service starts."""
    driver = SyncDriver(client)
    try:
        return driver.run(rate_limiter.start_region(name, cold_ms, percent))
    finally:
        driver.close()


async def async_start_region(client: redis.asyncio.Redis, name: str, *, cold_ms: int = 300_000, percent: int = 50) -> Region:
    """`start_region` for asyncio."""
    driver = AsyncDriver(client)
    try:
        return await driver.run(rate_limiter.start_region(name, cold_ms, percent))
    finally:
        await driver.close()
