"""Listeners: each transition is told once, in order, after the lock; what a listener raises goes no further (CB-9, CB-11)."""

import asyncio
import logging
from typing import Any

import pytest

from redstep.circuit_breaker import Reason, State, Transition
from redstep.errors import CircuitOpen, Misuse

from .plays import LONGEST_MS, Play

CLOSED, OPEN, HALF_OPEN = State.CLOSED, State.OPEN, State.HALF_OPEN


def arrows(told: list[Transition]) -> list[tuple[State, State, int, Reason]]:
    """Transitions, in short."""
    return [(each.from_state, each.to_state, each.epoch, each.reason) for each in told]


def test_every_transition_is_told_with_its_reason(play: Play) -> None:
    """Once, by the call that made it."""
    told: list[Transition] = []
    breaker = play.opened(success_threshold=1, listeners=told.append)
    assert arrows(told) == [(CLOSED, OPEN, 1, Reason.FAILURES)]
    assert told[0].name == "payments"
    with pytest.raises(CircuitOpen):
        play.call(breaker)
    play.now_ms += LONGEST_MS
    play.fail(breaker)
    play.now_ms += LONGEST_MS
    play.wait(breaker.acquire())
    play.now_ms += LONGEST_MS
    play.call(breaker)
    play.call(breaker)
    play.wait(breaker.force_open())
    play.wait(breaker.force_open())
    play.wait(breaker.force_close())
    play.wait(breaker.reset())
    assert arrows(told)[1:] == [
        (OPEN, HALF_OPEN, 2, Reason.TIMEOUT),
        (HALF_OPEN, OPEN, 3, Reason.PROBE_FAILED),
        (OPEN, HALF_OPEN, 4, Reason.TIMEOUT),
        (HALF_OPEN, HALF_OPEN, 5, Reason.PROBES_GIVEN_UP),
        (HALF_OPEN, CLOSED, 6, Reason.PROBES_SUCCEEDED),
        (CLOSED, OPEN, 7, Reason.FORCE_OPEN),
        (OPEN, OPEN, 8, Reason.FORCE_OPEN),
        (OPEN, CLOSED, 9, Reason.FORCE_CLOSE),
        (CLOSED, CLOSED, 10, Reason.RESET),
    ]


class Journal(list[Transition]):
    """A listener that can be iterated over, too."""

    def __call__(self, transition: Transition) -> None:
        """Note it."""
        self.append(transition)


def test_what_can_be_called_is_one_listener(play: Play) -> None:
    """Though it could be iterated over: it would be taken for none."""
    journal = Journal()
    play.wait(play.breaker(listeners=journal).force_open())
    assert arrows(journal) == [(CLOSED, OPEN, 1, Reason.FORCE_OPEN)]


def test_a_listener_that_is_to_be_awaited_needs_an_asyncio_breaker(sync_play: Play) -> None:
    """It would never be told."""

    async def listener(_: Transition) -> None:
        raise AssertionError

    for listeners in (listener, [print, listener]):
        with pytest.raises(Misuse) as caught:
            sync_play.breaker(listeners=listeners)
        assert caught.value.argument == "listeners"


def test_listeners_are_told_in_their_order(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """One that fails is logged; those after it are told, and the call comes to what it came to."""
    order: list[str] = []

    def broken(transition: Transition) -> None:
        order.append(f"broken {transition.epoch}")
        raise RuntimeError("broken listener")

    listeners = [lambda each: order.append(f"first {each.epoch}"), broken, lambda each: order.append(f"last {each.epoch}")]
    with caplog.at_level(logging.ERROR, "redstep"):
        breaker = play.opened(success_threshold=1, listeners=listeners)
        play.now_ms += LONGEST_MS
        assert play.call(breaker) == "done"
    assert order == [f"{who} {epoch}" for epoch in (1, 2, 3) for who in ("first", "broken", "last")]
    assert caplog.text.count("RuntimeError: broken listener") == 3


def test_a_listener_may_use_the_breaker(play: Play) -> None:
    """No lock is held, and what it brings about is told after what it was told of, to all listeners in the same order."""
    told: list[Transition] = []
    views: list[Any] = []

    async def close_later(transition: Transition) -> None:
        if transition.reason is Reason.FAILURES:
            await breaker.force_close()
            views.append(await breaker.view())
            await breaker.call(lambda: None)

    def close(transition: Transition) -> None:
        if transition.reason is Reason.FAILURES:
            breaker.force_close()
            views.append(breaker.view())
            breaker.call(lambda: None)

    breaker = play.breaker(listeners=[close_later if play.is_async else close, told.append])
    play.fail(breaker)
    play.fail(breaker)
    assert arrows(told) == [(CLOSED, OPEN, 1, Reason.FAILURES), (OPEN, CLOSED, 2, Reason.FORCE_CLOSE)]
    assert [view.state for view in views] == [CLOSED]


def test_a_slow_listener_is_not_told_two_things_at_a_time(async_play: Play) -> None:
    """A coroutine function is awaited; other tasks go on meanwhile, and leave what they bring about to be told after it."""
    running, told = list[int](), list[int]()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(transition: Transition) -> None:
        assert not running
        running.append(transition.epoch)
        begun.set()
        await go_on.wait()
        told.append(running.pop())

    async def act() -> None:
        first = asyncio.create_task(breaker.force_open())
        await begun.wait()
        await breaker.force_close()
        await breaker.reset()
        assert told == []
        go_on.set()
        await first
        assert told == [1, 2, 3]

    breaker = async_play.breaker(listeners=slow)
    async_play.wait(act())


def test_whoever_makes_a_transition_tells_it(shared_play: Play) -> None:
    """Of those that share a breaker one is told by its own calls alone, so that each transition is told once among all."""
    told: dict[str, list[Transition]] = {"one": [], "other": []}
    one = shared_play.breaker(failure_threshold=2, listeners=told["one"].append)
    other = shared_play.breaker(failure_threshold=2, listeners=told["other"].append)
    shared_play.fail(one)
    shared_play.fail(other)
    shared_play.now_ms += LONGEST_MS
    shared_play.call(one)
    shared_play.call(other)
    assert arrows(told["one"]) == [(OPEN, HALF_OPEN, 2, Reason.TIMEOUT)]
    assert arrows(told["other"]) == [(CLOSED, OPEN, 1, Reason.FAILURES), (HALF_OPEN, CLOSED, 3, Reason.PROBES_SUCCEEDED)]
