"""
What a run of interleavings must have seen, or it has not tested them: overlap, each kind of fault, both unknown outcomes.

A fault counts when it *hit*: a duplicate is none of a request that nobody else came between, if there was nobody else.
"""

from attrs import frozen

from redstep_check.binding import Answered
from redstep_check.interleavings.binding import Asks, Heard, Interrupted, Pauses
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes
from redstep_check.interleavings.situations import INTERRUPTING, Event, Situation
from redstep_spec.delivery import Unknown
from redstep_spec.properties import Properties


@frozen
class Moment:
    """A move, and what it came to."""

    before: Situation
    move: Begins | Goes | Arrives
    event: Event
    after: Situation

    @property
    def fate(self) -> Fate | None:
        """What became of what the client waited for."""
        return self.move.fate if isinstance(self.move, Goes) else None

    @property
    def asked(self) -> Asks | None:
        """What the client asked, if that was it."""
        return self.event.stop if isinstance(self.event.stop, Asks) else None

    @property
    def under_way(self) -> int:
        """How many clients are in the midst of an operation, before the move."""
        return sum(each.stop is not None for each in self.before.clients)

    @property
    def changed(self) -> bool:
        """Whether an execution changed what is stored."""
        return any(each.before != each.after for each in self.event.executed)

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that it puts to the test."""
        match self.fate:
            case Fate.REPLY_LOST | Fate.ADRIFT | Fate.TWICE:
                return ("CM-4", "CM-9")
            case Fate.NOT_SENT:
                return ("CM-9",)
            case Fate.FLUSHED:
                return ("CM-6",)
            case Fate.CANCELLED | Fate.ABANDONED | Fate.OVERTAKEN:
                return ("CM-10",)
            case _:
                return ("CM-1",) if self.event.executed else ()


PROPERTIES: Properties[Moment] = Properties()
sometimes = PROPERTIES.holds_sometimes
always = PROPERTIES.holds_always


@always("CM-3")
def time_never_steps_back(m: Moment) -> bool:
    """The store's clock goes forward in every schedule."""
    return m.after.now_ms >= m.before.now_ms


@always("CM-2")
def what_is_executed_is_of_its_time(m: Moment) -> bool:
    """A placeholder for now is filled when the request is executed."""
    return all(getattr(each.call, "now_ms", m.move.now_ms) == m.move.now_ms for each in m.event.executed)


@sometimes("CK-2")
def a_request_is_executed_amid_other_operations(m: Moment) -> bool:
    """A request is executed while another client is in the midst of an operation."""
    return bool(m.event.executed) and m.under_way > 1


@sometimes("CK-2")
def three_operations_overlap(m: Moment) -> bool:
    """Three clients are in the midst of operations."""
    return m.under_way > 2


@sometimes("CK-2")
def a_client_is_overtaken(m: Moment) -> bool:
    """Another's execution changes what is stored between two requests of one operation, or before its only one."""
    asks = [each for each in m.before.clients if isinstance(each.stop, Asks) and each.number != m.event.who.client]
    return m.changed and bool(asks)


@sometimes("CK-3")
def time_passes_within_an_operation(m: Moment) -> bool:
    """The store's clock goes on while an operation is under way."""
    return m.after.now_ms > m.before.now_ms and m.under_way > 0


@sometimes("CM-4")
def a_lost_reply_tells_of_a_change(m: Moment) -> bool:
    """A reply is lost that tells of a change."""
    return m.fate is Fate.REPLY_LOST and (m.changed or m.event.was_held)


@sometimes("CM-9")
def a_request_is_not_sent(m: Moment) -> bool:
    """A request is not sent, and the client can tell."""
    return m.fate is Fate.NOT_SENT


@sometimes("CM-4")
def a_request_goes_adrift(m: Moment) -> bool:
    """A client gives up a request that is still on its way."""
    return m.fate is Fate.ADRIFT


@sometimes("CM-4")
def a_late_request_changes_something(m: Moment) -> bool:
    """A request that was given up arrives after all, and takes effect."""
    return isinstance(m.move, Arrives) and m.changed


@sometimes("CM-4", "idempotent")
def a_request_is_executed_twice(m: Moment) -> bool:
    """A request is executed twice, and the second time changes nothing."""
    return m.fate is Fate.TWICE and m.event.executed[1].before == m.event.executed[1].after and m.changed


@sometimes("CM-6", "flush")
def scripts_are_flushed(m: Moment) -> bool:
    """The engine has forgotten a script that is called."""
    return m.fate is Fate.FLUSHED


@sometimes("CM-10")
def a_client_is_cancelled_before_it_is_served(m: Moment) -> bool:
    """A client is cancelled while its request is on its way."""
    return m.fate is Fate.CANCELLED and m.asked is not None and not m.event.was_held


@sometimes("CM-10")
def a_client_is_cancelled_after_it_was_served(m: Moment) -> bool:
    """A client is cancelled after its request was executed, and before it hears of that."""
    return m.fate is Fate.CANCELLED and m.event.was_held


@sometimes("CM-10", "finishes")
def a_cancellation_waits_for_a_reply(m: Moment) -> bool:
    """A cancellation is thrown in after the reply that it waited for."""
    return m.fate is Fate.OVERTAKEN


@sometimes("CM-10", "work")
def a_client_is_cancelled_at_work(m: Moment) -> bool:
    """A client is cancelled while its own work runs."""
    return m.fate is Fate.CANCELLED and m.event.stop == Pauses("work")


@sometimes("CM-10", "compensates")
def a_cancelled_client_compensates(m: Moment) -> bool:
    """A client that was cancelled gives back what it was given."""
    return m.fate in INTERRUPTING and isinstance(m.after.clients[m.event.who.client].stop, Asks)


@sometimes("CK-2")
def a_client_crashes_in_the_midst(m: Moment) -> bool:
    """A client is gone for good after its request was executed."""
    return m.fate is Fate.CRASHED and m.event.was_held


@sometimes("CM-9")
def an_unknown_outcome_had_taken_effect(m: Moment) -> bool:
    """An operation ends in an unknown outcome, and had changed what is stored."""
    return resolved(m.event) is True


@sometimes("CM-9")
def an_unknown_outcome_had_not_taken_effect(m: Moment) -> bool:
    """An operation ends in an unknown outcome, and had changed nothing."""
    return resolved(m.event) is False


@sometimes("CM-10")
def an_operation_is_interrupted(m: Moment) -> bool:
    """A cancelled operation comes to its end."""
    return isinstance(m.event.answer, Interrupted)


@sometimes("CM-4", "idempotent")
def a_resend_is_answered(m: Moment) -> bool:
    """An operation is answered whose first attempt was lost."""
    return isinstance(m.event.answer, Answered) and any(each.heard is Heard.LOST for each in m.event.course[:-1])


def resolved(event: Event) -> bool | None:
    """Of an operation that ends in an unknown outcome, whether it had changed what is stored by then; else None."""
    answer = event.answer
    unknown = isinstance(answer, Unknown) or (isinstance(answer, Answered) and answer.values.get("outcome") == "unknown")
    return any(each.changed for each in event.course) if unknown and event.course else None
