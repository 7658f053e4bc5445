"""Corrupt: what is stored is no record of ours. Every call says so, and changes not a byte (CM-1, CM-9)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redstep import Corrupt
from redstep.idempotency import Acquired, Replay, StaleOwner
from redstep_check.engines import Engine

from .stage import KEY, SCOPE, AsyncStage, Stage, SyncStage

OWNER, OTHER = "t", "u"
CALLS: dict[str, Callable[[Any], Any]] = {
    "claim": lambda store: store.claim(SCOPE, "payload", token=OWNER),
    "claim another payload": lambda store: store.claim(SCOPE, "another", token=OTHER),
    "complete": lambda store: store.complete(SCOPE, OWNER, b"done"),
    "release": lambda store: store.release(SCOPE, OWNER),
    "renew": lambda store: store.renew(SCOPE, OWNER),
}
SOUND = b"claimed {t} 15000 6000 1 payload"
BROKEN: dict[str, dict[bytes, bytes]] = {
    "a hash of somebody else": {b"name": b"value"},
    "a field missing: claim": {b"response": b"done"},
    "a field missing: response": {b"claim": SOUND.replace(b"claimed", b"completed")},
    "a digest missing": {b"claim": SOUND.replace(b"claimed", b"unreplayable")},
    "a field too many": {b"claim": SOUND.replace(b"claimed", b"completed"), b"response": b"done", b"other": b""},
    "a tombstone with a response": {b"claim": SOUND.replace(b"claimed", b"released"), b"response": b"done"},
    "an unknown state": {b"claim": SOUND.replace(b"claimed", b"dead")},
    "no state": {b"claim": SOUND.removeprefix(b"claimed")},
    "a state in capitals": {b"claim": SOUND.replace(b"claimed", b"CLAIMED")},
    "nothing": {b"claim": b""},
    "no token": {b"claim": SOUND.replace(b"{t}", b"{}")},
    "a token without braces": {b"claim": SOUND.replace(b"{t}", b"t")},
    "no fingerprint": {b"claim": SOUND.removesuffix(b"payload")},
    "no fence": {b"claim": SOUND.replace(b" 1 ", b" ")},
    "a fence of 0": {b"claim": SOUND.replace(b" 1 ", b" 0 ")},
    "a fence of 1.5": {b"claim": SOUND.replace(b" 1 ", b" 1.5 ")},
    "a negative fence": {b"claim": SOUND.replace(b" 1 ", b" -1 ")},
    "a death that is no number": {b"claim": SOUND.replace(b"15000", b"never")},
    "a death with an exponent": {b"claim": SOUND.replace(b"15000", b"1e9")},
    "a death beyond all numbers": {b"claim": SOUND.replace(b"15000", b"9" * 30)},
    "a lease that is no number": {b"claim": SOUND.replace(b"6000", b"0x10")},
    "two spaces": {b"claim": SOUND.replace(b"} ", b"}  ")},
}


@pytest.fixture(params=[SyncStage, AsyncStage])
def stage(request: pytest.FixtureRequest, each_engine: Engine) -> Iterator[Stage]:
    """Both clients, on each engine."""
    stage = request.param(each_engine, None)
    yield stage
    stage.close()


def plant(stage: Stage, fields: dict[bytes, bytes]) -> None:
    """Store something by hand."""
    for name, value in fields.items():
        stage.admin.hset(KEY, name, value)


def refused(stage: Stage, call: str) -> None:
    """A call says Corrupt, names the key, and leaves everything as it was."""
    before, ttl_ms = stage.admin.dump(KEY), stage.admin.pttl(KEY)
    with pytest.raises(Corrupt, match=r"idempotency:\{4:acme"):
        stage.wait(CALLS[call](stage.store()))
    assert (stage.admin.dump(KEY), stage.admin.pttl(KEY)) == (before, ttl_ms)


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_record_is_corrupt_and_stays(stage: Stage, broken: str) -> None:
    """For every call alike; nobody takes it for a mismatch or a lost lease."""
    plant(stage, BROKEN[broken])
    for call in CALLS:
        refused(stage, call)


@pytest.mark.parametrize("kind", ["string", "list", "set", "zset"])
def test_another_type_is_corrupt_and_stays(stage: Stage, kind: str) -> None:
    """As if somebody else used the key."""
    text = "claimed {t} 15000 6000 1 payload"
    match kind:
        case "string":
            stage.admin.set(KEY, text)
        case "list":
            stage.admin.rpush(KEY, text)
        case "set":
            stage.admin.sadd(KEY, text)
        case "zset":
            stage.admin.zadd(KEY, {text: 1})
    for call in CALLS:
        refused(stage, call)


NEXT_TO_BROKEN: dict[str, bytes] = {
    "a lease that ends with the record": b"claimed {t} 6000 6000 1 payload",
    "a fence beyond all numbers": b"claimed {t} 15000 6000 %s payload" % (b"9" * 30),
    "a lease beyond all numbers": b"claimed {t} 15000 %s 1 payload" % (b"9" * 30),
}


@pytest.mark.parametrize("broken", NEXT_TO_BROKEN)
def test_numbers_that_do_not_fit_are_corrupt_to_whoever_needs_them(stage: Stage, broken: str) -> None:
    """A completion looks at none of them but the death of the record, and so is not in question here."""
    plant(stage, {b"claim": NEXT_TO_BROKEN[broken]})
    for call in CALLS:
        if call != "complete":
            refused(stage, call)


def test_sound_records_planted_by_hand_are_understood(stage: Stage) -> None:
    """The form that is documented is the form that is read: the rejections above are for one edit each."""
    store = stage.store()
    plant(stage, {b"claim": SOUND})
    assert stage.wait(store.claim(SCOPE, "payload", token=OWNER)) == Acquired(OWNER, 1, 6_000, stage.now_ms)
    plant(stage, {b"claim": SOUND.replace(b"claimed", b"completed"), b"response": b"done"})
    assert stage.wait(store.claim(SCOPE, "payload")) == Replay(b"done", True, stage.now_ms)
    plant(stage, {b"claim": SOUND.replace(b"claimed", b"unreplayable"), b"response": b"x"})
    assert stage.wait(store.claim(SCOPE, "payload")) == Replay(None, False, stage.now_ms)
    stage.admin.delete(KEY)
    plant(stage, {b"claim": SOUND.replace(b"claimed", b"released")})
    assert stage.wait(store.renew(SCOPE, OWNER)) == StaleOwner(stage.now_ms)
