"""Late owners: whose lease ended and whom another has succeeded changes nothing any more; until then it is the owner still."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from redstep.clients.idempotency import AsyncLease, Lease
from redstep.idempotency import Acquired, Conflict, Done, Renewed, StaleOwner
from redstep.idempotency_errors import LeaseLost, NoEffect

from .stage import KEY, LEASE_MS, RETENTION_MS, SCOPE, AsyncStage, Stage, SyncStage

Act = Callable[[Stage, Any, str], Any]
ACTS: dict[str, Act] = {
    "completes": lambda stage, store, token: stage.wait(store.complete(SCOPE, token, b"late")),
    "completes alike": lambda stage, store, token: stage.wait(store.complete(SCOPE, token, b"second")),
    "releases": lambda stage, store, token: stage.wait(store.release(SCOPE, token)),
    "renews": lambda stage, store, token: stage.wait(store.renew(SCOPE, token)),
}
SUCCESSORS = ("is at work", "has completed", "has released")
any_act = pytest.mark.parametrize("act", ACTS)


def claimed(stage: Stage, store: Any, token: str | None = None) -> Acquired:
    """A claim that acquires the key."""
    claim = stage.wait(store.claim(SCOPE, "payload", token=token))
    assert isinstance(claim, Acquired)
    return claim


def unchanged(stage: Stage, act: Callable[[], Any]) -> Any:
    """Do something that changes not a byte, and no TTL."""
    before, lived_ms = stage.stored(), stage.admin.pttl(KEY)
    answer = act()
    assert stage.stored() == before
    assert lived_ms - 5_000 < stage.admin.pttl(KEY) <= lived_ms
    return answer


@any_act
@pytest.mark.parametrize("successor", SUCCESSORS)
def test_after_a_takeover_nothing_is_changed(stage: Stage, successor: str, act: str) -> None:
    """ID-6: the first owner is told that it is none, whatever its successor has done meanwhile."""
    store = stage.store()
    first = claimed(stage, store)
    stage.now_ms += LEASE_MS
    second = claimed(stage, store)
    assert (first.fence, second.fence) == (1, 2)
    if successor == "has completed":
        assert stage.wait(store.complete(SCOPE, second.token, b"second")) == Done(stage.now_ms)
    elif successor == "has released":
        assert stage.wait(store.release(SCOPE, second.token)) == Done(stage.now_ms)
    assert unchanged(stage, partial(ACTS[act], stage, store, first.token)) == StaleOwner(stage.now_ms)


@any_act
def test_until_a_takeover_the_owner_may_act(stage: Stage, act: str) -> None:
    """ID-4: though its lease has ended, however long ago."""
    store = stage.store()
    first = claimed(stage, store)
    stage.now_ms += LEASE_MS + RETENTION_MS - 1
    answer = ACTS[act](stage, store, first.token)
    assert answer == (Renewed(stage.now_ms + LEASE_MS, stage.now_ms) if act == "renews" else Done(stage.now_ms))
    assert stage.state() == {"releases": "released", "renews": "claimed"}.get(act, "completed")


@any_act
def test_what_has_died_is_not_brought_back(stage: Stage, act: str) -> None:
    """ID-8: neither by the owner of a claim that was abandoned, nor by that of a response whose retention is over."""
    store = stage.store()
    for complete in (False, True):
        first = claimed(stage, store)
        stage.now_ms += LEASE_MS
        if complete:
            stage.wait(store.complete(SCOPE, first.token, b"second"))
        stage.now_ms += RETENTION_MS
        assert unchanged(stage, partial(ACTS[act], stage, store, first.token)) == StaleOwner(stage.now_ms)
        assert claimed(stage, store).fence == 1
        stage.admin.delete(KEY)


@any_act
def test_nobody_else_acts_either(stage: Stage, act: str) -> None:
    """ID-6: not on a key that is new, and not with a token that never owned it."""
    store = stage.store()
    assert ACTS[act](stage, store, "nobody") == StaleOwner(stage.now_ms)
    assert stage.stored() == {}
    claimed(stage, store)
    assert unchanged(stage, partial(ACTS[act], stage, store, "nobody")) == StaleOwner(stage.now_ms)


@any_act
def test_who_completed_can_do_no_more_than_that(stage: Stage, act: str) -> None:
    """ID-6: the same response again is done; anything else is a conflict; and the retention goes on as it was."""
    store = stage.store()
    first = claimed(stage, store)
    stage.wait(store.complete(SCOPE, first.token, b"second"))
    stage.now_ms += LEASE_MS
    kind = Done if act == "completes alike" else Conflict
    assert unchanged(stage, partial(ACTS[act], stage, store, first.token)) == kind(stage.now_ms)


@any_act
def test_who_released_is_no_owner(stage: Stage, act: str) -> None:
    """ID-5, ID-6: to release again is no harm; to complete or renew comes too late."""
    store = stage.store()
    first = claimed(stage, store)
    stage.wait(store.release(SCOPE, first.token))
    stage.now_ms += LEASE_MS
    kind = Done if act == "releases" else StaleOwner
    assert unchanged(stage, partial(ACTS[act], stage, store, first.token)) == kind(stage.now_ms)
    assert claimed(stage, store).fence == 2


def test_the_same_token_after_its_lease_takes_over_from_itself(stage: Stage) -> None:
    """ID-1, ID-4: within the lease it is the same claim, not a byte changed; after it a new one, with the next fence."""
    store = stage.store()
    first = claimed(stage, store, "worker-7")
    stage.now_ms += LEASE_MS - 1
    same = unchanged(stage, partial(claimed, stage, store, "worker-7"))
    assert (same.fence, same.lease_until_ms) == (first.fence, first.lease_until_ms)
    stage.now_ms += 1
    later = claimed(stage, store, "worker-7")
    assert (later.fence, later.lease_until_ms) == (2, stage.now_ms + LEASE_MS)


def test_a_renewal_never_shortens(stage: Stage) -> None:
    """ID-4: the lease ends when it would have, or later."""
    long, short = stage.store(lease_ms=3 * LEASE_MS), stage.store()
    first = claimed(stage, long)
    stage.now_ms += LEASE_MS
    assert stage.wait(short.renew(SCOPE, first.token)) == Renewed(first.lease_until_ms, stage.now_ms)
    stage.now_ms += 2 * LEASE_MS
    assert stage.wait(short.renew(SCOPE, first.token)) == Renewed(stage.now_ms + LEASE_MS, stage.now_ms)


# --- the same, of work ------------------------------------------------------------------------------------------------------


def test_work_that_took_too_long_loses_nothing(stage: Stage) -> None:
    """The late worker's own response comes with the error; callers get the one that was recorded."""
    store = stage.store()

    def slow(_: object) -> bytes:
        stage.now_ms += LEASE_MS
        stage.other.run(SCOPE, "payload", lambda _: b"second")
        return b"first"

    with pytest.raises(LeaseLost) as caught:
        stage.run(store, slow)
    assert caught.value.response == b"first"
    assert stage.run(store, lambda _: b"third").response == b"second"


