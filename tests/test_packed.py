"""What short stories do not reach of `packed`: rings that wrap and shrink, totals without end, mass expiry, nonsense."""

import asyncio
import random
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from attrs import evolve

from redstep import AsyncRateLimiter, Limit, Misuse, RateLimiter
from redstep.rate_limiter import PACKED_ACQUIRE, PACKED_PEEK
from redstep_check.engines import SERVERS, Engine, EngineUnavailable, open_engine
from redstep_check.targets.planted import Fault, edited
from redstep_check.targets.planted.rate_limiter import FAULTS as PLANTED
from redstep_check.targets.stored_logs import HEADER, RECORD, read_packed
from redstep_spec import rate_limiter as spec

ACQUIRE, PEEK = PACKED_ACQUIRE.text, PACKED_PEEK.text
READS_MOST = 32
"""GETRANGE that a call may make in a log of thousands: one of the header, two for each doubling."""


@pytest.fixture(params=SERVERS)
def client(request: pytest.FixtureRequest, engine_named: Callable[[str], Engine]) -> Iterator[redis.Redis]:
    """A client of each engine whose Lua has `struct`; fakeredis lacks it."""
    with engine_named(request.param).client() as connected:
        yield connected


@pytest.fixture
def one_client(engine_named: Callable[[str], Engine]) -> Iterator[redis.Redis]:
    """A client of one engine, for faults."""
    with engine_named("valkey9").client() as connected:
        yield connected


def fault(name: str, rule: str, old: str, new: str) -> str:
    """The text of the acquire with one edit in it."""
    return edited(Fault(name=name, rule=rule, file="rate_limiter_packed_acquire.lua", old=old, new=new), ACQUIRE)


def known(name: str) -> str:
    """The text with one of the faults that lockstep catches too."""
    [one] = [each for each in PLANTED if each.name == name]
    return edited(one, ACQUIRE)


class Differs(AssertionError):
    """The script and the specification disagree."""


