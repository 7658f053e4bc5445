"""
PF-3: what claiming and completing cost the server.

Each script runs on the engine's clock, on keys of its own, and is held against a null that answers the very same words and
numbers without having looked anything up. A claim is measured as it acquires a new key, which is what most do; and as it finds
the work done, in progress or its own. Long responses are measured too; what they cost is to copy them, which no null has to.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from attrs import define, frozen

from measuring import DAY_MS, IN_FLIGHT, Extent, Rounds, Server
from redstep import idempotency_protocols as protocols
from redstep.idempotency import Policy, Scope, fingerprint
from reporting import Row

CALLS = 200
WAYS = {1: "a call at a time", IN_FLIGHT: f"{IN_FLIGHT} in flight"}
LEASE_MS = 30_000
OWNER, OTHER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331d35e86bb73b12a4e"
PAYLOAD = fingerprint("an order", 4_200)
KEYS = [Policy().key(Scope(tenant="acme", operation="charge", key=f"order-{number}")) for number in range(CALLS)]
SHORT, LONG = "x" * 32, "x" * 4_096
NOW_MS = 1_795_000_000_000


@frozen
class Case:
    """What is measured: calls of one kind, on keys in one state, and the words that they are answered."""

    script: str
    args: tuple[str | int, ...]
    reply: tuple[str | int, ...]
    before: tuple[tuple[str, tuple[str | int, ...]], ...] = ()
    """What is done to each key before: calls of scripts."""

    bound: float | None = 3.5

    @property
    def null(self) -> str:
        """A script that answers the same."""
        return "return {" + ",".join(f"'{each}'" if isinstance(each, str) else str(each) for each in self.reply) + "}"


CLAIM, COMPLETE, RELEASE, RENEW = (script.text for script in protocols.SCRIPTS)


def claiming(token: str) -> tuple[str | int, ...]:
    """Return the arguments of a claim."""
    return ("", token, PAYLOAD, LEASE_MS, DAY_MS)


def completing(response: str) -> tuple[str | int, ...]:
    """Return the arguments of a completion."""
    return ("", OWNER, response, 1, DAY_MS)


CLAIMED = ((CLAIM, claiming(OWNER)),)
CASES = {
    "claim, acquired": Case(CLAIM, claiming(OWNER), ("ACQUIRED", 1, NOW_MS, 0, "", NOW_MS)),
    "claim, acquired already": Case(CLAIM, claiming(OWNER), ("ACQUIRED", 1, NOW_MS, 0, "", NOW_MS), CLAIMED),
    "claim, in progress": Case(CLAIM, claiming(OTHER), ("IN_PROGRESS", 0, 0, LEASE_MS, "", NOW_MS), CLAIMED),
    **{
        f"claim, replayed {len(response):,} B": Case(
            CLAIM,
            claiming(OTHER),
            ("REPLAY", 0, 0, 0, response, NOW_MS),
            (*CLAIMED, (COMPLETE, completing(response))),
            bound=3.5 if response == SHORT else None,
        )
        for response in (SHORT, LONG)
    },
    **{
        f"complete {len(response):,} B": Case(
            COMPLETE, completing(response), ("DONE", NOW_MS), CLAIMED, bound=3.5 if response == SHORT else None
        )
        for response in (SHORT, LONG)
    },
    "complete, done already": Case(
        COMPLETE, completing(SHORT), ("DONE", NOW_MS), (*CLAIMED, (COMPLETE, completing(SHORT))), bound=None
    ),
    "release": Case(RELEASE, ("", OWNER, DAY_MS), ("DONE", NOW_MS), CLAIMED, bound=None),
    "renew": Case(RENEW, ("", OWNER, LEASE_MS, DAY_MS), ("RENEWED", NOW_MS, NOW_MS), CLAIMED, bound=None),
}


@define
class Bench:
    """The calls of a case, packed once."""

    server: Server
    case: Case

    def calls(self, script: str, args: Sequence[str | int]) -> list[bytes]:
        """Return one call for each key."""
        sha = self.server.client.script_load(script)
        return [self.server.command("EVALSHA", sha, 1, key, *args) for key in KEYS]

    def prepare(self) -> None:
        """Have the keys in the state that the calls are to find."""
        self.server.client.flushdb()
        for script, args in self.case.before:
            self.server.send(self.calls(script, args))

    def words(self) -> list[bytes]:
        """Return the strings of the reply, to be held against those that come."""
        return [each.encode() for each in self.case.reply if isinstance(each, str)]


@pytest.mark.parametrize("subject", CASES)
def test_server_time(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any, subject: str) -> None:
    """Each kind of call, held against a null of the same reply, with the same keys and arguments."""
    bench = Bench(server, CASES[subject])
    calls, nulls = bench.calls(bench.case.script, bench.case.args), bench.calls(bench.case.null, bench.case.args)
    rounds = {in_flight: Rounds() for in_flight in WAYS}

    def one_round() -> None:
        for in_flight, measured in rounds.items():
            bench.prepare()
            measured.add("null", server.block(nulls, in_flight).server_us)
            bench.prepare()  # so that both come after the same
            block = server.block(calls, in_flight)
            assert all([each for each in reply if isinstance(each, bytes)] == bench.words() for reply in block.replies)
            measured.add("call", block.server_us)

    benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
    assert all(0 < server.client.pttl(key) <= DAY_MS + LEASE_MS for key in KEYS)

    for in_flight, way in WAYS.items():
        measured = rounds[in_flight]
        note = f"{measured.median('call'):.2f} µs; null {measured.median('null'):.2f} µs"
        rule = f"PF-3 idempotency, server time, {way}"
        found(Row(rule, measured.ratio("call", "null"), "x null", subject, note, bench.case.bound))
