"""
PF-1: what a decision costs the server.

Denials run on the engine's clock, on a log that is full. The even mix runs on a full log, too, of which one record ends
at each instant: two calls then, of which one is admitted. No engine's clock is that steady, so the instants are explicit,
and a call of TIME that serves nothing is put before the script: it costs what it costs in production.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from attrs import define

from measuring import ADMISSION_FLOOR, DAY_MS, DENIAL_FLOOR, IN_FLIGHT, NULL, NULL6, Extent, Rounds, Server
from redstep import rate_limiter
from reporting import Row

CALLS = 200
NEVER_COLD = 0
WAYS = {1: "a call at a time", IN_FLIGHT: f"{IN_FLIGHT} in flight"}


@define
class Log:
    """A full log under one limit, and the calls that are made of it."""

    server: Server
    representation: str
    limit: int

    @property
    def script(self) -> str:
        """The shipped script."""
        return (rate_limiter.PACKED_ACQUIRE if self.representation == rate_limiter.PACKED else rate_limiter.ZSET_ACQUIRE).text

    def arguments(self, now_ms: int | str, window_ms: int) -> tuple[int | str, ...]:
        """Return those of an acquire of cost 1."""
        identity = () if self.representation == rate_limiter.PACKED else ("",)
        return (now_ms, 1, *identity, NEVER_COLD, window_ms, self.limit, self.limit)

    def denials(self) -> list[bytes]:
        """Fill a log, and return the calls that it denies on the engine's clock."""
        call = self.server.packed(self.script, f"denying:{self.limit}", *self.arguments("", DAY_MS))
        assert all(reply[0] == 1 for reply in self.server.send([call] * self.limit))
        return [call] * CALLS

    def mixes(self) -> Iterator[list[bytes]]:
        """Fill a log, and yield blocks of calls of which it admits every other one, for ever."""
        script, key, instants = f"redis.call('TIME')\n{self.script}", f"mixing:{self.limit}", count(1_000_000)

        def calls(instants_taken: int, calls_each: int) -> list[bytes]:
            taken = [next(instants) for _ in range(instants_taken)]
            return self.server.all_packed(
                script, key, [self.arguments(at, self.limit) for at in taken for _ in range(calls_each)]
            )

        assert all(reply[0] == 1 for reply in self.server.send(calls(self.limit, 1)))
        while True:
            yield calls(CALLS // 2, 2)


@pytest.mark.parametrize("representation", rate_limiter.REPRESENTATIONS)
def test_decisions(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any, representation: str) -> None:
    """A denial, and an even mix of admissions and denials, held against null6."""
    logs = [Log(server, representation, limit) for limit in extent.limits]
    denials, mixes = {log.limit: log.denials() for log in logs}, {log.limit: log.mixes() for log in logs}
    same = logs[0].arguments("", DAY_MS)
    server.client.set("floor", "." * 72)
    floors = [server.packed(script, "floor", *same) for script in (DENIAL_FLOOR, ADMISSION_FLOOR)]
    yardsticks = {
        "null": [server.packed(NULL, "denying:100", *same)] * CALLS,
        "null6": [server.packed(NULL6, "denying:100", *same)] * CALLS,
        "deny floor": floors[:1] * CALLS,
        "mix floor": floors * (CALLS // 2),
    }
    rounds = {in_flight: Rounds() for in_flight in WAYS}

    def one_round() -> None:
        for in_flight, measured in rounds.items():
            for name, calls in yardsticks.items():
                measured.add(name, server.block(calls, in_flight).server_us)
            for limit in extent.limits:
                denied, mixed = server.block(denials[limit], in_flight), server.block(next(mixes[limit]), in_flight)
                assert [reply[0] for reply in denied.replies] == [0] * CALLS
                assert [reply[0] for reply in mixed.replies] == [1, 0] * (CALLS // 2)
                measured.add(f"deny {limit}", denied.server_us)
                measured.add(f"mix {limit}", mixed.server_us)

    benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
    assert_full(server, logs)

    least, most = extent.limits[0], extent.limits[-1]
    packed = representation == rate_limiter.PACKED
    for in_flight, way in WAYS.items():
        measured, rule = rounds[in_flight], f"PF-1 decisions, server time, {way}"
        null = f"null6 is {measured.median('null6'):.2f} µs, {measured.ratio('null6', 'null'):.1f} x null"
        for what, bound in {"deny": 2.5, "mix": 3.4}.items():
            floor = f"floor {measured.ratio(f'{what} floor', 'null6'):.2f}; " if packed else ""
            for limit in extent.limits:
                subject = f"{representation} {what}, L = {limit:,}"
                ratio, us = measured.ratio(f"{what} {limit}", "null6"), measured.median(f"{what} {limit}")
                found(Row(rule, ratio, "x null6", subject, f"{us:.2f} µs; {floor}{null}", bound if packed else None))
            flat = measured.ratio(f"{what} {most}", f"{what} {least}")
            found(Row(rule, flat, f"x L = {least}", f"{representation} {what}, L = {most:,}", "flat is 1"))


def assert_full(server: Server, logs: list[Log]) -> None:
    """Each log is still there, has its TTL, and as many entries as its limit."""
    for log in logs:
        for key in (f"denying:{log.limit}", f"mixing:{log.limit}"):
            assert 0 < server.client.pttl(key) <= log.limit + 2 * DAY_MS
            if log.representation == rate_limiter.ZSET:
                assert server.client.zcard(key) == log.limit
            else:
                assert server.client.strlen(key) >= 16 * log.limit
