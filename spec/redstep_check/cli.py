"""
The command line.

Exit codes: 0 all holds; 1 a rule is broken; 2 misuse, or no engine; 3 vacuous, a run did not reach what it is about;
130 interrupted.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
from attrs import frozen
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from redstep_check import engines, report, runs, stories
from redstep_check.lockstep import ImpossibleStory
from redstep_check.registry import GUARDS, NAIVE, Guard
from redstep_check.report import Row
from redstep_check.runs import EXAMPLES, Budget, Result, Verdict

BROKEN, MISUSE, VACUOUS, INTERRUPTED = 1, 2, 3, 130
PLAIN_WIDTH = 160


def console(*, to_stderr: bool = False) -> Console:
    """Colours and boxes on a terminal, plain text elsewhere."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="redstep")
def cli() -> None:
    """Hold an implementation of a guard against its executable specification."""


@frozen(kw_only=True)
class Plan:
    """What `redstep check` was asked for."""

    guards: tuple[str, ...]
    engines: tuple[str, ...]
    clients: tuple[str, ...]
    budget: Budget
    save: Path

    def clients_of(self, guard: Guard) -> tuple[str, ...]:
        """The ways into the implementation that are to be checked."""
        return self.clients or tuple(guard.clients)


@cli.command()
@click.argument("guards", nargs=-1, metavar="[GUARD]...")
@click.option(
    "--engine",
    "engine_names",
    multiple=True,
    metavar="NAME|URL",
    help="An engine (see `redstep engines`) or the URL of a server; may be repeated.  [default: valkey9]",
)
@click.option(
    "--client",
    "client_names",
    multiple=True,
    type=click.Choice(["protocol", "sync", "asyncio"]),
    help="How the shipped implementation is driven; may be repeated.  [default: all]",
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
    help="How many examples a batch tries; below the default, what was reached is told and not judged.",
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Repeat a run.  [default: drawn, and told]")
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(0, min_open=True),
    metavar="SECONDS",
    help="Go on in batches for so long, shared out evenly between the runs.",
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
    if unknown := [name for name in guards if name not in GUARDS]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(GUARDS)}.", param_hint="GUARD")
    if naive + bool(target_path) + bool(client_names) > 1:
        raise click.UsageError("--client, --naive and --target exclude one another.")
    clients = (NAIVE,) if naive else (target_path,) if target_path else client_names
    plan = Plan(
        guards=guards or tuple(GUARDS),
        engines=engine_names or (engines.DEFAULT,),
        clients=clients,
        budget=Budget(examples=examples) if seed is None else Budget(examples=examples, seed=seed),
        save=save,
    )
    if seconds is not None:
        runs_planned = len(plan.engines) * sum(len(plan.clients_of(GUARDS[name])) for name in plan.guards)
        plan = attrs.evolve(plan, budget=attrs.evolve(plan.budget, seconds=seconds / runs_planned))
    rows: list[Row] = []
    try:
        check_all(plan, rows)
    except KeyboardInterrupt:
        tell(rows, as_json=as_json)
        console(to_stderr=True).print("interrupted")
        sys.exit(INTERRUPTED)
    tell(rows, as_json=as_json)
    sys.exit(exit_code(rows))


def check_all(plan: Plan, rows: list[Row]) -> None:
    """Run every guard on every engine by every client; rows are added as they are done."""
    for name in plan.engines:
        try:
            with engines.open_engine(name) as engine:
                check_on(plan, engine, rows)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--engine") from error
        except engines.EngineUnavailable as error:
            rows.extend(Row(guard=guard, engine=name, client="", reason=str(error)) for guard in plan.guards)


def check_on(plan: Plan, engine: engines.Engine, rows: list[Row]) -> None:
    """Run every guard on one engine by every client."""
    for guard in (GUARDS[name] for name in plan.guards):
        for client in plan.clients_of(guard):
            row = check_one(plan, guard, engine, client)
            rows.append(row)


