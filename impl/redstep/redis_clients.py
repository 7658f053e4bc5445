"""redis-py's clients: of which kind they are to be, and that their pools never send anything twice by themselves."""

from typing import Any, TypeVar

import redis
import redis.asyncio
import redis.cluster

from redstep.errors import Misuse

Client = TypeVar("Client", redis.Redis, redis.asyncio.Redis)
Pool = TypeVar("Pool", bound=Any)

CLUSTERS = (redis.cluster.RedisCluster, redis.asyncio.RedisCluster)
ADVICE: dict[type, tuple[str, str]] = {
    redis.Redis: ("redis.Redis", "the Async... classes take a redis.asyncio.Redis"),
    redis.asyncio.Redis: ("redis.asyncio.Redis", "the classes without Async take a redis.Redis"),
}
"""By kind of client, what it is called, and what takes the other kind."""


def checked_client(argument: str, client: object, kind: type[Client]) -> Client:
    """Return a client of the kind that a driver takes, or raise Misuse that says which one that is."""
    if isinstance(client, kind):
        return client
    wanted, advice = ADVICE[kind]
    if isinstance(client, CLUSTERS):
        advice = "a RedisCluster cannot be used, so give a client of one server"
    given = f"{type(client).__module__}.{type(client).__qualname__}".removeprefix("builtins.")
    raise Misuse(argument, f"must be a {wanted}, not a {given}; {advice}")


POOL_SETTINGS = (
    *("connection_class", "max_connections"),  # of every pool
    *("timeout", "queue_class"),  # of one that blocks
    *("service_name", "sentinel_manager", "is_master", "check_connection"),  # of one that asks a sentinel
)
"""What redis-py's pools are made with, beside the settings of their connections, and what they call it afterwards too."""


def never_retrying(pool: Pool) -> Pool:
    """Return the caller's pool if its connections never retry by themselves, else a new one with the same settings.

    redis-py's `Redis(...)` retries ten times by default, scripts included, and so charges a call up to eleven times. The retry
    policy belongs to the connections of a pool: to change it in place would alter what the caller uses elsewhere.
    """
    settings = dict(pool.connection_kwargs)
    retry = settings.pop("retry", None)
    on_errors = settings.pop("retry_on_error", None)
    on_timeout = settings.pop("retry_on_timeout", None)
    if not (on_errors or on_timeout) and (retry is None or retry.get_retries() == 0):
        return pool
    settings |= {name: getattr(pool, name) for name in POOL_SETTINGS if hasattr(pool, name)}
    own: Pool = type(pool)(**settings)
    return own
