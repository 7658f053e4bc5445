"""
The circuit breaker as services use it: local or shared, sync or asyncio.

    breaker = CircuitBreaker("payments")
    receipt = breaker.call(charge, order)     # or @breaker, or `with breaker:`, or breaker.acquire()

A call that is refused raises CircuitOpen; any other raises what it raises itself, unchanged. Exceptions are failures, but for
those that tell nothing of what was called: see `redstep.circuit_breaker_outcomes`.

The local ones are for the threads or the tasks of one process, the shared ones for all that share a Redis. All four do the
same, for what they do is one protocol; the asyncio ones differ by `await`.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast, overload

import redis
import redis.asyncio

from redstep import circuit_breaker_protocols as protocols
from redstep.arguments import PREFIX
from redstep.asyncio_driver import AsyncDriver, AsyncRunner
from redstep.callables import at_once, checked_function
from redstep.circuit_breaker import Policy, Reason, View
from redstep.circuit_breaker_local import LocalBreaker
from redstep.circuit_breaker_outcomes import Excluded
from redstep.circuit_breaker_protocols import Breaker, Listener
from redstep.circuit_breaker_shared import SCRIPTS, SharedBreaker
from redstep.clients.circuit_breaker_permits import AsyncHeldPermit, Entered, HeldPermit
from redstep.driving import Clock, Draw
from redstep.sync_driver import SyncDriver, SyncRunner

P = ParamSpec("P")
R = TypeVar("R")


class _SyncBreaker:
    """What the sync breakers do."""

    def __init__(self, breaker: Breaker, runner: SyncRunner) -> None:
        for listener in breaker.listeners:
            checked_function("listeners", listener)
        self._breaker = breaker
        self._runner = runner
        self._entered = Entered[HeldPermit](breaker)

    @property
    def reports_lost(self) -> int:
        """How many reports failed, or may have; a local breaker loses none."""
        return self._breaker.reports_lost

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a call; returns what it returns, raises what it raises. Raises CircuitOpen if it is refused.

        Raises Misuse for a function that does its work later, and for a call whose result is to be awaited, which is neutral.
        """
        checked_function("function", function)

        def work() -> R:
            return at_once("function", function(*args, **kwargs))

        return cast("R", self._runner.run(protocols.call(self._breaker, work)))

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Guard a function. Raises Misuse for one that does its work later: a coroutine function, or a generator."""
        checked_function("function", function)

        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            return self.call(function, *args, **kwargs)

        return guarded

    def acquire(self) -> HeldPermit:
        """Ask for the permit of one call. Raises CircuitOpen."""
        return HeldPermit(self._breaker, self._runner.run(protocols.acquire(self._breaker)), self._runner.run)

    def __enter__(self) -> HeldPermit:
        return self._entered.add(self.acquire())

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._entered.take().__exit__(kind, error, trace)

    def view(self) -> View:
        """Look at the breaker, which changes nothing."""
        return self._runner.run(self._breaker.view())

    def force_open(self) -> None:
        """Open it now; if it is open already, for no longer than it would have been."""
        self._runner.run(protocols.intervene(self._breaker, Reason.FORCE_OPEN))

    def force_close(self) -> None:
        """Close it now. Calls that are under way count no longer."""
        self._runner.run(protocols.intervene(self._breaker, Reason.FORCE_CLOSE))

    def reset(self) -> None:
        """Begin anew. As `force_close`, for another reason: that what is called is known to be another one, say."""
        self._runner.run(protocols.intervene(self._breaker, Reason.RESET))


class _AsyncBreaker:
    """What the asyncio breakers do."""

    def __init__(self, breaker: Breaker, runner: AsyncRunner) -> None:
        self._breaker = breaker
        self._runner = runner
        self._entered = Entered[AsyncHeldPermit](breaker)

    @property
    def reports_lost(self) -> int:
        """How many reports failed, or may have; a local breaker loses none."""
        return self._breaker.reports_lost

    @overload
    async def call(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    async def call(self, function: Callable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Make a call, and await what it returns if that can be. Raises CircuitOpen if it is refused."""
        checked_function("function", function, awaited=True)
        return await self._runner.run(protocols.call(self._breaker, functools.partial(function, *args, **kwargs)))

    @overload
    def __call__(self, function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __call__(self, function: Callable[P, Any]) -> Callable[P, Coroutine[Any, Any, Any]]:
        """Guard a function; it becomes a coroutine function. Raises Misuse for a generator, which does its work later."""
        checked_function("function", function, awaited=True)

        @functools.wraps(function)
        async def guarded(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await self.call(function, *args, **kwargs)

        return guarded

    async def acquire(self) -> AsyncHeldPermit:
        """Ask for the permit of one call. Raises CircuitOpen."""
        return AsyncHeldPermit(self._breaker, await self._runner.run(protocols.acquire(self._breaker)), self._runner.run)

    async def __aenter__(self) -> AsyncHeldPermit:
        return self._entered.add(await self.acquire())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._entered.take().__aexit__(kind, error, trace)

    async def view(self) -> View:
        """Look at the breaker, which changes nothing."""
        return await self._runner.run(self._breaker.view())

    async def force_open(self) -> None:
        """Open it now; if it is open already, for no longer than it would have been."""
        await self._runner.run(protocols.intervene(self._breaker, Reason.FORCE_OPEN))

    async def force_close(self) -> None:
        """Close it now. Calls that are under way count no longer."""
        await self._runner.run(protocols.intervene(self._breaker, Reason.FORCE_CLOSE))

    async def reset(self) -> None:
        """Begin anew. As `force_close`, for another reason: that what is called is known to be another one, say."""
        await self._runner.run(protocols.intervene(self._breaker, Reason.RESET))


class CircuitBreaker(_SyncBreaker):
    """Keeps calls from what fails, for the threads of this process. Safe to share between them.

    `failure_threshold`  failures in a row open it, for `open_ms`, give or take a fifth.
    `success_threshold`  probes in a row must then succeed to close it; so many are under way at most.
    `excluded`   exceptions that tell nothing of what is called: classes, and predicates.
    `listeners`  functions that are told of each Transition, in order; what they raise is logged.
    `clock`      monotonic, in ms; `draw` draws an integer from the least to the most. Both are for tests.

    Raises Misuse for a bad argument.
    """

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int = 5,
        success_threshold: int = 3,
        open_ms: int = 30_000,
        excluded: Excluded | Iterable[Excluded] = (),
        listeners: Listener | Iterable[Listener] = (),
        clock: Clock | None = None,
        draw: Draw | None = None,
    ) -> None:
        policy = Policy(failure_threshold=failure_threshold, success_threshold=success_threshold, open_ms=open_ms)
        breaker = LocalBreaker(name=name, policy=policy, excluded=excluded, listeners=listeners)
        super().__init__(breaker, SyncRunner(clock=clock, draw=draw))


class AsyncCircuitBreaker(_AsyncBreaker):
    """`CircuitBreaker` for asyncio. Safe to share between the tasks of one event loop.

    Its listeners may be coroutine functions.
    """

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int = 5,
        success_threshold: int = 3,
        open_ms: int = 30_000,
        excluded: Excluded | Iterable[Excluded] = (),
        listeners: Listener | Iterable[Listener] = (),
        clock: Clock | None = None,
        draw: Draw | None = None,
    ) -> None:
        policy = Policy(failure_threshold=failure_threshold, success_threshold=success_threshold, open_ms=open_ms)
        breaker = LocalBreaker(name=name, policy=policy, excluded=excluded, listeners=listeners)
        super().__init__(breaker, AsyncRunner(clock=clock, draw=draw))


