"""What always holds of the audit chain; what a run of it must have seen stands in `audit_chain_seen`."""

from attrs import evolve, frozen

from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec import audit_chain_writer as writer
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain import Chain, End
from redstep_spec.audit_chain_encoding import Record, decoded, record_hash
from redstep_spec.audit_chain_verification import Finding
from redstep_spec.delivery import Fate
from redstep_spec.properties import Properties

Call = store.Call | writer.Write | verification.Verify
Reply = store.Reply | writer.Outcome | verification.Integrity


@frozen(kw_only=True)
class Transition:
    """One call on one chain, by the store's steps or by a writer, and what came of it."""

    before: Chain
    call: Call
    after: Chain
    reply: Reply
    known: End | None = None
    """What the writer had been told before."""
    attempts: tuple[writer.Attempt, ...] = ()
    """Those of a writer; the store's own steps are delivered."""
    altered: bool = False
    """Whether anything but the steps of the specification ever changed what is stored."""
    honest: bool = False
    """Whether the anchor of a verification is an end that this chain had."""

    @property
    def name(self) -> str:
        """The name of the chain."""
        return self.call.name

    @property
    def write(self) -> writer.Write | None:
        """The call, if it is a writer's."""
        return self.call if isinstance(self.call, writer.Write) else None

    @property
    def append(self) -> store.Append | None:
        """The call, if records were sent as they are."""
        return self.call if isinstance(self.call, store.Append) else None

    @property
    def seal(self) -> store.Seal | None:
        """The call, if it is a seal."""
        return self.call if isinstance(self.call, store.Seal) else None

    @property
    def verify(self) -> verification.Verify | None:
        """The call, if it is a verification."""
        return self.call if isinstance(self.call, verification.Verify) else None

    @property
    def end(self) -> End:
        """Where the next record would have linked before."""
        return self.before.end(self.name)

    @property
    def fates(self) -> tuple[Fate, ...]:
        """Those that the attempts met."""
        return tuple(attempt.fate for attempt in self.attempts)

    @property
    def appends(self) -> tuple[writer.Attempt, ...]:
        """The attempts that may have appended something."""
        return tuple(each for each in self.attempts if not isinstance(each.request, store.Read))

    @property
    def requests(self) -> tuple[writer.Request, ...]:
        """What was sent to append something, resends aside."""
        sent = [each.request for each in self.appends]
        return tuple(each for place, each in enumerate(sent) if place == 0 or each != sent[place - 1])

    @property
    def added(self) -> tuple[bytes, ...]:
        """The records that are new."""
        return self.after.records[len(self.before.records) - (self.after.base_seq - self.before.base_seq) :]

    @property
    def own(self) -> tuple[Record, ...]:
        """The records in the chain that are of a writer's call."""
        ids = {entry.append_id for entry in self.write.entries} if self.write else set[bytes]()
        records = (decoded(stored) for stored in self.after.records if any(each in stored for each in ids))
        return tuple(record for record in records if record and record.append_id in ids)


PROPERTIES: Properties[Transition] = Properties()
always = PROPERTIES.holds_always
UNCHANGING = (
    *(store.Already, store.Sealed, store.HashMismatch, store.Page, store.Refused, store.Corrupt, Misuse),
    verification.Integrity,
)


# ---------------------------------------------------------------------------------------------- the chain


@always("AC-3")
def records_never_change(t: Transition) -> bool:
    """What was stored is still there, byte for byte, but for what a seal removed."""
    kept = t.before.records[t.after.base_seq - t.before.base_seq :]
    return t.after.records[: len(kept)] == kept


@always("AC-2")
def a_new_record_links_to_the_one_before(t: Transition) -> bool:
    """Each has the next seq, the hash of the one before, a right hash of its own, and the name of its chain."""
    end = t.end if t.added else None
    for stored in t.added:
        record = decoded(stored)
        if record is None or End(record.seq, record.previous) != end or record.chain_id != t.name.encode("utf-8"):
            return False
        if record.hash != record_hash(record):
            return False
        end = store.end_after(record)
    return True


@always("AC-3")
def what_is_refused_changes_nothing(t: Transition) -> bool:
    """Whatever is refused, found already, read or verified leaves the chain as it was."""
    refused = isinstance(t.reply, UNCHANGING) or (isinstance(t.reply, writer.NotAppended) and not _rivals(t))
    return not refused or t.after == t.before


@always("AC-3")
def the_head_is_told_as_it_is(t: Transition) -> bool:
    """Every reply of the store tells the head as it is after the step."""
    if not isinstance(t.reply, store.Told):
        return True
    end = t.after.end(t.name)
    return (t.reply.next_seq, t.reply.base_seq, t.reply.head_hash) == (end.seq, t.after.base_seq, end.hash)


@always("AC-8")
def what_is_sound_stays_sound(t: Transition) -> bool:
    """Head, length and last record agree after a step if they did before; a chain that has begun is never empty."""
    emptied = t.before.head is not None and not t.after.records
    return store.is_corrupt(t.before) or not (store.is_corrupt(t.after) or emptied)


