"""What another hand has planted is Corrupt: every script says so, changes not a byte, and no client takes it for a conflict."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from redstep import audit_chain_appending as appending
from redstep.audit_chain import Chain, Kind, append, append_next, read, read_append_next, seal
from redstep.audit_chain_appending import Appending, Item, Memory
from redstep.audit_chain_encoding import Record, digest_of, linked, parsed, stored
from redstep.audit_chain_errors import NotAppended
from redstep.errors import Corrupt, Misuse
from redstep.wishes import CallScript
from redstep_check.engines import Engine

from .conftest import needs_bit
from .support import EVENT, LongDriver, dump, executed, head_text, made, plant, raw

CHAIN = Chain(name="orders")
OTHER = Chain(name="others")
GOOD = made(CHAIN, 4)
TEXTS = [stored(record) for record in GOOD]
HEAD = head_text(GOOD)
ZERO = "0" * 64


def forged(**parts: Any) -> bytes:
    """The last record with another part, its hash as it was."""
    last = GOOD[-1]
    changed: dict[str, Any] = {
        "chain_id": last.chain_id,
        "seq": last.seq,
        "previous": last.previous,
        "append_id": last.append_id,
    } | parts
    return stored(Record(hash=changed.pop("hash", last.hash), event=last.event, **changed))


STATES: dict[str, tuple[list[bytes], str | None]] = {
    "head without list": ([], HEAD),
    "list without head": (TEXTS, None),
    "a record missing at the end": (TEXTS[:-1], HEAD),
    "a record missing at the beginning": (TEXTS[1:], HEAD),
    "a record more": ([*TEXTS, TEXTS[-1]], HEAD),
    "a record more at the beginning": ([TEXTS[0], *TEXTS], HEAD),
    "the head of one less": (TEXTS, head_text(GOOD[:-1])),
    "another hash in the head": (TEXTS, f"4 0 {ZERO}"),
    "another hash in the last record": ([*TEXTS[:-1], forged(hash=bytes(32))], HEAD),
    "another seq in the last record": ([*TEXTS[:-1], forged(seq=4)], HEAD),
    "the seq of the record before": ([*TEXTS[:-1], forged(seq=2)], HEAD),
    "a last record of another chain": ([*TEXTS[:-1], forged(chain_id=b"others")], HEAD),
    "a last record that is cut off": ([*TEXTS[:-1], TEXTS[-1][:60]], HEAD),
    "a last record that is none": ([*TEXTS[:-1], b"x"], HEAD),
    "a last record of another version": ([*TEXTS[:-1], b"\2" + TEXTS[-1][1:]], HEAD),
    "another base": (TEXTS, HEAD.replace(" 0 ", " 1 ")),
    "base and next seq moved": (TEXTS, HEAD.replace("4 0 ", "5 1 ")),
    "a base beyond the end": (TEXTS, HEAD.replace("4 0 ", "0 4 ")),
    "an empty head": (TEXTS, ""),
    "a head that is none": (TEXTS, "x"),
    "a head in capitals": (TEXTS, HEAD.upper()),
    "a head with a hash too short": (TEXTS, HEAD[:-1]),
    "a head with a seq that is none": (TEXTS, f"4.0{HEAD[1:]}"),
    "a head with a seq too large": (TEXTS, f"{'9' * 20}{HEAD[1:]}"),
    "a head with something after it": (TEXTS, f"{HEAD} 1"),
}
"""Each in the place of a sound chain of four records."""


def next_record(seq: int = 4, previous: bytes = GOOD[-1].hash) -> Record:
    """What goes on with the chain."""
    return linked(CHAIN.chain_id, seq, previous, b"n" * 16, EVENT)


REQUESTS: dict[str, Callable[[], CallScript]] = {
    "append": lambda: append(CHAIN, [next_record()]),
    "append with another base": lambda: append(CHAIN, [next_record()], 1),
    "append a batch": lambda: append(CHAIN, [next_record(), linked(CHAIN.chain_id, 5, next_record().hash, b"m" * 16, EVENT)]),
    "append again": lambda: append(CHAIN, GOOD[-1:]),
    "append from the beginning": lambda: append(CHAIN, made(CHAIN, 1, event=b"2")),
    "append next": lambda: append_next(CHAIN, 4, GOOD[-1].hash.hex(), b"n" * 16, EVENT, digest_of(EVENT)),
    "seal": lambda: seal(CHAIN, 2, 1),
    "seal nothing": lambda: seal(CHAIN, 0, 1),
}


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize("state", STATES)
def test_a_state_that_nobody_wrote_is_corrupt(engine: Engine, client: redis.Redis, what: str, state: str) -> None:
    """Whatever is asked of it, and not a byte is changed."""
    if what == "append next":
        needs_bit(engine)
    plant(client, CHAIN, *STATES[state])
    before = dump(client)
    with pytest.raises(Corrupt) as caught:
        LongDriver(engine).attempt(REQUESTS[what]())
    assert "redstep:audit-chain:{orders}:" in str(caught.value)
    assert dump(client) == before


@pytest.mark.parametrize("what", [*REQUESTS, "read"])
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("kind", ["string", "list", "set", "hash", "zset"])
def test_another_type_is_corrupt(engine: Engine, client: redis.Redis, what: str, place: int, kind: str) -> None:
    """At each of the keys that the call reads."""
    if what == "append next":
        needs_bit(engine)
    request = read(CHAIN, 0) if what == "read" else REQUESTS[what]()
    if place >= len(request.keys) or kind == ("list", "string", "hash")[place]:
        return
    plant(client, CHAIN, TEXTS, HEAD)
    key = CHAIN.keys[place]
    client.delete(key)
    writes: dict[str, Callable[[], object]] = {
        "string": lambda: client.set(key, "x"),
        "list": lambda: client.rpush(key, "x"),
        "set": lambda: client.sadd(key, "x"),
        "hash": lambda: client.hset(key, "x", "1"),
        "zset": lambda: client.zadd(key, {"x": 1}),
    }
    writes[kind]()
    before = dump(client)
    with pytest.raises(Corrupt, match=key.replace("{", r"\{").replace("}", r"\}")):
        LongDriver(engine).attempt(request)
    assert dump(client) == before


def test_the_sound_state_is_not_corrupt(engine: Engine, client: redis.Redis) -> None:
    """The states above are one change away from this one."""
    for what, request in REQUESTS.items():
        if what == "append next":
            continue
        plant(client, CHAIN, TEXTS, HEAD)
        LongDriver(engine).attempt(request())


@pytest.mark.parametrize("ids", [{b"n" * 16: "9"}, {b"n" * 16: "x"}, {b"n" * 16: "2"}, {b"n" * 16: "-1"}])
def test_an_append_id_that_is_not_in_its_record_is_corrupt(server: Engine, ids: dict[bytes, str]) -> None:
    """Beyond the end, no number, or another record's."""
    with server.client() as client:
        plant(client, CHAIN, TEXTS, HEAD)
        client.hset(CHAIN.keys[2], items=[each for pair in ids.items() for each in pair])
        before = dump(client)
        with pytest.raises(Corrupt):
            LongDriver(server).attempt(REQUESTS["append next"]())
        assert dump(client) == before


