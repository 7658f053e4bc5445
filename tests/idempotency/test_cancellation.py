"""Cancellation: a call that is broken off leaves a key that says what happened (CM-10).

the work was not begun     the key is free
it was begun               the lease stands: nobody knows what it did
it has returned            the response is recorded
it raised NoEffect         the key is free
"""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from redstep.idempotency import Scope
from redstep.idempotency_errors import InProgress, NoEffect, NotReplayable
from redstep.idempotency_run import Codec
from redstep.sync_driver import SyncDriver
from redstep.wishes import CallScript, RunWork, Wish

from .stage import POLICY, AsyncStage, Stage, SyncStage

SWEEPS_MAX = 100
FREE, STANDING, RECORDED = "free", "standing", "recorded"


def left(stage: Stage, scope: Scope) -> str:
    """What another caller finds."""
    try:
        outcome = stage.other.run(scope, "payload", lambda _: b"other's")
    except InProgress:
        return STANDING
    if outcome.replayed:
        assert outcome.response == b"done"
        return RECORDED
    return FREE


# --- asyncio, at every turn of the loop -----------------------------------------------------------------------------------


@pytest.mark.parametrize("cancellations", [1, 3])
@pytest.mark.parametrize("without_effect", [False, True])
def test_a_task_is_cancelled_at_every_turn(async_stage: AsyncStage, without_effect: bool, cancellations: int) -> None:
    """From the first to the last, the key says what happened, and no connection is lost."""
    stage = async_stage
    client = stage.client(max_connections=2)
    store = stage.store(client)
    found: set[str] = set()
    numbers = itertools.count()

    async def cancelled_after(turns: int) -> bool:
        progress: list[str] = []

        async def work(_: object) -> bytes:
            progress.append("begun")
            for _ in range(4):
                await asyncio.sleep(0)
            progress.append("ended")
            if without_effect:
                raise NoEffect
            return b"done"

        scope = Scope(operation="cancelled", key=f"{next(numbers)}")
        task = asyncio.create_task(store.run(scope, "payload", work))
        for _ in range(turns):
            await asyncio.sleep(0)
        if task.done():
            return False
        for _ in range(cancellations):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({task})
        assert task.cancelled()
        expected = FREE if not progress or (without_effect and "ended" in progress) else STANDING
        if "ended" in progress and not without_effect:
            expected = RECORDED
        assert left(stage, scope) == expected, f"after {turns} turns: {progress}"
        found.add(expected)
        assert client.connection_pool.get_connection_count()[1][0] == 0
        return True

    async def sweep() -> None:
        for turns in itertools.count():
            if not await cancelled_after(turns):
                return

    everything = {FREE, STANDING} if without_effect else {FREE, STANDING, RECORDED}
    for _ in range(SWEEPS_MAX):  # how many turns a reply takes is the engine's affair, and so differs
        stage.wait(sweep())
        if found == everything:
            break
    assert found == everything


def test_a_caller_that_waits_can_be_cancelled(async_stage: AsyncStage) -> None:
    """It leaves nothing behind, and the other's claim is as it was."""
    stage = async_stage
    scope = Scope(operation="waits", key="1")
    owner = stage.other.claim(scope, "payload")
    before = stage.stored(POLICY.key(scope))

    async def play() -> None:
        work = stage.work(lambda _: b"never")
        task = asyncio.create_task(stage.store().run(scope, "payload", work, wait_ms=60_000))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()

    stage.wait(play())
    assert stage.stored(POLICY.key(scope)) == before
    assert owner == stage.other.claim(scope, "payload", token=owner.token)  # type: ignore[union-attr]


# --- sync, at every wish --------------------------------------------------------------------------------------------------


class InterruptedDriver(SyncDriver):
    """A driver whose thread is interrupted at one wish: before it is carried out, or before the protocol hears of it."""

    def __init__(self, client: Any, at: Callable[[Wish], bool], after: bool, clock: Callable[[], int]) -> None:
        super().__init__(client, clock=clock)
        self.at: Callable[[Wish], bool] | None = at
        self.after = after

    def _carry_out(self, wish: Wish) -> object:
        if self.at is None or not self.at(wish):
            return super()._carry_out(wish)
        self.at = None
        if self.after:
            super()._carry_out(wish)
        raise KeyboardInterrupt


def calling(script: str) -> Callable[[Wish], bool]:
    """At the call of a script."""
    return lambda wish: isinstance(wish, CallScript) and wish.script.name == f"idempotency_{script}"


PLACES: dict[str, tuple[Callable[[Wish], bool], str]] = {
    "claim": (calling("claim"), FREE),
    "go on": (lambda wish: type(wish).__name__ == "GoOn", FREE),
    "work": (lambda wish: isinstance(wish, RunWork), STANDING),
    "complete": (calling("complete"), RECORDED),
    "release": (calling("release"), FREE),
}


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("place", PLACES)
def test_a_thread_is_interrupted_at_every_wish(sync_stage: SyncStage, place: str, after: bool) -> None:
    """KeyboardInterrupt goes on, and the key says what happened."""
    at, expected = PLACES[place]
    store = sync_stage.store()
    store._driver = InterruptedDriver(sync_stage.client(), at, after, clock=lambda: sync_stage.now_ms)
    scope = Scope(operation="interrupted", key=place)

    def work(_: object) -> bytes:
        if place == "release":
            raise NoEffect
        return b"done"

    with pytest.raises(KeyboardInterrupt):
        store.run(scope, "payload", work)
    assert left(sync_stage, scope) == expected


def interrupted(_: object) -> Any:
    """A function of the caller's, while which Ctrl-C is pressed."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("place", ["encode", "store_if"])
def test_what_is_interrupted_after_the_work_is_done(stage: Stage, place: str) -> None:
    """The work had returned, so it is not run again, though its response is not kept; KeyboardInterrupt goes on."""
    scope = Scope(operation="interrupted", key=place)
    manner: Any = {"codec": Codec(interrupted, bytes)} if place == "encode" else {"store_if": interrupted}
    with pytest.raises(KeyboardInterrupt):
        stage.run(stage.store(), lambda _: b"done", scope=scope, **manner)
    with pytest.raises(NotReplayable):
        stage.other.run(scope, "payload", lambda _: b"other's")


def test_a_claim_by_itself_is_released_when_it_is_interrupted(sync_stage: SyncStage) -> None:
    """For nobody will hear of its token; with one of the caller's own it stands."""
    for token, expected in ((None, FREE), ("worker-7", STANDING)):
        store = sync_stage.store()
        store._driver = InterruptedDriver(sync_stage.client(), calling("claim"), True, clock=lambda: sync_stage.now_ms)
        scope = Scope(operation="claimed", key=f"by {token}")
        with pytest.raises(KeyboardInterrupt):
            store.claim(scope, "payload", token=token)
        assert left(sync_stage, scope) == expected


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_ends_the_process_is_no_failure_of_the_work(stage: Stage, failure: type[BaseException]) -> None:
    """It is raised on, and the lease stands, whatever predicates say."""
    scope = Scope(operation="ended", key=failure.__name__)

    def work(_: object) -> bytes:
        raise failure

    with pytest.raises(failure):
        stage.run(stage.store(), work, scope=scope, had_no_effect=lambda _: True)
    assert left(stage, scope) == STANDING
