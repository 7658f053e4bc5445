"""
`redstep stress`: the shipped clients under threads, tasks and processes on a real engine, recorded and judged.

With `--planted` known bugs are planted in the clients, one after the other: each must be found.

Exit codes are those of the other commands: 0 all holds, 1 a rule is broken (or a planted bug was not found), 2 misuse or no
engine, 3 vacuous or undecided, 130 interrupted.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import redis
from attrs import evolve
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from redstep_check import timelines
from redstep_check.binding import Unsupported
from redstep_check.commands.common import INTERRUPTED, MISUSE, console, engine_option, finite, json_option, save_option
from redstep_check.engines import Engine, EngineUnavailable, open_engine
from redstep_check.stress import telling
from redstep_check.stress.judging import BROKEN, Tally, verdict_of
from redstep_check.stress.registry import STRESSED
from redstep_check.stress.running import Wish, run
from redstep_check.stress.slices import MODES, ClientDied
from redstep_check.stress.telling import FOUND, NOT_FOUND, SKIPPED, Row, exit_code, facts, table

PLANTED_S, PLANTED_SLICE_S = 6.0, 0.5
"""How long a planted bug is looked for at most, unless it is said otherwise, and how often."""
RUN_S = 30.0
VARIANTS = tuple(dict.fromkeys(variant for guard in STRESSED.values() for variant in guard.variants))


@click.command(name="stress", epilog=f"Guards: {', '.join(STRESSED)}.")
@click.argument("guard", type=click.Choice(tuple(STRESSED)), metavar="GUARD")
@click.option("--clients", type=click.IntRange(2, 256), default=16, show_default=True, help="How many clients there are.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    callback=finite,
    metavar="S",
    help=f"How long they run, shared out evenly between variants and modes; judging is added.  [default: {RUN_S:.0f};"
    f" for each planted bug at most {PLANTED_S:.0f}]",
)
@click.option("--kill", "kills", is_flag=True, help="Kill processes, and cut the connections of threads and tasks.")
@click.option(
    "--mode", "modes", multiple=True, type=click.Choice(MODES), help="What clients are; may be repeated.  [default: all]"
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(VARIANTS),
    help="What of the implementation; may be repeated.  [default: all]",
)
@click.option(
    "--clock",
    type=click.Choice(("explicit", "engine")),
    default="explicit",
    show_default=True,
    help="Whose time decides. Under the engine's own, what depends on time is held against one-sided laws only.",
)
@engine_option
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what clients draw; not of who is first.")
@click.option("--planted", is_flag=True, help="Plant the known bugs, one after the other: each must be found.")
@save_option("the history of a broken rule is saved, for `redstep timeline`")
@json_option
def stress(
    guard: str,
    clients: int,
    seconds: float | None,
    kills: bool,
    modes: tuple[str, ...],
    variants: tuple[str, ...],
    clock: str,
    engine: str,
    seed: int,
    planted: bool,
    save: Path,
    as_json: bool,
) -> None:
    """Run the shipped clients of GUARD on many threads, tasks and processes, and judge what they were answered.

    Every request is recorded by the connection that it goes over. Those about one key must be linearizable by the
    specification, those of one call must make up what its caller was told, and the audit chain and the idempotency store are
    held against laws of their own. A run that did not reach what it is about goes on, for three times its time at most.

    Exit codes: 0 all holds, 1 a rule is broken, 2 misuse or no engine, 3 vacuous or undecided, 130 interrupted.
    """
    known = STRESSED[guard]
    for variant in variants:
        if variant not in known.variants:
            raise click.UsageError(f"{guard} has no variant {variant!r}, but {', '.join(known.variants)}.")
    if planted and (kills or clock == "engine"):
        raise click.UsageError("--planted kills where a bug needs it, and has an explicit clock: leave out --kill and --clock.")
    first = Wish(guard=known, variant="", mode="", clients=clients, seconds=0, kills=kills, seed=seed)
    first = evolve(first, is_explicit=clock == "explicit")
    wishes = (_planted if planted else _shipped)(first, variants, modes, seconds)
    if not wishes:
        raise click.UsageError(f"no bug of {guard} is known in {', '.join(variants)}.")
    rows: list[Row] = []
    try:
        with open_engine(engine) as opened:
            rows.extend(_run(wish, opened, save) for wish in wishes)  # those that were run are told after Ctrl-C, too
    except KeyboardInterrupt:
        _tell(guard, rows, as_json=as_json)
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except (EngineUnavailable, ClientDied, redis.RedisError, OSError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(MISUSE)
    _tell(guard, rows, as_json=as_json)
    if all(row.verdict == SKIPPED for row in rows):
        click.echo("Error: nothing was run: " + "; ".join(dict.fromkeys(row.reason for row in rows)), err=True)
        sys.exit(MISUSE)
    sys.exit(exit_code(rows))


def _shipped(first: Wish, variants: tuple[str, ...], modes: tuple[str, ...], seconds: float | None) -> list[Wish]:
    """Each variant in each mode, for its share of the time."""
    ways = [(variant, mode) for variant in variants or first.guard.variants for mode in dict.fromkeys(modes or MODES)]
    share = (seconds or RUN_S) / len(ways)
    return [evolve(first, variant=variant, mode=mode, seconds=share) for variant, mode in ways]


def _planted(first: Wish, variants: tuple[str, ...], modes: tuple[str, ...], seconds: float | None) -> list[Wish]:
    """Each bug in the first mode, with kills if it takes them."""
    mode = modes[0] if modes else MODES[0]
    bugs = [bug for bug in first.guard.bugs if not variants or bug.variant in variants]
    common = evolve(first, mode=mode, seconds=seconds or PLANTED_S, slice_s=PLANTED_SLICE_S)
    return [evolve(common, variant=bug.variant, bug=bug.name, kills=bug.needs_kills) for bug in bugs]


def _run(wish: Wish, engine: Engine, save: Path) -> Row:
    try:
        with _progress(wish) as on_progress:
            tally = run(wish, engine, on_progress)
    except Unsupported as reason:
        return Row(wish=wish, engine=engine.name, verdict=SKIPPED, reason=str(reason))
    if wish.bug:
        rules = next(bug.rules for bug in wish.guard.bugs if bug.name == wish.bug)
        is_found = tally.broken is not None and tally.broken.rule in rules
        return Row(wish=wish, engine=engine.name, verdict=FOUND if is_found else NOT_FOUND, tally=tally)
    verdict, missed = verdict_of(wish.guard, wish.variant, tally, kills=wish.kills)
    saved = _save(wish, tally, save) if verdict == BROKEN else ""
    return Row(wish=wish, engine=engine.name, verdict=verdict, tally=tally, missed=missed, saved=saved)


def _save(wish: Wish, tally: Tally, directory: Path) -> str:
    """Save the history of a broken rule; return where, or nothing if that can't be."""
    path = directory / f"stress-{wish.guard.name}-{wish.variant}-{wish.mode}-{wish.seed}.json"
    try:
        return str(timelines.save(tally.broken.timeline, path)) if tally.broken else ""
    except OSError as error:
        click.echo(f"  the history could not be saved: {error}", err=True)
        return ""


