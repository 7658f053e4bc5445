"""
Audit chain: what happened, in an order that nobody can change unseen; a hash-linked list of records.

      base          unsealed: kept in the store          next seq
        │                                                   │
    ────┬─────────┬─────────┬─────────┬─────────┬───────────┐
    ... │ seq 4   │ seq 5   │ seq 6   │ seq 7   │ seq 8     │◀── head: next seq 9, base 4, the hash of 8
        │  prev ◀─┼── prev ◀┼── prev ◀┼── prev ◀┼── prev    │
    ────┴─────────┴─────────┴─────────┴─────────┴───────────┘
    sealed: exported and removed                            an append must link exactly here

A record links to the one before it by that one's hash, the first to a genesis hash that is the chain's own. So who has the
hash of the newest record can tell whether anything before it was altered. Four laws:

- append is compare-and-set: it says after which record, and if that is not the newest any more nothing is written (AC-3);
- one append is in the chain at most once. Its append id, 16 random bytes, is drawn once and is part of what is hashed: the same
  bytes again are told as ALREADY appended, and two equal events at one head are two records (AC-4);
- records never change, and only the oldest are ever removed, all of them up to a base (AC-12);
- what disagrees with itself is Corrupt, and is left as it is (AC-8).

These are the steps of the store, each one script call, without time: nothing here expires. `audit_chain_writer` says what a
writer makes of them, `audit_chain_encoding` what the bytes are, `audit_chain_verification` how a chain is checked.

The linking is that of Haber and Stornetta's time-stamping (1991); compare-and-set on the end of a log is folklore.
"""

from typing import Annotated, Any

from attrs import evolve, field, frozen

from redstep_spec.arguments import Misuse, is_integer, is_name
from redstep_spec.audit_chain_encoding import APPEND_ID_BYTES, HASH_BYTES, Record, decoded, encoded, genesis_hash, hashed

RECORDS_MAX = 500
"""AC-7: how many records one append may bring, and one page may hold."""
EVENT_BYTES_MAX = 2**20
"""How long an event may be in its canonical form, and how long the events of one append may be together."""
KEPT_MIN = 1_024
"""AC-12: how many of the newest records a seal leaves, unless it is told otherwise."""
REMOVED_MAX = 1_000
"""AC-12: how many records one seal removes at most; sealed again, it goes on."""

# ---------------------------------------------------------------------------------------------- state


@frozen
class End:
    """Where the next record links."""

    seq: Annotated[int, "AC-3"]
    """The seq that it will have."""
    hash: Annotated[bytes, "AC-2"]
    """The hash of the record before it; of none, the genesis hash."""


@frozen(kw_only=True)
class Head:
    """What is kept of a chain beside its records."""

    next_seq: Annotated[int, "AC-3"]
    base_seq: Annotated[int, "AC-12"]
    """The seq of the oldest record that is still there."""
    hash: Annotated[bytes, "AC-2"]
    """That of the newest record."""


@frozen
class Chain:
    """What is stored of one chain, whether or not it makes sense."""

    head: Annotated[Head | None, "AC-8"] = None
    """None until the first record: a chain that has begun is never empty again."""
    records: Annotated[tuple[bytes, ...], "AC-1"] = ()
    """The stored records, oldest first."""

    @property
    def base_seq(self) -> int:
        """The seq of the oldest record that is still there."""
        return self.head.base_seq if self.head else 0

    def at(self, seq: int) -> Record | None:
        """The record that is kept at a seq, if there is one."""
        place = seq - self.base_seq
        return decoded(self.records[place]) if 0 <= place < len(self.records) else None

    def end(self, name: str) -> End:
        """AC-3: where the next record links."""
        return End(self.head.next_seq, self.head.hash) if self.head else End(0, genesis_hash(name.encode("utf-8")))

    def told(self, name: str) -> dict[str, Any]:
        """The head, as every reply tells it."""
        end = self.end(name)
        return {"next_seq": end.seq, "base_seq": self.base_seq, "head_hash": end.hash}

    def previous_at(self, seq: int, name: str) -> bytes | None:
        """What a record of this seq links to; None where the store cannot tell."""
        end, record = self.end(name), self.at(seq)
        if record is not None:
            return record.previous
        return end.hash if seq == end.seq else None

    def place_of(self, append_id: bytes) -> Record | None:
        """AC-7: the unsealed record with this append id."""
        records = (decoded(each) for each in self.records)
        return next((each for each in records if each and each.append_id == append_id), None)


INITIAL = Chain()


def is_corrupt(chain: Chain) -> bool:
    """AC-8: head, length and last record disagree."""
    head, last = chain.head, decoded(chain.records[-1]) if chain.records else None
    if head is None or last is None:
        return head is not None or bool(chain.records)
    agree = last.seq == head.next_seq - 1 and last.hash == head.hash and len(chain.records) == head.next_seq - head.base_seq
    return not agree


