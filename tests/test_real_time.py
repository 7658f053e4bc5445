"""On the engine's own clock: one-sided laws, for there what time it is cannot be told in advance."""

import multiprocessing
import time
from bisect import bisect_right

import pytest
import redis

from redstep import Limit, RateLimiter, start_region
from redstep_check.engines import NAMES, EngineUnavailable, open_engine

WINDOW_MS = 60
LIMIT = 25
PROCESSES = 3
SECONDS = 1.2


REAL_ENGINES = tuple(name for name in NAMES if name != "fakeredis")
EVERYWHERE = [(name, representation) for name in REAL_ENGINES for representation in ("packed", "zset")]
"""Every engine with both representations; fakeredis' Lua lacks `struct`, which `packed` needs."""


def hammer(address: str, prefix: str, representation: str, seconds: float) -> tuple[list[int], int]:
    """Acquire as fast as possible; return when calls were admitted, and how many were denied."""
    client = redis.Redis(unix_socket_path=address)
    limiter = RateLimiter(
        client, Limit(LIMIT, WINDOW_MS), prefix=prefix, representation=representation, on_store_failure="closed"
    )
    admitted, denied = [], 0
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        decision = limiter.acquire("shared")
        if decision.allowed:
            admitted.append(decision.now_ms)
        else:
            denied += 1
            if decision.retry_after_ms > WINDOW_MS // 2:
                time.sleep((decision.retry_after_ms - 2) / 1000)  # a burst just before the window ends
    limiter.close()
    return admitted, denied


def most_in_a_window(stamps_ms: list[int]) -> int:
    """The most admissions that any window (t - W, t] holds."""
    stamps_ms = sorted(stamps_ms)
    return max(i + 1 - bisect_right(stamps_ms, t - WINDOW_MS) for i, t in enumerate(stamps_ms))


@pytest.mark.parametrize(("engine_name", "representation"), EVERYWHERE)
def test_processes_never_get_more_than_the_limit_in_any_window(engine_name: str, representation: str) -> None:
    """Several processes on the engine's TIME, with bursts at the end of windows: at most L in every window, and L in some."""
    try:
        with open_engine(engine_name) as engine, multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
            runs = pool.starmap(hammer, [(engine.address, engine.prefix, representation, SECONDS)] * PROCESSES)
            keys = list(engine.client().scan_iter(match=f"{engine.prefix}*"))
            lives_ms = [engine.client().pttl(key) for key in keys]
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    stamps_ms = [stamp for admitted, _ in runs for stamp in admitted]
    assert most_in_a_window(stamps_ms) == LIMIT
    assert all(admitted and denied for admitted, denied in runs), "every process was admitted and denied"
    assert all(-2 <= life_ms <= WINDOW_MS and life_ms != -1 for life_ms in lives_ms)


def test_the_measure_can_fail() -> None:
    """Windows that hold one too many are seen, also across the edge of two aligned windows."""
    assert most_in_a_window([0] * LIMIT + [WINDOW_MS]) == LIMIT
    assert most_in_a_window([0] * LIMIT + [WINDOW_MS - 1]) == LIMIT + 1


@pytest.mark.parametrize(("engine_name", "representation"), [*EVERYWHERE, ("fakeredis", "zset")])
def test_an_idle_log_vanishes_and_a_full_one_lasts(engine_name: str, representation: str) -> None:
    """On the engine's clock a log is gone soon after its last admission stopped counting, and not before."""
    try:
        with open_engine(engine_name) as engine:
            client = engine.client()
            limiter = RateLimiter(
                client, Limit(2, 80), prefix=engine.prefix, representation=representation, on_store_failure="closed"
            )
            first = limiter.acquire("a")
            while (usage := limiter.peek("a")).remaining < 2:
                assert usage.now_ms < first.now_ms + 80
            assert usage.now_ms >= first.now_ms + 80
            deadline_s = time.monotonic() + 5
            while client.keys(f"{engine.prefix}*"):
                assert time.monotonic() < deadline_s
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("engine_name", "representation"), [*EVERYWHERE, ("fakeredis", "zset")])
def test_a_region_starts_on_the_engines_clock(engine_name: str, representation: str) -> None:
    """A region is cold from its start on, whatever the client's clock, and warm when its cold start is over."""
    try:
        with open_engine(engine_name) as engine:
            client = engine.client()
            region = start_region(client, "here", cold_ms=60, percent=34)
            limiter = RateLimiter(
                client,
                Limit(10, 1_000),
                region=region,
                prefix=engine.prefix,
                representation=representation,
                on_store_failure="closed",
            )
            seen = {}
            while (usage := limiter.peek("a")).now_ms <= region.warm_at_ms:
                seen[usage.now_ms] = usage.limit
            assert set(seen.values()) == {3, 10} or region.warm_at_ms not in seen
            assert all((limit == 3) == (now_ms < region.warm_at_ms) for now_ms, limit in seen.items())
            assert seen
            assert usage.limit == 10
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
