"""`redstep replay` and `redstep timeline`: what failing runs have left behind."""

import sys
from pathlib import Path
from typing import Any

import click

from redstep_check import engines, report, runs, stories, timelines
from redstep_check.binding import Target, Unsupported
from redstep_check.commands.common import BROKEN, Trouble, console, engine_name
from redstep_check.commands.explore import replay_schedule
from redstep_check.commands.ways import Way, answers, way_into
from redstep_check.engines import EngineUnavailable
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.lockstep import Mismatch, raised
from redstep_check.registry import GUARDS
from redstep_check.report import Row
from redstep_check.runs import Result, Verdict
from redstep_check.stories import Story


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--engine",
    metavar="NAME|URL",
    callback=engine_name,
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


@click.command("timeline")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT",
    help="Write one self-contained page there instead, to zoom and hover.",
)
def timeline(file: Path, html: Path | None) -> None:
    """Show what was saved as a timeline: a history of concurrent clients, or the story of a failing run.

    Exit codes: 0 shown, 2 no such file.
    """
    try:
        shown = stories.shown(file)
        if html:
            html.write_text(timelines.page(shown), encoding="utf-8")
    except (stories.BadStory, timelines.BadHistory, OSError) as error:
        raise Trouble(str(error)) from error
    click.echo(f"{html} written" if html else timelines.text(shown, width=console().width), nl=bool(html))
