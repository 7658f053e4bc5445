"""
A timeline: a history, what was said of it, and where each operation is to be drawn.

Time is the order of events, so that operations are as long as what happened meanwhile. Each client has a lane. An operation
that has a place in the witness, or in the prefix of an illegal history, bears its number; it is taken to have happened at the
latest invocation so far, which is the earliest instant that it can have happened at.
"""

from collections.abc import Mapping, Sequence
from enum import Enum

from attrs import frozen

from redstep_check.linearizability import Event, Illegal, Legal, Operation, Placed, Verdict, operations
from redstep_check.timelines.values import printable, told


@frozen(kw_only=True)
class Timeline:
    """A history and its verdict, if it was checked."""

    history: Sequence[Event]
    verdict: Verdict | None = None
    title: str = ""
    notes: tuple[str, ...] = ()
    """What else is to be said: the rule that is broken, the seed, the command that replays it."""


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
class Drawing:
    """Where everything is drawn."""

    clients: Sequence[str]
    """The names of the lanes."""
    places: Sequence[int]
    """The places of the columns."""
    bars: Sequence[Bar]
    """In order of invocation."""


def drawing(timeline: Timeline) -> Drawing:
    """Lay out a timeline. Raises MalformedHistory."""
    its = operations(timeline.history)
    places = sorted({each.at for each in timeline.history})
    columns = {place: column for column, place in enumerate(places)}
    lanes = {client: lane for lane, client in enumerate(dict.fromkeys(each.client for each in its))}
    found = {each.operation.number: (number, each) for number, each in enumerate(placed(timeline.verdict), 1)}
    points = _points(placed(timeline.verdict), columns)
    bars = []
    for each in its:
        number, place = found.get(each.number, (None, None))
        bars.append(
            Bar(
                operation=each,
                lane=lanes[each.client],
                start=columns[each.invoked_at],
                end=len(places) if each.completed_at is None else columns[each.completed_at],
                look=Look.ANSWERED if each.is_answered else Look.OPEN if each.is_open else Look.FAILED,
                order=number,
                point=points.get(each.number),
                state=told(place.state) if place else "",
                is_stuck=isinstance(timeline.verdict, Illegal) and timeline.verdict.stuck.number == each.number,
            )
        )
    return Drawing([printable(str(each)) for each in lanes], places, bars)


def placed(verdict: Verdict | None) -> Sequence[Placed]:
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
    return [printable(each) for each in (*lines, *timeline.notes) if each]
