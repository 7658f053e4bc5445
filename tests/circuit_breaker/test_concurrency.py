"""Threads and tasks: no lock is held while the caller's code runs, and no permit counts twice (CB-5, CB-7, CB-11)."""

import asyncio
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from redstep.circuit_breaker import State
from redstep.clients.circuit_breaker import AsyncCircuitBreaker, CircuitBreaker
from redstep.errors import CircuitOpen

from .plays import LONGEST_MS, OPEN_MS, Play

CROWD = 100
LONG_S = 30


def all_at_once(number: int, work: Callable[[int], Any]) -> list[Any]:
    """Have so many threads do something, all of them beginning together."""
    start = threading.Barrier(number)

    def begin(each: int) -> Any:
        start.wait(LONG_S)
        return work(each)

    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(begin, range(number)))


def all_tasks(play: Any, number: int, work: Callable[[int], Any]) -> list[Any]:
    """Have so many tasks do something."""

    async def gathered() -> list[Any]:
        return list(await asyncio.gather(*(work(each) for each in range(number))))

    found: list[Any] = play.wait(gathered())
    return found


def test_a_crowd_of_threads_is_inside_at_the_same_time(sync_play: Play) -> None:
    """Work of one does not wait for that of another: a hundred meet in their work, which none of them could otherwise leave."""
    breaker = sync_play.breaker()
    meeting = threading.Barrier(CROWD)

    def meet() -> int:
        return meeting.wait(LONG_S)

    assert sorted(all_at_once(CROWD, lambda _: breaker.call(meet))) == list(range(CROWD))

    def meet_in_a_block(_: int) -> int:
        with breaker:
            return meeting.wait(LONG_S)

    assert sorted(all_at_once(CROWD, meet_in_a_block)) == list(range(CROWD))
    assert (sync_play.state(breaker), sync_play.view(breaker).failures) == (State.CLOSED, 0)


def test_a_crowd_of_tasks_is_inside_at_the_same_time(async_play: Play) -> None:
    """Likewise."""
    breaker = async_play.breaker()
    meeting = asyncio.Barrier(CROWD)

    async def meet() -> int:
        async with asyncio.timeout(LONG_S):
            return await meeting.wait()

    async def meet_in_a_block(_: int) -> int:
        async with breaker:
            return await meet()

    assert sorted(all_tasks(async_play, CROWD, lambda _: breaker.call(meet))) == list(range(CROWD))
    assert sorted(all_tasks(async_play, CROWD, meet_in_a_block)) == list(range(CROWD))
    assert (async_play.state(breaker), async_play.view(breaker).failures) == (State.CLOSED, 0)


def test_others_pass_while_one_is_stuck(sync_play: Play) -> None:
    """In its work, or in a listener."""
    entered, leave = threading.Event(), threading.Event()

    def stuck(*_: object) -> None:
        entered.set()
        assert leave.wait(LONG_S)

    plain, told = sync_play.breaker(), sync_play.breaker("told", listeners=stuck)
    for breaker, begin in ((plain, partial(plain.call, stuck)), (told, told.force_close)):
        entered.clear()
        leave.clear()
        thread = threading.Thread(target=begin)
        thread.start()
        assert entered.wait(LONG_S)
        assert sync_play.call(breaker) == "done"
        with breaker:
            assert breaker.view().state is State.CLOSED
        breaker.reset()
        leave.set()
        thread.join()


def test_a_breaker_is_full_for_a_crowd_of_threads(sync_play: Play) -> None:
    """Of all that ask at once, S are let through, each with a number of its own; one of them moved it to HALF_OPEN."""
    told: list[Any] = []
    breaker = sync_play.opened(success_threshold=3, listeners=told.append)
    sync_play.now_ms += LONGEST_MS

    def ask(_: int) -> int:
        try:
            return int(breaker.acquire().permit.number)
        except CircuitOpen as refusal:
            return 0 if refusal.why == "full" else -1

    assert sorted(all_at_once(40, ask)) == [0] * 37 + [1, 2, 3]
    assert [each.to_state for each in told] == [State.OPEN, State.HALF_OPEN]


