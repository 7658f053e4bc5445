"""
A timeline as a page: one file of HTML, with bars to zoom into and to hover over, that fetches nothing from anywhere.

All that is drawn is drawn here; the script of the page only moves and enlarges it, so that the page can be read without it.
Whatever comes from a history is escaped.
"""

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from string import Template

from redstep_check.linearizability import Verdict
from redstep_check.timelines.timeline import Bar, Drawing, Timeline, drawing, summary

TEMPLATE = Template(files("redstep_check.timelines").joinpath("page.html").read_text(encoding="utf-8"))


def page(timeline: Timeline) -> str:
    """Draw a timeline as HTML. Raises MalformedHistory."""
    drawn = drawing(timeline)
    return TEMPLATE.substitute(
        title=escape(timeline.title or "a history"),
        kind=_kind(timeline.verdict),
        summary="\n".join(_summary(timeline)),
        columns=len(drawn.places),
        lanes="\n".join(_lane(drawn, lane) for lane in range(len(drawn.clients))),
        order=_order(drawn),
    )


def _kind(verdict: Verdict | None) -> str:
    return "unchecked" if verdict is None else type(verdict).__name__.lower()


def _summary(timeline: Timeline) -> Iterator[str]:
    lines = summary(timeline)
    verdict = 1 if timeline.title else 0
    for number, line in enumerate(lines):
        if number >= verdict:
            yield f"<li{' class=verdict' if number == verdict else ''}>{escape(line)}</li>"


def _lane(drawn: Drawing, lane: int) -> str:
    bars = "".join(_bar(drawn, each) for each in drawn.bars if each.lane == lane)
    name = escape(drawn.clients[lane])
    return f'<div class="lane"><span class="client" title="{name}">{name}</span><div class="track">{bars}</div></div>'


def _bar(drawn: Drawing, bar: Bar) -> str:
    kinds = f"bar {bar.look.value}{' stuck' if bar.is_stuck else ''}"
    where = f'style="--from:{bar.start};--to:{bar.end}" data-from="{bar.start}" data-to="{bar.end}"'
    shown = f'<div class="{kinds}" {where} tabindex="0" title="{escape(_told(drawn, bar))}">{escape(bar.label)}</div>'
    return shown if bar.point is None else f'{shown}<i class="point" style="--at:{bar.point}"></i>'


def _told(drawn: Drawing, bar: Bar) -> str:
    its = bar.operation
    until = "never heard of again" if its.completed_at is None else f"to {its.completed_at}"
    lines = [f"client {drawn.clients[bar.lane]}, operation {its.number}", f"from {its.invoked_at} {until}", bar.call, bar.heard]
    if bar.order:
        lines.append(f"#{bar.order}, which leads to {bar.state}")
    if bar.is_stuck:
        lines.append("no order explains this")
    return "\n".join(lines)


def _order(drawn: Drawing) -> str:
    placed = sorted((each for each in drawn.bars if each.order), key=lambda each: each.order or 0)
    if not placed:
        return ""
    items = "\n".join(
        f"<li>{escape(f'{drawn.clients[each.lane]}: {each.call} {each.heard}')} <small>{escape(each.state)}</small></li>"
        for each in placed
    )
    return f"<details open><summary>The order that was found</summary>\n<ol class=order>\n{items}\n</ol></details>"
