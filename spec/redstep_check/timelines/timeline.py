"""
A timeline: a history, what was said of it, and where each operation is to be drawn.

Time is the order of events, so that operations are as long as what happened meanwhile. Each client has a lane. An operation
that has a place in the witness, or in the prefix of an illegal history, bears its number; it is taken to have happened at the
latest invocation so far, which is the earliest instant that it can have happened at.

Where more is known than when an operation began and ended, there are marks: its round trips, what became of each, the ticks of
the store's clock. The store is a client like the others, which makes no operations. One mark may be where both sides differ.
"""

from collections.abc import Hashable, Mapping, Sequence
from enum import Enum

from attrs import frozen

from redstep_check.linearizability import Event, Illegal, Legal, Operation, Placed, Verdict, operations
from redstep_check.timelines.values import printable, told


class Sign(Enum):
    """What a mark stands for."""

    CALLED = "called"
    """A step of the specification and of an implementation, side by side."""
    EXECUTED = "executed"
    TWICE = "executed twice"
    ARRIVED = "reply arrives"
    LOST = "reply lost"
    NOT_SENT = "not sent"
    ADRIFT = "sent, and given up"
    PAUSED = "pause over"
    CANCELLED = "cancelled"
    CRASHED = "crashed"
    FLUSHED = "scripts flushed"
    CLOCK = "clock"
    NOTED = "noted"
    """Anything else."""


@frozen
class Mark:
    """Something that happened at one place."""

    at: int
    client: Hashable
    sign: Sign
    text: str
    is_wrong: bool = False
    """Whether this is where both sides differ."""


@frozen(kw_only=True)
class Differs:
    """An implementation was held against the specification step by step, and differs at the mark that is wrong."""

    rule: str
    sentence: str
    what: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.rule} is broken: {self.what}: the specification says {self.expected}, the implementation {self.actual}"


@frozen(kw_only=True)
class Timeline:
    """A history and its verdict, if it was checked."""

    history: Sequence[Event]
    verdict: Verdict | Differs | None = None
    title: str = ""
    notes: tuple[str, ...] = ()
    """What else is to be said: the rule that is broken, the seed, the command that replays it."""
    marks: Sequence[Mark] = ()
    """In order of their places."""


class Look(Enum):
    """What became of an operation."""

    ANSWERED = "answered"
    FAILED = "failed"
    OPEN = "open"


@frozen(kw_only=True)
class Bar:
    """An operation as it is drawn."""

    operation: Operation
    lane: int
    start: int
    end: int
    """Columns: the places of events, counted from 0; the end of one that nobody heard of is that of the history."""
    look: Look
    order: int | None = None
    """Its number in the order that was found, from 1."""
    point: int | None = None
    """The column that it is taken to have happened at."""
    state: str = ""
    """The state that it led to."""
    is_stuck: bool = False

    @property
    def mark(self) -> str:
        """What tells its place in the order."""
        return "✗" if self.is_stuck else f"#{self.order}" if self.order else ""

    @property
    def call(self) -> str:
        """What was called."""
        call = self.operation.call
        return printable(call) if isinstance(call, str) else told(call)

    @property
    def heard(self) -> str:
        """What its client heard."""
        return (
            f"→ {told(self.operation.reply)}" if self.look is Look.ANSWERED else "failed" if self.look is Look.FAILED else "?"
        )

    @property
    def label(self) -> str:
        """All of that."""
        return " ".join(each for each in (self.mark, self.call, self.heard) if each)


@frozen
class Spot:
    """Where a mark is drawn."""

    mark: Mark
    lane: int
    column: int


@frozen
class Drawing:
    """Where everything is drawn."""

    clients: Sequence[str]
    """The names of the lanes."""
    places: Sequence[int]
    """The places of the columns."""
    bars: Sequence[Bar]
    """In order of invocation."""
    spots: Sequence[Spot] = ()
    """In order of their columns."""


def drawing(timeline: Timeline) -> Drawing:
    """Lay out a timeline. Raises MalformedHistory."""
    its = operations(timeline.history)
    places = sorted({each.at for each in (*timeline.history, *timeline.marks)})
    columns = {place: column for column, place in enumerate(places)}
    acting = [*(each.client for each in its), *(each.client for each in timeline.marks)]
    lanes = {client: lane for lane, client in enumerate(dict.fromkeys(acting))}
    spots = [Spot(each, lanes[each.client], columns[each.at]) for each in sorted(timeline.marks, key=lambda mark: mark.at)]
    wrong = {(spot.lane, spot.column) for spot in spots if spot.mark.is_wrong}
    found = {each.operation.number: (number, each) for number, each in enumerate(placed(timeline.verdict), 1)}
    points = _points(placed(timeline.verdict), columns)
    bars = []
    for each in its:
        number, place = found.get(each.number, (None, None))
        lane, start = lanes[each.client], columns[each.invoked_at]
        end = len(places) if each.completed_at is None else columns[each.completed_at]
        is_stuck = isinstance(timeline.verdict, Illegal) and timeline.verdict.stuck.number == each.number
        bars.append(
            Bar(
                operation=each,
                lane=lane,
                start=start,
                end=end,
                look=Look.ANSWERED if each.is_answered else Look.OPEN if each.is_open else Look.FAILED,
                order=number,
                point=points.get(each.number),
                state=told(place.state) if place else "",
                is_stuck=is_stuck or any(lane == its_lane and start <= column <= end for its_lane, column in wrong),
            )
        )
    return Drawing([printable(str(each)) for each in lanes], places, bars, spots)


def placed(verdict: Verdict | Differs | None) -> Sequence[Placed]:
    """The order that was found: the witness, or the prefix of what is illegal."""
    return verdict.witness if isinstance(verdict, Legal) else verdict.prefix if isinstance(verdict, Illegal) else ()


def _points(order: Sequence[Placed], columns: Mapping[int, int]) -> Mapping[int, int]:
    found, now = {}, 0
    for each in order:
        now = max(now, columns[each.operation.invoked_at])
        found[each.operation.number] = now
    return found


def summary(timeline: Timeline) -> Sequence[str]:
    """What is to be said of it, line by line."""
    verdict = timeline.verdict
    lines = [timeline.title, "not checked" if verdict is None else str(verdict)]
    if isinstance(verdict, Illegal):
        lines.append(f"client {verdict.stuck.client}: {told(verdict.stuck.call)} was answered {told(verdict.stuck.reply)}")
        if verdict.instead is not None:
            lines.append(f"after the operations with a number the model answers {told(verdict.instead)}")
    if isinstance(verdict, Differs):
        lines.append(verdict.sentence)
    return [printable(each) for each in (*lines, *timeline.notes) if each]
