"""
The audit chain's specification is attacked itself: each rule by examples made by hand, and all of them by an oracle.

The oracle knows no state but the appends in their order, and hashes all of them anew each time, by the layout as written.
"""

import struct
from collections.abc import Sequence
from hashlib import sha256

import pytest
from attrs import evolve, field, mutable
from hypothesis import given
from hypothesis import strategies as st

from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_writer as writer
from redstep_spec.arguments import MAX_INTEGER, Misuse
from redstep_spec.audit_chain import (
    EVENT_BYTES_MAX,
    INITIAL,
    KEPT_MIN,
    RECORDS_MAX,
    REMOVED_MAX,
    Already,
    Append,
    Appended,
    AppendNext,
    Chain,
    Corrupt,
    End,
    HashMismatch,
    Head,
    Page,
    Read,
    Refused,
    Removed,
    Seal,
    Sealed,
    is_corrupt,
    linked,
    step,
)
from redstep_spec.audit_chain_encoding import Record, decoded, encoded, genesis_hash, hashed, record_hash, records_of, segment
from redstep_spec.audit_chain_writer import AppendUnknown, Course, Entry, Mode, NotAppended, Placed, Write, write
from redstep_spec.delivery import Fate

LOST, NOT_SENT, FLUSHED, DELIVERED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED, Fate.DELIVERED
GENESIS = End(0, genesis_hash(b"a"))


def entry(number: int, event: str = "1") -> Entry:
    """An append, by its number."""
    return Entry(number.to_bytes(16), event)


def pairs(*numbers: int) -> tuple[tuple[bytes, bytes], ...]:
    """Appends by their numbers, as they are hashed."""
    return tuple((number.to_bytes(16), b"1") for number in numbers)


def after(*numbers: int, base_seq: int = 0) -> Chain:
    """The chain of these appends, sealed up to a base."""
    chain, _ = step(INITIAL, Append(name="a", records=linked(GENESIS, "a", pairs(*numbers))))
    chain, _ = step(chain, Seal(name="a", upto_seq=base_seq, keep=1))
    assert chain.base_seq == base_seq
    return chain


def end_of(*numbers: int) -> End:
    """The end of the chain of these appends."""
    return after(*numbers).end("a") if numbers else GENESIS


def append(end: End, *numbers: int) -> Append:
    """Records linked to an end."""
    return Append(name="a", records=linked(end, "a", pairs(*numbers)))


def append_next(number: int, since: End = GENESIS) -> AppendNext:
    """An append that the store links."""
    return AppendNext(name="a", append_id=number.to_bytes(16), event=b"1", since=since.seq, previous=since.hash)


def ids_of(chain: Chain) -> list[int]:
    """The numbers of the appends in a chain."""
    return [int.from_bytes(record.append_id) for stored in chain.records if (record := decoded(stored))]


# ---------------------------------------------------------------------------------------------- AC-2: the bytes


def test_a_record_is_laid_out_as_it_is_written_down() -> None:
    """Byte by byte, for a chain whose name has more bytes than characters."""
    tag = b"redstep.audit-chain\x00"
    chain_id = "\u00e4/7".encode()
    start = b"\x01" + b"\x00\x04" + chain_id
    genesis = sha256(tag + b"\x00" + start).digest()
    [first, second] = linked(End(0, genesis), "\u00e4/7", ((b"0123456789abcdef", b'{"n":1}'), (b"\x00" * 16, b"2")))
    header = start + bytes(8) + genesis + b"0123456789abcdef"
    digest = sha256(tag + b"\x01" + header + sha256(b'{"n":1}').digest()).digest()
    assert encoded(first) == header + digest + b'{"n":1}'
    assert genesis_hash(chain_id) == genesis
    assert encoded(second)[: len(header)] == start + struct.pack(">Q", 1) + digest + b"\x00" * 16


def test_a_chain_has_hashes_that_never_change() -> None:
    """What another language has to get: the head of three appends."""
    assert genesis_hash(b"a").hex() == GENESIS_OF_A
    assert end_of(1, 2, 3) == End(3, bytes.fromhex(HEAD_OF_THREE))


GENESIS_OF_A = "45ef4c4048e834f282c73cb78ddc42fd0a124c0775c2f4958ad651ba4006cc2e"
HEAD_OF_THREE = "989287275fdc94776abd89ec53e6f497ec98e0652aad73385d35c11c26472dca"

records = st.builds(
    Record,
    chain_id=st.binary(max_size=600),
    seq=st.integers(0, MAX_INTEGER),
    previous=st.binary(min_size=32, max_size=32),
    append_id=st.binary(min_size=16, max_size=16),
    hash=st.binary(min_size=32, max_size=32),
    event=st.binary(min_size=1, max_size=50),
)


@given(records)
def test_what_is_stored_is_read_back(record: Record) -> None:
    """Whatever the bytes are; and nothing shorter than its own lengths is read at all."""
    stored = encoded(record)
    assert decoded(stored) == record
    least = len(stored) - len(record.event)
    assert decoded(stored[:least]) is None
    assert decoded(b"\x02" + stored[1:]) is None


