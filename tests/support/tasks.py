"""What tests of the asyncio driver do with tasks and the event loop."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any


async def turns(number: int = 10) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def soon(fact: Callable[[], bool]) -> None:
    """Wait until a fact comes true."""
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def alone() -> bool:
    """Is no other task left, but those that are about to end?"""
    await turns()
    return asyncio.all_tasks() == {asyncio.current_task()}


async def cancelled(task: asyncio.Task[Any]) -> bool:
    """Does a task end by its cancellation?"""
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 10)
    return task.cancelled()


@contextmanager
def no_complaints() -> Iterator[None]:
    """The loop's exception handler hears of nothing: no exception that nobody retrieved, no task destroyed."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield
    gc.collect()
    assert heard == []
