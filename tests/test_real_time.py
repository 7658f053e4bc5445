"""On the engine's own clock: one-sided laws, for there what time it is cannot be told in advance."""

import multiprocessing
import time
from typing import cast

import pytest
import redis

from redstep import Limit, RateLimiter, start_region
from redstep_check.engines import SERVERS, Engine
from support.servers import Opened
from support.waiting import PATIENCE_S, eventually
from support.windows import most_in_a_window

WINDOW_MS = 60
LIMIT = 25
PROCESSES = 3
SECONDS = 1.2

EVERYWHERE = [(name, representation) for name in SERVERS for representation in ("packed", "zset")]
"""Every engine with both representations; fakeredis' Lua lacks `struct`, which `packed` needs."""


def hammer(address: str, prefix: str, representation: str) -> tuple[list[int], list[int]]:
    """Acquire as fast as possible, beside the others; return when calls were admitted, and when denied.

    Nobody begins before all are there, nor ends before each was admitted and denied.
    """
    client = redis.Redis(unix_socket_path=address)
    limiter = RateLimiter(
        client, Limit(LIMIT, WINDOW_MS), prefix=prefix, representation=representation, on_store_failure="closed"
    )
    admitted: list[int] = []
    denied: list[int] = []

    def all_are(what: str) -> bool:
        return int(cast("bytes | None", client.get(what)) or 0) == PROCESSES

    client.incr("there")
    assert eventually(lambda: all_are("there"))
    until_s, told = time.monotonic() + SECONDS, False
    while time.monotonic() < until_s or not all_are("served"):
        decision = limiter.acquire("shared")
        (admitted if decision.allowed else denied).append(decision.now_ms)
        if admitted and denied and not told:
            told = bool(client.incr("served"))
        if decision.retry_after_ms > WINDOW_MS // 2:
            time.sleep((decision.retry_after_ms - 2) / 1000)  # a burst just before the window ends
        assert time.monotonic() < until_s + PATIENCE_S
    limiter.close()
    return admitted, denied


@pytest.mark.parametrize(("engine_name", "representation"), EVERYWHERE)
def test_processes_never_get_more_than_the_limit_in_any_window(
    engine_named: Opened, engine_name: str, representation: str
) -> None:
    """Several processes on the engine's TIME, with bursts at the end of windows: at most L in every window, and L in some."""
    engine = engine_named(engine_name)
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool, engine.client() as client:
        runs = pool.starmap(hammer, [(engine.address, engine.prefix, representation)] * PROCESSES, chunksize=1)
        lives_ms = [client.pttl(key) for key in client.scan_iter(match=f"{engine.prefix}*")]
    assert all(admitted and denied for admitted, denied in runs), "every process was admitted and denied"
    spans_ms = [(min(admitted + denied), max(admitted + denied)) for admitted, denied in runs]
    assert max(begun for begun, _ in spans_ms) < min(ended for _, ended in spans_ms), "there was a time when all were at it"
    assert most_in_a_window([stamp for admitted, _ in runs for stamp in admitted], WINDOW_MS) == LIMIT
    assert all(-2 <= life_ms <= WINDOW_MS and life_ms != -1 for life_ms in lives_ms)


def test_the_measure_can_fail() -> None:
    """Windows that hold one too many are seen, also across the edge of two aligned windows."""
    assert most_in_a_window([0] * LIMIT + [WINDOW_MS], WINDOW_MS) == LIMIT
    assert most_in_a_window([0] * LIMIT + [WINDOW_MS - 1], WINDOW_MS) == LIMIT + 1


@pytest.mark.parametrize(("engine_name", "representation"), [*EVERYWHERE, ("fakeredis", "zset")])
def test_an_idle_log_vanishes_and_a_full_one_lasts(engine_named: Opened, engine_name: str, representation: str) -> None:
    """On the engine's clock a log is gone soon after its last admission stopped counting, and not before."""
    engine = engine_named(engine_name)
    with engine.client() as client:
        limiter = RateLimiter(
            client, Limit(2, 80), prefix=engine.prefix, representation=representation, on_store_failure="closed"
        )
        first = limiter.acquire("a")
        while (usage := limiter.peek("a")).remaining < 2:
            assert usage.now_ms < first.now_ms + 80
        assert usage.now_ms >= first.now_ms + 80
        assert eventually(lambda: not client.keys(f"{engine.prefix}*"))


@pytest.mark.parametrize(("engine_name", "representation"), [*EVERYWHERE, ("fakeredis", "zset")])
def test_a_region_starts_on_the_engines_clock(engine_named: Opened, engine_name: str, representation: str) -> None:
    """A region is cold from its start on, whatever the client's clock, and warm when its cold start is over."""
    engine = engine_named(engine_name)
    assert any(was_cold(engine, representation, 60 * 2**attempt) for attempt in range(10))


def was_cold(engine: Engine, representation: str, cold_ms: int) -> bool:
    """Start a region, and look until it is warm: whenever one looks, what it admits fits. Did one look while it was cold?"""
    client = engine.client()
    region = start_region(client, "here", cold_ms=cold_ms, percent=34)
    limiter = RateLimiter(
        client,
        Limit(10, 1_000),
        region=region,
        prefix=engine.prefix,
        representation=representation,
        on_store_failure="closed",
    )
    seen: dict[int, int] = {}
    while not seen or max(seen) <= region.warm_at_ms:
        usage = limiter.peek("a")
        seen[usage.now_ms] = usage.limit
    assert seen == {now_ms: 3 if now_ms < region.warm_at_ms else 10 for now_ms in seen}
    return 3 in seen.values()
