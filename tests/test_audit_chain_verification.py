"""
Verification, attacked: every kind of tampering at every place gives the finding and the position that it should.

What is expected is worked out from the edit alone: nothing is folded here. `p` is the seq at the place of the edit.
"""

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from redstep_check.guards.audit_chain_tampering import How, tampered
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain import INITIAL, Chain, End, Head, Seal, linked, step
from redstep_spec.audit_chain_encoding import encoded, genesis_hash, segment
from redstep_spec.audit_chain_verification import Anchor, Finding, Integrity, Verify, verify

NAME = "a"


def chain_of(length: int, base_seq: int = 0, name: str = NAME) -> Chain:
    """A chain of so many appends, the oldest of them sealed."""
    entries = tuple((number.to_bytes(16), b"%d" % number) for number in range(length))
    records = linked(End(0, genesis_hash(name.encode())), name, entries)
    head = Head(next_seq=length, base_seq=0, hash=records[-1].hash)
    chain, _ = step(Chain(head, tuple(map(encoded, records))), Seal(name=name, upto_seq=base_seq, keep=1))
    assert chain.base_seq == base_seq
    return chain


def checkpoint(chain: Chain, size: int) -> Anchor:
    """What was known of a chain at a size that it still can tell."""
    digest = chain.previous_at(size, NAME)
    assert digest is not None
    return Anchor(name=NAME, size=size, hash=digest)


def finding(chain: Chain, anchor: Anchor | None = None, *exported: bytes) -> tuple[str, int | None]:
    """What verification comes to."""
    got = verify(chain, Verify(name=NAME, anchor=anchor, segments=exported))
    assert isinstance(got, Integrity)
    return got.finding, got.position


@frozen
class Edit:
    """One edit of a chain of some length, sealed up to a base, at a place."""

    length: int
    base_seq: int
    how: How
    place: int

    @property
    def before(self) -> Chain:
        """The chain as it was."""
        return chain_of(self.length, self.base_seq)

    @property
    def after(self) -> Chain:
        """The chain as it is."""
        return tampered(NAME, self.before, self.how, self.place)

    @property
    def p(self) -> int:
        """The seq at the place."""
        return self.base_seq + self.place

    @property
    def is_last(self) -> bool:
        """Whether the edit is at the newest record."""
        return self.p == self.length - 1


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    """All of them, in small chains."""
    length = draw(st.integers(1, 7))
    base_seq = draw(st.sampled_from((0, draw(st.integers(0, length - 1)))))
    return Edit(length, base_seq, draw(st.sampled_from(How)), draw(st.integers(0, length - base_seq - 1)))


def broken(edit: Edit) -> tuple[Finding, int] | None:
    """AC-9: what an edit breaks, and where; None if what is left agrees with itself."""
    p, length = edit.p, edit.length
    match edit.how:
        case How.EVENT | How.HASH | How.CUT_RECORD:
            return Finding.MODIFIED, p
        case How.FOREIGN:
            return Finding.FOREIGN, p
        case How.DELETED:
            return (Finding.HEAD_MISMATCH if edit.is_last else Finding.REMOVED), p
        case How.REPEATED:
            return Finding.INSERTED, p + 1
        case How.SWAPPED:
            first = edit.base_seq if edit.is_last else p
            return None if length - edit.base_seq == 1 else (Finding.REORDERED, first)
        case How.RELINKED if p == 0:
            return Finding.WRONG_GENESIS, 0
        case How.RELINKED if edit.place == 0:  # what it linked to is sealed: the next one tells, or the head
            return (Finding.HEAD_MISMATCH if edit.is_last else Finding.REPLACED), p + 1
        case How.RELINKED:
            return Finding.REPLACED, p
        case How.CUT:
            return Finding.HEAD_MISMATCH, p
        case How.HEADLESS:
            return (Finding.REMOVED, 0) if edit.base_seq else (Finding.HEAD_MISMATCH, length)
        case How.EMPTY:
            return Finding.HEAD_MISMATCH, edit.base_seq
        case How.HEAD_BASE:
            return Finding.INSERTED, p + 1
        case How.HEAD_SEQ | How.HEAD_HASH | How.REHASHED_RECORDS:
            return Finding.HEAD_MISMATCH, length
        case How.REHASHED | How.CUT_WITH_HEAD | How.FORKED:
            return None


def anchored(edit: Edit, size: int) -> tuple[Finding, int | None]:
    """AC-10: what an anchor of the chain as it was tells of what agrees with itself."""
    if size <= edit.p or edit.how is How.SWAPPED:
        return Finding.VERIFIED, None
    if edit.how is not How.CUT_WITH_HEAD:
        return Finding.DIVERGED, size - 1
    return Finding.TRUNCATED, edit.p if edit.place else 0  # with nothing left, not even the base is known


