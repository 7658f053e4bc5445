"""The asyncio driver: carries out the wishes of a protocol in the caller's task, against a `redis.asyncio.Redis`."""

import asyncio
import contextlib
import inspect
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import redis.asyncio
from redis.exceptions import NoScriptError

from redstep.driving import (
    COMPENSATION_MAX_MS,
    Raised,
    Returned,
    Run,
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
        self._releases: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Close the connections that this driver opened; the caller's stay."""
        if self._owns_pool:
            await self._pool.disconnect()

    async def load(self, scripts: Iterable[Script]) -> None:
        """Put scripts into the engine ahead of time. Raises Unavailable, ServiceOverloaded."""
        for script in scripts:
            connection = await self._connection()
            try:
                await self._exchange(connection, ("SCRIPT LOAD", script.text))
            finally:
                await self._release(connection)

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
        deadline = time.monotonic() + COMPENSATION_MAX_MS / 1000
        while not task.done() and (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task}, timeout=left_s)
        if not task.done():
            run.abandon()
            task.cancel()

    async def _finish(self, run: Run[Any]) -> None:
        while run.wish is not None:
            outcome = await self._outcome(run.wish)
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
                return await self._call(wish)
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

    async def _call(self, request: CallScript) -> object:
        now_ms = self._clock() if self._clock else None
        connection = await self._connection()
        try:
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

    async def _exchange(self, connection: Any, words: tuple[str | int, ...]) -> object:
        try:
            await connection.send_command(*words, check_health=False)
            return await connection.read_response(disable_decoding=True)
        except NoScriptError:
            raise
        except Exception as error:
            raise after_sending(error) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise

    async def _release(self, connection: Any) -> None:
        """Give a connection back even if we are cancelled meanwhile: redis-py's pools would leak it."""
        task = asyncio.create_task(self._pool.release(connection))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)
        await asyncio.shield(task)


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
