"""The stage: one of the two drivers before an engine, and the protocols that are played there."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, cast
from unittest.mock import patch

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from redis.backoff import NoBackoff

from redstep import Decision, Limit, Unavailable, Usage, rate_limiter
from redstep.asyncio_driver import AsyncDriver
from redstep.rate_limiter import ZSET, Policy
from redstep.scripts import Script
from redstep.sync_driver import SyncDriver
from redstep.wishes import CallScript, Protocol, Wish
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy

POLICY = Policy(limits=Limit(100, 3_600_000), representation=ZSET)
[KEY] = POLICY.keys("user")
COUNT = Script("count", "return {redis.call('INCR', KEYS[1])}")


# --- protocols --------------------------------------------------------------------------------------------------------


def acquire(name: str = "user", cost: int = 1, request_id: str | None = None) -> Protocol[Decision]:
    """The limiter's acquire, under the policy of these tests."""
    return rate_limiter.acquire(POLICY, name, cost, request_id)


def peek(name: str = "user") -> Protocol[Usage]:
    """The limiter's peek, likewise."""
    return rate_limiter.peek(POLICY, name)


def count(key: str) -> CallScript:
    """A wish whose executions are counted at a key."""
    return CallScript(script=COUNT, keys=(key,), args=(), idempotent=False)


def once(wish: Wish) -> Protocol[Any]:
    """One wish; its outcome is the result."""
    return (yield wish)


def twice(wish: Wish) -> Protocol[list[Any]]:
    """The same wish twice."""
    return [(yield wish), (yield wish)]


def guarding(wish: Wish, seen: list[BaseException], *compensation: Wish) -> Protocol[str]:
    """Wishes, and on any error wishes for compensation; it delegates, as real protocols do, and swallows what it saw."""
    return (yield from _guarding(wish, seen, compensation))


def _guarding(wish: Wish, seen: list[BaseException], compensation: tuple[Wish, ...]) -> Protocol[str]:
    try:
        yield wish
    except BaseException as error:  # noqa: BLE001  as a guard must
        seen.append(error)
        for each in compensation:  # noqa: UP028  a tuple's iterator takes no replies
            yield each
        return "swallowed"
    return "done"


# --- the stages -------------------------------------------------------------------------------------------------------


class Stage(ABC):
    """One of the two drivers before an engine, with a proxy in between where the play wants one.

    Clients and drivers that are made here are closed at the end of the play.
    """

    library: ModuleType
    driver_type: Any

    def __init__(self, engine: Engine, proxy: FaultProxy) -> None:
        self.engine = engine
        self.proxy = proxy
        self.admin = engine.client()
        self._closing = ExitStack()
        self._closing.callback(self.admin.close)

    def close(self) -> None:
        """Close what was made for the play."""
        self._closing.close()

    @abstractmethod
    def wait(self, value: Any) -> Any:
        """Of what the library or the driver returned, what it came to."""

    @abstractmethod
    def close_client(self, client: Any) -> None:
        """Close a client of the library's."""

    def adopt(self, client: Any) -> Any:
        """Have a client closed at the end of the play."""
        self._closing.callback(self.close_client, client)
        return client

    def client(self, path: str | None = None, *, blocking: bool = False, **options: Any) -> Any:
        """A client with a pool of its own, which doesn't retry; to the engine, unless it is given a path or host and port."""
        if "host" in options:
            options = {"connection_class": self.library.Connection, **options}
        else:
            path = path or cast("str", self.engine.address)
            options = {"connection_class": self.library.UnixDomainSocketConnection, "path": path, **options}
        pool = (self.library.BlockingConnectionPool if blocking else self.library.ConnectionPool)(**options)
        return self.adopt(self.library.Redis.from_pool(pool))

    def retry(self, retries: int) -> Any:
        """A retry policy of the library's."""
        return self.library.retry.Retry(NoBackoff(), retries)

    def driver(self, client: Any = None, **options: Any) -> Any:
        """A driver over a client, by default over one of its own."""
        driver = self.driver_type(client or self.client(), **options)
        self._closing.callback(lambda: self.wait(driver.close()))
        return driver

    def run(self, protocol: Generator[Wish, Any, Any], driver: Any = None) -> Any:
        """Carry a protocol through; gives what it returns."""
        return self.wait((driver or self.driver()).run(protocol))

    def failure(self, protocol: Generator[Wish, Any, Any], driver: Any = None) -> Unavailable:
        """The error of a protocol that finds the store unavailable."""
        with pytest.raises(Unavailable) as caught:
            self.run(protocol, driver)
        return caught.value

    def charged(self, key: str = KEY) -> int:
        """How much stands in a log, asked past the proxy."""
        return self.admin.zcard(key)

    def counted(self, key: str) -> int:
        """How often `count` was executed for a key."""
        return int(cast("bytes | None", self.admin.get(key)) or 0)

    def scripts_sent(self) -> dict[str, int]:
        """How often the engine was sent EVALSHA and EVAL since `forget_commands`."""
        stats = self.admin.info("commandstats")
        return {name: stats[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval") if f"cmdstat_{name}" in stats}

    def forget_commands(self) -> None:
        """Begin to count commands anew."""
        self.admin.config_resetstat()


class SyncStage(Stage):
    """The sync driver, with clients of redis."""

    library = redis
    driver_type = SyncDriver

    def wait(self, value: Any) -> Any:
        """It is there at once."""
        return value

    def close_client(self, client: Any) -> None:
        """Close it."""
        client.close()


class AsyncStage(Stage):
    """The asyncio driver, with clients of redis.asyncio, on an event loop of its own."""

    library = redis.asyncio
    driver_type = AsyncDriver

    def __init__(self, engine: Engine, proxy: FaultProxy) -> None:
        super().__init__(engine, proxy)
        self._runner = self._closing.enter_context(asyncio.Runner())

    def wait(self, value: Any) -> Any:
        """Await it."""

        async def awaited() -> Any:
            return await value

        return self._runner.run(awaited())

    def close_client(self, client: Any) -> None:
        """Close it."""
        self.wait(client.aclose())


# --- what a play may look at, or bring about ---------------------------------------------------------------------------


def in_use(pool: Any) -> int:
    """How many connections of a pool are with somebody."""
    return cast("int", pool.get_connection_count()[1][0])


@contextmanager
def settings(admin: redis.Redis, **wanted: str | int) -> Iterator[None]:
    """With other settings of the server."""
    names = [name.replace("_", "-") for name in wanted]
    before = {name: str(admin.config_get(name)[name]) for name in names}
    for name, value in zip(names, wanted.values(), strict=True):
        admin.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            admin.config_set(name, value)


@contextmanager
def held_connection(stage: Stage, pool: Any) -> Iterator[None]:
    """While somebody else has a connection of the pool."""
    connection = stage.wait(pool.get_connection())
    try:
        yield
    finally:
        stage.wait(pool.release(connection))


@contextmanager
def compensation_ms_max(stage: Stage, ms: int) -> Iterator[None]:
    """With another bound, in the module that the stage's driver is of."""
    with patch.dict(stage.driver_type.run.__globals__, {"COMPENSATION_MAX_MS": ms}):
        yield
