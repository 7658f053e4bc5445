"""The spool: events whose append failed are kept, survive a killed process, and come in exactly once."""

import asyncio
import json
import logging
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep import audit_chain_appending as appending
from redstep.audit_chain import BATCH, MODES, SERVER_ORDER, Chain, seal
from redstep.audit_chain_appending import Appended, Appending, Item, Memory
from redstep.audit_chain_errors import AppendFailed, AppendUnknown, NotAppended, Sealed
from redstep.audit_chain_spool import Drained, Spool, Turn, drain
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain, OnThreads
from redstep.errors import Corrupt, Misuse, Unavailable
from redstep.wishes import CallScript
from redstep_check.engines import Engine
from redstep_spec.delivery import Fate

from .support import EVENT, LongDriver, draws, executed, forks, other_writer, raw, records_in

LOST, REFUSED, DELIVERED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.DELIVERED


IDS = draws()
Opener = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Opens spools, which are closed at the end."""
    with ExitStack() as stack:

        def spool(chain: Chain, name: str = "spool") -> Spool:
            return stack.enter_context(closing(Spool(tmp_path / name, chain)))

        yield spool


def failing(engine: Engine, chain: Chain, spool: Spool, *schedules: Sequence[Fate]) -> list[bytes]:
    """Append an event under each schedule, its failures kept; return their append ids."""
    driver = LongDriver(engine, draw_bytes=IDS)
    ids = []
    for fates in schedules:
        item = Item(driver.draw_bytes(16), EVENT)
        ids.append(item.append_id)
        driver.run(appending.outcomes(chain, Memory(), Appending((item,)), spool.keep), fates)
    return ids


def drained(engine: Engine, chain: Chain, spool: Spool, fates: Sequence[Fate] = (), before: Any = bool) -> Drained:
    """Drain under a schedule."""
    return LongDriver(engine, before).run(drain(chain, Memory(), spool), fates)


def impatient(mode: str) -> Chain:
    """A chain whose appends give up at the first ambiguous error."""
    return Chain(name="orders", mode=mode, deadline_ms=0)


def counts(client: redis.Redis, chain: Chain, ids: Sequence[bytes]) -> list[int]:
    """How often each append is in the chain."""
    found = [record.append_id for record in records_in(client, chain)]
    return [found.count(append_id) for append_id in ids]


def arrived(fate: Fate) -> Sequence[Fate]:
    """The fates of a new writer's append, who reads the head first."""
    return (DELIVERED, fate)


@pytest.mark.parametrize(
    "schedule", list(product((DELIVERED, LOST, REFUSED), repeat=3)), ids=lambda s: "".join(e.name[0] for e in s)
)
def test_what_is_kept_comes_in_exactly_once(
    engine: Engine, client: redis.Redis, chain: Chain, tmp_path: Path, opened: Opener, schedule: Sequence[Fate]
) -> None:
    """Whether it was appended or not, under further faults; and with somebody else in between."""
    chain = impatient(chain.mode)
    other = other_writer(engine, chain)
    spool = opened(chain)
    ids = failing(engine, chain, spool, arrived(LOST))
    other.append()
    ids += failing(engine, chain, spool, arrived(REFUSED), arrived(LOST))
    assert spool.kept == 3
    other.append()
    for _ in range(20):
        result = drained(engine, chain, spool, schedule)
        schedule = ()
        assert {type(each) for each in result.failed} <= {NotAppended, AppendUnknown}
        assert all(each.spooled for each in result.failed)
        if not result.left:
            break
    assert counts(client, chain, ids) == [1, 1, 1]
    assert spool.kept == 0
    spool.close()
    assert len((tmp_path / "spool").read_bytes().splitlines()) == 1


def test_a_drain_goes_on_where_another_client_left_off(
    engine: Engine, client: redis.Redis, chain: Chain, opened: Opener
) -> None:
    """What a file holds is all that a process needs to know."""
    chain = impatient(chain.mode)
    spool = opened(chain)
    ids = failing(engine, chain, spool, arrived(LOST), arrived(REFUSED))
    spool.close()
    spool = opened(chain)
    assert spool.kept == 2
    result = drained(engine, chain, spool)
    assert [append_id for append_id, _ in result.appended] == ids
    assert [where.seq for _, where in result.appended] == [0, 1]
    assert counts(client, chain, ids) == [1, 1]
    spool.close()