@contextmanager
def _progress(wish: Wish) -> Iterator[Callable[[str, Tally], object]]:
    """Show a bar on a terminal, nothing elsewhere."""
    stderr = console(to_stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        name = " ".join(filter(None, (wish.guard.name, wish.variant, wish.mode, wish.bug)))
        task = bar.add_task(name, total=wish.seconds, told="")

        def show(what: str, tally: Tally) -> None:
            bar.update(task, completed=tally.seconds, told=f"{what}, {tally.operations:,} operations, {tally.lost:,} lost")

        yield show


def _tell(guard: str, rows: list[Row], *, as_json: bool) -> None:
    """Print what the runs came to; on paper nothing, if there was none."""
    if as_json:
        click.echo(json.dumps(telling.as_json(guard, rows), indent=1))
        return
    if not rows:
        return
    out = console()
    out.print(table(rows))
    for row in rows:
        if row.tally and row.tally.facts:
            out.print(facts(row), markup=False)
    for row in rows:
        if row.verdict == BROKEN and row.tally and row.tally.broken:
            out.print(f"\n{guard}, {row.wish.variant}, {row.wish.mode}: broken {row.tally.broken.rule}", style="bold red")
            out.print(f"{row.tally.broken.problem}\n", markup=False)
            click.echo(timelines.text(row.tally.broken.excerpt, width=out.width), nl=False)
            if row.saved:
                click.echo(f"\n  look at it: redstep timeline {row.saved}")
