"""Regions: each goes on by itself, and together they stay within their limits."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep import AsyncRateLimiter, Limit, Misuse, RateLimiter, start_region
from redstep_check.engines import Engine
from redstep_check.registry import GUARDS
from redstep_check.runs import Budget, Verdict, run
from redstep_check.targets.regions import RegionsTarget
from support.servers import impatient

BENCH = GUARDS["rate-limiter-regions"].bench


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Degraded decisions are logged, thousands of them."""
    caplog.set_level(logging.CRITICAL, logger="redstep")


@pytest.fixture
def two_engines(engine_named: Callable[[str], Engine]) -> tuple[Engine, Engine]:
    """A region's own deployment, and the one that all share."""
    return engine_named("valkey9"), engine_named("valkey8")


@pytest.mark.parametrize("representation", ["packed", "zset"])
def test_regions_agree_with_the_specification(two_engines: tuple[Engine, Engine], representation: str) -> None:
    """Whatever becomes of the global calls, regions decide as specified, and stay within the sum of all limits."""
    target = RegionsTarget(*two_engines, representation)
    result = run(BENCH, target, Budget(seed=11))
    target.close()
    assert result.verdict is Verdict.HOLDS, result.mismatch or [each.sentence for each in result.missed]


class Uncharged(RegionsTarget):
    """Regions that share no global limit after all: each asks one of its own."""

    def call(self, call: Any, fates: Any) -> Any:
        """Ask under a prefix of the region's own."""
        prefix, self.prefix = self.prefix, f"{self.prefix}{call.region}:"
        try:
            return super().call(call, fates)
        finally:
            self.prefix = prefix


@pytest.mark.catches("RL-11", "a global limit for each region")
def test_a_global_limit_that_is_not_shared_is_caught(two_engines: tuple[Engine, Engine]) -> None:
    """RL-11 can fail: with a global limit for each region, more is admitted than all limits together allow."""
    target = Uncharged(*two_engines, "packed")
    result = run(BENCH, target, Budget(seed=11))
    target.close()
    assert result.mismatch is not None
    last: Any = result.mismatch.story[-1]
    assert last.expected.reply.allowed is False
    assert last.answer.values["allowed"] is True


# ---------------------------------------------------------------------------------------------- real deployments


class Sync:
    """A limiter of a region, with the global limit elsewhere."""

    def __init__(self, own: Engine, overall: Engine, **settings: Any) -> None:
        self.clients = (own.client(), overall.client())
        self.limiter = RateLimiter(
            self.clients[0], Limit(2, 600_000), global_client=self.clients[1], **settings, on_store_failure="closed"
        )

    def acquire(self) -> Any:
        """Ask."""
        return self.limiter.acquire("a")

    def close(self) -> None:
        """Close."""
        self.limiter.close()
        for client in self.clients:
            client.close()


class Async:
    """The same under asyncio."""

    def __init__(self, own: Engine, overall: Engine, **settings: Any) -> None:
        self.runner = asyncio.Runner()
        self.clients = (own.async_client(), overall.async_client())
        self.limiter = AsyncRateLimiter(
            self.clients[0], Limit(2, 600_000), global_client=self.clients[1], **settings, on_store_failure="closed"
        )

    def acquire(self) -> Any:
        """Ask."""
        return self.runner.run(self.limiter.acquire("a"))

    def close(self) -> None:
        """Close."""
        self.runner.run(self._close())
        self.runner.close()

    async def _close(self) -> None:
        await self.limiter.close()
        for client in self.clients:
            await client.aclose()


@pytest.fixture(params=(Sync, Async), ids=("sync", "asyncio"))
def limiter(request: pytest.FixtureRequest, two_engines: tuple[Engine, Engine]) -> Iterator[Any]:
    """A limiter with a limit of two, and three more across regions."""
    made = request.param(*two_engines, global_limits=Limit(3, 600_000))
    yield made
    made.close()


def told(decision: Any) -> tuple[bool, bool, bool]:
    """Whether it was allowed, by the global limit, and degraded."""
    return decision.allowed, decision.from_global, decision.degraded


def test_a_paused_and_then_killed_global_deployment_changes_no_local_decision(
    limiter: Any, two_engines: tuple[Engine, Engine]
) -> None:
    """The region's own decisions stand, marked degraded; nothing is raised; and what recovers is used again."""
    pid = two_engines[1].pid
    assert pid is not None
    assert [told(limiter.acquire()) for _ in range(3)] == [(True, False, False), (True, False, False), (True, True, False)]
    os.kill(pid, signal.SIGSTOP)
    with impatient(limiter.clients[1].connection_pool):
        assert told(limiter.acquire()) == (False, False, True)
    os.kill(pid, signal.SIGCONT)
    after = [told(limiter.acquire()) for _ in range(3)]
    assert after[-1] == (False, False, False), "both deny"
    assert 1 <= after.count((True, True, False)) <= 2, "the call that was degraded may have been charged, once"
    os.kill(pid, signal.SIGKILL)
    assert [told(limiter.acquire()) for _ in range(3)] == [(False, False, True)] * 3


