"""Contention: 2 to 16 writers at a time, on real connections. None is lost, none is twice, and order is that of real time."""

import asyncio
import threading
from collections.abc import Callable
from itertools import count

import pytest
import redis
from attrs import frozen

from redstep.audit_chain import BATCH, CAS, SERVER_ORDER, Chain
from redstep.audit_chain_appending import Appended
from redstep.audit_chain_encoding import linked, stored
from redstep.audit_chain_errors import Conflict, NotAppended
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep_check.engines import Engine

from .support import head_text, plant, records_in

EACH = 25
WRITERS = (2, 5, 16)
PATIENT = 10_000


@frozen
class Done:
    """An append, and between which moments of one counter it took place."""

    event: str
    began: int
    ended: int
    appended: Appended | None
    """None if it ended as not appended."""


def assert_sound(client: redis.Redis, chain: Chain, done: list[Done]) -> None:
    """What was appended is there once, at its place; what was not is nowhere; and nothing else is there."""
    records = records_in(client, chain)
    appended = {each.appended.seq: each for each in done if each.appended}
    assert len(appended) == sum(each.appended is not None for each in done)
    assert sorted(appended) == list(range(len(records)))
    for seq, each in appended.items():
        assert each.appended is not None
        assert records[seq].event.decode() == f'"{each.event}"'
        assert records[seq].hash.hex() == each.appended.hash
    for seq in sorted(appended, reverse=True):  # none that was appended later had ended before this one began
        latest = min([each.ended for other, each in appended.items() if other > seq], default=2**60)
        assert appended[seq].began < latest


def by_threads(engine: Engine, mode: str, writers: int, retries: int, *, shared: bool) -> list[Done]:
    """Each thread a client of its own, or all threads one."""
    clock, done = count(), list[Done]()
    start = threading.Barrier(writers)

    def work(chain: AuditChain, writer: int) -> None:
        start.wait()
        for number in range(EACH):
            event, began = f"{writer}-{number}", next(clock)
            try:
                appended = chain.append(event)
            except NotAppended as error:
                assert isinstance(error.cause, Conflict)  # noqa: PT017  any other is a failure
                appended = None
            done.append(Done(event, began, next(clock), appended))

    with engine.client() as client:
        chains = [AuditChain(client, "orders", mode=mode, conflict_retries=retries)]
        chains *= writers if shared else 1
        chains += [AuditChain(client, "orders", mode=mode, conflict_retries=retries) for _ in range(writers - len(chains))]
        threads = [threading.Thread(target=work, args=(chain, number)) for number, chain in enumerate(chains)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for chain in chains:
            chain.close()
    return done


def by_tasks(engine: Engine, mode: str, writers: int, retries: int, *, shared: bool) -> list[Done]:
    """The same with tasks."""
    clock, done = count(), list[Done]()

    async def work(chain: AsyncAuditChain, writer: int) -> None:
        for number in range(EACH):
            event, began = f"{writer}-{number}", next(clock)
            try:
                appended = await chain.append(event)
            except NotAppended as error:
                assert isinstance(error.cause, Conflict)  # noqa: PT017  any other is a failure
                appended = None
            done.append(Done(event, began, next(clock), appended))

    async def all_of_them() -> None:
        client = engine.async_client()
        chains = [AsyncAuditChain(client, "orders", mode=mode, conflict_retries=retries)]
        chains *= writers if shared else 1
        chains += [AsyncAuditChain(client, "orders", mode=mode, conflict_retries=retries) for _ in range(writers - len(chains))]
        await asyncio.gather(*(work(chain, number) for number, chain in enumerate(chains)))
        for chain in chains:
            await chain.close()
        await client.aclose()

    asyncio.run(all_of_them())
    return done


@pytest.mark.parametrize("writers", WRITERS)
@pytest.mark.parametrize("shared", [True, False], ids=["one client", "a client each"])
@pytest.mark.parametrize("by", [by_threads, by_tasks])
def test_none_is_lost_and_none_is_twice(
    server: Engine, server_client: redis.Redis, mode: str, by: Callable[..., list[Done]], shared: bool, writers: int
) -> None:
    """With patience, every event is appended."""
    done = by(server, mode, writers, PATIENT, shared=shared)
    assert len(done) == writers * EACH
    assert all(each.appended for each in done)
    assert_sound(server_client, Chain(name="orders"), done)


@pytest.mark.parametrize("by", [by_threads, by_tasks])
def test_who_runs_out_of_retries_is_told(server: Engine, server_client: redis.Redis, by: Callable[..., list[Done]]) -> None:
    """Sixteen writers and no retry: some are not appended, which they hear, and whose events are nowhere."""
    done = by(server, CAS, 16, 0, shared=False)
    assert len(done) == 16 * EACH
    assert any(each.appended is None for each in done)
    assert_sound(server_client, Chain(name="orders"), done)


@pytest.mark.parametrize("mode", [BATCH, SERVER_ORDER])
@pytest.mark.parametrize("by", [by_threads, by_tasks])
def test_writers_of_one_process_never_conflict(
    server: Engine, server_client: redis.Redis, mode: str, by: Callable[..., list[Done]]
) -> None:
    """In batches, or when the engine links: without any retry."""
    done = by(server, mode, 16, 0, shared=True)
    assert all(each.appended for each in done)
    assert_sound(server_client, Chain(name="orders"), done)


def test_all_modes_at_once(server: Engine, server_client: redis.Redis) -> None:
    """Processes need not agree on a mode: threads and tasks of all three, on one chain."""
    parts: list[list[Done]] = []

    def run(by: Callable[..., list[Done]], mode: str) -> None:
        parts.append(by(server, mode, 3, PATIENT, shared=True))

    threads = [
        threading.Thread(target=run, args=(by, mode)) for by in (by_threads, by_tasks) for mode in (CAS, BATCH, SERVER_ORDER)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seqs = sorted(each.appended.seq for part in parts for each in part if each.appended)
    assert seqs == list(range(6 * 3 * EACH))
    assert len(records_in(server_client, Chain(name="orders"))) == len(seqs)


def test_the_check_of_order_can_fail(server_client: redis.Redis) -> None:
    """A record that stands before one that had ended before it began."""
    chain = Chain(name="orders")
    first = linked(chain.chain_id, 0, chain.genesis, b"a" * 16, b'"a"')
    second = linked(chain.chain_id, 1, first.hash, b"b" * 16, b'"b"')
    plant(server_client, chain, [stored(first), stored(second)], head_text([first, second]))
    places = [Appended(each.seq, each.hash.hex()) for each in (first, second)]
    assert_sound(server_client, chain, [Done("a", 0, 1, places[0]), Done("b", 2, 3, places[1])])
    with pytest.raises(AssertionError):
        assert_sound(server_client, chain, [Done("a", 2, 3, places[0]), Done("b", 0, 1, places[1])])
