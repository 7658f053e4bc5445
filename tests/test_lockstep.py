"""Every target agrees with the specification, whatever is asked of it in whatever order."""

import pytest

from redstep_check.engines import NAMES, EngineUnavailable, open_engine
from redstep_check.model import ModelRateLimiter
from redstep_check.registry import GUARDS
from redstep_check.runs import Budget, Verdict, run

GUARD = GUARDS["rate-limiter"]
BUDGET = Budget(seed=20_250)


def test_the_model_agrees_with_itself() -> None:
    """The machine finds no difference between the specification and itself, and reaches all there is to reach."""
    result = run(GUARD.bench, ModelRateLimiter(), BUDGET)
    assert result.verdict is Verdict.HOLDS, result.mismatch


@pytest.mark.parametrize("client", GUARD.clients)
@pytest.mark.parametrize("engine_name", NAMES)
def test_the_shipped_limiter_agrees_with_the_specification(engine_name: str, client: str) -> None:
    """No sequence of calls, faults and clocks tells the shipped limiter from the specification."""
    try:
        with open_engine(engine_name) as engine:
            target = GUARD.target(client)(engine)
            try:
                result = run(GUARD.bench, target, BUDGET)
            finally:
                target.close()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    assert result.verdict is Verdict.HOLDS, result.mismatch or [each.sentence for each in result.missed]


@pytest.mark.parametrize("engine_name", NAMES)
def test_the_naive_limiter_does_not(engine_name: str) -> None:
    """The tutorials' limiter is caught on every engine, and the story has three calls in one millisecond."""
    try:
        with open_engine(engine_name) as engine:
            target = GUARD.naive(engine)
            result = run(GUARD.bench, target, BUDGET)
            target.close()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    assert result.mismatch is not None
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch.rule == "RL-2"
    assert [told.move.now_ms for told in result.mismatch.story] == [1_000] * 3
