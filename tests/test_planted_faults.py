"""The checker is checked: a fault planted in the shipped text is caught, and its rule named."""

import pytest

from redstep_check.engines import Engine
from redstep_check.registry import GUARDS
from redstep_check.registry.guard import Guard
from redstep_check.runs import Budget, Verdict, run
from redstep_check.shrinking import length
from redstep_check.targets.planted import Fault, NotPlanted, edited, planted

STORY_MOST = {"rate-limiter": 6}
STORY_MOST_ELSE = 8
"""Calls and clock moves that a shrunk story may have."""


@pytest.mark.parametrize(
    ("guard", "fault"),
    [pytest.param(guard, fault, id=f"{guard.name}: {fault.name}") for guard in GUARDS.values() for fault in guard.faults],
)
def test_a_planted_fault_is_caught(engine: Engine, guard: Guard, fault: Fault) -> None:
    """Within the default budget, under the expected rule, with a short story."""
    target = guard.faulty(engine, fault)
    result = run(guard.bench, target, Budget(seed=7))
    target.close()
    assert result.mismatch is not None
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch.rule == fault.rule, result.mismatch
    assert length([told.move for told in result.mismatch.story]) <= STORY_MOST.get(guard.name, STORY_MOST_ELSE)


def test_a_fault_that_no_longer_applies_is_an_error() -> None:
    """An edit must apply exactly once: not nowhere, and not twice."""
    fault = Fault(name="gone", rule="RL-1", file="rate_limiter_zset_acquire.lua", old="no such text", new="")
    with pytest.raises(NotPlanted, match="0 times"):
        planted(fault, "redstep.rate_limiter")
    with pytest.raises(NotPlanted, match="does not use"):
        planted(Fault(name="elsewhere", rule="RL-1", file="redstep.denials", old="x", new=""), "redstep.rate_limiter")
    with pytest.raises(NotPlanted, match="2 times"):
        edited(Fault(name="twice", rule="RL-1", file="x", old="a", new="b"), "aa")