def linked(end: End, name: str, entries: tuple[tuple[bytes, bytes], ...]) -> tuple[Record, ...]:
    """AC-2: records one after the other from an end on, of pairs of an append id and the bytes of an event."""
    records: list[Record] = []
    for append_id, event in entries:
        record = Record(
            chain_id=name.encode("utf-8"), seq=end.seq, previous=end.hash, append_id=append_id, hash=b"", event=event
        )
        records.append(hashed(record))
        end = end_after(records[-1])
    return tuple(records)


def end_after(record: Record) -> End:
    """AC-3: where the record after this one links."""
    return End(record.seq + 1, record.hash)


# ---------------------------------------------------------------------------------------------- calls and replies


@frozen(kw_only=True)
class Append:
    """Put these records, which link one to the next, at the end of the chain if the first one links there; all or none."""

    name: str
    records: tuple[Record, ...]


@frozen(kw_only=True)
class AppendNext:
    """Make a record of this event at the end of the chain, wherever that is."""

    name: str
    append_id: bytes
    event: bytes
    since: int
    """The next seq of an end that the chain had before this append began."""
    previous: bytes
    """The hash that it had there."""


@frozen(kw_only=True)
class Read:
    """What is kept from a seq on? Tells the head and the records at one instant, however little they agree."""

    name: str
    from_seq: int
    count: int


@frozen(kw_only=True)
class Seal:
    """Remove the records below a seq, a bounded number of them at once."""

    name: str
    upto_seq: int
    keep: int = KEPT_MIN


Call = Append | AppendNext | Read | Seal


@frozen(kw_only=True)
class Told:
    """What every answer of a sound chain says beside its verdict: the head as it is now."""

    next_seq: Annotated[int, "AC-3"]
    base_seq: Annotated[int, "AC-12"]
    head_hash: Annotated[bytes, "AC-2"]
    """The hash of the newest record; of none, the genesis hash."""


@frozen(kw_only=True)
class Appended(Told):
    """The records are in the chain now."""

    verdict: Annotated[str, "AC-3"] = field(default="appended", init=False)
    seq: Annotated[int, "AC-3"]
    """Of the last record of the append."""
    hash: Annotated[bytes, "AC-2"]
    because: tuple[str, ...] = field(eq=False, default=("AC-3",))


@frozen(kw_only=True)
class Already(Told):
    """The records were in the chain before, all of them: this is the same append again."""

    verdict: Annotated[str, "AC-4"] = field(default="already", init=False)
    seq: Annotated[int, "AC-4"]
    """Of the last record of the append."""
    hash: Annotated[bytes, "AC-4"]
    because: tuple[str, ...] = field(eq=False, default=("AC-4", "CM-4"))


@frozen(kw_only=True)
class Sealed(Told):
    """The records are not in the chain now, and might have been: where they would be, it is sealed."""

    verdict: Annotated[str, "AC-4"] = field(default="sealed", init=False)
    because: tuple[str, ...] = field(eq=False, default=("AC-4", "AC-12"))


@frozen(kw_only=True)
class HashMismatch(Told):
    """The records are not in the chain and never were: another append came first."""

    verdict: Annotated[str, "AC-3"] = field(default="hash_mismatch", init=False)
    continues: Annotated[bool, "AC-11"]
    """Whether the chain has, or had, the end that the first record links to; if not, it lost what the caller knew."""
    because: tuple[str, ...] = field(eq=False, default=("AC-3",))


@frozen(kw_only=True)
class Page(Told):
    """Some of the chain, and its head at the same instant."""

    records: Annotated[tuple[bytes, ...], "AC-9"]
    """From the seq that was asked for on, or from the base if that is later; at most as many as were asked for."""
    because: tuple[str, ...] = field(eq=False, default=("AC-9",))


@frozen(kw_only=True)
class Removed(Told):
    """Below the base nothing is kept any more; if it is below what was asked for, there is more to remove."""

    verdict: Annotated[str, "AC-12"] = field(default="removed", init=False)
    because: tuple[str, ...] = field(eq=False, default=("AC-12",))


@frozen(kw_only=True)
class Refused(Told):
    """So few records would be left that nothing was removed."""

    verdict: Annotated[str, "AC-12"] = field(default="refused", init=False)
    because: tuple[str, ...] = field(eq=False, default=("AC-12",))


@frozen
class Corrupt:
    """What is stored disagrees with itself; nothing was written."""

    verdict: Annotated[str, "AC-8"] = field(default="corrupt", init=False)
    because: tuple[str, ...] = field(eq=False, default=("AC-8",))


Verdict = Appended | Already | Sealed | HashMismatch | Corrupt
"""What an append is answered."""
Reply = Verdict | Page | Removed | Refused | Misuse


# ---------------------------------------------------------------------------------------------- the steps


def append(chain: Chain, call: Append) -> tuple[Chain, Verdict]:
    """AC-3, AC-4: all of the records at the end of the chain, or nothing."""
    first, last, end = call.records[0], call.records[-1], chain.end(call.name)
    if (first.seq, first.previous) == (end.seq, end.hash):
        return _appended(chain, call.name, call.records, ("AC-7", "AC-3") if len(call.records) > 1 else ("AC-3",))
    stored = chain.at(last.seq)
    if stored is not None and stored.hash == last.hash:
        return chain, Already(seq=stored.seq, hash=stored.hash, **chain.told(call.name))
    if first.seq < chain.base_seq:
        return chain, Sealed(**chain.told(call.name))
    continues = chain.previous_at(first.seq, call.name) == first.previous
    return chain, HashMismatch(continues=continues, **chain.told(call.name))


