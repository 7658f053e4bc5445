"""Interruptions: wherever a call is interrupted, its permit is free again, and the interruption goes on (CB-10, CM-10)."""

import asyncio
import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field

from redstep import asyncio_driver
from redstep import circuit_breaker_protocols as protocols
from redstep.circuit_breaker import Policy, Reason, State, Transition, View
from redstep.circuit_breaker_local import LocalBreaker
from redstep.circuit_breaker_protocols import Breaker
from redstep.circuit_breaker_shared import SharedBreaker
from redstep.driving import Raised, Run
from redstep.wishes import Announce, CallScript, Protocol, Wish
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver
from support.servers import blocked, writes_paused
from support.tasks import cancelled, soon, turns

from .plays import LONGEST_MS, AsyncSharedPlay, Play, SharedPlay

# --- at every wish of the protocols -----------------------------------------------------------------------------------

POLICY = Policy(failure_threshold=2, success_threshold=3, open_ms=1_000)


class Interrupted(KeyboardInterrupt):
    """What the tests interrupt with."""


@define
class Interrupting:
    """A driver that interrupts a protocol at one of its wishes: instead of carrying it out, or after it was."""

    driver: CheckingDriver
    at: int
    instead: bool
    wish: Wish | None = field(default=None, init=False)
    """The one that was interrupted."""

    def run(self, protocol: Protocol[Any]) -> Any:
        """Carry a protocol through."""
        run = Run(protocol)
        for number in itertools.count():
            if run.wish is None:
                return run.result()
            if number != self.at:
                run.feed(self.driver.outcome(run.wish))
                continue
            self.wish = run.wish
            if not self.instead:
                self.driver.outcome(run.wish)
            run.feed(Raised(Interrupted()))
        raise AssertionError


@define
class Scene:
    """A breaker, and the driver that leads it where a test wants it."""

    breaker: Breaker
    driver: CheckingDriver
    told: list[Transition]

    def run(self, protocol: Protocol[Any]) -> Any:
        """Carry a protocol through."""
        return self.driver.run(protocol)

    def view(self) -> View:
        """Look at the breaker."""
        view: View = self.run(self.breaker.view())
        return view

    def pass_ms(self, ms: int) -> None:
        """Let time pass on both clocks."""
        self.driver.store_ms += ms
        self.driver.client_ms += ms

    def lead_to(self, state: State) -> None:
        """Lead the breaker into a state; an open one's timeout is over, a half-open one has one success."""
        self.run(protocols.intervene(self.breaker, Reason.FORCE_OPEN))
        self.pass_ms(LONGEST_MS)
        if state is State.HALF_OPEN:
            self.run(protocols.call(self.breaker, lambda: None))
        if state is State.CLOSED:
            self.run(protocols.intervene(self.breaker, Reason.RESET))
        assert self.view().state is state


KINDS: dict[str, Callable[..., Breaker]] = {"local": LocalBreaker, "shared": SharedBreaker}


@pytest.fixture(params=KINDS)
def scenes(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Callable[[], Scene]]:
    """Makes scenes of one kind of breaker."""
    client = engine.client()
    names = itertools.count()

    def made() -> Scene:
        told: list[Transition] = []
        listeners = (told.append, lambda _: None)
        breaker = KINDS[request.param](name=f"b{next(names)}", policy=POLICY, listeners=listeners)
        return Scene(breaker, CheckingDriver(client=client, flush_scripts=engine.flush_scripts, client_ms=1, store_ms=1), told)

    yield made
    client.close()


def failing() -> None:
    """Work that fails."""
    raise ConnectionResetError


def call(scene: Scene) -> Protocol[Any]:
    """A call that succeeds."""
    return protocols.call(scene.breaker, lambda: None)


def failing_call(scene: Scene) -> Protocol[Any]:
    """A call that fails."""
    return protocols.call(scene.breaker, failing)


def acquire(scene: Scene) -> Protocol[Any]:
    """A permit alone, which is lost with the interruption."""
    return protocols.acquire(scene.breaker)


