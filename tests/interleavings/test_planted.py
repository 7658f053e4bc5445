"""The checker is checked: bugs that only interleavings show are found, shrunk, named by their rule, and replayed."""

from pathlib import Path
from typing import Any

import pytest

from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds, World
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Settles
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.simpler import switches
from redstep_check.interleavings.subjects import Bug, Subject
from redstep_check.lockstep import ImpossibleStory, Mismatch
from redstep_check.runs import Budget, Verdict, replayed, run
from redstep_check.stories import load, save, story_of

SCHEDULES_MAX = 2_000
CLIENTS_MAX, OPERATIONS_MAX = 3, 6
BUGS = [pytest.param(subject, bug, id=f"{subject.name}: {bug.name}") for subject in SUBJECTS.values() for bug in subject.bugs]
LATE = {
    "an unknown outcome called definite",
    "a report credited to a later epoch",
    "a probe's report credited to a later epoch",
    "a permit lost on cancel at the report",
    "a permit lost on cancel at a neutral report",
    "a refusal after a lost reply called definite",
}
"""What takes hundreds of drawn schedules: `redstep explore --planted` draws them."""


def clients_of(mismatch: Mismatch) -> set[int]:
    """Who takes part in a story."""
    return {told.move.client for told in mismatch.story if isinstance(told.move, Begins | Goes)}


def operations_of(mismatch: Mismatch) -> int:
    """How many operations a story has."""
    return sum(isinstance(told.move, Begins) for told in mismatch.story)


@pytest.mark.parametrize(("subject", "bug"), BUGS)
def test_an_exhausted_world_shows_a_bug(engine: Engine, subject: Subject, bug: Bug, tmp_path: Path) -> None:
    """Under its rule, in few operations of few clients; the story survives a file, and still shows it."""
    target = bug.make(engine)
    bounds = Bounds(clients=bug.clients, operations=2, faults=bug.faults, ticks=bug.ticks)
    rules: list[str] = []
    for program in subject.sequential.programs(target.features):
        found = World(subject.sequential, target, program, bounds).explore()
        if found.mismatch is None:
            continue
        shrunk = subject.shrunk(target, found.mismatch)
        assert shrunk is not None
        rules.append(shrunk.rule)
        if shrunk.rule == bug.rule:
            break
    else:
        pytest.fail(f"{bug.rule} is none of {rules}")
    assert len(clients_of(shrunk)) <= CLIENTS_MAX
    assert operations_of(shrunk) <= OPERATIONS_MAX
    assert switches([told.move for told in shrunk.story]) <= 2 * operations_of(shrunk)
    story = story_of(shrunk, guard=subject.name, engine="valkey9", client=bug.variant, seed=0, examples=0)
    read = load(save(story, tmp_path), {subject.name: subject.kinds})
    again = replayed(subject.bench(), target, read.moves)
    target.close()
    assert again is not None
    assert (again.rule, again.what) == (shrunk.rule, shrunk.what)


@pytest.mark.parametrize(("subject", "bug"), [each for each in BUGS if each.values[1].name not in LATE])  # type: ignore[union-attr]
def test_drawn_schedules_show_a_bug(engine: Engine, subject: Subject, bug: Bug) -> None:
    """Within so many of them."""
    target = bug.make(engine)
    result = run(subject.bench(), target, Budget(examples=SCHEDULES_MAX, seed=3))
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch is not None
    assert result.mismatch.rule in {bug.rule, *bug.also}, result.mismatch
    assert result.examples <= SCHEDULES_MAX
    assert len(clients_of(result.mismatch)) <= CLIENTS_MAX
    assert operations_of(result.mismatch) <= OPERATIONS_MAX
    target.close()


@pytest.mark.parametrize("move", [Goes(0, Fate.DELIVERED, 1_000), Arrives(0, 1_000), Settles(0)])
def test_what_cannot_happen_is_no_story(engine: Engine, move: Any) -> None:
    """A client that waits for nothing, a request that is not adrift, a clock that steps back."""
    subject = SUBJECTS["rate-limiter"]
    target = subject.variants["zset"](engine)
    with pytest.raises(ImpossibleStory):
        replayed(subject.bench(), target, (move,))
    target.close()
