"""What a run of the audit chain must have seen of its writers: every way that an append can take, in every mode."""

from redstep_spec import audit_chain as store
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain_writer import AppendUnknown, Mode, NotAppended, Placed
from redstep_spec.canonical_json import canonical_text
from redstep_spec.delivery import Fate
from redstep_spec.properties import Properties
from redstep_spec.properties.audit_chain import Transition

PROPERTIES: Properties[Transition] = Properties()
sometimes = PROPERTIES.holds_sometimes
LOST, NOT_SENT, FLUSHED = Fate.REPLY_LOST.value, Fate.NOT_SENT.value, Fate.FLUSHED.value


def replies(t: Transition) -> list[type]:
    """What the attempts to append were answered, whether or not the answer arrived."""
    return [type(attempt.reply) for attempt in t.appends]


def placed_by(t: Transition, mode: Mode) -> bool:
    """Whether a writer's append in this mode succeeded."""
    return isinstance(t.reply, Placed) and t.write is not None and t.write.mode is mode


def leaves_the_linking(t: Transition) -> bool:
    """Whether a writer leaves the linking to the store."""
    return t.write is not None and t.write.mode is Mode.SERVER_ORDER


def conflicts(t: Transition) -> int:
    """How often a writer was told that another append came first."""
    return sum(each.fate is not Fate.REPLY_LOST and isinstance(each.reply, store.HashMismatch) for each in t.appends)


# ---------------------------------------------------------------------------------------------- a writer


@sometimes("AC-3")
def a_chain_begins(t: Transition) -> bool:
    """The first record is appended, and links to the genesis hash."""
    return isinstance(t.reply, Placed) and t.before.head is None and t.after.head is not None


@sometimes("AC-3")
def appended_at_once(t: Transition) -> bool:
    """An append is linked to the end that the writer knew, and is in the chain."""
    return isinstance(t.reply, Placed) and t.known is not None and replies(t) == [store.Appended]


@sometimes("AC-1")
def an_event_is_written_another_way(t: Transition) -> bool:
    """The canonical form of an event is not the text that was given."""
    given = [entry.event for entry in t.write.entries] if isinstance(t.reply, Placed) and t.write else []
    return any(canonical_text(text) != text.encode("utf-8") for text in given)


@sometimes("AC-1", "misuse")
def an_event_has_no_canonical_form(t: Transition) -> bool:
    """An event that has no canonical form is refused before anything is sent."""
    return t.reply == Misuse("event")


@sometimes("CM-7", "misuse")
def a_chain_cannot_be_called_that(t: Transition) -> bool:
    """A name that is none is refused before anything is sent."""
    return t.reply == Misuse("name")


@sometimes("AC-7", "misuse", "batch")
def nothing_to_append(t: Transition) -> bool:
    """An append of no event at all is refused before anything is sent."""
    return t.reply == Misuse("entries")


@sometimes("AC-3", "several_writers")
def the_head_is_read_first(t: Transition) -> bool:
    """A writer that was told nothing yet reads the end of a chain that has begun."""
    reads = t.attempts and isinstance(t.attempts[0].request, store.Read)
    return isinstance(t.reply, Placed) and bool(reads) and t.before.head is not None


@sometimes("AC-5", "several_writers")
def a_conflict_and_then_appended(t: Transition) -> bool:
    """Another writer came first; linked anew, the append is in the chain."""
    return isinstance(t.reply, Placed) and replies(t) == [store.HashMismatch, store.Appended]


@sometimes("AC-1", "several_writers")
def equal_events_at_one_head_are_two_records(t: Transition) -> bool:
    """Two writers link equal events to one end, and both are in the chain."""
    if not isinstance(t.reply, Placed) or not isinstance(t.requests[0], store.Append):
        return False
    [first, *_] = t.requests[0].records
    rival = t.before.at(first.seq)
    return rival is not None and (rival.event, rival.previous) == (first.event, first.previous)


@sometimes("AC-5", "several_writers", "budgets")
def the_budget_of_conflicts_is_exhausted(t: Transition) -> bool:
    """Others came first once more than an append may be linked anew."""
    return isinstance(t.reply, NotAppended) and t.reply.cause == "conflict"


