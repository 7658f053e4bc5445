"""
PF-3 and PF-6: what an append costs the server, and what batches are worth to the writers of one process.

Server time: each call appends the record that links to the one before it, as the writer who remembers the end sends it, and is
held against a null that answers the same words and numbers. Being sent the very same record, the null pays for that, too.

Events a second: so many tasks of one process append as fast as they can, on the loopback interface, with the retries that they
have by default. An event counts when it was appended. Of batches, and when the engine links, no retry is allowed: one conflict
would be an error. One by one, some events are overtaken more often than they are tried again; how many is told.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
import redis.asyncio
from attrs import define, field

from measuring import IN_FLIGHT, Extent, Rounds, Server
from redstep import audit_chain
from redstep.audit_chain import BATCH, BATCH_RECORDS_MAX, CAS, SERVER_ORDER, Chain
from redstep.audit_chain_encoding import digest_of, linked, new_append_id
from redstep.audit_chain_errors import NotAppended
from redstep.clients.audit_chain import AsyncAuditChain
from reporting import Row

CALLS = 200
WAYS = {1: "a call at a time", IN_FLIGHT: f"{IN_FLIGHT} in flight"}
EVENT = b'{"actor":"user:4711","amount_cents":4200,"at":"2026-11-23T20:37:00.123Z","order":"2026-0815","what":"order.paid"}'
VALUE = {"actor": "user:4711", "amount_cents": 4200, "order": "2026-0815", "what": "order.paid"}
NULL = "return {1, 1000000, 0, '" + "0" * 64 + "'}"
NULL_NEXT = "return {1, 999999, 1000000, 0, '" + "0" * 64 + "'}"
LONG = 20_000
TASKS = 16
SECONDS = 0.5


logging.getLogger("redstep").addHandler(logging.NullHandler())  # that events are overtaken is what is measured


@define
class Writer:
    """Who appends to a chain, and remembers its end."""

    server: Server
    chain: Chain
    seq: int = 0
    previous: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.previous = self.chain.genesis

    def requests(self, calls: int, each: int = 1) -> Iterator[tuple[Any, ...]]:
        """Yield the words of calls that append one after the other, so many records each: keys and arguments."""
        for _ in range(calls):
            records = []
            for _ in range(each):
                records.append(linked(self.chain.chain_id, self.seq, self.previous, new_append_id(), EVENT))
                self.seq, self.previous = self.seq + 1, records[-1].hash
            request = audit_chain.append(self.chain, records)
            yield (len(request.keys), *request.keys, *request.args)

    def calls(self, script: str, requests: list[tuple[Any, ...]]) -> list[bytes]:
        """Return the same as calls of a script."""
        sha = self.server.client.script_load(script)
        return [self.server.command("EVALSHA", sha, *words) for words in requests]

    def grow(self, size: int) -> None:
        """Append until the chain is so long."""
        while self.seq < size:
            [request] = self.requests(1, min(BATCH_RECORDS_MAX, size - self.seq))
            self.server.send(self.calls(audit_chain.APPEND.text, [request]))


@pytest.mark.parametrize("size", [1, LONG])
def test_server_time(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any, size: int) -> None:
    """One append by one writer, at the end of a short chain and of a long one; and a batch, for each of its events."""
    one, many = (Writer(server, Chain(name=f"orders-{what}")) for what in ("one", "many"))
    one.grow(size)
    many.grow(size)
    rounds = {in_flight: Rounds() for in_flight in WAYS}
    per_batch = 100

    def one_round() -> None:
        for in_flight, measured in rounds.items():
            requests = list(one.requests(CALLS))
            measured.add("null", server.block(one.calls(NULL, requests), in_flight).server_us)
            appended = server.block(one.calls(audit_chain.APPEND.text, requests), in_flight)
            assert [reply[0] for reply in appended.replies] == [1] * CALLS
            measured.add("append", appended.server_us)
            batches = list(many.requests(4, per_batch))
            together = server.block(many.calls(audit_chain.APPEND.text, batches), in_flight)
            assert [reply[0] for reply in together.replies] == [1] * 4
            measured.add("batch", together.server_us / per_batch)

    benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
    assert server.client.llen(one.chain.keys[0]) == one.seq
    for in_flight, way in WAYS.items():
        measured, rule = rounds[in_flight], f"PF-3 audit append, server time, {way}"
        us = f"{measured.median('append'):.2f} µs; null is {measured.median('null'):.2f} µs"
        found(Row(rule, measured.ratio("append", "null"), "x null", f"cas, a chain of {size:,} or more", us, 3.5))
        event = f"{measured.median('batch'):.2f} µs an event"
        found(Row(rule, measured.ratio("batch", "null"), "x null", f"batch of {per_batch}, each event", event))


def test_server_order(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """An append that the engine links, with a SHA-256 in Lua: what nobody's conflicting costs."""
    chain = Chain(name="orders", mode=SERVER_ORDER)
    rounds, digest = Rounds(), digest_of(EVENT)
    scripts = {"null": NULL_NEXT, "append": audit_chain.APPEND_NEXT.text}
    shas = {name: server.client.script_load(text) for name, text in scripts.items()}

    end = audit_chain.Head(0, 0, chain.genesis.hex())

    def one_round() -> None:
        nonlocal end
        told = (end.next_seq, end.hash)
        requests: list[Any] = [audit_chain.append_next(chain, *told, new_append_id(), EVENT, digest) for _ in range(CALLS)]
        last: Any = None
        for name, sha in shas.items():
            calls = [server.command("EVALSHA", sha, len(each.keys), *each.keys, *each.args) for each in requests]
            block = server.block(calls, 1)
            rounds.add(name, block.server_us)
            last = block.replies[-1]
        end = audit_chain.read_append_next(last).end

    benchmark.pedantic(one_round, rounds=extent.rounds, warmup_rounds=1)
    us = f"{rounds.median('append'):.0f} µs; null is {rounds.median('null'):.2f} µs"
    found(Row("PF-3 audit append, server time, a call at a time", rounds.ratio("append", "null"), "x null", "server_order", us))