def test_what_was_sealed_stays_and_is_told(engine: Engine, client: redis.Redis, chain: Chain, opened: Opener) -> None:
    """Nobody can tell whether it was appended; what comes after it is drained all the same."""
    chain = impatient(chain.mode)
    other = other_writer(engine, chain)
    spool = opened(chain)
    [lost] = failing(engine, chain, spool, arrived(LOST))
    [refused] = failing(engine, chain, spool, arrived(REFUSED))
    for _ in range(3):
        other.append()
    executed(client, seal(chain, 3, 1))
    for _ in range(2):
        result = drained(engine, chain, spool)
        [failure] = result.failed
        assert isinstance(failure, AppendUnknown)
        assert isinstance(failure.cause, Sealed)
        assert (failure.append_id, failure.spooled, result.left) == (lost, True, 1)
    spool.close()
    spool = opened(chain)
    assert spool.kept == 1
    spool.close()
    stored = [text for text in raw(client, chain).records if refused in text]
    assert len(stored) == 1
    assert not any(lost in text for text in raw(client, chain).records)


def test_a_store_that_is_away_ends_a_drain(engine: Engine, chain: Chain, opened: Opener) -> None:
    """The rest is not tried, and all of it is kept."""
    chain = impatient(chain.mode)
    spool = opened(chain)
    failing(engine, chain, spool, *[arrived(REFUSED)] * 3)
    result = drained(engine, chain, spool, [REFUSED] * 10)
    assert (len(result.appended), len(result.failed), result.left) == (0, 1, 3)
    assert drained(engine, chain, spool).left == 0
    spool.close()


