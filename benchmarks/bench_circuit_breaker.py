"""
PF-3: what asking a shared breaker and reporting to it cost the server; and what a whole call does, beside a peer.

Each script runs on the engine's clock and is held against a null that answers the very same words and numbers without having
looked anything up. The bound is for what a service's calls do all the time: a breaker that is closed, or open. While it is
half-open a few calls have to read and write more, and are told without a bound.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis
from attrs import field, frozen

from measuring import IN_FLIGHT, Extent, Rounds, Server
from redstep.circuit_breaker_shared import ACQUIRE, REPORT
from redstep.clients.circuit_breaker import SharedCircuitBreaker
from reporting import Row

CALLS = 200
WAYS = {1: "a call at a time", IN_FLIGHT: f"{IN_FLIGHT} in flight"}
OPEN_MS = 86_400_000
MANY = 10**9
"""So many failures and successes that what is measured moves nothing."""
KEY = "redstep:circuit-breaker:{payments}"
ABSENT: dict[str, int | str] = {}
CLOSED: dict[str, int | str] = {
    "state": "closed",
    "epoch": 7,
    "failures": 0,
    "until_ms": 0,
    "successes": 0,
    "next": 0,
    "probes": "",
}
NOW_MS = 1_795_000_000_000


def opened(**fields: int | str) -> dict[str, int | str]:
    """A breaker that is open for as long as anybody measures, but for these fields."""
    return {**CLOSED, "state": "open", "until_ms": int(time.time() * 1000) + OPEN_MS, **fields}


def asking(threshold: int = 3) -> tuple[int | str, ...]:
    """Return the arguments of an acquire."""
    return ("", threshold, OPEN_MS)


def telling(outcome: str, number: int = 0, epoch: int = 7) -> tuple[int | str, ...]:
    """Return the arguments of a report."""
    return ("", MANY, MANY, 30_000 if outcome == "failure" else 0, epoch, number, outcome)


@frozen
class Case:
    """Calls that are made in turn on a breaker in one state, and the words that they are answered."""

    before: dict[str, int | str]
    calls: tuple[tuple[str, tuple[int | str, ...]], ...]
    reply: tuple[int | str, ...]
    bound: float | None = 3.5
    null: str = field(init=False)
    """A script that answers the same."""

    @null.default
    def _(self) -> str:
        return "return {" + ",".join(f"'{each}'" if isinstance(each, str) else str(each) for each in self.reply) + "}"


def cases() -> Mapping[str, Case]:
    """What is measured, by its subject."""
    ask, tell = ACQUIRE.text, REPORT.text
    admitted = (1, "closed", 7, 0, 0, "", NOW_MS)
    probing = opened(state="half_open", successes=1, next=4, probes="2,3")
    return {
        "acquire, never failed yet": Case(ABSENT, ((ask, asking()),), (1, "closed", 0, 0, 0, "", NOW_MS)),
        "acquire, closed": Case(CLOSED, ((ask, asking()),), admitted),
        "acquire, open": Case(opened(), ((ask, asking()),), (0, "open", 7, 0, OPEN_MS, "", NOW_MS)),
        "acquire, full": Case(probing, ((ask, asking()),), (0, "half_open", 7, 0, OPEN_MS, "", NOW_MS), None),
        "report a success, never failed yet": Case(
            ABSENT, ((tell, telling("success", epoch=0)),), (1, "closed", 0, "", NOW_MS)
        ),
        "report a success": Case(CLOSED, ((tell, telling("success")),), (1, "closed", 7, "", NOW_MS)),
        "report, stale": Case(opened(epoch=8), ((tell, telling("failure")),), (0, "open", 8, "", NOW_MS)),
        "report failures and successes in turn": Case(
            CLOSED, ((tell, telling("failure")), (tell, telling("success"))), (1, "closed", 7, "", NOW_MS)
        ),
        "acquire and report probes in turn": Case(
            opened(state="half_open", successes=1, next=2),
            tuple(pair for number in range(2, 102) for pair in ((ask, asking(MANY)), (tell, telling("success", number)))),
            (1, "half_open", 7, 99, 0, "", NOW_MS),
            None,
        ),
    }


@pytest.mark.parametrize("subject", cases())
def test_server_time(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any, subject: str) -> None:
    """Each kind of call, held against a null of the same reply, with the same key and arguments."""
    case = cases()[subject]
    calls = [server.packed(script, KEY, *args) for script, args in case.calls] * (CALLS // len(case.calls))
    nulls = [server.packed(case.null, KEY, *args) for _, args in case.calls] * (CALLS // len(case.calls))
    rounds = {in_flight: Rounds() for in_flight in WAYS}

    def one_round() -> None:
        for in_flight, measured in rounds.items():
            server.client.flushdb()
            if case.before:
                server.client.hset(KEY, mapping=dict(case.before))
            measured.add("null", server.block(nulls, in_flight).server_us)
            block = server.block(calls, in_flight)
            assert {reply[0] for reply in block.replies} == {case.reply[0]}
            assert server.client.ttl(KEY) < 0
            measured.add("call", block.server_us)

    benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
    for in_flight, way in WAYS.items():
        measured = rounds[in_flight]
        note = f"{measured.median('call'):.2f} µs; null {measured.median('null'):.2f} µs"
        rule = f"PF-3 circuit breaker, server time, {way}"
        found(Row(rule, measured.ratio("call", "null"), "x null", subject, note, case.bound))


# --- whole calls ------------------------------------------------------------------------------------------------------------


class Failed(Exception):
    """What the calls that fail raise."""


def failing() -> None:
    """Work that fails."""
    raise Failed


Call = Callable[[Callable[[], None]], object]


def ours(url: str) -> Iterator[Call]:
    """The shared breaker."""
    with redis.Redis.from_url(url) as client:
        yield SharedCircuitBreaker(client, "payments", failure_threshold=MANY).call


def pybreaker(url: str) -> Iterator[Call]:
    """Its storage in Redis; its breaker keeps a lock while it calls."""
    library = pytest.importorskip("pybreaker")
    with redis.Redis.from_url(url) as client:
        storage = library.CircuitRedisStorage(library.STATE_CLOSED, client)
        yield library.CircuitBreaker(fail_max=MANY, state_storage=storage).call


PEERS: Sequence[Callable[[str], Iterator[Call]]] = (ours, pybreaker)


def booked_us(server: Server) -> int:
    """Return the server time of all commands so far, but for this question."""
    booked = server.client.info("commandstats")
    return sum(each["usec"] for name, each in booked.items() if name != "cmdstat_info")


@pytest.mark.parametrize("peer", PEERS)
def test_whole_calls(
    server: Server,
    url: str,
    extent: Extent,
    found: Callable[[Row], None],
    benchmark: Any,
    peer: Callable[[str], Iterator[Call]],
) -> None:
    """A call that succeeds and one that fails, of a closed breaker: round trips, and all that the server does for them."""
    if not extent.peers and peer is not ours:
        pytest.skip("--quick leaves the peers out")
    [call] = [peer(url)]
    through = next(call)

    def succeed() -> None:
        through(lambda: None)

    def fail() -> None:
        with suppress(Failed):
            through(failing)

    rounds, works = Rounds(), {"succeeds": succeed, "fails": fail}
    succeed()

    def one_round() -> None:
        for what, work in works.items():
            before = booked_us(server)
            for _ in range(CALLS // 4):
                work()
            rounds.add(what, (booked_us(server) - before) / (CALLS // 4))

    benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
    for what, work in works.items():
        trips = f"{server.round_trips(work)} round trips"
        found(Row("PF-3 circuit breaker, a whole call", rounds.median(what), "µs", f"{peer.__name__}: one that {what}", trips))
    call.close()