@pytest.mark.parametrize("instead", [True, False], ids=["instead", "after"])
@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("operation", [call, failing_call, acquire])
def test_a_permit_is_free_again_wherever_its_call_is_interrupted(
    scenes: Callable[[], Scene], operation: Callable[[Scene], Protocol[Any]], state: State, instead: bool
) -> None:
    """At every wish. The one exception: a shared breaker's reply that is lost names a probe that nobody knows of.

    That one is given up at its deadline. Each transition is told once, and nothing is executed twice.
    """
    for number in itertools.count():
        scene = scenes()
        scene.lead_to(state)
        scene.told.clear()
        epoch = scene.view().epoch
        scene.driver.executions.clear()
        interrupting = Interrupting(scene.driver, number, instead)
        try:
            interrupting.run(operation(scene))
        except Interrupted:
            pass
        except ConnectionResetError:
            assert interrupting.wish is None
        if interrupting.wish is None:
            assert number >= 1
            return
        view = scene.view()
        lost = isinstance(interrupting.wish, CallScript) and not instead
        acquiring = lost and interrupting.wish.script.name.endswith("acquire")  # type: ignore[union-attr]
        assert view.probes == (1 if acquiring and state is not State.CLOSED else 0), interrupting.wish
        executions = [(each.script.name, each.args) for each in scene.driver.executions]
        assert len(executions) == len(set(executions))
        moves = [each.epoch for each in scene.told]
        assert moves == sorted(set(moves))
        if not lost and not isinstance(interrupting.wish, Announce):
            assert moves == list(range(epoch + 1, view.epoch + 1))
        scene.pass_ms(LONGEST_MS)
        for _ in range(POLICY.success_threshold):
            scene.run(call(scene))
        assert scene.view().state is State.CLOSED


def test_an_interruption_takes_the_place_of_every_other_outcome(scenes: Callable[[], Scene]) -> None:
    """Of a result that the call came to, of its error, and of a report that was lost."""
    for operation in (call, failing_call):
        for number in itertools.count():
            scene = scenes()
            scene.lead_to(State.HALF_OPEN)
            interrupting = Interrupting(scene.driver, number, instead=True)
            try:
                interrupting.run(operation(scene))
            except Interrupted:
                continue
            except ConnectionResetError:
                pass
            assert interrupting.wish is None
            break


def test_a_transition_that_waits_is_told_although_a_listener_is_interrupted(scenes: Callable[[], Scene]) -> None:
    """The listeners after it are told too, and so are transitions that came meanwhile."""
    scene = scenes()
    first: list[Transition] = []
    second: list[Transition] = []

    def interrupted(transition: Transition) -> None:
        first.append(transition)
        if len(first) == 1:
            scene.run(protocols.intervene(scene.breaker, Reason.RESET))
            raise Interrupted

    scene.breaker.announcements = protocols.Announcements((interrupted, second.append))
    with pytest.raises(Interrupted):
        scene.run(protocols.intervene(scene.breaker, Reason.FORCE_OPEN))
    assert [each.reason for each in first] == [Reason.FORCE_OPEN, Reason.RESET]
    assert second == first
    scene.run(protocols.intervene(scene.breaker, Reason.FORCE_OPEN))
    assert len(second) == 3


def test_a_report_that_is_interrupted_twice_gives_up(scenes: Callable[[], Scene]) -> None:
    """The probe is then given up at its deadline, as if its process had died."""
    scene = scenes()
    scene.lead_to(State.HALF_OPEN)
    run = Run(call(scene))
    while not isinstance(run.wish, CallScript) or "report" not in run.wish.script.name:
        if run.wish is None or isinstance(scene.breaker, LocalBreaker):
            return
        run.feed(scene.driver.outcome(run.wish))
    for _ in range(2):
        assert isinstance(run.wish, CallScript)
        run.feed(Raised(Interrupted()))
    assert run.wish is None
    with pytest.raises(Interrupted):
        run.result()
    assert scene.view().probes == 1


# --- under asyncio, at every turn of the loop --------------------------------------------------------------------------


async def block(breaker: Any) -> None:
    """A block."""
    async with breaker:
        await turns(3)


async def wrapped(breaker: Any) -> None:
    """A call."""
    await breaker.call(turns, 3)


async def held(breaker: Any) -> None:
    """A permit, taken and given back."""
    permit = await breaker.acquire()
    await permit.success()


