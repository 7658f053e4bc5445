"""Batches: what gathers together goes in together, and who is interrupted takes nothing with him."""

import asyncio
import logging
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import pytest
import redis
from attrs import define, field, frozen

from redstep.audit_chain import BATCH, BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Chain
from redstep.audit_chain_appending import Appended, Appending, Item, Outcome, abandoned
from redstep.audit_chain_batching import Batch, TaskBatches, ThreadBatches, Waiter, freeze
from redstep.audit_chain_errors import AppendUnknown, NotAppended
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Unavailable
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy
from redstep_spec.delivery import Fate
from support.waiting import eventually

from .support import forks, records_in

CHAIN = Chain(name="orders", mode=BATCH)


@frozen
class Waits:
    """Somebody with an event of a size."""

    item: Item


def waiting(*sizes: int) -> deque[Waits]:
    """A queue of events of these sizes."""
    return deque(Waits(Item(bytes([number % 256]) * 16, b"x" * size)) for number, size in enumerate(sizes))


@pytest.mark.parametrize(
    ("sizes", "taken"),
    [
        ([1], 1),
        ([1] * BATCH_RECORDS_MAX, BATCH_RECORDS_MAX),
        ([1] * (BATCH_RECORDS_MAX + 1), BATCH_RECORDS_MAX),
        ([BATCH_BYTES_MAX], 1),
        ([BATCH_BYTES_MAX, 1], 1),
        ([BATCH_BYTES_MAX - 1, 1], 2),
        ([BATCH_BYTES_MAX - 1, 1, 1], 2),
        ([1, BATCH_BYTES_MAX, 1], 1),
    ],
)
def test_a_batch_holds_so_many_and_so_much(sizes: list[int], taken: int) -> None:
    """At most 500 records and 1 MiB, in the order in which they came, and at least one."""
    queue = waiting(*sizes)
    all_of_them = list(queue)
    batch = freeze(queue)
    assert batch.waiting == all_of_them[:taken]
    assert batch.appending.items == tuple(each.item for each in all_of_them[:taken])
    assert list(queue) == all_of_them


@define
class Store:
    """Where batches of threads go: each is held until it is let go."""

    arrived: "deque[Appending]" = field(factory=deque)
    abandoned: list[tuple[bytes, ...]] = field(factory=list)
    interrupt: BaseException | None = None
    _came: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))
    _go: threading.Semaphore = field(factory=lambda: threading.Semaphore(0))

    def send(self, appending: Appending) -> tuple[Outcome, ...]:
        """Wait, then append; or be interrupted."""
        self.arrived.append(appending)
        self._came.release()
        assert self._go.acquire(timeout=10)
        if self.interrupt:
            error, self.interrupt = self.interrupt, None
            raise error
        return tuple(Appended(item.append_id[0], "0" * 64) for item in appending.items)

    def abandon(self, appending: Appending, _cause: BaseException) -> tuple[Any, ...]:
        """Take note of what nobody was left to append."""
        self.abandoned.append(tuple(item.event for item in appending.items))
        return ()

    def wait_for_one(self) -> Appending:
        """Until a batch is in flight."""
        assert self._came.acquire(timeout=10)
        return self.arrived[-1]

    def let_go(self) -> None:
        """Let it end."""
        self._go.release()


@define
class Caller:
    """A thread that appends one event."""

    number: int
    outcome: Any = None
    thread: threading.Thread = field(init=False)

    def begin(self, batches: ThreadBatches) -> None:
        """Append."""

        def work() -> None:
            try:
                self.outcome = batches.append(Item(bytes([self.number]) * 16, b"%d" % self.number))
            except BaseException as error:  # noqa: BLE001  what a test raises
                self.outcome = error

        self.thread = threading.Thread(target=work)
        self.thread.start()

    def ended(self) -> Any:
        """What came of it."""
        self.thread.join(10)
        assert not self.thread.is_alive()
        return self.outcome


def queued(batches: ThreadBatches, number: int) -> None:
    """Wait until so many are in the queue, those in flight among them."""
    assert eventually(lambda: len(batches._queue) >= number)


def begun(batches: ThreadBatches, store: Store, number: int) -> list[Caller]:
    """So many callers: the first leads a batch that is in flight, the others gather."""
    callers = [Caller(each) for each in range(number)]
    callers[0].begin(batches)
    store.wait_for_one()
    for place, caller in enumerate(callers[1:], start=1):
        caller.begin(batches)
        queued(batches, place + 1)
    return callers