@sometimes("AC-5", "rivals")
def placed_with_the_last_retry(t: Transition) -> bool:
    """An append is in the chain after as many conflicts as are allowed by default."""
    return isinstance(t.reply, Placed) and conflicts(t) == 3


@sometimes("AC-5", "rivals")
def given_up_after_four_conflicts(t: Transition) -> bool:
    """Others came first four times."""
    return isinstance(t.reply, NotAppended) and t.reply.cause == "conflict" and conflicts(t) == 4


# ---------------------------------------------------------------------------------------------- a writer under faults


@sometimes("CM-9", NOT_SENT)
def an_append_is_not_sent(t: Transition) -> bool:
    """The store cannot be reached, and the append is certainly not in the chain."""
    return isinstance(t.reply, NotAppended) and t.reply.cause == "unavailable" and bool(t.appends)


@sometimes("CM-9", NOT_SENT)
def a_read_of_the_head_is_not_sent(t: Transition) -> bool:
    """The store cannot be reached for its head already."""
    return isinstance(t.reply, NotAppended) and t.reply.cause == "unavailable" and bool(t.attempts) and not t.appends


@sometimes("CM-4", LOST)
def a_read_of_the_head_is_sent_again(t: Transition) -> bool:
    """The reply that tells a writer the head is lost, and it reads again."""
    lost = t.fates[:1] == (Fate.REPLY_LOST,) and isinstance(t.attempts[0].request, store.Read)
    return lost and isinstance(t.reply, Placed)


@sometimes("AC-4", LOST)
def a_lost_reply_and_then_already(t: Transition) -> bool:
    """An append whose reply was lost is sent again, and is told that it is there."""
    return isinstance(t.reply, Placed) and replies(t) == [store.Appended, store.Already]


@sometimes("AC-4", LOST, "rivals")
def already_before_others(t: Transition) -> bool:
    """An append whose reply was lost is found though another one came after it."""
    already = isinstance(t.reply, Placed) and replies(t)[-1:] == [store.Already]
    return already and t.write is not None and any(t.write.rivals[1:])


@sometimes("AC-4", LOST, NOT_SENT)
def lost_and_not_sent_and_then_already(t: Transition) -> bool:
    """While an attempt is ambiguous, one that was certainly not sent decides nothing."""
    ambiguous = (Fate.REPLY_LOST, Fate.NOT_SENT) in list(zip(t.fates, t.fates[1:], strict=False))
    return isinstance(t.reply, Placed) and ambiguous and replies(t)[-1:] == [store.Already]


@sometimes("AC-4", LOST, "several_writers")
def a_lost_refusal(t: Transition) -> bool:
    """The reply that was lost was a mismatch: the same bytes are sent again before the append is linked anew."""
    refused = [store.HashMismatch, store.HashMismatch, store.Appended]
    return isinstance(t.reply, Placed) and replies(t) == refused and Fate.REPLY_LOST in t.fates


@sometimes("AC-6", LOST, "budgets")
def unknown_and_in_the_chain(t: Transition) -> bool:
    """No reply came until the deadline, and the append is in the chain."""
    return isinstance(t.reply, AppendUnknown) and t.reply.cause == "unavailable" and bool(t.own)


@sometimes("AC-6", LOST, "budgets", "several_writers")
def unknown_and_not_in_the_chain(t: Transition) -> bool:
    """No reply came until the deadline, and the append is not in the chain."""
    return isinstance(t.reply, AppendUnknown) and t.reply.cause == "unavailable" and not t.own


@sometimes("CM-9", LOST, NOT_SENT, "budgets")
def unknown_though_last_not_sent(t: Transition) -> bool:
    """The last attempt before the deadline was certainly not sent, an earlier one may have been executed."""
    return isinstance(t.reply, AppendUnknown) and t.fates[-1:] == (Fate.NOT_SENT,)


@sometimes("CM-6", FLUSHED)
def the_scripts_were_forgotten(t: Transition) -> bool:
    """The engine forgot its scripts just before an append."""
    return isinstance(t.reply, Placed) and any(each.fate is Fate.FLUSHED for each in t.appends)


@sometimes("AC-4", LOST, "seal", "several_writers")
def unknown_for_it_is_sealed(t: Transition) -> bool:
    """What an append links to is sealed, and an earlier attempt was ambiguous: it is not linked anew."""
    return isinstance(t.reply, AppendUnknown) and t.reply.cause == "sealed"


