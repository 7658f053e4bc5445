"""Delivery: nothing runs twice for a reply that was lost, scripts that were forgotten, a client that retries (CM-4 to CM-6)."""

from collections.abc import Callable
from typing import Any

import pytest

from redstep import Unavailable
from redstep.idempotency import Acquired, Done, Renewed
from redstep_spec.delivery import Fate

from .stage import LEASE_MS, SCOPE, AsyncStage, Stage

NOT_SENT, REPLY_LOST, FLUSHED = Fate.NOT_SENT, Fate.REPLY_LOST, Fate.FLUSHED
CLIENTS: dict[str, Callable[[Stage], dict[str, Any]]] = {
    "constructor": lambda _: {},
    "with retries": lambda stage: {"retry": stage.retry(7)},
    "that retries on errors": lambda _: {"retry_on_error": [OSError]},
    "that decodes": lambda _: {"decode_responses": True},
    "of RESP3": lambda _: {"protocol": 3},
    "of RESP2": lambda _: {"protocol": 2},
}
OWNER = "worker-7"
any_client = pytest.mark.parametrize("kind", CLIENTS)
CALLS: dict[str, Callable[[Any, str], Any]] = {
    "claim": lambda store, token: store.claim(SCOPE, "payload", token=token),
    "renew": lambda store, token: store.renew(SCOPE, token),
    "complete": lambda store, token: store.complete(SCOPE, token, b"done"),
    "release": lambda store, token: store.release(SCOPE, token),
}


def proxied(stage: Stage, kind: str = "constructor") -> Any:
    """A store behind the proxy."""
    return stage.store(stage.client(proxied=True, **CLIENTS[kind](stage)))


@any_client
def test_a_lost_reply_is_asked_for_once_more(stage: Stage, kind: str) -> None:
    """Two executions, whatever the client would do by itself: the second finds what the first did."""
    store = proxied(stage, kind)
    answers = {}
    for name, call in CALLS.items():
        if name == "release":
            stage.admin.flushall()
            stage.wait(stage.store().claim(SCOPE, "payload", token=OWNER))
        stage.proxy.arm([REPLY_LOST])
        answers[name] = stage.wait(call(store, OWNER))
        assert stage.proxy.executed == 2
    lease_until_ms = stage.now_ms + LEASE_MS
    assert answers == {
        "claim": Acquired(OWNER, 1, lease_until_ms, stage.now_ms),
        "renew": Renewed(lease_until_ms, stage.now_ms),
        "complete": Done(stage.now_ms),
        "release": Done(stage.now_ms),
    }


@any_client
def test_asking_again_has_an_end(stage: Stage, kind: str) -> None:
    """After two lost replies the outcome is unknown; what was executed stands."""
    store = proxied(stage, kind)
    for name, call in CALLS.items():
        stage.wait(stage.store().claim(SCOPE, "payload", token=OWNER))
        stage.proxy.arm([REPLY_LOST] * 5)
        with pytest.raises(Unavailable) as caught:
            stage.wait(call(store, OWNER))
        assert caught.value.definite is False
        assert stage.proxy.executed == 2
        stage.proxy.arm([])
        assert stage.state() == {"complete": "completed", "release": "released"}.get(name, "claimed")
        stage.admin.flushall()


@any_client
def test_the_work_runs_once_however_often_replies_are_lost(stage: Stage, kind: str) -> None:
    """One execution of the work, and its response recorded, when the replies to claim and completion are lost."""
    store = proxied(stage, kind)
    begun: list[Any] = []

    def work(lease: Any) -> bytes:
        begun.append(lease)
        return b"done"

    stage.proxy.arm([REPLY_LOST, Fate.DELIVERED, REPLY_LOST, Fate.DELIVERED])
    outcome = stage.run(store, work)
    assert (outcome.response, outcome.recorded, len(begun), stage.proxy.executed) == (b"done", True, 1, 4)
    assert stage.run(store, work).replayed
    assert len(begun) == 1


@any_client
def test_a_store_that_is_not_reached_is_definite(stage: Stage, kind: str) -> None:
    """CM-5: one attempt, and the certainty that nothing was executed."""
    store = proxied(stage, kind)
    stage.proxy.arm([NOT_SENT])
    for call in CALLS.values():
        with pytest.raises(Unavailable) as caught:
            stage.wait(call(store, OWNER))
        assert caught.value.definite is True
    assert stage.proxy.executed == 0


def test_forgotten_scripts_are_nobodys_problem(stage: Stage) -> None:
    """CM-6: NOSCRIPT reaches no caller, and no call is executed more than once for it."""
    store = proxied(stage)
    stage.proxy.arm([FLUSHED] * 10)
    assert isinstance(stage.wait(store.claim(SCOPE, "payload", token=OWNER)), Acquired)
    assert isinstance(stage.wait(store.renew(SCOPE, OWNER)), Renewed)
    assert stage.wait(store.complete(SCOPE, OWNER, b"done")) == Done(stage.now_ms)
    assert stage.run(store, lambda _: b"never").response == b"done"
    assert stage.proxy.executed == 4


def test_scripts_can_be_loaded_ahead(stage: Stage) -> None:
    """After `load` no call needs EVAL."""
    store = stage.store()
    stage.wait(store.load())
    stage.admin.config_resetstat()
    for call in CALLS.values():
        stage.wait(call(store, OWNER))
    stats = stage.admin.info("commandstats")
    assert (stats["cmdstat_evalsha"]["calls"], "cmdstat_eval" in stats) == (4, False)


def test_a_store_is_a_context(stage: Stage) -> None:
    """At its end it closes what it opened; the caller's client stays usable."""
    client = stage.client()
    store = stage.store_type(client)
    if isinstance(stage, AsyncStage):

        async def play() -> Any:
            async with store as entered:
                return await entered.claim(SCOPE, "payload")

        assert isinstance(stage.wait(play()), Acquired)
    else:
        with store as entered:
            assert isinstance(entered.claim(SCOPE, "payload"), Acquired)
    assert stage.wait(client.ping())