@given(records, records)
def test_different_records_have_different_hashes(one: Record, other: Record) -> None:
    """No two inputs are the same bytes, and the hash that a record states has no part in it."""
    assert (record_hash(one) == record_hash(other)) == (evolve(one, hash=b"") == evolve(other, hash=b""))
    assert record_hash(one) == record_hash(evolve(one, hash=other.hash))


@given(records, st.sampled_from(("chain_id", "seq", "previous", "append_id", "event")), records)
def test_every_field_is_hashed(record: Record, name: str, other: Record) -> None:
    """One changed is enough."""
    changed = evolve(record, **{name: getattr(other, name)})
    assert (record_hash(changed) == record_hash(record)) == (changed == record)


def test_what_goes_from_one_field_to_the_next_is_told() -> None:
    """A byte more of the chain's name and one less of what follows is another hash: the length comes first."""
    record = Record(chain_id=b"ab", seq=0, previous=b"c" * 32, append_id=b"d" * 16, hash=b"", event=b"1")
    assert record_hash(record) != record_hash(evolve(record, chain_id=b"a"))
    assert genesis_hash(b"ab") != genesis_hash(b"a")


@given(st.lists(records.map(encoded), max_size=4), st.integers(1, 3))
def test_a_segment_is_read_back(exported: list[bytes], cut: int) -> None:
    """Records one after the other; of a file that was cut off, the last one is not what it was."""
    assert list(records_of(segment(exported))) == exported
    if exported:
        assert list(records_of(segment(exported)[:-cut])) != exported


# ---------------------------------------------------------------------------------------------- AC-3, AC-4: append


def test_the_first_append_begins_the_chain() -> None:
    """AC-3: linked to the genesis hash of its chain, and to nothing else."""
    chain, reply = step(INITIAL, append(GENESIS, 1))
    [record] = linked(GENESIS, "a", pairs(1))
    assert chain == Chain(Head(next_seq=1, base_seq=0, hash=record.hash), (encoded(record),))
    assert reply == Appended(seq=0, hash=record.hash, next_seq=1, base_seq=0, head_hash=record.hash)
    theirs = End(0, genesis_hash(b"b"))
    assert step(INITIAL, append(theirs, 1)) == (INITIAL, mismatch(INITIAL, continues=False))


def mismatch(chain: Chain, *, continues: bool) -> HashMismatch:
    """What is told beside a chain."""
    end = chain.end("a")
    return HashMismatch(continues=continues, next_seq=end.seq, base_seq=chain.base_seq, head_hash=end.hash)


@pytest.mark.parametrize("numbers", [(1,), (1, 2), (1, 2, 3)])
def test_only_the_end_is_appended_to(numbers: tuple[int, ...]) -> None:
    """AC-3: at any earlier end it is a mismatch that tells the end, and nothing is written."""
    chain = after(*numbers)
    longer, reply = step(chain, append(end_of(*numbers), 9))
    assert isinstance(reply, Appended)
    assert ids_of(longer) == [*numbers, 9]
    for place in range(len(numbers)):
        assert step(chain, append(end_of(*numbers[:place]), 9)) == (chain, mismatch(chain, continues=True))


def test_seq_and_hash_are_both_compared() -> None:
    """AC-3: the right seq with another hash is a mismatch, and so is the right hash with another seq."""
    chain, end = after(1, 2), end_of(1, 2)
    for wrong in (End(2, bytes(32)), End(3, end.hash), End(1, end.hash), End(2, end_of(1).hash)):
        assert step(chain, append(wrong, 9)) == (chain, mismatch(chain, continues=False))


def test_the_same_bytes_again_are_already_there() -> None:
    """AC-4: at once, and after others; told is the record's own place beside the head of now."""
    first = append(GENESIS, 1)
    chain = after(1, 2)
    [record] = first.records
    end = chain.end("a")
    assert step(chain, first) == (
        chain,
        Already(seq=0, hash=record.hash, next_seq=2, base_seq=0, head_hash=end.hash),
    )


def test_equal_events_at_one_head_are_two_appends() -> None:
    """AC-1: the append id tells them apart, so the second one is a mismatch, not already there."""
    chain, reply = step(after(1), append(GENESIS, 2))
    assert (ids_of(chain), type(reply)) == ([1], HashMismatch)


def test_a_batch_is_appended_whole_or_not_at_all() -> None:
    """AC-7: all at the end, none behind it; again, it is already there as a whole."""
    chain, reply = step(after(1), append(end_of(1), 2, 3, 4))
    assert isinstance(reply, Appended)
    assert (ids_of(chain), reply.seq, reply.next_seq) == ([1, 2, 3, 4], 3, 4)
    assert step(chain, append(end_of(1), 2, 3, 4))[1] == Already(
        seq=3, hash=reply.hash, next_seq=4, base_seq=0, head_hash=reply.hash
    )
    assert step(after(1, 9), append(end_of(1), 2, 3))[0] == after(1, 9)


