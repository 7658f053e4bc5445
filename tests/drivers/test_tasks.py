"""Tasks: the asyncio driver among timeouts, task groups and many callers (CM-10)."""

import asyncio
from collections.abc import Callable

import pytest

from redstep import AsyncRateLimiter, Decision, Limit
from redstep.rate_limiter import ZSET, Policy
from redstep.wishes import Announce, RunWork, Sleep, Wish
from support.servers import FOREVER_S, blocked, writes_paused
from support.tasks import alone, cancelled, no_complaints, soon, turns

from .stage import Stage, acquire, compensation_ms_max, count, guarding, in_use, once


def test_a_timeout_around_a_call_works(async_stage: Stage) -> None:
    """`asyncio.timeout` ends the call, as TimeoutError, and leaves the task uncancelled."""
    client = async_stage.client(max_connections=1)
    driver, seen = async_stage.driver(client), list[BaseException]()

    async def play() -> None:
        with no_complaints():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await driver.run(guarding(count("n"), seen, Sleep(1)))
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert in_use(client.connection_pool) == 0
            assert await alone()

    with writes_paused(async_stage.admin):
        async_stage.wait(play())
    assert [type(each) for each in seen] == [asyncio.CancelledError]
    assert async_stage.run(once(count("after")), driver) == [1]


def test_a_task_group_ends_its_calls(async_stage: Stage) -> None:
    """When one of many fails, the others are cancelled, and all connections are back."""
    client = async_stage.client(blocking=True, max_connections=3, timeout=None)
    driver = async_stage.driver(client)

    async def fail() -> None:
        await soon(lambda: blocked(async_stage.admin, 3))
        raise ArithmeticError

    async def crowd() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(driver.run(acquire()))
            group.create_task(fail())

    async def play() -> None:
        with no_complaints():
            with pytest.raises(ExceptionGroup) as caught:
                await crowd()
            assert [type(each) for each in caught.value.exceptions] == [ArithmeticError]
            assert in_use(client.connection_pool) == 0
            assert await alone()

    with writes_paused(async_stage.admin):
        async_stage.wait(play())
    assert async_stage.run(once(count("after")), driver) == [1]


def test_many_tasks_share_a_limiter(async_stage: Stage) -> None:
    """Together they are admitted to the limit and not beyond, though some are cancelled on the way."""
    client = async_stage.client(blocking=True, max_connections=4, timeout=None)
    limits = Limit(60, 3_600_000)
    limiter = AsyncRateLimiter(client, limits, representation=ZSET, on_store_failure="closed")

    async def play() -> list[Decision]:
        tasks = [asyncio.create_task(limiter.acquire("shared")) for _ in range(100)]
        await turns(3)
        for each in tasks[::5]:
            each.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert in_use(client.connection_pool) == 0
        return [each for each in outcomes if isinstance(each, Decision)]

    decisions = async_stage.wait(play())
    assert len(decisions) == 80
    remaining = [each.remaining for each in decisions if each.allowed]
    assert len(set(remaining)) == len(remaining)
    assert set(remaining) <= set(range(60))
    [key] = Policy(limits=limits, representation=ZSET).keys("shared")
    assert async_stage.charged(key) == 60


ENDLESS_WAITS: dict[str, Callable[[], Wish]] = {
    "work": lambda: RunWork(lambda: asyncio.sleep(FOREVER_S)),
    "a script": lambda: count("never"),
    "a listener": lambda: Announce((lambda _: asyncio.sleep(FOREVER_S),), "event"),
}


@pytest.mark.parametrize("wait", ENDLESS_WAITS)
def test_compensation_that_hangs_is_broken_off(async_stage: Stage, wait: str) -> None:
    """What it waits for is cancelled in its turn: no task is left and no connection."""
    client = async_stage.client(max_connections=1)
    driver = async_stage.driver(client)

    async def play() -> None:
        with no_complaints():
            task = asyncio.create_task(driver.run(guarding(Sleep(FOREVER_S * 1000), [], ENDLESS_WAITS[wait]())))
            await turns()
            task.cancel()
            assert await cancelled(task)
            assert await alone()
            assert in_use(client.connection_pool) == 0

    with writes_paused(async_stage.admin), compensation_ms_max(async_stage, 60):
        async_stage.wait(play())
    assert async_stage.run(once(count("after")), driver) == [1]