@pytest.mark.parametrize("size", [1, 60, len(TEXTS[1]) - len(EVENT)])
def test_an_append_id_whose_record_is_cut_off_is_corrupt(server: Engine, size: int) -> None:
    """Whatever is left of it, for its hash could not be told."""
    with server.client() as client:
        plant(client, CHAIN, [TEXTS[0], TEXTS[1][:size], *TEXTS[2:]], HEAD)
        client.hset(CHAIN.keys[2], items=[GOOD[1].append_id, 1])
        request = append_next(CHAIN, 4, GOOD[-1].hash.hex(), GOOD[1].append_id, EVENT, digest_of(EVENT))
        before = dump(client)
        with pytest.raises(Corrupt, match=":ids"):
            LongDriver(server).attempt(request)
        assert dump(client) == before


@pytest.mark.parametrize("size", [0, 1, 60, len(TEXTS[1]) - len(EVENT)])
def test_an_end_whose_record_is_cut_off_is_not_the_one_that_was_known(server: Engine, size: int) -> None:
    """It is another chain than the caller was told of, and nothing is appended to it."""
    with server.client() as client:
        plant(client, CHAIN, [TEXTS[0], TEXTS[1][:size], *TEXTS[2:]], HEAD)
        request = append_next(CHAIN, 1, GOOD[0].hash.hex(), b"n" * 16, EVENT, digest_of(EVENT))
        before = dump(client)
        assert read_append_next(executed(client, request)).kind is Kind.REGRESS
        assert dump(client) == before


@pytest.mark.parametrize("state", STATES)
def test_corrupt_is_no_conflict(engine: Engine, client: redis.Redis, chain: Chain, state: str) -> None:
    """A writer gives up at once, and his event is not appended."""
    plant(client, chain, *STATES[state])
    before = dump(client)
    driver = LongDriver(engine)
    [outcome] = driver.run(appending.outcomes(chain, Memory(), Appending((Item(b"n" * 16, EVENT),))))
    assert isinstance(outcome, NotAppended)
    assert isinstance(outcome.cause, Corrupt)
    assert len(driver.executions) <= 2
    assert dump(client) == before


# ---------------------------------------------------------------------------------------------- arguments of the scripts


def changed(request: CallScript, place: int, value: object) -> CallScript:
    """A request with another argument; place counts from 1, as scripts do."""
    args = (*request.args[: place - 1], value, *request.args[place:])
    return CallScript(script=request.script, keys=request.keys, args=args, idempotent=True)  # type: ignore[arg-type]


