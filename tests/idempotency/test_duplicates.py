"""Duplicates: of many callers at once one does the work, and all get its response (ID-3)."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from redstep.clients.idempotency import AsyncIdempotencyStore, AsyncLease, IdempotencyStore, Lease
from redstep.idempotency import Scope
from redstep.idempotency_errors import InProgress
from redstep_check.engines import SERVERS, Engine
from support.waiting import PATIENCE_S

CALLERS = 24
ROUNDS = 8


@pytest.fixture(params=SERVERS)
def engine(request: pytest.FixtureRequest, shared_engines: Callable[[str], Engine]) -> Engine:
    """Each engine, in turn."""
    return shared_engines(request.param)


def test_threads_run_the_work_once(engine: Engine) -> None:
    """Each with a store of its own; those who come too early wait, and all get the same response."""
    for number in range(ROUNDS):
        begun: list[int] = []
        together = threading.Barrier(CALLERS)

        def call(number: int = number, begun: list[int] = begun, together: threading.Barrier = together) -> tuple[bytes, bool]:
            with engine.client() as client:
                store = IdempotencyStore(client)

                def work(lease: Lease) -> bytes:
                    begun.append(lease.fence)
                    time.sleep(0.01)
                    return b"by " + lease.token.encode()

                together.wait()
                scope = Scope(operation="threads", key=str(number))
                outcome = store.run(scope, "payload", work, wait_ms=20_000)
                return outcome.response, outcome.replayed

        with ThreadPoolExecutor(CALLERS) as pool:
            outcomes = [each.result() for each in [pool.submit(call) for _ in range(CALLERS)]]
        assert begun == [1]
        assert len({response for response, _ in outcomes}) == 1
        assert sorted(replayed for _, replayed in outcomes) == [False] + [True] * (CALLERS - 1)


def test_tasks_run_the_work_once(engine: Engine) -> None:
    """Through one store, with fewer connections than callers."""

    async def play() -> None:
        client = engine.async_client(max_connections=CALLERS)
        store = AsyncIdempotencyStore(client)
        for number in range(ROUNDS):
            begun: list[int] = []

            async def work(lease: AsyncLease, begun: list[int] = begun) -> bytes:
                begun.append(lease.fence)
                await asyncio.sleep(0.01)
                return b"by " + lease.token.encode()

            scope = Scope(operation="tasks", key=str(number))
            outcomes = await asyncio.gather(*(store.run(scope, "payload", work, wait_ms=20_000) for _ in range(CALLERS)))
            assert begun == [1]
            assert len({outcome.response for outcome in outcomes}) == 1
            assert sum(not outcome.replayed for outcome in outcomes) == 1
        await store.close()
        await client.aclose()

    asyncio.run(play())


def test_who_does_not_wait_is_turned_away(engine: Engine) -> None:
    """Without patience one does the work, and the others learn that it is in progress; he ends when all have."""
    answers: list[str] = []

    async def play() -> None:
        client = engine.async_client(max_connections=CALLERS)
        store = AsyncIdempotencyStore(client)
        all_answered = asyncio.Event()

        async def work(_: object) -> bytes:
            answers.append("worked")
            await asyncio.wait_for(all_answered.wait(), PATIENCE_S)
            return b"done"

        async def call() -> None:
            try:
                outcome = await store.run(Scope(operation="impatient", key="1"), "payload", work)
            except InProgress:
                answers.append("in progress")
                if answers.count("in progress") == CALLERS - 1:
                    all_answered.set()
            else:
                answers.append("replayed" if outcome.replayed else "done")

        await asyncio.gather(*(call() for _ in range(CALLERS)))
        await store.close()
        await client.aclose()

    asyncio.run(play())
    assert sorted(answers) == ["done", *["in progress"] * (CALLERS - 1), "worked"]


def test_the_count_can_fail(engine: Engine) -> None:
    """A lease that ends while the work goes on lets another begin it, and the count shows that."""
    begun: list[int] = []
    with engine.client() as client:
        store = IdempotencyStore(client, lease_ms=1)
        scope = Scope(operation="short", key="1")

        def work(lease: Lease) -> bytes:
            begun.append(lease.fence)
            if len(begun) == 1:
                time.sleep(0.01)
                store.run(scope, "payload", work)
            return b"done"

        with pytest.raises(Exception, match="not in time"):
            store.run(scope, "payload", work)
    assert begun == [1, 2]
