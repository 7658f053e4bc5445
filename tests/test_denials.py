"""Local denials: repeated while they hold, and never beyond."""

import os
import signal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from redstep import denials as sound
from redstep import rate_limiter as impl
from redstep_check.engines import open_engine
from redstep_check.targets.planted import Fault, planted
from redstep_spec import rate_limiter as spec

FILE = "redstep.denials"
FAULTS = (
    Fault(name="cheaper calls denied too", rule="RL-18", file=FILE, old="or cost < denial.cost", new="or cost < 0"),
    Fault(name="held one ms too long", rule="RL-18", file=FILE, old="sent_ms + hold_ms - 1)", new="sent_ms + hold_ms + 1)"),
    Fault(
        name="counted from now on",
        rule="RL-18",
        file=FILE,
        old="Denial(decision, cost, sent_ms, sent_ms + hold_ms - 1)",
        new="Denial(decision, cost, sent_ms, sent_ms + 2 * hold_ms)",
    ),
)

steps = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 3), st.integers(0, 2)),  # ms passed before, cost, ms on the way
    max_size=30,
)


def wrong_denials(module: Any, plan: list[tuple[int, int, int]], cold_ms: int) -> tuple[int, int]:
    """Run a cache before the specification; count the denials it repeats, and those the specification would not make."""
    limits = (spec.Limit(limit=4, window_ms=7),)
    region = spec.Region(start_ms=1_000, cold_ms=cold_ms, percent=50)
    cache = module.Denials()
    logs, store_ms, repeated, wrong = spec.INITIAL, 1_000, 0, 0
    for passed_ms, cost, way_ms in plan:
        store_ms += passed_ms
        client_ms = store_ms - 990  # the client's clock is another, of the same rate
        call = spec.Acquire(name="a", limits=limits, now_ms=store_ms, cost=cost, region=region)
        known = cache.recall("a", cost, client_ms)
        if known is not None:
            repeated += 1
            _, truth = spec.acquire(logs, call)
            wrong += truth.allowed or known.allowed or not known.cached or known.retry_after_ms > truth.retry_after_ms
            continue
        store_ms += way_ms
        logs, decision = spec.acquire(logs, evolve(call, now_ms=store_ms))
        if not decision.allowed:
            shipped = impl.Decision(
                False, 0, decision.limit, decision.remaining, decision.retry_after_ms, decision.reset_after_ms, store_ms
            )
            cache.remember("a", cost, shipped, client_ms, region.warm_at_ms)
    return repeated, wrong


@given(plan=steps, cold_ms=st.integers(0, 20))
def test_a_repeated_denial_is_one_that_the_engine_would_make(plan: list[tuple[int, int, int]], cold_ms: int) -> None:
    """RL-18: whatever is denied from memory, the engine would deny too, and for at least as long."""
    assert wrong_denials(sound, plan, cold_ms)[1] == 0


def test_denials_are_repeated_at_all() -> None:
    """The property is about something: in a run of costs in one millisecond most denials come from memory."""
    repeated, wrong = wrong_denials(sound, [(0, 1, 0)] * 20, 0)
    assert repeated >= 10
    assert wrong == 0


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.catches("RL-18", "cheaper calls denied too, held too long")
def test_an_unsound_cache_is_caught(fault: Fault) -> None:
    """RL-18 can fail: a cache that holds too much or too long denies what the engine would admit."""
    faulty = planted(fault, FILE)
    plans = [[(0, cost, 0) for cost in (3, 2, 1)] + [(ms, cost, 0) for ms in (0, 6, 1)] for cost in (1, 2)]
    plans += [[(0, 2, 0), (0, 2, 0), (0, 1, 0), (7, 1, 0), (1, 1, 0)], [(0, 3, 0), (0, 2, 0), (0, 1, 0)]]
    assert any(wrong_denials(faulty, plan, 0)[1] for plan in plans)
    assert not any(wrong_denials(sound, plan, 0)[1] for plan in plans)


def test_names_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache is bounded: the name denied longest ago is forgotten first."""
    monkeypatch.setattr(sound, "NAMES_MAX", 2)
    cache = sound.Denials()
    for name in ("a", "b", "c"):
        cache.remember(name, 1, impl.Decision(False, 0, 1, 0, 100, 100, 0), 0, 0)
    assert [cache.recall(name, 1, 5) is not None for name in ("a", "b", "c")] == [False, True, True]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_process_repeats_denials_too() -> None:
    """It knows what its parent knew, and does not wait for a thread of the parent's that was just remembering."""
    cache = sound.Denials()
    cache.remember("a", 1, impl.Decision(False, 0, 1, 0, 100, 100, 0), 0, 0)
    with cache._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)  # ends one that waits for ever
            os._exit(0 if cache.recall("a", 1, 5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert cache.recall("a", 1, 5) is not None


def test_a_limiter_repeats_a_denial_without_asking_the_engine() -> None:
    """With cache_denials a denied name costs no command until the denial has passed; a reset and a request id ask anew."""
    from redstep import Limit, RateLimiter

    with open_engine("valkey9") as engine:
        client = engine.client()
        limiter = RateLimiter(client, Limit(1, 600_000), cache_denials=True, representation="zset", on_store_failure="closed")
        assert limiter.acquire("a").allowed
        first = limiter.acquire("a")
        client.config_resetstat()
        again = [limiter.acquire("a") for _ in range(5)]
        assert "cmdstat_evalsha" not in client.info("commandstats")
        assert all(each.cached and not each.allowed for each in again)
        assert all(0 < each.retry_after_ms <= first.retry_after_ms for each in again)
        assert not limiter.acquire("a", request_id="x").cached
        limiter.reset("a")
        assert limiter.acquire("a").allowed


def test_an_impossible_call_is_no_denial_even_from_memory() -> None:
    """A cost above the limit is a misuse, also while a denial of the name is remembered."""
    from redstep import Limit, Misuse, RateLimiter

    with open_engine("valkey9") as engine:
        limiter = RateLimiter(engine.client(), Limit(1, 600_000), cache_denials=True, on_store_failure="closed")
        limiter.acquire("a")
        limiter.acquire("a")
        with pytest.raises(Misuse, match="cost"):
            limiter.acquire("a", 2)
