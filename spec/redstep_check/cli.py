"""
The command line.

Exit codes: 0 all holds; 1 a rule is broken; 2 misuse, or no engine; 3 vacuous, a run did not reach what it is about;
130 interrupted. Whatever else goes wrong ends with 2, so that 1 always means what it says.
"""

import importlib
import json
import logging
import math
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
import redis
from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from redstep_check import engines, report, runs, showing, stories, timelines
from redstep_check.binding import Target, Unsupported
from redstep_check.engines import Engine, EngineUnavailable
from redstep_check.explore_command import explore_command, replay_schedule
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.lockstep import Mismatch, raised
from redstep_check.registry import GUARDS
from redstep_check.registry.guard import NAIVE, Guard, TargetFactory
from redstep_check.report import Row
from redstep_check.runs import EXAMPLES, Budget, Result, Verdict
from redstep_check.stories import Story
from redstep_check.stress_command import stress_command
from redstep_check.verify_chain import verify_chain

BROKEN, MISUSE, VACUOUS, INTERRUPTED = 1, 2, 3, 130
PLAIN_WIDTH = 160


class Trouble(click.ClickException):
    """What somebody must set right first."""

    exit_code = MISUSE


class Interrupted(click.ClickException):
    """Somebody pressed Ctrl-C."""

    exit_code = INTERRUPTED

    def show(self, file: Any = None) -> None:
        """Say no more than that."""
        click.echo(self.message, file=file, err=True)


class Commands(click.Group):
    """The commands, which end with the documented codes whatever happens."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception:  # noqa: BLE001  a flaw of the kit breaks no rule
            traceback.print_exc()
            sys.exit(MISUSE)


def console(*, to_stderr: bool = False) -> Console:
    """Colours and boxes on a terminal, plain text elsewhere."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="redstep")
def cli() -> None:
    """Hold an implementation of a guard against its executable specification."""
    logging.getLogger("redstep").addHandler(logging.NullHandler())  # what it would log of the faults done to it is no news


@frozen
class Way:
    """A guard, and a way into an implementation of it."""

    guard: Guard
    client: str
    make: TargetFactory

    @contextmanager
    def opened(self, engine: Engine) -> Iterator[Target[Any]]:
        """Have a target on an engine, and close it whatever happens."""
        try:
            target = self.make(engine)
        except Unsupported:
            raise
        except Exception as error:
            raise Trouble(f"{self.client} could not be made: {raised(error)}") from error
        if not isinstance(target, Target):
            raise Trouble(f"{self.client} made a {type(target).__name__}, which is no redstep_check.binding.Target")
        try:
            yield target
        finally:
            target.close()


@frozen(kw_only=True)
class Plan:
    """What `redstep check` was asked for."""

    ways: tuple[Way, ...]
    engines: tuple[str, ...]
    fallback: bool
    """Whether another engine will do."""
    budget: Budget
    save: Path


@cli.command(epilog=f"Guards: {', '.join(GUARDS)}.")
@click.argument("guards", nargs=-1, metavar="[GUARD]...", type=click.Choice(tuple(GUARDS)))
@click.option(
    "--engine",
    "engine_names",
    multiple=True,
    metavar="NAME|URL",
    callback=lambda _context, _option, names: tuple(engine_name(name) for name in names),
    help=f"An engine (see `redstep engines`) or the URL of a server; may be repeated.  [default: {engines.DEFAULT}]",
)
@click.option(
    "--client",
    "client_names",
    multiple=True,
    type=click.Choice(("protocol", "sync", "asyncio")),
    help="How the shipped implementation is driven; may be repeated.  [default: all]",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(tuple(dict.fromkeys(variant for guard in GUARDS.values() for variant in guard.variants))),
    help="What of the shipped implementation; may be repeated.  [default: all]",
)
@click.option("--naive", is_flag=True, help="Check the naive script that everybody writes first: it must fail.")
@click.option(
    "--target",
    "target_path",
    metavar="MODULE:NAME",
    help="Check your own: something that makes a redstep_check.binding.Target of an engine.",
)
@click.option(
    "--examples",
    type=click.IntRange(1),
    default=EXAMPLES,
    show_default=True,
    metavar="N",
    help="How many examples a batch tries; below the default, what was reached is told and not judged.",
)
@click.option("--seed", type=click.IntRange(0), metavar="N", help="Repeat a run.  [default: drawn, and told]")
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    callback=lambda _context, _option, seconds: finite(seconds),
    metavar="SECONDS",
    help="Go on for so long, shared out evenly between the runs.  [default: until all is reached]",
)
@click.option(
    "--save",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".redstep"),
    show_default=True,
    help="Where the stories of failing runs are saved.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def check(
    guards: tuple[str, ...],
    engine_names: tuple[str, ...],
    client_names: tuple[str, ...],
    variants: tuple[str, ...],
    naive: bool,
    target_path: str | None,
    examples: int,
    seed: int | None,
    seconds: float | None,
    save: Path,
    as_json: bool,
) -> None:
    """Check GUARDs (default: all) in lockstep with the specification.

    Every step is made by the specification and by the implementation on a real engine; replies and stored state must agree.
    A difference is shrunk to its shortest story, told as a timeline, and saved to be replayed.

    Exit codes: 0 all hold, 1 a rule is broken, 2 misuse or no engine, 3 vacuous (something was not reached).
    """
    if naive + bool(target_path) + bool(client_names or variants) > 1:
        raise click.UsageError("--client or --variant, --naive and --target exclude one another.")
    chosen = [GUARDS[name] for name in dict.fromkeys(guards or GUARDS)]
    if target_path and len(chosen) > 1:
        raise click.UsageError(f"--target implements one GUARD: say which of {', '.join(guards or GUARDS)}.")
    other = NAIVE if naive else target_path
    ways = tuple(
        way_into(guard, client) for guard in chosen for client in ((other,) if other else guard.ways(variants, client_names))
    )
    if not ways:
        raise click.UsageError(f"{guards[0]} has no such variant, but {', '.join(chosen[0].variants)}.")
    on = tuple(dict.fromkeys(engine_names)) or (engines.DEFAULT,)
    budget = Budget(examples=examples, seconds=seconds and seconds / len(on) / len(ways))
    if seed is not None:
        budget = attrs.evolve(budget, seed=seed)
    rows: list[Row] = []
    try:
        check_all(Plan(ways=ways, engines=on, fallback=not engine_names, budget=budget, save=save), rows)
    finally:
        tell(rows, as_json=as_json)
    sys.exit(exit_code(rows))


