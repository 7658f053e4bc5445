"""PF-4, as far as the rate limiter goes: a denial in the client's time, against redis-py's own EVALSHA and `limits`."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import redis

from measuring import DAY_MS, NULL6, Extent, Rounds, Server
from peers import PEERS
from redstep import Limit, RateLimiter
from redstep.rate_limiter import Policy
from reporting import Row

LIMIT = 1_000
CALLS = 100
RULE = "PF-4 client, sync, on the loopback interface (for information)"


def test_denials(server: Server, url: str, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """Redstep's acquire beside redis.Redis.evalsha of null6 with the same key and arguments, and `limits`' hit."""
    policy = Policy(limits=Limit(LIMIT, DAY_MS))
    [key] = policy.keys("user:1")
    rounds = Rounds()
    with ExitStack() as stack:
        pool = redis.ConnectionPool.from_url(url)
        client = stack.enter_context(redis.Redis.from_pool(pool))
        limiter = stack.enter_context(RateLimiter(client, policy.limits, on_store_failure="closed"))
        sha, args = client.script_load(NULL6), ("", 1, policy.warm_at_ms, *policy.limit_args)
        subjects: dict[str, Callable[[], bool]] = {
            "redstep": lambda: limiter.acquire("user:1").allowed,
            "evalsha": lambda: client.evalsha(sha, 1, key, *args)[1] == 1,
        }
        if extent.peers:
            [limits] = [peer for peer in PEERS if peer.name == "limits"]
            try:
                subjects["limits"] = stack.enter_context(limits.opened(url, LIMIT))("user:1")
            except ImportError as reason:
                found(Row(RULE, None, "", "limits", str(reason)))
        for subject in set(subjects) - {"evalsha"}:
            assert [subjects[subject]() for _ in range(LIMIT)] == [True] * LIMIT

        def one_round() -> None:
            for subject, call in subjects.items():
                calls = range(CALLS)
                started = time.perf_counter()
                answers = [call() for _ in calls]
                rounds.add(subject, (time.perf_counter() - started) * 1e6 / CALLS)
                assert answers == [False] * CALLS

        benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
        assert server.round_trips(subjects["redstep"]) == 1

    for other, bound in {"evalsha": 0.75, "limits": 0.6}.items():
        if other in subjects:
            detail = f"{rounds.median('redstep'):.0f} µs and {rounds.median(other):.0f} µs a call"
            subject = (
                f"RateLimiter.acquire against {'redis.Redis.evalsha of null6' if other == 'evalsha' else 'the hit of limits'}"
            )
            found(Row(RULE, rounds.ratio("redstep", other), f"x {other}", subject, detail, bound))
