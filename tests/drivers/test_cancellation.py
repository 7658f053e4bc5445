"""Cancellation: under asyncio a call can be broken off at every turn of the loop, and wherever a protocol waits (CM-10)."""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any, cast

import pytest
import redis.asyncio
from attrs import frozen

from redstep import Usage
from redstep.scripts import Script
from redstep.wishes import Announce, CallScript, RunWork, Sleep, Wish
from support.servers import FOREVER_S, blocked, writes_paused
from support.tasks import alone, cancelled, no_complaints, soon, turns

from .stage import Stage, acquire, count, guarding, in_use, once, peek

# --- at every turn of the loop -------------------------------------------------------------------------------------------

CONNECTIONS: dict[str, dict[str, Any]] = {
    "by default": {},
    "without timeouts": {"socket_timeout": None},
    "without a handshake": {"protocol": 2, "driver_info": None},
    "from a pool that waits": {"blocking": True, "timeout": 5},
}


@pytest.mark.parametrize("options", CONNECTIONS)
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("cancellations", [1, 3])
def test_a_cancellation_is_heeded_at_every_turn(async_stage: Stage, options: str, connected: bool, cancellations: int) -> None:
    """While connecting, sending, reading or giving back: none is swallowed and nothing is left behind.

    Before Python 3.12 `asyncio.wait_for`, through which redis-py connects and sends, swallows some.
    """
    client = async_stage.client(max_connections=1, **CONNECTIONS[options])
    driver = async_stage.driver(client)
    async_stage.run(peek(), driver)

    async def cancel_after(number: int) -> bool:
        """Cancel an acquire after so many turns, unless it is too late."""
        if not connected:
            await client.connection_pool.disconnect()
        task = asyncio.create_task(driver.run(acquire()))
        await turns(number)
        if task.done():
            return False
        for _ in range(cancellations):
            task.cancel()
            await turns(1)
        assert await cancelled(task), f"not cancelled after {number} turns"
        assert await alone()
        assert in_use(client.connection_pool) == 0, f"a connection leaked after {number} turns"
        assert isinstance(await driver.run(peek("nobody")), Usage)
        return True

    async def play() -> int:
        with no_complaints():
            for number in itertools.count():
                if not await cancel_after(number):
                    return number
        raise AssertionError

    assert async_stage.wait(play()) > (1 if connected else 3)


def test_what_is_cancelled_before_it_is_sent_is_never_sent(async_stage: Stage) -> None:
    """A cancellation that comes while the connection is made, even if swallowed there, keeps the request back."""

    class Deaf(redis.asyncio.UnixDomainSocketConnection):
        async def connect(self) -> None:
            reached.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(FOREVER_S)
            await super().connect()  # type: ignore[no-untyped-call]

    async def play() -> None:
        task = asyncio.create_task(driver.run(once(count("n"))))
        await reached.wait()
        task.cancel()
        assert await cancelled(task)
        assert await alone()

    reached = asyncio.Event()
    client = async_stage.client(connection_class=Deaf, max_connections=1)
    driver = async_stage.driver(client)
    async_stage.forget_commands()
    async_stage.wait(play())
    assert async_stage.scripts_sent() == {}
    assert in_use(client.connection_pool) == 0


def test_the_pool_of_redis_py_itself_leaks(async_stage: Stage) -> None:
    """The danger that the driver keeps off: a release that is cancelled while it waits for the pool."""

    async def play() -> None:
        pool = async_stage.client(blocking=True, max_connections=1).connection_pool
        connection = await pool.get_connection()
        async with pool._condition:
            release = asyncio.create_task(pool.release(connection))
            await turns()
            release.cancel()
            assert await cancelled(release)
        assert in_use(pool) == 1

    async_stage.wait(play())


# --- wherever a protocol waits -------------------------------------------------------------------------------------------


@frozen
class Point:
    """Somewhere that a protocol can be when it is cancelled."""

    wish: Wish
    reached: Callable[[], bool]
    leave: Callable[[], Any] = lambda: None
    """Clears the way for compensation."""
    executed: tuple[int, ...] = (0,)
    """How often the wish's script may have been executed."""
    over: Callable[[], bool] = lambda: True
    """Has the loop nothing more to do for it?"""


