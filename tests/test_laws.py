"""Laws that a sequence of calls cannot show, for both representations: each with the fault that it is there to catch."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from attrs import frozen
from redis.exceptions import OutOfMemoryError

from redstep import rate_limiter
from redstep.rate_limiter import PACKED, REPRESENTATIONS, ZSET
from redstep.scripts import Script
from redstep_check.engines import NAMES, SERVERS, Engine
from redstep_check.targets.planted import Fault, edited
from redstep_check.targets.stored_logs import HEADER

WARM_AT_MS = "2000"
"""In the future, because `packed` looks at the cold limits during a cold start only."""
LIMITS = ("10", "5", "5", "700", "9", "4")
BAD = ("", "-1", "1.5", "x", "99999999999999999", "nan")
BAD_SPELLINGS = (" 1", "0x10", "1e3")
"""Numbers that Lua would read and `zset` does not; which client would send them?"""
KEYS = ("log", "second")


@frozen
class Kept:
    """A representation, and how its scripts are called."""

    name: str
    acquire: Script
    peek: Script
    identity: tuple[str, ...]
    bad: tuple[str, ...]

    def args(self, now_ms: int, cost: int, limits: tuple[str, ...], warm_at_ms: str = "0") -> tuple[str, ...]:
        """The arguments of an acquire."""
        return (str(now_ms), str(cost), *self.identity, warm_at_ms, *limits)

    def bad_calls(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Each bad argument at each place of both scripts, and too few and too many."""
        for script, good in (
            (self.acquire.text, self.args(1_000, 2, LIMITS, WARM_AT_MS)),
            (self.peek.text, ("1000", WARM_AT_MS, *LIMITS)),
        ):
            texts = [place for place, arg in enumerate(good) if arg == ""]
            for place in range(len(good)):
                for bad in self.bad:
                    if place not in texts and (place, bad) != (0, ""):
                        yield script, (*good[:place], bad, *good[place + 1 :])
            yield from ((script, args) for args in (good[:-1], (*good, "1"), (*good[:-1], "10"), (*good[:-2], "0", "1"), ()))


KEPT = {
    PACKED: Kept(PACKED, rate_limiter.PACKED_ACQUIRE, rate_limiter.PACKED_PEEK, (), BAD),
    ZSET: Kept(ZSET, rate_limiter.ZSET_ACQUIRE, rate_limiter.ZSET_PEEK, ("",), BAD + BAD_SPELLINGS),
}


@pytest.fixture(params=REPRESENTATIONS)
def kept(request: pytest.FixtureRequest) -> Kept:
    """Each representation."""
    return KEPT[request.param]


@pytest.fixture(params=NAMES)
def client(request: pytest.FixtureRequest, engine_named: Callable[[str], Engine], kept: Kept) -> Iterator[redis.Redis]:
    """A client of each engine that can run the scripts."""
    with engine_named(request.param).client() as connected:
        if kept.name == PACKED and not connected.eval("return struct and 1 or 0", 0):
            pytest.skip(f"the Lua of {request.param} lacks `struct`, which `packed` needs")
        yield connected


@pytest.fixture
def one_client(engine_named: Callable[[str], Engine]) -> Iterator[redis.Redis]:
    """A client of one engine, for faults."""
    with engine_named("valkey9").client() as connected:
        yield connected


def planted(kept: Kept, name: str, rule: str, old: str, new: str) -> Kept:
    """A representation whose acquire has a fault."""
    fault = Fault(name=name, rule=rule, file=f"{kept.acquire.name}.lua", old=old, new=new)
    return Kept(kept.name, Script(kept.acquire.name, edited(fault, kept.acquire.text)), kept.peek, kept.identity, kept.bad)


def as_stored(client: redis.Redis, keys: tuple[str, ...] = KEYS) -> list[Any]:
    """Everything at the keys, byte for byte, and whether it will expire."""
    return [(client.dump(key), client.pttl(key) > 0) for key in keys]


# ---------------------------------------------------------------------------------------------- errors write nothing