def check_one(plan: Plan, guard: Guard, engine: engines.Engine, client: str) -> Row:
    """Run one guard on one engine by one client."""
    factory = target_factory(guard, client)
    with closing_target(factory, engine) as target, progress(f"{guard.name} {engine.name} {client}", plan.budget) as on_example:
        result = runs.run(guard.bench, target, plan.budget, on_example)
    saved = None
    if result.mismatch:
        story = stories.story_of(result.mismatch, guard=guard.name, engine=engine.name, client=client, seed=result.seed)
        saved = str(stories.save(story, plan.save))
    return Row(guard=guard.name, engine=engine.name, client=client, result=result, saved=saved)


def target_factory(guard: Guard, client: str) -> Callable[[engines.Engine], Any]:
    """Find a way in, or tell what is wrong with it."""
    try:
        return guard.target(client)
    except LookupError as error:
        raise click.UsageError(str(error)) from error


@contextmanager
def closing_target(factory: Callable[[engines.Engine], Any], engine: engines.Engine) -> Iterator[Any]:
    """Open a target, and close it whatever happens."""
    target = factory(engine)
    try:
        yield target
    finally:
        target.close()


@contextmanager
def progress(what: str, budget: Budget) -> Iterator[Callable[[Result], object]]:
    """Show a bar on a terminal, nothing elsewhere."""
    stderr = console(to_stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[reached]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(what, total=budget.examples, reached="")

        def on_example(result: Result) -> None:
            total = -(-result.examples // budget.examples) * budget.examples
            reached = f"reached {len(result.reached)} of {result.to_reach}"
            bar.update(task, completed=result.examples, total=total, reached=reached)

        yield on_example


def tell(rows: list[Row], *, as_json: bool) -> None:
    """Print what the runs came to."""
    if as_json:
        click.echo(json.dumps(report.as_json(rows), indent=1))
        return
    out = console()
    out.print(report.table(rows))
    for row in rows:
        if row.result and row.result.mismatch:
            report.print_failure(out, GUARDS[row.guard], row, row.result, row.result.mismatch)
        elif row.result and row.result.verdict is Verdict.VACUOUS:
            report.print_missed(out, row, row.result)


def exit_code(rows: list[Row]) -> int:
    """Broken outweighs vacuous; nothing run at all is misuse."""
    verdicts = {row.result.verdict for row in rows if row.result}
    if not verdicts:
        return MISUSE
    if verdicts & {Verdict.BROKEN, Verdict.FLAKY}:
        return BROKEN
    return VACUOUS if Verdict.VACUOUS in verdicts else 0


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--engine", "engine_name", metavar="NAME|URL", help="Another engine than the story's own.")
def replay(file: Path, engine_name: str | None) -> None:
    """Play the moves of a saved story again.

    Exit codes: 0 no difference any more, 1 the rule is still broken, 2 misuse or no engine.
    """
    kinds = {name: kind for guard in GUARDS.values() for name, kind in guard.kinds.items()}
    try:
        story = stories.load(file, kinds)
        guard = GUARDS[story.guard]
    except (stories.BadStory, KeyError) as error:
        raise click.UsageError(str(error)) from error
    out = console()
    try:
        with (
            engines.open_engine(engine_name or story.engine) as engine,
            closing_target(target_factory(guard, story.client), engine) as target,
        ):
            mismatch = runs.replayed(guard.bench, target, story.moves)
    except (engines.EngineUnavailable, ImpossibleStory, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if mismatch is None:
        out.print(f"{len(story.moves)} moves, no difference: {story.rule} holds here now.")
        return
    result = Result(seed=story.seed, to_reach=0, mismatch=mismatch, verdict=Verdict.BROKEN)
    row = Row(guard=guard.name, engine=engine.name, client=story.client, result=result, saved=str(file))
    report.print_failure(out, guard, row, result, mismatch)
    sys.exit(BROKEN)


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
