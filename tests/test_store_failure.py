"""A limiter whose store fails: its policy decides, and its breaker spares it the waiting."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep import AsyncRateLimiter, Corrupt, Limit, Misuse, RateLimiter, ServiceOverloaded, Unavailable
from redstep.circuit_breaker import Policy
from redstep_check.engines import Engine
from support.servers import impatient

LIMIT = Limit(2, 600_000)
BREAKER = Policy(failure_threshold=3, success_threshold=1, open_ms=600_000)
EACH_KIND = pytest.mark.parametrize("kind", ["sync", "asyncio"])


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """What is logged is asserted where it matters."""
    caplog.set_level(logging.INFO, logger="redstep")


class Sync:
    """A limiter for threads."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        self.client = engine.client()
        self.limiter = RateLimiter(self.client, LIMIT, **settings)

    def acquire(self, name: str = "a", cost: int = 1) -> Any:
        """Ask."""
        return self.limiter.acquire(name, cost)

    def peek(self) -> Any:
        """Look."""
        return self.limiter.peek("a")

    def close(self) -> None:
        """Close."""
        self.limiter.close()
        self.client.close()


class Async:
    """A limiter for tasks."""

    def __init__(self, engine: Engine, **settings: Any) -> None:
        self.runner = asyncio.Runner()
        self.client = engine.async_client()
        self.limiter = AsyncRateLimiter(self.client, LIMIT, **settings)

    def acquire(self, name: str = "a", cost: int = 1) -> Any:
        """Ask."""
        return self.runner.run(self.limiter.acquire(name, cost))

    def peek(self) -> Any:
        """Look."""
        return self.runner.run(self.limiter.peek("a"))

    def close(self) -> None:
        """Close."""
        self.runner.run(self.limiter.close())
        self.runner.run(self.client.aclose())
        self.runner.close()


KINDS: dict[str, Callable[..., Any]] = {"sync": Sync, "asyncio": Async}


