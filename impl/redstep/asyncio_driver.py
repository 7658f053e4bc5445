"""
The asyncio driver: carries out the wishes of a protocol under an event loop, against a `redis.asyncio.Redis`.

A protocol that never asks a store, such as the local circuit breaker's, needs no more than an `AsyncRunner`.
"""

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar, cast
from weakref import WeakSet

import redis.asyncio
from redis.exceptions import NoScriptError

from redstep.driving import (
    COMPENSATION_MAX_MS,
    Clock,
    Draw,
    Overtaken,
    Raised,
    Returned,
    Run,
    Words,
    checked_clock,
    command,
    sources,
)
from redstep.errors import RedstepError, Unavailable
from redstep.redis_clients import checked_client, never_retrying
from redstep.redis_errors import after_sending, before_sending
from redstep.scripts import Script
from redstep.wishes import (
    Announce,
    CallScript,
    Protocol,
    RunWork,
    Sleep,
    Store,
    Wish,
)

T = TypeVar("T")
log = logging.getLogger("redstep")


class AsyncRunner:
    """Runs protocols that need no store; safe to share between the tasks of one event loop.

    `clock` is this process's, monotonic, in ms; `draw` draws an integer from the least to the most. Both are for tests.
    """

    def __init__(self, *, clock: Clock | None = None, draw: Draw | None = None) -> None:
        self._sources = sources(clock, draw)

    async def run(self, protocol: Protocol[T]) -> T:
        """Carry a protocol through to its result, or raise what it raises."""
        run = Run(protocol)
        while run.wish is not None and run.interruption is None:
            run.feed(await self._outcome(run.wish))
        if run.wish is not None:
            await self._compensate(run)
        return run.result()

    async def _compensate(self, run: Run[Any]) -> None:
        """Go on in a task of its own, which no further cancellation of the caller's can reach."""
        task = asyncio.create_task(self._finish(run))
        await _patiently(task)
        if not task.done():
            run.abandon()
            task.cancel()

    async def _finish(self, run: Run[Any]) -> None:
        while run.wish is not None:
            outcome = await self._outcome(run.wish)
            await asyncio.sleep(0)  # not every wish gives way to others, and so to the end of our time
            if run.wish is not None:
                run.feed(outcome)

    async def _outcome(self, wish: Wish) -> Returned | Raised:
        try:
            return Returned(await self._carry_out(wish))
        except BaseException as error:  # noqa: BLE001  interruptions are outcomes too
            return Raised(error)

    async def _carry_out(self, wish: Wish) -> object:
        match wish:
            case CallScript():
                return await self._execute(wish)
            case Sleep(ms):
                await asyncio.sleep(ms / 1000)
            case RunWork(work):
                return await _awaited(work())
            case Announce(listeners, event):
                await self._announce(listeners, event)
            case _:
                return self._sources.at_once(wish)
        return None

    async def _announce(self, listeners: tuple[Callable[[Any], Any], ...], event: object) -> None:
        for listener in listeners:
            try:
                await _awaited(listener(event))
            except Exception:
                log.exception("a listener failed on %r", event)

    async def _execute(self, request: CallScript) -> object:
        raise Unavailable(f"there is no store to run {request.script.name}", definite=True)


