"""Failures: a difference as it is handed to people: drawn as a timeline, and saved to be played and drawn again."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define
from rich.console import Console
from rich.text import Text

from redstep_check.interleavings.binding import Concurrent
from redstep_check.interleavings.subjects import Subject
from redstep_check.interleavings.telling import timeline
from redstep_check.interleavings.watching import watch
from redstep_check.lockstep import ImpossibleStory, Mismatch
from redstep_check.stories import SCHEDULE, Story, save, story_of
from redstep_check.timelines import Timeline, text


@define(kw_only=True)
class Failure:
    """A difference, what it looks like, and where its story lies."""

    mismatch: Mismatch
    timeline: Timeline
    story: Story
    again: Sequence[str]
    """The command that finds it once more."""
    saved: Path | None = None
    not_saved: str = ""
    """Why it was not."""

    def save(self, directory: Path) -> None:
        """Save the story, or note why that is not possible."""
        try:
            self.saved = save(self.story, directory)
        except OSError as error:
            self.not_saved = str(error)

    @property
    def commands(self) -> list[tuple[str, Sequence[str]]]:
        """What can be done with it."""
        file = str(self.saved)
        saved = (("replay it", ["replay", file]), ("as a page", ["timeline", file, "--html", "timeline.html"]))
        return [*(saved if self.saved else ()), *([("find it again", self.again)] if self.again else ())]

    def as_json(self) -> dict[str, Any]:
        """The rule, the difference and the file."""
        told = {"rule": self.mismatch.rule, "difference": str(self.mismatch), "saved": str(self.saved) if self.saved else None}
        return {**told, "not_saved": self.not_saved} if self.not_saved else told


def failure(
    subject: Subject,
    target: Concurrent,
    mismatch: Mismatch,
    *,
    engine: str,
    client: str,
    again: Sequence[str] = (),
    seed: int = 0,
    examples: int = 0,
) -> Failure:
    """Have a difference drawn, by playing its story on the target once more."""
    moves = tuple(told.move for told in mismatch.story)
    title = f"{subject.name} on {engine}, {client}"
    try:
        watched = watch(target, subject.sequential, moves)
    except ImpossibleStory:
        watched = watch(target, subject.sequential, ())
    drawn = timeline(subject.sequential, watched, mismatch, title=title)
    story = story_of(
        mismatch,
        guard=subject.name,
        engine=engine,
        client=client,
        seed=seed,
        examples=examples,
        kind=SCHEDULE,
        timeline=drawn,
    )
    return Failure(mismatch=mismatch, timeline=drawn, story=story, again=again)


def print_failure(console: Console, found: Failure) -> None:
    """Tell a difference: the rule, the timeline, and how to see it again."""
    console.print()
    heading, *rest = text(found.timeline, width=console.width).splitlines()
    console.print(Text(heading, style="bold red"), soft_wrap=True)
    for line in rest:
        console.print(Text(line, style="red" if "✗" in line else ""), soft_wrap=True)
    console.print()
    for what, command in found.commands:
        console.print(Text(f"  {what}: {shlex.join(['redstep', *command])}"), soft_wrap=True)
    if found.not_saved:
        console.print(Text(f"  the story could not be saved: {found.not_saved}", style="yellow"), soft_wrap=True)