def test_a_batch_of_which_the_first_is_there_is_not_there() -> None:
    """AC-7: only the last record proves the batch."""
    chain = after(1, 2)
    assert step(chain, append(end_of(1), 2, 3)) == (chain, mismatch(chain, continues=True))


def test_below_the_base_nobody_can_tell() -> None:
    """AC-4: an append that would be sealed by now is neither already there nor a mismatch."""
    chain = after(1, 2, 3, base_seq=2)
    for seq in (0, 1):
        assert isinstance(step(chain, append(end_of(*range(1, seq + 1)), 9))[1], Sealed)
    assert isinstance(step(chain, append(GENESIS, 1))[1], Sealed)
    assert isinstance(step(chain, append(end_of(1, 2), 3))[1], Already)
    assert step(chain, append(end_of(1, 2), 9))[1] == mismatch(chain, continues=True)
    assert step(chain, append(End(2, bytes(32)), 9))[1] == mismatch(chain, continues=False)


def test_a_batch_across_the_base_is_told_by_its_last_record() -> None:
    """AC-4: what is still there proves the rest."""
    chain = after(1, 2, 3, base_seq=1)
    assert isinstance(step(chain, append(GENESIS, 1, 2))[1], Already)
    assert isinstance(step(chain, append(GENESIS, 1, 9))[1], Sealed)


# ---------------------------------------------------------------------------------------------- AC-7: server order


def test_the_store_links_as_a_writer_would() -> None:
    """AC-7: the same bytes, wherever they are linked."""
    chain = INITIAL
    for number in (1, 2, 3):
        chain, reply = step(chain, append_next(number))
        assert isinstance(reply, Appended)
        assert (reply.seq, reply.hash) == (chain.end("a").seq - 1, chain.end("a").hash)
    assert chain == after(1, 2, 3)


def test_an_append_id_that_is_there_is_already_there() -> None:
    """AC-4: with whatever event and since."""
    chain = after(1, 2, 3)
    for call in (append_next(2), append_next(2, End(99, bytes(32))), evolve(append_next(2), event=b"2")):
        unchanged, reply = step(chain, call)
        assert isinstance(reply, Already)
        assert (unchanged, reply.seq, reply.next_seq) == (chain, 1, 3)


def test_since_tells_whether_an_append_can_be_sealed() -> None:
    """AC-4: at the base or later it cannot; before, nobody can tell."""
    chain = after(1, 2, 3, base_seq=2)
    assert isinstance(step(chain, append_next(1, end_of(1)))[1], Sealed)
    assert isinstance(step(chain, append_next(9, end_of(1)))[1], Sealed)
    assert isinstance(step(chain, append_next(9, end_of(1, 2)))[1], Appended)
    assert isinstance(step(chain, append_next(3))[1], Already)


def test_an_end_that_never_was_is_a_chain_that_lost_something() -> None:
    """AC-11: shorter than it was, or another one, and nothing is written."""
    chain = after(1, 2)
    for end in (GENESIS, end_of(1), end_of(1, 2)):
        assert isinstance(step(chain, append_next(9, end))[1], Appended)
    for end in (end_of(1, 2, 3), end_of(1, 3), end_of(3), End(0, bytes(32))):
        assert step(chain, append_next(9, end)) == (chain, mismatch(chain, continues=False))


def test_an_end_at_the_base_is_known_by_what_the_oldest_record_links_to() -> None:
    """AC-11, AC-12: though the record before it was sealed."""
    chain = after(1, 2, 3, base_seq=2)
    assert isinstance(step(chain, append_next(9, end_of(1, 2)))[1], Appended)
    assert step(chain, append_next(9, end_of(1, 3))) == (chain, mismatch(chain, continues=False))


# ---------------------------------------------------------------------------------------------- AC-9, AC-12: read, seal


@pytest.mark.parametrize(
    ("from_seq", "count", "expected"),
    [(0, 2, [3, 4]), (2, 2, [3, 4]), (3, 1, [4]), (3, 500, [4, 5]), (5, 1, []), (9, 1, [])],
)
def test_a_page_begins_where_it_was_asked_for_or_at_the_base(from_seq: int, count: int, expected: list[int]) -> None:
    """AC-9: and holds no more than was asked for."""
    chain = after(1, 2, 3, 4, 5, base_seq=2)
    unchanged, page = step(chain, Read(name="a", from_seq=from_seq, count=count))
    assert isinstance(page, Page)
    assert unchanged == chain
    assert ids_of(Chain(None, page.records)) == expected
    assert (page.next_seq, page.base_seq, page.head_hash) == (5, 2, chain.end("a").hash)


def test_a_chain_that_has_not_begun_is_read_too() -> None:
    """AC-9: it ends at its genesis."""
    assert step(INITIAL, Read(name="a", from_seq=0, count=1))[1] == Page(
        records=(), next_seq=0, base_seq=0, head_hash=GENESIS.hash
    )