LAST = stored(next_record())
BAD_APPENDS: dict[str, tuple[int, object]] = {
    "an opening of another chain": (1, OTHER.opening),
    "no opening": (1, b""),
    "a genesis that is no hash": (2, "x"),
    "another seq": (3, 5),
    "a seq that is none": (3, "x"),
    "another previous hash": (4, ZERO),
    "another hash": (5, ZERO),
    "a hash too short": (5, "00"),
    "a base that is none": (6, "x"),
    "no count": (7, "x"),
    "a count of nothing": (7, 0),
    "a count of more": (7, 2),
    "half a count": (7, "0.5"),
    "a record cut off": (8, LAST[:50]),
    "a record without event": (8, LAST[: -len(EVENT)]),
    "a record of another chain": (8, b"\1\0\6others" + LAST[9:]),
    "a record of another seq": (8, stored(next_record(5))),
}


@pytest.mark.parametrize("bad", BAD_APPENDS)
def test_an_append_at_odds_with_itself_is_refused(engine: Engine, client: redis.Redis, bad: str) -> None:
    """Before anything is written, on an empty chain and on one that it would extend."""
    place, value = BAD_APPENDS[bad]
    for texts, head in (([], None), (TEXTS, HEAD)):
        plant(client, CHAIN, texts, head)
        before = dump(client)
        with pytest.raises(Exception, match="refused by the script") as caught:
            LongDriver(engine).attempt(changed(append(CHAIN, [next_record()], 7), place, value))
        assert type(caught.value).__name__ == "Misuse"
        assert dump(client) == before


@pytest.mark.parametrize("size", [1, 2, 500])
@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("its_hash", [ZERO, "first", "last in capitals", "last of one less"])
def test_an_append_that_states_another_hash_is_refused(
    engine: Engine, client: redis.Redis, its_hash: str, base: int, size: int
) -> None:
    """Also when all else is right, and so is the base that the caller remembers: head and last record would disagree."""
    records = made(CHAIN, size, first=4, previous=GOOD[-1].hash)
    stated = {
        "first": GOOD[0].hash.hex(),
        "last in capitals": records[-1].hash.hex().upper(),
        "last of one less": GOOD[-1].hash.hex(),
    }
    plant(client, CHAIN, TEXTS, HEAD)
    before = dump(client)
    request = append(CHAIN, records, base)
    with pytest.raises(Misuse) as caught:
        LongDriver(engine).attempt(changed(request, 5, stated.get(its_hash, its_hash)))
    assert caught.value.argument == "hash"
    assert dump(client) == before
    LongDriver(engine).attempt(request)
    assert [parsed(text) for text in raw(client, CHAIN).records] == [*GOOD, *records]
    assert raw(client, CHAIN).head == head_text(records).encode()


@pytest.mark.parametrize(
    "records",
    [
        [GOOD[0], GOOD[2]],
        [GOOD[0], GOOD[0]],
        [GOOD[0], linked(CHAIN.chain_id, 1, bytes(32), b"n" * 16, EVENT)],
        [GOOD[0], linked(OTHER.chain_id, 1, GOOD[0].hash, b"n" * 16, EVENT)],
        made(CHAIN, 501),
        made(CHAIN, 2, event=b"x" * (512 * 1024 + 1)),
        made(CHAIN, 1, event=b"x" * (1024 * 1024 + 1)),
    ],
    ids=["a gap", "twice", "not linked", "another chain", "too many", "too large together", "too large"],
)
def test_a_batch_that_is_none_is_refused(engine: Engine, client: redis.Redis, records: list[Record]) -> None:
    """All of it."""
    with pytest.raises(Exception, match="refused by the script"):
        LongDriver(engine).attempt(append(CHAIN, records))
    assert dump(client) == {}


@pytest.mark.parametrize(
    "records", [made(CHAIN, 500), made(CHAIN, 2, event=b"x" * 512 * 1024), made(CHAIN, 1, event=b"x" * 1024 * 1024)]
)
def test_the_largest_batches_are_not(engine: Engine, client: redis.Redis, records: list[Record]) -> None:
    """500 records, or 1 MiB of events."""
    LongDriver(engine).attempt(append(CHAIN, records))
    assert [parsed(text) for text in raw(client, CHAIN).records] == records


@pytest.mark.parametrize(
    ("place", "value"),
    [(1, b"\1\0\0"), (2, "x"), (3, "x"), (3, "-1"), (4, "0" * 63), (4, "A" * 64), (5, b"i" * 15), (6, b"d" * 31), (7, b"")],
)
def test_an_append_next_at_odds_with_itself_is_refused(server: Engine, place: int, value: object) -> None:
    """Before anything is written."""
    with server.client() as client:
        request = append_next(CHAIN, 0, CHAIN.genesis.hex(), b"n" * 16, EVENT, digest_of(EVENT))
        with pytest.raises(Exception, match="refused by the script"):
            LongDriver(server).attempt(changed(request, place, value))
        assert dump(client) == {}
