"""Every target agrees with the specification, whatever is asked of it in whatever order."""

from collections.abc import Callable

import pytest

from redstep_check.binding import Unsupported
from redstep_check.engines import DEFAULT, NAMES, Engine
from redstep_check.model import ModelRateLimiter
from redstep_check.registry import GUARDS
from redstep_check.runs import Budget, Verdict, run

GUARD = GUARDS["rate-limiter"]
BUDGET = Budget(seed=20_250)
SMALL = Budget(seed=20_250, examples=60)
"""For what differs from the default engine by the wire alone; `redstep check --engine` judges that too."""


def test_the_model_agrees_with_itself() -> None:
    """The machine finds no difference between the specification and itself, and reaches all there is to reach."""
    result = run(GUARD.bench, ModelRateLimiter(), BUDGET)
    assert result.verdict is Verdict.HOLDS, result.mismatch


@pytest.mark.parametrize("client", GUARD.clients)
@pytest.mark.parametrize("engine_name", NAMES)
def test_the_shipped_limiter_agrees_with_the_specification(
    engine_named: Callable[[str], Engine], engine_name: str, client: str
) -> None:
    """No sequence of calls, faults and clocks tells the shipped limiter from the specification."""
    try:
        target = GUARD.target(client)(engine_named(engine_name))
    except Unsupported as reason:
        pytest.skip(str(reason))
    small = engine_name != DEFAULT and not client.endswith("/protocol")
    result = run(GUARD.bench, target, SMALL if small else BUDGET)
    target.close()
    passed = (Verdict.HOLDS, Verdict.NOT_JUDGED) if small else (Verdict.HOLDS,)
    assert result.verdict in passed, result.mismatch or [each.sentence for each in result.missed]


@pytest.mark.parametrize("engine_name", NAMES)
def test_the_naive_limiter_does_not(engine_named: Callable[[str], Engine], engine_name: str) -> None:
    """The tutorials' limiter is caught on every engine, and the story has three calls in one millisecond."""
    target = GUARD.naive(engine_named(engine_name))
    result = run(GUARD.bench, target, BUDGET)
    target.close()
    assert result.mismatch is not None
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch.rule == "RL-2"
    assert [told.move.now_ms for told in result.mismatch.story] == [1_000] * 3
