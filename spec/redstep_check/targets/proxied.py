"""The connections of a target's shipped clients. Where the kit owns a real engine, a proxy does real faults to them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any

import redis
import redis.asyncio

from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy, notice_endings
from redstep_spec.delivery import Fate


class Proxied:
    """One client of redis-py's, sync or asyncio, and what stands between it and the engine; `close` gives all of it back."""

    def __init__(self, engine: Engine, *, faulty: bool = True) -> None:
        """Without `faulty` no proxy is put before the engine, for what is checked never asks it."""
        self._engine = engine
        self._open = ExitStack()
        self.proxy: FaultProxy | None = None
        self.fates = frozenset({Fate.DELIVERED})
        """What it can let become of an attempt."""
        if faulty and engine.owned and engine.address:
            self.proxy = self._open.enter_context(FaultProxy(engine.address))
            self.fates = frozenset(Fate)

    def arm(self, fates: Sequence[Fate]) -> None:
        """Set the fates of the next attempts."""
        if self.proxy:
            self.proxy.arm(fates)

    def restore(self) -> None:
        """Let the store be reached again, after it could not be."""
        if self.proxy:
            self.proxy.restore()

    def sync_client(self) -> redis.Redis:
        """The client."""
        client = self.proxy.client() if self.proxy else self._engine.client()
        self._open.callback(client.close)
        return client

    def async_client(self) -> redis.asyncio.Redis:
        """The client, whose event loop lives as long."""
        self._runner = self._open.enter_context(asyncio.Runner())
        client = self.proxy.async_client() if self.proxy else self._engine.async_client()
        self._open.callback(lambda: self._runner.run(client.aclose()))
        return client

    def run(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        """Carry an operation of asyncio out, once the loop has noticed which connections ended."""

        async def awaited() -> Any:
            await notice_endings()
            return await operation()

        return self._runner.run(awaited())

    def close(self) -> None:
        """Close the client, then its event loop, then the proxy."""
        self._open.close()
