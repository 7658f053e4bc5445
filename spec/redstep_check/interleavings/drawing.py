"""Drawing: random schedules instead of all, of the shipped guards or with a bug planted; and what they came to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve
from rich.console import RenderableType
from rich.table import Table

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds, World
from redstep_check.interleavings.moves import Begins, Goes
from redstep_check.interleavings.subjects import Bug, Subject
from redstep_check.lockstep import Mismatch
from redstep_check.runs import Budget, Result, run

SCHEDULES = 2_000
"""Within how many drawn schedules a planted bug must be found."""
FOUND, NOT_FOUND, SKIPPED = "found", "not found", "skipped"
EXIT_CODES: Mapping[str, int] = {
    "holds": 0,
    "not judged": 0,
    FOUND: 0,
    SKIPPED: 0,
    "broken": 1,
    "flaky": 1,
    NOT_FOUND: 1,
    "vacuous": 3,
    "unfinished": 3,
}
Progress = Callable[[str], object]
Row = dict[str, Any]


def drawn(subject: Subject, variant: str, engine: Engine, budget: Budget, on_progress: Progress) -> Row:
    """Draw schedules of a variant."""
    try:
        target = subject.variants[variant](engine)
    except Unsupported as reason:
        return {"variant": variant, "verdict": SKIPPED, "reason": str(reason)}

    def on_example(result: Result) -> None:
        on_progress(f"{variant}: {result.examples:,} schedules, {result.steps:,} moves")

    try:
        result = run(subject.bench(), target, budget, on_example)
    finally:
        target.close()
    told: Row = {
        "variant": variant,
        "verdict": result.verdict.value,
        "schedules": result.examples,
        "moves": result.steps,
        "seconds": round(result.seconds, 3),
        "reached": dict(sorted(result.reached.items())),
        "missed": [each.name for each in result.missed],
    }
    return {**told, "rule": result.mismatch.rule, "difference": str(result.mismatch)} if result.mismatch else told


def hunted(subject: Subject, bug: Bug, engine: Engine, budget: Budget, on_progress: Progress) -> Row:
    """Plant a bug, and look for it by every schedule of a small world and by drawn ones."""
    on_progress(bug.name)
    target = bug.make(engine)
    told: Row = {"bug": bug.name, "variant": bug.variant, "expected": bug.rule}
    try:
        bounds = Bounds(clients=bug.clients, operations=2, faults=bug.faults, ticks=bug.ticks)
        for program in subject.sequential.programs(target.features):
            found = World(subject.sequential, target, program, bounds).explore()
            shrunk = subject.shrunk(target, found.mismatch) if found.mismatch else None
            if shrunk is not None and shrunk.rule == bug.rule:
                told |= {"program": program, "states": found.states, "story": sized(shrunk)}
                break
        result = run(subject.bench(), target, evolve(budget, examples=min(budget.examples, SCHEDULES)))
    finally:
        target.close()
    is_found = "story" in told and result.mismatch is not None and result.mismatch.rule in {bug.rule, *bug.also}
    is_soon = result.examples <= SCHEDULES
    told |= {"schedules": result.examples, "rule": result.mismatch.rule if result.mismatch else None}
    return {**told, "verdict": FOUND if is_found and is_soon else NOT_FOUND}


def sized(mismatch: Mismatch) -> dict[str, int]:
    """How long a story is."""
    moves = [told.move for told in mismatch.story]
    return {
        "moves": len(moves),
        "operations": sum(isinstance(move, Begins) for move in moves),
        "clients": len({move.client for move in moves if isinstance(move, Begins | Goes)}),
    }


def table(rows: Sequence[Row]) -> RenderableType:
    """What was drawn, at a glance."""
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    names = ("bug", "variant", "expected", "states", "story", "schedules", "rule", "moves", "missed", "seconds", "verdict")
    used = [name for name in names if any(row.get(name) for row in rows)]
    for name in used:
        view.add_column(name)
    for row in rows:
        view.add_row(*(_cell(row.get(name)) for name in used))
    return view


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {name}" for name, count in value.items())
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
