"""Laws that a sequence of calls cannot show: each with the fault that it is there to catch."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redstep import rate_limiter, scripts
from redstep_check.engines import Engine, EngineUnavailable, open_engine
from redstep_check.targets.planted import Fault, edited

ACQUIRE = scripts.load("rate_limiter_zset_acquire").text
GOOD_ARGS = ("1000", "2", "", "0", "10", "5", "5")
BAD_ARGS = ("", "-1", "1.5", "x", " 1", "0x10", "1e3", "99999999999999999", "nan")
TYPES_OF_KEYS = ("string", "list", "hash", "set", "stream")


@pytest.fixture(params=("valkey9", "valkey8", "redis62", "redis7", "fakeredis"))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine."""
    try:
        with open_engine(request.param) as opened:
            yield opened
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


def changed(client: redis.Redis, script: str, args: tuple[str, ...]) -> bool:
    """Run a script that must answer with an error; return whether it changed its key nevertheless."""
    before = client.zrange("log", 0, -1, withscores=True), client.pttl("log") > 0
    with pytest.raises(redis.ResponseError):
        client.eval(script, 1, "log", *args)
    return (client.zrange("log", 0, -1, withscores=True), client.pttl("log") > 0) != before


def any_error_writes(client: redis.Redis, script: str) -> bool:
    """Try every bad argument at every place."""
    client.zadd("log", {"500-0": 500})
    places = [place for place in range(len(GOOD_ARGS)) if place != 2]
    tried = [(*GOOD_ARGS[:at], bad, *GOOD_ARGS[at + 1 :]) for at in places for bad in BAD_ARGS if (at, bad) != (0, "")]
    tried += [GOOD_ARGS[:-1], (*GOOD_ARGS, "1"), ()]
    outcomes = [changed(client, script, args) for args in tried]
    return any(outcomes)


def test_a_script_that_answers_with_an_error_has_written_nothing(engine: Engine) -> None:
    """CM-1: whatever argument is bad or missing, nothing is written."""
    assert not any_error_writes(engine.client(), ACQUIRE)


@pytest.mark.catches("CM-1", "a write before the last check")
def test_a_write_before_the_last_check_is_caught() -> None:
    """CM-1 can fail: a script that trims before it has looked at its cost changes something and then refuses."""
    early = Fault(
        name="a write before the last check",
        rule="CM-1",
        file="rate_limiter_zset_acquire.lua",
        old="local cost = integer(ARGV[2], 1, smallest)\n",
        new="redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 900)\nlocal cost = integer(ARGV[2], 1, smallest)\n",
    )
    with open_engine("valkey9") as engine:
        assert any_error_writes(engine.client(), edited(early, ACQUIRE))


@pytest.mark.parametrize("kind", TYPES_OF_KEYS)
def test_a_key_of_another_type_is_corrupt_and_stays_as_it_is(engine: Engine, kind: str) -> None:
    """CM-9: what is no log is told from a store that failed, and not touched."""
    client = engine.client()
    make: dict[str, Any] = {
        "string": lambda: client.set("log", "x"),
        "list": lambda: client.rpush("log", "x"),
        "hash": lambda: client.hset("log", "x", "1"),
        "set": lambda: client.sadd("log", "x"),
        "stream": lambda: client.xadd("log", {"x": "1"}),
    }
    make[kind]()
    before = client.type("log")
    with pytest.raises(redis.ResponseError, match=r"^ECORRUPT log"):
        client.eval(ACQUIRE, 1, "log", *GOOD_ARGS)
    with pytest.raises(redis.ResponseError, match=r"^ECORRUPT log"):
        client.eval(rate_limiter.ZSET_PEEK.text, 1, "log", "1000", "0", "10", "5", "5")
    assert client.type("log") == before


@pytest.mark.parametrize("score", ["1.5", "-3", "inf", "1e300"])
def test_a_score_that_is_no_time_is_corrupt(engine: Engine, score: str) -> None:
    """CM-9: a newest admission at no possible time is not taken for one."""
    client = engine.client()
    client.zadd("log", {"x": float(score)})
    with pytest.raises(redis.ResponseError, match=r"^ECORRUPT log"):
        client.eval(ACQUIRE, 1, "log", *GOOD_ARGS)
    assert client.zrange("log", 0, -1) == [b"x"]


# ---------------------------------------------------------------------------------------------- a full engine


def admissions_when_full(client: redis.Redis, script: str) -> int:
    """Ask for admissions under a limit that has dead entries to free; return how many were made."""
    for at_ms in range(100):
        client.zadd("log", {f"{at_ms}-0": at_ms})
    client.config_set("maxmemory", 1)
    made = 0
    for now_ms in range(1_000, 1_050):
        with contextlib.suppress(redis.exceptions.OutOfMemoryError):
            client.eval(script, 1, "log", str(now_ms), "1", "", "0", "10", "1000", "1000")
            made += 1
    return made


REAL_ENGINES = ("valkey9", "valkey8", "redis62", "redis7")


@pytest.mark.parametrize("name", REAL_ENGINES)
def test_a_full_engine_admits_nothing_and_does_not_grow(name: str) -> None:
    """RL-17: the first write is one that memory can forbid, so a full engine refuses, and changes nothing."""
    try:
        with open_engine(name) as engine:
            client = engine.client()
            assert admissions_when_full(client, ACQUIRE) == 0
            assert client.zcard("log") == 100
            denied = client.eval(ACQUIRE, 1, "log", "105", "1", "", "0", "100", "3", "3")
            assert isinstance(denied, list)
            assert denied[0] == 0, "a denial is still answered"
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.catches("RL-17", "trim before the add")
def test_trimming_first_slips_past_a_full_engine() -> None:
    """RL-17 can fail: a script whose first write frees memory is let through, and goes on to add."""
    trimming = Fault(
        name="trim before the add",
        rule="RL-17",
        file="rate_limiter_zset_acquire.lua",
        old="  local stamp = ms(view.stamp)\n",
        new="  local stamp = ms(view.stamp)\n"
        "  redis.call('ZREMRANGEBYSCORE', view.key, '-inf', ms(view.stamp - view.window))\n",
    )
    with open_engine("valkey9") as engine:
        assert admissions_when_full(engine.client(), edited(trimming, ACQUIRE)) > 0