def numbers(appending: Appending) -> list[int]:
    """Whose events these are."""
    return [item.append_id[0] for item in appending.items]


def test_while_one_batch_is_in_flight_the_next_gathers() -> None:
    """In the order in which they came; one of those that wait leads it."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    callers = begun(batches, store, 4)
    assert numbers(store.arrived[0]) == [0]
    store.let_go()
    assert numbers(store.wait_for_one()) == [1, 2, 3]
    store.let_go()
    assert [caller.ended().seq for caller in callers] == [0, 1, 2, 3]
    late = Caller(9)
    late.begin(batches)
    assert numbers(store.wait_for_one()) == [9]
    store.let_go()
    assert late.ended().seq == 9


def test_when_a_leader_is_interrupted_another_goes_on_with_the_same_batch() -> None:
    """With the very same appending, which knows how it was sent; the interruption reaches nobody else."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    callers = begun(batches, store, 4)
    store.let_go()
    store.wait_for_one()
    store.interrupt = KeyboardInterrupt()
    store.let_go()
    again = store.wait_for_one()
    assert again is store.arrived[1]
    assert numbers(again) == [1, 2, 3]
    store.let_go()
    assert isinstance(callers[1].ended(), KeyboardInterrupt)
    assert [caller.ended().seq for caller in (callers[0], *callers[2:])] == [0, 2, 3]
    assert store.abandoned == []


def test_who_waits_in_the_queue_goes_on_with_a_batch_that_is_not_his() -> None:
    """The only member of a batch in flight is interrupted: the next sends it first, then his own."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    callers = begun(batches, store, 2)
    store.interrupt = KeyboardInterrupt()
    store.let_go()
    assert numbers(store.wait_for_one()) == [0]
    store.let_go()
    assert numbers(store.wait_for_one()) == [1]
    store.let_go()
    assert isinstance(callers[0].ended(), KeyboardInterrupt)
    assert callers[1].ended().seq == 1


def test_what_nobody_is_left_to_append_is_kept() -> None:
    """And the next caller is served as ever."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    [caller] = begun(batches, store, 1)
    store.interrupt = KeyboardInterrupt()
    store.let_go()
    assert isinstance(caller.ended(), KeyboardInterrupt)
    assert store.abandoned == [(b"0",)]
    late = Caller(9)
    late.begin(batches)
    assert numbers(store.wait_for_one()) == [9]
    store.let_go()
    assert late.ended().seq == 9


class Stopping(threading.Event):
    """An event whose wait is interrupted."""

    def wait(self, timeout: float | None = None) -> bool:
        """Be interrupted at once."""
        raise KeyboardInterrupt(timeout)


def test_who_is_interrupted_while_he_waits_leaves_his_event_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leader appends it all the same, though he is the only one left."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    [leader] = begun(batches, store, 1)
    with monkeypatch.context() as patched:
        patched.setattr("redstep.audit_chain_batching.Waiter", partial(Waiter, woken=Stopping()))
        with pytest.raises(KeyboardInterrupt):
            batches.append(Item(b"\1" * 16, b"1"))
    store.let_go()
    assert numbers(store.wait_for_one()) == [1]
    store.let_go()
    assert leader.ended().seq == 0
    assert store.abandoned == []


class Interrupting(deque[Waiter]):
    """A queue that takes a waiter in, whom an interruption meets just then."""

    def append(self, waiter: Waiter, /) -> None:
        """Take him in, once."""
        super().append(waiter)
        raise KeyboardInterrupt


