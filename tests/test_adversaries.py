"""
The adversaries of the literature, each on every engine, against both representations, sync and asyncio.

In each: never more than L is admitted in any true window, and an acquire is charged once. The limiter of the tutorials, or a
plain redis-py client, goes through the same check and fails, which shows that the check can.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import pytest
import redis
import redis.asyncio
from redis.exceptions import NoScriptError, OutOfMemoryError

from redstep import AsyncRateLimiter, Decision, Limit, RateLimiter, Unavailable, Usage
from redstep.rate_limiter import PACKED, PACKED_ACQUIRE, REPRESENTATIONS, ZSET
from redstep_check.engines import NAMES, SERVERS, Engine
from redstep_check.faults import FaultProxy
from redstep_check.naive.rate_limiter import SCRIPT as NAIVE
from redstep_spec.delivery import Fate
from support.windows import most_in_a_window

KINDS = ("sync", "asyncio")
TRUE_MS = 1_000_000
"""The true time at which stories on an explicit clock begin."""
AHEAD_MS = 61_000
HOUR_MS = 3_600_000


class Caller:
    """A limiter, sync or asyncio, called in one way."""

    def __init__(self, kind: str, client: Any, limit: Limit, **settings: Any) -> None:
        self._runner = asyncio.Runner() if kind == "asyncio" else None
        self._client = client
        kind_of_limiter: Any = AsyncRateLimiter if self._runner else RateLimiter
        self._limiter: Any = kind_of_limiter(client, limit, on_store_failure="closed", **settings)

    def acquire(self, name: str = "user", **options: Any) -> Decision:
        """One call."""
        decision: Decision = self._done(self._limiter.acquire(name, **options))
        return decision

    def burst(self, calls: int) -> list[Decision]:
        """Many calls: of tasks at once, or one after another."""
        if self._runner is None:
            return [self.acquire() for _ in range(calls)]

        async def all_at_once() -> list[Decision]:
            return list(await asyncio.gather(*(self._limiter.acquire("user") for _ in range(calls))))

        return self._runner.run(all_at_once())

    def peek(self, name: str = "user") -> Usage:
        """How much is left."""
        usage: Usage = self._done(self._limiter.peek(name))
        return usage

    def close(self) -> None:
        """Close the limiter, its client and the event loop."""
        self._done(self._limiter.close())
        if self._runner is None:
            self._client.close()
        else:
            self._runner.run(self._client.aclose())
            self._runner.close()

    def _done(self, value: Any) -> Any:
        if self._runner is None:
            return value

        async def awaited() -> Any:
            return await value

        return self._runner.run(awaited())


Make = Callable[..., Caller]


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest, engine_named: Callable[[str], Engine]) -> Engine:
    """Each engine."""
    return engine_named(request.param)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, engine_named: Callable[[str], Engine]) -> Engine:
    """Each engine that is a server: fakeredis has this process's clock, no memory limit and no connections to break."""
    return engine_named(request.param)


@pytest.fixture(params=REPRESENTATIONS)
def representation(request: pytest.FixtureRequest) -> str:
    """Either way to keep a log."""
    return str(request.param)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Either kind of client."""
    return str(request.param)


@pytest.fixture
def make(kind: str, representation: str) -> Iterator[Make]:
    """Makes callers of one kind, and closes them in the end."""
    made: list[Caller] = []

    def one(engine: Engine, limit: Limit, *, client: Any = None, **settings: Any) -> Caller:
        with engine.client() as probe:
            if representation == PACKED and not probe.eval("return struct and 1 or 0", 0):
                pytest.skip(f"the Lua of {engine.name} lacks `struct`, which `packed` needs")
        client = client or (engine.async_client() if kind == "asyncio" else engine.client())
        made.append(Caller(kind, client, limit, representation=representation, **settings))
        return made[-1]

    yield one
    for caller in made:
        caller.close()


def naive(client: redis.Redis, now_ms: int, limit: Limit) -> bool:
    """One call of the tutorials' limiter."""
    return bool(client.eval(NAIVE, 1, "naive", now_ms, limit.window_ms, limit.limit))


