"""Drawing: random schedules instead of all, of the shipped guards or with a bug planted; and what they came to."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, evolve
from rich.console import RenderableType
from rich.table import Table

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds, World
from redstep_check.interleavings.failures import Failure, failure
from redstep_check.interleavings.moves import Begins, Goes
from redstep_check.interleavings.recording import Recorder
from redstep_check.interleavings.replaying import PLANTED
from redstep_check.interleavings.subjects import Bug, Subject
from redstep_check.interleavings.tallies import tell_unknown
from redstep_check.lockstep import Mismatch
from redstep_check.runs import Budget, Result, Verdict, run

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


@define
class Told:
    """What a run came to: for machines, and its difference for people."""

    row: Row
    failure: Failure | None = None


def drawn(subject: Subject, variant: str, engine: Engine, budget: Budget, on_progress: Progress) -> Told:
    """Draw schedules of a variant, and make a few of them once more."""
    try:
        target = subject.variants[variant](engine)
    except Unsupported as reason:
        return Told({"variant": variant, "verdict": SKIPPED, "reason": str(reason)})

    def on_example(result: Result) -> None:
        on_progress(f"{variant}: {result.examples:,} schedules, {result.steps:,} moves")

    recorder = Recorder(subject.sequential)
    try:
        result = run(evolve(subject.bench(), session=recorder.session), target, budget, on_example)
        recorder.finish()
        again, otherwise = recorder.again(target)
        row: Row = {
            "variant": variant,
            "verdict": _verdict(result, recorder, otherwise),
            "seed": result.seed,
            "schedules": result.examples,
            "moves": result.steps,
            "seconds": round(result.seconds, 3),
            "schedules_overlapping": recorder.overlapping,
            **recorder.tally.as_json(),
            "not_hit": recorder.tally.not_hit(target.features),
            "not_met": list(recorder.tally.missing(target.features)),
            "to_reach": len(result.to_reach),
            "reached": dict(sorted(result.reached.items())),
            "missed": [each.name for each in result.missed],
            "trace": recorder.trace,
            "made_again": again,
            "came_out_otherwise": otherwise,
        }
        if result.mismatch is None:
            return Told(row)
        options = ("--variant", variant, "--schedules", str(result.batch), "--seed", str(result.seed))
        return Told(
            row,
            failure(
                subject,
                target,
                result.mismatch,
                engine=engine.name,
                client=variant,
                seed=result.seed,
                examples=result.batch,
                again=("explore", subject.name, "--engine", engine.name, *options),
            ),
        )
    finally:
        target.close()


def _verdict(result: Result, recorder: Recorder, otherwise: int) -> str:
    """The run's own verdict, unless it was about nothing, or about something that no schedule decides."""
    if result.mismatch is not None:
        return result.verdict.value
    if otherwise:
        return Verdict.FLAKY.value
    return result.verdict.value if recorder.overlapping else Verdict.VACUOUS.value


def hunted(subject: Subject, bug: Bug, engine: Engine, budget: Budget, on_progress: Progress) -> Told:
    """Plant a bug, and look for it by every schedule of a small world and by drawn ones."""
    on_progress(bug.name)
    target = bug.make(engine)
    told: Row = {"bug": bug.name, "variant": bug.variant, "expected": bug.rule}
    shrunk: Mismatch | None = None
    try:
        bounds = Bounds(clients=bug.clients, operations=2, faults=bug.faults, ticks=bug.ticks)
        for program in subject.sequential.programs(target.features):
            found = World(subject.sequential, target, program, bounds).explore()
            shrunk = subject.shrunk(target, found.mismatch) if found.mismatch else None
            if shrunk is not None and shrunk.rule == bug.rule:
                told |= {"program": program, "states": found.states, "story": sized(shrunk)}
                break
        result = run(subject.bench(), target, evolve(budget, examples=min(budget.examples, SCHEDULES)))
        is_found = "story" in told and result.mismatch is not None and result.mismatch.rule in {bug.rule, *bug.also}
        is_soon = result.examples <= SCHEDULES
        told |= {"schedules": result.examples, "rule": result.mismatch.rule if result.mismatch else None}
        told |= {"verdict": FOUND if is_found and is_soon else NOT_FOUND}
        shown = shrunk if "story" in told else result.mismatch
        if shown is None:
            return Told(told)
        planted = ("--planted", "--variant", bug.variant, "--seed", str(budget.seed))
        client, again = f"{PLANTED}{bug.name}", ("explore", subject.name, "--engine", engine.name, *planted)
        return Told(told, failure(subject, target, shown, engine=engine.name, client=client, again=again))
    finally:
        target.close()


def exit_code(rows: Sequence[Row]) -> int:
    """What the verdicts come to: broken outweighs vacuous."""
    codes = {EXIT_CODES[row["verdict"]] for row in rows}
    return 1 if 1 in codes else max(codes, default=0)


def sized(mismatch: Mismatch) -> dict[str, int]:
    """How long a story is."""
    moves = [told.move for told in mismatch.story]
    return {
        "moves": len(moves),
        "operations": sum(isinstance(move, Begins) for move in moves),
        "clients": len({move.client for move in moves if isinstance(move, Begins | Goes)}),
    }


COLUMNS: Mapping[str, Callable[[Row], Any]] = {
    "bug": lambda row: row.get("bug"),
    "variant": lambda row: row.get("variant"),
    "expected": lambda row: row.get("expected"),
    "states": lambda row: row.get("states"),
    "story": lambda row: ", ".join(f"{count} {name}" for name, count in row.get("story", {}).items()),
    "schedules": lambda row: row.get("schedules"),
    "rule": lambda row: row.get("rule"),
    "moves": lambda row: row.get("moves"),
    "overlapping": lambda row: row.get("schedules_overlapping"),
    "faults hit": lambda row: _hit(row),
    "unknown outcomes": lambda row: tell_unknown(row["unknown_outcomes"]) if "unknown_outcomes" in row else None,
    "reached": lambda row: f"{row['to_reach'] - len(row['missed'])} of {row['to_reach']}" if "to_reach" in row else None,
    "seconds": lambda row: row.get("seconds"),
    "verdict": lambda row: row.get("verdict"),
}


def table(rows: Sequence[Row]) -> RenderableType:
    """What was drawn, at a glance."""
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    used = [name for name, cell in COLUMNS.items() if any(cell(row) not in (None, "") for row in rows)]
    for name in used:
        view.add_column(name)
    for row in rows:
        view.add_row(*(_cell(COLUMNS[name](row)) for name in used))
    return view


def notes(row: Row) -> Iterator[str]:
    """What is to be said of a run beside its figures."""
    if "reason" in row:
        yield f"{row['variant']}: skipped: {row['reason']}"
    yield from (f"{row['variant']}: {each}" for each in row.get("not_met", ()))
    if missed := row.get("missed"):
        yield f"{row['variant']}: not reached: {', '.join(name.replace('_', ' ') for name in missed)}"
    if row.get("made_again"):
        otherwise = row["came_out_otherwise"]
        same = f"{otherwise} came out otherwise" if otherwise else "the same, hash for hash"
        yield f"{row['variant']}: {row['made_again']} of these schedules made once more: {same}; trace {row['trace'][:16]}"


def _hit(row: Row) -> str | None:
    return f"{len(row['faults'])} of {len(row['faults']) + len(row['not_hit'])}" if "faults" in row else None


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