@pytest.mark.parametrize("use", [block, wrapped, held])
@pytest.mark.parametrize("cancellations", [1, 3])
def test_a_cancelled_task_leaves_no_probe_behind(async_play: Play, use: Callable[[Any], Any], cancellations: int) -> None:
    """At every turn: while the shared breaker's acquire is under way, too, and while it is reported."""
    breaker, _ = async_play.probing(success_threshold=10_000)

    async def cancel_after(number: int) -> bool:
        task = asyncio.create_task(use(breaker))
        await turns(number)
        if task.done():
            await task
            return False
        for _ in range(cancellations):
            task.cancel()
            await turns(1)
        assert await cancelled(task), f"not cancelled after {number} turns"
        assert asyncio.all_tasks() == {asyncio.current_task()}
        view = await breaker.view()
        assert (view.state, view.probes) == (State.HALF_OPEN, 1), f"after {number} turns"
        return True

    async def all_turns() -> int:
        for number in itertools.count():
            if not await cancel_after(number):
                return number
        raise AssertionError

    assert async_play.wait(all_turns()) > (1 if use is not held else 0)


def test_a_cancelled_task_raises_its_cancellation(async_play: Play) -> None:
    """And its call counts as neutral."""
    breaker = async_play.breaker(failure_threshold=1)

    async def cancel() -> None:
        for use in (block, wrapped):
            task = asyncio.create_task(use(breaker))
            while not (await breaker.view()).epoch and not task.done():
                await turns(1)
                task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async_play.wait(cancel())
    assert async_play.state(breaker) is State.CLOSED


def test_a_timeout_around_a_call_is_a_cancellation_of_it(async_play: Play) -> None:
    """The breaker is told nothing of what is called; a timeout inside of the call is its failure."""
    breaker = async_play.breaker(failure_threshold=1)

    async def inside() -> None:
        async with asyncio.timeout(0.005):
            await asyncio.sleep(60)

    async def around() -> None:
        async with asyncio.timeout(0.005):
            await breaker.call(asyncio.sleep, 60)

    with pytest.raises(TimeoutError):
        async_play.wait(around())
    assert async_play.state(breaker) is State.CLOSED
    with pytest.raises(TimeoutError):
        async_play.wait(breaker.call(inside))
    assert async_play.state(breaker) is State.OPEN


def test_a_store_that_does_not_answer_delays_a_cancellation_only_so_long(
    async_shared_play: AsyncSharedPlay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An acquire that hangs is given up, not before its time and not never, and then the task is cancelled."""
    monkeypatch.setattr(asyncio_driver, "COMPENSATION_MAX_MS", 60)
    play = async_shared_play
    breaker = play.breaker(client=play.engine.async_client(socket_timeout=None))
    play.view(breaker)

    async def cancel() -> float:
        task = asyncio.create_task(breaker.acquire())
        await soon(lambda: blocked(play.admin))
        started_s = time.monotonic()
        task.cancel()
        assert await cancelled(task)
        return time.monotonic() - started_s

    with writes_paused(play.admin):
        assert play.wait(cancel()) >= 0.05


# --- under threads --------------------------------------------------------------------------------------------------------


def test_ctrl_c_during_the_work_is_neutral(sync_play: Play) -> None:
    """The signal itself, while the work waits."""
    breaker, _ = sync_play.probing(success_threshold=5)
    waiting, main = threading.Event(), threading.get_ident()

    def interrupt() -> None:
        waiting.wait()
        signal.pthread_kill(main, signal.SIGINT)

    def work() -> None:
        waiting.set()
        for _ in range(6_000):
            time.sleep(0.01)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        breaker.call(work)
    thread.join()
    assert (sync_play.state(breaker), sync_play.view(breaker).probes) == (State.HALF_OPEN, 1)


def test_a_probe_that_nobody_knows_of_is_given_up(engine: Engine) -> None:
    """A client that died while it had a permit holds nobody up for longer than the probe deadline."""
    play = SharedPlay(engine)
    breaker, _ = play.probing(success_threshold=1)
    del _
    play.now_ms += 1_000
    assert play.call(breaker) == "done"
    assert (play.state(breaker), play.view(breaker).epoch) == (State.CLOSED, 4)
    play.close()