class AsyncDriver(AsyncRunner):
    """Runs protocols against a store; safe to share between the tasks of one event loop.

    `clock` is what placeholders for now are filled with, in ms; None leaves it to the engine, which is what services want.
    `draw` is for tests, as of an AsyncRunner.
    `elsewhere` are the clients of other stores that requests may be for; a store without one is where the first client is.
    """

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        clock: Clock | None = None,
        draw: Draw | None = None,
        elsewhere: Mapping[Store, redis.asyncio.Redis] | None = None,
    ) -> None:
        super().__init__(draw=draw)
        checked_client("client", client, redis.asyncio.Redis)
        self._elsewhere = {
            store: AsyncDriver(checked_client(f"{store.value}_client", other, redis.asyncio.Redis), clock=clock)
            for store, other in (elsewhere or {}).items()
        }
        self._clock = checked_clock(clock)
        self._pool = never_retrying(client.connection_pool)
        self._owns_pool = self._pool is not client.connection_pool
        self._talking: set[asyncio.Task[Any]] = set()
        """Conversations with the store that may be broken off."""
        self._finishing = WeakSet[asyncio.Task[Any]]()
        """Those that have begun to send what `finishes`."""

    async def close(self) -> None:
        """Close the connections that this driver opened; the caller's stay."""
        if self._owns_pool:
            await self._pool.disconnect()
        for driver in self._elsewhere.values():
            await driver.close()

    async def load(self, scripts: Sequence[Script]) -> None:
        """Put scripts into the engine ahead of time, and elsewhere if that can be. Raises Unavailable, ServiceOverloaded."""
        for script in scripts:
            await self._apart(self._load(script))
        for store, driver in self._elsewhere.items():
            try:
                await driver.load(scripts)
            except RedstepError as error:
                log.warning("the %s store has no scripts yet: %s", store.value, error)

    async def _execute(self, request: CallScript) -> object:
        return await self._elsewhere.get(request.store, self).call_script(request)

    async def _apart(self, conversation: Coroutine[Any, Any, object]) -> object:
        """Let a conversation with the store take place in a task of its own.

        A cancellation of the caller's breaks it off, but once only, and not while the connection is given back: redis-py's
        pools would leak it. The caller goes on when the conversation has ended and left nothing behind. One that is
        to finish is broken off only if it takes too long; else what it comes to is raised, as Overtaken.
        """
        task = asyncio.create_task(conversation)
        self._talking.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as cancellation:
            if task in self._finishing:
                await _patiently(task)
                if task.done() and not task.cancelled() and task.exception() is None:
                    raise Overtaken(task.result(), cancellation) from None
            if task in self._talking:
                task.cancel()
            await _patiently(task)
            raise
        return task.result()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._talking.discard(task)
        if not task.cancelled():
            task.exception()  # asyncio would complain of one that nobody looked at, and the caller may be gone

    async def _load(self, script: Script) -> None:
        connection = await self._connection()
        try:
            await self._exchange(connection, ("SCRIPT LOAD", script.text.encode()))
        finally:
            await self._release(connection)

    async def call_script(self, request: CallScript) -> object:
        """Have a script executed here. Raises Unavailable, Corrupt, ServiceOverloaded."""
        return await self._apart(self._call(request))

    async def _call(self, request: CallScript) -> object:
        connection = await self._connection()
        if request.finishes:
            self._finishing.add(_this_task())
        try:
            now_ms = self._clock() if self._clock else None
            try:
                return await self._exchange(connection, command(request, "EVALSHA", now_ms))
            except NoScriptError:
                return await self._exchange(connection, command(request, "EVAL", now_ms))
        finally:
            await self._release(connection)

    async def _connection(self) -> Any:
        try:
            return await self._pool.get_connection()  # type: ignore[no-untyped-call]
        except Exception as error:
            raise before_sending(error) from error

    async def _exchange(self, connection: Any, words: Words) -> object:
        try:
            _heed_cancellation()
            await connection.send_command(*words, check_health=False)
            _heed_cancellation()
            return await connection.read_response(disable_decoding=True)
        except NoScriptError:
            raise
        except Exception as error:
            raise after_sending(error) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def _release(self, connection: Any) -> None:
        self._talking.discard(_this_task())
        await self._pool.release(connection)


async def _patiently(task: asyncio.Task[Any]) -> None:
    """Wait for a task to end, however often we are cancelled meanwhile; but not for ever."""
    deadline = time.monotonic() + COMPENSATION_MAX_MS / 1000
    while not task.done() and (left_s := deadline - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=left_s)


def _this_task() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())


def _heed_cancellation() -> None:
    """Raise a cancellation of this task that was swallowed: `asyncio.wait_for`, which redis-py uses, may before Python 3.12."""
    if _this_task().cancelling():
        raise asyncio.CancelledError


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
