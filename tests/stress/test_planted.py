"""Known bugs: each is planted in the shipped clients, and must be found."""

import pytest

from redstep_check.engines import Engine
from redstep_check.stress.binding import Planted, Stressed
from redstep_check.stress.registry import STRESSED
from redstep_check.stress.running import Wish, run
from redstep_check.stress.slices import PROCESSES, TASKS, THREADS
from redstep_check.targets.stressed import audit_chain, circuit_breaker, idempotency, rate_limiter

BUGS = [pytest.param(guard, bug, id=f"{guard.name}: {bug.name}") for guard in STRESSED.values() for bug in guard.bugs]
SECONDS, SLICE_S, CLIENTS = 8.0, 0.4, 8


def found(guard: Stressed, bug: Planted, mode: str, engine: Engine) -> str:
    """The rule that a bug was found out by; empty if it was not."""
    wish = Wish(
        guard=guard,
        variant=bug.variant,
        mode=mode,
        clients=CLIENTS,
        seconds=SECONDS,
        kills=bug.needs_kills,
        bug=bug.name,
        slice_s=SLICE_S,
    )
    tally = run(wish, engine, lambda *_: None)
    return tally.broken.rule if tally.broken else ""


@pytest.mark.parametrize(("guard", "bug"), BUGS)
def test_a_planted_bug_is_found(engine: Engine, guard: Stressed, bug: Planted) -> None:
    """Under a rule that it breaks."""
    assert found(guard, bug, THREADS, engine) in bug.rules


@pytest.mark.parametrize("mode", [TASKS, PROCESSES])
def test_the_naive_limiter_is_found_by_tasks_and_processes_too(engine: Engine, mode: str) -> None:
    """Bugs are planted in the clients of whatever process there is."""
    guard = STRESSED["rate-limiter"]
    assert found(guard, guard.bugs[0], mode, engine) in guard.bugs[0].rules


def test_every_guard_has_the_one_that_reads_and_then_writes() -> None:
    """And no bug breaks nothing."""
    for guard in STRESSED.values():
        assert "read, then write" in {bug.name for bug in guard.bugs}
        assert all(bug.rules and bug.variant in guard.variants for bug in guard.bugs)


def test_the_bugs_told_are_those_planted() -> None:
    """Guard by guard."""
    for module, guard in zip((rate_limiter, circuit_breaker, audit_chain, idempotency), STRESSED.values(), strict=True):
        assert tuple(bug.planted for bug in module.BUGS) == guard.bugs
