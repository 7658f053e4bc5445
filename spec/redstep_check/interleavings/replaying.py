"""Replaying: a saved story of several clients, played on what it was found on, be that a variant or a planted bug."""

from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Concurrent
from redstep_check.interleavings.failures import Failure, failure
from redstep_check.interleavings.moves import Begins, Move
from redstep_check.interleavings.subjects import Subject
from redstep_check.interleavings.watching import watch
from redstep_check.stories import Story

PLANTED = "planted: "
"""Before the name of a bug, where otherwise the name of a variant stands, and of a program after it."""


def require_moves(subject: Subject, story: Story) -> None:
    """Make sure that a story is made of what clients do. Raises ValueError."""
    odd = [move for move in story.moves if not _is_move(subject, move)]
    if odd:
        raise ValueError(f"{odd[0]!r} is no move of {subject.name} clients")


def _is_move(subject: Subject, move: object) -> bool:
    return isinstance(move.operation, subject.operations) if isinstance(move, Begins) else isinstance(move, Move)


def target_of(subject: Subject, client: str, engine: Engine) -> Concurrent:
    """What a story was found on. Raises LookupError for what there is not, Unsupported, and what the engine raises."""
    if client.startswith(PLANTED):
        name = client.removeprefix(PLANTED)
        bug = next((each for each in subject.bugs if each.name == name), None)
        if bug is None:
            raise LookupError(f"{subject.name} has no planted bug {name!r}")
        return bug.make(engine)
    variant = client.partition(",")[0]
    if variant not in subject.variants:
        raise LookupError(f"{subject.name} has no variant {variant!r}, but {', '.join(subject.variants)}")
    return subject.variants[variant](engine)


def replayed(subject: Subject, target: Concurrent, story: Story, engine: Engine) -> Failure | None:
    """Play a story; the difference that it shows, if it still does. Raises ImpossibleStory."""
    found = watch(target, subject.sequential, story.moves).mismatch
    return None if found is None else failure(subject, target, found, engine=engine.name, client=story.client)