def test_events_a_second(url: str, server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """Sixteen tasks of one process: in batches, one by one, and linked by the engine."""
    rounds, names, overtaken = Rounds(), count(), Rounds()
    retries = {CAS: 3, BATCH: 0, SERVER_ORDER: 0}

    async def events_a_second(mode: str, seconds: float) -> float:
        client = redis.asyncio.Redis.from_url(url)
        async with AsyncAuditChain(client, f"orders-{next(names)}", mode=mode, conflict_retries=retries[mode]) as chain:
            await chain.append(VALUE)
            ends = time.perf_counter() + seconds

            async def work() -> tuple[int, int]:
                done = failed = 0
                while time.perf_counter() < ends:
                    try:
                        await chain.append(VALUE)
                        done += 1
                    except NotAppended:
                        assert mode == CAS
                        failed += 1
                return done, failed

            started = time.perf_counter()
            counts = await asyncio.gather(*(work() for _ in range(TASKS)))
            took = time.perf_counter() - started
            done, failed = (sum(each) for each in zip(*counts, strict=True))
            overtaken.add(mode, 100 * failed / (done + failed))
            assert (await chain.head()).next_seq == done + 1
        await client.aclose()
        return done / took

    def one_round() -> None:
        for mode in retries:
            rounds.add(mode, asyncio.run(events_a_second(mode, SECONDS)))
        server.client.flushall()

    benchmark.pedantic(one_round, rounds=max(3, extent.rounds // 6), warmup_rounds=1)
    rule = f"PF-6 audit chain, {TASKS} tasks of one process, events a second"
    cas = f"{rounds.median(CAS):,.0f} a second, and {overtaken.median(CAS):.0f} % overtaken,"
    for mode, bound in ((BATCH, 0.1), (SERVER_ORDER, None)):
        told = f"{rounds.median(mode):,.0f} a second in {mode}; {cas} in {CAS}"
        found(
            Row(
                rule,
                rounds.ratio(CAS, mode),
                f"x {mode}",
                f"{CAS}, whose bound is a tenth of {BATCH}" if bound else CAS,
                told,
                bound,
            )
        )
