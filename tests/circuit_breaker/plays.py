"""The play: one of the four clients on a clock that the test moves, with draws that the test knows."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, cast

import pytest

from redstep.circuit_breaker import State, View
from redstep.clients.circuit_breaker import (
    AsyncCircuitBreaker,
    AsyncSharedCircuitBreaker,
    CircuitBreaker,
    SharedCircuitBreaker,
)
from redstep_check.engines import Engine

OPEN_MS = 1_000
LONGEST_MS = 1_200


class Play:
    """One of the clients. What it returns is awaited, if it must be; times are in ms."""

    is_async = False
    is_shared = False

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.now_ms = 50_000
        self.closing = ExitStack()
        self.admin = engine.client()
        self.closing.callback(self.admin.close)

    def close(self) -> None:
        """Close what was opened."""
        self.closing.close()

    def breaker(self, name: str = "payments", *, failure_threshold: int = 2, success_threshold: int = 2, **more: Any) -> Any:
        """A breaker that stays open for a time between 800 and 1,200 ms; which of them, the test may say."""
        settings: dict[str, Any] = {
            "failure_threshold": failure_threshold,
            "success_threshold": success_threshold,
            "open_ms": OPEN_MS,
            "clock": lambda: self.now_ms,
            "draw": lambda least, most: (least + most) // 2,
            **more,
        }
        return self.make(name, settings)

    def make(self, name: str, settings: dict[str, Any]) -> Any:
        """The client."""
        return CircuitBreaker(name, **settings)

    def wait(self, value: Any) -> Any:
        """Of what a client returned, what it came to."""
        return value

    def enter(self, block: Any) -> Any:
        """Begin a block."""
        return block.__enter__()

    def leave(self, block: Any, error: BaseException | None = None) -> None:
        """End a block, with an error or without one."""
        block.__exit__(type(error) if error else None, error, cast("TracebackType | None", None))

    # --- what most tests do ----------------------------------------------------------------------------------------------

    def call(self, breaker: Any, work: Callable[[], Any] = lambda: "done") -> Any:
        """Make a call."""
        return self.wait(breaker.call(work))

    def fail(self, breaker: Any, error: BaseException | None = None) -> None:
        """Make a call that fails."""
        own = error or ConnectionResetError("down")

        def work() -> None:
            raise own

        with pytest.raises(type(own)) as caught:
            self.call(breaker, work)
        assert caught.value is own

    def view(self, breaker: Any) -> View:
        """Look at a breaker."""
        return cast("View", self.wait(breaker.view()))

    def state(self, breaker: Any) -> State:
        """The state of a breaker."""
        return self.view(breaker).state

    def opened(self, **settings: Any) -> Any:
        """A breaker that has just opened."""
        breaker = self.breaker(**settings)
        for _ in range(settings.get("failure_threshold", 2)):
            self.fail(breaker)
        assert self.state(breaker) is State.OPEN
        return breaker

    def probing(self, **settings: Any) -> tuple[Any, Any]:
        """A breaker that is half-open, and its first permit, which is not reported."""
        breaker = self.opened(**settings)
        self.now_ms += LONGEST_MS
        return breaker, self.wait(breaker.acquire())


class LocalPlay(Play):
    """`CircuitBreaker`."""


class SharedPlay(Play):
    """`SharedCircuitBreaker`."""

    is_shared = True

    def make(self, name: str, settings: dict[str, Any]) -> Any:
        """The client, over a pool of its own."""
        client = settings.pop("client", None) or self.engine.client()
        self.closing.callback(client.close)
        breaker = SharedCircuitBreaker(client, name, **settings)
        self.closing.callback(breaker.close)
        return breaker


class AsyncLocalPlay(Play):
    """`AsyncCircuitBreaker`, on an event loop of its own."""

    is_async = True

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.runner = self.closing.enter_context(asyncio.Runner())

    def make(self, name: str, settings: dict[str, Any]) -> Any:
        """The client."""
        return AsyncCircuitBreaker(name, **settings)

    def wait(self, value: Any) -> Any:
        """Await it."""

        async def awaited() -> Any:
            return await value

        return self.runner.run(awaited())

    def enter(self, block: Any) -> Any:
        """Begin a block, in a context that goes on."""
        return self.wait(block.__aenter__())

    def leave(self, block: Any, error: BaseException | None = None) -> None:
        """End a block, with an error or without one."""
        self.wait(block.__aexit__(type(error) if error else None, error, None))


class AsyncSharedPlay(AsyncLocalPlay):
    """`AsyncSharedCircuitBreaker`."""

    is_shared = True

    def make(self, name: str, settings: dict[str, Any]) -> Any:
        """The client, over a pool of its own."""
        client = settings.pop("client", None) or self.engine.async_client()
        self.closing.callback(lambda: self.wait(client.aclose()))
        breaker = AsyncSharedCircuitBreaker(client, name, **settings)
        self.closing.callback(lambda: self.wait(breaker.close()))
        return breaker


PLAYS = {
    "local-sync": LocalPlay,
    "local-asyncio": AsyncLocalPlay,
    "shared-sync": SharedPlay,
    "shared-asyncio": AsyncSharedPlay,
}
