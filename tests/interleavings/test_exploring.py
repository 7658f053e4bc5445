"""Exhaustive worlds: what is merged is not lost, what differs is found, and the shipped guards hold in all their schedules."""

import hashlib
from typing import Any

import pytest
from attrs import evolve

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds, Found, Node, World
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.subjects import Subject
from redstep_check.interleavings.tallies import Tally

from .toy import Add, Counter, Get, InMemory, ReadsTheClockThenAdds, ReadThenWrite, Retries

SMALL = Bounds(clients=2, operations=2, faults=1, ticks=1)
UNKNOWN = "no operation ended in an unknown outcome"
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
        hits |= set(found.tally.hits)
    target.close()
    assert hits >= {
        "delivered",
        "held",
        "reply lost",
        "not sent",
        "adrift",
        "cancelled",
        "abandoned",
        "crashed",
        "scripts flushed",
    }


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


@pytest.mark.parametrize("meanwhile", [(), (Get(),), (Add(2),), (Get(), Get())])
def test_what_is_sent_again_after_an_unknown_outcome_is_found(meanwhile: tuple[Any, ...]) -> None:
    """CM-4, whatever was asked since; who asks something else instead breaks nothing."""
    alone = Bounds(clients=1, operations=1, faults=1, ticks=0)
    found = World(Counter(), Retries(*meanwhile), "adds", alone).explore()
    assert found.mismatch is not None
    assert found.mismatch.rule == "CM-4"
    assert World(Counter(), Retries(*meanwhile), "adds", evolve(alone, faults=0)).explore().exhausted


def test_time_passes_though_nothing_is_going_to_end() -> None:
    """A clock that was read before is late, be it by a millisecond, and be the store empty."""
    alone = Bounds(clients=1, operations=1, faults=0, ticks=1)
    found = World(Counter(), ReadsTheClockThenAdds(), "adds", alone).explore()
    assert found.mismatch is not None
    assert World(Counter(), ReadsTheClockThenAdds(), "adds", evolve(alone, ticks=0)).explore().exhausted


def test_a_request_adrift_arrives_at_any_time() -> None:
    """Also when its client has gone on, and is through with everything."""
    world = World(Counter(), InMemory(), "adds", Bounds(clients=1, operations=2, faults=1, ticks=1))
    assert world.explore().exhausted
    times_ms = [now_ms for state, request, now_ms, _ in world.engine._known if (state, request) == (2, Add(1))]
    assert sorted(times_ms) == [1_000, 1_001, 2_000]


def test_a_world_that_is_cut_says_so() -> None:
    """It is not exhausted, and counts no schedules."""
    found = World(Counter(), InMemory(), "adds", Bounds(clients=3, operations=3, faults=2, seconds=0.05)).explore()
    assert not found.exhausted
    assert found.mismatch is None
    assert found.schedules == 0
    assert found.states > 0


def test_the_same_world_is_explored_the_same_way(engine: Engine) -> None:
    """Situation for situation and move for move, twice: every figure but the time is the same, and so are all executions."""
    subject = SUBJECTS["circuit-breaker"]
    target = subject.variants["shared"](engine)
    program = next(iter(subject.sequential.programs(target.features)))

    def traced() -> tuple[str, Found]:
        world = World(subject.sequential, target, program, SMALL)
        found = world.explore()
        return hashlib.sha256(repr(list(world.engine._known.items())).encode()).hexdigest(), found

    first, second = traced(), traced()
    target.close()
    assert first[0] == second[0]
    assert evolve(first[1], seconds=0) == evolve(second[1], seconds=0)


def test_what_a_world_did_not_meet_is_told() -> None:
    """Clients that wait for one another do not overlap; without a budget no fault hits; with both nothing is missing."""

    def missing(**bounds: int) -> list[str]:
        found = World(Counter(), InMemory(), "reads", Bounds(**bounds)).explore()
        return list(found.tally.missing(found.features, faults_allowed=found.bounds.faults > 0))

    assert any("nothing overlapped" in each for each in missing(clients=1))
    untouched = list(Tally(overlapping=1).missing({"idempotent"}))
    assert untouched == ["never hit: reply lost, not sent, adrift, twice, cancelled, abandoned, crashed", UNKNOWN]
    assert list(Tally(overlapping=1, took_effect=1).missing(set()))[1:] == [
        "each operation of unknown outcome had taken effect"
    ]
    assert list(Tally(overlapping=1, took_none=1).missing(set()))[1:] == ["no operation of unknown outcome had taken effect"]
    assert missing(clients=1, faults=0)[-1] == "no fault was allowed"
    assert missing(clients=2, faults=0) == ["no fault was allowed"]
    assert missing(clients=2) == []


def test_unknown_outcomes_are_counted_by_what_had_changed() -> None:
    """One request, whose reply is lost, or that was given up on its way: it took effect, had none, or takes one late."""
    tally = World(Counter(), InMemory(), "adds", Bounds(clients=1, operations=1, faults=1, ticks=0)).explore().tally
    assert (tally.took_effect, tally.took_none, tally.took_effect_late) == (1, 1, 1)
    assert tally.faults["adrift"] == 1
    assert tally.not_hit({"idempotent"}) == ["twice"]
    assert tally.not_hit(set()) == []
