"""Responses are replayed byte for byte; one that is too long is not kept, and the work is not run again (ID-10)."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redstep.idempotency import RESPONSE_BYTES_MAX, Acquired, Conflict, Done, Replay
from redstep.idempotency_errors import NotReplayable
from redstep_check.engines import Engine

from .stage import KEY, LEASE_MS, RETENTION_MS, SCOPE, AsyncStage, Stage, SyncStage

LIMIT = 100
EVERY_BYTE = bytes(range(256))


@pytest.fixture(params=[SyncStage, AsyncStage])
def stage(request: pytest.FixtureRequest, each_engine: Engine) -> Iterator[Stage]:
    """Both clients, on each engine."""
    stage = request.param(each_engine, None)
    yield stage
    stage.close()


def completed(stage: Stage, store: Any, response: bytes) -> tuple[str, Any]:
    """Claim and complete; gives the token, and what a later claim is answered."""
    claim = stage.wait(store.claim(SCOPE, "payload"))
    assert isinstance(claim, Acquired)
    assert stage.wait(store.complete(SCOPE, claim.token, response)) == Done(stage.now_ms)
    return claim.token, stage.wait(store.claim(SCOPE, "payload"))


@pytest.mark.parametrize("client", [{}, {"decode_responses": True}, {"encoding": "latin-1", "decode_responses": True}], ids=str)
@pytest.mark.parametrize(
    "response", [EVERY_BYTE, b"", b"\0", b"\r\n", "ü€".encode(), b"\xff\xfe", b"%d {}", b"x" * RESPONSE_BYTES_MAX], ids=len
)
def test_a_replay_is_byte_for_byte(stage: Stage, client: dict[str, Any], response: bytes) -> None:
    """Whatever the bytes are, and whatever the caller's client would make of them."""
    store = stage.store(stage.client(**client))
    assert completed(stage, store, response)[1] == Replay(response, True, stage.now_ms)
    assert stage.stored()[b"response"] == response


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.binary(min_size=1, max_size=80))
def test_any_response_and_any_fingerprint(stage: Stage, response: bytes, payload: bytes) -> None:
    """No byte of either is taken for something else."""
    stage.admin.delete(KEY)
    store = stage.store(stage.client(), response_max_bytes=300)
    claim = stage.wait(store.claim(SCOPE, payload))
    assert stage.wait(store.renew(SCOPE, claim.token)).lease_until_ms == stage.now_ms + LEASE_MS
    assert stage.wait(store.complete(SCOPE, claim.token, response)) == Done(stage.now_ms)
    assert stage.wait(store.complete(SCOPE, claim.token, response)) == Done(stage.now_ms)
    assert stage.wait(store.claim(SCOPE, payload)) == Replay(response, True, stage.now_ms)
    assert stage.wait(store.claim(SCOPE, payload + b" ")).now_ms == stage.now_ms
    assert not isinstance(stage.wait(store.claim(SCOPE, payload + b" ")), Replay)


@pytest.mark.parametrize("size", [LIMIT - 1, LIMIT, LIMIT + 1])
def test_the_limit_is_exact(stage: Stage, size: int) -> None:
    """Up to it a response is kept; above it nothing of it is stored but a digest."""
    store = stage.store(response_max_bytes=LIMIT)
    _, answer = completed(stage, store, b"x" * size)
    kept = size <= LIMIT
    assert answer == Replay(b"x" * size if kept else None, kept, stage.now_ms)
    assert len(stage.stored()[b"response"]) == (size if kept else 32)
    assert stage.state() == ("completed" if kept else "unreplayable")


def test_a_limit_of_nothing_keeps_nothing_but_the_empty_response(stage: Stage) -> None:
    """For those who want to know only that the work was done."""
    store = stage.store(response_max_bytes=0)
    assert completed(stage, store, b"secret")[1] == Replay(None, False, stage.now_ms)
    assert b"secret" not in b"".join(stage.stored().values())
    stage.admin.delete(KEY)
    assert completed(stage, store, b"")[1] == Replay(b"", True, stage.now_ms)


def test_what_is_too_long_is_done_and_never_again(stage: Stage) -> None:
    """Who did the work gets the response; later callers are told that it was done, until its retention is over."""
    store = stage.store(response_max_bytes=LIMIT)
    begun: list[Any] = []

    def work(lease: Any) -> bytes:
        begun.append(lease)
        return b"x" * (LIMIT + 1)

    outcome = stage.run(store, work)
    assert (outcome.response, outcome.recorded) == (b"x" * (LIMIT + 1), True)
    for passed_ms in (0, LEASE_MS, RETENTION_MS - 1):
        stage.now_ms = 5_000 + passed_ms
        with pytest.raises(NotReplayable):
            stage.run(store, work)
    assert len(begun) == 1
    stage.now_ms = 5_000 + RETENTION_MS
    assert stage.run(store, work).replayed is False


@pytest.mark.parametrize("size", [LIMIT, LIMIT + 1])
def test_the_same_response_is_told_from_another(stage: Stage, size: int) -> None:
    """ID-6: also where only its digest is there; a response is no other's digest, and a limit that was changed alters none."""
    store = stage.store(response_max_bytes=LIMIT)
    token, _ = completed(stage, store, b"x" * size)
    assert stage.wait(store.complete(SCOPE, token, b"x" * size)) == Done(stage.now_ms)
    for other in (b"y" * size, b"x" * (size - 1), b"x" * (size + 1), b"", stage.stored()[b"response"] + b" "):
        assert stage.wait(store.complete(SCOPE, token, other)) == Conflict(stage.now_ms)
    if size > LIMIT:
        digest = stage.stored()[b"response"]
        assert stage.wait(store.complete(SCOPE, token, digest)) == Conflict(stage.now_ms)


def test_the_response_of_the_dead_is_gone(stage: Stage) -> None:
    """A key that is claimed anew after its retention holds nothing of what was there before."""
    store = stage.store()
    completed(stage, store, b"old")
    stage.now_ms += RETENTION_MS
    assert isinstance(stage.wait(store.claim(SCOPE, "another payload")), Acquired)
    assert list(stage.stored()) == [b"claim"]
