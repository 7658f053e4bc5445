"""
A timeline as text, for a terminal.

Short histories are drawn as bars, as wide as what is written on them. What does not fit is written event by event instead, a
lane for each client beside it; of a long one only what leads up to the operation that is stuck.
"""

from collections.abc import Iterator, Sequence

from redstep_check.timelines.timeline import Bar, Drawing, Look, Timeline, drawing, summary

WIDTH = 120
EVENTS_MAX = 80
"""How many events are written at most; a history that has more is cut."""
ENDS = {Look.ANSWERED: "┤", Look.FAILED: "┘", Look.OPEN: "┄"}
LANE_ENDS = {Look.ANSWERED: "└", Look.FAILED: "┘", Look.OPEN: "┆"}


def text(timeline: Timeline, *, width: int = WIDTH, events_max: int = EVENTS_MAX) -> str:
    """Draw a timeline, `width` characters wide where that is possible. Raises MalformedHistory."""
    drawn = drawing(timeline)
    bars = list(_bars(drawn)) if len(timeline.history) <= events_max else []
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
    events = sorted(
        [(bar.start, 0, bar) for bar in drawn.bars] + [(bar.end, 1, bar) for bar in drawn.bars if bar.end < len(drawn.places)],
        key=lambda each: each[:2],
    )
    last = next((at for at, (_, ends, bar) in enumerate(events, 1) if bar.is_stuck and ends), min(len(events), events_max))
    first = max(0, last - events_max)
    names = max((len(each) for each in drawn.clients), default=0)
    places = max((len(str(each)) for each in drawn.places), default=0)
    lanes = [" "] * len(drawn.clients)
    if first:
        yield f"… {first} events before"
    for number, (column, ends, bar) in enumerate(events[:last]):
        lanes[bar.lane] = LANE_ENDS[bar.look] if ends else "┌"
        if number >= first:
            name = drawn.clients[bar.lane]
            said = f"{bar.call} {bar.heard}" if ends else bar.call
            line = f"{drawn.places[column]:>{places}}  {''.join(lanes)}  {name:<{names}}  {said}  {bar.mark if ends else ''}"
            yield line.rstrip()
        lanes[bar.lane] = (" " if bar.look is not Look.OPEN else "┆") if ends else "│"
    if last < len(events):
        yield f"… {len(events) - last} events after"
