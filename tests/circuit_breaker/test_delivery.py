"""Delivery: a shared breaker's steps are executed at most once, and a lost report changes nothing of a call (CM-4 to CM-6)."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep.circuit_breaker import State
from redstep.errors import ServiceOverloaded, Unavailable
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy, notice_endings
from redstep_spec.delivery import Fate

from .plays import PLAYS, Play

LOST, UNSENT = Fate.REPLY_LOST, Fate.NOT_SENT
STEPS: dict[str, Callable[[Any], Any]] = {
    "acquire": lambda breaker: breaker.acquire(),
    "call": lambda breaker: breaker.call(lambda: "done"),
    "force_open": lambda breaker: breaker.force_open(),
    "force_close": lambda breaker: breaker.force_close(),
    "reset": lambda breaker: breaker.reset(),
}


class Scene:
    """A breaker behind a proxy, and one that sees the store as it is."""

    def __init__(self, play: Play, proxy: FaultProxy) -> None:
        self.play = play
        self.proxy = proxy
        self.client = proxy.async_client() if play.is_async else proxy.client()
        self.breaker = play.breaker(client=self.client)
        self.truth = play.breaker()

    def call(self, work: Callable[[], Any] = lambda: "done") -> Any:
        """Make a call."""
        return self.settled(lambda: self.breaker.call(work))

    def settled(self, begin: Callable[[], Any]) -> Any:
        """Do something, after an asyncio client has noticed which of its connections ended."""
        if self.play.is_async:
            self.play.wait(notice_endings())
        return self.play.wait(begin())

    def view(self) -> Any:
        """What is stored, asked past the proxy."""
        return self.play.view(self.truth)


@pytest.fixture(params=[name for name in PLAYS if "shared" in name])
def scene(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Scene]:
    """Both shared clients, one after the other."""
    assert engine.address is not None
    play = PLAYS[request.param](engine)
    with FaultProxy(engine.address) as proxy:
        yield Scene(play, proxy)
        play.close()


@pytest.mark.parametrize("step", STEPS)
def test_a_step_whose_reply_is_lost_is_executed_once(scene: Scene, step: str) -> None:
    """And never again: the error says that it may have been."""
    scene.play.fail(scene.truth)
    scene.play.wait(scene.truth.force_open())
    scene.play.now_ms += 5_000
    before = scene.view().epoch
    scene.proxy.arm([LOST])
    with pytest.raises(Unavailable) as caught:
        scene.settled(lambda: STEPS[step](scene.breaker))
    assert caught.value.definite is False
    assert scene.view().epoch == before + 1
    assert scene.view().probes == (1 if step in ("acquire", "call") else 0)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_is_not_sent_is_definitely_not_executed(scene: Scene, step: str) -> None:
    """Nothing has changed."""
    before = scene.view()
    scene.proxy.arm([UNSENT])
    with pytest.raises(Unavailable) as caught:
        scene.settled(lambda: STEPS[step](scene.breaker))
    assert caught.value.definite is True
    assert scene.view() == before


@pytest.mark.parametrize("fate", [LOST, UNSENT])
def test_a_lost_report_changes_nothing_of_the_call(scene: Scene, fate: Fate, caplog: pytest.LogCaptureFixture) -> None:
    """It comes to what it came to; the loss is logged and counted, and the report is executed once at most."""
    own = ConnectionResetError("mine")

    def fail() -> None:
        scene.proxy.arm([fate])
        raise own

    def succeed() -> str:
        scene.proxy.arm([fate])
        return "done"

    with caplog.at_level(logging.WARNING, "redstep"), pytest.raises(ConnectionResetError) as caught:
        scene.call(fail)
    assert caught.value is own
    assert (own.__cause__, own.__context__) == (None, None)
    assert "a report of failure was lost" in caplog.text
    assert scene.view().failures == (fate is LOST)
    scene.proxy.restore()
    assert scene.call(succeed) == "done"
    assert scene.breaker.reports_lost == 2
    assert scene.view().failures == 0


def test_a_lost_report_of_a_permit_is_told_its_holder(scene: Scene) -> None:
    """As not counted, for that is not known; nothing is raised. It is used up: a second report might count twice."""
    held = scene.settled(scene.breaker.acquire)
    scene.proxy.arm([LOST])
    assert scene.settled(held.failure) is False
    scene.proxy.restore()
    assert scene.settled(held.failure) is False
    assert scene.view().failures == 1


def test_a_view_is_asked_again(scene: Scene) -> None:
    """It changes nothing, so a lost reply is no harm."""
    scene.proxy.arm([LOST])
    assert scene.settled(scene.breaker.view).state is State.CLOSED
    assert scene.proxy.executed == 2


def test_a_flush_between_any_two_steps_is_not_noticed(scene: Scene) -> None:
    """Nor does it use up anything."""
    scene.proxy.arm([Fate.FLUSHED] * 20)
    for _ in range(2):
        with pytest.raises(ConnectionResetError):
            scene.call(failing)
    assert scene.view().state is State.OPEN
    for step in ("force_close", "reset", "call"):
        scene.settled(partial(STEPS[step], scene.breaker))
    assert scene.settled(scene.breaker.view).epoch == 3


def failing() -> None:
    """Work that fails."""
    raise ConnectionResetError


def test_scripts_can_be_loaded_ahead(shared_play: Play) -> None:
    """Then no call has to send one."""
    breaker = shared_play.breaker()
    shared_play.wait(breaker.load())
    shared_play.admin.config_resetstat()
    shared_play.call(breaker)
    shared_play.view(breaker)
    shared_play.wait(breaker.reset())
    assert "cmdstat_eval" not in shared_play.admin.info("commandstats")


def test_a_client_that_retries_does_not(shared_play: Play) -> None:
    """Whatever retry policy the caller's client has, the breaker's steps have none, and the caller's object is not touched."""
    options: dict[str, Any] = {"unix_socket_path": shared_play.engine.address}
    client: Any = redis.asyncio.Redis(**options) if shared_play.is_async else redis.Redis(**options)
    retries = client.connection_pool.connection_kwargs["retry"].get_retries()
    breaker = shared_play.breaker(client=client)
    shared_play.call(breaker)
    assert retries > 0
    assert client.connection_pool.connection_kwargs["retry"].get_retries() == retries
    assert breaker._driver._pool is not client.connection_pool


