"""Every target agrees with the specification, whatever is asked of it in whatever order."""

from collections.abc import Callable

import pytest

from redstep_check.binding import Unsupported
from redstep_check.engines import DEFAULT, NAMES, Engine
from redstep_check.registry import GUARDS
from redstep_check.registry.guard import Guard
from redstep_check.runs import Budget, Verdict, run
from redstep_check.shrinking import length

BUDGET = Budget(seed=20_250)
SMALL, SMALLER = Budget(seed=20_250, examples=40), Budget(seed=20_250, examples=10)
"""For what differs from the default engine by the engine or the wire, or by both; `redstep check` goes further."""
EACH_GUARD = pytest.mark.parametrize("guard", GUARDS.values(), ids=lambda guard: guard.name)


@EACH_GUARD
def test_the_model_agrees_with_itself(guard: Guard) -> None:
    """The machine finds no difference between the specification and itself, and reaches all there is to reach."""
    result = run(guard.bench, guard.model(), BUDGET)
    assert result.verdict is Verdict.HOLDS, result.mismatch or [each.sentence for each in result.missed]


@pytest.mark.parametrize(
    ("guard", "client"),
    [pytest.param(guard, client, id=f"{guard.name}-{client}") for guard in GUARDS.values() for client in guard.clients],
)
@pytest.mark.parametrize("engine_name", NAMES)
def test_what_ships_agrees_with_the_specification(
    engine_named: Callable[[str], Engine], engine_name: str, guard: Guard, client: str
) -> None:
    """No sequence of calls, faults and clocks tells a shipped guard from its specification."""
    try:
        target = guard.target(client)(engine_named(engine_name))
    except Unsupported as reason:
        pytest.skip(str(reason))
    budget = [BUDGET, SMALL, SMALLER][(engine_name != DEFAULT) + (not client.endswith("/protocol"))]
    result = run(guard.bench, target, budget)
    target.close()
    passed = (Verdict.HOLDS,) if budget is BUDGET else (Verdict.HOLDS, Verdict.NOT_JUDGED)
    assert result.verdict in passed, result.mismatch or [each.sentence for each in result.missed]


@EACH_GUARD
@pytest.mark.parametrize("engine_name", NAMES)
def test_what_everybody_writes_first_does_not(engine_named: Callable[[str], Engine], engine_name: str, guard: Guard) -> None:
    """The naive script of each guard is caught on every engine, under the rule it breaks first, by the shortest story."""
    target = guard.naive.target(engine_named(engine_name))
    result = run(guard.bench, target, BUDGET)
    target.close()
    assert result.mismatch is not None
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch.rule == guard.naive.rule
    assert length([told.move for told in result.mismatch.story]) == guard.naive.story
