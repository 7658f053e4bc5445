"""Foreign limiters under the scheduler: the sound hold in every schedule, the others are found, in a story that is short."""

import pytest

from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds, World
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.rate_limiter import Take
from redstep_check.interleavings.moves import Begins, Fate, Goes
from redstep_check.interleavings.session import START_MS
from redstep_check.lockstep import Mismatch
from redstep_check.runs import Budget, Verdict, replayed, run

from . import bound

SMALL = Bounds(clients=2, operations=2, faults=1, ticks=1)
CLIENTS_MAX, OPERATIONS_MAX = 3, 6
FAULTY = [
    (bound.Naive, {"RL-2", "RL-1", "RL-14"}),
    (bound.SyncNaive, {"RL-2", "RL-1", "RL-14"}),
    (bound.Transaction, {"RL-3"}),
    (bound.Retrying, {"CM-4"}),
    (bound.SyncRetrying, {"CM-4"}),
    (bound.Declared, {"CM-4"}),
    (bound.ClientRetries, {"CM-4"}),
    (bound.SyncClientRetries, {"CM-4"}),
]


def require_short(found: Mismatch) -> None:
    """A story that a person can follow."""
    moves = [told.move for told in found.story]
    assert len({each.client for each in moves if isinstance(each, Begins | Goes)}) <= CLIENTS_MAX
    assert sum(isinstance(each, Begins) for each in moves) <= OPERATIONS_MAX


@pytest.mark.parametrize("kind", [bound.Script, bound.SyncScript, bound.StoresTime])
def test_a_sound_limiter_holds_in_every_schedule(engine: Engine, kind: type[Foreign]) -> None:
    """Two clients, two calls each, one fault, one tick: exhausted, and as many schedules for each of them."""
    target = kind(engine)
    found = target.world("plain", SMALL).explore()
    target.close()
    assert found.mismatch is None, found.mismatch
    assert found.exhausted
    assert (found.states, found.schedules) == (945, 3_864)


@pytest.mark.parametrize("kind", [bound.Script, bound.SyncScript])
def test_a_sound_limiter_holds_in_drawn_schedules(engine: Engine, kind: type[Foreign]) -> None:
    """And they reach all that they are to reach: overlap, each kind of fault, a forgotten script."""
    target = kind(engine)
    result = run(target.subject.bench(), target, Budget(examples=100, seed=3))
    target.close()
    assert result.mismatch is None, result.mismatch
    assert result.verdict is Verdict.HOLDS
    assert not result.missed


@pytest.mark.parametrize(("kind", "rules"), FAULTY, ids=lambda each: getattr(each, "__name__", ""))
def test_a_faulty_limiter_is_found_in_a_small_world(engine: Engine, kind: type[Foreign], rules: set[str]) -> None:
    """Under its rule; the shortest story of it is short, and shows it again."""
    target = kind(engine)
    bounds = Bounds(clients=2, operations=2, faults=int("CM-4" in rules), ticks=0)
    found = target.world("plain", bounds).explore()
    assert found.mismatch is not None
    shrunk = target.subject.shrunk(target, found.mismatch)
    assert shrunk is not None
    assert shrunk.rule in rules
    require_short(shrunk)
    again = replayed(target.subject.bench(), target, tuple(told.move for told in shrunk.story))
    target.close()
    assert again is not None
    assert (again.rule, again.what) == (shrunk.rule, shrunk.what)


@pytest.mark.parametrize(("kind", "rules"), FAULTY, ids=lambda each: getattr(each, "__name__", ""))
def test_a_faulty_limiter_is_found_in_drawn_schedules(engine: Engine, kind: type[Foreign], rules: set[str]) -> None:
    """Within a hundred of them."""
    target = kind(engine)
    result = run(target.subject.bench(), target, Budget(examples=100, seed=3))
    target.close()
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch is not None
    assert result.mismatch.rule in rules, result.mismatch
    require_short(result.mismatch)


def test_over_admission_takes_two_clients(engine: Engine) -> None:
    """Read, then write is right as long as nobody comes between; the world with one client is exhausted."""
    target = bound.Naive(engine)
    alone = target.world("plain", Bounds(clients=1, operations=3, faults=0, ticks=0)).explore()
    both = target.world("plain", Bounds(clients=2, operations=2, faults=0, ticks=0)).explore()
    target.close()
    assert alone.mismatch is None, alone.mismatch
    assert alone.exhausted
    assert both.mismatch is not None
    assert (both.mismatch.rule, both.mismatch.what) == ("RL-2", "allowed")


def test_what_is_idempotent_is_executed_twice(engine: Engine) -> None:
    """A naive limiter's look at what is left; one call alone stays right whatever becomes of its requests."""
    target = bound.Naive(engine)
    world = target.world("plain", Bounds(clients=1, operations=1, faults=1, ticks=0))
    situation, _ = world.stage.after(world.stage.opening(1, START_MS), Begins(0, Take(), START_MS))
    _, event = world.stage.after(situation, Goes(0, Fate.TWICE, START_MS))
    assert len(event.executed) == 2
    result = world.explore()
    target.close()
    assert result.mismatch is None, result.mismatch
    assert result.exhausted


def test_what_a_store_holds_beyond_the_specification_is_not_merged_away(engine: Engine) -> None:
    """Beside the state alone, a name that an operation drew stands where it will draw it, and is taken for a difference."""
    target = bound.Script(engine)
    merged = World(target.specification, target, "plain", SMALL).explore()
    assert merged.mismatch is not None
    assert target.subject.shrunk(target, merged.mismatch) is None
    target.close()
