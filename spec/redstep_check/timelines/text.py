"""
A timeline as text, for a terminal.

Short histories are drawn as bars, as wide as what is written on them. What does not fit is written event by event instead, a
lane for each client beside it; of a long one only what leads up to the operation that is stuck. So is one with marks: there is
more to be said of them than a bar has room for.
"""

from collections.abc import Iterator, Sequence

from redstep_check.timelines.timeline import Bar, Drawing, Look, Sign, Spot, Timeline, drawing, summary
from redstep_check.timelines.values import printable

WIDTH = 120
EVENTS_MAX = 80
"""How many events are written at most; a history that has more is cut."""
ENDS = {Look.ANSWERED: "┤", Look.FAILED: "┘", Look.OPEN: "┄"}
LANE_ENDS = {Look.ANSWERED: "└", Look.FAILED: "┘", Look.OPEN: "┆"}

SIGNS = {
    Sign.CALLED: "◆",
    Sign.EXECUTED: "●",
    Sign.TWICE: "◉",
    Sign.ARRIVED: "◂",
    Sign.LOST: "◌",
    Sign.NOT_SENT: "○",
    Sign.ADRIFT: "~",
    Sign.PAUSED: "·",
    Sign.CANCELLED: "!",
    Sign.CRASHED: "†",
    Sign.FLUSHED: "▽",
    Sign.CLOCK: "+",
    Sign.NOTED: "▪",
}


def text(timeline: Timeline, *, width: int = WIDTH, events_max: int = EVENTS_MAX) -> str:
    """Draw a timeline, `width` characters wide where that is possible. Raises MalformedHistory."""
    drawn = drawing(timeline)
    bars = list(_bars(drawn)) if not timeline.marks and len(timeline.history) <= events_max else []
    body = bars if bars and max(map(len, bars)) <= width else list(_events(drawn, events_max))
    return "\n".join([*summary(timeline), "", *body]) + "\n"


def _bars(drawn: Drawing) -> Iterator[str]:
    """A line for each client."""
    at = _positions(drawn)
    names = max((len(each) for each in drawn.clients), default=0)
    for lane, name in enumerate(drawn.clients):
        line = f"{name:<{names}}  "
        for bar in drawn.bars:
            if bar.lane == lane:
                line = line.ljust(names + 2 + at[bar.start]) + _bar(bar, at[bar.end] - at[bar.start])
        yield line.rstrip()


def _bar(bar: Bar, width: int) -> str:
    fill = "┄" if bar.look is Look.OPEN else "─"
    return f"├{f' {bar.label} ':{fill}^{width - 1}}{ENDS[bar.look]}"


def _positions(drawn: Drawing) -> Sequence[int]:
    """Where each column begins, and where they end: as near to one another as labels permit."""
    ending: dict[int, list[Bar]] = {}
    for bar in drawn.bars:
        ending.setdefault(bar.end, []).append(bar)
    at: list[int] = []
    for column in range(len(drawn.places) + 1):
        needed = [at[bar.start] + len(bar.label) + 3 for bar in ending.get(column, ())]
        at.append(max([at[-1] + 2 if at else 0, *needed]))
    return at


def _events(drawn: Drawing, events_max: int) -> Iterator[str]:
    """A line for each event."""
    events = chronicle(drawn)
    last = next((at for at, event in enumerate(events, 1) if _is_last(event)), min(len(events), events_max))
    if drawn.spots and len(events) <= events_max:
        last = len(events)
    first = max(0, last - events_max)
    names = max((len(each) for each in drawn.clients), default=0)
    places = max((len(str(each)) for each in drawn.places), default=0)
    lanes = [" "] * len(drawn.clients)
    if first:
        yield f"… {first} events before"
    for number, (column, ends, shown) in enumerate(events[:last]):
        lane = shown.lane
        before, lanes[lane] = lanes[lane], _sign(shown, ends)
        if number >= first:
            line = f"{drawn.places[column]:>{places}}  {''.join(lanes)}  {drawn.clients[lane]:<{names}}  {said(shown, ends)}"
            yield line.rstrip()
        lanes[lane] = before if isinstance(shown, Spot) else "│" if not ends else "┆" if shown.look is Look.OPEN else " "
    if last < len(events):
        yield f"… {len(events) - last} events after"


def chronicle(drawn: Drawing) -> Sequence[tuple[int, int, Bar | Spot]]:
    """What happened, in order: the column; 0 for the beginning of an operation, 1 for a mark, 2 for an end; and which."""
    ends = [(bar.end, 2, bar) for bar in drawn.bars if bar.end < len(drawn.places)]
    events: list[tuple[int, int, Bar | Spot]] = [(bar.start, 0, bar) for bar in drawn.bars]
    events += [*((spot.column, 1, spot) for spot in drawn.spots), *ends]
    return sorted(events, key=lambda each: each[:2])


def _is_last(event: tuple[int, int, Bar | Spot]) -> bool:
    """Whether what follows it says nothing of the operation that is stuck."""
    _, ends, shown = event
    return shown.mark.is_wrong if isinstance(shown, Spot) else shown.is_stuck and bool(ends)


def _sign(shown: Bar | Spot, ends: int) -> str:
    if isinstance(shown, Spot):
        return "✗" if shown.mark.is_wrong else SIGNS[shown.mark.sign]
    return LANE_ENDS[shown.look] if ends else "┌"


def said(shown: Bar | Spot, ends: int) -> str:
    """One thing that happened, on a line."""
    if isinstance(shown, Spot):
        return printable(shown.mark.text)
    return f"{shown.call} {shown.heard}  {shown.mark}" if ends else shown.call