def test_a_full_store_still_lets_calls_through(shared_play: Play) -> None:
    """A closed breaker's acquire writes nothing; a failure that cannot be counted is lost, with the engine's code."""
    breaker = shared_play.breaker()
    shared_play.fail(breaker)
    shared_play.admin.config_set("maxmemory", 1)
    try:
        shared_play.fail(breaker)
        assert breaker.reports_lost == 1
        with pytest.raises(Unavailable) as caught:
            shared_play.wait(breaker.force_open())
        assert (caught.value.definite, caught.value.code) == (True, "OOM")
    finally:
        shared_play.admin.config_set("maxmemory", 0)
    assert shared_play.view(breaker).failures == 1


def test_a_pool_that_ran_out_refuses_an_acquire(engine: Engine) -> None:
    """It is this process's fault, and no command was sent; a report that finds none free is lost."""
    play = PLAYS["shared-sync"](engine)
    client = redis.Redis.from_pool(redis.ConnectionPool.from_url(f"unix://{engine.address}", max_connections=1))
    breaker = play.breaker(client=client)

    def work() -> Any:
        return client.connection_pool.get_connection()

    connection = play.call(breaker, work)
    assert breaker.reports_lost == 1
    with pytest.raises(ServiceOverloaded):
        play.call(breaker)
    client.connection_pool.release(connection)
    assert play.call(breaker) == "done"
    play.close()
