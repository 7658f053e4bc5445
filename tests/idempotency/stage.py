"""The stage: one of the two clients before an engine, with a proxy in between where the play wants one."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from types import ModuleType
from typing import Any, cast

import redis
import redis.asyncio
import redis.asyncio.retry
import redis.retry
from redis.backoff import NoBackoff

from redstep.clients.idempotency import AsyncIdempotencyStore, IdempotencyStore
from redstep.idempotency import Policy, Scope
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy

SCOPE = Scope(operation="charge", key="order-1", tenant="acme")
KEY = Policy().key(SCOPE)
LEASE_MS, RETENTION_MS = 1_000, 10_000
POLICY = Policy(lease_ms=LEASE_MS, retention_ms=RETENTION_MS)


class Stage(ABC):
    """One of the two clients. What is made here is closed at the end of the play."""

    library: ModuleType
    store_type: Any
    is_async = False

    def __init__(self, engine: Engine, proxy: FaultProxy | None) -> None:
        self.engine = engine
        self._proxy = proxy
        self.now_ms = 5_000
        """What a store with an explicit clock is told."""
        self.admin = engine.client()
        self.other = IdempotencyStore(self.admin, lease_ms=LEASE_MS, retention_ms=RETENTION_MS, clock=lambda: self.now_ms)
        """The store as another process has it, to be used in the midst of work."""
        self._closing = ExitStack()
        self._closing.callback(self.admin.close)

    @property
    def proxy(self) -> FaultProxy:
        """What does faults to connections."""
        assert self._proxy is not None
        return self._proxy

    def close(self) -> None:
        """Close what was made for the play."""
        self._closing.close()

    @abstractmethod
    def wait(self, value: Any) -> Any:
        """Of what a client returned, what it came to."""

    @abstractmethod
    def work(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A function as work for this kind of client."""

    @abstractmethod
    def close_client(self, client: Any) -> None:
        """Close a client of the library's."""

    def client(self, *, proxied: bool = False, **options: Any) -> Any:
        """A client with a pool of its own."""
        make = self.proxy_client if proxied else self.engine_client
        client = make(**options)
        self._closing.callback(self.close_client, client)
        return client

    @abstractmethod
    def engine_client(self, **options: Any) -> Any:
        """A client of the engine."""

    @abstractmethod
    def proxy_client(self, **options: Any) -> Any:
        """A client of the proxy."""

    @abstractmethod
    def retry(self, retries: int) -> Any:
        """A policy of the library's that retries."""

    def store(self, client: Any = None, *, explicit_clock: bool = True, **settings: Any) -> Any:
        """A store, by default over a client of its own, with short lease and retention, and the clock of the play."""
        settings = {"lease_ms": LEASE_MS, "retention_ms": RETENTION_MS, **settings}
        if explicit_clock:
            settings["clock"] = lambda: self.now_ms
        store = self.store_type(client or self.client(), **settings)
        self._closing.callback(lambda: self.wait(store.close()))
        return store

    def run(self, store: Any, work: Callable[[Any], Any], **settings: Any) -> Any:
        """Run work for the scope of these tests; gives the outcome."""
        scope, payload = settings.pop("scope", SCOPE), settings.pop("fingerprint", "payload")
        return self.wait(store.run(scope, payload, self.work(work), **settings))

    def stored(self, key: str = KEY) -> dict[bytes, bytes]:
        """What is stored for a key."""
        return cast("dict[bytes, bytes]", self.admin.hgetall(key))

    def state(self, key: str = KEY) -> str:
        """The state of a record; "new" if there is none."""
        return self.stored(key).get(b"claim", b"new").split()[0].decode()


class SyncStage(Stage):
    """`IdempotencyStore`."""

    library = redis
    store_type = IdempotencyStore

    def wait(self, value: Any) -> Any:
        """It is there at once."""
        return value

    def work(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A function as it is."""
        return function

    def close_client(self, client: Any) -> None:
        """Close it."""
        client.close()

    def engine_client(self, **options: Any) -> Any:
        """A client of the engine."""
        return self.engine.client(**options)

    def proxy_client(self, **options: Any) -> Any:
        """A client of the proxy."""
        return redis.Redis(unix_socket_path=self.proxy.address, **options)

    def retry(self, retries: int) -> Any:
        """A policy that retries."""
        return redis.retry.Retry(NoBackoff(), retries)


class AsyncStage(Stage):
    """`AsyncIdempotencyStore`, on an event loop of its own."""

    library = redis.asyncio
    store_type = AsyncIdempotencyStore
    is_async = True

    def __init__(self, engine: Engine, proxy: FaultProxy | None) -> None:
        super().__init__(engine, proxy)
        self.runner = self._closing.enter_context(asyncio.Runner())

    def wait(self, value: Any) -> Any:
        """Await it."""

        async def awaited() -> Any:
            return await value

        return self.runner.run(awaited())

    def work(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A coroutine function that gives way once."""

        async def work(lease: Any) -> Any:
            await asyncio.sleep(0)
            return function(lease)

        return work

    def close_client(self, client: Any) -> None:
        """Close it."""
        self.wait(client.aclose())

    def engine_client(self, **options: Any) -> Any:
        """A client of the engine."""
        return self.engine.async_client(**options)

    def proxy_client(self, **options: Any) -> Any:
        """A client of the proxy."""
        return redis.asyncio.Redis(unix_socket_path=self.proxy.address, **options)

    def retry(self, retries: int) -> Any:
        """A policy that retries."""
        return redis.asyncio.retry.Retry(NoBackoff(), retries)


STAGES: dict[str, Callable[[Engine, FaultProxy], Stage]] = {"sync": SyncStage, "asyncio": AsyncStage}