# ---------------------------------------------------------------------------------------------- clients with skewed clocks

SKEWS_S = (0, -86_400, 61, 3_700, 86_400)


@contextmanager
def skewed(skew_s: int) -> Iterator[None]:
    """The wall clock of this process is wrong."""
    sound, sound_ns = time.time, time.time_ns
    with (
        patch("time.time", lambda: sound() + skew_s),
        patch("time.time_ns", lambda: sound_ns() + skew_s * 10**9),
    ):
        yield


def commands(monitor: Any, attempts: int) -> Iterator[list[str]]:
    """The commands that an engine was sent, up to so many EVALSHA; EVAL, after a NOSCRIPT, repeats one."""
    while attempts:
        words = monitor.next_command()["command"].split(" ")
        attempts -= words[0] == "EVALSHA"
        yield words


def test_clocks_of_clients_do_not_matter(server: Engine, make: Make) -> None:
    """The engine's clock decides: clients a day behind and ahead share one limit, and none of them sends a time."""
    caller = make(server, Limit(5, HOUR_MS))
    admitted = 0
    observer: Any = server.client()
    with observer.monitor() as monitor:
        for skew_s in SKEWS_S:
            with skewed(skew_s):
                admitted += sum(decision.allowed for decision in caller.burst(4))
        times = [words[4] for words in commands(monitor, len(SKEWS_S) * 4) if words[0] == "EVALSHA"]
    assert set(times) == {""}, "the time is left to the engine"
    assert admitted == 5


def test_the_naive_limiter_believes_a_skewed_clock(server: Engine) -> None:
    """The same clients get more than the limit from a script that takes their word for the time."""
    admitted = 0
    for skew_s in SKEWS_S:
        with skewed(skew_s):
            admitted += sum(naive(server.client(), int(time.time() * 1000) + call, Limit(5, HOUR_MS)) for call in range(4))
    assert admitted > 5


# ---------------------------------------------------------------------------------------------- one call 61 s ahead


