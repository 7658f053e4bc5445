"""
The audit chain among concurrent writers: nobody's event is lost, or there twice, or in another order than all others see.

An operation is one append of an event, or of several together, from the first look at the chain's end to the last retry. Beside
the steps of the store three laws are held against it: an append id is in the chain at most once; what was told as appended is
there, where it was told; and what was told as not appended is not there, nor will be, whatever request arrives late.
"""

from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, instance_of, le

from redstep_check.binding import Answer, Answered
from redstep_check.interleavings.binding import Attempt, Course, Heard, Interrupted, Who, requests, was_cancelled
from redstep_check.interleavings.binding import Sequential as Base
from redstep_check.interleavings.judging import heard
from redstep_check.lockstep import Mismatch
from redstep_spec import audit_chain as spec
from redstep_spec.audit_chain_encoding import Record, decoded
from redstep_spec.delivery import Failed, Replied, Unknown

NAME = "a"
EVENT = b"1"
CONFLICTS, DEADLINE_MS = 1, 20
"""How often a writer links anew, and for how long it sends again."""
FAILURES: Mapping[type, Mapping[str, object]] = {Failed: {"outcome": "not appended"}, Unknown: {"outcome": "unknown"}}
Refusals = frozenset[bytes]
"""The append ids of which it was said that they are not in the chain."""


@frozen
class Append:
    """Append so many events together."""

    events: int = field(default=1, validator=and_(instance_of(int), ge(1), le(spec.RECORDS_MAX)))


@frozen
class Seal:
    """Seal all but the newest record."""


Operation = Append | Seal


class Sequential(Base):
    """One chain."""

    name = "audit-chain"
    initial = spec.INITIAL
    ledger: Hashable = frozenset()
    decided = frozenset({"verdict", "next_seq", "head_hash", "seq", "hash"})

    def step(self, state: spec.Chain, call: spec.Call) -> tuple[spec.Chain, spec.Reply]:
        """One step of the specification."""
        return spec.step(state, call)

    def is_idempotent(self, call: spec.Call) -> bool:
        """All of them find what they did before."""
        return isinstance(call, spec.Call)

    def abstracted(self, state: spec.Chain) -> spec.Chain:
        """All of it is stored."""
        return state

    def blame(self, before: spec.Chain, call: spec.Call, reply: Any) -> str:
        """The most specific rule of the decision."""
        del before, call
        return str(reply.because[0])

    def instants_ms(self, state: spec.Chain) -> set[int]:
        """Nothing here ever ends."""
        del state
        return set()

    def menu(self, features: Collection[str]) -> Sequence[Operation]:
        """Appends, together where that can be; and a seal."""
        several = (Append(2),) if "several" in features else ()
        return (Append(), *several, Append(), Seal())

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Operation]]:
        """Appends only; appends of several events; and what is sealed meanwhile."""
        several = {"several": (Append(2), Append())} if "several" in features else {}
        return {"appends": (Append(),), **several, "sealed": (Append(), Append(), Seal())}

    def executed(self, ledger: Refusals, who: Who, call: Any, before: Any, reply: Any, after: Any) -> Hashable:
        """AC-4: at most once; AC-6: what was refused stays out."""
        del call, reply
        if after is before or after == before:
            return ledger
        counts = Counter(record.append_id for record in records(after))
        if twice := [append_id for append_id, times in counts.items() if times > 1]:
            raise Mismatch("AC-4", "how often an append is in the chain", "once", (who, twice))
        if late := ledger & counts.keys():
            raise Mismatch("AC-6", "what was told as not appended", "not in the chain", (who, late))
        return ledger

    def ended(
        self, ledger: Refusals, who: Who, course: Course, answer: Answer | Interrupted, state: spec.Chain, now_ms: int
    ) -> Hashable:
        """AC-6: it ends in one of three ways, and the chain agrees."""
        del now_ms
        if isinstance(answer, Interrupted) or was_cancelled(course):
            if not (isinstance(answer, Interrupted) and was_cancelled(course)):
                raise Mismatch("CM-10", "the answer", "the interruption goes on", answer)
            return ledger
        if isinstance(who.operation, Seal):
            return self._sealed(ledger, course, answer)
        told = answer.values if isinstance(answer, Answered) else FAILURES.get(type(answer), {})
        ids = ids_of(course)
        there = {record.append_id: record for record in records(state)}
        match told.get("outcome"):
            case "appended":
                self._appended(told, ids, state)
                return ledger
            case "not appended" if not ids & there.keys():
                return ledger | ids
            case "unknown" if any(each.heard is Heard.LOST for each in requests(course)):
                return ledger
        is_part = len(ids) > 1 and 0 < len(ids & there.keys()) < len(ids)
        raise Mismatch("AC-7" if is_part else "AC-6", "the answer", "what its attempts came to", answer)

    def _appended(self, told: Mapping[str, Any], ids: Collection[bytes], state: spec.Chain) -> None:
        """What was told is where it was told, unless it was sealed."""
        for seq, its_hash in zip(told["seqs"], told["hashes"], strict=True):
            record = state.at(seq)
            is_there = record is not None and record.hash == its_hash and record.append_id in ids
            if not is_there and seq >= state.base_seq:
                raise Mismatch("AC-6", "what was told as appended", "in the chain", (seq, its_hash.hex()))

    def _sealed(self, ledger: Refusals, course: Course, answer: Answer | Interrupted) -> Refusals:
        kinds = {type(each.call) for each in requests(course)}
        last = max(kinds, key=lambda kind: kind is spec.Seal)
        outcome = heard(tuple(each for each in course if isinstance(each.call, last)))
        if isinstance(outcome, Replied) != isinstance(answer, Answered):
            raise Mismatch("CM-9", "the answer", outcome, answer)
        return ledger

    def tell(self, operation: Operation) -> str:
        """An operation in a few words."""
        match operation:
            case Append(events):
                return "append" if events == 1 else f"append {events} events"
            case Seal():
                return "seal"

    def tell_reply(self, reply: Any) -> str:
        """A reply in a few words."""
        return f"{getattr(reply, 'verdict', type(reply).__name__.lower())}, next {getattr(reply, 'next_seq', '')}"


def records(chain: spec.Chain) -> list[Record]:
    """The records that are kept."""
    return [record for record in map(decoded, chain.records) if record is not None]


def ids_of(course: Course) -> frozenset[bytes]:
    """The append ids of an operation."""
    return frozenset(append_id for each in requests(course) for append_id in _ids(each))


def _ids(attempt: Attempt) -> Sequence[bytes]:
    match attempt.call:
        case spec.Append(records=its):
            return [record.append_id for record in its]
        case spec.AppendNext(append_id=append_id):
            return [append_id]
    return ()