class Delayed(LongDriver):
    """A driver whose appends do not arrive: their replies are lost, and so are they, unless they are executed late."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.delayed: list[CallScript] = []

    def attempt(self, request: CallScript) -> object:
        """Lose it on its way."""
        if request.script.name == "audit_chain_read":
            return super().attempt(request)
        self.delayed.append(request)
        raise Unavailable("the connection broke", definite=False)


def four() -> tuple[Item, ...]:
    """A batch."""
    return tuple(Item(bytes([number]) * 16, b"%d" % number) for number in range(4))


def failed_together(driver: LongDriver, spool: Spool, fates: Sequence[Fate] = ()) -> list[bytes]:
    """Have a batch fail and be kept; return its append ids."""
    outcomes = driver.run(appending.outcomes(impatient(BATCH), Memory(), Appending(four()), spool.keep), fates)
    assert all(isinstance(each, AppendFailed) and each.spooled for each in outcomes)
    assert spool.kept == 4
    return [item.append_id for item in four()]


@pytest.mark.parametrize("again", [False, True], ids=["", "opened again"])
@pytest.mark.parametrize("between", [False, True], ids=["alone", "others between"])
@pytest.mark.parametrize("what", ["appended", "refused", "never arrived", "late, before", "late, after"])
@pytest.mark.parametrize("mode", [BATCH, SERVER_ORDER])
def test_a_batch_is_kept_whole(
    server: Engine, server_client: redis.Redis, opened: Opener, mode: str, what: str, between: bool, again: bool
) -> None:
    """Whatever became of its request, and whoever came since: all of it comes in once, and in one piece."""
    chain = impatient(mode)
    spool = opened(chain)
    other = other_writer(server, chain)
    other.append()
    delayed = Delayed(server)
    match what:
        case "appended":
            ids = failed_together(LongDriver(server), spool, (DELIVERED, LOST))
        case "refused":
            ids = failed_together(LongDriver(server), spool, (DELIVERED, REFUSED))
        case _:
            ids = failed_together(delayed, spool)
    if between:
        other.append()
    if again:
        spool.close()
        spool = opened(chain)
    if what == "late, before":
        executed(server_client, delayed.delayed[0])
    result = drained(server, chain, spool)
    if what == "late, after":
        executed(server_client, delayed.delayed[0])
    assert (result.left, result.failed) == (0, ())
    records = records_in(server_client, chain)
    together = [record for record in records if record.append_id in ids]
    assert together == records[together[0].seq : together[0].seq + 4]
    assert [record.append_id for record in together] == ids
    assert result.appended == tuple((each.append_id, Appended(each.seq, each.hash.hex())) for each in together)


def test_a_part_of_what_may_be_in_the_chain_is_not_discarded(server: Engine, opened: Opener) -> None:
    """Without it nobody could tell what became of the rest; of what is certainly not there, any part may go."""
    spool = opened(impatient(BATCH))
    ids = failed_together(Delayed(server), spool)
    with pytest.raises(Misuse, match="discard all of them"):
        spool.discard(ids[:1])
    with pytest.raises(Misuse, match="discard all of them"):
        spool.discard(ids[1:])
    assert spool.kept == 4
    spool.discard([*ids, ids[0]])
    assert spool.kept == 0
    ids = failed_together(LongDriver(server), spool, (DELIVERED, REFUSED))
    spool.discard(ids[:1])
    spool.close()
    spool = opened(impatient(BATCH))
    spool.discard([ids[2]])
    assert [append_id for append_id, _ in drained(server, impatient(BATCH), spool).appended] == [ids[1], ids[3]]


def test_nothing_is_discarded_under_a_drain(opened: Opener) -> None:
    """It might be on its way into the chain just then."""
    spool = opened(CHAIN)
    item = Item(b"i" * 16, EVENT)
    spool.keep(Appending((item,)))
    turn = Turn()
    spool.begin_drain(turn)
    with pytest.raises(Misuse, match="drained"):
        spool.discard([item.append_id])
    spool.end_drain(turn)
    spool.discard([item.append_id])
    assert spool.kept == 0


def test_to_keep_again_changes_nothing(opened: Opener) -> None:
    """Though it was drained meanwhile: an interruption may have come when it had just been kept."""
    spool = opened(CHAIN)
    appending = Appending((Item(b"i" * 16, EVENT),))
    spool.keep(appending)
    spool.keep(appending)
    assert spool.kept == 1
    spool.done(appending)
    spool.keep(appending)
    assert spool.kept == 0


def test_what_a_spool_keeps_is_sent_by_drains_alone(engine: Engine, client: redis.Redis, opened: Opener) -> None:
    """Whoever goes on with a batch whose leader was interrupted then hears that it failed."""
    chain = impatient(BATCH)
    spool = opened(chain)
    batch = Appending(four())
    driver = LongDriver(engine)
    driver.run(appending.outcomes(chain, Memory(), batch, spool.keep), (DELIVERED, LOST))
    for each in driver.run(appending.outcomes(chain, Memory(), batch, spool.keep)):
        assert isinstance(each, AppendUnknown)
        assert each.spooled
    assert len(driver.executions) == 2
    assert drained(engine, chain, spool).left == 0
    assert counts(client, chain, [item.append_id for item in four()]) == [1] * 4


def test_each_link_is_written_down_before_it_is_sent(engine: Engine, chain: Chain, tmp_path: Path, opened: Opener) -> None:
    """At every command that goes out, the file says how the event is linked in it."""
    chain = impatient(chain.mode)
    other = other_writer(engine, chain)
    spool = opened(chain)
    failing(engine, chain, spool, arrived(LOST), arrived(REFUSED))
    other.append()
    driver = LongDriver(engine)
    sent = driver.attempt

    def attempt(request: Any) -> object:
        if request.script.name != "audit_chain_read":
            written = [json.loads(line.split(b" ", 1)[1]) for line in (tmp_path / "spool").read_bytes().splitlines()[1:]]
            entries = {append_id: line for line in written if "keep" in line for append_id in line["keep"]}
            for line in written:
                entries.get(line.get("link"), {}).update(line)
            text = request.args[-1]
            [entry] = [
                each
                for append_id, each in entries.items()
                if bytes.fromhex(append_id) in text or bytes.fromhex(append_id) in request.args
            ]
            end = (entry["since"], entry["previous"]) if chain.mode == SERVER_ORDER else (entry["seq"], entry["previous"])
            assert end == request.args[2:4]
        return sent(request)

    driver.attempt = attempt  # type: ignore[method-assign]
    assert driver.run(drain(chain, Memory(), spool)).left == 0
    assert len(driver.executions) >= 2
    spool.close()


# ---------------------------------------------------------------------------------------------- the file


CHAIN = Chain(name="orders")


def kept(path: Path, number: int) -> None:
    """A spool that keeps so many."""
    spool = Spool(path, CHAIN)
    for each in range(number):
        spool.keep(Appending((Item(bytes([each]) * 16, EVENT),)))
    spool.close()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path, cut: int) -> None:
    """It was not yet of any consequence; what comes after is written in its place."""
    path = tmp_path / "spool"
    kept(path, 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    spool = Spool(path, CHAIN)
    assert spool.kept == 2
    spool.keep(Appending((Item(b"\2" * 16, EVENT),)))
    spool.close()
    assert path.read_bytes() == whole


def test_a_line_that_was_altered_is_corrupt(tmp_path: Path) -> None:
    """Any but the last: nothing is dropped silently."""
    path = tmp_path / "spool"
    kept(path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], lines[1].replace(b"keep", b"kepp"), *lines[2:]]))
    with pytest.raises(Corrupt, match="line 2"):
        Spool(path, CHAIN)
    path.write_bytes(b"".join(lines))
    Spool(path, CHAIN).close()


def test_a_spool_belongs_to_one_client(tmp_path: Path) -> None:
    """At a time; and to one chain."""
    path = tmp_path / "spool"
    kept(path, 1)
    spool = Spool(path, CHAIN)
    with pytest.raises(Misuse, match="locked"):
        Spool(path, CHAIN)
    spool.close()
    for other in (Chain(name="others"), Chain(name="orders", prefix="x:")):
        with pytest.raises(Misuse, match="holds events of the chain"):
            Spool(path, other)
    Spool(path, CHAIN).close()


def test_two_drains_at_a_time_are_misuse(opened: Opener) -> None:
    """They could link one event twice."""
    spool = opened(CHAIN)
    first, second, third = Turn(), Turn(), Turn()
    spool.begin_drain(first)
    with pytest.raises(Misuse, match="drained"):
        spool.begin_drain(second)
    spool.end_drain(second)
    with pytest.raises(Misuse, match="drained"):
        spool.begin_drain(third)
    spool.end_drain(first)
    spool.begin_drain(third)
    spool.end_drain(third)
    spool.close()


def test_a_drain_that_is_over_does_not_begin(opened: Opener) -> None:
    """Its beginning may have waited on a thread when its caller was cancelled."""
    spool = opened(CHAIN)
    spool.keep(Appending((Item(b"i" * 16, EVENT),)))
    late = Turn()
    assert spool.end_drain(late) == 1
    assert spool.begin_drain(late) == []
    assert len(spool.begin_drain(Turn())) == 1


def test_a_cancelled_drain_lets_others_drain(tmp_path: Path) -> None:
    """Though it was cancelled while it waited to begin, because the disk was busy with another event."""

    async def play() -> Drained:
        busy, free = threading.Event(), threading.Event()
        with closing(Spool(tmp_path / "spool", CHAIN)) as other:
            other.keep(Appending((Item(b"i" * 16, EVENT),)))
        client = redis.asyncio.Redis(port=1)
        async with AsyncAuditChain(client, "orders", spool=tmp_path / "spool") as chain:
            assert chain._spool
            begin = chain._spool.begin_drain

            def slowly(turn: Turn) -> list[Appending]:
                busy.set()
                assert free.wait(10)
                return begin(turn)

            chain._spool.begin_drain = slowly  # type: ignore[method-assign]
            task = asyncio.create_task(chain.drain())
            await asyncio.to_thread(busy.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            free.set()
            return await chain.drain()

    assert asyncio.run(play()).left == 1


def test_a_spool_that_fails_does_not_hide_the_failure(
    engine: Engine, tmp_path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller is told of his event, and that it is not kept; the file is as it was, and serves the next one."""
    spool = opened(CHAIN)
    before = (tmp_path / "spool").read_bytes()

    def full(_: int) -> None:
        raise OSError("no space left")

    item = Item(b"i" * 16, EVENT)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        [outcome] = LongDriver(engine).run(appending.outcomes(CHAIN, Memory(), Appending((item,)), spool.keep), (REFUSED,))
    assert isinstance(outcome, NotAppended)
    assert not outcome.spooled
    assert any("spool failed" in record.getMessage() for record in caplog.records)
    assert (tmp_path / "spool").read_bytes() == before
    failing(engine, CHAIN, spool, (REFUSED,))
    assert spool.kept == 1
    spool.close()