@always("AC-8")
def what_is_corrupt_is_left_alone(t: Transition) -> bool:
    """What disagrees with itself is not changed, and no append to it succeeds."""
    if not store.is_corrupt(t.before):
        return True
    return t.after == t.before and not isinstance(t.reply, store.Appended | store.Already | writer.Placed)


@always("AC-12")
def only_seals_remove(t: Transition) -> bool:
    """The base moves by seals alone and never back; as many records stay as were to be kept, and at least one."""
    if t.after.base_seq == t.before.base_seq:
        return True
    if t.seal is None or not t.before.base_seq < t.after.base_seq <= t.seal.upto_seq:
        return False
    return len(t.after.records) >= max(1, t.seal.keep)


@always("AC-4")
def the_same_append_again_changes_nothing(t: Transition) -> bool:
    """What was appended, sent again at once, is told as already there."""
    if not isinstance(t.reply, store.Appended) or not isinstance(t.call, store.Append | store.AppendNext):
        return True
    again, reply = store.step(t.after, t.call)
    return again == t.after and isinstance(reply, store.Already) and (reply.seq, reply.hash) == (t.reply.seq, t.reply.hash)


# ---------------------------------------------------------------------------------------------- a writer


@always("AC-4")
def at_most_once(t: Transition) -> bool:
    """Whatever became of its attempts, each append of a writer is in the chain at most once."""
    ids = [record.append_id for record in t.own]
    return t.altered or len(ids) == len(set(ids))


@always("AC-6")
def the_outcome_is_true(t: Transition) -> bool:
    """What is told as appended is in the chain, there and with that hash; what is told as not appended is not."""
    if isinstance(t.reply, writer.Placed):
        places = tuple((record.seq, record.hash) for record in t.own)
        return t.altered or places == tuple(zip(t.reply.seqs, t.reply.hashes, strict=True))
    return t.altered or not isinstance(t.reply, writer.NotAppended) or not t.own


@always("AC-7")
def all_or_none(t: Transition) -> bool:
    """The events of one append are all in the chain, one after the other, or none of them is."""
    if t.write is None or t.altered or not t.own:
        return True
    ids = [record.append_id for record in t.own]
    seqs = [record.seq for record in t.own]
    return ids == [entry.append_id for entry in t.write.entries] and seqs == list(range(seqs[0], seqs[0] + len(seqs)))


@always("AC-4")
def nothing_is_linked_anew_while_ambiguous(t: Transition) -> bool:
    """After a lost reply the same bytes are sent, until there is an answer."""
    pairs = zip(t.appends, t.appends[1:], strict=False)
    return all(then.request == first.request for first, then in pairs if first.fate in (Fate.REPLY_LOST, Fate.NOT_SENT))


@always("AC-5")
def the_budgets_are_kept(t: Transition) -> bool:
    """It is linked anew no more often than allowed, and after that it is told as not appended for a conflict."""
    if t.write is None:
        return True
    exhausted = isinstance(t.reply, writer.NotAppended) and t.reply.cause == "conflict"
    links = len(t.requests)
    return links <= 1 + t.write.conflicts and (not exhausted or links == 1 + t.write.conflicts)


@always("CM-9")
def definite_means_that_nothing_was_executed(t: Transition) -> bool:
    """Unavailable is definite only if the last bytes that were sent were certainly not executed."""
    if not isinstance(t.reply, writer.NotAppended) or t.reply.cause != "unavailable" or not t.requests:
        return True
    return not any(each.fate is Fate.REPLY_LOST for each in t.appends if each.request == t.requests[-1])


@always("AC-7")
def every_mode_makes_the_same_bytes(t: Transition) -> bool:
    """Linked by the store or by the writer, one by one or together: the same order makes the same records."""
    if t.write is None or t.write.mode is writer.Mode.CAS or not isinstance(t.reply, writer.Placed):
        return True
    if t.altered or _rivals(t) or not t.added:
        return True
    chain, known = t.before, t.end
    for entry in t.write.entries:
        course = writer.write(chain, known, evolve(t.write, entries=(entry,), mode=writer.Mode.CAS, rivals=()))
        chain, known = course.chain, course.chain.end(t.name)
    return chain == t.after


# ---------------------------------------------------------------------------------------------- verification


@always("AC-9")
def no_false_alarm(t: Transition) -> bool:
    """A chain that only ever took the steps of the specification is found to be in order, and is what it was at every size."""
    if t.altered or t.verify is None or not isinstance(t.reply, verification.Integrity):
        return True
    if t.verify.anchor is None or t.reply.comparable is False:
        return t.reply.finding == Finding.CONSISTENT
    return not t.honest or t.reply.finding == Finding.VERIFIED


@always("AC-10")
def verified_by_an_anchor_alone(t: Transition) -> bool:
    """Without an anchor that could be compared nothing is called verified."""
    if t.verify is None or not isinstance(t.reply, verification.Integrity):
        return True
    return t.reply.finding != Finding.VERIFIED or (t.verify.anchor is not None and t.reply.comparable is True)


def _rivals(t: Transition) -> bool:
    return t.write is not None and any(rival for rival in t.write.rivals[: len(t.attempts)])