def test_a_breaker_is_full_for_a_crowd_of_tasks(async_play: Play) -> None:
    """Likewise."""
    told: list[Any] = []
    breaker = async_play.opened(success_threshold=3, listeners=told.append)
    async_play.now_ms += LONGEST_MS

    async def ask(_: int) -> int:
        try:
            return int((await breaker.acquire()).permit.number)
        except CircuitOpen as refusal:
            return 0 if refusal.why == "full" else -1

    assert sorted(all_tasks(async_play, 40, ask)) == [0] * 37 + [1, 2, 3]
    assert [each.to_state for each in told] == [State.OPEN, State.HALF_OPEN]


def test_a_crowd_that_fails_opens_the_breaker_once(sync_play: Play) -> None:
    """However many report together: one transition, told once; the failures of the older epoch count nowhere."""
    told: list[Any] = []
    breaker = sync_play.breaker(failure_threshold=10, listeners=told.append)
    together = threading.Barrier(40)

    def fail(_: int) -> None:
        def work() -> None:
            together.wait(LONG_S)
            raise ConnectionResetError

        try:
            breaker.call(work)
        except ConnectionResetError:
            return
        raise AssertionError

    all_at_once(40, fail)
    assert [(each.to_state, each.epoch) for each in told] == [(State.OPEN, 1)]
    assert sync_play.view(breaker).epoch == 1


def test_a_permit_that_threads_race_for_counts_once(sync_play: Play) -> None:
    """Whoever is first reports it; all others are told that they did not."""
    breaker = sync_play.breaker(failure_threshold=5)
    for failures in range(1, 4):
        held = breaker.acquire()
        assert sum(all_at_once(20, lambda _, held=held: held.failure())) == 1  # type: ignore[misc]
        assert sync_play.view(breaker).failures == failures


def test_transitions_of_many_threads_are_told_in_order(sync_play: Play) -> None:
    """By epoch for a local breaker; each once, and never two at a time."""
    told: list[int] = []
    inside = threading.Lock()

    def listener(transition: Any) -> None:
        assert inside.acquire(blocking=False)
        told.append(transition.epoch)
        inside.release()

    breaker = sync_play.breaker(listeners=listener)

    def intervene(number: int) -> None:
        for _ in range(10):
            (breaker.force_open, breaker.force_close, breaker.reset)[number % 3]()

    all_at_once(12, intervene)
    breaker.reset()
    assert sorted(told) == list(range(1, 122))
    if not sync_play.is_shared:
        assert told == sorted(told)


def test_who_comes_late_takes_no_step_in_the_past(sync_play: Play) -> None:
    """Who reads the clock, and then has to wait for his turn, does not bring a timeout forward that began meanwhile (CB-3)."""
    overtaking: list[Callable[[], None]] = []

    def clock() -> int:
        read_ms = sync_play.now_ms
        if overtaking:
            sync_play.now_ms += 5_000
            overtaking.pop()()
        return read_ms

    breaker = sync_play.breaker(clock=clock)
    if sync_play.is_shared:
        return
    overtaking.append(breaker.force_open)
    with pytest.raises(CircuitOpen) as caught:
        breaker.acquire()
    assert caught.value.retry_after_ms == OPEN_MS
    assert breaker.view().retry_after_ms == OPEN_MS
    overtaking.append(breaker.reset)
    breaker.force_open()
    assert (breaker.view().state, breaker.view().retry_after_ms) == (State.OPEN, OPEN_MS)
    overtaking.append(breaker.reset)
    assert breaker.view().retry_after_ms == OPEN_MS


def in_time(work: Callable[[], object]) -> bool:
    """Does a thread of its own come to an end?"""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LONG_S)
    return not thread.is_alive()


def test_a_thread_does_not_wait_for_itself(sync_play: Play) -> None:
    """In the midst of a step a signal may come whose handler uses the breaker, or the garbage collector close a block."""
    told: list[Any] = []
    breaker = sync_play.breaker(listeners=told.append)

    def use() -> None:
        with breaker._breaker.lock, breaker:
            breaker.force_open()

    assert in_time(use)
    assert [each.to_state for each in told] == [State.OPEN]