def any_error_writes(client: redis.Redis, kept: Kept) -> bool:
    """Make every bad call on logs that hold something; return whether one that failed, as each must, changed any."""
    client.eval(kept.acquire.text, 2, *KEYS, *kept.args(500, 1, LIMITS))
    before = as_stored(client)
    for script, args in kept.bad_calls():
        with pytest.raises(redis.ResponseError, match=r"^EARG "):
            client.eval(script, 2, *KEYS, *args)
        if as_stored(client) != before:
            return True
    return False


def test_a_script_that_answers_with_an_error_has_written_nothing(client: redis.Redis, kept: Kept) -> None:
    """CM-1: whatever argument is bad or missing, nothing is written."""
    assert not any_error_writes(client, kept)


EARLY_WRITES = {
    PACKED: ("  local newest, total,", "  if header ~= '' then call('APPEND', key, 'x') end\n  local newest, total,"),
    ZSET: (
        "local cost = integer(ARGV[2], 1, smallest)\n",
        "redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', 900)\nlocal cost = integer(ARGV[2], 1, smallest)\n",
    ),
}


@pytest.mark.catches("CM-1", "a write before the last check")
def test_a_write_before_the_last_check_is_caught(one_client: redis.Redis, kept: Kept) -> None:
    """CM-1 can fail: a script that writes before it has looked at all of its arguments changes something and then refuses."""
    assert any_error_writes(one_client, planted(kept, "a write before the last check", "CM-1", *EARLY_WRITES[kept.name]))


def charged_before_corrupt(client: redis.Redis, kept: Kept) -> bool:
    """A sound log is charged together with one whose records are cut off; return whether it was, and the call refused."""
    for now_ms in range(990, 994):
        client.eval(KEPT[PACKED].acquire.text, 1, "second", *kept.args(now_ms, 1, ("700", "9", "9")))
    whole: Any = client.get("second")
    client.set("second", whole[:-16])
    before = as_stored(client)
    with pytest.raises(redis.ResponseError, match=r"^ECORRUPT second"):
        client.eval(kept.acquire.text, 2, *KEYS, *kept.args(1_000, 1, ("10", "5", "5", "700", "9", "9")))
    return as_stored(client) != before


@pytest.mark.parametrize("kept", [KEPT[PACKED]], ids=[PACKED])
def test_one_corrupt_log_leaves_the_others_uncharged(client: redis.Redis, kept: Kept) -> None:
    """CM-1, RL-15: a log that must be rewritten and cannot be read is found before another is written."""
    assert not charged_before_corrupt(client, kept)


@pytest.mark.catches("CM-1", "packed: a write before every log is read")
def test_a_write_before_every_log_is_read_is_caught(one_client: redis.Redis) -> None:
    """CM-1 can fail: a script that writes to one log before it has read the next charges one and then refuses."""
    loop = "for i = 1, strings and logs or 0 do\n"
    early = planted(
        KEPT[PACKED], "packed: a write before every log is read", "CM-1", loop, loop + "  call('APPEND', KEYS[i], 'x')\n"
    )
    assert charged_before_corrupt(one_client, early)


# ---------------------------------------------------------------------------------------------- corrupt

