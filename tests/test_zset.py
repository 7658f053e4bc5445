"""What lockstep is too small for: a cost of more units than one command takes."""

from collections.abc import Callable

import pytest
from redis.crc import key_slot

from redstep_check.engines import NAMES, Engine
from redstep_check.guards.rate_limiter import Called, RateLimiterSession
from redstep_check.lockstep import Mismatch
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.rate_limiter import ProtocolTarget
from redstep_spec import rate_limiter as spec

LIMITS = (spec.Limit(limit=5_000, window_ms=50), spec.Limit(limit=4_500, window_ms=70))
MOVES = [
    Called(spec.Acquire(name="a", limits=LIMITS, now_ms=now_ms, cost=cost, request_id=request_id))
    for now_ms, cost, request_id in ((1_000, 1_500, None), (1_000, 2_001, "x"), (1_010, 1_000, None), (1_050, 2_500, None))
]


@pytest.mark.parametrize("engine_name", NAMES)
def test_a_dear_call_is_charged_whole(engine_named: Callable[[str], Engine], engine_name: str) -> None:
    """RL-2: calls of thousands of units, under two limits, agree with the specification at every step."""
    target = ProtocolTarget(engine_named(engine_name), "zset")
    session = RateLimiterSession(target)
    for move in MOVES:
        session.play(move)
    target.close()


@pytest.mark.catches("RL-15", "a thousand units at most")
def test_a_script_that_forgets_its_later_units_is_caught(engine_named: Callable[[str], Engine]) -> None:
    """RL-15 can fail: a script that adds its first thousand units only."""
    fault = Fault(
        name="a thousand units at most",
        rule="RL-15",
        file="rate_limiter_zset_acquire.lua",
        old="for first = 0, cost - 1, UNITS_PER_CALL do",
        new="for first = 0, 0 do",
    )
    target = ProtocolTarget(engine_named("valkey9"), "zset", planted(fault, "redstep.rate_limiter"))
    session = RateLimiterSession(target)
    with pytest.raises(Mismatch) as caught:
        session.play(MOVES[0])
    assert caught.value.rule == "RL-15", "two limits are charged"
    target.close()


def test_three_limits_in_one_call_share_a_slot(engine_named: Callable[[str], Engine]) -> None:
    """CM-7: all keys of one call have one hash tag, and the name alone is in it."""
    target = ProtocolTarget(engine_named("valkey9"), "zset")
    keys = [target.key("user:42", window_ms) for window_ms in (1, 1_000, 3_600_000)]
    assert len(set(keys)) == 3
    assert len({key_slot(key.encode()) for key in keys}) == 1
    target.close()
