"""The asyncio driver: carries out the wishes of a protocol under an event loop, against a `redis.asyncio.Redis`."""

import asyncio
import contextlib
import inspect
import logging
import random
import secrets
import sys
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar, cast

import redis.asyncio
from redis.exceptions import NoScriptError

from redstep.driving import (
    COMPENSATION_MAX_MS,
    Raised,
    Returned,
    Run,
    Words,
    after_sending,
    before_sending,
    command,
    never_retrying,
)
from redstep.scripts import Script
from redstep.wishes import (
    Announce,
    CallScript,
    DrawBytes,
    DrawInteger,
    Protocol,
    ReadClock,
    RunWork,
    Sleep,
    Wish,
)

T = TypeVar("T")
log = logging.getLogger("redstep")


class AsyncDriver:
    """Runs protocols against a store; safe to share between the tasks of one event loop.

    `clock` is what placeholders for now are filled with, in ms; None leaves it to the engine, which is what services want.
    """

    def __init__(self, client: redis.asyncio.Redis, *, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock
        self._pool = never_retrying(client.connection_pool)
        self._owns_pool = self._pool is not client.connection_pool
        self._talking: set[asyncio.Task[Any]] = set()
        """Conversations with the store that may be broken off."""

    async def close(self) -> None:
        """Close the connections that this driver opened; the caller's stay."""
        if self._owns_pool:
            await self._pool.disconnect()

    async def load(self, scripts: Iterable[Script]) -> None:
        """Put scripts into the engine ahead of time. Raises Unavailable, ServiceOverloaded."""
        for script in scripts:
            await self._apart(self._load(script))

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
                return await self._apart(self._call(wish))
            case Sleep(ms):
                await asyncio.sleep(ms / 1000)
            case ReadClock():
                return time.monotonic_ns() // 1_000_000
            case DrawInteger(least, most):
                return random.randint(least, most)  # noqa: S311  jitter is no secret
            case DrawBytes(size):
                return secrets.token_bytes(size)
            case RunWork(work):
                return await _awaited(work())
            case Announce(listeners, event):
                await self._announce(listeners, event)
        return None

    async def _announce(self, listeners: tuple[Callable[[Any], Any], ...], event: object) -> None:
        for listener in listeners:
            try:
                await _awaited(listener(event))
            except Exception:
                log.exception("a listener failed on %r", event)

    async def _apart(self, conversation: Coroutine[Any, Any, object]) -> object:
        """Let a conversation with the store take place in a task of its own.

        A cancellation of the caller's breaks it off, but once only, and not while the connection is given back: redis-py's
        pools would leak it. The caller goes on when the conversation has ended and left nothing behind.
        """
        task = asyncio.create_task(conversation)
        self._talking.add(task)
        task.add_done_callback(self._ended)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
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

    async def _call(self, request: CallScript) -> object:
        connection = await self._connection()
        try:
            now_ms = self._clock() if self._clock else None
            try:
                return await self._exchange(connection, command(request, "EVALSHA", now_ms))
            except NoScriptError:
                return await self._exchange(connection, command(request, "EVAL", now_ms))
        finally:
            await self._release(connection)

    async def _connection(self) -> Any:
        handled = sys.exception()
        try:
            return await self._pool.get_connection()  # type: ignore[no-untyped-call]
        except Exception as error:
            raise before_sending(error, handled) from error

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
        self._talking.discard(cast("asyncio.Task[Any]", asyncio.current_task()))
        await self._pool.release(connection)


async def _patiently(task: asyncio.Task[Any]) -> None:
    """Wait for a task to end, however often we are cancelled meanwhile; but not for ever."""
    deadline = time.monotonic() + COMPENSATION_MAX_MS / 1000
    while not task.done() and (left_s := deadline - time.monotonic()) > 0:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task}, timeout=left_s)


def _heed_cancellation() -> None:
    """Raise a cancellation of this task that was swallowed: `asyncio.wait_for`, which redis-py uses, may before Python 3.12."""
    task = asyncio.current_task()
    if task and task.cancelling():
        raise asyncio.CancelledError


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