def test_a_seal_removes_the_oldest_and_moves_the_base() -> None:
    """AC-12: what is left is as it was, and the chain goes on."""
    chain, reply = step(after(1, 2, 3), Seal(name="a", upto_seq=2, keep=1))
    assert reply == Removed(next_seq=3, base_seq=2, head_hash=chain.end("a").hash)
    assert (ids_of(chain), chain.records) == ([3], after(1, 2, 3).records[2:])
    assert step(chain, append(end_of(1, 2, 3), 4))[0].records == after(1, 2, 3, 4).records[2:]


@pytest.mark.parametrize("upto_seq", [0, 1, 2])
def test_a_seal_may_be_repeated(upto_seq: int) -> None:
    """AC-12: what is sealed already stays so, and that is no refusal however few are left."""
    chain = after(1, 2, 3, base_seq=2)
    assert step(chain, Seal(name="a", upto_seq=upto_seq)) == (
        chain,
        Removed(next_seq=3, base_seq=2, head_hash=chain.end("a").hash),
    )


def test_a_seal_leaves_what_is_to_be_kept() -> None:
    """AC-12: so many are enough, one less is too few; by default 1,024 are kept."""
    chain = after(1, 2, 3)
    assert len(step(chain, Seal(name="a", upto_seq=1, keep=2))[0].records) == 2
    assert step(chain, Seal(name="a", upto_seq=2, keep=2)) == (
        chain,
        Refused(next_seq=3, base_seq=0, head_hash=chain.end("a").hash),
    )
    assert Seal(name="a", upto_seq=1).keep == KEPT_MIN == 1_024
    assert isinstance(step(chain, Seal(name="a", upto_seq=1))[1], Refused)


@pytest.mark.parametrize("upto_seq", [1, 3, 4])
def test_a_chain_is_never_emptied(upto_seq: int) -> None:
    """AC-8: one that has begun keeps a record, and one that has not has none to remove."""
    assert step(after(1, 2, 3), Seal(name="a", upto_seq=max(3, upto_seq), keep=1))[0] == after(1, 2, 3)
    assert isinstance(step(INITIAL, Seal(name="a", upto_seq=upto_seq, keep=1))[1], Refused)
    assert isinstance(step(INITIAL, Seal(name="a", upto_seq=0, keep=1))[1], Removed)


def test_one_seal_removes_so_many_and_no_more() -> None:
    """AC-12: its work is bounded; sealed again, it goes on."""
    chain = INITIAL
    for start in range(0, REMOVED_MAX + 200, 400):
        chain, _ = step(chain, append(chain.end("a"), *range(start, start + 400)))
    seal = Seal(name="a", upto_seq=REMOVED_MAX + 100, keep=1)
    once, _ = step(chain, seal)
    twice, _ = step(once, seal)
    assert (once.base_seq, twice.base_seq) == (REMOVED_MAX, REMOVED_MAX + 100)
    assert twice.records == chain.records[REMOVED_MAX + 100 :]


# ---------------------------------------------------------------------------------------------- AC-8: corrupt


CORRUPT = {
    "no head": evolve(after(1, 2), head=None),
    "no records": evolve(after(1, 2), records=()),
    "a record too few": evolve(after(1, 2), records=after(1, 2).records[1:]),
    "a record too many": evolve(after(1, 2), records=after(1, 2).records * 2),
    "the last record is another": evolve(after(1, 2), records=after(1, 3).records),
    "the last record cannot be read": evolve(after(1, 2), records=(after(1).records[0], b"x")),
    "the head's seq": Chain(Head(next_seq=3, base_seq=1, hash=end_of(1, 2).hash), after(1, 2).records),
    "the head's base": Chain(Head(next_seq=2, base_seq=1, hash=end_of(1, 2).hash), after(1, 2).records),
    "the head's hash": Chain(Head(next_seq=2, base_seq=0, hash=bytes(32)), after(1, 2).records),
}


@pytest.mark.parametrize("chain", CORRUPT.values(), ids=CORRUPT)
def test_what_disagrees_with_itself_is_left_alone(chain: Chain) -> None:
    """AC-8: nothing is appended and nothing removed; a reader is told what is there."""
    assert is_corrupt(chain)
    for call in (append(end_of(1, 2), 9), append_next(9), append_next(1), Seal(name="a", upto_seq=1, keep=1)):
        assert step(chain, call) == (chain, Corrupt())
    page = step(chain, Read(name="a", from_seq=0, count=9))[1]
    assert isinstance(page, Page)
    assert page.records == chain.records


@pytest.mark.parametrize("chain", [INITIAL, after(1), after(1, 2, 3), after(1, 2, 3, base_seq=2)])
def test_what_agrees_is_not_corrupt(chain: Chain) -> None:
    """AC-8: a chain that has not begun, one that has, one that is sealed."""
    assert not is_corrupt(chain)


def test_a_record_in_the_middle_is_not_looked_at() -> None:
    """AC-8: that is what verification is for."""
    chain = evolve(after(1, 2), records=(b"x", after(1, 2).records[1]))
    assert isinstance(step(chain, append(end_of(1, 2), 3))[1], Appended)


