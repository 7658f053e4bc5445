"""What the audit chain's tests share: a checking driver that counts its draws, and what is stored, read and tampered with."""

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

import pytest
import redis
from attrs import define, field, frozen

from redstep import audit_chain_appending as appending
from redstep.audit_chain import BATCH_RECORDS_MAX, Chain, Head, Kind, append, read_append
from redstep.audit_chain_appending import Appended, Item, Memory
from redstep.audit_chain_encoding import Record, linked, parsed, stored
from redstep.driving import command
from redstep.wishes import CallScript
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver

EVENT = b'{"n":1}'
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
"""For tests of what Python warns of from 3.12 on: a process forks that has threads."""


def draws() -> Callable[[int], bytes]:
    """Bytes that no other draw of this source gives."""
    numbers = count(1)
    return lambda size: next(numbers).to_bytes(size)


class LongDriver(CheckingDriver):
    """A checking driver that may do something of its own before an attempt, told by its number."""

    def __init__(self, engine: Engine, before: Callable[[int], object] = bool, **options: Any) -> None:
        super().__init__(client=engine.client(), flush_scripts=engine.flush_scripts, **{"draw_bytes": draws(), **options})
        self.before = before
        self.attempts = 0

    def attempt(self, request: CallScript) -> object:
        """Let one attempt meet the next fate."""
        self.attempts += 1
        self.before(self.attempts)
        return super().attempt(request)


@frozen
class Raw:
    """All that is stored of a chain."""

    records: tuple[bytes, ...]
    head: bytes | None
    ids: dict[bytes, bytes]


def raw(client: redis.Redis, chain: Chain) -> Raw:
    """Read it, byte for byte."""
    records, head, ids = chain.keys
    listed = cast("list[bytes]", client.lrange(records, 0, -1))
    return Raw(tuple(listed), cast("bytes | None", client.get(head)), cast("dict[bytes, bytes]", client.hgetall(ids)))


def dump(client: redis.Redis) -> dict[bytes, object]:
    """All keys, whatever they hold."""
    return {key: client.dump(key) for key in client.scan_iter()}


def records_in(client: redis.Redis, chain: Chain) -> list[Record]:
    """The records of a chain, each held against its place."""
    found = [parsed(text) for text in raw(client, chain).records]
    assert_linked(chain, found)
    return found


def assert_linked(chain: Chain, records: Sequence[Record], previous: bytes | None = None) -> None:
    """Each is what its writer must have made at this place."""
    previous = previous or chain.genesis
    for seq, record in enumerate(records):
        assert record == linked(chain.chain_id, seq, previous, record.append_id, record.event)
        previous = record.hash


def plant(client: redis.Redis, chain: Chain, texts: Sequence[bytes], head: str | None) -> None:
    """Store something in the place of a chain, by the keys alone."""
    client.delete(*chain.keys)
    if texts:
        client.rpush(chain.keys[0], *texts)
    if head is not None:
        client.set(chain.keys[1], head)


def made(chain: Chain, size: int, *, first: int = 0, previous: bytes | None = None, event: bytes = EVENT) -> list[Record]:
    """Records that make a chain, or go on with one."""
    records: list[Record] = []
    previous = previous or chain.genesis
    for seq in range(first, first + size):
        records.append(linked(chain.chain_id, seq, previous, seq.to_bytes(16), event))
        previous = records[-1].hash
    return records


def begun(client: redis.Redis, chain: Chain, size: int, base: int = 0) -> list[Record]:
    """A sound chain, stored from a base on."""
    records = made(chain, size)
    plant(client, chain, [stored(each) for each in records[base:]], head_text(records, base))
    return records


def head_text(records: Sequence[Record], base: int = 0) -> str:
    """The head after these."""
    return f"{records[-1].seq + 1} {base} {records[-1].hash.hex()}"


@define
class Writer:
    """A writer of its own, whose attempts are all delivered."""

    driver: CheckingDriver
    chain: Chain
    memory: Memory = field(factory=Memory)

    def append(self, event: bytes = EVENT) -> Appended:
        """Append an event."""
        item = Item(self.driver.draw_bytes(16), event)
        [appended] = self.driver.run(appending.append_items(self.chain, self.memory, (item,)))
        return appended


def other_writer(engine: Engine, chain: Chain) -> Writer:
    """Somebody else, with ids of his own."""
    numbers = count(2**64)
    driver = LongDriver(engine, draw_bytes=lambda size: next(numbers).to_bytes(size))
    return Writer(driver, chain)


def executed(client: redis.Redis, request: CallScript) -> list[Any]:
    """What a request comes to."""
    reply: list[Any] = client.execute_command(*command(request, "EVAL", None))  # type: ignore[no-untyped-call]
    return reply


def append_raw(client: redis.Redis, chain: Chain, records: Sequence[Record], base_seq: int = 0) -> tuple[Kind, Head]:
    """Append records as they are, in one call."""
    answer = read_append(executed(client, append(chain, records, base_seq)))
    return answer.kind, answer.head


def long_chain(client: redis.Redis, chain: Chain, size: int) -> None:
    """Store a chain of this many records, about 200 bytes each, by the script."""
    previous, event = chain.genesis, b'{"what":"%s"}' % (b"x" * 70)
    for first in range(0, size, BATCH_RECORDS_MAX):
        batch = made(chain, min(BATCH_RECORDS_MAX, size - first), first=first, previous=previous, event=event)
        append_raw(client, chain, batch)
        previous = batch[-1].hash
