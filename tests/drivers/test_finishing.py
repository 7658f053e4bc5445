"""What finishes: a cancellation under asyncio waits for the reply of a request that gives what must be given back (CM-10)."""

import asyncio
import itertools
import time
from typing import Any

import pytest
from attrs import evolve

from redstep.wishes import Announce, CallScript, GoOn, Protocol, RunWork
from support.servers import blocked, writes_paused
from support.tasks import alone, cancelled, no_complaints, soon, turns

from .stage import Stage, compensation_ms_max, count, in_use, once


def finishing(key: str) -> CallScript:
    """A wish that finishes, whose executions are counted."""
    return evolve(count(key), finishes=True)


def taking(key: str, taken: list[Any], seen: list[BaseException]) -> Protocol[str]:
    """Takes something, goes on with it, and notes the interruption that comes before it has gone on."""
    taken.append((yield finishing(key)))
    try:
        yield GoOn()
    except BaseException as interruption:
        seen.append(interruption)
        raise
    return "kept"


@pytest.mark.parametrize("cancellations", [1, 3])
def test_what_was_taken_is_known_whenever_the_caller_is_cancelled(async_stage: Stage, cancellations: int) -> None:
    """At every turn of the loop: what was executed was told, and the cancellation comes at the wish after it."""
    client = async_stage.client(max_connections=1)
    driver = async_stage.driver(client)
    async_stage.run(once(count("warm")), driver)

    async def cancel_after(number: int) -> bool:
        taken, seen = list[Any](), list[BaseException]()
        task = asyncio.create_task(driver.run(taking(f"n{number}", taken, seen)))
        await turns(number)
        if task.done():
            return False
        for _ in range(cancellations):
            task.cancel()
            await turns(1)
        assert await cancelled(task)
        assert await alone()
        assert in_use(client.connection_pool) == 0
        executed = async_stage.counted(f"n{number}")
        assert len(taken) == executed
        assert [type(each) for each in seen] == [asyncio.CancelledError] * executed
        told.append(executed)
        return True

    async def play() -> None:
        with no_complaints():
            for number in itertools.count():
                if not await cancel_after(number):
                    return

    told = list[int]()
    async_stage.wait(play())
    assert set(told) == {0, 1}


def test_a_reply_that_came_first_is_not_lost(async_stage: Stage) -> None:
    """Nor when the conversation has ended already, and the caller has not gone on yet."""
    driver, taken, seen = async_stage.driver(), list[Any](), list[BaseException]()
    release = driver._release

    async def release_and_cancel(connection: Any) -> None:
        await release(connection)
        asyncio.get_running_loop().call_soon(tasks[0].cancel)

    async def play() -> None:
        driver._release = release_and_cancel
        tasks.append(asyncio.create_task(driver.run(taking("n", taken, seen))))
        assert await cancelled(tasks[0])

    tasks = list[asyncio.Task[Any]]()
    async_stage.wait(play())
    assert taken == [[1]]
    assert [type(each) for each in seen] == [asyncio.CancelledError]


def test_the_cancellation_comes_at_the_next_wish(stage: Stage) -> None:
    """Which is not carried out; if there is none, the protocol has ended, and what it returned does not matter."""
    driving = stage.driver_type.run.__globals__["Run"].feed.__globals__
    taken, seen, cancellation = list[Any](), list[BaseException](), asyncio.CancelledError()
    late = driving["Raised"](driving["Overtaken"]([1], cancellation))
    for protocol in (taking("n", taken, seen), once(finishing("n"))):
        run = driving["Run"](protocol)
        run.feed(late)
        assert run.wish is None
        with pytest.raises(asyncio.CancelledError):
            run.result()
    assert taken == [[1]]
    assert seen == [cancellation]


def test_a_cancellation_waits_only_so_long(async_stage: Stage) -> None:
    """A store that doesn't answer keeps nobody: the cancellation then comes at the wish itself."""
    client = async_stage.client(max_connections=1, socket_timeout=None)
    driver, taken = async_stage.driver(client), list[Any]()

    async def play() -> None:
        with no_complaints():
            task = asyncio.create_task(driver.run(taking("n", taken, [])))
            await soon(lambda: blocked(async_stage.admin))
            started_s = time.monotonic()
            task.cancel()
            assert await cancelled(task)
            assert time.monotonic() - started_s >= 0.05
            assert await alone()

    with compensation_ms_max(async_stage, 60), writes_paused(async_stage.admin):
        async_stage.wait(play())
    assert taken == []
    assert in_use(client.connection_pool) == 0


def test_what_is_not_sent_yet_is_not_waited_for(async_stage: Stage) -> None:
    """Nor sent: there is nothing to be given back."""
    client = async_stage.client(max_connections=1, blocking=True, timeout=None)
    driver, taken = async_stage.driver(client), list[Any]()

    async def play() -> None:
        held = await client.connection_pool.get_connection()
        task = asyncio.create_task(driver.run(taking("n", taken, [])))
        await turns()
        task.cancel()
        assert await cancelled(task)
        await client.connection_pool.release(held)

    async_stage.wait(play())
    assert taken == []
    assert async_stage.counted("n") == 0


def test_an_error_that_comes_while_a_cancellation_waits_is_not_the_outcome(async_stage: Stage) -> None:
    """The protocol learns of the cancellation, at the wish."""
    driver = async_stage.driver(async_stage.client(max_connections=1, socket_timeout=None))
    seen = list[BaseException]()

    def noting() -> Protocol[None]:
        try:
            yield finishing("n")
        except BaseException as error:
            seen.append(error)
            raise

    async def play() -> None:
        task = asyncio.create_task(driver.run(noting()))
        await soon(lambda: blocked(async_stage.admin))
        task.cancel()
        await turns()
        async_stage.admin.client_kill_filter(skipme=True)
        assert await cancelled(task)

    with writes_paused(async_stage.admin):
        async_stage.wait(play())
    assert [type(each) for each in seen] == [asyncio.CancelledError]


def test_going_on_is_no_hindrance(stage: Stage) -> None:
    """It comes to nothing, on both stages."""
    assert stage.run(once(GoOn())) is None
    assert stage.run(taking("n", [], [])) == "kept"


def test_a_runner_needs_no_store(stage: Stage) -> None:
    """It does what the driver does, but for scripts: those it refuses, definitely."""
    runner = stage.driver_type.__mro__[1]()
    told: list[object] = []
    assert stage.run(once(RunWork(lambda: 5)), runner) == 5
    assert stage.run(once(Announce((told.append,), "event")), runner) is None
    assert told == ["event"]
    assert stage.failure(once(count("n")), runner).definite is True
