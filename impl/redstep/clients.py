"""
The guards as services use them, sync and asyncio.

    limiter = RateLimiter(redis.Redis(), Limit(100, window_ms=60_000))
    decision = limiter.acquire("user:42")
    if not decision.allowed:
        ...  # try again in decision.retry_after_ms

The two differ by `await` alone: what they do is one protocol.
"""

from collections.abc import Callable, Iterable

import redis
import redis.asyncio

from redstep import rate_limiter
from redstep.asyncio_driver import AsyncDriver
from redstep.rate_limiter import PACKED, Decision, Limit, Policy, Region, Usage
from redstep.sync_driver import SyncDriver


class RateLimiter:
    """Admits at most so much in any window, across all processes that share a Redis. Safe to share between threads.

    `limits`  one Limit, or several of different windows: a call is admitted by all of them or charged to none.
    `region`  makes limits start cold; see `start_region`.
    `representation`  `packed` (the default) or `zset`; see `redstep.rate_limiter`.
    `prefix`  what all keys start with.
    `clock`   ms; for tests. By default the engine's own clock decides, so that clients' clocks do not matter.

    Raises Misuse for a bad argument.
    """

    def __init__(
        self,
        client: redis.Redis,
        limits: Limit | Iterable[Limit],
        *,
        region: Region | None = None,
        representation: str = PACKED,
        prefix: str = "redstep:",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._policy = Policy(limits=limits, region=region, representation=representation, prefix=prefix)
        self._driver = SyncDriver(client, clock=clock)

    def acquire(self, name: str, cost: int = 1, *, request_id: str | None = None) -> Decision:
        """Ask whether a call may proceed, and charge it if so. See `redstep.rate_limiter.acquire`."""
        return self._driver.run(rate_limiter.acquire(self._policy, name, cost, request_id))

    def peek(self, name: str) -> Usage:
        """Ask how much is left, without using any."""
        return self._driver.run(rate_limiter.peek(self._policy, name))

    def reset(self, name: str) -> None:
        """Forget what was admitted under this name."""
        self._driver.run(rate_limiter.reset(self._policy, name))

    def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        self._driver.load(rate_limiter.scripts_of(self._policy.representation))

    def close(self) -> None:
        """Close the connections that this limiter opened; the client's own stay."""
        self._driver.close()


class AsyncRateLimiter:
    """`RateLimiter` for asyncio. Safe to share between the tasks of one event loop."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        limits: Limit | Iterable[Limit],
        *,
        region: Region | None = None,
        representation: str = PACKED,
        prefix: str = "redstep:",
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._policy = Policy(limits=limits, region=region, representation=representation, prefix=prefix)
        self._driver = AsyncDriver(client, clock=clock)

    async def acquire(self, name: str, cost: int = 1, *, request_id: str | None = None) -> Decision:
        """Ask whether a call may proceed, and charge it if so. See `redstep.rate_limiter.acquire`."""
        return await self._driver.run(rate_limiter.acquire(self._policy, name, cost, request_id))

    async def peek(self, name: str) -> Usage:
        """Ask how much is left, without using any."""
        return await self._driver.run(rate_limiter.peek(self._policy, name))

    async def reset(self, name: str) -> None:
        """Forget what was admitted under this name."""
        await self._driver.run(rate_limiter.reset(self._policy, name))

    async def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        await self._driver.load(rate_limiter.scripts_of(self._policy.representation))

    async def close(self) -> None:
        """Close the connections that this limiter opened; the client's own stay."""
        await self._driver.close()


def start_region(client: redis.Redis, name: str, *, cold_ms: int = 300_000, percent: int = 50) -> Region:
    """Make the region that starts now, on the engine's clock. Do it once, when the service starts."""
    return SyncDriver(client).run(rate_limiter.start_region(name, cold_ms, percent))


async def async_start_region(client: redis.asyncio.Redis, name: str, *, cold_ms: int = 300_000, percent: int = 50) -> Region:
    """`start_region` for asyncio."""
    return await AsyncDriver(client).run(rate_limiter.start_region(name, cold_ms, percent))