@given(edits())
def test_each_kind_of_tampering_has_its_finding_and_its_place(edit: Edit) -> None:
    """AC-9: at every place, in chains that are sealed and that are not; an anchor makes no difference to it."""
    expected = broken(edit)
    assert finding(edit.after) == (expected or (Finding.CONSISTENT, None))
    if expected:
        for size in range(edit.base_seq, edit.length + 1):
            assert finding(edit.after, checkpoint(edit.before, size)) == expected


@given(edits())
def test_what_agrees_with_itself_is_told_by_an_anchor(edit: Edit) -> None:
    """AC-10: truncated or diverged, at the first position that can be told; before the edit nothing is."""
    if broken(edit) or (edit.how is How.CUT_WITH_HEAD and not edit.place and edit.base_seq):
        return
    for size in range(edit.base_seq, edit.length + 1):
        assert finding(edit.after, checkpoint(edit.before, size)) == anchored(edit, size)


LATER = [how for how in How if how not in (How.SWAPPED, How.HEADLESS, How.EMPTY, How.HEAD_BASE)]
"""What leaves everything before its place as it is."""


@given(st.data(), st.integers(2, 7), st.sampled_from(LATER))
def test_the_first_of_two_edits_is_told(data: st.DataObject, length: int, how: How) -> None:
    """AC-9: whatever comes later."""
    base_seq = data.draw(st.integers(0, length - 2))
    later = data.draw(st.integers(1, length - base_seq - 1))
    earlier = data.draw(st.integers(0, later - 1))
    twice = tampered(NAME, tampered(NAME, chain_of(length, base_seq), How.EVENT, earlier), how, later)
    assert finding(twice) == (Finding.MODIFIED, base_seq + earlier)


# ---------------------------------------------------------------------------------------------- in order


@pytest.mark.parametrize(("length", "base_seq"), [(length, base) for length in range(1, 8) for base in range(length)])
def test_what_was_appended_is_never_called_broken(length: int, base_seq: int) -> None:
    """AC-9, AC-10: consistent, and verified by each checkpoint that it had; one that is sealed cannot be compared."""
    whole, chain = chain_of(length), chain_of(length, base_seq)
    assert finding(chain) == (Finding.CONSISTENT, None)
    for size in range(length + 1):
        got = verify(chain, Verify(name=NAME, anchor=checkpoint(whole, size)))
        assert isinstance(got, Integrity)
        is_there = size >= base_seq
        assert (got.finding, got.comparable) == (Finding.VERIFIED if is_there else Finding.CONSISTENT, is_there)


def test_a_chain_that_has_not_begun() -> None:
    """AC-10: it is consistent; a checkpoint of nothing verifies it, and one of anything does not."""
    assert finding(INITIAL) == (Finding.CONSISTENT, None)
    assert finding(INITIAL, checkpoint(INITIAL, 0)) == (Finding.VERIFIED, None)
    assert finding(INITIAL, checkpoint(chain_of(1), 1)) == (Finding.TRUNCATED, 0)
    assert finding(INITIAL, Anchor(name=NAME, size=0, hash=bytes(32))) == (Finding.DIVERGED, 0)


def test_another_chain_put_in_its_place() -> None:
    """AC-9, AC-10: under its own name it is foreign from the first; made for this name, only an anchor tells."""
    theirs = chain_of(3, name="b")
    assert finding(theirs) == (Finding.FOREIGN, 0)
    forged = tampered(NAME, chain_of(3), How.REHASHED, 0)
    assert finding(forged) == (Finding.CONSISTENT, None)
    assert finding(forged, checkpoint(chain_of(3), 2)) == (Finding.DIVERGED, 1)


@given(st.integers(1, 5), st.data())
def test_a_record_of_another_chain_is_foreign(length: int, data: st.DataObject) -> None:
    """AC-9: in the place of one, or between two; whatever its seq."""
    place, seq = data.draw(st.integers(0, length - 1)), data.draw(st.integers(0, length - 1))
    chain, theirs = chain_of(length), chain_of(length, name="b").records[seq]
    for kept in (place, place + 1):
        altered = evolve(chain, records=(*chain.records[:place], theirs, *chain.records[kept:]))
        assert finding(altered) == (Finding.FOREIGN, place)


def test_a_seq_that_comes_later_only_in_a_broken_record_is_removed() -> None:
    """AC-9: what a record says whose own hash is wrong proves nothing, and so does one of another chain."""
    chain, theirs = chain_of(3), chain_of(3, name="b").records[0]
    swapped = (chain.records[1], chain.records[0])
    broken_one = (chain.records[1], chain.records[0][:-1])
    assert finding(evolve(chain, records=(*swapped, chain.records[2]))) == (Finding.REORDERED, 0)
    assert finding(evolve(chain, records=(*broken_one, chain.records[2]))) == (Finding.REMOVED, 0)
    assert finding(evolve(chain, records=(chain.records[1], theirs, chain.records[2]))) == (Finding.REMOVED, 0)


