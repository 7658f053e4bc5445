"""The spool: events whose append failed are kept, survive a killed process, and come in exactly once."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import redis

from redstep import audit_chain_appending as appending
from redstep.audit_chain import MODES, SERVER_ORDER, Chain, seal
from redstep.audit_chain_appending import Appended, Appending, Item, Memory
from redstep.audit_chain_errors import AppendFailed, AppendUnknown, NotAppended, Sealed
from redstep.audit_chain_spool import Drained, Spool, drain
from redstep.clients.audit_chain import AuditChain
from redstep.errors import Corrupt, Misuse, Unavailable
from redstep_check.engines import Engine
from redstep_spec.delivery import Fate

from .support import EVENT, LongDriver, draws, executed, other_writer, raw, records_in

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


def arrived(chain: Chain, fate: Fate) -> Sequence[Fate]:
    """The fates of a new writer's append."""
    return (fate,) if chain.mode == SERVER_ORDER else (DELIVERED, fate)


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
    ids = failing(engine, chain, spool, arrived(chain, LOST))
    other.append()
    ids += failing(engine, chain, spool, arrived(chain, REFUSED), arrived(chain, LOST))
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
    ids = failing(engine, chain, spool, arrived(chain, LOST), arrived(chain, REFUSED))
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
    [lost] = failing(engine, chain, spool, arrived(chain, LOST))
    [refused] = failing(engine, chain, spool, arrived(chain, REFUSED))
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
    failing(engine, chain, spool, *[arrived(chain, REFUSED)] * 3)
    result = drained(engine, chain, spool, [REFUSED] * 10)
    assert (len(result.appended), len(result.failed), result.left) == (0, 1, 3)
    assert drained(engine, chain, spool).left == 0
    spool.close()


def test_a_batch_is_kept_each_by_itself(engine: Engine, client: redis.Redis, opened: Opener) -> None:
    """Whether it was appended or not, and whoever came since."""
    chain = impatient("batch")
    for fate, between in product((LOST, REFUSED), (False, True)):
        client.delete(*chain.keys)
        other = other_writer(engine, chain)
        spool = opened(chain, f"{fate.name}-{between}")
        items = tuple(Item(bytes([number]) * 16, b"%d" % number) for number in range(4))
        driver = LongDriver(engine)
        outcomes = driver.run(appending.outcomes(chain, Memory(), Appending(items), spool.keep), (DELIVERED, fate))
        assert all(isinstance(each, AppendFailed) and each.spooled for each in outcomes)
        if between:
            other.append()
        assert drained(engine, chain, spool).left == 0
        assert counts(client, chain, [item.append_id for item in items]) == [1] * 4
        spool.close()


def test_each_link_is_written_down_before_it_is_sent(engine: Engine, chain: Chain, tmp_path: Path, opened: Opener) -> None:
    """At every command that goes out, the file says how the event is linked in it."""
    chain = impatient(chain.mode)
    other = other_writer(engine, chain)
    spool = opened(chain)
    failing(engine, chain, spool, arrived(chain, LOST), arrived(chain, REFUSED))
    other.append()
    driver = LongDriver(engine)
    sent = driver.attempt

    def attempt(request: Any) -> object:
        if request.script.name != "audit_chain_read":
            written = [json.loads(line.split(b" ", 1)[1]) for line in (tmp_path / "spool").read_bytes().splitlines()[1:]]
            by_id: dict[str, Any] = {}
            for line in written:
                by_id.setdefault(line.get("keep") or line.get("link") or line.get("done"), {}).update(line)
            text = request.args[-1]
            [entry] = [
                each
                for append_id, each in by_id.items()
                if bytes.fromhex(append_id) in text or bytes.fromhex(append_id) in request.args
            ]
            if chain.mode == SERVER_ORDER:
                assert entry["since"] == request.args[2]
            else:
                assert (entry["seq"], entry["previous"]) == request.args[2:4]
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
    spool.begin_drain()
    with pytest.raises(Misuse, match="drained"):
        spool.begin_drain()
    spool.end_drain()
    spool.begin_drain()
    spool.end_drain()
    spool.close()


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
        assert points[-1]["promised"] == ["0", "1", "2", "3", "4"]
