"""Crashes: a worker dies at any point. Others wait for a lease at most, and the work runs no oftener than it must."""

from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import pytest
from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redstep.idempotency import Acquired, Policy
from redstep.idempotency_errors import FingerprintMismatch, InProgress, NoEffect
from redstep_check.engines import Engine

from .stage import KEY, LEASE_MS, RETENTION_MS
from .workers import Place, World, calls, runs_work


@pytest.fixture
def world(engine: Engine) -> Iterator[World]:
    """An empty store."""
    world = World(engine)
    yield world
    world.close()


# --- the matrix -----------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Death:
    """A point at which a worker dies, and what follows from it."""

    place: Place
    executed: bool
    """Whether its last wish was carried out, and only the answer was lost."""
    begun: int
    """How often it began the work."""
    blocks: bool
    """Whether others wait for its lease to end."""
    completed: bool = False


DEATHS = {
    "before the claim": Death(place=calls("claim"), executed=False, begun=0, blocks=False),
    "before the claim's reply": Death(place=calls("claim"), executed=True, begun=0, blocks=True),
    "after the claim's reply": Death(place=runs_work, executed=False, begun=0, blocks=True),
    "in the midst of the work": Death(place=runs_work, executed=True, begun=1, blocks=True),
    "after the effect": Death(place=calls("complete"), executed=False, begun=1, blocks=True),
    "before the completion's reply": Death(place=calls("complete"), executed=True, begun=1, blocks=False, completed=True),
}
EACH = pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS)


def die(world: World, death: Death) -> None:
    """Have a worker die."""
    worker = world.worker(lambda _: b"first")
    worker.to(death.place)
    if death.executed:
        worker.carry_out()
    assert world.executions == death.begun


@EACH
def test_others_wait_no_longer_than_the_lease(world: World, death: Death) -> None:
    """ID-4: until the very millisecond that the lease ends, and are told how long."""
    die(world, death)
    for passed_ms in (0, 1, LEASE_MS - 1):
        world.now_ms = 5_000 + passed_ms
        if death.blocks:
            assert world.refused_for_ms() == LEASE_MS - passed_ms
    world.now_ms = 5_000 + LEASE_MS
    assert world.refused_for_ms() == 0


@EACH
def test_the_work_runs_once_and_once_more_for_each_lease_that_ended(world: World, death: Death) -> None:
    """ID-3, ID-5: who comes next does it with a higher fence, unless it was completed; then it is given the response."""
    die(world, death)
    if death.blocks:
        with pytest.raises(InProgress):
            world.call()
        world.now_ms += LEASE_MS
    outcome = world.call(lambda _: b"second")
    again = world.call(lambda _: b"third")
    if death.completed:
        assert (outcome.response, outcome.replayed, world.fences) == (b"first", True, [1])
    else:
        assert (outcome.response, outcome.replayed) == (b"second", False)
        assert world.fences == [1] * death.begun + [2 if death.blocks else 1]
    assert (again.response, again.replayed) == (outcome.response, True)
    assert world.executions <= 1 + death.blocks


@EACH
def test_what_the_dead_left_dies_in_its_turn(world: World, death: Death) -> None:
    """ID-4, ID-8: after the retention, from completion or from the end of the lease, the key is new; and not sooner."""
    die(world, death)
    life_ms = RETENTION_MS + LEASE_MS if death.blocks else RETENTION_MS if death.completed else 0
    if life_ms:
        world.now_ms = 5_000 + life_ms - 1
        with pytest.raises(FingerprintMismatch):
            world.call(payload="another")
    world.now_ms = 5_000 + life_ms
    assert world.call(payload="another").replayed is False
    assert world.fences == [1] * (death.begun + 1)


def test_a_completed_key_is_new_after_its_retention(world: World) -> None:
    """ID-8: counted from the completion."""
    worker = world.worker()
    worker.to(calls("complete"))
    world.now_ms += LEASE_MS // 2
    worker.finish()
    world.now_ms += RETENTION_MS - 1
    assert world.call().replayed is True
    world.now_ms += 1
    assert world.call().replayed is False
    assert world.fences == [1, 1]


def test_a_released_key_is_free_at_once(world: World) -> None:
    """ID-5, ID-7: with the next fence, for a retention."""

    def nothing(_: object) -> bytes:
        raise NoEffect

    for _ in range(3):
        with pytest.raises(NoEffect):
            world.call(nothing)
    assert world.call().replayed is False
    assert world.fences == [1, 2, 3, 4]


# --- any number of deaths ---------------------------------------------------------------------------------------------------

ENDS = st.sampled_from([*DEATHS, "finishes", "without effect", "fails"])
TICKS_MS = st.sampled_from([0, 1, LEASE_MS - 1, LEASE_MS, LEASE_MS + 1])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(ENDS, TICKS_MS), max_size=12))
def test_executions_are_bounded(engine: Engine, workers: list[tuple[str, int]]) -> None:
    """ID-3, ID-5: wherever workers end, the work runs once, and once more for each lease that ended and each release."""
    engine.forget()
    world = World(engine, policy=Policy(lease_ms=LEASE_MS))
    lease_ends, releases = 0, 0
    for end, tick_ms in workers:
        before = Record.of(world)
        end_so(world, end)
        if Record.of(world).token != before.token:
            assert before.state != "completed"
            assert before.state != "claimed" or world.now_ms >= before.lease_until_ms
            lease_ends += before.state == "claimed"
            releases += before.state == "released"
        world.now_ms += tick_ms
    world.close()
    assert world.executions <= 1 + lease_ends + releases
    assert world.fences == sorted(set(world.fences))


@frozen
class Record:
    """What is stored, in as far as it tells who may work."""

    state: str
    token: str = ""
    lease_until_ms: int = 0

    @classmethod
    def of(cls, world: World) -> "Record":
        """Read it."""
        text = world.observer.hget(KEY, "claim")
        if text is None:
            return cls("new")
        state, token, _, lease_until_ms, *_ = cast("bytes", text).decode().split()
        return cls(state, token, int(lease_until_ms))


ERRORS: dict[str, type[Exception]] = {"without effect": NoEffect, "fails": ArithmeticError}


def end_so(world: World, end: str) -> None:
    """Have a worker end so, unless somebody else is at the work or has done it."""

    def work(_: Acquired) -> bytes:
        if end in ERRORS:
            raise ERRORS[end]
        return b"done"

    worker = world.worker(work)
    if end not in DEATHS:
        with suppress(InProgress, *ERRORS.values()):
            worker.finish()
        return
    while worker.run.wish is not None and not DEATHS[end].place(worker.run.wish):
        worker.step()
    if worker.run.wish is not None and DEATHS[end].executed:
        worker.carry_out()


def test_the_bound_can_fail(world: World) -> None:
    """Work whose leases are too short for it is done twice, and that counts as a lease that ended."""
    slow = world.worker()
    slow.to(calls("complete"))
    world.now_ms += LEASE_MS
    before = Record.of(world)
    world.call()
    assert world.executions == 2
    assert (before.state, world.now_ms >= before.lease_until_ms) == ("claimed", True)
