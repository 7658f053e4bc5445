"""
The audit chain is its own witness: the records stand in the order in which the appends took effect.

So no search is needed. Every link is recomputed by the specification; every append that was told as appended is where it was
told; what was told as not appended is nowhere; nothing is there twice, and nothing that nobody appended; and whoever had
heard of his append before another began it stands before that one.
"""

from collections import Counter
from collections.abc import Iterator
from hashlib import sha256

from attrs import frozen

from redstep_check.stress.binding import Finding, Operation, Part
from redstep_check.stress.laws.clients import found
from redstep_check.stress.laws.order import out_of_time
from redstep_check.stress.logs import ANSWERED, BROKE, FAILED
from redstep_spec.audit_chain import End, end_after
from redstep_spec.audit_chain_encoding import APPEND_ID_BYTES, Record, decoded, genesis_hash, record_hash


def append_id_of(name: str) -> bytes:
    """The append id of an operation, drawn from its name: so that it is known of those of which nobody heard, too."""
    return sha256(name.encode()).digest()[:APPEND_ID_BYTES]


@frozen
class _Stands:
    """An append and its record."""

    operation: Operation
    record: Record

    @property
    def began_at(self) -> int:
        return self.operation.began_at

    @property
    def ended_at(self) -> int | None:
        return self.operation.ended_at if self.operation.outcome == ANSWERED else None


def linked(part: Part) -> Iterator[Finding]:
    """AC-2, AC-3: each record is at its place, with the hash that it must have, and links to the one before it."""
    records, end = _records(part), End(0, genesis_hash(part.key.encode()))
    for place, record in enumerate(records):
        if record is None:
            yield found("AC-1", f"what is stored at {place} is no record", part)
            return
        if record.hash != record_hash(record):
            yield found("AC-2", f"the hash of the record at {place} is not its own", part)
        if (record.seq, record.previous) != (end.seq, end.hash):
            yield found("AC-3", f"the record at {place} says {record.seq}, and does not link to the one before it", part)
        end = end_after(record)


def placed(part: Part) -> Iterator[Finding]:
    """AC-4, AC-6: once and where it was told; or not at all."""
    records = [record for record in _records(part) if record]
    counts = Counter(record.append_id for record in records)
    by_id = {append_id_of(each.name): each for each in part.operations}
    for record in records:
        if record.append_id not in by_id:
            yield found("AC-4", f"the record at {record.seq} was appended by nobody", part)
    at = {record.append_id: record for record in records}
    for append_id, each in by_id.items():
        if counts[append_id] > 1:
            yield found("AC-4", f"it is in the chain {counts[append_id]} times", part, each)
        its = at.get(append_id)
        if each.outcome == ANSWERED:
            told = (each.values.get("seq"), each.values.get("hash"))
            is_there = any(one.append_id == append_id and (one.seq, one.hash.hex()) == told for one in records)
            if not is_there:
                where = "nowhere" if its is None else f"at {its.seq}"
                yield found("AC-6", f"it was told to be appended at {told[0]}, and is {where}", part, each)
        if each.outcome == FAILED and its is not None:
            yield found("AC-6", f"it was told as not appended, and is at {its.seq}", part, each)
        if each.outcome == BROKE:
            yield found("CM-9", f"it raised what no rule allows: {each.values.get('problem')}", part, each)


def in_real_time(part: Part) -> Iterator[Finding]:
    """AC-3: who had heard of his append before another began stands before that one."""
    by_id = {append_id_of(each.name): each for each in part.operations}
    stands = [_Stands(by_id[each.append_id], each) for each in _records(part) if each and each.append_id in by_id]
    for early, late in out_of_time(stands):
        problem = f"it began when the record at {late.record.seq} had been acknowledged, and is at {early.record.seq}"
        yield found("AC-3", problem, part, early.operation, late.operation)


def _records(part: Part) -> list[Record | None]:
    return [] if part.stored is None else [decoded(each) for each in part.stored.records]


LAWS = (linked, placed, in_real_time)
