"""
The others: the same limit, server, interface and redis-py, one connection each, used as their documentation says.

What they do is not the same thing, and so each says its algorithm, whose clock decides, and whether it is exact. An exact
limiter that goes by the clients' clocks is as exact as they agree. redstep answers seven integers, the others two or less,
or three; none but redstep takes several limits of different windows and a cold start in the same script.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import redis
from attrs import frozen

from measuring import DAY_MS
from redstep import Limit, RateLimiter

TEXTBOOK = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', KEYS[1], 0, now - window)
if redis.call('ZCARD', KEYS[1]) >= limit then
  return {0, redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] + window - now}
end
redis.call('ZADD', KEYS[1], now, ARGV[3])
redis.call('PEXPIRE', KEYS[1], window)
return {1, 0}
"""
"""The sorted set of the tutorials on the engine's clock, with unique members: exact. None of the libraries is both."""

On = Callable[[str], Callable[[], bool]]
"""Given a key, returns what asks there whether a call may proceed."""


@frozen
class Peer:
    """Somebody's limiter."""

    name: str
    algorithm: str
    clock: str
    exact: bool
    """Whether it is a sliding window that admits exactly what fits, on that clock, but for the instant of an edge."""

    opened: Callable[[str, int], AbstractContextManager[On]]
    """Given the URL of a server and the limit for a day."""

    @property
    def is_foreign(self) -> bool:
        """Whether somebody else made it."""
        return not self.name.startswith("redstep")


def _pool(url: str) -> redis.ConnectionPool:
    return redis.ConnectionPool.from_url(url)


@contextmanager
def _redstep(url: str, limit: int, representation: str) -> Iterator[On]:
    with redis.Redis.from_pool(_pool(url)) as client:
        limiter = RateLimiter(client, Limit(limit, DAY_MS), representation=representation, on_store_failure="closed")
        yield lambda key: lambda: limiter.acquire(key).allowed
        limiter.close()


@contextmanager
def _textbook(url: str, limit: int) -> Iterator[On]:
    with redis.Redis.from_pool(_pool(url)) as client:
        sha, number = client.script_load(TEXTBOOK), iter(range(2**53))
        yield lambda key: lambda: client.evalsha(sha, 1, key, DAY_MS, limit, next(number))[0] == 1


@contextmanager
def _limits(url: str, limit: int) -> Iterator[On]:
    from limits import RateLimitItemPerDay
    from limits.storage import RedisStorage
    from limits.strategies import MovingWindowRateLimiter

    storage = RedisStorage(url, connection_pool=_pool(url))
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerDay(limit)
    yield lambda key: lambda: limiter.hit(item, key)
    storage.storage.connection_pool.disconnect()


@contextmanager
def _pyrate(url: str, limit: int) -> Iterator[On]:
    from pyrate_limiter import Duration, Limiter, Rate, RedisBucket
    from pyrate_limiter.limiter import SingleBucketFactory

    def on(key: str) -> Callable[[], bool]:
        bucket = RedisBucket.init([Rate(limit, Duration.DAY)], client, key)
        # Nothing ends within a day, so the thread that trims the sorted set every ten seconds would have nothing to do.
        limiter = Limiter(SingleBucketFactory(bucket, schedule_leak=False))
        return lambda: bool(limiter.try_acquire("call", blocking=False))

    with redis.Redis.from_pool(_pool(url)) as client:
        yield on


@contextmanager
def _throttled(url: str, limit: int, using: str) -> Iterator[On]:
    from throttled import Throttled, per_day
    from throttled.store import RedisStore

    store = RedisStore(url, {"REUSE_CONNECTION": False})
    limiter = Throttled(using=using, quota=per_day(limit, burst=limit), store=store)
    yield lambda key: lambda: not limiter.limit(key).limited
    store._backend.get_client().close()  # noqa: SLF001  it has no other way


OURS = Peer("redstep packed", "log, string", "engine", True, partial(_redstep, representation="packed"))
PEERS = (
    OURS,
    Peer("redstep zset", "log, sorted set", "engine", True, partial(_redstep, representation="zset")),
    Peer("textbook", "log, sorted set", "engine", True, _textbook),
    Peer("limits", "log, list", "client", True, _limits),
    Peer("pyrate-limiter", "log, sorted set", "client", True, _pyrate),
    Peer("throttled-py sliding", "two counters", "client", False, partial(_throttled, using="sliding_window")),
    Peer("throttled-py GCRA", "GCRA, one number", "engine", False, partial(_throttled, using="gcra")),
)