class SharedCircuitBreaker(_SyncBreaker):
    """Keeps calls from what fails, for all processes that share a Redis. Safe to share between threads.

    As `CircuitBreaker`; breakers of one name are one, and are to be made with the same settings. `prefix` is what its key
    starts with. `clock` replaces the engine's, in ms, for tests.

    An acquire raises Unavailable, Corrupt or ServiceOverloaded if the store does not answer. A report never does: it is logged,
    and counted in `reports_lost`.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        *,
        failure_threshold: int = 5,
        success_threshold: int = 3,
        open_ms: int = 30_000,
        excluded: Excluded | Iterable[Excluded] = (),
        listeners: Listener | Iterable[Listener] = (),
        prefix: str = PREFIX,
        clock: Clock | None = None,
        draw: Draw | None = None,
    ) -> None:
        policy = Policy(failure_threshold=failure_threshold, success_threshold=success_threshold, open_ms=open_ms)
        breaker = SharedBreaker(name=name, policy=policy, excluded=excluded, listeners=listeners, prefix=prefix)
        self._driver = SyncDriver(client, clock=clock, draw=draw)
        super().__init__(breaker, self._driver)

    def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        self._driver.load(SCRIPTS)

    def close(self) -> None:
        """Close the connections that this breaker opened; the client's own stay."""
        self._driver.close()


class AsyncSharedCircuitBreaker(_AsyncBreaker):
    """`SharedCircuitBreaker` for asyncio. Safe to share between the tasks of one event loop."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        name: str,
        *,
        failure_threshold: int = 5,
        success_threshold: int = 3,
        open_ms: int = 30_000,
        excluded: Excluded | Iterable[Excluded] = (),
        listeners: Listener | Iterable[Listener] = (),
        prefix: str = PREFIX,
        clock: Clock | None = None,
        draw: Draw | None = None,
    ) -> None:
        policy = Policy(failure_threshold=failure_threshold, success_threshold=success_threshold, open_ms=open_ms)
        breaker = SharedBreaker(name=name, policy=policy, excluded=excluded, listeners=listeners, prefix=prefix)
        self._driver = AsyncDriver(client, clock=clock, draw=draw)
        super().__init__(breaker, self._driver)

    async def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        await self._driver.load(SCRIPTS)

    async def close(self) -> None:
        """Close the connections that this breaker opened; the client's own stay."""
        await self._driver.close()