def test_a_directory_that_is_not_synced_is_synced_before_more_is_kept(
    tmp_path: Path, opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain wrote the file anew, but nobody knows whether its name is safe: what is kept then is in the file of that name."""
    spool = opened(CHAIN)
    spool.keep(Appending((Item(b"1" * 16, EVENT),)))
    sync = os.fsync

    def failing_for_directories(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError("the disk failed")
        sync(file)

    turn = Turn()
    spool.begin_drain(turn)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", failing_for_directories)
        with pytest.raises(OSError, match="disk failed"):
            spool.end_drain(turn)
        with pytest.raises(OSError, match="disk failed"):
            spool.keep(Appending((Item(b"2" * 16, EVENT),)))
        assert spool.kept == 1
    spool.keep(Appending((Item(b"3" * 16, EVENT),)))
    spool.close()
    assert opened(CHAIN).kept == 2
    assert len((tmp_path / "spool").read_bytes().splitlines()) == 3


def test_a_spool_that_was_closed_is_not_written_to(tmp_path: Path, opened: Opener) -> None:
    """Somebody else may have it by then, whatever a drain of ours still wanted."""
    spool = opened(CHAIN)
    item = Item(b"i" * 16, EVENT)
    spool.keep(Appending((item,)))
    turn = Turn()
    [kept] = spool.begin_drain(turn)
    spool.close()
    before = (tmp_path / "spool").read_bytes()
    for use in (lambda: spool.keep(Appending((item,))), lambda: spool.done(kept), lambda: spool.end_drain(turn)):
        with pytest.raises(Misuse, match="closed"):
            use()
    assert (tmp_path / "spool").read_bytes() == before


# ---------------------------------------------------------------------------------------------- interruptions and forks


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_an_interruption_is_announced_before_the_disk_is_asked(
    engine: Engine, chain: Chain, opened: Opener, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    """The disk may take longer than the time that is left."""
    spool = opened(chain)
    told: list[int] = []

    def interrupt(_: int) -> None:
        raise error

    def keep(appending: Appending) -> None:
        told.append(len(caplog.records))
        spool.keep(appending)

    with pytest.raises(error):
        LongDriver(engine, interrupt).run(appending.append_items(chain, Memory(), (Item(b"i" * 16, EVENT),), keep))
    assert told == [1]
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]
    assert spool.kept == 1


def in_child(work: Callable[[], object]) -> str:
    """Do something in a forked process; tell what it came to."""
    come, go = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(go, repr(work()).encode())
        except BaseException as error:  # noqa: BLE001  told by what is written
            os.write(go, repr(error).encode())
        os._exit(0)
    os.close(go)
    said = b""
    while more := os.read(come, 4096):
        said += more
    os.close(come)
    assert os.waitpid(child, 0)[1] == 0
    return said.decode()


USES: dict[str, Callable[[Spool], object]] = {
    "kept": lambda spool: spool.kept,
    "keep": lambda spool: spool.keep(Appending((Item(b"2" * 16, EVENT),))),
    "relinked": lambda spool: spool.relinked(Appending((Item(b"1" * 16, EVENT),))),
    "done": lambda spool: spool.done(Appending((Item(b"1" * 16, EVENT),))),
    "discard": lambda spool: spool.discard([b"1" * 16]),
    "begin_drain": lambda spool: spool.begin_drain(Turn()),
    "end_drain": lambda spool: spool.end_drain(Turn()),
}


@forks
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("held", [False, True], ids=["", "while a thread uses it"])
def test_a_forked_process_has_no_part_in_a_spool(tmp_path: Path, opened: Opener, use: str, held: bool) -> None:
    """Whatever it asks of it is misuse, and changes nothing."""
    spool = opened(CHAIN)
    spool.keep(Appending((Item(b"1" * 16, EVENT),)))
    before = (tmp_path / "spool").read_bytes()
    with spool._lock if held else nullcontext():
        assert "Misuse" in in_child(lambda: USES[use](spool))
    assert (tmp_path / "spool").read_bytes() == before
    assert spool.kept == 1


@forks
def test_a_forked_process_neither_holds_nor_opens_the_lock(tmp_path: Path, opened: Opener) -> None:
    """Its parent has the spool until it closes it, and then anybody may, though the child lives on."""
    spool = opened(CHAIN)
    assert in_child(spool.close) == "None"
    with pytest.raises(Misuse, match="locked"):
        Spool(tmp_path / "spool", CHAIN)
    until, go = os.pipe()
    child = os.fork()
    if not child:
        os.close(go)
        os.read(until, 1)
        os._exit(0)
    try:
        spool.close()
        assert opened(CHAIN).kept == 0
    finally:
        os.close(go)
        os.close(until)
        os.waitpid(child, 0)


def test_what_is_to_run_on_a_thread_runs_though_its_caller_is_cancelled(opened: Opener) -> None:
    """All threads are busy when he is: it still waits for one then."""
    spool = opened(CHAIN)

    async def play() -> None:
        free = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))
        busy = loop.run_in_executor(None, free.wait, 10)
        task = asyncio.create_task(OnThreads(spool).keep(Appending((Item(b"i" * 16, EVENT),))))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert spool.kept == 0
        free.set()
        assert await busy

    asyncio.run(play())
    assert spool.kept == 1


@forks
def test_an_append_of_a_forked_process_says_that_it_is_not_kept(tmp_path: Path) -> None:
    """And its parent's events are drained by its parent alone."""
    with redis.Redis(port=1) as away, AuditChain(away, "orders", spool=tmp_path / "spool") as chain:
        with pytest.raises(NotAppended):
            chain.append(1)

        def work() -> bool:
            try:
                chain.append(2)
            except NotAppended as error:
                return error.spooled
            return True

        assert in_child(work) == "False"
        assert "Misuse" in in_child(chain.drain)
        assert chain.spooled == 1


def test_a_client_keeps_and_drains(server_client: redis.Redis, tmp_path: Path, mode: str) -> None:
    """And its error says that the event is kept."""
    with (
        redis.Redis(port=1) as away,
        AuditChain(away, "orders", mode=mode, spool=tmp_path / "spool") as chain,
        pytest.raises(NotAppended, match="kept in the spool") as caught,
    ):
        chain.append({"n": 1})
    assert caught.value.spooled
    assert isinstance(caught.value.cause, Unavailable)
    with AuditChain(server_client, "orders", mode=mode, spool=tmp_path / "spool") as chain:
        assert chain.spooled == 1
        [(append_id, where)] = chain.drain().appended
        assert (append_id, where.seq, chain.spooled) == (caught.value.append_id, 0, 0)
        assert isinstance(where, Appended)


@pytest.mark.parametrize("mode", MODES)
def test_killed_at_every_point(server: Engine, tmp_path: Path, mode: str) -> None:
    """Killed while it keeps, or while it drains: what was promised is in the chain once, the rest at most once."""
    program = [sys.executable, str(Path(__file__).with_name("killed.py")), str(server.address), str(tmp_path), mode]
    said = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603
    assert said.returncode == 0, said.stderr
    runs = [json.loads(line) for line in said.stdout.splitlines()]
    for run in runs:
        assert not run["broken"]
        assert all(count == 1 if number in run["promised"] else count <= 1 for number, count in run["times"].items()), run
    for phase in ("keep", "drain"):
        points = [run for run in runs if run["phase"] == phase]
        assert [run["ended"] for run in points] == [False] * (len(points) - 1) + [True]
        assert len(points) > 10
        assert points[-1]["promised"] == list(points[-1]["times"])