def finite(seconds: float | None) -> float | None:
    """Pass on a time that ends."""
    if seconds is not None and not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} seconds never end")
    return seconds


def engine_name(name_or_url: str) -> str:
    """Pass on what names an engine."""
    try:
        engines.label(name_or_url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return name_or_url


def way_into(guard: Guard, client: str) -> Way:
    """Find a way into an implementation; somebody's own may lie in the working directory."""
    if ":" in client and "" not in sys.path:
        sys.path.insert(0, "")
        importlib.invalidate_caches()
    try:
        return Way(guard, client, guard.target(client))
    except LookupError as error:
        raise Trouble(str(error)) from error
    except Exception as error:
        raise Trouble(f"{client} cannot be imported: {raised(error)}") from error


def check_all(plan: Plan, rows: list[Row]) -> None:
    """Run every guard on every engine by every client; rows are added as they are begun."""
    for name in plan.engines:
        try:
            with engines.open_engine(name) as engine:
                for way in plan.ways:
                    try:
                        check_one(plan, engine, way, rows)
                    except Unsupported as error:
                        rows.append(Row(guard=way.guard.name, engine=engine.name, client=way.client, reason=str(error)))
        except EngineUnavailable as error:
            reason = f"{error}; {engines.FALLBACK}, an imitation, stands in" if plan.fallback else str(error)
            guards = dict.fromkeys(way.guard.name for way in plan.ways)
            rows += [Row(guard=guard, engine=engines.label(name), client="", reason=reason) for guard in guards]
            if plan.fallback:
                check_all(attrs.evolve(plan, engines=(engines.FALLBACK,), fallback=False), rows)


def check_one(plan: Plan, engine: Engine, way: Way, rows: list[Row]) -> None:
    """Run one guard on one engine by one client."""
    row = Row(guard=way.guard.name, engine=engine.name, client=way.client)

    with way.opened(engine) as target, progress(row, plan.budget) as show:

        def on_example(result: Result) -> None:
            if row.result is None:
                rows.append(row)
            row.result = result
            show(result)

        try:
            result = runs.run(way.guard.bench, target, plan.budget, on_example)
        except Exception as error:
            if ":" not in way.client:
                raise
            raise Trouble(f"{way.client} failed: {raised(error)}") from error
    if result.mismatch:
        answers(engine)
        drawn = showing.timeline(way.guard, result.mismatch, title=f"{row.guard} on {row.engine}, {row.client}")
        found: dict[str, Any] = {"seed": result.seed, "examples": result.batch, "timeline": drawn}
        story = stories.story_of(result.mismatch, guard=row.guard, engine=row.engine, client=row.client, **found)
        try:
            row.saved = str(stories.save(story, plan.save))
        except OSError as error:
            row.not_saved = str(error)


def answers(engine: Engine) -> None:
    """Make sure that an engine is still there: that it went away breaks no rule."""
    try:
        with engine.client() as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        raise Trouble(f"{engine.name} went away in the middle of a run: {error}") from error


@contextmanager
def progress(row: Row, budget: Budget) -> Iterator[Callable[[Result], object]]:
    """Show a bar on a terminal, nothing elsewhere."""
    stderr = console(to_stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(f"{row.guard} {row.engine} {row.client}", total=None, told="")

        def show(result: Result) -> None:
            told = f"{result.examples} examples, reached {report.reached(result)}"
            examples = (result.examples, max(result.examples, result.batches * result.batch))
            done, total = (result.seconds, budget.seconds) if budget.seconds else examples
            bar.update(task, completed=done, total=total, told=told)

        yield show


def tell(rows: list[Row], *, as_json: bool) -> None:
    """Print what the runs came to; nothing, on paper, if there was none."""
    if as_json:
        click.echo(json.dumps(report.as_json(rows), indent=1))
        return
    results = [(row, row.result) for row in rows if row.result]
    if not results:
        return
    out = console()
    out.print(report.table(rows))
    report.print_notes(out, rows)
    for row, result in results:
        if result.mismatch:
            report.print_failure(out, GUARDS[row.guard], row, result, result.mismatch)
        elif result.verdict is Verdict.VACUOUS:
            report.print_missed(out, row, result)


def exit_code(rows: list[Row]) -> int:
    """Broken outweighs vacuous; nothing run at all is trouble."""
    verdicts = {row.result.verdict for row in rows if row.result}
    if not verdicts:
        raise Trouble("nothing was checked: " + "; ".join(dict.fromkeys(row.why_skipped for row in rows)))
    if verdicts & {Verdict.BROKEN, Verdict.FLAKY}:
        return BROKEN
    return VACUOUS if Verdict.VACUOUS in verdicts else 0


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--engine",
    metavar="NAME|URL",
    callback=lambda _context, _option, name: name and engine_name(name),
    help="Another engine than the story's own.",
)
def replay(file: Path, engine: str | None) -> None:
    """Play the moves of a saved story again.

    It may be of one call after the other, by `redstep check`, or of several clients, by `redstep explore`.

    Exit codes: 0 no difference any more, 1 a rule is still broken, 2 misuse or no engine.
    """
    kinds, of_schedules = ({name: each.kinds for name, each in known.items()} for known in (GUARDS, SUBJECTS))
    try:
        story = stories.load(file, kinds, of_schedules)
    except (stories.BadStory, OSError) as error:
        raise Trouble(str(error)) from error
    if "***" in story.engine and engine is None:
        raise Trouble(f"{file}: the password of {story.engine} was not saved: give the URL with --engine")
    if story.kind == stories.SCHEDULE:
        try:
            sys.exit(replay_schedule(story, file, engine or story.engine))
        except (EngineUnavailable, Unsupported, LookupError, ValueError) as error:
            raise Trouble(f"{file}: {error}") from error
    way = way_into(GUARDS[story.guard], story.client)
    try:
        with engines.open_engine(engine or story.engine) as opened, way.opened(opened) as target:
            mismatch = played(way, target, story)
            answers(opened)
    except (EngineUnavailable, Unsupported, ValueError) as error:
        raise Trouble(f"{file}: {error}") from error
    out = console()
    if mismatch is None:
        out.print(f"{len(story.moves)} moves on {opened.name}, no difference: {story.rule} holds here.")
        return
    result = Result(seed=story.seed, batch=story.examples, to_reach=(), mismatch=mismatch, verdict=Verdict.BROKEN)
    row = Row(guard=story.guard, engine=opened.name, client=story.client, result=result, saved=str(file))
    report.print_failure(out, way.guard, row, result, mismatch)
    sys.exit(BROKEN)


def played(way: Way, target: Target[Any], story: Story) -> Mismatch | None:
    """Play a story, or tell why it can't be played."""
    try:
        return runs.replayed(way.guard.bench, target, story.moves)
    except Exception as error:
        raise Trouble(f"the story can't be played: {raised(error)}") from error


@cli.command("timeline")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT",
    help="Write one self-contained page there instead, to zoom and hover.",
)
def show_timeline(file: Path, html: Path | None) -> None:
    """Show what was saved as a timeline: a history of concurrent clients, or the story of a failing run.

    Exit codes: 0 shown, 2 no such file.
    """
    try:
        timeline = stories.shown(file)
        if html:
            html.write_text(timelines.page(timeline), encoding="utf-8")
    except (stories.BadStory, timelines.BadHistory, OSError) as error:
        raise Trouble(str(error)) from error
    click.echo(f"{html} written" if html else timelines.text(timeline, width=console().width), nl=bool(html))


cli.add_command(explore_command)
cli.add_command(stress_command)
cli.add_command(verify_chain)


@cli.command("engines")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_engines(as_json: bool) -> None:
    """List the engines, and why one is missing."""
    found = engines.survey()
    if as_json:
        click.echo(json.dumps([attrs.asdict(each) for each in found], indent=1))
        return
    out = console()
    for each in found:
        out.print(f"{each.name:<10} {'ready  ' if each.available else 'missing'}  {each.detail}", markup=False)
