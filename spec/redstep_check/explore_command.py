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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from attrs import asdict
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from redstep_check import engines
from redstep_check.binding import Unsupported
from redstep_check.engines import EngineUnavailable, open_engine
from redstep_check.interleavings import drawing
from redstep_check.interleavings.drawing import SCHEDULES
from redstep_check.interleavings.exhaustive import Bounds, Found, World
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.specifications import WORLDS, known
from redstep_check.interleavings.subjects import Subject
from redstep_check.interleavings.telling import timeline
from redstep_check.lockstep import ImpossibleStory, Mismatch, SpecificationBroken
from redstep_check.runs import Budget, replayed
from redstep_check.stories import BadStory, load, story_of
from redstep_check.stories import save as save_story
from redstep_spec.rules import RULES

BROKEN, MISUSE, INTERRUPTED = 1, 2, 130
PLAIN_WIDTH = 160


def console(*, to_stderr: bool = False) -> Console:
    """Colours and boxes on a terminal, plain text elsewhere."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


def engine_name(_context: object, _option: object, name: str) -> str:
    """Pass on what names an engine."""
    try:
        engines.label(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return name


@click.command(name="explore", epilog=f"Guards: {', '.join(sorted({*SUBJECTS, *WORLDS}))}.")
@click.argument("guard", type=click.Choice(tuple(sorted({*SUBJECTS, *WORLDS}))), metavar="GUARD")
@click.option("--clients", type=click.IntRange(1, 5), default=2, show_default=True, help="How many clients there are.")
@click.option("--operations", type=click.IntRange(1, 4), default=2, show_default=True, help="How many operations each makes.")
@click.option("--faults", type=click.IntRange(0, 4), default=1, show_default=True, help="How many faults hit, all together.")
@click.option("--ticks", type=click.IntRange(0, 6), default=1, show_default=True, help="How often the store's clock goes on.")
@click.option(
    "--engine",
    "engine",
    default=engines.DEFAULT,
    show_default=True,
    metavar="NAME|URL",
    callback=engine_name,
    help="An engine.",
)
@click.option("--variant", "variants", multiple=True, help="What of the implementation; may be repeated.  [default: all]")
@click.option("--program", "programs", multiple=True, help="What the clients do; may be repeated.  [default: all]")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="When each world is cut.")
@click.option("--schedules", type=click.IntRange(1), metavar="N", help="Draw so many schedules of three clients instead.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the schedules that are drawn.")
@click.option("--planted", is_flag=True, help="Plant the known bugs, one after the other: each must be found.")
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".redstep"),
    show_default=True,
    help="Where the story of a difference is saved.",
)
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Play a story that was saved.")
@click.option("--spec", "only_spec", is_flag=True, help="Explore the specification's own small world, breadth first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def explore_command(
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
    replay: Path | None,
    only_spec: bool,
    as_json: bool,
) -> None:
    """Run every schedule of a bounded world of GUARD: clients, operations, faults, steps of the clock.

    Each execution of a script is compared with the specification, reply and stored state, and so is the end of each operation
    with what it asked and heard. Equal situations are merged.

    Exit codes: 0 nothing differs, 1 a rule is broken, 2 misuse or no engine, 3 vacuous, 130 interrupted.
    """
    if only_spec + planted + bool(schedules and not planted) > 1:
        raise click.UsageError("--spec, --planted and --schedules exclude one another.")
    if only_spec:
        _explore_specification(guard, as_json=as_json)
        return
    if guard not in SUBJECTS:
        raise click.UsageError(f"the interleavings of {guard} can't be explored, only its specification: add --spec.")
    bounds = Bounds(clients=clients, operations=operations, faults=faults, ticks=ticks, seconds=seconds)
    rows: list[tuple[str, Found | str]] = []
    try:
        if replay:
            sys.exit(_replay(SUBJECTS[guard], engine, replay))
        if planted or schedules:
            budget = Budget(examples=schedules or SCHEDULES, seed=seed)
            sys.exit(_draw(SUBJECTS[guard], engine, variants, budget, planted, as_json))
        _explore(SUBJECTS[guard], bounds, engine, (variants, programs), rows)
        saved = [_save(guard, engine, variant, found, save) for variant, found in rows if isinstance(found, Found)]
    except KeyboardInterrupt:
        if rows:
            _tell(guard, engine, bounds, rows, as_json=as_json)
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except EngineUnavailable as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(MISUSE)
    if not rows:
        raise click.UsageError(f"{guard} has no program {', '.join(programs)}.")
    _tell(guard, engine, bounds, rows, as_json=as_json)
    for path in filter(None, saved):
        click.echo(f"  replay it: redstep explore {guard} --replay {path}", err=as_json)
    if any(isinstance(found, Found) and found.mismatch for _, found in rows):
        sys.exit(BROKEN)


def _explore(
    subject: Subject,
    bounds: Bounds,
    engine_name: str,
    chosen: tuple[tuple[str, ...], tuple[str, ...]],
    rows: list[tuple[str, Found | str]],
) -> None:
    variants, programs = chosen
    for variant in variants:
        if variant not in subject.variants:
            raise click.UsageError(f"{subject.name} has no variant {variant!r}, but {', '.join(subject.variants)}.")
    with open_engine(engine_name) as engine, _progress() as progress:
        for variant in variants or subject.variants:
            try:
                target = subject.variants[variant](engine)
            except Unsupported as reason:
                rows.append((variant, str(reason)))
                continue
            try:
                for program in _programs(subject, target.features, programs):
                    bar = progress.add_task(f"{variant}: {program}", figures="")
                    world = World(subject.sequential, target, program, bounds)
                    rows.append((variant, world.found))
                    found = world.explore(
                        lambda found, bar=bar: progress.update(  # type: ignore[misc]
                            bar, figures=f"{found.states:,} states, {found.moves:,} moves"
                        )
                    )
                    progress.remove_task(bar)
                    if found.mismatch is not None:
                        found.mismatch = subject.shrunk(target, found.mismatch, bounds.clients) or found.mismatch
            finally:
                target.close()


def _save(guard: str, engine: str, variant: str, found: Found, directory: Path) -> Path | None:
    """Save the story of a difference, if there is one."""
    if found.mismatch is None:
        return None
    label = engines.label(engine)
    story = story_of(found.mismatch, guard=guard, engine=label, client=f"{variant}-{found.program}", seed=0, examples=0)
    try:
        return save_story(story, directory)
    except OSError as error:
        click.echo(f"  the story could not be saved: {error}", err=True)
        return None


def _replay(subject: Subject, engine_name: str, path: Path) -> int:
    """Play a story; return the exit code."""
    try:
        story = load(path, {subject.name: subject.kinds})
    except BadStory as error:
        raise click.UsageError(str(error)) from error
    with open_engine(engine_name) as engine:
        variant = story.client.partition("-")[0]
        if variant not in subject.variants:
            raise click.UsageError(f"{subject.name} has no variant {variant!r}, but {', '.join(subject.variants)}.")
        target = subject.variants[variant](engine)
        try:
            found = replayed(subject.bench(), target, story.moves)
        except ImpossibleStory as error:
            click.echo(f"{path}: nothing differs until the clients take other steps than they did: {error}")
            return 0
        finally:
            target.close()
    if found is None:
        click.echo(f"{path}: nothing differs any more ({story.rule} did)")
        return 0
    console().print(timeline(subject.sequential, found))
    click.echo(f"  {found}")
    return BROKEN


def _draw(subject: Subject, engine_name: str, variants: tuple[str, ...], budget: Budget, planted: bool, as_json: bool) -> int:
    """Draw schedules; return the exit code."""
    with open_engine(engine_name) as engine, _progress() as progress:
        bar = progress.add_task(subject.name, figures="")

        def on_progress(what: str) -> None:
            progress.update(bar, figures=what)

        if planted:
            bugs = [bug for bug in subject.bugs if not variants or bug.variant in variants]
            told = [drawing.hunted(subject, bug, engine, budget, on_progress) for bug in bugs]
        else:
            told = [drawing.drawn(subject, each, engine, budget, on_progress) for each in variants or subject.variants]
    if as_json:
        click.echo(json.dumps({"format": "redstep-explore-drawn/1", "guard": subject.name, "runs": told}, indent=1))
    else:
        console().print(drawing.table(told))
    return max((drawing.EXIT_CODES[each["verdict"]] for each in told), default=0)


def _programs(subject: Subject, features: frozenset[str], chosen: tuple[str, ...]) -> list[str]:
    known = list(subject.sequential.programs(features))
    return [each for each in known if not chosen or each in chosen]


@contextmanager
def _progress() -> Iterator[Progress]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TextColumn("{task.fields[figures]}"))
    progress = Progress(*columns, console=console(to_stderr=True), transient=True)
    with progress:
        yield progress


def _verdict(found: Found) -> str:
    if found.mismatch is not None:
        return f"broken {found.mismatch.rule}"
    return "exhausted" if found.exhausted else "cut"


def _tell(guard: str, engine: str, bounds: Bounds, rows: list[tuple[str, Found | str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_as_json(guard, engine, bounds, rows), indent=1))
        return
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("guard", "variant", "program"):
        view.add_column(heading)
    for heading in ("states", "moves", "executions", "schedules", "depth", "seconds"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("verdict")
    for variant, found in rows:
        if isinstance(found, str):
            view.add_row(guard, variant, *("",) * 7, Text(f"skipped: {found}", style="dim"))
            continue
        figures = (found.states, found.moves, found.executions, found.schedules, found.depth)
        style = "bold red" if found.mismatch else "green" if found.exhausted else "yellow"
        verdict = Text(_verdict(found), style=style)
        view.add_row(guard, variant, found.program, *(f"{each:,}" for each in figures), f"{found.seconds:.1f}", verdict)
    out = console()
    out.print(view)
    for variant, found in rows:
        if isinstance(found, Found) and found.mismatch is not None:
            _print_failure(out, guard, variant, found, found.mismatch)


def _print_failure(out: Console, guard: str, variant: str, found: Found, mismatch: Mismatch) -> None:
    out.print()
    out.print(Text(f"{guard}, {variant}, {found.program}: {_verdict(found)}", style="bold red"))
    out.print(Text(f"{mismatch.rule}  {RULES.get(mismatch.rule, '')}"))
    out.print()
    out.print(timeline(SUBJECTS[guard].sequential, mismatch))
    out.print()
    out.print(Text(f"  {mismatch}"))


def _as_json(guard: str, engine: str, bounds: Bounds, rows: list[tuple[str, Found | str]]) -> dict[str, Any]:
    worlds: list[dict[str, Any]] = []
    for variant, found in rows:
        if isinstance(found, str):
            worlds.append({"variant": variant, "verdict": "skipped", "reason": found})
            continue
        told = {"variant": variant, "program": found.program, "verdict": _verdict(found).partition(" ")[0]}
        figures = ("states", "moves", "executions", "schedules", "depth", "hits")
        told |= {name: getattr(found, name) for name in figures} | {"seconds": round(found.seconds, 3)}
        if found.mismatch is not None:
            told |= {"rule": found.mismatch.rule, "difference": str(found.mismatch)}
        worlds.append(told)
    return {"format": "redstep-explore/1", "guard": guard, "engine": engine, "bounds": asdict(bounds), "worlds": worlds}


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
    if found.always:
        click.echo(f"  ALWAYS     {found.always} hold in all steps")
        click.echo(f"  SOMETIMES  {len(found.reached)} of {len(found.reached) + len(found.missed)} are reached")
    for name in found.missed:
        click.echo(f"             not here: {name.replace('_', ' ')}")