class Checked:
    """One log, kept by the script and by the specification; every reply is compared."""

    def __init__(self, client: redis.Redis, window_ms: int, text: str = ACQUIRE) -> None:
        self.client = client
        self.window_ms = window_ms
        self.logs = spec.INITIAL
        self.text = text

    def acquire(self, now_ms: int, cost: int, limit: int, region: spec.Region | None = None) -> bool:
        """One call. Raises Differs."""
        limits = (spec.Limit(limit=limit, window_ms=self.window_ms),)
        call = spec.Acquire(name="a", limits=limits, now_ms=now_ms, cost=cost, region=region)
        self.logs, told = spec.acquire(self.logs, call)
        cold_limit = max(1, limit * region.percent // 100) if region else limit
        warm_at_ms = region.warm_at_ms if region else 0
        try:
            got: object = self.client.eval(self.text, 1, "log", now_ms, cost, warm_at_ms, self.window_ms, limit, cold_limit)
        except redis.ResponseError as error:
            got = error
        wait_ms, reset_ms = told.retry_after_ms, told.reset_after_ms
        expected = [int(told.allowed), told.binding, told.limit, told.remaining, wait_ms, reset_ms, told.now_ms]
        if got != expected:
            raise Differs(f"{call}: {got}, not {expected}")
        return told.allowed

    def slots(self) -> int:
        """How many entries are stored, which are those of the specification. Raises Differs."""
        stored = read_packed(self.client, "log", self.window_ms)
        if stored.state != spec.tally(spec.log_of(self.logs, self.window_ms)):
            raise Differs(f"stored is {stored.state}")
        return stored.size


# ---------------------------------------------------------------------------------------------- rings


def wrap_and_shrink(log: Checked) -> bool:
    """Fill a log, let it turn, lower its limit; return whether it kept within its bound, and wrapped."""
    bounded, wrapped = True, False
    for step in range(600):
        log.acquire(1_000 + 5 * step, 1, limit=150)
        if step % 10 == 0:
            bounded &= log.slots() <= spec.stored_most(150)
            text: Any = log.client.get("log")
            *_, head, count, slots = HEADER.unpack_from(text)
            wrapped |= head % slots + count > slots
    for step in range(600, 900):
        if log.acquire(1_000 + 5 * step, 1, limit=4):
            bounded &= log.slots() <= spec.stored_most(4)
    return bounded and wrapped


def test_a_ring_grows_wraps_and_shrinks(client: redis.Redis) -> None:
    """RL-8: it never has more than 1.25 L + 64 slots, also after the limit was lowered, and loses nothing that counts."""
    assert wrap_and_shrink(Checked(client, 1_000))


@pytest.mark.catches("RL-8", "packed: never shrinks")
def test_a_ring_that_never_shrinks_is_caught(one_client: redis.Redis) -> None:
    """RL-8 can fail: a ring that keeps its slots has too many when its limit is lowered."""
    text = fault("packed: never shrinks", "RL-8", "slots <= limit * 1.25 + 64 and ", "")
    assert not wrap_and_shrink(Checked(one_client, 1_000, text))


def add_up(log: Checked) -> None:
    """Costs near 2^51 of which two always count, so that what was ever admitted passes 2^52 and all that doubles can hold."""
    for step in range(60):
        assert log.acquire(1_000 + 6 * step, 2**51 - step % 7, limit=2**52)
        log.slots()


def test_totals_stay_exact_however_much_was_admitted(client: redis.Redis) -> None:
    """RL-2: beyond 2^52 the totals start anew from what counts, also when the log is never empty."""
    add_up(Checked(client, 10))


@pytest.mark.catches("RL-2", "packed: totals without end")
def test_totals_without_end_are_caught(one_client: redis.Redis) -> None:
    """RL-2 can fail: a total beyond 2^52 is no longer exact."""
    with pytest.raises(Differs):
        add_up(Checked(one_client, 10, fault("packed: totals without end", "RL-2", " and total + cost <= MOST then", " then")))


# ---------------------------------------------------------------------------------------------- searches


def reads_after_mass_expiry(log: Checked, records: int = 3_000) -> int:
    """Let all but few of thousands of records end, then call once; return the most reads that such a call made."""
    filling = log.client.pipeline(transaction=False)
    for number in range(records):
        filling.eval(log.text, 1, "log", 10_000 + number, 1 + number % 3, 0, log.window_ms, 10_000, 10_000)
    filling.execute()
    admissions = tuple(spec.Admission(10_000 + number, 1 + number % 3) for number in range(records))
    full = log.logs = (spec.Log(log.window_ms, admissions),)
    assert log.slots() >= records
    dumped: Any = log.client.dump("log")
    most = 0
    for left in (0, 1, 2, 3, 17, records // 2, records - 2, records - 1, records):
        log.client.restore("log", 0, dumped, replace=True)
        log.logs = full
        log.client.config_resetstat()
        log.acquire(10_000 + log.window_ms + records - 1 - left, 1, limit=10_000)
        most = max(most, log.client.info("commandstats")["cmdstat_getrange"]["calls"])
        log.slots()
    return most


def test_mass_expiry_is_found_in_few_steps(client: redis.Redis) -> None:
    """RL-1, PF-2: of thousands of records those that count are found exactly, by a logarithm of reads."""
    assert reads_after_mass_expiry(Checked(client, 50_000)) <= READS_MOST


@pytest.mark.catches("PF-2", "packed: one record after another")
def test_a_search_of_one_record_after_another_is_caught(one_client: redis.Redis) -> None:
    """PF-2 can fail: steps that do not double read thousands."""
    text = fault("packed: one record after another", "PF-2", "dead, step = probe, step * 2", "dead = probe")
    assert reads_after_mass_expiry(Checked(one_client, 50_000, text)) > READS_MOST


def ask_every_cost(log: Checked, seed: int) -> Counter[bool]:
    """Admit at random, and before each admission ask for every cost that is denied, cold and warm; return what was answered."""
    rng = random.Random(seed)  # noqa: S311  no secret is made of it
    now_ms, seen = 1_000, Counter[bool]()
    for _ in range(40):
        now_ms += rng.randrange(5)
        limit = rng.choice((12, 20, 31))
        region = rng.choice((None, spec.Region(start_ms=0, cold_ms=now_ms + rng.randrange(70), percent=rng.choice((10, 60)))))
        view = evolve(spec.views(log.logs, (spec.Limit(limit=limit, window_ms=log.window_ms),), region, now_ms)[0])
        for cost in range(1, limit + 1):
            if not view.fits(cost, view.time_ms):
                seen[log.acquire(now_ms, cost, limit, region)] += 1
        seen[log.acquire(now_ms, rng.randint(1, 3), limit, region)] += 1
    log.slots()
    return seen


def test_a_dear_call_is_told_the_exact_wait(client: redis.Redis) -> None:
    """RL-4: whatever it costs, in a log of many records, cold or warm, under limits that change."""
    seen = Counter[bool]()
    for seed in range(3):
        client.delete("log")
        seen += ask_every_cost(Checked(client, 60), seed)
    assert seen[True] > 40
    assert seen[False] > 500


@pytest.mark.parametrize("name", ["packed: retry_after of the oldest", "packed: retry_after beyond the cold start"])
def test_another_wait_is_caught(one_client: redis.Redis, name: str) -> None:
    """RL-4 can fail: faults that lockstep catches too."""
    with pytest.raises(Differs):
        ask_every_cost(Checked(one_client, 60, known(name)), 0)


# ---------------------------------------------------------------------------------------------- identity


def test_a_request_id_is_refused_before_anything_is_sent() -> None:
    """RL-7: `packed` keeps no identities, and says so where no engine is to be reached."""
    limiter = RateLimiter(redis.Redis(unix_socket_path="/nowhere"), Limit(1, 1), on_store_failure="closed")
    with pytest.raises(Misuse, match="request_id"):
        limiter.acquire("a", request_id="r1")

    async def acquire() -> None:
        client = redis.asyncio.Redis(unix_socket_path="/nowhere")
        await AsyncRateLimiter(client, Limit(1, 1), on_store_failure="closed").acquire("a", request_id="r1")

    with pytest.raises(Misuse, match="request_id"):
        asyncio.run(acquire())


# ---------------------------------------------------------------------------------------------- nonsense

NUMBERS = (float("nan"), float("inf"), -float("inf"), -1.0, 0.0, 0.5, 1.5, 2.0, 5.0, 995.0, 1000.5, 2.0**31, 2.0**53 + 2, 1e300)
SOUND = (
    ((1000.0, 3.0, 998.0, 0.0, 0.0, 3.0, 4.0), ((998, 0), (999, 1), (1000, 2), (0, 0))),
    ((1000.0, 8.0, 990.0, 0.0, 0.0, 5.0, 6.0), ((990, 0), (995, 2), (996, 4), (998, 5), (1000, 7), (0, 0))),
)
LIMITS = ((0, 3, 3), (0, 20, 20), (1_004, 8, 4), (0, 2**40, 2**40))
ASKED = [(now, cost, *rest) for now in (900, 1_000, 1_005, 1_009, 1_011, 5_000) for cost in (1, 3) for rest in LIMITS]
TURNING = (2.0**53 + 2, 3.0, 4.0)
"""A head, a count and slots between whose halves there is no number: a search that trusts them never ends."""


def corrupted(rng: random.Random, mixed: int) -> Iterator[bytes]:
    """Rings with one number that is wrong, each in turn, then with several, or cut short."""
    yield HEADER.pack(1000.0, 8.0, 990.0, 0.0, *TURNING) + RECORD.pack(1e9, 0.0) * 4
    yield HEADER.pack(1000.0, 8.0, 998.0, 0.0, *TURNING) + RECORD.pack(1e9, 9.0) * 4
    for header, records in SOUND:
        for place in range(len(header)):
            for number in NUMBERS:
                yield ring([*header[:place], number, *header[place + 1 :]], [number for each in records for number in each])
    for _ in range(mixed):
        header, records = rng.choice(SOUND)
        numbers = [*header, *(number for each in records for number in each)]
        for place in [*rng.sample(range(7), rng.randint(0, 4)), *rng.sample(range(7, len(numbers)), rng.randint(0, 2))]:
            numbers[place] = rng.choice(NUMBERS)
        text = ring(numbers[:7], numbers[7:])
        yield text if rng.random() < 0.8 else text[: rng.randrange(1, len(text))]


def ring(header: list[float], records: list[float]) -> bytes:
    """The bytes of a log."""
    return struct.pack(f">{7 + len(records)}d", *header, *records)


def is_sane(reply: list[int], asked: tuple[int, ...]) -> bool:
    """Could this be an answer? Of an acquire all seven numbers, of a peek five."""
    if len(reply) == 7 and (reply[0] not in (0, 1) or (reply[0] == 1) != (reply[4] == 0)):
        return False
    limit, remaining, *waits, now_ms = reply[2 if len(reply) == 7 else 1 :]
    return limit in asked[3:] and 0 <= remaining <= limit and all(0 <= wait <= 2**53 for wait in waits) and now_ms == asked[0]


def wrongs(client: redis.Redis, acquire: str, mixed: int, seed: int = 5) -> Iterator[str]:
    """Ask both scripts about corrupted logs, alone and behind a sound one; tell what they should not have answered."""
    rng = random.Random(seed)  # noqa: S311  no secret is made of it
    for text in corrupted(rng, mixed):
        for asked in rng.sample(ASKED, 4):
            now_ms, cost, warm_at_ms, *limits = asked
            client.delete("sound")
            client.set("log", text)
            before = client.dump("log")
            keys, numbers = (["log"], [10, *limits]) if rng.random() < 0.7 else (["sound", "log"], [10, 99, 99, 10, *limits])
            for script, args in ((acquire, [now_ms, cost, warm_at_ms]), (PEEK, [now_ms, warm_at_ms])):
                if script is PEEK:
                    client.set("log", text)
                if script is acquire and cost > limits[0]:
                    continue
                told = f"{HEADER.unpack(text[:56]) if len(text) >= 56 else text!r} asked {asked}: "
                try:
                    reply: Any = client.eval(script, len(keys), *keys, *args, *numbers)
                except redis.ResponseError as error:
                    if not str(error).startswith("ECORRUPT log"):
                        yield f"{told}{error}"
                    if client.dump("log") != before or (script is acquire and client.exists("sound")):
                        yield f"{told}{error}, and changed something"
                else:
                    if len(keys) == 1 and not is_sane(reply, asked):
                        yield f"{told}{reply}"


def test_nonsense_is_answered_at_once_and_left_as_it_is(client: redis.Redis) -> None:
    """CM-9, CM-1: whatever bytes lie there, the answer is ECORRUPT with nothing changed, or one that could be; never a loop."""
    client.connection_pool.connection_kwargs["socket_timeout"] = 30
    client.connection_pool.disconnect()
    assert not list(wrongs(client, ACQUIRE, mixed=300))
    assert client.ping()


@pytest.mark.parametrize("unseen", ["newest % 1 == 0 and ", " and newest <= MOST"])
def test_a_number_that_is_not_looked_at_is_caught(one_client: redis.Redis, unseen: str) -> None:
    """CM-9 can fail: without one of the looks at the header there are nonsense answers, or errors after a write."""
    assert any(wrongs(one_client, fault("packed: unseen", "CM-9", unseen, ""), mixed=0))


def test_a_search_that_never_ends_is_caught() -> None:
    """CM-9 can fail: where the head may be any number, a search turns in place until somebody kills the script."""
    text = fault("packed: any head", "CM-9", " and head <= MOST and", " and")
    try:
        with (
            open_engine("valkey9", config={"lua-time-limit": "50"}) as engine,
            engine.client(socket_timeout=1) as client,
            engine.client() as operator,
        ):
            assert operator.ping()
            with pytest.raises(redis.TimeoutError):
                list(wrongs(client, text, mixed=0))
            assert operator.script_kill()
            deadline_s = time.monotonic() + 30
            while is_busy(operator):
                assert time.monotonic() < deadline_s
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


def is_busy(client: redis.Redis) -> bool:
    """A script that is killed ends a little later."""
    try:
        client.ping()
    except redis.ResponseError as error:
        return str(error).startswith("BUSY")
    return False