def alternating(acquire: Callable[[int], bool], limit: Limit) -> tuple[list[int], list[int]]:
    """A full log, then calls at the true time among calls 61 s ahead; return the true times of admissions before and since."""
    before = [TRUE_MS + call for call in range(limit.limit + 1) if acquire(TRUE_MS + call)]
    since = []
    for number, true_ms in enumerate(range(TRUE_MS + 100, TRUE_MS + 2 * limit.window_ms, limit.window_ms // 40)):
        if acquire(true_ms + (AHEAD_MS if number % 2 == 0 else 0)):
            since.append(true_ms)
    return before, since


def test_a_call_ahead_destroys_nothing_that_still_counts(engine: Engine, make: Make) -> None:
    """61 s ahead in a window of 120 s: what was admitted counts on, and no true window holds more than L."""
    clock = [TRUE_MS]
    caller = make(engine, limit := Limit(7, 120_000), clock=lambda: clock[0])

    def admitted(now_ms: int) -> bool:
        clock[0] = now_ms
        return caller.acquire().allowed

    early = [TRUE_MS + each for each in range(5) if admitted(TRUE_MS + each)]
    assert admitted(TRUE_MS + 10 + AHEAD_MS)
    late = [true_ms for true_ms in range(TRUE_MS + 20, TRUE_MS + 300_000, 1_000) if admitted(true_ms)]
    assert most_in_a_window([*early, TRUE_MS + 10, *late], limit.window_ms) == limit.limit
    assert late[0] == TRUE_MS + 20, "the one that was left"


def test_calls_at_the_true_time_count_against_one_ahead(engine: Engine, make: Make) -> None:
    """
    61 s ahead in a window of 60 s, again and again: from the first on, no true window holds more than L.

    What was admitted before it has ended by the log's time, so L more are the price of the first; on the engine's clock, which
    no client can set, nobody pays it.
    """
    clock = [TRUE_MS]
    caller = make(engine, limit := Limit(5, 60_000), clock=lambda: clock[0])

    def admitted(now_ms: int) -> bool:
        clock[0] = now_ms
        return caller.acquire().allowed

    before, since = alternating(admitted, limit)
    assert len(before) == limit.limit
    assert most_in_a_window(since, limit.window_ms) <= limit.limit
    assert most_in_a_window(before + since, limit.window_ms) <= 2 * limit.limit


def test_the_naive_limiter_forgets_what_was_admitted_behind_a_call_ahead(engine: Engine) -> None:
    """The same calls get more than L in a true window: each one ahead trims those at the true time."""
    limit = Limit(5, 60_000)
    client = engine.client()
    _, since = alternating(lambda now_ms: naive(client, now_ms, limit), limit)
    assert most_in_a_window(since, limit.window_ms) > limit.limit


# ---------------------------------------------------------------------------------------------- a burst at the end of a window


def bursting(burst: Callable[[int, int], int], limit: Limit) -> list[int]:
    """One call, bursts just before and after its end, and polling from then on; return when what was admitted."""
    end_ms = TRUE_MS + limit.window_ms
    calls = dict.fromkeys(range(end_ms + 2, end_ms + 3 * limit.window_ms, limit.window_ms // 25), 1)
    calls |= {TRUE_MS: 1} | {at + edge: 2 * limit.limit for at in (end_ms, end_ms + limit.window_ms) for edge in (-1, 0, 1)}
    return [at for at in sorted(calls) for _ in range(burst(at, calls[at]))]


def test_a_burst_at_the_end_of_a_window_gets_what_is_left(engine: Engine, make: Make) -> None:
    """Polling and bursts around the edges: L in some true window and never more, where fixed windows let 2 L pass."""
    clock = [TRUE_MS]
    caller = make(engine, limit := Limit(8, 1_000), clock=lambda: clock[0])

    def burst(at_ms: int, calls: int) -> int:
        clock[0] = at_ms
        decisions = caller.burst(calls)
        assert all(decision.allowed or decision.retry_after_ms > 0 for decision in decisions)
        return sum(decision.allowed for decision in decisions)

    assert most_in_a_window(bursting(burst, limit), limit.window_ms) == limit.limit


def test_the_naive_limiter_lets_a_burst_through(engine: Engine) -> None:
    """The same calls get more: those of one millisecond are kept as one."""
    limit = Limit(8, 1_000)
    client = engine.client()
    admitted = bursting(lambda at_ms, calls: sum(naive(client, at_ms, limit) for _ in range(calls)), limit)
    assert most_in_a_window(admitted, limit.window_ms) > limit.limit


# ---------------------------------------------------------------------------------------------- SCRIPT FLUSH


def test_a_flush_between_any_two_calls_is_nobodys_problem(engine: Engine, make: Make) -> None:
    """Another connection flushes the scripts before every call: each is answered, and charged once."""
    caller = make(engine, limit := Limit(6, HOUR_MS))
    for used in range(1, limit.limit + 1):
        engine.flush_scripts()
        assert caller.acquire().remaining == limit.limit - used
        engine.flush_scripts()
        assert caller.peek().remaining == limit.limit - used
    engine.flush_scripts()
    assert not caller.acquire().allowed


def test_flushes_amid_calls_are_nobodys_problem(server: Engine, make: Make) -> None:
    """Another connection flushes without end, also between an EVALSHA and what follows: each call is charged once."""
    caller = make(server, limit := Limit(1_000, HOUR_MS))
    ended = threading.Event()
    flushes = []

    def flush() -> None:
        while not ended.is_set():
            server.flush_scripts()
            flushes.append(True)

    flusher = threading.Thread(target=flush)
    flusher.start()
    try:
        decisions = [decision for _ in range(20) for decision in caller.burst(10)]
    finally:
        ended.set()
        flusher.join()
    assert flushes
    assert all(decision.allowed for decision in decisions)
    assert caller.peek().remaining == limit.limit - len(decisions)


def test_a_plain_client_meets_the_flush(engine: Engine) -> None:
    """The flush is real: who sends EVALSHA and no more is told NOSCRIPT."""
    client = engine.client()
    sha1 = client.script_load(NAIVE)
    engine.flush_scripts()
    with pytest.raises(NoScriptError):
        client.evalsha(sha1, 1, "naive", TRUE_MS, HOUR_MS, 5)


# ---------------------------------------------------------------------------------------------- maxmemory reached


def test_a_full_engine_denies_and_does_not_admit(server: Engine, make: Make) -> None:
    """Denials are answered; an acquire that would be admitted fails, definitely, and is not charged, dead entries or none."""
    clock = [TRUE_MS]
    caller = make(server, Limit(5, 60_000), clock=lambda: clock[0])
    for _ in range(5):
        assert caller.acquire("full").allowed
    assert caller.acquire("begun").allowed
    with server.client() as operator:
        operator.config_set("maxmemory", 1)
        assert not caller.acquire("full").allowed
        for name in ("begun", "new"):
            with pytest.raises(Unavailable, match="OOM") as refused:
                caller.acquire(name)
            assert refused.value.definite
        clock[0] += 60_000
        with pytest.raises(Unavailable, match="OOM"):
            caller.acquire("full")
        clock[0] -= 60_000
        operator.config_set("maxmemory", 0)
    assert [caller.peek(name).remaining for name in ("full", "begun", "new")] == [0, 4, 5]


def test_the_naive_limiter_admits_on_a_full_engine(server: Engine) -> None:
    """The same engine lets it write: its first write may free memory, and after that none is refused."""
    client = server.client()
    client.config_set("maxmemory", 1)
    admitted = 0
    for now_ms in range(5):
        with suppress(OutOfMemoryError):
            admitted += naive(client, TRUE_MS + now_ms, Limit(5, 60_000))
    assert admitted == 5


# ---------------------------------------------------------------------------------------------- lost replies

LOST = [Fate.REPLY_LOST]


def test_a_lost_reply_is_charged_once_under_the_defaults_of_redis_py(
    server: Engine, make: Make, kind: str, representation: str
) -> None:
    """`redis.Redis(...)` would ask ten times more; the limiter says that it cannot know, and one acquire is one charge."""
    assert isinstance(server.address, str)
    with FaultProxy(server.address) as proxy:
        library: Any = redis.asyncio if kind == "asyncio" else redis
        caller = make(server, limit := Limit(5, HOUR_MS), client=library.Redis(unix_socket_path=proxy.address))
        for acquired in range(1, 4):
            proxy.arm(LOST * 5)
            with pytest.raises(Unavailable) as lost:
                caller.acquire()
            assert not lost.value.definite
            assert proxy.executed == 1
            proxy.arm([])
            assert caller.peek().remaining == limit.limit - acquired
        if representation == ZSET:
            proxy.arm(LOST)
            assert caller.acquire(request_id="r1").remaining == 1
            assert proxy.executed == 2


def test_a_plain_client_is_charged_again_for_a_lost_reply(engine_named: Callable[[str], Engine]) -> None:
    """The same script, sent by the same client as redis-py has it: one lost reply, two executions, two charges."""
    server = engine_named("valkey9")
    assert isinstance(server.address, str)
    with FaultProxy(server.address) as proxy, redis.Redis(unix_socket_path=proxy.address) as client:
        proxy.arm(LOST)
        reply: Any = client.eval(PACKED_ACQUIRE.text, 1, "log", "", 1, 0, HOUR_MS, 5, 5)
        assert proxy.executed == 2
        assert reply[3] == 3, "two of five are gone"
