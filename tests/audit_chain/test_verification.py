"""Verification, through the store: every way to tamper is told by position and kind, and nothing else is an alarm."""

import asyncio
import gc
import os
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from attrs import evolve, frozen

from redstep.audit_chain import PAGE_BYTES, PAGE_RECORDS_MAX, Chain, Checkpoint
from redstep.audit_chain_encoding import Record, linked, page_of, stored, true_hash
from redstep.audit_chain_export import SegmentReader
from redstep.audit_chain_verification import Break, Fold, Integrity, Verdict, verify
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Corrupt
from redstep.sync_driver import SyncDriver
from redstep_check.engines import Engine

from .support import EVENT, append_raw, begun, head_text, long_chain, made, plant

CHAIN = Chain(name="orders")
OTHER = Chain(name="others")
SIZE = 8
SOUND = made(CHAIN, SIZE)
TEXTS = [stored(record) for record in SOUND]
HEAD = head_text(SOUND)


def judged(client: redis.Redis, anchor: Checkpoint | None = None, segments: Sequence[Path] = (), **options: Any) -> Verdict:
    """Verify what is stored."""
    with AuditChain(client, "orders", **options) as chain:
        return chain.verify(anchor, segments)


def checkpoint(size: int, records: Sequence[Record] = SOUND) -> Checkpoint:
    """What was remembered of a chain."""
    return Checkpoint("orders", size, (records[size - 1].hash if size else CHAIN.genesis).hex())


def tail(records: Sequence[Record], position: int, event: bytes = b"forged") -> list[Record]:
    """The chain with another event at a position, and all after it recomputed by somebody who knows the format."""
    made_anew = list(records[:position])
    previous = made_anew[-1].hash if made_anew else CHAIN.genesis
    for record in records[position:]:
        its_event = event if record.seq == position else record.event
        made_anew.append(linked(CHAIN.chain_id, record.seq, previous, record.append_id, its_event))
        previous = made_anew[-1].hash
    return made_anew


@frozen
class Tampered:
    """What lies in the store instead, what must be found at which position, and whether it is sound in itself."""

    texts: list[bytes]
    head: str | None
    why: Break | None
    position: int


def edited(position: int, **parts: Any) -> list[bytes]:
    """One record with another part, its hash as it was."""
    return [*TEXTS[:position], stored(evolve(SOUND[position], **parts)), *TEXTS[position + 1 :]]


def rehashed(position: int, **parts: Any) -> list[bytes]:
    """One record with another part, and the hash that fits."""
    record = evolve(SOUND[position], **parts)
    return [*TEXTS[:position], stored(evolve(record, hash=true_hash(record))), *TEXTS[position + 1 :]]