# ---------------------------------------------------------------------------------------------- misuse


GOOD = append(GENESIS, 1)
[GOOD_RECORD] = GOOD.records
BIG = b'"' + b"x" * (EVENT_BYTES_MAX - 2) + b'"'


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        *((evolve(GOOD, name=name), "name") for name in ("", "x" * 513, "a{b", "a\nb", "\ud800")),
        (Read(name="}", from_seq=0, count=1), "name"),
        (Seal(name="}", upto_seq=0), "name"),
        (evolve(append_next(1), name="}"), "name"),
        (evolve(GOOD, records=()), "records"),
        (evolve(GOOD, name="b"), "records"),
        (evolve(GOOD, records=(evolve(GOOD_RECORD, hash=bytes(32)),)), "records"),
        (evolve(GOOD, records=(hashed(evolve(GOOD_RECORD, append_id=b"short")),)), "records"),
        (evolve(GOOD, records=(hashed(evolve(GOOD_RECORD, previous=b"short")),)), "records"),
        (evolve(GOOD, records=(hashed(evolve(GOOD_RECORD, event=b"")),)), "records"),
        (evolve(GOOD, records=(*append(GENESIS, 1).records, *append(GENESIS, 2).records)), "records"),
        (append(GENESIS, *range(RECORDS_MAX + 1)), "records"),
        (evolve(GOOD, records=linked(GENESIS, "a", ((bytes(16), BIG), (bytes(16), b"1")))), "records"),
        (evolve(append_next(1), append_id=b"short"), "append_id"),
        (evolve(append_next(1), event=b""), "event"),
        (evolve(append_next(1), event=BIG + b" "), "event"),
        *((append_next(1, End(number, bytes(32))), "since") for number in (-1, MAX_INTEGER + 1)),
        *((append_next(1, End(0, its_hash)), "previous") for its_hash in (b"", bytes(31), bytes(33))),
        *((Read(name="a", from_seq=number, count=1), "from_seq") for number in (-1, MAX_INTEGER + 1)),
        *((Read(name="a", from_seq=0, count=number), "count") for number in (0, RECORDS_MAX + 1)),
        *((Seal(name="a", upto_seq=number), "upto_seq") for number in (-1, MAX_INTEGER + 1)),
        *((Seal(name="a", upto_seq=0, keep=number), "keep") for number in (0, -1)),
    ],
)
def test_what_no_state_can_answer_is_misuse(call: store.Call, argument: str) -> None:
    """CM-9: whatever is stored, and nothing is written."""
    for chain in (INITIAL, after(1, 2), CORRUPT["no head"]):
        assert step(chain, call) == (chain, Misuse(argument))


@pytest.mark.parametrize(
    "call",
    [
        append(GENESIS, *range(RECORDS_MAX)),
        evolve(GOOD, records=linked(GENESIS, "a", ((bytes(16), BIG),))),
        evolve(append_next(1), event=BIG),
        Read(name="a", from_seq=MAX_INTEGER, count=RECORDS_MAX),
        Seal(name="a", upto_seq=MAX_INTEGER, keep=MAX_INTEGER),
    ],
)
def test_what_is_just_within_the_bounds_is_none(call: store.Call) -> None:
    """CM-9: on the other side of each bound."""
    assert not isinstance(step(INITIAL, call)[1], Misuse)


# ---------------------------------------------------------------------------------------------- a writer


@mutable
class Stage:
    """One chain, and writers that remember what they were told."""

    chain: Chain = INITIAL
    known: dict[str, End | None] = field(factory=dict)
    numbers: int = 0
    last: Course | None = None

    def write(
        self,
        who: str,
        fates: Sequence[Fate] = (),
        *,
        events: tuple[str, ...] = ("1",),
        mode: Mode = Mode.CAS,
        conflicts: int = 3,
        resends: int | None = None,
        rivals: tuple[bool, ...] = (),
    ) -> writer.Outcome | None:
        """Append."""
        call = Write(
            name="a",
            entries=tuple(self._entry(event) for event in events),
            mode=mode,
            conflicts=conflicts,
            resends=resends,
            rivals=tuple(self._entry("0") if comes else None for comes in rivals),
        )
        self.last = write(self.chain, self.known.get(who), call, fates)
        self.chain, self.known[who] = self.last.chain, self.last.known
        return self.last.outcome

    def _entry(self, event: str) -> Entry:
        self.numbers += 1
        return entry(self.numbers, event)

    def ids(self) -> list[int]:
        """The numbers of the appends in the chain."""
        return ids_of(self.chain)

    def seal(self, upto_seq: int) -> None:
        """Seal."""
        self.chain, _ = step(self.chain, Seal(name="a", upto_seq=upto_seq, keep=1))

    def attempts(self) -> list[str]:
        """What the last append sent, and how it was answered."""
        assert self.last is not None
        return [type(each.request).__name__[:4] + "/" + type(each.reply).__name__ for each in self.last.attempts]