def test_who_is_interrupted_before_he_leads_leaves_no_event_without_a_leader() -> None:
    """There is nobody else: it is kept."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    batches._queue = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        batches.append(Item(b"\1" * 16, b"1"))
    assert store.abandoned == [(b"1",)]
    late = Caller(9)
    late.begin(batches)
    assert numbers(store.wait_for_one()) == [9]
    store.let_go()
    assert late.ended().seq == 9


def test_an_interruption_while_a_batch_is_made_loses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was to go in waits as before, and another leads it."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    callers = begun(batches, store, 4)
    interruptions = [KeyboardInterrupt()]

    def interrupted(queue: deque[Waiter]) -> Batch[Waiter]:
        batch = freeze(queue)
        if interruptions:
            raise interruptions.pop()
        return batch

    monkeypatch.setattr("redstep.audit_chain_batching.freeze", interrupted)
    store.let_go()
    assert numbers(store.wait_for_one()) == [1, 2, 3]
    store.let_go()
    assert isinstance(callers[1].ended(), KeyboardInterrupt)
    assert [caller.ended().seq for caller in (callers[0], *callers[2:])] == [0, 2, 3]
    assert store.abandoned == []


@pytest.mark.parametrize("heard", [0, 1, 2, 3])
def test_an_interruption_while_outcomes_are_told_leaves_nobody_waiting(heard: int) -> None:
    """Who was told has his; the others hear from the next leader, who asks about the very same batch."""
    store = Store()

    def send(appending: Appending) -> Iterator[Outcome]:
        outcomes = store.send(appending)
        yield from outcomes[: heard if len(store.arrived) == 2 else None]
        if len(store.arrived) == 2:
            raise KeyboardInterrupt

    batches = ThreadBatches(send, store.abandon)  # type: ignore[arg-type]
    callers = begun(batches, store, 4)
    store.let_go()
    store.wait_for_one()
    store.let_go()
    if heard < 3:
        assert store.wait_for_one() is store.arrived[1]
        store.let_go()
    assert isinstance(callers[1].ended(), KeyboardInterrupt)
    assert [caller.ended().seq for caller in (callers[0], *callers[2:])] == [0, 2, 3]
    assert store.abandoned == []


@forks
@pytest.mark.parametrize("locked", [False, True], ids=["", "while a thread holds the lock"])
def test_a_forked_process_begins_with_no_leader(locked: bool) -> None:
    """Its parent's leads a batch, which goes in once; what the child appends goes in from there."""
    store = Store()
    batches = ThreadBatches(store.send, store.abandon)
    callers = begun(batches, store, 3)
    store.let_go()
    store.wait_for_one()
    with batches._lock if locked else nullcontext():
        child = os.fork()
    if not child:
        signal.alarm(20)  # ends one that waits for ever
        mine, other = Caller(9), Store()  # threads of the parent's wait in the first one
        batches._send = other.send
        mine.begin(batches)
        sent = numbers(other.wait_for_one())
        other.let_go()
        os._exit(0 if sent == [9] and mine.ended().seq == 9 else 1)
    assert os.waitpid(child, 0)[1] == 0
    store.let_go()
    assert [caller.ended().seq for caller in callers] == [0, 1, 2]
    assert [numbers(each) for each in store.arrived] == [[0], [1, 2]]


def test_what_is_known_to_be_in_the_chain_is_not_kept() -> None:
    """Though its leader was interrupted before he could tell."""
    where = (Appended(0, "0" * 64),)
    appending = Appending((Item(b"i" * 16, b"1"),), appended=where)
    protocol = abandoned(CHAIN, appending, KeyboardInterrupt(), lambda _: pytest.fail("it was kept"))
    with pytest.raises(StopIteration) as ended:
        next(protocol)
    assert ended.value.value == where


# ---------------------------------------------------------------------------------------------- tasks, on a real engine


@contextmanager
def slowly(chain: AsyncAuditChain) -> Iterator[tuple[asyncio.Event, asyncio.Event]]:
    """A chain whose first batch waits in flight: told when it is there, and telling when it may go on."""
    arrived, go = asyncio.Event(), asyncio.Event()
    send = chain._batches._send

    async def held(appending: Appending) -> tuple[Outcome, ...]:
        arrived.set()
        await go.wait()
        return await send(appending)

    chain._batches = TaskBatches(held, chain._batches._abandon)
    yield arrived, go


