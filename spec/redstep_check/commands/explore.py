"""
`redstep explore`: every schedule of a small concurrent world, or every state of a small world of the specification.

With `--schedules` they are drawn instead, in worlds that are too large to be exhausted; with `--planted` it is shown that bugs
which only interleavings show are found both ways.

Exit codes are those of the other commands: 0 nothing differs, 1 a rule is broken (or a planted bug was not found), 2 misuse or
no engine, 3 drawn schedules did not reach what they are about, 130 interrupted. A world that was cut is told as such, and is no
failure.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import click
from attrs import asdict
from click.core import ParameterSource
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from redstep_check import engines
from redstep_check.binding import Unsupported
from redstep_check.commands.common import (
    BROKEN,
    INTERRUPTED,
    MISUSE,
    console,
    engine_option,
    finite,
    json_option,
    save_option,
)
from redstep_check.engines import EngineUnavailable, open_engine
from redstep_check.interleavings import drawing, reporting
from redstep_check.interleavings.drawing import SCHEDULES, Told
from redstep_check.interleavings.exhaustive import Bounds, World
from redstep_check.interleavings.failures import failure, print_failure
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.reporting import Row
from redstep_check.interleavings.specifications import WORLDS, known
from redstep_check.interleavings.subjects import Subject
from redstep_check.lockstep import SpecificationBroken
from redstep_check.runs import Budget

ALWAYS_GOOD = frozenset({"guard", "as_json"})
GOOD_WITH = {
    "--spec": frozenset({"only_spec"}),
    "--planted": frozenset({"planted", "engine", "variants", "schedules", "seed", "save"}),
    "--schedules": frozenset({"engine", "variants", "schedules", "seed", "save"}),
    "": frozenset({"clients", "operations", "faults", "ticks", "engine", "variants", "programs", "seconds", "save"}),
}
"""Which options mean something together with each of these."""


@click.command(name="explore", epilog=f"Guards: {', '.join(sorted({*SUBJECTS, *WORLDS}))}.")
@click.argument("guard", type=click.Choice(tuple(sorted({*SUBJECTS, *WORLDS}))), metavar="GUARD")
@click.option("--clients", type=click.IntRange(1, 5), default=2, show_default=True, help="How many clients there are.")
@click.option("--operations", type=click.IntRange(1, 4), default=2, show_default=True, help="How many operations each makes.")
@click.option("--faults", type=click.IntRange(0, 4), default=1, show_default=True, help="How many faults hit, all together.")
@click.option("--ticks", type=click.IntRange(0, 6), default=1, show_default=True, help="How often the store's clock goes on.")
@engine_option
@click.option("--variant", "variants", multiple=True, help="What of the implementation; may be repeated.  [default: all]")
@click.option("--program", "programs", multiple=True, help="What the clients do; may be repeated.  [default: all]")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), callback=finite, metavar="S", help="When each world is cut."
)
@click.option(
    "--schedules",
    type=click.IntRange(1),
    metavar="N",
    help=f"Draw N schedules of three clients in a batch instead; with --planted, at most N.  [with --planted: {SCHEDULES}]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the schedules that are drawn.")
@click.option("--planted", is_flag=True, help="Plant the known bugs, one after the other: each must be found.")
@save_option("the stories of differences are saved, for `redstep replay` and `redstep timeline`")
@click.option("--spec", "only_spec", is_flag=True, help="Explore the specification's own small world, breadth first.")
@json_option
@click.pass_context
def explore(
    context: click.Context,
    guard: str,
    clients: int,
    operations: int,
    faults: int,
    ticks: int,
    engine: str,
    variants: tuple[str, ...],
    programs: tuple[str, ...],
    seconds: float | None,
    schedules: int | None,
    seed: int,
    planted: bool,
    save: Path,
    only_spec: bool,
    as_json: bool,
) -> None:
    """Run every schedule of a bounded world of GUARD: clients, operations, faults, steps of the clock.

    Each execution of a script is compared with the specification, reply and stored state, and so is the end of each operation
    with what it asked and heard. Equal situations are merged. A difference is shrunk, drawn as a timeline, and saved.

    Beside the figures it is told how many moves were made while two operations or more were under way, how many kinds of faults
    hit of those that could, how many operations ended in an unknown outcome that had taken effect (did) or had not (not), and
    how many requests took effect though they were given up, when they arrived (late). Of drawn schedules a few are made once
    more, and must come out the same.

    Exit codes: 0 nothing differs, 1 a rule is broken or a planted bug was not found, 2 misuse or no engine, 3 vacuous: drawn
    schedules did not reach what they are about, or in none of them two operations overlapped; 130 interrupted.
    """
    _refuse(context, only_spec=only_spec, planted=planted, drawn=schedules is not None)
    if only_spec:
        _explore_specification(guard, as_json=as_json)
        return
    if guard not in SUBJECTS:
        raise click.UsageError(f"the interleavings of {guard} can't be explored, only its specification: add --spec.")
    subject = SUBJECTS[guard]
    for variant in variants:
        if variant not in subject.variants:
            raise click.UsageError(f"{guard} has no variant {variant!r}, but {', '.join(subject.variants)}.")
    variants = tuple(dict.fromkeys(variants))
    bounds = Bounds(clients=clients, operations=operations, faults=faults, ticks=ticks, seconds=seconds)
    rows: list[Row] = []
    told: list[Told] = []
    is_drawn = planted or schedules is not None

    def tell() -> None:
        if is_drawn:
            _tell_drawn(guard, engine, told, as_json=as_json)
        else:
            _tell(guard, engine, bounds, rows, as_json=as_json)

    try:
        with open_engine(engine) as opened, _progress() as progress:
            if is_drawn:
                budget = Budget(examples=schedules or SCHEDULES, seed=seed)
                _draw(subject, opened, variants, (budget, planted, save), progress, told)
            else:
                _refuse_programs(subject, opened, variants, programs)
                _explore(subject, bounds, opened, (variants, programs, save), progress, rows)
    except KeyboardInterrupt:
        tell()
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except EngineUnavailable as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(MISUSE)
    tell()
    skipped = [*(row.found is None for row in rows), *("reason" in each.row for each in told)]
    if all(skipped):
        click.echo("Error: nothing was explored", err=True)
        sys.exit(MISUSE)
    if is_drawn:
        sys.exit(drawing.exit_code([each.row for each in told]))
    sys.exit(BROKEN if any(row.failure for row in rows) else 0)


def _refuse(context: click.Context, *, only_spec: bool, planted: bool, drawn: bool) -> None:
    """Refuse options that mean nothing together. Raises UsageError."""
    if only_spec + planted + (drawn and not planted) > 1:
        raise click.UsageError("--spec, --planted and --schedules exclude one another.")
    way = "--spec" if only_spec else "--planted" if planted else "--schedules" if drawn else ""
    for option in context.command.params:
        name = option.name or ""
        is_given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if not is_given or name in ALWAYS_GOOD | GOOD_WITH[way]:
            continue
        if way:
            raise click.UsageError(f"{option.opts[0]} means nothing with {way}.")
        raise click.UsageError(f"{option.opts[0]} is of schedules that are drawn: add --schedules or --planted.")


def _explore(
    subject: Subject,
    bounds: Bounds,
    engine: engines.Engine,
    chosen: tuple[Sequence[str], Sequence[str], Path],
    progress: Progress,
    rows: list[Row],
) -> None:
    variants, programs, save = chosen
    for variant in variants or subject.variants:
        try:
            target = subject.variants[variant](engine)
        except Unsupported as reason:
            rows.append(Row(variant, reason=str(reason)))
            continue
        try:
            there = list(subject.sequential.programs(target.features))
            for program in (each for each in there if not programs or each in programs):
                bar = progress.add_task(f"{variant}: {program}", figures="")
                world = World(subject.sequential, target, program, bounds)
                rows.append(Row(variant, world.found))
                found = world.explore(
                    lambda found, bar=bar: progress.update(  # type: ignore[misc]
                        bar, figures=f"{found.states:,} states, {found.moves:,} moves"
                    )
                )
                progress.remove_task(bar)
                if found.mismatch is not None:
                    found.mismatch = subject.shrunk(target, found.mismatch, bounds.clients) or found.mismatch
                    label = f"{variant}, {program}"
                    again = ("explore", subject.name, "--engine", engine.name, *_options(variant, program, bounds))
                    rows[-1].failure = failure(subject, target, found.mismatch, engine=engine.name, client=label, again=again)
                    rows[-1].failure.save(save)
        finally:
            target.close()


def _refuse_programs(subject: Subject, engine: engines.Engine, variants: Sequence[str], programs: Sequence[str]) -> None:
    """Refuse what none of the variants can do on this engine, before anything is explored. Raises UsageError."""
    there: dict[str, None] = {}
    for variant in variants or subject.variants:
        with suppress(Unsupported), closing(subject.variants[variant](engine)) as target:
            there |= dict.fromkeys(subject.sequential.programs(target.features))
    unknown = [each for each in dict.fromkeys(programs) if each not in there]
    if unknown and there:
        raise click.UsageError(f"{subject.name} has no program {', '.join(map(repr, unknown))} here, but {', '.join(there)}.")


def _options(variant: str, program: str, bounds: Bounds) -> Iterator[str]:
    yield from ("--variant", variant, "--program", program)
    for name in ("clients", "operations", "faults", "ticks"):
        if getattr(bounds, name) != getattr(Bounds(), name):
            yield from (f"--{name}", str(getattr(bounds, name)))


def _draw(
    subject: Subject,
    engine: engines.Engine,
    variants: Sequence[str],
    how: tuple[Budget, bool, Path],
    progress: Progress,
    told: list[Told],
) -> None:
    budget, planted, save = how
    bar = progress.add_task(subject.name, figures="")

    def on_progress(what: str) -> None:
        progress.update(bar, figures=what)

    bugs = [bug for bug in subject.bugs if not variants or bug.variant in variants]
    if planted and not bugs:
        raise click.UsageError(f"no bug is planted in {subject.name}, {', '.join(variants)}.")
    for each in bugs if planted else variants or subject.variants:
        if isinstance(each, str):
            told.append(drawing.drawn(subject, each, engine, budget, on_progress))
        else:
            told.append(drawing.hunted(subject, each, engine, budget, on_progress))
        if (found := told[-1].failure) is not None:
            found.save(save)


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=console(to_stderr=True), transient=True) as progress:
        yield progress


def _tell(guard: str, engine: str, bounds: Bounds, rows: list[Row], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(reporting.as_json(guard, engine, bounds, rows), indent=1))
    elif rows:
        reporting.print_worlds(console(), guard, rows)


def _tell_drawn(guard: str, engine: str, told: list[Told], *, as_json: bool) -> None:
    if as_json:
        runs = [{**(each.failure.as_json() if each.failure else {}), **each.row} for each in told]
        click.echo(json.dumps({"format": "redstep-explore-drawn/1", "guard": guard, "engine": engine, "runs": runs}, indent=1))
    elif told:
        out = console()
        out.print(drawing.table([each.row for each in told]))
        for note in (note for each in told for note in drawing.notes(each.row)):
            out.print(Text(note, style="dim"), soft_wrap=True)
        for found in (each.failure for each in told if each.failure):
            print_failure(out, found)


def _explore_specification(guard: str, *, as_json: bool) -> None:
    if guard not in WORLDS:
        raise click.UsageError(f"the specification of {guard} has no small world, but those of {', '.join(WORLDS)} have.")
    try:
        found = known(WORLDS[guard])
    except SpecificationBroken as broken:
        click.echo(str(broken), err=True)
        sys.exit(BROKEN)
    verdict = "exhausted" if found.exhausted else "cut"
    if as_json:
        told = {**asdict(found), "verdict": verdict}
        click.echo(json.dumps({"format": "redstep-explore-spec/1", "guard": guard, **told}, indent=1))
        return
    click.echo(f"{guard}: {found.states:,} states, {found.steps:,} steps, {found.depth} deep: {verdict}")
    for kind, count in found.kinds.items():
        click.echo(f"  {count:>8,}  {kind}")
    click.echo(f"  ALWAYS     {found.always} hold in all steps")
    click.echo(f"  SOMETIMES  {len(found.reached)} of {len(found.reached) + len(found.missed)} are reached")
    for name in found.missed:
        click.echo(f"             not here: {name.replace('_', ' ')}")
