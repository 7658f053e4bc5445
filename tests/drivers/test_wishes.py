"""Wishes: a protocol's work, listeners, draws and clocks are carried out as it wished."""

import contextlib
import gc
import logging
import weakref

import pytest

from redstep.wishes import Announce, DrawBytes, DrawInteger, Protocol, ReadClock, RunWork, Sleep

from .stage import AsyncStage, Stage, acquire, count, guarding, in_use, once


def test_work_comes_to_its_result(stage: Stage) -> None:
    """Under asyncio what it returns is awaited, if it can be."""

    async def later() -> int:
        return 7

    assert stage.run(once(RunWork(lambda: 5))) == 5
    if isinstance(stage, AsyncStage):
        assert stage.run(once(RunWork(later))) == 7


def test_works_own_error_reaches_the_caller_unchanged(stage: Stage) -> None:
    """The very object, not a copy and not wrapped."""
    own = ValueError("mine")

    def work() -> None:
        raise own

    with pytest.raises(ValueError, match="mine") as caught:
        stage.run(once(RunWork(work)))
    assert caught.value is own
    assert caught.value.__cause__ is None
    seen: list[BaseException] = []
    assert stage.run(guarding(RunWork(work), seen, count("n"))) == "swallowed"
    assert seen == [own]
    assert stage.counted("n") == 1


class Held:
    """What a frame holds."""


def test_an_error_that_passes_is_not_held(stage: Stage) -> None:
    """Nor are the frames of its callers: what they hold is gone with it, and does not wait for the garbage collector."""
    driver, held = stage.driver(), list[weakref.ref[Held]]()

    def work() -> None:
        own = Held()
        held.append(weakref.ref(own))
        raise ValueError(own)

    def passing() -> Protocol[None]:
        try:
            yield RunWork(work)
        except ValueError:
            yield ReadClock()
            raise

    def call() -> None:
        with contextlib.suppress(ValueError):
            driver.run(passing())

    async def call_async() -> None:
        with contextlib.suppress(ValueError):
            await driver.run(passing())

    gc.disable()
    try:
        for _ in range(3):
            stage.wait((call_async if isinstance(stage, AsyncStage) else call)())
        assert [each() for each in held] == [None] * 3
    finally:
        gc.enable()


def test_work_may_raise_what_ends_a_generator(sync_stage: Stage) -> None:
    """A StopIteration reaches the caller as it is; so does an error that Python made of another one."""
    own, made = StopIteration("mine"), RuntimeError("made of one")
    made.__cause__ = StopIteration("another")

    def work(error: Exception) -> None:
        raise error

    def passing(error: Exception) -> Protocol[None]:
        """As real protocols do, it delegates, and goes on for a while before it raises the error again."""

        def inner() -> Protocol[None]:
            try:
                yield RunWork(lambda: work(error))
            except Exception:
                yield ReadClock()
                raise

        yield from inner()

    for error in (own, made):
        with pytest.raises(type(error)) as caught:
            sync_stage.run(passing(error))
        assert caught.value is error


def test_a_listeners_error_is_logged_and_goes_no_further(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The others are told, in order, and the protocol goes on."""
    told: list[object] = []

    def failing(event: object) -> None:
        told.append(event)
        raise RuntimeError("broken listener")

    async def failing_later(event: object) -> None:
        failing(event)

    listeners = [told.append, failing, told.append] + ([failing_later] if isinstance(stage, AsyncStage) else [])
    with caplog.at_level(logging.ERROR, "redstep"):
        assert stage.run(once(Announce(tuple(listeners), "opened"))) is None
    assert told == ["opened"] * len(listeners)
    assert [record.exc_info is not None for record in caplog.records] == [True] * (len(listeners) - 2)
    assert "'opened'" in caplog.text


def test_draws_and_clocks_are_the_drivers(stage: Stage) -> None:
    """A protocol gets integers within its bounds, bytes of its size, and a clock that doesn't run backward."""
    driver = stage.driver()
    assert {stage.run(once(DrawInteger(1, 3)), driver) for _ in range(200)} == {1, 2, 3}
    drawn = {stage.run(once(DrawBytes(16)), driver) for _ in range(10)}
    assert {len(each) for each in drawn} == {16}
    assert len(drawn) == 10
    before = stage.run(once(ReadClock()), driver)
    stage.run(once(Sleep(20)), driver)
    assert stage.run(once(ReadClock()), driver) - before >= 20


def test_now_is_filled_when_the_request_is_executed(stage: Stage) -> None:
    """A clock is read with the connection in hand, not before the wait for one (CM-2)."""
    client = stage.client(max_connections=1)
    order: list[str] = []

    def clock() -> int:
        order.append(f"clock, {in_use(client.connection_pool)} in use")
        return 1_000

    assert stage.run(acquire(), stage.driver(client, clock=clock)).now_ms == 1_000
    assert order == ["clock, 1 in use"]


def test_a_clock_that_fails_costs_no_connection(stage: Stage) -> None:
    """Its error reaches the caller, and what was taken from the pool is back."""
    client = stage.client(max_connections=1)

    def broken() -> int:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        stage.run(acquire(), stage.driver(client, clock=broken))
    assert in_use(client.connection_pool) == 0