def test_a_cancelled_task_breaks_nothing_and_its_event_is_appended(server: Engine, server_client: redis.Redis) -> None:
    """Whether its batch is in flight or still gathers."""

    async def play() -> list[Any]:
        client = server.async_client()
        async with AsyncAuditChain(client, "orders", mode=BATCH) as chain:
            with slowly(chain) as (arrived, go):
                first = [asyncio.create_task(chain.append(f"first {number}")) for number in range(3)]
                await arrived.wait()
                second = [asyncio.create_task(chain.append(f"second {number}")) for number in range(3)]
                await asyncio.sleep(0.01)
                first[1].cancel()
                second[0].cancel()
                go.set()
                outcomes = await asyncio.gather(*first, *second, return_exceptions=True)
        await client.aclose()
        return outcomes

    outcomes = asyncio.run(play())
    assert [isinstance(each, asyncio.CancelledError) for each in outcomes] == [False, True, False, True, False, False]
    events = [record.event.decode().strip('"') for record in records_in(server_client, CHAIN)]
    assert sorted(events) == sorted(f"{which} {number}" for which in ("first", "second") for number in range(3))
    for outcome, event in zip(outcomes, [f"{which} {n}" for which in ("first", "second") for n in range(3)], strict=True):
        if isinstance(outcome, Appended):
            assert events[outcome.seq] == event


def test_when_the_loop_ends_what_is_under_way_is_told(server: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """Its tasks hear of their events, and the log does."""
    outcomes: list[Any] = []

    async def append(chain: AsyncAuditChain, number: int) -> None:
        try:
            outcomes.append(await chain.append(number))
        except (NotAppended, AppendUnknown, asyncio.CancelledError) as error:
            outcomes.append(error)

    async def play() -> None:
        client = server.async_client()
        chain = AsyncAuditChain(client, "orders", mode=BATCH)
        with slowly(chain) as (arrived, _):
            tasks = [asyncio.create_task(append(chain, number)) for number in range(2)]
            await arrived.wait()
            assert chain._batches._sender
            chain._batches._sender.cancel()
            await asyncio.wait(tasks)
        await chain.close()
        await client.aclose()

    asyncio.run(play())
    assert [type(each) for each in outcomes] == [NotAppended, NotAppended]
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL] * 2


FAILING: list[tuple[list[Fate], type[Exception] | None]] = [
    ([Fate.DELIVERED, Fate.REPLY_LOST], None),
    ([Fate.DELIVERED, Fate.FLUSHED], None),
    ([Fate.NOT_SENT], NotAppended),
    ([Fate.DELIVERED, *[Fate.REPLY_LOST] * 200], AppendUnknown),
]


@pytest.mark.parametrize(("fates", "error"), FAILING)
@pytest.mark.parametrize("by", ["threads", "tasks"])
def test_a_batch_shares_its_fate(
    server: Engine, server_client: redis.Redis, by: str, fates: list[Fate], error: type[Exception] | None
) -> None:
    """One lost reply is one resend of the whole; when it fails, each is told with his own event."""
    assert server.address
    with FaultProxy(server.address) as proxy:
        proxy.arm(fates)
        outcomes = (by_threads if by == "threads" else by_tasks)(proxy)
        proxy.arm([])
    records = [record.event for record in records_in(server_client, CHAIN)]
    if error is None:
        assert sorted(records) == [b'"%d"' % number for number in range(8)]
        assert [records[outcome.seq] for outcome in outcomes] == [b'"%d"' % number for number in range(8)]
    else:  # the first caller of several threads leads alone, and whoever then can't read the head is certain of his own event
        assert error in {type(each) for each in outcomes} <= {NotAppended, error}
        assert [each.event for each in outcomes] == [b'"%d"' % number for number in range(8)]
        assert isinstance(outcomes[0].cause, Unavailable)


def by_threads(proxy: FaultProxy) -> list[Any]:
    """Eight events of eight threads."""
    outcomes: list[Any] = [None] * 8

    def work(chain: AuditChain, number: int) -> None:
        try:
            outcomes[number] = chain.append(str(number))
        except (NotAppended, AppendUnknown) as error:
            outcomes[number] = error

    with proxy.client() as client, AuditChain(client, "orders", mode=BATCH, deadline_ms=100) as chain:
        threads = [threading.Thread(target=work, args=(chain, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return outcomes


def by_tasks(proxy: FaultProxy) -> list[Any]:
    """Eight events of eight tasks."""

    async def play() -> list[Any]:
        client = proxy.async_client()
        async with AsyncAuditChain(client, "orders", mode=BATCH, deadline_ms=100) as chain:
            outcomes = await asyncio.gather(*(chain.append(str(number)) for number in range(8)), return_exceptions=True)
        await client.aclose()
        return outcomes

    return asyncio.run(play())
