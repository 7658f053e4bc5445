"""`redstep replay` and `redstep timeline`: what failing runs have left behind."""

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import click
from attrs import evolve

from redstep_check import engines, report, runs, stories, timelines
from redstep_check.binding import Unsupported
from redstep_check.commands.common import BROKEN, Trouble, console, engine_name
from redstep_check.commands.ways import answers, way_into
from redstep_check.engines import Engine, EngineUnavailable
from redstep_check.interleavings.failures import print_failure
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.replaying import replayed, require_moves, target_of
from redstep_check.lockstep import ImpossibleStory, raised
from redstep_check.registry import GUARDS
from redstep_check.report import Row
from redstep_check.runs import Result, Verdict
from redstep_check.stories import BadStory, Story
from redstep_check.timelines import BadHistory
from redstep_check.timelines.values import printable


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

    A story says what it is played on: a server that is connected to, and perhaps a module of your own that is imported. So
    trust a story from elsewhere as you would trust a program, or look at it with `redstep timeline`, which does neither.

    Exit codes: 0 no difference any more, 1 a rule is still broken, 2 misuse or no engine, 130 interrupted.
    """
    try:
        story = _read(file, engine)
        play = _play_schedule if story.kind == stories.SCHEDULE else _play_calls
        is_broken = play(story, file)
    except BadStory as error:
        raise Trouble(printable(str(error))) from error
    except (EngineUnavailable, Unsupported, LookupError, ValueError, OSError) as error:
        raise Trouble(printable(f"{file}: {error}")) from error
    sys.exit(BROKEN if is_broken else 0)


def _read(file: Path, engine: str | None) -> Story:
    """The story in a file, on another engine if there is one. Raises BadStory, ValueError, OSError."""
    of_calls, of_schedules = ({name: each.kinds for name, each in known.items()} for known in (GUARDS, SUBJECTS))
    story = stories.load(file, of_calls, of_schedules)
    if engine is None and "***" in story.engine:
        raise ValueError(f"the password of {story.engine} was not saved: give the URL with --engine")
    return evolve(story, engine=engine or story.engine)


def _play_calls(story: Story, file: Path) -> bool:
    """Make one call after the other; tell what it comes to, and whether that is a difference."""
    way = way_into(GUARDS[story.guard], story.client)
    with engines.open_engine(story.engine) as engine, way.opened(engine) as target, _playable():
        mismatch = runs.replayed(way.guard.bench, target, story.moves)
        answers(engine)
        if mismatch is None:
            return _holds(story, engine)
        result = Result(seed=story.seed, batch=story.examples, to_reach=(), mismatch=mismatch, verdict=Verdict.BROKEN)
        row = Row(guard=story.guard, engine=engine.name, client=story.client, result=result, saved=str(file))
        report.print_failure(console(), way.guard, row, result, mismatch)
    return True


def _play_schedule(story: Story, file: Path) -> bool:
    """Make the moves of several clients; tell what they come to, and whether that is a difference."""
    subject = SUBJECTS[story.guard]
    require_moves(subject, story)
    with (
        engines.open_engine(story.engine) as engine,
        closing(target_of(subject, story.client, engine)) as target,
        _playable(),
    ):
        try:
            found = replayed(subject, target, story, engine)
        except ImpossibleStory as error:
            told = f"{file}: nothing differs until the clients take other steps than they did: {error}"
            click.echo(printable(told))
            return False
        if found is None:
            return _holds(story, engine)
        found.saved = file
        print_failure(console(), found)
    return True


@contextmanager
def _playable() -> Iterator[None]:
    """Whatever is raised while a story is played and told is for the story to answer for."""
    try:
        yield
    except click.ClickException:
        raise
    except Exception as error:
        raise ValueError(f"the story can't be played: {raised(error)}") from error


def _holds(story: Story, engine: Engine) -> bool:
    click.echo(printable(f"{len(story.moves)} moves on {engine.name}, no difference: {story.rule} holds here."))
    return False


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

    Exit codes: 0 shown, 2 no such file, 130 interrupted.
    """
    try:
        shown = stories.shown(file)
        told = timelines.page(shown) if html else timelines.text(shown, width=console().width)
        if html:
            html.write_bytes(told.encode())
    except (BadStory, BadHistory, OSError) as error:
        raise Trouble(printable(str(error))) from error
    click.echo(f"{html} written" if html else told, nl=bool(html))
