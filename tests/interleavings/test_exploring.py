"""Exhaustive worlds: what is merged is not lost, what differs is found, and the shipped guards hold in all their schedules."""

import pytest
from attrs import evolve

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds, Node, World
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.subjects import Subject

from .toy import Counter, InMemory, ReadThenWrite

SMALL = Bounds(clients=2, operations=2, faults=1, ticks=1)
LARGE = {"wait", "renew", "no effect", "raises"}
"""Programs that take seconds: `redstep explore` runs them, too."""


@pytest.mark.parametrize(
    ("subject", "variant"),
    [pytest.param(each, variant, id=f"{each.name}: {variant}") for each in SUBJECTS.values() for variant in each.variants],
)
def test_every_schedule_of_a_small_world_holds(engine: Engine, subject: Subject, variant: str) -> None:
    """Two clients, two operations each, one fault: exhausted, for each program, and each kind of fault was met."""
    try:
        target = subject.variants[variant](engine)
    except Unsupported as reason:
        pytest.skip(str(reason))
    hits: set[str] = set()
    for program in subject.sequential.programs(target.features):
        bounds = evolve(SMALL, operations=1) if program in LARGE else SMALL
        found = World(subject.sequential, target, program, bounds).explore()
        assert found.mismatch is None, found.mismatch
        assert found.exhausted
        assert found.schedules > found.states / 10
        hits |= set(found.hits)
    target.close()
    assert hits >= {"delivered", "held", "reply lost", "not sent", "adrift", "cancelled", "crashed", "scripts flushed"}


def paths(world: World, node: Node) -> int:
    """How many schedules there are, with nothing merged."""
    following = []
    for _, after in world._after(node):
        following.append(paths(world, after))
        world.path.clear()
    return sum(following) or 1


@pytest.mark.parametrize("program", ["adds", "reads"])
@pytest.mark.parametrize("faults", [0, 1])
def test_merging_loses_no_schedule(program: str, faults: int) -> None:
    """As many as a search counts that merges nothing; and no more situations than moves."""
    bounds = Bounds(clients=2, operations=2, faults=faults, ticks=1)
    found = World(Counter(), InMemory(), program, bounds).explore()
    plain = World(Counter(), InMemory(), program, bounds)
    assert found.exhausted
    assert found.schedules == paths(plain, Node(plain.stage.opening(2, 1_000), faults, 1))
    assert found.states <= found.moves
    assert found.executions < found.moves


def test_a_foreign_implementation_that_reads_and_then_writes_is_found() -> None:
    """By the first schedule in which somebody comes between."""
    found = World(Counter(), ReadThenWrite(), "adds", Bounds(clients=2, operations=1, faults=0, ticks=0)).explore()
    assert found.mismatch is not None
    assert not found.exhausted
    assert found.schedules == 0
    assert World(Counter(), ReadThenWrite(), "adds", Bounds(clients=1, operations=2, faults=0, ticks=0)).explore().exhausted


def test_a_world_that_is_cut_says_so() -> None:
    """It is not exhausted, and counts no schedules."""
    found = World(Counter(), InMemory(), "adds", Bounds(clients=3, operations=3, faults=2, seconds=0.05)).explore()
    assert not found.exhausted
    assert found.mismatch is None
    assert found.schedules == 0
    assert found.states > 0
