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
from redstep_check.timelines.text import SIGNS, chronicle, said
from redstep_check.timelines.timeline import Bar, Differs, Drawing, Sign, Spot, Timeline, drawing, summary
from redstep_check.timelines.values import printable

TEMPLATE = Template(files("redstep_check.timelines").joinpath("page.html").read_text(encoding="utf-8"))

NAMES_MAX = 32
"""How many characters of a client's name are shown beside its lane; the rest shows when it is pointed at."""


def page(timeline: Timeline) -> str:
    """Draw a timeline as HTML. Raises MalformedHistory."""
    drawn = drawing(timeline)
    return TEMPLATE.substitute(
        title=escape(printable(timeline.title) or "a history"),
        kind=_kind(timeline.verdict) + (" marked" if drawn.spots else ""),
        key=_key(drawn),
        signs=_signs(drawn),
        summary="\n".join(_summary(timeline)),
        columns=len(drawn.places),
        names=min(max(map(len, drawn.clients), default=0), NAMES_MAX),
        lanes="\n".join(_lane(drawn, lane) for lane in range(len(drawn.clients))),
        order=_order(drawn) + _course(drawn),
    )


def _kind(verdict: Verdict | Differs | None) -> str:
    return "unchecked" if verdict is None else type(verdict).__name__.lower()


def _summary(timeline: Timeline) -> Iterator[str]:
    lines = summary(timeline)
    verdict = 1 if timeline.title else 0
    for number, line in enumerate(lines):
        if number >= verdict:
            yield f"<li{' class=verdict' if number == verdict else ''}>{escape(line)}</li>"


def _lane(drawn: Drawing, lane: int) -> str:
    bars = "".join(_bar(drawn, each) for each in drawn.bars if each.lane == lane)
    marks = "".join(_mark(drawn, each) for each in drawn.spots if each.lane == lane)
    name = escape(drawn.clients[lane])
    return f'<div class="lane"><span class="client" title="{name}">{name}</span><div class="track">{bars}{marks}</div></div>'


def _bar(drawn: Drawing, bar: Bar) -> str:
    kinds = f"bar {bar.look.value}{' stuck' if bar.is_stuck else ''}"
    where = f'style="--from:{bar.start};--to:{bar.end}" data-from="{bar.start}" data-to="{bar.end}"'
    shown = (
        f'<div class="{kinds}" {where} tabindex="0" title="{escape(_told(drawn, bar))}"><span>{escape(bar.label)}</span></div>'
    )
    return shown if bar.point is None else f'{shown}<i class="point" style="--at:{bar.point}"></i>'


def _mark(drawn: Drawing, spot: Spot) -> str:
    mark = spot.mark
    kind = "both sides differ" if mark.is_wrong else mark.sign.value
    told = f"{drawn.clients[spot.lane]}, at {mark.at}\n{kind}\n{printable(mark.text)}"
    wrong = " wrong" if mark.is_wrong else ""
    where = f'style="--at:{spot.column}" data-from="{spot.column}" data-to="{spot.column}"'
    sign = "✗" if mark.is_wrong else SIGNS[mark.sign]
    return f'<b class="mark{wrong}" {where} tabindex="0" title="{escape(told)}">{sign}</b>'


def _key(drawn: Drawing) -> str:
    """What else the bars may bear, if they do."""
    stuck = "differs" if drawn.spots else "stuck"
    key = f'<i class="key" style="background:var(--stuck)"></i>{stuck}\n' if any(each.is_stuck for each in drawn.bars) else ""
    round_ = "border-radius:50%;width:.7em;height:.7em"
    point = f'<i class="key" style="background:var(--point);{round_}"></i>taken to have happened, at the earliest'
    return key + (point if any(each.point is not None for each in drawn.bars) else "")


def _signs(drawn: Drawing) -> str:
    """What the marks mean, of those that there are."""
    there = {each.mark.sign for each in drawn.spots}
    key = "".join(f"<b class=sign>{SIGNS[sign]}</b>{sign.value}\n" for sign in Sign if sign in there)
    return key + ("<b class=sign>✗</b>differs" if any(each.mark.is_wrong for each in drawn.spots) else "")


def _told(drawn: Drawing, bar: Bar) -> str:
    its = bar.operation
    until = "never heard of again" if its.completed_at is None else f"to {its.completed_at}"
    lines = [f"client {drawn.clients[bar.lane]}, operation {its.number}", f"from {its.invoked_at} {until}", bar.call, bar.heard]
    if bar.order:
        lines.append(f"#{bar.order}, which leads to {bar.state}")
    if bar.is_stuck:
        lines.append("both sides differ here" if drawn.spots else "no order explains this")
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


def _course(drawn: Drawing) -> str:
    """Everything that happened, to be read one after the other."""
    if not drawn.spots:
        return ""
    items = "\n".join(
        f"<li{' class=wrong' if isinstance(each, Spot) and each.mark.is_wrong else ''}>"
        f"{escape(f'{drawn.clients[each.lane]}: {said(each, ends)}'.rstrip())}</li>"
        for _, ends, each in chronicle(drawn)
    )
    return f"<details open><summary>What happened, in order</summary>\n<ol class=course>\n{items}\n</ol></details>"