def test_a_release_that_comes_too_late_frees_nothing(stage: Stage) -> None:
    """The work's own error is raised, and the successor keeps its key."""
    store = stage.store()

    def slow(_: object) -> bytes:
        stage.now_ms += LEASE_MS
        stage.other.claim(SCOPE, "payload")
        raise NoEffect("nothing")

    with pytest.raises(NoEffect, match="nothing"):
        stage.run(store, slow)
    assert stage.state() == "claimed"
    assert b" 2 payload" in stage.stored()[b"claim"]


def test_work_that_renews_keeps_its_key(sync_stage: SyncStage) -> None:
    """ID-4: as long as it does so in time; and afterwards it is told that another has it."""
    stage, lease_ends = sync_stage, list[int]()

    def work(lease: Lease) -> bytes:
        for _ in range(3):
            stage.now_ms += LEASE_MS - 1
            lease_ends.append(lease.renew())
        stage.now_ms += LEASE_MS
        stage.other.claim(SCOPE, "payload")
        lease.renew()
        return b"never"

    with pytest.raises(LeaseLost) as caught:
        stage.run(stage.store(), work)
    assert caught.value.response is None
    assert lease_ends == [5_000 + number * (LEASE_MS - 1) + LEASE_MS for number in (1, 2, 3)]


def test_work_that_awaits_its_renewal_keeps_its_key(async_stage: AsyncStage) -> None:
    """The same for asyncio."""
    stage, lease_ends = async_stage, list[int]()

    async def work(lease: AsyncLease) -> bytes:
        for _ in range(3):
            stage.now_ms += LEASE_MS - 1
            lease_ends.append(await lease.renew())
        stage.now_ms += LEASE_MS
        stage.other.claim(SCOPE, "payload")
        await lease.renew()
        return b"never"

    with pytest.raises(LeaseLost) as caught:
        stage.wait(stage.store().run(SCOPE, "payload", work))
    assert caught.value.response is None
    assert lease_ends == [5_000 + number * (LEASE_MS - 1) + LEASE_MS for number in (1, 2, 3)]