def in_a_child(work: Callable[[], object]) -> bool:
    """Does a forked process do this?"""
    child = os.fork()
    if child == 0:
        signal.alarm(LONG_S)
        try:
            work()
        except BaseException:  # noqa: BLE001  nothing of the test's goes on in the child
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_fork_leaves_no_lock_behind() -> None:
    """Whatever the other threads of the parent were doing, the child's breaker works, and tells its listeners."""
    inside, leave = threading.Barrier(3), threading.Event()
    told: list[Any] = []

    def listener(transition: Any) -> None:
        told.append(transition.reason.value)
        if threading.current_thread() is not threading.main_thread():
            inside.wait(LONG_S)
            leave.wait(LONG_S)

    breaker = CircuitBreaker("payments", listeners=listener)

    def hold() -> None:
        with breaker._breaker.lock:
            inside.wait(LONG_S)
            leave.wait(LONG_S)

    def use() -> None:
        with breaker:
            breaker.reset()
        assert told == ["force_close", "reset"]

    tells = threading.Thread(target=breaker.force_close)
    tells.start()
    holds = threading.Thread(target=hold)
    holds.start()
    inside.wait(LONG_S)
    try:
        assert in_a_child(use)
    finally:
        leave.set()
        tells.join()
        holds.join()
    assert told == ["force_close"]


# --- blocks in many contexts -----------------------------------------------------------------------------------------------


def test_blocks_of_threads_keep_their_own_permits() -> None:
    """However they overlap: the permit that a block ends with is the one that it began with."""
    now_ms = 0
    breaker = CircuitBreaker("payments", success_threshold=1_000_000, clock=lambda: now_ms)
    breaker.force_open()
    now_ms = 1_000_000

    def overlap(_: int) -> bool:
        owns = True
        for _ in range(50):
            with breaker as outer, breaker as inner:
                owns = owns and outer.permit.number < inner.permit.number
            owns = owns and not inner.use() and not outer.use()
        return owns

    assert all(all_at_once(16, overlap))
    assert (breaker.view().successes, breaker.view().probes) == (1600, 0)


def test_blocks_of_tasks_keep_their_own_permits() -> None:
    """A task that was begun in a block has blocks of its own, and what it inherited is not its to end."""

    async def play() -> None:
        breaker = AsyncCircuitBreaker("payments", failure_threshold=1_000)
        order: list[int] = []

        async def child(number: int, others: asyncio.Event) -> None:
            async with breaker as held:
                await others.wait()
                order.append(number)
                assert held.use()
            assert not held.use()

        async with breaker as outer:
            others = asyncio.Event()
            tasks = [asyncio.create_task(child(number, others)) for number in range(10)]
            await asyncio.sleep(0)
            others.set()
            await asyncio.gather(*tasks)
            assert outer.use()

    asyncio.run(play())


def test_a_block_may_end_in_another_context() -> None:
    """As that of a generator which several threads resume; none is left open, and none is taken twice."""
    breaker = CircuitBreaker("payments", failure_threshold=5)

    def guarded() -> Iterator[Any]:
        with breaker as held:
            yield held

    generators = [guarded() for _ in range(3)]
    permits = [contextvars.copy_context().run(next, each) for each in generators]
    for each in generators:
        assert contextvars.copy_context().run(next, each, None) is None
    assert [held.use() for held in permits] == [False] * 3
    assert breaker._entered._open == {}


def test_blocks_leave_nothing_behind() -> None:
    """Neither in the breaker nor in the context, if blocks begin in one and end in another."""
    from redstep.clients.circuit_breaker_permits import _stack

    breaker = CircuitBreaker("payments")
    for _ in range(100):
        breaker.__enter__()
        contextvars.Context().run(breaker.__exit__, None, None, None)
    breaker.__enter__()
    assert len([each for each in _stack.get() if each[0] is breaker._entered]) == 1
    breaker.__exit__(None, None, None)
    assert [each for each in _stack.get() if each[0] is breaker._entered] == []
    assert breaker._entered._open == {}