def checkout(stage: Stage, pool: Any, _: ExitStack) -> Point:
    """Where the only connection is with somebody else."""
    held = stage.wait(pool.get_connection())
    released = list[Any]()
    return Point(
        count("n"),
        reached=lambda: bool(pool._condition._waiters),
        leave=lambda: released.append(asyncio.ensure_future(pool.release(held))),
    )


def send(stage: Stage, pool: Any, stack: ExitStack) -> Point:
    """Where the engine reads nothing, and the request is too large for the buffers in between."""
    pid = cast("int", stage.engine.pid)
    count_length = Script("count_length", "redis.call('INCR', KEYS[1]); return {#ARGV[1]}")
    request = CallScript(script=count_length, keys=("n",), args=("x" * 8_000_000,), idempotent=False)
    stage.run(once(count("warm")), stage.driver_type(redis.asyncio.Redis(connection_pool=pool)))
    os.kill(pid, signal.SIGSTOP)
    stack.callback(os.kill, pid, signal.SIGCONT)
    [transport] = [each._writer.transport for each in pool._available_connections]

    def writing() -> bool:
        return bool(transport.get_write_buffer_size())

    return Point(
        request,
        reached=writing,
        leave=lambda: os.kill(pid, signal.SIGCONT),
        executed=(0, 1),  # asyncio sends what it has in hand even when redis-py disconnects
        over=lambda: not writing(),
    )


def read(stage: Stage, _: Any, stack: ExitStack) -> Point:
    """Where the engine has taken the request, and doesn't answer."""
    stack.enter_context(writes_paused(stage.admin))
    return Point(count("n"), lambda: blocked(stage.admin), leave=stage.admin.client_unpause, executed=(0, 1))


def release(stage: Stage, pool: Any, stack: ExitStack) -> Point:
    """Where the pool is held by somebody else, so that to give a connection back takes a while.

    If that were cancelled, redis-py's pool would lose the connection for good.
    """
    stack.enter_context(writes_paused(stage.admin))
    condition, held = pool._condition, list[Any]()

    def reached() -> bool:
        if not held and blocked(stage.admin):
            held.append(asyncio.ensure_future(condition.acquire()))
            stage.admin.client_unpause()
        return bool(held and condition._lock._waiters)

    return Point(count("n"), reached, leave=condition.release, executed=(1,))


def sleep(*_: object) -> Point:
    """Where it sleeps."""
    return Point(Sleep(FOREVER_S * 1000), lambda: True)


def work(*_: object) -> Point:
    """Where it waits for the caller's work."""
    return _wait_for(RunWork)


def listener(*_: object) -> Point:
    """Where it waits for a listener."""
    return _wait_for(lambda forever: Announce((forever,), "event"))


def _wait_for(wish: Callable[[Callable[..., Any]], Wish]) -> Point:
    waiting = list[object]()

    async def forever(*_: object) -> None:
        waiting.append(None)
        await asyncio.sleep(FOREVER_S)

    return Point(wish(forever), lambda: bool(waiting))


@pytest.mark.parametrize("cancellations", [1, 2, 3])
@pytest.mark.parametrize("point", [checkout, send, read, release, sleep, work, listener])
def test_a_cancellation_is_thrown_in_wherever_the_protocol_waits(
    async_stage: Stage, point: Callable[[Stage, Any, ExitStack], Point], cancellations: int
) -> None:
    """What it wishes then is carried out once, in full, shielded from further cancellations; then the first goes on."""
    client = async_stage.client(blocking=True, max_connections=1, timeout=None)
    pool = client.connection_pool
    driver, seen = async_stage.driver(client), list[BaseException]()
    with ExitStack() as stack:
        place = point(async_stage, pool, stack)

        async def play() -> None:
            with no_complaints():
                task = asyncio.create_task(driver.run(guarding(place.wish, seen, count("compensated"), Sleep(5), count("too"))))
                await turns()
                await soon(place.reached)
                for _ in range(cancellations):
                    task.cancel()
                    await turns(2)
                place.leave()
                await turns(1)
                for _ in range(cancellations - 1):
                    task.cancel()
                    await turns(1)
                assert await cancelled(task)
                assert [type(each) for each in seen] == [asyncio.CancelledError]
                await soon(place.over)
                assert await alone()
                assert in_use(pool) == 0

        async_stage.wait(play())
    assert (async_stage.counted("compensated"), async_stage.counted("too")) == (1, 1)
    assert async_stage.counted("n") in place.executed
    assert async_stage.run(once(count("after")), driver) == [1]
