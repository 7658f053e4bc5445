"""Reports: what a person sees of a run, and what a machine reads."""

import shlex
from collections.abc import Sequence
from typing import Any

from attrs import define
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from redstep_check.lockstep import Mismatch
from redstep_check.registry.guard import NAIVE, Guard
from redstep_check.runs import EXAMPLES, Result, Verdict
from redstep_spec.rules import RULES

STYLES = {
    Verdict.HOLDS: "green",
    Verdict.BROKEN: "bold red",
    Verdict.FLAKY: "bold red",
    Verdict.VACUOUS: "yellow",
    Verdict.NOT_JUDGED: "",
    Verdict.UNFINISHED: "yellow",
}


@define(kw_only=True)
class Row:
    """One run: a guard on an engine, by one client. Without a result it was skipped, for a reason."""

    guard: str
    engine: str
    client: str
    result: Result | None = None
    reason: str = ""
    saved: str | None = None
    """Where the story of a difference was saved."""
    not_saved: str | None = None
    """Why it was not."""

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        return self.result.verdict.value if self.result else "skipped"

    @property
    def why_skipped(self) -> str:
        """The reason, and of which engine it speaks."""
        return self.reason if self.reason.startswith(self.engine) else f"{self.engine}: {self.reason}"


def table(rows: Sequence[Row]) -> RenderableType:
    """All runs at a glance."""
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("guard", "engine", "client"):
        view.add_column(heading, overflow="fold")
    for heading in ("examples", "steps", "reached", "seconds"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("verdict")
    for row in rows:
        view.add_row(row.guard, row.engine, row.client, *_figures(row), _verdict(row))
    return view


def _figures(row: Row) -> tuple[str, ...]:
    result = row.result
    if result is None:
        return ("", "", "", "")
    return (str(result.examples), str(result.steps), reached(result), f"{result.seconds:.1f}")


def reached(result: Result) -> str:
    """How much of what a run is about it has seen so far."""
    return f"{len(result.to_reach) - len(result.missed)} of {len(result.to_reach)}"


def _verdict(row: Row) -> Text:
    if row.result is None:
        return Text(row.verdict, style="dim")
    text = Text(row.verdict, style=STYLES[row.result.verdict])
    if row.result.mismatch:
        text.append(f" {row.result.mismatch.rule}")
    return text


def print_notes(console: Console, rows: Sequence[Row]) -> None:
    """Tell why engines were skipped, and how to have the same again."""
    for why in dict.fromkeys(row.why_skipped for row in rows if row.result is None):
        console.print(Text(f"skipped: {why}", style="dim"))
    for seed in dict.fromkeys(row.result.seed for row in rows if row.result and not row.result.mismatch):
        console.print(Text(f"seed {seed}", style="dim"))


def print_failure(console: Console, guard: Guard, row: Row, result: Result, mismatch: Mismatch) -> None:
    """Tell a difference as a story: the rule, the timeline, and how to see it again."""
    console.print()
    console.print(Text(f"{row.guard} on {row.engine}, {row.client}: {row.verdict}", style="bold red"))
    console.print(Text(f"{mismatch.rule}  {RULES.get(mismatch.rule, '')}"))
    console.print()
    console.print(timeline(guard, mismatch))
    console.print()
    expected, actual = (guard.tell_answer(each) or repr(each) for each in (mismatch.expected, mismatch.actual))
    console.print(Text(f"  {mismatch.what}: the specification says {expected}, the target {actual}"))
    if row.saved:
        console.print(Text(f"  replay it: {shlex.join(['redstep', 'replay', row.saved])}"))
    if row.not_saved:
        console.print(Text(f"  the story could not be saved: {row.not_saved}", style="yellow"))
    console.print(Text(f"  find it again: {shlex.join(['redstep', 'check', row.guard, *_options(row, result)])}"))


def _options(row: Row, result: Result) -> list[str]:
    way = _way(row.client)
    examples = [] if result.batch == EXAMPLES else ["--examples", str(result.batch)]
    return ["--engine", row.engine, *way, *examples, "--seed", str(result.seed)]


def _way(client: str) -> list[str]:
    if client == NAIVE:
        return ["--naive"]
    if ":" in client:
        return ["--target", client]
    variant, driver = client.split("/")
    return ["--variant", variant, "--client", driver]


def print_missed(console: Console, row: Row, result: Result) -> None:
    """Tell what a run did not reach."""
    console.print()
    console.print(Text(f"{row.guard} on {row.engine}, {row.client}: not reached", style="yellow"))
    for each in result.missed:
        console.print(Text(f"  {each.rule:<6} {each.sentence}"))


def timeline(guard: Guard, mismatch: Mismatch) -> RenderableType:
    """Draw the moves in order, each with what both sides say to it; the last is the one that differs."""
    view = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    view.add_column("")
    view.add_column("at", justify="right", no_wrap=True)
    for heading in ("move", "specification", "target"):
        view.add_column(heading)
    for told in mismatch.story:
        is_last = told is mismatch.story[-1]
        style = "bold red" if is_last else ""
        cells = (guard.tell(told.move), guard.tell_answer(told.expected), guard.tell_answer(told.answer))
        view.add_row("x" if is_last else "", f"{told.move.now_ms} ms", *(Text(cell) for cell in cells), style=style)
    return view


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """All runs for a machine."""
    return {"format": "redstep-check/1", "runs": [_row_as_json(row) for row in rows]}


def _row_as_json(row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {"guard": row.guard, "engine": row.engine, "client": row.client, "verdict": row.verdict}
    result = row.result
    if result is None:
        return {**told, "reason": row.reason}
    told |= {
        "seed": result.seed,
        "batch": result.batch,
        "examples": result.examples,
        "steps": result.steps,
        "seconds": round(result.seconds, 3),
        "to_reach": len(result.to_reach),
        "reached": dict(sorted(result.reached.items())),
        "missed": [each.name for each in result.missed],
        "fired": dict(sorted(result.fired.items())),
    }
    if result.mismatch:
        told |= {"rule": result.mismatch.rule, "difference": str(result.mismatch), "story": row.saved}
        if row.not_saved:
            told["not_saved"] = row.not_saved
    return told