@EACH_KIND
def test_a_limiter_that_fails_open_admits_when_its_store_is_gone(
    engine_named: Callable[[str], Engine], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """RL-12: what was a denial becomes an admission that says it was not counted; after F failures the store is left alone."""
    engine = engine_named("valkey9")
    limiter = KINDS[kind](engine, on_store_failure="open", breaker=BREAKER)
    assert [limiter.acquire().allowed for _ in range(3)] == [True, True, False]
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    decisions = [limiter.acquire() for _ in range(9)]
    assert {(each.allowed, each.degraded) for each in decisions} == {(True, True)}
    assert caplog.text.count("admitted without being counted") == BREAKER.failure_threshold, "then the breaker refuses"
    assert caplog.text.count("the breaker in front of the home store is open") == 1
    with pytest.raises(Misuse):
        limiter.acquire("a", 3)
    with pytest.raises(Unavailable):
        limiter.peek()
    limiter.close()


@EACH_KIND
def test_a_limiter_that_fails_closed_raises_when_its_store_is_gone(
    engine_named: Callable[[str], Engine], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """RL-12: Unavailable, by the store first and then by the breaker; the latter has certainly executed nothing."""
    engine = engine_named("valkey9")
    limiter = KINDS[kind](engine, on_store_failure="closed", breaker=BREAKER)
    assert limiter.acquire().allowed
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    problems = []
    for _ in range(6):
        with pytest.raises(Unavailable) as raised:
            limiter.acquire()
        problems.append(raised.value)
    assert ["the store is not asked" in each.problem for each in problems] == [False] * 3 + [True] * 3
    assert all(each.definite for each in problems[3:])
    assert "without being counted" not in caplog.text
    limiter.close()


@EACH_KIND
@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_store_that_hangs_costs_a_few_timeouts_and_then_none(
    engine_named: Callable[[str], Engine], kind: str, policy: str
) -> None:
    """A paused engine is asked F times; when it wakes, nothing of what the breaker refused was charged."""
    engine = engine_named("valkey9")
    limiter = KINDS[kind](engine, on_store_failure=policy, breaker=BREAKER)
    assert limiter.acquire("b").allowed, "the connection is there"
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    with impatient(limiter.client.connection_pool):
        for _ in range(8):
            if policy == "open":
                assert limiter.acquire().degraded
            else:
                with pytest.raises(Unavailable):
                    limiter.acquire()
    os.kill(engine.pid, signal.SIGCONT)
    with engine.client() as admin:
        [*keys] = admin.scan_iter(match="*{a}*")
        calls = admin.info("commandstats")
    asked = sum(calls.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "eval"))
    assert asked <= 2 + 2 * BREAKER.failure_threshold
    assert len(keys) <= 1
    limiter.close()


@EACH_KIND
@pytest.mark.parametrize("policy", ["open", "closed"])
def test_a_pool_that_ran_out_is_neither(engine_named: Callable[[str], Engine], kind: str, policy: str) -> None:
    """RL-13: ServiceOverloaded whatever the policy, and however often: the breaker stays closed."""
    engine = engine_named("valkey9")
    limiter = KINDS[kind](engine, on_store_failure=policy, breaker=BREAKER)
    assert limiter.acquire().allowed
    pool = limiter.limiter._driver._pool
    pool.max_connections = 0
    held = pool.get_connection()
    held = limiter.runner.run(held) if kind == "asyncio" else held
    for _ in range(5):
        with pytest.raises(ServiceOverloaded):
            limiter.acquire()
    released = pool.release(held)
    if kind == "asyncio":
        limiter.runner.run(released)
    assert not limiter.acquire().degraded, "it is counted again at once"
    limiter.close()


@EACH_KIND
@pytest.mark.parametrize("policy", ["open", "closed"])
def test_corrupt_state_is_neither(engine_named: Callable[[str], Engine], kind: str, policy: str) -> None:
    """CM-9: a key of another kind raises Corrupt whatever the policy; it is nobody's failure, and the breaker stays closed."""
    engine = engine_named("valkey9")
    limiter = KINDS[kind](engine, on_store_failure=policy, breaker=BREAKER)
    with engine.client() as admin:
        admin.hset("redstep:rate-limiter:{a}:600000:packed", "x", "1")
        for _ in range(5):
            with pytest.raises(Corrupt):
                limiter.acquire()
        assert limiter.acquire("b").allowed
    limiter.close()


@EACH_KIND
def test_a_full_store_denies_and_its_admissions_fail_by_the_policy(engine_named: Callable[[str], Engine], kind: str) -> None:
    """RL-17: without memory a denial is answered; an admission is degraded, and the breaker does not open for it."""
    engine = engine_named("valkey9")
    limiter = KINDS[kind](engine, on_store_failure="open", breaker=BREAKER)
    assert [limiter.acquire().allowed for _ in range(2)] == [True, True]
    with engine.client() as admin:
        admin.config_set("maxmemory", "1")
        for _ in range(5):
            assert not limiter.acquire("a").allowed
            assert limiter.acquire("b").degraded
        admin.config_set("maxmemory", "0")
        assert not limiter.acquire("b").degraded
    limiter.close()


def test_a_global_deployment_that_is_gone_is_left_alone_too(
    engine_named: Callable[[str], Engine], caplog: pytest.LogCaptureFixture
) -> None:
    """It has a breaker of its own: the region's denials stand, degraded, without another timeout each."""
    with redis.Redis(unix_socket_path="/nonexistent/socket") as nowhere, engine_named("valkey9").client() as client:
        limiter = RateLimiter(
            client,
            Limit(1, 600_000),
            on_store_failure="open",
            breaker=BREAKER,
            global_limits=Limit(9, 600_000),
            global_client=nowhere,
        )
        assert limiter.acquire("a").allowed
        for _ in range(6):
            decision = limiter.acquire("a")
            assert (decision.allowed, decision.degraded) == (False, True)
        limiter.close()
    assert caplog.text.count("no connection to the store") == BREAKER.failure_threshold
    assert caplog.text.count("the breaker in front of the global store is open") == 1


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("on_store_failure", {"on_store_failure": "ajar"}),
        ("on_store_failure", {"on_store_failure": None}),
        ("on_store_failure", {"on_store_failure": ["open"]}),
        ("breaker", {"on_store_failure": "open", "breaker": 5}),
        ("breaker", {"on_store_failure": "open", "breaker": None}),
    ],
)
def test_the_policy_is_explicit_and_checked(argument: str, settings: dict[str, Any]) -> None:
    """A bad one is named, before anything is sent; none at all is a TypeError, as of any argument that is missing."""
    kinds: list[tuple[Callable[..., object], object]] = [
        (RateLimiter, redis.Redis()),
        (AsyncRateLimiter, redis.asyncio.Redis()),
    ]
    for make, client in kinds:
        with pytest.raises(Misuse) as raised:
            make(client, LIMIT, **settings)
        assert raised.value.argument == argument
        with pytest.raises(TypeError):
            make(client, LIMIT)
