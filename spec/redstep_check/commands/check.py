"""`redstep check`: hold an implementation against the specification, in lockstep."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import click
from attrs import frozen
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from redstep_check import engines, report, runs, showing, stories
from redstep_check.binding import Unsupported
from redstep_check.commands.common import BROKEN, VACUOUS, Trouble, console, engine_names, finite, json_option, save_option
from redstep_check.commands.ways import Way, answers, way_into
from redstep_check.engines import Engine, EngineUnavailable
from redstep_check.lockstep import raised
from redstep_check.registry import GUARDS
from redstep_check.registry.guard import NAIVE
from redstep_check.report import Row
from redstep_check.runs import EXAMPLES, Budget, Result, Verdict


@frozen(kw_only=True)
class Plan:
    """What `redstep check` was asked for."""

    ways: tuple[Way, ...]
    engines: tuple[str, ...]
    fallback: bool
    """Whether another engine will do."""
    budget: Budget
    save: Path


@click.command(epilog=f"Guards: {', '.join(GUARDS)}.")
@click.argument("guards", nargs=-1, metavar="[GUARD]...", type=click.Choice(tuple(GUARDS)))
@click.option(
    "--engine",
    "on_engines",
    multiple=True,
    metavar="NAME|URL",
    callback=engine_names,
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
    callback=finite,
    metavar="SECONDS",
    help="Go on for so long, shared out evenly between the runs.  [default: until all is reached]",
)
@save_option("the stories of failing runs are saved, for `redstep replay` and `redstep timeline`")
@json_option
def check(
    guards: tuple[str, ...],
    on_engines: tuple[str, ...],
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

    Exit codes: 0 all hold, 1 a rule is broken, 2 misuse or no engine, 3 vacuous (something was not reached),
    130 interrupted.
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
    on = tuple(dict.fromkeys(on_engines)) or (engines.DEFAULT,)
    budget = Budget(examples=examples, seconds=seconds and seconds / len(on) / len(ways))
    if seed is not None:
        budget = attrs.evolve(budget, seed=seed)
    rows: list[Row] = []
    try:
        check_all(Plan(ways=ways, engines=on, fallback=not on_engines, budget=budget, save=save), rows)
    finally:
        tell(rows, as_json=as_json)
    sys.exit(exit_code(rows))


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
