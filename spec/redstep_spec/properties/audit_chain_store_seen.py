"""What a run of the audit chain must have seen of its store: every answer to records, to seals and to readers."""

from redstep_spec import audit_chain as store
from redstep_spec.audit_chain_encoding import decoded
from redstep_spec.properties import Properties
from redstep_spec.properties.audit_chain import Transition

PROPERTIES: Properties[Transition] = Properties()
sometimes = PROPERTIES.holds_sometimes


# ---------------------------------------------------------------------------------------------- appends


@sometimes("AC-3", "resend")
def bare_records_are_appended(t: Transition) -> bool:
    """Records that link to the end are appended, whoever sends them."""
    return t.append is not None and isinstance(t.reply, store.Appended)


@sometimes("AC-3", "resend")
def the_right_seq_with_a_wrong_hash(t: Transition) -> bool:
    """Records of the right seq link to a hash that is not the newest record's."""
    mismatch = t.append is not None and isinstance(t.reply, store.HashMismatch)
    return mismatch and t.append is not None and t.append.records[0].seq == t.end.seq


@sometimes("AC-3", "resend")
def beyond_the_end(t: Transition) -> bool:
    """Records begin beyond the end, which no writer can have been told."""
    mismatch = t.append is not None and isinstance(t.reply, store.HashMismatch)
    return mismatch and t.append is not None and t.append.records[0].seq > t.end.seq


@sometimes("AC-3", "resend")
def an_end_that_was(t: Transition) -> bool:
    """Records link to an end that the chain had: another append came first."""
    return t.append is not None and isinstance(t.reply, store.HashMismatch) and t.reply.continues


@sometimes("AC-4", "resend")
def an_old_append_comes_again(t: Transition) -> bool:
    """The same bytes come again after others were appended, and are told as already there."""
    return isinstance(t.reply, store.Already) and t.reply.seq + 1 < t.reply.next_seq


@sometimes("AC-4", "resend", "batch")
def an_old_batch_comes_again(t: Transition) -> bool:
    """The same batch comes again."""
    return isinstance(t.reply, store.Already) and t.append is not None and len(t.append.records) > 1


@sometimes("AC-4", "resend", "seal")
def an_old_append_comes_again_after_a_seal(t: Transition) -> bool:
    """The same bytes come again after they were sealed: nobody can tell any more."""
    return t.append is not None and isinstance(t.reply, store.Sealed)


@sometimes("AC-4", "resend", "server_order")
def an_old_append_id_comes_again(t: Transition) -> bool:
    """An event with an append id that is in the chain comes again."""
    return isinstance(t.call, store.AppendNext) and isinstance(t.reply, store.Already)


# ---------------------------------------------------------------------------------------------- seals


@sometimes("AC-12", "seal")
def a_seal_removes(t: Transition) -> bool:
    """The oldest records are removed."""
    return isinstance(t.reply, store.Removed) and t.after != t.before


@sometimes("AC-12", "seal")
def a_seal_finds_nothing_to_remove(t: Transition) -> bool:
    """A chain is sealed up to its base again."""
    return isinstance(t.reply, store.Removed) and t.after == t.before and t.before.base_seq > 0


@sometimes("AC-12", "seal")
def a_seal_is_refused_by_one(t: Transition) -> bool:
    """One record too few would be left."""
    return t.seal is not None and isinstance(t.reply, store.Refused) and t.end.seq - t.seal.upto_seq == t.seal.keep - 1


@sometimes("AC-12", "seal")
def a_seal_leaves_just_enough(t: Transition) -> bool:
    """Exactly as many records are left as were to be kept."""
    return t.seal is not None and t.after != t.before and len(t.after.records) == t.seal.keep


# ---------------------------------------------------------------------------------------------- pages


@sometimes("AC-9", "read")
def a_page_in_the_middle(t: Transition) -> bool:
    """A page ends before the chain does."""
    last = decoded(t.reply.records[-1]) if isinstance(t.reply, store.Page) and t.reply.records else None
    return last is not None and last.seq + 1 < t.end.seq


@sometimes("AC-9", "read")
def a_page_beyond_the_end(t: Transition) -> bool:
    """There is nothing left to read."""
    return isinstance(t.reply, store.Page) and not t.reply.records and t.before.head is not None


@sometimes("AC-12", "read", "seal")
def a_page_from_the_base(t: Transition) -> bool:
    """What was asked for is sealed: the page begins at the base."""
    asked = isinstance(t.call, store.Read) and isinstance(t.reply, store.Page)
    return asked and isinstance(t.call, store.Read) and t.call.from_seq < t.before.base_seq
