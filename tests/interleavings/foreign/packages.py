"""Limiters of packages, bound to the scheduler as they are: each of them must be installed."""

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any, ClassVar

import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from redstep_check.binding import Answer, Answered
from redstep_check.engines import Engine
from redstep_check.interleavings.foreign.binding import Calls, Coroutines
from redstep_check.interleavings.foreign.rate_limiter import LIMIT, NAME, ForeignRateLimiter, Take

limits: Any = import_module("limits")  # by name: types are checked where they are not installed, too
for submodule in ("storage", "aio.storage", "aio.strategies"):
    import_module(f"limits.{submodule}")
pyrate_limiter: Any = import_module("pyrate_limiter")


class MovingWindowAsItIs(ForeignRateLimiter, Calls):
    """`limits`: the moving window, a list of times."""

    longer = 0
    """By how many hours its window is longer than that of the specification."""

    def run(self, client: redis.Redis, operation: Take) -> bool:
        """Hit once."""
        storage = limits.storage.RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=self.prefix)
        limiter = limits.strategies.MovingWindowRateLimiter(storage)
        item = limits.RateLimitItemPerHour(LIMIT.limit, LIMIT.window_ms + self.longer)
        return bool(limiter.hit(item, NAME, cost=operation.cost))

    def charged_ms(self) -> Iterable[float]:
        """The list."""
        return [float(each) * 1000 for key in self.store.stored_keys() for each in self.client.lrange(key, 0, -1)]


class MovingWindow(MovingWindowAsItIs):
    """The same, with a window that differs by what it counts at its edge."""

    longer = -1


class RetriedMovingWindow(MovingWindow):
    """The same, on a client that retries by itself."""

    options: ClassVar[Mapping[str, Any]] = {"retry": Retry(NoBackoff(), 1)}


class AsyncMovingWindow(ForeignRateLimiter, Coroutines):
    """`limits`: the same in coroutines."""

    async def run(self, client: redis.asyncio.Redis, operation: Take) -> bool:
        """Hit once."""
        pool: Any = client.connection_pool
        storage = limits.aio.storage.RedisStorage(
            "async+redis://", implementation="redispy", key_prefix=self.prefix, connection_pool=pool
        )
        limiter = limits.aio.strategies.MovingWindowRateLimiter(storage)
        item = limits.RateLimitItemPerHour(LIMIT.limit, LIMIT.window_ms - 1)
        return bool(await limiter.hit(item, NAME, cost=operation.cost))

    def charged_ms(self) -> Iterable[float]:
        """The list."""
        return [float(each) * 1000 for key in self.store.stored_keys() for each in self.client.lrange(key, 0, -1)]


class BucketAsItIs(ForeignRateLimiter, Calls):
    """`pyrate-limiter`: the bucket, a sorted set of times."""

    longer = 0
    modules = ("pyrate_limiter.buckets.redis_bucket", "pyrate_limiter.utils")

    def run(self, client: redis.Redis, operation: Take) -> bool:
        """Put one item."""
        rate = pyrate_limiter.Rate(LIMIT.limit, self.window_ms + self.longer * self.unit_ms)
        bucket: Any = pyrate_limiter.RedisBucket.init([rate], client, self.prefix + NAME)
        return bool(bucket.put(pyrate_limiter.RateItem(NAME, bucket.now(), operation.cost)))

    def told(self, call: Any, value: Any) -> Answer:
        """Which rate it fails by; -1 for none."""
        return Answered({"allowed": value[0] == -1}) if isinstance(value, list) else super().told(call, value)

    def charged_ms(self) -> Iterable[float]:
        """The scores."""
        return [score for _, score in self.client.zrange(self.prefix + NAME, 0, -1, withscores=True)]


class UnforgottenBucket(BucketAsItIs):
    """The same, on an engine that forgets no scripts."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.can_flush = False


class Bucket(UnforgottenBucket):
    """The same, with a window that differs by what it counts at its edge."""

    longer = -1
