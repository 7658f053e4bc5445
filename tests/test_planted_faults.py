"""The checker is checked: a fault planted in the shipped text is caught, and its rule named."""

from collections.abc import Iterator

import pytest

from redstep_check.engines import Engine, EngineUnavailable, open_engine
from redstep_check.registry import GUARDS
from redstep_check.runs import Budget, Verdict, run
from redstep_check.shrinking import length
from redstep_check.targets.planted import RATE_LIMITER_FAULTS, Fault, NotPlanted, edited, planted
from redstep_check.targets.rate_limiter import ProtocolTarget

STORY_MOST = 6
"""Calls and clock moves that a shrunk story may have."""


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The default engine."""
    try:
        with open_engine("valkey9") as opened:
            yield opened
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("fault", RATE_LIMITER_FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(engine: Engine, fault: Fault) -> None:
    """Within the default budget, under the expected rule, with a short story."""
    target = ProtocolTarget(engine, fault.variant, planted(fault))
    result = run(GUARDS["rate-limiter"].bench, target, Budget(seed=7))
    target.close()
    assert result.mismatch is not None
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch.rule == fault.rule, result.mismatch
    assert length([told.move for told in result.mismatch.story]) <= STORY_MOST


def test_a_fault_that_no_longer_applies_is_an_error() -> None:
    """An edit must apply exactly once: not nowhere, and not twice."""
    fault = Fault(name="gone", rule="RL-1", file="rate_limiter_zset_acquire.lua", old="no such text", new="")
    with pytest.raises(NotPlanted, match="0 times"):
        planted(fault)
    with pytest.raises(NotPlanted, match="2 times"):
        edited(Fault(name="twice", rule="RL-1", file="x", old="a", new="b"), "aa")
