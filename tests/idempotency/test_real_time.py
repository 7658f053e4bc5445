"""On the engines' own clocks: one-sided laws, for there what time it is cannot be told in advance (CM-3, ID-4, ID-8)."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from redstep.clients.idempotency import IdempotencyStore
from redstep.idempotency import Acquired, Done, Policy, Replay, StaleOwner, Underway
from redstep.sync_driver import SyncDriver
from redstep_check.engines import Engine
from redstep_check.targets.planted import Fault, planted

from .stage import KEY, SCOPE

LEASE_MS, RETENTION_MS = 60, 90
LONG_MS = 60_000
"""Longer than any machine stands still."""


@pytest.fixture
def engine(each_engine: Engine) -> Engine:
    """Each engine, in turn."""
    return each_engine


@pytest.fixture
def client(engine: Engine) -> Iterator[redis.Redis]:
    """A client of an empty engine."""
    engine.forget()
    with engine.client() as client:
        yield client


@pytest.fixture
def store(client: redis.Redis) -> IdempotencyStore:
    """A store on the engine's clock."""
    return IdempotencyStore(client, lease_ms=LEASE_MS, retention_ms=RETENTION_MS)


def acquired(store: IdempotencyStore) -> Acquired:
    """A claim that acquires the key."""
    claim = store.claim(SCOPE, "payload")
    assert isinstance(claim, Acquired)
    return claim


def gone(client: redis.Redis) -> bool:
    """Does the key vanish before a deadline?"""
    deadline_s = time.monotonic() + 5
    while client.exists(KEY):
        if time.monotonic() > deadline_s:
            return False
    return True


def test_a_lease_ends_when_it_was_said_to(client: redis.Redis) -> None:
    """Others are refused until that millisecond, with what is left of it, and take over from then on."""
    store = IdempotencyStore(client, lease_ms=LEASE_MS, retention_ms=LONG_MS)
    first = acquired(store)
    assert first.lease_until_ms == first.now_ms + LEASE_MS
    while isinstance(claim := store.claim(SCOPE, "payload"), Underway):
        assert claim.now_ms + claim.retry_after_ms == first.lease_until_ms
    assert isinstance(claim, Acquired)
    assert claim.now_ms >= first.lease_until_ms
    assert claim.fence == 2


def test_a_response_is_replayed_for_its_retention(store: IdempotencyStore, client: redis.Redis) -> None:
    """From completion on, to the millisecond; then the key is new, and soon it is gone."""
    worker = IdempotencyStore(client, lease_ms=LONG_MS, retention_ms=RETENTION_MS)
    first = acquired(worker)
    time.sleep(0.02)
    done = worker.complete(SCOPE, first.token, b"done")
    assert isinstance(done, Done)
    while isinstance(claim := store.claim(SCOPE, "payload"), Replay):
        assert claim.now_ms < done.now_ms + RETENTION_MS
        assert isinstance(store.complete(SCOPE, first.token, b"done"), Done | StaleOwner), "which restarts nothing"
    assert isinstance(claim, Acquired)
    assert claim.now_ms >= done.now_ms + RETENTION_MS
    assert claim.fence == 1
    assert gone(client)


def test_what_is_abandoned_vanishes(store: IdempotencyStore, client: redis.Redis) -> None:
    """ID-4: at lease end + retention, and not sooner."""
    first = acquired(store)
    assert gone(client)
    [seconds, microseconds] = client.time()
    assert seconds * 1000 + microseconds // 1000 >= first.lease_until_ms + RETENTION_MS


STEPS: dict[str, Callable[[IdempotencyStore, str], object]] = {
    "claimed": lambda *_: None,
    "renewed": lambda store, token: store.renew(SCOPE, token),
    "completed": lambda store, token: store.complete(SCOPE, token, b"done"),
    "released": lambda store, token: store.release(SCOPE, token),
}


def ttl_and_life_ms(client: redis.Redis) -> tuple[int, int]:
    """The TTL of the key, and how long it has still to live, at one instant."""
    both = client.pipeline(transaction=True)
    both.time()
    both.pttl(KEY)
    both.hget(KEY, "claim")
    [(seconds, microseconds), ttl_ms, text] = both.execute()
    return ttl_ms, int(text.split()[2]) - (seconds * 1000 + microseconds // 1000)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("late", [False, True])
def test_no_ttl_is_shorter_than_the_life(client: redis.Redis, step: str, late: bool) -> None:
    """CM-3: in every state there is one, and longer it is by a lease at most."""
    store = IdempotencyStore(client, lease_ms=20, retention_ms=40_000)
    claim = acquired(store)
    if late:
        time.sleep(0.03)
    STEPS[step](store, claim.token)
    ttl_ms, life_ms = ttl_and_life_ms(client)
    assert life_ms - 1 <= ttl_ms <= life_ms + 20 + 1


@pytest.mark.catches("CM-3", "a late completion keeps the claim's TTL")
def test_a_completion_that_keeps_a_short_ttl_is_caught(client: redis.Redis) -> None:
    """CM-3 can fail: one that comes after the lease needs a longer TTL than the claim left."""
    fault = Fault(
        name="a late completion keeps the claim's TTL",
        rule="CM-3",
        file="idempotency_complete.lua",
        old="elseif retained_until > dies_at then",
        new="elseif false then",
    )
    faulty: Any = planted(fault, "redstep.idempotency_protocols")
    driver, policy = SyncDriver(client), Policy(lease_ms=20, retention_ms=40_000)
    claim = driver.run(faulty.claim(policy, SCOPE, "payload"))
    time.sleep(0.03)
    driver.run(faulty.complete(policy, SCOPE, claim.token, b"done"))
    ttl_ms, life_ms = ttl_and_life_ms(client)
    assert ttl_ms < life_ms - 1


def test_a_store_that_was_told_a_time_forgets_a_day_later(client: redis.Redis) -> None:
    """CM-2: under an explicit clock every TTL is the logical life and a day, for the engine's clock decides nothing."""
    store = IdempotencyStore(client, lease_ms=1_000, retention_ms=10_000, clock=lambda: 5_000)
    claim = acquired(store)
    lives_ms = {"claimed": 11_000, "renewed": 11_000, "completed": 10_000}
    for step, life_ms in lives_ms.items():
        STEPS[step](store, claim.token)
        assert life_ms - 1_000 < client.pttl(KEY) - 86_400_000 <= life_ms
    client.delete(KEY)
    STEPS["released"](store, acquired(store).token)
    assert 9_000 < client.pttl(KEY) - 86_400_000 <= 10_000