def told(outcome: writer.Outcome | None) -> tuple[str, object]:
    """An outcome in short."""
    match outcome:
        case Placed(seqs=seqs):
            return "appended", seqs
        case NotAppended(cause=cause):
            return "not appended", cause
        case AppendUnknown(cause=cause):
            return "unknown", cause
        case _:
            return "misuse", getattr(outcome, "argument", None)


def test_a_writer_reads_the_head_once_and_then_remembers() -> None:
    """AC-3: every answer tells it the end anew."""
    stage = Stage()
    assert told(stage.write("x")) == ("appended", (0,))
    assert stage.attempts() == ["Read/Page", "Appe/Appended"]
    assert told(stage.write("x")) == ("appended", (1,))
    assert stage.attempts() == ["Appe/Appended"]


def test_whoever_comes_second_links_anew() -> None:
    """AC-5: at the end that it was told."""
    stage = Stage()
    for who in ("x", "y", "x", "y"):
        stage.write(who)
    assert stage.attempts() == ["Appe/HashMismatch", "Appe/Appended"]
    assert stage.ids() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("fates", "outcome", "executed"),
    [
        ((), ("appended", (1,)), [1]),
        ((FLUSHED,), ("appended", (1,)), [1]),
        ((LOST,), ("appended", (1,)), [1, 1]),
        ((LOST, LOST, LOST), ("appended", (1,)), [1, 1, 1, 1]),
        ((LOST, NOT_SENT, NOT_SENT), ("appended", (1,)), [1, 0, 0, 1]),
        ((NOT_SENT,), ("not appended", "unavailable"), [0]),
    ],
)
def test_what_becomes_of_attempts(fates: tuple[Fate, ...], outcome: tuple[str, object], executed: list[int]) -> None:
    """AC-4, CM-9: the same bytes until there is an answer; only what was certainly not sent is definite, and only at first."""
    stage = Stage()
    stage.write("x")
    assert told(stage.write("x", fates)) == outcome
    assert stage.last is not None
    assert [int(attempt.reply is not None) for attempt in stage.last.attempts] == executed
    assert stage.ids() == ([1, 2] if outcome[0] == "appended" else [1])
    assert len({attempt.request for attempt in stage.last.attempts}) == 1


@pytest.mark.parametrize(
    ("fates", "resends", "outcome"),
    [
        ((LOST,), 0, ("unknown", "unavailable")),
        ((LOST, NOT_SENT), 1, ("unknown", "unavailable")),
        ((LOST, LOST), 1, ("unknown", "unavailable")),
        ((LOST, LOST), 2, ("appended", (1,))),
        ((NOT_SENT,), 0, ("not appended", "unavailable")),
        ((), 0, ("appended", (1,))),
    ],
)
def test_the_deadline_ends_it(fates: tuple[Fate, ...], resends: int, outcome: tuple[str, object]) -> None:
    """AC-5, AC-6: what is ambiguous by then is unknown, and carries the event."""
    stage = Stage()
    stage.write("x")
    got = stage.write("x", fates, resends=resends, events=('{"a":1.0}',))
    assert told(got) == outcome
    if isinstance(got, NotAppended | AppendUnknown):
        assert got.events == (b'{"a":1}',)


def test_a_lost_mismatch_is_sent_again_before_it_is_linked_anew() -> None:
    """AC-4: the writer cannot know that it was one."""
    stage = Stage()
    for who in ("x", "y"):
        stage.write(who)
    assert told(stage.write("x", (LOST,))) == ("appended", (2,))
    assert stage.attempts() == ["Appe/HashMismatch", "Appe/HashMismatch", "Appe/Appended"]


def test_after_a_definite_answer_what_is_not_sent_is_definite_again() -> None:
    """CM-9: the mismatch says that nothing of it is in the chain."""
    stage = Stage()
    for who in ("x", "y"):
        stage.write(who)
    assert told(stage.write("x", (LOST, DELIVERED, NOT_SENT))) == ("not appended", "unavailable")
    assert stage.ids() == [1, 2]


YES, NO = True, False


@pytest.mark.parametrize(
    ("fates", "rivals", "outcome"),
    [
        ((), (YES,) * 3, ("appended", (4,))),
        ((), (YES,) * 4, ("not appended", "conflict")),
        ((FLUSHED,) * 5, (YES,) * 3, ("appended", (4,))),
        ((DELIVERED, LOST), (YES, YES, NO, YES), ("appended", (4,))),
        ((DELIVERED, LOST), (YES, YES, NO, YES, YES), ("not appended", "conflict")),
    ],
)
def test_conflicts_have_a_budget_of_three_retries(
    fates: tuple[Fate, ...], rivals: tuple[bool, ...], outcome: tuple[str, object]
) -> None:
    """AC-5: and lost replies and forgotten scripts use up nothing of it."""
    stage = Stage()
    stage.write("x")
    assert told(stage.write("x", fates, rivals=rivals)) == outcome