def tamperings(p: int) -> dict[str, Tampered]:
    """Every way to tamper at a position."""
    last, swapped = p == SIZE - 1, [*TEXTS]
    after = Break.WRONG_GENESIS if p == 0 else Break.REPLACED
    found = {
        "event": Tampered(edited(p, event=b"forged"), HEAD, Break.MODIFIED, p),
        "append id": Tampered(edited(p, append_id=b"f" * 16), HEAD, Break.MODIFIED, p),
        "hash": Tampered(edited(p, hash=bytes(32)), HEAD, Break.MODIFIED, p),
        "previous": Tampered(edited(p, previous=bytes(32)), HEAD, Break.MODIFIED, p),
        "seq": Tampered(edited(p, seq=SIZE), HEAD, Break.MODIFIED, p),
        "chain": Tampered(edited(p, chain_id=b"others"), HEAD, Break.MODIFIED, p),
        "cut off": Tampered([*TEXTS[:p], TEXTS[p][:40], *TEXTS[p + 1 :]], HEAD, Break.MODIFIED, p),
        "emptied": Tampered([*TEXTS[:p], b"", *TEXTS[p + 1 :]], HEAD, Break.MODIFIED, p),
        "another chain's": Tampered(rehashed(p, chain_id=b"others"), HEAD, Break.FOREIGN, p),
        "another previous": Tampered(rehashed(p, previous=bytes(32)), HEAD, after, p),
        "another event with its hash": Tampered(
            rehashed(p, event=b"forged"), HEAD, Break.HEAD_MISMATCH if last else Break.REPLACED, p + 1
        ),
        "a tail made anew": Tampered([stored(each) for each in tail(SOUND, p)], HEAD, Break.HEAD_MISMATCH, SIZE),
        "inserted again": Tampered([*TEXTS[: p + 1], TEXTS[p], *TEXTS[p + 1 :]], HEAD, Break.INSERTED, p + 1),
        "inserted of another chain": Tampered([*TEXTS[:p], stored(made(OTHER, p + 1)[p]), *TEXTS[p:]], HEAD, Break.FOREIGN, p),
    }
    if not last:
        swapped[p : p + 2] = reversed(swapped[p : p + 2])
        found |= {
            "removed": Tampered([*TEXTS[:p], *TEXTS[p + 1 :]], HEAD, Break.REMOVED, p),
            "swapped with the next": Tampered(swapped, HEAD, Break.REORDERED, p),
            "moved to the end": Tampered([*TEXTS[:p], *TEXTS[p + 1 :], TEXTS[p]], HEAD, Break.REORDERED, p),
            "truncated after it": Tampered(TEXTS[: p + 1], HEAD, Break.HEAD_MISMATCH, p + 1),
        }
    return found


