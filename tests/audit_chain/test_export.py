"""Export and seal: what leaves the store is whole, checked and safe on the disk, and the newest records stay."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
import redis

from redstep import audit_chain_export as exports
from redstep.audit_chain import KEEP, SERVER_ORDER, Chain, seal
from redstep.audit_chain_encoding import parsed, records_of, stored
from redstep.audit_chain_errors import ChainBroken, Sealed, SealRefused
from redstep.audit_chain_export import Exported, SegmentReader, SegmentWriter
from redstep.audit_chain_verification import Integrity
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Misuse
from redstep_check.engines import Engine, open_engine
from redstep_spec.delivery import Fate

from .support import LongDriver, begun, dump, executed, head_text, made, plant, raw

CHAIN = Chain(name="orders")


def test_a_file_holds_the_records_as_they_are_stored(client: redis.Redis, tmp_path: Path) -> None:
    """Each after its length; files put together are a file."""
    records = begun(client, CHAIN, 10)
    with AuditChain(client, "orders") as chain:
        first = chain.export(tmp_path / "1", upto_seq=4)
        assert first == Exported("orders", "redstep:", 0, 4, records[3].hash.hex())
        assert chain.seal(first, keep=1) == 4
        second = chain.export(tmp_path / "2", upto_seq=7)
        assert second == Exported("orders", "redstep:", 4, 7, records[6].hash.hex())
    (tmp_path / "both").write_bytes((tmp_path / "1").read_bytes() + (tmp_path / "2").read_bytes())
    assert [parsed(text) for text in records_of((tmp_path / "both").read_bytes())] == records[:7]
    assert SegmentReader(tmp_path / "both").records() == [stored(record) for record in records[:7]]


def test_the_newest_stay(client: redis.Redis, tmp_path: Path) -> None:
    """A seal refuses to leave fewer than it must, and then removes nothing; what is exported by default leaves as many."""
    begun(client, CHAIN, KEEP + 5)
    before = dump(client)
    with AuditChain(client, "orders") as chain:
        with pytest.raises(SealRefused):
            chain.seal(6)
        assert dump(client) == before
        exported = chain.export(tmp_path / "1")
        assert (exported.first_seq, exported.next_seq) == (0, 5)
        assert chain.seal(exported) == 5
        assert client.llen(CHAIN.keys[0]) == KEEP
        assert chain.verify(segments=[tmp_path / "1"]).first_seq == 0


def test_nothing_to_export_is_no_file(client: redis.Redis, tmp_path: Path) -> None:
    """Of a chain that is short, empty, or sealed so far."""
    with AuditChain(client, "orders") as chain:
        assert chain.export(tmp_path / "1") == Exported("orders", "redstep:", 0, 0, "")
        begun(client, CHAIN, 10, 4)
        nothing = Exported("orders", "redstep:", 4, 4, "")
        assert chain.export(tmp_path / "1") == nothing
        assert chain.export(tmp_path / "1", upto_seq=3) == nothing
        assert chain.seal(nothing, keep=1) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_chain_that_breaks_is_not_exported(client: redis.Redis, tmp_path: Path) -> None:
    """And leaves no file."""
    records = begun(client, CHAIN, 10)
    client.lset(CHAIN.keys[0], 3, "x")
    with AuditChain(client, "orders") as chain:
        with pytest.raises(ChainBroken, match="breaks at 3: modified"):
            chain.export(tmp_path / "1", upto_seq=6)
        plant(client, CHAIN, [stored(record) for record in records[:3]], head_text(records))
        with pytest.raises(ChainBroken, match="record 3 is missing"):
            chain.export(tmp_path / "1", upto_seq=6)
    assert list(tmp_path.iterdir()) == []


def test_another_archivist_is_noticed(client: redis.Redis, tmp_path: Path) -> None:
    """Who seals what is being exported: there is no file with a gap."""
    begun(client, CHAIN, 3000)

    class Writer(SegmentWriter):
        def write(self, page: bytes) -> None:
            super().write(page)
            executed(client, seal(CHAIN, 1000, 1))
            executed(client, seal(CHAIN, 2000, 1))

    with AuditChain(client, "orders") as chain, pytest.raises(Sealed):
        chain._driver.run(exports.export(CHAIN, lambda: Writer(tmp_path / "1"), 2500))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [{"name": "others"}, {"name": "orders", "prefix": "x:"}], ids=str)
def test_what_another_chain_exported_is_not_sealed(client: redis.Redis, tmp_path: Path, other: dict[str, Any]) -> None:
    """By name or prefix: it is misuse, and all is still there; the chain that exported it may."""
    its_chain = Chain(**other)
    begun(client, CHAIN, 10)
    begun(client, its_chain, 10)
    before = dump(client)
    with AuditChain(client, **other) as exporting, AuditChain(client, "orders") as chain:
        exported = exporting.export(tmp_path / "1", upto_seq=8)
        with pytest.raises(Misuse, match="was exported from the chain") as caught:
            chain.seal(exported, keep=1)
        assert caught.value.argument == "upto_seq"
        assert dump(client) == before
        assert exporting.seal(exported, keep=1) == 8


def exported_from(client: redis.Redis, path: Path, upto_seq: int) -> Exported:
    """What was exported of a chain."""
    with AuditChain(client, "orders") as chain:
        return chain.export(path, upto_seq)


REPLACED = {
    "others": [stored(each) for each in made(CHAIN, 10, event=b"other")],
    "fewer": [stored(each) for each in made(CHAIN, 5)],
    "none": [],
    "others from a base on": [stored(each) for each in made(CHAIN, 10, event=b"other")[6:]],
    "its last one modified": [
        stored(each) for each in (*made(CHAIN, 7), *made(CHAIN, 8, event=b"other")[7:], *made(CHAIN, 10)[8:])
    ],
    "its last one cut off": [*map(stored, made(CHAIN, 7)), b"x", *map(stored, made(CHAIN, 10)[8:])],
}
"""What may be stored when the records below 8 of a chain of ten were exported."""


@pytest.mark.parametrize("what", REPLACED)
def test_a_chain_that_is_another_than_was_exported_is_not_sealed(client: redis.Redis, tmp_path: Path, what: str) -> None:
    """What is stored now is in no file; so it stays."""
    begun(client, CHAIN, 10)
    exported = exported_from(client, tmp_path / "1", 8)
    texts = REPLACED[what]
    plant(client, CHAIN, texts, head_text([parsed(texts[-1])], parsed(texts[0]).seq) if texts else None)
    before = dump(client)
    with AuditChain(client, "orders") as chain, pytest.raises(SealRefused):
        chain.seal(exported, keep=1)
    assert dump(client) == before


def test_nothing_exported_is_nothing_sealed(client: redis.Redis, tmp_path: Path) -> None:
    """Not even when the chain was replaced by one that begins further back."""
    begun(client, CHAIN, 10, 6)
    nothing = exported_from(client, tmp_path / "1", 6)
    begun(client, CHAIN, 10)
    before = dump(client)
    with AuditChain(client, "orders") as chain, pytest.raises(SealRefused):
        chain.seal(nothing, keep=1)
    assert dump(client) == before


def test_what_was_exported_is_sealed_once(client: redis.Redis, tmp_path: Path) -> None:
    """To seal it again is no harm, also when more is gone by now."""
    begun(client, CHAIN, 10)
    exported = exported_from(client, tmp_path / "1", 4)
    with AuditChain(client, "orders") as chain:
        assert [chain.seal(exported, keep=1) for _ in range(2)] == [4, 4]
        assert chain.seal(6, keep=1) == 6
        assert chain.seal(exported, keep=1) == 6
    assert len(raw(client, CHAIN).records) == 4


def test_a_seal_goes_on_until_all_is_removed(client: redis.Redis) -> None:
    """A call removes 1,000 records at most, and to repeat one is no harm."""
    begun(client, CHAIN, 2600)
    replies = [executed(client, seal(CHAIN, 2500, 1))[:3] for _ in range(4)]
    assert replies == [[2, 2600, 1000], [2, 2600, 2000], [1, 2600, 2500], [1, 2600, 2500]]
    begun(client, CHAIN, 2600)
    with AuditChain(client, "orders") as chain:
        assert chain.seal(2500, keep=100) == 2500
        assert chain.seal(2500, keep=100) == 2500
        assert chain.seal(1, keep=100) == 2500
        assert chain.append(1).seq == 2600
        assert chain.verify().integrity is Integrity.CONSISTENT


def test_append_ids_go_with_their_records(server_client: redis.Redis) -> None:
    """Those of the records that stay do too."""
    chain = Chain(name="orders", mode=SERVER_ORDER)
    with AuditChain(server_client, "orders", mode=SERVER_ORDER) as appending:
        for number in range(200):
            appending.append(number)
        appending.seal(150, keep=1)
    ids = {record.append_id: b"%d" % record.seq for record in map(parsed, raw(server_client, chain).records)}
    assert raw(server_client, chain).ids == ids
    assert len(ids) == 50


def test_an_empty_chain_has_nothing_to_seal(client: redis.Redis) -> None:
    """And one that never was is refused like one that is too short."""
    with AuditChain(client, "orders") as chain:
        assert chain.seal(0) == 0
        with pytest.raises(SealRefused):
            chain.seal(1)
    assert dump(client) == {}


def test_a_seal_whose_reply_is_lost_is_asked_again(engine: Engine, client: redis.Redis) -> None:
    """It is idempotent."""
    begun(client, CHAIN, 30)
    driver = LongDriver(engine)
    assert driver.run(exports.seal(CHAIN, 20, 1), (Fate.REPLY_LOST,)) == 20
    assert len(raw(client, CHAIN).records) == 10


def test_a_full_engine_lets_go_of_records() -> None:
    """Where no append gets through any more, a seal does, and then appends do."""
    with open_engine("valkey9", config={"maxmemory-policy": "noeviction"}) as engine, engine.client() as client:
        with AuditChain(client, "orders") as chain:
            for _ in range(200):
                chain.append("x" * 10_000)
            client.config_set("maxmemory", 1_000_000)
            with pytest.raises(Exception, match="OOM"):
                chain.append(1)
            size = client.llen(CHAIN.keys[0])
            assert chain.seal(190, keep=1) == 190
            assert client.llen(CHAIN.keys[0]) == size - 190
            client.config_set("maxmemory", 0)
            assert chain.append(1).seq == 200
        assert len(raw(client, CHAIN).records) == 11


def test_who_was_cancelled_while_he_wrote_leaves_no_file(tmp_path: Path) -> None:
    """His last page may still be on its way to the disk when it is discarded, or not yet."""
    writer = SegmentWriter(tmp_path / "1")
    writer.discard()
    writer.write(b"late")
    writer.commit()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_task_leaves_no_file(
    server: Engine, server_client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a thread of its own goes on for a while."""
    begun(server_client, CHAIN, 10)
    writing, free = threading.Event(), threading.Event()

    class Slow(SegmentWriter):
        def write(self, page: bytes) -> None:
            writing.set()
            assert free.wait(10)
            super().write(page)

    async def play() -> None:
        client = server.async_client()
        async with AsyncAuditChain(client, "orders") as chain:
            task = asyncio.create_task(chain.export(tmp_path / "1", upto_seq=4))
            await asyncio.to_thread(writing.wait, 10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            free.set()
        await client.aclose()

    monkeypatch.setattr("redstep.clients.audit_chain.SegmentWriter", Slow)
    asyncio.run(play())
    assert list(tmp_path.iterdir()) == []


def test_two_exports_to_one_path_do_not_mix(tmp_path: Path) -> None:
    """Each is whole; the later one has the name."""
    first, second = SegmentWriter(tmp_path / "1"), SegmentWriter(tmp_path / "1")
    for writer, page in ((first, b"first"), (second, b"second"), (first, b" of all")):
        writer.write(page)
    for writer, written in ((second, b"second"), (first, b"first of all")):
        writer.commit()
        writer.discard()
        assert (tmp_path / "1").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_tasks_export_too(server: Engine, server_client: redis.Redis, tmp_path: Path) -> None:
    """On threads; and leave no file when it fails."""
    begun(server_client, CHAIN, 10)

    async def play() -> None:
        client = server.async_client()
        async with AsyncAuditChain(client, "orders") as chain:
            exported = await chain.export(tmp_path / "1", upto_seq=4)
            assert await chain.seal(exported, keep=1) == 4
            assert (await chain.verify(segments=[tmp_path / "1"])).first_seq == 0
            server_client.lset(CHAIN.keys[0], 0, "x")
            with pytest.raises(ChainBroken):
                await chain.export(tmp_path / "2", upto_seq=6)
        await client.aclose()

    asyncio.run(play())
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