@sometimes("AC-12", "seal", "several_writers")
def linked_anew_after_a_seal(t: Transition) -> bool:
    """What an append links to is sealed, and no attempt was ambiguous: it is linked anew."""
    return isinstance(t.reply, Placed) and replies(t)[:1] == [store.Sealed]


@sometimes("AC-11", "put")
def the_chain_lost_what_was_known(t: Transition) -> bool:
    """A writer finds the chain shorter than it knew, or another one, and stops."""
    return isinstance(t.reply, NotAppended) and t.reply.cause == "regress"


@sometimes("AC-11", "put")
def the_chain_lost_what_was_known_and_went_on(t: Transition) -> bool:
    """The chain is as long as the writer knew, or longer, but it is another one."""
    regress = isinstance(t.reply, NotAppended) and t.reply.cause == "regress"
    return regress and t.known is not None and t.before.end(t.name).seq >= t.known.seq


@sometimes("AC-11", "put", "server_order")
def the_chain_is_shorter_than_it_was(t: Transition) -> bool:
    """A writer that leaves the linking to the store finds the chain shorter than it knew, and stops."""
    return the_chain_lost_what_was_known(t) and not the_chain_lost_what_was_known_and_went_on(t) and leaves_the_linking(t)


@sometimes("AC-11", "put", "server_order")
def the_chain_is_another_one(t: Transition) -> bool:
    """A writer that leaves the linking to the store finds the chain as long as it knew, or longer, but another, and stops."""
    return the_chain_lost_what_was_known_and_went_on(t) and leaves_the_linking(t)


@sometimes("AC-8", "put")
def an_append_to_a_corrupt_chain(t: Transition) -> bool:
    """What is stored disagrees with itself, and a writer is told so."""
    return isinstance(t.reply, NotAppended) and t.reply.cause == "corrupt"


@sometimes("AC-8", LOST, "put")
def ambiguous_and_corrupt(t: Transition) -> bool:
    """What is stored disagrees with itself, but the first to say so was not heard: the outcome is unknown."""
    return isinstance(t.reply, AppendUnknown) and t.reply.cause == "corrupt"


# ---------------------------------------------------------------------------------------------- modes


@sometimes("AC-7", "batch")
def a_batch_is_appended(t: Transition) -> bool:
    """Several events go in together."""
    return placed_by(t, Mode.BATCH) and len(t.added) > 1


@sometimes("AC-7", "batch", "several_writers")
def a_batch_is_linked_anew(t: Transition) -> bool:
    """Another writer came first, and all of a batch is linked anew."""
    return placed_by(t, Mode.BATCH) and store.HashMismatch in replies(t)


@sometimes("AC-4", "batch", LOST)
def a_lost_batch_and_then_already(t: Transition) -> bool:
    """A batch whose reply was lost is sent again whole, and is told that it is there."""
    return placed_by(t, Mode.BATCH) and len(t.own) > 1 and replies(t)[-1:] == [store.Already]


@sometimes("AC-7", "server_order")
def linked_by_the_store(t: Transition) -> bool:
    """The store links an event to whatever is the end."""
    return placed_by(t, Mode.SERVER_ORDER) and replies(t) == [store.Appended]


@sometimes("AC-4", "server_order", LOST)
def linked_by_the_store_and_then_already(t: Transition) -> bool:
    """The store knows the append id of an append whose reply was lost."""
    return placed_by(t, Mode.SERVER_ORDER) and replies(t)[-1:] == [store.Already]


@sometimes("AC-7", "server_order", "seal")
def sealed_since_the_append_began(t: Transition) -> bool:
    """The base is beyond what the writer knew, and no attempt was ambiguous: it is sent again."""
    return placed_by(t, Mode.SERVER_ORDER) and replies(t)[:1] == [store.Sealed]


@sometimes("AC-4", "server_order", "seal", LOST)
def unknown_for_it_may_be_sealed(t: Transition) -> bool:
    """The base is beyond what the writer knew, and an attempt was ambiguous."""
    return isinstance(t.reply, AppendUnknown) and t.reply.cause == "sealed" and leaves_the_linking(t)