@given(st.integers(1, 4), st.data())
def test_any_other_bytes_are_found(length: int, data: st.DataObject) -> None:
    """AC-9: whoever does not know the format changes nothing unseen."""
    chain = chain_of(length)
    place = data.draw(st.integers(0, length - 1))
    stored = chain.records[place]
    at = data.draw(st.integers(0, len(stored) - 1))
    byte = data.draw(st.integers(0, 255))
    altered = evolve(
        chain, records=(*chain.records[:place], stored[:at] + bytes([byte]) + stored[at + 1 :], *chain.records[place + 1 :])
    )
    assert finding(altered) == ((Finding.CONSISTENT, None) if altered == chain else (Finding.MODIFIED, place))


# ---------------------------------------------------------------------------------------------- across a seal


KEEPS_THE_NUMBER = (How.EVENT, How.HASH, How.CUT_RECORD, How.SWAPPED, How.RELINKED, How.FOREIGN, How.REHASHED)


@given(st.integers(2, 7), st.sampled_from(KEEPS_THE_NUMBER), st.data())
def test_what_is_exported_is_verified_with_what_is_there(length: int, how: How, data: st.DataObject) -> None:
    """AC-12: in one file or in two, overlapping with the store or not, it is found as if nothing had been sealed."""
    base_seq = data.draw(st.integers(1, length - 1))
    cut, end = data.draw(st.integers(1, base_seq)), data.draw(st.integers(base_seq, length))
    whole = tampered(NAME, chain_of(length), how, data.draw(st.integers(0, length - 1)))
    assert whole.head is not None
    unsealed = Chain(evolve(whole.head, base_seq=base_seq), whole.records[base_seq:])
    files = (segment(whole.records[:cut]), segment(whole.records[cut:end]))
    for size in (None, *range(length + 1)):
        anchor = None if size is None else checkpoint(chain_of(length), size)
        assert finding(unsealed, anchor, *files) == finding(whole, anchor)


def test_an_exported_file_may_begin_later() -> None:
    """AC-12: then verification begins there if it is told so; else what came before is missing."""
    chain, later = chain_of(6, 4), segment(chain_of(6).records[2:4])
    for size, comparable in ((1, False), (2, True), (3, True)):
        anchor = checkpoint(chain_of(6), size)
        got = verify(chain, Verify(name=NAME, anchor=anchor, segments=(later,), from_seq=2))
        assert isinstance(got, Integrity)
        assert (got.comparable, got.finding == Finding.VERIFIED) == (comparable, comparable)
    assert finding(chain, None, later) == (Finding.REMOVED, 0)
    overlapping = Verify(name=NAME, segments=(segment(chain_of(6).records[5:]),), from_seq=5)
    assert verify(chain, overlapping) == verify(chain, Verify(name=NAME))


def test_what_is_missing_between_a_file_and_the_store_is_removed() -> None:
    """AC-12: a file that ends before the base; one that was cut off, in a record or in a length."""
    chain, records = chain_of(4, 3), chain_of(4).records
    assert finding(chain, None, segment(records[:2])) == (Finding.REMOVED, 2)
    for cut in (1, len(records[2])):
        assert finding(chain, None, segment(records[:3])[:-cut]) == (Finding.MODIFIED, 2)
    assert finding(chain, None, segment(records[:3])[: -len(records[2]) - 2]) == (Finding.MODIFIED, 2)


def test_a_file_that_lost_its_beginning() -> None:
    """AC-12: what is missing there is removed, what cannot be read is modified."""
    chain, records = chain_of(3, 2), chain_of(3).records
    assert finding(chain, None, segment(records[1:2])) == (Finding.REMOVED, 0)
    assert finding(chain, None, segment((b"x", records[1]))) == (Finding.MODIFIED, 0)


# ---------------------------------------------------------------------------------------------- misuse


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (Verify(name="}"), "name"),
        (Verify(name=NAME, anchor=Anchor(name="b", size=0, hash=bytes(32))), "anchor"),
        (Verify(name=NAME, anchor=Anchor(name=NAME, size=-1, hash=bytes(32))), "anchor"),
        (Verify(name=NAME, anchor=Anchor(name=NAME, size=0, hash=bytes(31))), "anchor"),
        (Verify(name=NAME, from_seq=-1), "from_seq"),
    ],
)
def test_an_anchor_that_says_nothing_is_misuse(call: Verify, argument: str) -> None:
    """AC-10: of another chain, of no size, with no hash."""
    assert verify(chain_of(2), call) == Misuse(argument)