OTHERS: dict[str, Callable[[Any], object]] = {
    "string": lambda client: client.set("log", "x"),
    "list": lambda client: client.rpush("log", "x"),
    "hash": lambda client: client.hset("log", "x", "1"),
    "set": lambda client: client.sadd("log", "x"),
    "stream": lambda client: client.xadd("log", {"x": "1"}),
    "zset": lambda client: client.zadd("log", {"x": 1.5}),
    "half a header": lambda client: client.set("log", HEADER.pack(9, 1, 9, 0, 0, 1, 1)[:28]),
    "a header short of a byte": lambda client: client.set("log", HEADER.pack(9, 1, 9, 0, 0, 1, 1)[:55]),
    "more records than slots": lambda client: client.set("log", HEADER.pack(999, 2, 998, 0, 0, 2, 1) + bytes(16)),
    "nothing admitted": lambda client: client.set("log", HEADER.pack(999, 0, 999, 0, 0, 1, 1) + bytes(16)),
    "an end before its beginning": lambda client: client.set("log", HEADER.pack(998, 1, 999, 0, 0, 1, 1) + bytes(16)),
    "records cut off": lambda client: client.set("log", HEADER.pack(999, 3, 985, 0, 0, 3, 3) + bytes(16)),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_log_is_corrupt_and_stays_as_it_is(client: redis.Redis, kept: Kept, other: str) -> None:
    """CM-9: it is told from a store that failed, and not a byte of it is touched."""
    OTHERS[other](client)
    before = as_stored(client)
    for script, args in ((kept.acquire, kept.args(1_000, 2, LIMITS[:3])), (kept.peek, ("1000", "0", *LIMITS[:3]))):
        with pytest.raises(redis.ResponseError, match=r"^ECORRUPT log"):
            client.eval(script.text, 1, "log", *args)
        assert as_stored(client) == before


@pytest.mark.parametrize("score", ["1.5", "-3", "inf", "1e300"])
@pytest.mark.parametrize("kept", [KEPT[ZSET]], ids=[ZSET])
def test_a_score_that_is_no_time_is_corrupt(client: redis.Redis, kept: Kept, score: str) -> None:
    """CM-9: a newest admission at no possible time is not taken for one."""
    client.zadd("log", {"x": float(score)})
    before = as_stored(client)
    with pytest.raises(redis.ResponseError, match=r"^ECORRUPT log"):
        client.eval(kept.acquire.text, 1, "log", *kept.args(1_000, 2, LIMITS[:3]))
    assert as_stored(client) == before


# ---------------------------------------------------------------------------------------------- a full engine


def admissions_when_full(client: redis.Redis, kept: Kept) -> int:
    """Ask for admissions under a limit that has dead entries to free; return how many were made."""
    for at_ms in range(100):
        client.eval(kept.acquire.text, 1, "log", *kept.args(at_ms, 1, ("100000", "1000", "1000")))
    client.config_set("maxmemory", 1)
    made = 0
    for now_ms in range(1_000, 1_050):
        with contextlib.suppress(OutOfMemoryError):
            client.eval(kept.acquire.text, 1, "log", *kept.args(now_ms, 1, ("10", "1000", "1000")))
            made += 1
    return made


@pytest.mark.parametrize("engine_name", SERVERS)
def test_a_full_engine_admits_nothing_and_does_not_grow(
    engine_named: Callable[[str], Engine], kept: Kept, engine_name: str
) -> None:
    """RL-17: the first write is one that memory can forbid, so a full engine refuses and changes nothing; it still denies."""
    with engine_named(engine_name).client() as client:
        assert admissions_when_full(client, kept) == 0
        before = as_stored(client)
        denied: Any = client.eval(kept.acquire.text, 1, "log", *kept.args(105, 1, ("100", "3", "3")))
        assert denied[0] == 0
        seen: Any = client.eval(kept.peek.text, 1, "log", "105", "0", "100", "300", "300")
        assert seen[2] == 206
        for limits, keys in ((("100", "300", "300"), ("log",)), (LIMITS, KEYS)):
            with pytest.raises(OutOfMemoryError):
                client.eval(kept.acquire.text, len(keys), *keys, *kept.args(105, 1, limits))
        assert as_stored(client) == before


FREEING_FIRST = {
    PACKED: ("  local written\n", "  call('PERSIST', key)\n  local written\n"),
    ZSET: ("local function admit(view)\n", "local function admit(view)\n  redis.call('PERSIST', view.key)\n"),
}


@pytest.mark.catches("RL-17", "a first write that memory cannot forbid")
def test_a_first_write_that_frees_slips_past_a_full_engine(one_client: redis.Redis, kept: Kept) -> None:
    """RL-17 can fail: a script whose first write needs no memory is let through, and goes on to add."""
    freeing = planted(kept, "a first write that memory cannot forbid", "RL-17", *FREEING_FIRST[kept.name])
    assert admissions_when_full(one_client, freeing) > 0
