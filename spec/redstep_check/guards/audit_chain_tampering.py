"""
Tampering: what somebody who can write to the store might do to an audit chain, from clumsy to knowing the format.

Each of these is one edit of what is stored, at a place counted from the oldest record that is there; a place beyond the last
one is taken from the beginning again. Some leave what no append will touch any more (AC-8), some what only verification tells
(AC-9), some what only an anchor tells (AC-10).
"""

from collections.abc import Callable
from enum import Enum

from attrs import evolve

from redstep_spec.audit_chain import Chain, End, Head, end_after, linked
from redstep_spec.audit_chain_encoding import Record, decoded, encoded, hashed

FORGED = b'"forged"'
OTHER_CHAIN = "somebody else's"


class How(Enum):
    """What is done."""

    EVENT = "an event is changed"
    HASH = "a hash is changed"
    CUT_RECORD = "a record is cut short"
    DELETED = "a record is deleted"
    REPEATED = "a record is put in once more"
    SWAPPED = "two records change places"
    RELINKED = "a record is hashed anew with another previous hash"
    FOREIGN = "a record is put in that another chain would have there"
    REHASHED = "an event is changed, and all from there on is hashed anew, the head too"
    REHASHED_RECORDS = "an event is changed, and all from there on is hashed anew, but not the head"
    CUT = "the records from there on are deleted"
    CUT_WITH_HEAD = "the records from there on are deleted, and the head is set back"
    FORKED = "the records from there on are deleted, the head is set back, and others are appended"
    HEADLESS = "the head is deleted"
    EMPTY = "the records are deleted"
    HEAD_SEQ = "the next seq of the head is changed"
    HEAD_BASE = "the base of the head is changed"
    HEAD_HASH = "the hash of the head is changed"


def tampered(name: str, chain: Chain, how: How, place: int) -> Chain:
    """What is stored afterwards: the same, if the chain has not begun, or cannot be read already."""
    if chain.head is None or not chain.records or None in map(decoded, chain.records):
        return chain
    return EDITS[how](name, chain, chain.head, place % len(chain.records))


def flipped(data: bytes) -> bytes:
    """The same but for one bit."""
    return bytes([data[0] ^ 1]) + data[1:]


def _record(chain: Chain, place: int) -> Record:
    record = decoded(chain.records[place])
    assert record is not None, "an edit of what cannot be read"  # noqa: S101  `tampered` has seen to it
    return record


def _with(chain: Chain, place: int, *records: bytes) -> Chain:
    return evolve(chain, records=(*chain.records[:place], *records, *chain.records[place + 1 :]))


def _changed(chain: Chain, place: int, **changes: bytes) -> Chain:
    return _with(chain, place, encoded(evolve(_record(chain, place), **changes)))  # type: ignore[arg-type]


def _relinked(name: str, chain: Chain, place: int, kept: int, append: int = 0) -> Chain:
    """From a place on other events of the same append ids, `kept` of them and some more, hashed as they should be."""
    own = [_record(chain, number) for number in range(place, len(chain.records))][:kept]
    entries = [(own[0].append_id, FORGED), *((each.append_id, each.event) for each in own[1:])] if own else []
    entries += [(bytes([number] * 16), FORGED) for number in range(1, append + 1)]
    first = _record(chain, place)
    records = linked(End(first.seq, first.previous), name, tuple(entries))
    end = end_after(records[-1]) if records else End(first.seq, first.previous)
    left = (*chain.records[:place], *map(encoded, records))
    base_seq = chain.base_seq
    return Chain(Head(next_seq=end.seq, base_seq=base_seq, hash=end.hash), left) if left else Chain()


def _rehashed(name: str, chain: Chain, _head: Head, place: int) -> Chain:
    return _relinked(name, chain, place, len(chain.records))


def _foreign(name: str, chain: Chain, _head: Head, place: int) -> Chain:  # noqa: ARG001  its name is another
    theirs = evolve(_record(chain, place), chain_id=OTHER_CHAIN.encode("utf-8"))
    return _with(chain, place, encoded(hashed(theirs)))


def _wrongly_linked(_name: str, chain: Chain, _head: Head, place: int) -> Chain:
    record = _record(chain, place)
    return _with(chain, place, encoded(hashed(evolve(record, previous=flipped(record.previous)))))


def _swapped(_name: str, chain: Chain, _head: Head, place: int) -> Chain:
    first, last = sorted((place, (place + 1) % len(chain.records)))
    records = list(chain.records)
    records[first], records[last] = records[last], records[first]
    return evolve(chain, records=tuple(records))


EDITS: dict[How, Callable[[str, Chain, Head, int], Chain]] = {
    How.EVENT: lambda _name, chain, _head, place: _changed(chain, place, event=FORGED),
    How.HASH: lambda _name, chain, _head, place: _changed(chain, place, hash=flipped(_record(chain, place).hash)),
    How.CUT_RECORD: lambda _name, chain, _head, place: _with(chain, place, chain.records[place][:50]),
    How.DELETED: lambda _name, chain, _head, place: _with(chain, place),
    How.REPEATED: lambda _name, chain, _head, place: _with(chain, place, chain.records[place], chain.records[place]),
    How.SWAPPED: _swapped,
    How.RELINKED: _wrongly_linked,
    How.FOREIGN: _foreign,
    How.REHASHED: _rehashed,
    How.REHASHED_RECORDS: lambda name, chain, head, place: evolve(_rehashed(name, chain, head, place), head=head),
    How.CUT: lambda _name, chain, _head, place: evolve(chain, records=chain.records[:place]),
    How.CUT_WITH_HEAD: lambda name, chain, _head, place: _relinked(name, chain, place, 0),
    How.FORKED: lambda name, chain, _head, place: _relinked(name, chain, place, 0, append=len(chain.records) - place + 1),
    How.HEADLESS: lambda _name, chain, _head, _place: evolve(chain, head=None),
    How.EMPTY: lambda _name, chain, _head, _place: evolve(chain, records=()),
    How.HEAD_SEQ: lambda _name, chain, head, place: evolve(chain, head=evolve(head, next_seq=head.next_seq + place + 1)),
    How.HEAD_BASE: lambda _name, chain, head, place: evolve(chain, head=evolve(head, base_seq=head.base_seq + place + 1)),
    How.HEAD_HASH: lambda _name, chain, head, _place: evolve(chain, head=evolve(head, hash=flipped(head.hash))),
}