@pytest.mark.parametrize("conflicts", [0, 1])
def test_the_budget_of_conflicts_is_the_writers(conflicts: int) -> None:
    """AC-5: one more is one too many; what it was told is remembered all the same."""
    stage = Stage()
    stage.write("x")
    assert told(stage.write("x", conflicts=conflicts, rivals=(YES,) * conflicts)) == ("appended", (1 + conflicts,))
    assert told(stage.write("x", conflicts=conflicts, rivals=(YES,) * (conflicts + 1))) == ("not appended", "conflict")
    stage.write("x")
    assert stage.attempts() == ["Appe/Appended"]


def test_a_rival_after_a_lost_reply_comes_too_late() -> None:
    """AC-4: the record is found behind it."""
    stage = Stage()
    stage.write("x")
    assert told(stage.write("x", (LOST,), rivals=(False, True))) == ("appended", (1,))
    assert stage.ids() == [1, 2, 3]
    assert told(stage.write("x")) == ("appended", (3,))
    assert stage.attempts() == ["Appe/Appended"]


def test_what_may_be_sealed_is_unknown_only_if_it_may_have_been_appended() -> None:
    """AC-4: without an ambiguous attempt it is linked anew."""
    for fates, outcome in (((), ("appended", (3,))), ((LOST,), ("unknown", "sealed")), ((FLUSHED,), ("appended", (3,)))):
        stage = Stage()
        for who in ("x", "y", "y"):
            stage.write(who)
        stage.seal(2)
        assert told(stage.write("x", fates)) == outcome


def test_a_chain_that_lost_something_is_not_linked_to() -> None:
    """AC-11: shorter than known, as long but another, longer but another; and again, until somebody looks into it."""
    for left in ((1,), (1, 8), (1, 8, 9), ()):
        stage = Stage()
        for _ in range(2):
            stage.write("x")
        lost = after(*left) if left else INITIAL
        for mode in (Mode.CAS, Mode.BATCH):
            stage.chain = lost
            for _ in range(2):
                assert told(stage.write("x", mode=mode)) == ("not appended", "regress")
                assert stage.chain == lost
            stage.known["x"] = end_of(1, 2)


def test_a_chain_that_lost_something_and_is_linked_by_the_store() -> None:
    """AC-11: there only its length tells."""
    stage = Stage()
    for _ in range(2):
        stage.write("x", mode=Mode.SERVER_ORDER)
    stage.chain = after(1)
    assert told(stage.write("x", mode=Mode.SERVER_ORDER)) == ("not appended", "regress")


@pytest.mark.parametrize("fates", [(), (LOST,)])
def test_a_corrupt_chain_is_told(fates: tuple[Fate, ...]) -> None:
    """AC-8: never as a conflict; unknown if the first to be told so was not heard."""
    for chain in CORRUPT.values():
        stage = Stage(chain, {"x": end_of(1, 2)})
        assert told(stage.write("x", fates)) == ("unknown" if fates else "not appended", "corrupt")
        assert stage.chain == chain


def test_reading_the_head_is_never_ambiguous() -> None:
    """CM-9: a lost head is read again; what cannot be read is certainly not appended."""
    stage = Stage()
    assert told(stage.write("x", (LOST, LOST))) == ("appended", (0,))
    for fates, resends in (((NOT_SENT,), None), ((LOST, NOT_SENT), None), ((LOST,), 0)):
        assert told(stage.write("y", fates, resends=resends)) == ("not appended", "unavailable")
    assert stage.ids() == [1]


def test_a_batch_is_linked_anew_as_a_whole() -> None:
    """AC-7: and each of its events has its place."""
    stage = Stage()
    stage.write("x", events=("1",))
    assert told(stage.write("x", events=("1", "2", "3"), mode=Mode.BATCH, rivals=(True,))) == ("appended", (2, 3, 4))
    assert stage.ids() == [1, 5, 2, 3, 4]
    assert told(stage.write("x", (LOST,), events=("1", "2"), mode=Mode.BATCH)) == ("appended", (5, 6))


def test_a_writer_in_server_order_has_no_conflicts() -> None:
    """AC-7: whoever comes first; once it was told an end, it needs to read nothing."""
    stage = Stage()
    assert told(stage.write("x", mode=Mode.SERVER_ORDER, rivals=(True,))) == ("appended", (1,))
    assert stage.attempts() == ["Read/Page", "Appe/Appended"]
    assert told(stage.write("x", (LOST,), mode=Mode.SERVER_ORDER, rivals=(False, True))) == ("appended", (2,))
    assert stage.attempts() == ["Appe/Appended", "Appe/Already"]