def append_next(chain: Chain, call: AppendNext) -> tuple[Chain, Verdict]:
    """AC-7: the store links; the append id alone tells whether this append was made before."""
    end, told = chain.end(call.name), chain.told(call.name)
    stored = chain.place_of(call.append_id)
    if stored is not None:
        return chain, Already(seq=stored.seq, hash=stored.hash, because=("AC-4", "AC-7", "CM-4"), **told)
    if call.since < chain.base_seq:
        return chain, Sealed(because=("AC-4", "AC-7", "AC-12"), **told)
    if chain.previous_at(call.since, call.name) != call.previous:
        return chain, HashMismatch(continues=False, because=("AC-11", "AC-7"), **told)
    return _appended(chain, call.name, linked(end, call.name, ((call.append_id, call.event),)), ("AC-7", "AC-3"))


def _appended(chain: Chain, name: str, records: tuple[Record, ...], because: tuple[str, ...]) -> tuple[Chain, Appended]:
    end = end_after(records[-1])
    head = Head(next_seq=end.seq, base_seq=chain.base_seq, hash=end.hash)
    after = Chain(head, chain.records + tuple(map(encoded, records)))
    return after, Appended(seq=records[-1].seq, hash=records[-1].hash, because=because, **after.told(name))


def read(chain: Chain, call: Read) -> tuple[Chain, Page]:
    """AC-9: what is there, and no judgement of it; of a list without a head, from the first record on."""
    place = max(0, call.from_seq - chain.base_seq)
    return chain, Page(records=chain.records[place : place + call.count], **chain.told(call.name))


def seal(chain: Chain, call: Seal) -> tuple[Chain, Removed | Refused]:
    """AC-12: below `upto_seq` nothing is left, once it has been sealed often enough; `keep` records always are."""
    head = chain.head
    if call.upto_seq <= chain.base_seq:
        return chain, Removed(**chain.told(call.name))
    if head is None or head.next_seq - call.upto_seq < call.keep:
        return chain, Refused(**chain.told(call.name))
    base_seq = min(call.upto_seq, head.base_seq + REMOVED_MAX)
    left = Chain(evolve(head, base_seq=base_seq), chain.records[base_seq - head.base_seq :])
    return left, Removed(**left.told(call.name))


def misuse(call: Call) -> Misuse | None:
    """AC-7, CM-7, CM-8: what is wrong with a call that no state could ever answer."""
    if not is_name(call.name):
        return Misuse("name", ("CM-7", "CM-9"))
    match call:
        case Append(records=records):
            is_good = _are_small(records) and _are_linked(call.name, records)
            return None if is_good else Misuse("records", ("AC-7", "CM-9"))
        case AppendNext():
            if len(call.append_id) != APPEND_ID_BYTES:
                return Misuse("append_id", ("AC-1", "CM-9"))
            if not 1 <= len(call.event) <= EVENT_BYTES_MAX:
                return Misuse("event", ("AC-1", "CM-9"))
            if not is_integer(call.since, 0):
                return Misuse("since", ("CM-8", "CM-9"))
            return None if len(call.previous) == HASH_BYTES else Misuse("previous", ("AC-11", "CM-9"))
        case Read():
            if not is_integer(call.from_seq, 0):
                return Misuse("from_seq", ("CM-8", "CM-9"))
            return None if is_integer(call.count, 1, RECORDS_MAX) else Misuse("count", ("CM-8", "CM-9"))
        case Seal():
            if not is_integer(call.upto_seq, 0):
                return Misuse("upto_seq", ("CM-8", "CM-9"))
            return None if is_integer(call.keep, 1) else Misuse("keep", ("AC-12", "CM-9"))


def _are_small(records: tuple[Record, ...]) -> bool:
    sizes = [len(each.event) for each in records]
    return 1 <= len(records) <= RECORDS_MAX and min(sizes) > 0 and sum(sizes) <= EVENT_BYTES_MAX


def _are_linked(name: str, records: tuple[Record, ...]) -> bool:
    first = records[0]
    well_formed = len(first.previous) == HASH_BYTES and all(len(each.append_id) == APPEND_ID_BYTES for each in records)
    if not well_formed or not is_integer(first.seq, 0):
        return False
    return records == linked(End(first.seq, first.previous), name, tuple((each.append_id, each.event) for each in records))


def step(chain: Chain, call: Call) -> tuple[Chain, Reply]:
    """One script call on one chain."""
    if wrong := misuse(call):
        return chain, wrong
    if is_corrupt(chain) and not isinstance(call, Read):
        return chain, Corrupt()
    match call:
        case Append():
            return append(chain, call)
        case AppendNext():
            return append_next(chain, call)
        case Read():
            return read(chain, call)
        case Seal():
            return seal(chain, call)