CASES = [(name, position) for position in (0, 1, SIZE // 2, SIZE - 1) for name in tamperings(position)]


@pytest.mark.parametrize("anchored", [False, True], ids=["no anchor", "anchor"])
@pytest.mark.parametrize(("name", "position"), CASES)
def test_what_was_tampered_with_is_told(client: redis.Redis, name: str, position: int, anchored: bool) -> None:
    """Position and kind; an anchor before the break changes nothing of it."""
    case = tamperings(position)[name]
    plant(client, CHAIN, case.texts, case.head)
    anchor = checkpoint(case.position) if anchored and 0 < case.position <= position else None
    verdict = judged(client, anchor)
    assert (verdict.integrity, verdict.why, verdict.position) == (Integrity.BROKEN, case.why, case.position)


@pytest.mark.parametrize("position", [0, 3, SIZE - 1])
def test_who_knows_the_format_is_caught_by_an_anchor_alone(client: redis.Redis, position: int) -> None:
    """A tail made anew, head and all, is sound in itself; against a checkpoint of a record in it, it has diverged there."""
    forged = tail(SOUND, position)
    plant(client, CHAIN, [stored(each) for each in forged], head_text(forged))
    assert judged(client).integrity is Integrity.CONSISTENT
    for size in range(1, SIZE + 1):
        verdict = judged(client, checkpoint(size))
        if size <= position:
            assert verdict.integrity is Integrity.VERIFIED
        else:
            assert (verdict.integrity, verdict.why, verdict.position) == (Integrity.BROKEN, Break.DIVERGED, size - 1)


@pytest.mark.parametrize("left", [0, 1, SIZE - 1])
def test_a_truncation_with_its_head_is_caught_by_an_anchor_alone(client: redis.Redis, left: int) -> None:
    """Or a rollback to an older copy: it is sound in itself."""
    plant(client, CHAIN, TEXTS[:left], head_text(SOUND[:left]) if left else None)
    assert judged(client).integrity is Integrity.CONSISTENT
    verdict = judged(client, checkpoint(SIZE))
    assert (verdict.integrity, verdict.why, verdict.position) == (Integrity.BROKEN, Break.TRUNCATED, left)


def test_a_chain_is_verified_against_an_anchor_only(client: redis.Redis) -> None:
    """Without one it is internally consistent, whatever it holds; so is an empty chain."""
    assert judged(client).integrity is Integrity.CONSISTENT
    assert judged(client, checkpoint(0)).integrity is Integrity.VERIFIED
    plant(client, CHAIN, TEXTS, HEAD)
    assert judged(client).integrity is Integrity.CONSISTENT
    for size in range(SIZE + 1):
        assert judged(client, checkpoint(size)).integrity is Integrity.VERIFIED


def test_an_empty_anchor_of_another_genesis_diverges(client: redis.Redis) -> None:
    """Its hash is that of nothing."""
    plant(client, CHAIN, TEXTS, HEAD)
    verdict = judged(client, Checkpoint("orders", 0, "0" * 64))
    assert (verdict.integrity, verdict.why, verdict.position) == (Integrity.BROKEN, Break.DIVERGED, 0)


@pytest.mark.parametrize(("texts", "head", "position"), [([], HEAD, 0), (TEXTS, None, SIZE), ([], head_text(SOUND, 3), 3)])
def test_half_a_chain_is_a_head_mismatch(client: redis.Redis, texts: list[bytes], head: str | None, position: int) -> None:
    """A head without a list, a list without a head."""
    plant(client, CHAIN, texts, head)
    verdict = judged(client)
    assert (verdict.integrity, verdict.why, verdict.position) == (Integrity.BROKEN, Break.HEAD_MISMATCH, position)


def test_a_head_that_cannot_be_read_is_corrupt(client: redis.Redis) -> None:
    """There is nothing to verify against."""
    plant(client, CHAIN, TEXTS, "x")
    with pytest.raises(Corrupt):
        judged(client)


# ---------------------------------------------------------------------------------------------- sealed chains, and files


def segment(path: Path, records: Sequence[Record]) -> Path:
    """A file of records."""
    path.write_bytes(page_of(stored(record) for record in records))
    return path


def test_a_sealed_chain_is_consistent_from_its_base(client: redis.Redis) -> None:
    """An anchor of what was sealed cannot be compared, and the verdict says so."""
    begun(client, CHAIN, SIZE, 3)
    verdict = judged(client)
    assert (verdict.integrity, verdict.first_seq, verdict.next_seq, verdict.compared) == (Integrity.CONSISTENT, 3, SIZE, None)
    below = judged(client, checkpoint(2))
    assert (below.integrity, below.compared) == (Integrity.CONSISTENT, False)
    assert judged(client, checkpoint(4)).integrity is Integrity.VERIFIED
    assert judged(client, checkpoint(4, tail(SOUND, 1))).why is Break.DIVERGED


def test_verification_runs_across_files_and_store(client: redis.Redis, tmp_path: Path) -> None:
    """Then anchors of what was sealed can be compared; files may overlap the store, and each other's ends must meet."""
    begun(client, CHAIN, SIZE, 5)
    first, second = segment(tmp_path / "1", SOUND[:2]), segment(tmp_path / "2", SOUND[2:5])
    longer = segment(tmp_path / "3", SOUND[2:7])
    for files in ([first, second], [first, longer], [segment(tmp_path / "4", SOUND)]):
        for size in range(SIZE + 1):
            verdict = judged(client, checkpoint(size), files)
            assert (verdict.integrity, verdict.first_seq, verdict.next_seq) == (Integrity.VERIFIED, 0, SIZE)
        assert judged(client, checkpoint(1, tail(SOUND, 0)), files).why is Break.DIVERGED
    later = judged(client, checkpoint(4), [second])
    assert (later.integrity, later.first_seq) == (Integrity.VERIFIED, 2)
    assert judged(client, checkpoint(1), [second]).compared is False


FILES: dict[str, tuple[Callable[[], list[Record]], Break, int]] = {
    "one missing at the end": (lambda: SOUND[:4], Break.REMOVED, 4),
    "one missing in between": (lambda: [*SOUND[:2], *SOUND[3:5]], Break.REMOVED, 2),
    "out of order": (lambda: [SOUND[0], SOUND[2], SOUND[1], *SOUND[3:5]], Break.REORDERED, 1),
    "modified": (lambda: [SOUND[0], evolve(SOUND[1], event=b"2"), *SOUND[2:5]], Break.MODIFIED, 1),
    "made anew": (lambda: tail(SOUND, 2)[:5], Break.REPLACED, 5),
    "made anew, and longer": (lambda: tail(SOUND, 2)[:7], Break.REPLACED, 5),
    "of another chain": (lambda: made(OTHER, 5), Break.FOREIGN, 0),
    "of another beginning": (lambda: made(CHAIN, 5, previous=bytes(32)), Break.WRONG_GENESIS, 0),
}


@pytest.mark.parametrize("what", FILES)
def test_a_file_that_was_tampered_with_is_told(client: redis.Redis, tmp_path: Path, what: str) -> None:
    """As if it were in the store."""
    begun(client, CHAIN, SIZE, 5)
    records, why, position = FILES[what]
    verdict = judged(client, None, [segment(tmp_path / "1", records())])
    assert (verdict.integrity, verdict.why, verdict.position) == (Integrity.BROKEN, why, position)


def test_a_tail_of_a_file_that_the_store_does_not_hold_diverges(client: redis.Redis, tmp_path: Path) -> None:
    """File and store agree up to the base, and differ in what both hold."""
    begun(client, CHAIN, SIZE, 3)
    verdict = judged(client, None, [segment(tmp_path / "1", tail(SOUND, 5)[:7])])
    assert (verdict.why, verdict.position) == (Break.DIVERGED, 6)


@pytest.mark.parametrize("forged", ["file", "store"])
@pytest.mark.parametrize("base", [0, 3])
@pytest.mark.parametrize("end", [6, 7, SIZE])
@pytest.mark.parametrize("size", range(SIZE + 1))
def test_no_anchor_covers_up_for_files_and_a_store_that_differ(
    client: redis.Redis, tmp_path: Path, forged: str, size: int, end: int, base: int
) -> None:
    """One was made anew from 5 on, and the anchor is of the other: nothing is verified, be it of the file's very end."""
    chains = {"file": SOUND, "store": SOUND, forged: tail(SOUND, 5)}
    plant(client, CHAIN, [stored(each) for each in chains["store"][base:]], head_text(chains["store"], base))
    verdict = judged(client, checkpoint(size), [segment(tmp_path / "1", chains["file"][:end])])
    assert (verdict.integrity, verdict.why) == (Integrity.BROKEN, Break.DIVERGED)
    assert verdict.position == (size if 5 < size < end else end) - 1


@pytest.mark.parametrize("cut", [1, 3, 20])
def test_a_file_that_was_cut_off_is_told(client: redis.Redis, tmp_path: Path, cut: int) -> None:
    """Its last record can't be read."""
    begun(client, CHAIN, SIZE, 5)
    path = segment(tmp_path / "1", SOUND[:5])
    path.write_bytes(path.read_bytes()[:-cut])
    verdict = judged(client, None, [path])
    assert (verdict.why, verdict.position) == (Break.MODIFIED, 4)


def test_a_file_that_is_missing_is_an_error(client: redis.Redis, tmp_path: Path) -> None:
    """And no verdict."""
    begun(client, CHAIN, SIZE, 5)
    with pytest.raises(FileNotFoundError):
        judged(client, None, [tmp_path / "none"])


# ---------------------------------------------------------------------------------------------- no false alarm


def test_no_alarm_while_appends_run_and_seals_move_the_base(server: Engine, tmp_path: Path) -> None:
    """Writers, an archivist and verifiers at once: all verdicts of two seconds, or more, are sound, and changes were seen."""
    began_s = time.monotonic()
    verdicts: list[tuple[Verdict, Verdict]] = []
    failures: list[BaseException] = []

    def changes_were_seen() -> bool:
        grown = any(anchored.next_seq > consistent.next_seq for consistent, anchored in verdicts)
        return len(verdicts) > 20 and grown and any(consistent.first_seq > 0 for consistent, _ in verdicts)

    def goes_on() -> bool:
        passed_s = time.monotonic() - began_s
        return not failures and (passed_s < 2 or (passed_s < 60 and not changes_were_seen()))

    def until_the_end(work: Callable[[AuditChain], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                with server.client() as client, AuditChain(client, "orders", mode="batch", conflict_retries=1000) as chain:
                    while goes_on():
                        work(chain)
            except BaseException as error:  # noqa: BLE001  told below
                failures.append(error)

        return run

    def archive(chain: AuditChain) -> None:
        head = chain.head()
        exported = chain.export(tmp_path / f"{head.base_seq:09}", max(head.base_seq, head.next_seq - 20))
        if exported.next_seq > exported.first_seq:
            chain.seal(exported, keep=10)

    def look(chain: AuditChain) -> None:
        anchor = chain.checkpoint()
        driver = chain._driver
        verdicts.append((driver.run(verify(CHAIN, page_records=3)), driver.run(verify(CHAIN, anchor, page_records=5))))

    works = [lambda chain: chain.append(1), lambda chain: chain.append(2), archive, look, look]
    threads = [threading.Thread(target=until_the_end(work)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert changes_were_seen()
    for consistent, anchored in verdicts:
        assert consistent.integrity is Integrity.CONSISTENT
        assert anchored.why is None
        assert anchored.integrity is (Integrity.VERIFIED if anchored.compared else Integrity.CONSISTENT)
    with server.client() as client, AuditChain(client, "orders") as chain:
        files = sorted(tmp_path.iterdir())
        whole = chain.verify(chain.checkpoint(), files)
        assert (whole.integrity, whole.first_seq) == (Integrity.VERIFIED, 0)


class Between:
    """A driver that does something before its n-th call."""

    def __init__(self, client: redis.Redis, at: int, change: Callable[[], object]) -> None:
        self.driver = SyncDriver(client)
        self.at, self.change, self.calls = at, change, 0
        executed = self.driver.call_script

        def call_script(request: Any) -> object:
            self.calls += 1
            if self.calls == self.at:
                self.change()
            return executed(request)

        self.driver.call_script = call_script  # type: ignore[method-assign]


@pytest.mark.parametrize("at", range(2, 8))
@pytest.mark.parametrize("with_files", [False, True])
def test_a_seal_between_two_pages_starts_again(client: redis.Redis, tmp_path: Path, at: int, with_files: bool) -> None:
    """From the new base: no alarm, and no gap is made of what was sealed meanwhile."""
    records = begun(client, CHAIN, SIZE, 1)
    files = [segment(tmp_path / "1", records[:1])] if with_files else []

    def seal() -> None:
        client.ltrim(CHAIN.keys[0], 5, -1)
        client.set(CHAIN.keys[1], head_text(records, 6))

    between = Between(client, at, seal)
    sources = [lambda path=path: SegmentReader(path) for path in files]
    verdict = between.driver.run(verify(CHAIN, checkpoint(SIZE), sources, page_records=2))
    assert verdict.integrity is Integrity.VERIFIED
    assert verdict.next_seq == SIZE


def test_records_appended_later_are_not_looked_at(client: redis.Redis) -> None:
    """Not even broken ones: the head at the start is what counts."""
    records = begun(client, CHAIN, SIZE)
    more = linked(CHAIN.chain_id, SIZE, records[-1].hash, b"m" * 16, EVENT)
    between = Between(client, 3, lambda: (append_raw(client, CHAIN, [more]), client.rpush(CHAIN.keys[0], "x")))
    verdict = between.driver.run(verify(CHAIN, page_records=2))
    assert (verdict.integrity, verdict.next_seq) == (Integrity.CONSISTENT, SIZE)


def test_a_list_that_is_cut_off_meanwhile_is_told(client: redis.Redis) -> None:
    """It does not end where the head said."""
    begun(client, CHAIN, SIZE)
    between = Between(client, 3, lambda: client.ltrim(CHAIN.keys[0], 0, 4))
    verdict = between.driver.run(verify(CHAIN, page_records=2))
    assert (verdict.why, verdict.position) == (Break.HEAD_MISMATCH, 5)


# ---------------------------------------------------------------------------------------------- long chains


RECORDS = int(os.environ.get("REDSTEP_RECORDS", "20000"))
"""How long the long chain is."""
PEAK_BYTES = 16 * 1024 * 1024


def test_a_long_chain_is_verified_a_page_at_a_time(server_client: redis.Redis) -> None:
    """No page is longer than its bound, one is held at a time, and no more memory is taken than a few pages need."""
    long_chain(server_client, CHAIN, RECORDS)
    with AuditChain(server_client, "orders") as chain:
        anchor = chain.checkpoint()
    held: list[int] = []
    pages: list[int] = []
    driver = SyncDriver(server_client)
    executed = driver.call_script

    def records() -> int:
        gc.collect()
        return sum(type(each) is Record for each in gc.get_objects())

    def call_script(request: Any) -> object:
        reply: Any = executed(request)
        pages.append(len(reply[5]))
        if len(pages) % 10 == 1:
            held.append(records() - before)
        return reply

    driver.call_script = call_script  # type: ignore[method-assign]
    before = records()
    assert before >= SIZE, "those that this module holds are counted"
    tracemalloc.start()
    verdict = driver.run(verify(CHAIN, anchor))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (verdict.integrity, verdict.next_seq) == (Integrity.VERIFIED, RECORDS)
    assert len(pages) == 1 + -(-RECORDS // PAGE_RECORDS_MAX)
    assert max(pages) <= PAGE_BYTES
    assert len(held) > 3
    assert max(held) <= 1
    assert peak < PEAK_BYTES


def test_pages_of_large_records_are_bounded_too(client: redis.Redis) -> None:
    """One of 1 MiB is a page of its own; the next ones are as many as fit."""
    sizes = (1024 * 1024, 1, 1024 * 1024, 600 * 1024, 600 * 1024, 1, 1)
    previous, texts, records = CHAIN.genesis, [], []
    for seq, size in enumerate(sizes):
        records.append(linked(CHAIN.chain_id, seq, previous, seq.to_bytes(16), b"x" * size))
        previous = records[-1].hash
        texts.append(stored(records[-1]))
    plant(client, CHAIN, texts, head_text(records))
    pages: list[int] = []
    driver = SyncDriver(client)
    executed = driver.call_script
    driver.call_script = lambda request: [pages.append(len((reply := executed(request))[5])), reply][1]  # type: ignore[method-assign,index,func-returns-value]
    assert driver.run(verify(CHAIN)).next_seq == len(sizes)
    assert len(pages) == 6
    assert all(page <= PAGE_BYTES or page == 1024 * 1024 + len(texts[0]) - sizes[0] + 4 for page in pages)


def test_a_fold_holds_nothing_but_its_state() -> None:
    """However many records it looks at."""
    fold = Fold(CHAIN.chain_id, 0, CHAIN.genesis)
    for text in TEXTS:
        fold.look(text)
    assert (fold.seq, fold.previous, fold.why) == (SIZE, SOUND[-1].hash, None)


def test_tasks_verify_too(server: Engine, server_client: redis.Redis, tmp_path: Path) -> None:
    """With files, which are read on threads."""
    begun(server_client, CHAIN, SIZE, 5)

    async def play() -> Verdict:
        client = server.async_client()
        async with AsyncAuditChain(client, "orders") as chain:
            verdict = await chain.verify(checkpoint(1), [segment(tmp_path / "1", SOUND[:5])])
        await client.aclose()
        return verdict

    assert asyncio.run(play()).integrity is Integrity.VERIFIED