def test_a_writer_in_server_order_whose_end_is_sealed() -> None:
    """AC-4: told of the base it sends again, unless its first attempt is ambiguous; one that knew nothing reads first."""
    for fates, outcome in (((), ("appended", (3,))), ((LOST,), ("unknown", "sealed"))):
        stage = Stage(after(1, 2, 3, base_seq=2), {"x": end_of(1)})
        assert told(stage.write("x", fates, mode=Mode.SERVER_ORDER)) == outcome
    for lost in ((), (DELIVERED, LOST), (LOST, LOST)):
        stage = Stage(after(1, 2, 3, base_seq=2))
        assert told(stage.write("y", lost, mode=Mode.SERVER_ORDER)) == ("appended", (3,))


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (Write(name="}", entries=(entry(1),)), "name"),
        (Write(name="a", entries=()), "entries"),
        (Write(name="a", entries=(entry(1), entry(2))), "entries"),
        (Write(name="a", entries=(entry(1), entry(2)), mode=Mode.SERVER_ORDER), "entries"),
        (Write(name="a", entries=tuple(map(entry, range(RECORDS_MAX + 1))), mode=Mode.BATCH), "entries"),
        (Write(name="a", entries=(entry(1, BIG.decode()), entry(2)), mode=Mode.BATCH), "entries"),
        (Write(name="a", entries=(entry(1, '"' + "x" * EVENT_BYTES_MAX + '"'),)), "event"),
        (Write(name="a", entries=(entry(1, '{"a":1,"a":1}'),)), "event"),
        (Write(name="a", entries=(entry(1), entry(2, "NaN")), mode=Mode.BATCH), "event"),
    ],
)
def test_misuse_is_told_before_anything_is_sent(call: Write, argument: str) -> None:
    """AC-1, AC-7, CM-9: whatever would become of it."""
    course = write(after(1), None, call, (LOST, NOT_SENT))
    assert course.outcome == Misuse(argument)
    assert (course.attempts, course.chain) == ((), after(1))


def test_an_event_is_bounded_by_its_canonical_form() -> None:
    """AC-1: what is left out does not count."""
    text = " " * 10 + BIG.decode() + " " * 10
    assert isinstance(write(INITIAL, None, Write(name="a", entries=(entry(1, text),))).outcome, Placed)


def test_nothing_is_attempted_after_the_outcome() -> None:
    """A course that has ended has ended."""
    course = write(INITIAL, None, Write(name="a", entries=(entry(1),)))
    with pytest.raises(ValueError, match="nothing to be attempted"):
        writer.attempted(course, Write(name="a", entries=(entry(1),)), DELIVERED)
    with pytest.raises(ValueError, match="answers no append"):
        writer.answered(course, Write(name="a", entries=(entry(1),)), None)


# ---------------------------------------------------------------------------------------------- the oracle


def recomputed(appends: Sequence[tuple[bytes, bytes]], name: str = "a") -> list[bytes]:
    """AC-2: the stored records of these appends, from the layout as it is written."""
    tag, chain_id = b"redstep.audit-chain" + bytes(1), name.encode()
    start = bytes([1]) + len(chain_id).to_bytes(2) + chain_id
    previous = sha256(tag + bytes([0]) + start).digest()
    made = []
    for seq, (append_id, event) in enumerate(appends):
        header = start + seq.to_bytes(8) + previous + append_id
        previous = sha256(tag + bytes([1]) + header + sha256(event).digest()).digest()
        made.append(header + previous + event)
    return made


moves = st.lists(
    st.tuples(
        st.sampled_from(("x", "y", "z")),
        st.lists(st.sampled_from(Fate), max_size=4),
        st.sampled_from(Mode),
        st.integers(1, 3),
        st.sampled_from((None, 0, 1)),
        st.lists(st.booleans(), max_size=5),
    ),
    max_size=12,
)


@given(moves)
def test_the_chain_is_the_hash_chain_of_its_appends(
    story: list[tuple[str, list[Fate], Mode, int, int | None, list[bool]]],
) -> None:
    """Whatever the writers, fates, modes and rivals: each append once at most, in one order, with the hashes of that order."""
    stage, order = Stage(), []
    for who, fates, mode, count, resends, rivals in story:
        events = tuple(map(str, range(count if mode is Mode.BATCH else 1)))
        before = stage.chain
        outcome = stage.write(who, fates, events=events, mode=mode, resends=resends, rivals=tuple(rivals))
        assert stage.chain.records[: len(before.records)] == before.records
        for stored in stage.chain.records[len(before.records) :]:
            record = decoded(stored)
            assert record is not None
            order.append((record.append_id, record.event))
        assert list(stage.chain.records) == recomputed(order)
        assert len({append_id for append_id, _ in order}) == len(order)
        written = {number.to_bytes(16) for number in range(stage.numbers + 1)} & {append_id for append_id, _ in order}
        assert len(written) == len(order)
        assert_true(outcome, stage, order)


def assert_true(outcome: writer.Outcome | None, stage: Stage, order: list[tuple[bytes, bytes]]) -> None:
    """AC-6: what is told is so."""
    assert stage.last is not None
    own = {record.append_id for request in (stage.last.request,) if isinstance(request, Append) for record in request.records}
    there = [append_id for append_id, _ in order if append_id in own]
    if isinstance(outcome, NotAppended):
        assert not there
    if isinstance(outcome, Placed) and own:
        assert [order[seq][0] for seq in outcome.seqs] == there
        assert len(there) == len(own)