def test_a_degraded_decision_is_logged(two_engines: tuple[Engine, Engine], caplog: pytest.LogCaptureFixture) -> None:
    """The log names the limit and what is wrong."""
    caplog.set_level(logging.WARNING, logger="redstep")
    with redis.Redis(unix_socket_path="/nonexistent/socket") as nowhere:
        limiter = RateLimiter(
            two_engines[0].client(),
            Limit(1, 600_000),
            global_limits=Limit(1, 600_000),
            global_client=nowhere,
            on_store_failure="closed",
        )
        assert told(limiter.acquire("user:7")) == (True, False, False)
        assert told(limiter.acquire("user:7")) == (False, False, True)
        limiter.close()
    assert "user:7" in caplog.text
    assert "no connection to the store" in caplog.text


def test_corrupt_global_state_and_an_exhausted_pool_leave_the_local_decision(two_engines: tuple[Engine, Engine]) -> None:
    """Whatever goes wrong with the global call, the region's own denial stands, degraded."""
    own, overall = two_engines
    pool: Any = redis.BlockingConnectionPool.from_url(f"unix://{overall.address}", max_connections=1, timeout=0.05)
    client = redis.Redis(connection_pool=pool)
    limiter = RateLimiter(
        own.client(), Limit(1, 600_000), global_limits=Limit(9, 600_000), global_client=client, on_store_failure="closed"
    )
    client.hset("redstep:rate-limiter-global:{a}:600000:packed", "x", "1")
    assert told(limiter.acquire("a")) == (True, False, False)
    assert told(limiter.acquire("a")) == (False, False, True)
    held = pool.get_connection()
    assert told(limiter.acquire("b")) == (True, False, False)
    assert told(limiter.acquire("b")) == (False, False, True)
    pool.release(held)
    assert told(limiter.acquire("b")) == (True, True, False)
    pool.disconnect()


def test_an_identity_and_a_global_limit_exclude_each_other(two_engines: tuple[Engine, Engine]) -> None:
    """Two logs cannot admit an identity just once, so it is a misuse to try; nothing is charged."""
    settings: dict[str, Any] = {"global_limits": Limit(2, 600_000), "representation": "zset"}
    limiter = RateLimiter(two_engines[0].client(), Limit(5, 600_000), **settings, on_store_failure="closed")
    with pytest.raises(Misuse) as raised:
        limiter.acquire("a", request_id="x")
    assert raised.value.argument == "request_id"
    assert limiter.peek("a").remaining == 5


def test_regions_of_one_deployment_have_logs_of_their_own_and_share_the_global_one(engine_named: Any) -> None:
    """RL-11: regions of one deployment admit one each, and one for all of them, whatever their prefixes."""
    client, one = engine_named("valkey9").client(), Limit(1, 600_000)
    regions = [
        RateLimiter(
            client,
            one,
            global_limits=one,
            region=start_region(client, name, cold_ms=0),
            prefix=prefix,
            on_store_failure="closed",
        )
        for name, prefix in (("east", "a:"), ("west", "a:"), ("north", "b:"))
    ]
    assert sum(limiter.acquire("x").allowed for limiter in regions for _ in range(4)) == 4


def test_a_cost_above_the_global_limit_is_the_regions_alone_to_decide(two_engines: tuple[Engine, Engine]) -> None:
    """What the global limit could never admit is not asked of it: the region's denial stands, and is not degraded."""
    limiter = RateLimiter(
        two_engines[0].client(), Limit(5, 600_000), global_limits=Limit(2, 600_000), on_store_failure="closed"
    )
    assert limiter.acquire("a", 4).allowed
    assert told(limiter.acquire("a", 3)) == (False, False, False)
    assert told(limiter.acquire("a", 2)) == (True, True, False)


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("global_limits", {"global_limits": [Limit(2, 10), Limit(3, 10)]}),
        ("global_limits", {"global_limits": 5}),
        ("global_client", {"global_client": redis.Redis()}),
        ("cache_denials", {"cache_denials": "yes"}),
        ("clock", {"cache_denials": True, "clock": lambda: 0}),
    ],
)
def test_what_a_region_is_made_with_is_checked(argument: str, settings: dict[str, Any]) -> None:
    """A bad argument is named, before anything is sent."""
    with pytest.raises(Misuse) as raised:
        RateLimiter(redis.Redis(), Limit(5, 10), **settings, on_store_failure="closed")
    assert raised.value.argument == argument
