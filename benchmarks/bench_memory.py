"""
PF-2: what an entry takes, by the engine's own `MEMORY USAGE`: key, object, allocation and what is kept in reserve.

A log is filled from empty to full, on the engine's clock. The worst value between half full and full is reported, for a
log that is about to grow has its reserve for nothing.
"""

from collections.abc import Callable
from typing import Any

import pytest

from measuring import DAY_MS, Extent, Server
from redstep import RateLimiter, rate_limiter
from redstep.rate_limiter import Limit, Policy
from redstep_check.naive.rate_limiter import SCRIPT as NAIVE
from reporting import Row

SAMPLES = 200
RULE = "PF-2 memory, worst from half full to full"


def test_entries(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """Bytes an entry in both representations, and in the naive sorted set, which is told instants of its own."""

    def fill(call: Callable[[int], bytes], key: str, limit: int) -> dict[int, float]:
        server.client.delete(key)
        bytes_each: dict[int, float] = {}
        step = max(1, limit // SAMPLES)
        for entries in range(0, limit, step):
            replies = server.send([call(entry) for entry in range(entries, entries + step)])
            assert all((reply if isinstance(reply, int) else reply[0]) == 1 for reply in replies)
            assert 0 < server.client.pttl(key) <= DAY_MS
            bytes_each[entries + step] = server.bytes_of(key) / (entries + step)
        assert server.bytes_of(key) > 8 * limit
        return bytes_each

    def representation_filled(name: str, limit: int) -> dict[int, float]:
        policy = Policy(limits=Limit(limit, DAY_MS), representation=name)
        [key] = policy.keys("user:1234567")
        identity = () if name == rate_limiter.PACKED else ("",)
        script = rate_limiter.scripts_of(name)[0].text
        acquire = server.packed(script, key, "", 1, *identity, policy.warm_at_ms, *policy.limit_args)
        return fill(lambda _: acquire, key, limit)

    def naive_filled(limit: int) -> dict[int, float]:
        key = "rate-limiter:{user:1234567}"
        sha = server.client.script_load(NAIVE)
        return fill(lambda entry: server.command("EVALSHA", sha, 1, key, 1_700_000_000_000 + entry, DAY_MS, limit), key, limit)

    def all_filled() -> dict[tuple[str, int], dict[int, float]]:
        both = rate_limiter.REPRESENTATIONS
        filled = {(name, limit): representation_filled(name, limit) for name in both for limit in extent.limits}
        return filled | {("naive sorted set", limit): naive_filled(limit) for limit in extent.limits}

    filled = benchmark.pedantic(all_filled)
    for (name, limit), bytes_each in filled.items():
        level, worst = max(((at, each) for at, each in bytes_each.items() if at >= limit // 2), key=lambda pair: pair[1])
        detail = f"at {level:,} entries; full {bytes_each[limit]:.1f}"
        bound = 26 if name == rate_limiter.PACKED else None
        found(Row(RULE, worst, "bytes an entry", f"{name}, L = {limit:,}", detail, bound))


@pytest.mark.parametrize("representation", rate_limiter.REPRESENTATIONS)
def test_ttl(server: Server, found: Callable[[Row], None], benchmark: Any, representation: str) -> None:
    """After every call, admitted or denied, the log has a TTL that does not outlive the window."""
    limiter = RateLimiter(server.client, Limit(50, DAY_MS), representation=representation, on_store_failure="closed")
    [key] = Policy(limits=Limit(50, DAY_MS), representation=representation).keys("user:1")

    def call_and_look() -> list[tuple[bool, int]]:
        return [(limiter.acquire("user:1").allowed, server.client.pttl(key)) for _ in range(100)]

    seen = benchmark.pedantic(call_and_look)
    assert [allowed for allowed, _ in seen] == [True] * 50 + [False] * 50
    without = sum(not 0 < ttl_ms <= DAY_MS for _, ttl_ms in seen)
    assert without == 0
    found(Row("PF-2 TTL", without, "calls without", f"{representation}, {len(seen)} calls, half of them denied", bound=0))
