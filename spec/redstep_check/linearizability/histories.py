"""
Histories: what concurrent clients asked, and what they heard.

        A   ├── write 1 ──┤
        B        ├── read ──┤            B's read and A's write overlap: either may have come first
        C                         ├─ …   C heard nothing: its operation is open to the end

A history is a list of invocations and completions. Each carries its client and its place in the order of events, drawn from
*one* counter that all clients share: before a call is sent, and after its reply is read. Clocks do not do: two of them
disagree, and one stands still now and then.

Intervals are closed. Two events at the same place are concurrent, the invocation counts as first, and only when an operation
was completed *before* another was invoked must it have taken effect before it.

What a client heard is one of three: a reply; a definite failure, and the operation did not happen; or nothing of use, and
nobody can tell. The last may have taken effect at any time since, may do so when everybody has gone home, or never. To drop
such operations from a history raises false alarms, and to count them as failed does so, too.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import count, pairwise
from operator import attrgetter
from typing import Any, NamedTuple

from attrs import frozen

from redstep_spec.delivery import Failed, Outcome, Replied, Unknown


@frozen
class Invocation:
    """A client makes a call."""

    at: int
    client: Hashable
    call: Any


@frozen
class Completion:
    """A client hears of its call, or gives it up (Unknown) to go on with another; without one, it never went on."""

    at: int
    client: Hashable
    outcome: Outcome[Any]


Event = Invocation | Completion
History = Sequence[Event]


class MalformedHistory(ValueError):
    """No run of any clients could have left this behind: whoever recorded it made a mistake."""


class Operation(NamedTuple):
    """One call of a client, from its invocation to its completion."""

    number: int
    """Its place among the invocations of its history, from 0."""
    client: Hashable
    call: Any
    invoked_at: int
    outcome: Outcome[Any]
    completed_at: int | None
    """When the client heard of it, or gave it up; None if it never went on."""

    @property
    def is_answered(self) -> bool:
        """Whether its client got a reply."""
        return isinstance(self.outcome, Replied)

    @property
    def reply(self) -> Any:
        """What it was answered; None if it was not."""
        return self.outcome.reply if isinstance(self.outcome, Replied) else None

    @property
    def is_open(self) -> bool:
        """Whether nobody can tell if it took effect, or when."""
        return isinstance(self.outcome, Unknown)

    def precedes(self, other: "Operation") -> bool:
        """Whether it was over before the other was invoked, so that nobody may see them the other way round."""
        return not self.is_open and self.completed_at is not None and self.completed_at < other.invoked_at


NOT_HEARD: tuple[Outcome[Any], None] = (Unknown(), None)


def operations(history: Iterable[Event]) -> list[Operation]:
    """Pair the invocations of a history with their completions, in order of invocation. Raises MalformedHistory."""
    invocations: list[Invocation] = []
    heard: list[tuple[Outcome[Any], int | None]] = []
    busy: dict[Hashable, int] = {}
    for event in in_order(history):
        client = event.client
        if isinstance(event, Invocation):
            if client in busy:
                raise MalformedHistory(f"at {event.at}: client {client!r} makes a call while another is open")
            busy[client] = len(invocations)
            invocations.append(event)
            heard.append(NOT_HEARD)
        elif client in busy:
            heard[busy.pop(client)] = (event.outcome, event.at)
        else:
            raise MalformedHistory(f"at {event.at}: client {client!r} hears of a call that it has not made")
    return [
        Operation(number, each.client, each.call, each.at, outcome, completed_at)
        for number, (each, (outcome, completed_at)) in enumerate(zip(invocations, heard, strict=True))
    ]


def in_order(history: Iterable[Event]) -> Sequence[Event]:
    """The events of a history, of those at one place the invocations first. Raises MalformedHistory."""
    events = list(history)
    if not {type(each) for each in events} <= {Invocation, Completion}:
        odd = next(each for each in events if type(each) not in (Invocation, Completion))
        raise MalformedHistory(f"{odd!r} is neither an invocation nor a completion")
    places = [each.at for each in events]
    if not {type(each) for each in places} <= {int}:
        raise MalformedHistory(
            f"at {next(each for each in places if type(each) is not int)!r}: a place in the order of events is an integer"
        )
    for each in events:
        _require_sense(each)
    if places != sorted(places):
        before, after = next(each for each in pairwise(places) if each[1] < each[0])
        raise MalformedHistory(f"at {after}: this comes after what was at {before}, and the counter never runs backward")
    if len(set(places)) < len(places):
        _each_client_once(events)
        events.sort(key=lambda each: (each.at, isinstance(each, Completion)))
    return events


def _require_sense(event: Event) -> None:
    try:
        hash(event.client)
    except TypeError as error:
        raise MalformedHistory(f"at {event.at}: client {event.client!r} is unhashable") from error
    if isinstance(event, Completion) and not isinstance(event.outcome, Replied | Failed | Unknown):
        raise MalformedHistory(
            f"at {event.at}: client {event.client!r} heard {event.outcome!r}, which is neither Replied nor Failed nor Unknown"
        )


def _each_client_once(events: Iterable[Event]) -> None:
    found: set[tuple[int, Hashable]] = set()
    for each in events:
        if (each.at, each.client) in found:
            raise MalformedHistory(f"at {each.at}: client {each.client!r} has two events at one place")
        found.add((each.at, each.client))


class Recorder:
    """
    Takes down a history while clients run, threads or tasks.

    `tick` draws from the counter; processes need one in memory that they share. A client's place is drawn before its call
    is made and after it has come back, so the recorder's own work can only widen an interval, which is sound.
    """

    def __init__(self, tick: Callable[[], int] | None = None) -> None:
        self._tick = tick or count(1).__next__
        self._events: list[Event] = []

    def invoke(self, client: Hashable, call: Any) -> None:
        """Take down that a client is about to make a call."""
        self._events.append(Invocation(self._tick(), client, call))

    def complete(self, client: Hashable, outcome: Outcome[Any]) -> None:
        """Take down what it heard: a reply, a definite failure, or nothing of use."""
        self._events.append(Completion(self._tick(), client, outcome))

    def history(self) -> list[Event]:
        """What was taken down so far, in order."""
        return sorted(self._events, key=attrgetter("at"))
