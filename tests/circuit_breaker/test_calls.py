"""Calls: what one comes to, whichever way it is made (CB-12)."""

import functools
import pickle
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from redstep.circuit_breaker import Outcome, State
from redstep.errors import CircuitOpen, Misuse

from .plays import LONGEST_MS, Play


def failing() -> None:
    """Work that fails."""
    raise ConnectionResetError


def test_a_call_comes_to_what_its_function_returns(play: Play) -> None:
    """With the arguments that it was given; under asyncio a coroutine function is awaited, any other is called."""
    breaker = play.breaker()
    assert play.wait(breaker.call(lambda a, *, function: (a, function), 1, function=2)) == (1, 2)

    async def later(value: int) -> int:
        return value

    if play.is_async:
        assert play.wait(breaker.call(later, 7)) == 7


def test_an_error_of_the_call_is_raised_as_it_is(play: Play) -> None:
    """The very object, neither wrapped nor chained; by the call that trips the breaker too, and by a probe that fails."""
    breaker = play.breaker()
    errors = [ConnectionResetError("first"), TimeoutError("trips"), OSError("probe")]
    for error in errors:

        def work(error: BaseException = error) -> None:
            raise error

        if error is errors[2]:
            assert play.state(breaker) is State.OPEN
            play.now_ms += LONGEST_MS
        with pytest.raises(type(error)) as caught:
            play.call(breaker, work)
        assert caught.value is error
        assert (error.__cause__, error.__context__) == (None, None)
    assert play.view(breaker).epoch == 3


def test_an_error_keeps_what_it_was_raised_from(play: Play) -> None:
    """A cause and a context of its own stay."""

    def work() -> None:
        try:
            [][0]
        except IndexError as low:
            raise OSError("high") from low

    with pytest.raises(OSError, match="high") as caught:
        play.call(play.breaker(), work)
    assert isinstance(caught.value.__cause__, IndexError)


def test_a_call_may_end_an_iterator(sync_play: Play) -> None:
    """`breaker.call(next, iterator)` raises its StopIteration, which is a failure unless it is excluded."""
    breaker = sync_play.breaker(failure_threshold=1, excluded=StopIteration)
    for _ in range(2):
        with pytest.raises(StopIteration):
            breaker.call(next, iter(()))
    assert sync_play.state(breaker) is State.CLOSED


def test_a_refused_call_is_not_made(play: Play) -> None:
    """It raises CircuitOpen, which tells why and for how long."""
    breaker = play.opened()
    play.now_ms += 300
    made: list[str] = []
    with pytest.raises(CircuitOpen) as caught:
        play.call(breaker, lambda: made.append("made"))
    assert made == []
    assert (caught.value.name, caught.value.why, caught.value.retry_after_ms) == ("payments", "open", 700)
    assert "'payments' is open: retry in 700 ms" in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  our own
    assert (again.name, again.why, again.retry_after_ms) == ("payments", "open", 700)


def test_a_full_breaker_refuses_until_the_probe_deadline(play: Play) -> None:
    """It says that it is full, not open; room comes earlier if a probe reports."""
    breaker, first = play.probing(success_threshold=1)
    play.now_ms += 400
    with pytest.raises(CircuitOpen) as caught:
        play.call(breaker)
    assert (caught.value.why, caught.value.retry_after_ms) == ("full", 600)
    play.wait(first.neutral())
    assert play.call(breaker) == "done"
    assert play.state(breaker) is State.CLOSED


def test_a_breaker_opens_heals_and_closes(play: Play) -> None:
    """Failures in a row open it, the timeout lets probes through, successes in a row close it."""
    breaker = play.breaker()
    play.fail(breaker)
    play.call(breaker)
    play.fail(breaker)
    assert (play.view(breaker).state, play.view(breaker).failures) == (State.CLOSED, 1)
    play.fail(breaker)
    assert (play.view(breaker).state, play.view(breaker).retry_after_ms) == (State.OPEN, 1_000)
    play.now_ms += 999
    with pytest.raises(CircuitOpen):
        play.call(breaker)
    play.now_ms += 1
    play.call(breaker)
    assert (play.view(breaker).state, play.view(breaker).successes) == (State.HALF_OPEN, 1)
    play.call(breaker)
    assert (play.view(breaker).state, play.view(breaker).epoch) == (State.CLOSED, 3)


def test_a_guarded_function_is_called_through_the_breaker(play: Play) -> None:
    """And is otherwise what it was: name, docstring, arguments; a method too."""
    breaker = play.breaker(failure_threshold=1)

    class Shop:
        @breaker  # type: ignore[untyped-decorator]
        def charge(self, amount: int) -> int:
            """Charge."""
            if amount < 0:
                raise ValueError(amount)
            return amount

    assert (Shop.charge.__name__, Shop.charge.__doc__) == ("charge", "Charge.")
    assert play.wait(Shop().charge(5)) == 5
    with pytest.raises(ValueError, match="-1"):
        play.wait(Shop().charge(-1))
    with pytest.raises(CircuitOpen):
        play.wait(Shop().charge(5))


def generator() -> Iterator[int]:
    """Does nothing when it is called."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Neither does it."""
    yield 1


async def coroutine() -> int:
    """Nor it, but under asyncio it is awaited."""
    return 1


class Called:
    """An object that can be called, and then is to be awaited."""

    async def __call__(self) -> int:
        """Do its work."""
        return 1


def test_what_does_its_work_later_is_misuse(play: Play) -> None:
    """A success would be counted before there was one. Nothing is called, and no permit taken."""
    breaker = play.breaker()
    later = [coroutine, Called(), staticmethod(coroutine), functools.partial(Called())]
    wrong: list[Any] = [generator, async_generator, None, 5] + ([] if play.is_async else later)
    for function in wrong:
        with pytest.raises(Misuse, match="function"):
            breaker(function)
        with pytest.raises(Misuse, match="function"):
            play.wait(breaker.call(function))
    if play.is_async:
        assert [play.wait(breaker(each)()) for each in later] == [1] * 4


def test_what_nobody_would_await_is_neutral(sync_play: Play) -> None:
    """A function that can't be told before: the call is Misuse, and tells nothing; what it returned is never begun."""
    breaker = sync_play.breaker(failure_threshold=3)
    sync_play.fail(breaker)
    returned: list[Any] = []

    def promise() -> Any:
        returned.append(coroutine())
        return returned[-1]

    for call in (lambda: breaker.call(promise), breaker(promise)):
        with pytest.raises(Misuse, match="function: returned what is to be awaited"):
            call()
        with pytest.raises(RuntimeError, match="cannot reuse"):
            returned.pop().send(None)
    assert (sync_play.view(breaker).state, sync_play.view(breaker).failures) == (State.CLOSED, 1)


# --- blocks ------------------------------------------------------------------------------------------------------------


def test_a_block_is_a_call(play: Play) -> None:
    """It fails with the exception that it ends with, and succeeds without one."""
    breaker = play.breaker()
    play.enter(breaker)
    play.leave(breaker, ValueError("failed"))
    assert play.view(breaker).failures == 1
    play.enter(breaker)
    play.leave(breaker)
    assert play.view(breaker).failures == 0


def test_a_with_statement_lets_the_error_through() -> None:
    """As it is: the statement is the language's, so one client shows it."""
    from redstep.clients.circuit_breaker import CircuitBreaker

    breaker, own = CircuitBreaker("payments", failure_threshold=1), ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught, breaker:
        raise own
    assert caught.value is own
    with pytest.raises(CircuitOpen), breaker:
        raise AssertionError("a refused block is not entered")


def test_blocks_can_be_nested(play: Play) -> None:
    """Each ends with its own permit, the innermost first."""
    breaker, _ = play.probing(success_threshold=4)
    outer, inner = play.enter(breaker), play.enter(breaker)
    assert (outer.permit.number, inner.permit.number) == (2, 3)
    play.leave(breaker)
    assert inner.use() is False
    assert outer.use() is True
    assert (play.view(breaker).successes, play.view(breaker).probes) == (1, 2)


def test_blocks_of_several_breakers_do_not_mix(play: Play) -> None:
    """Whatever the order in which they end."""
    breaker, other = play.breaker(), play.breaker("other")
    for each in (breaker, other, breaker):
        play.enter(each)
    play.leave(breaker, ValueError("one"))
    play.leave(breaker)
    play.leave(other, ValueError("other"))
    assert (play.view(breaker).failures, play.view(other).failures) == (0, 1)


def test_a_block_that_never_began_does_not_end(play: Play) -> None:
    """It is a mistake of the caller's, and no permit is reported for it."""
    breaker = play.breaker()
    with pytest.raises(RuntimeError, match="never began"):
        play.leave(breaker)
    play.enter(breaker)
    play.leave(breaker)
    with pytest.raises(RuntimeError, match="never began"):
        play.leave(breaker, ValueError("twice"))
    assert play.view(breaker).failures == 0


def test_a_breaker_refuses_blocks_within_blocks_without_harm(play: Play) -> None:
    """When it is full, the inner block is refused; for the outer one that tells nothing of what is called."""
    breaker, first = play.probing(success_threshold=1)
    play.wait(first.neutral())
    play.enter(breaker)
    with pytest.raises(CircuitOpen) as caught:
        play.enter(breaker)
    play.leave(breaker, caught.value)
    assert (play.view(breaker).state, play.view(breaker).probes) == (State.HALF_OPEN, 0)


# --- permits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("report", "failures"), [("success", 0), ("failure", 2), ("neutral", 1)])
def test_a_permit_is_reported_by_its_holder(play: Play, report: str, failures: int) -> None:
    """Once: what comes later does nothing."""
    breaker = play.breaker(failure_threshold=5)
    play.fail(breaker)
    held = play.wait(breaker.acquire())
    assert play.wait(getattr(held, report)()) is True
    assert play.view(breaker).failures == failures
    for later in ("failure", "success", "neutral"):
        assert play.wait(getattr(held, later)()) is False
    play.leave(held, ValueError("later"))
    assert play.view(breaker).failures == failures


def test_a_permit_is_a_block(play: Play) -> None:
    """Which counts by how it ends, unless its holder said so before."""
    breaker = play.breaker(failure_threshold=5)
    held = play.wait(breaker.acquire())
    assert play.enter(held) is held
    play.leave(held, ValueError("failed"))
    assert play.view(breaker).failures == 1
    held = play.wait(breaker.acquire())
    play.enter(held)
    play.wait(held.neutral())
    play.leave(held, ValueError("failed"))
    assert play.view(breaker).failures == 1


def test_a_permit_of_an_older_epoch_counts_nowhere(play: Play) -> None:
    """Its holder is told."""
    breaker = play.breaker(failure_threshold=1)
    held = play.wait(breaker.acquire())
    play.wait(breaker.reset())
    assert play.wait(held.failure()) is False
    assert (play.state(breaker), play.view(breaker).epoch) == (State.CLOSED, 1)


@pytest.mark.parametrize("outcome", Outcome)
def test_a_probe_frees_its_place_whatever_it_comes_to(play: Play, outcome: Outcome) -> None:
    """A success counts, a neutral outcome does not, and a failure opens the breaker again."""
    breaker, first = play.probing(success_threshold=2)
    assert play.wait(getattr(first, outcome.value)()) is True
    view = play.view(breaker)
    assert view.probes == 0
    assert view.successes == (outcome is Outcome.SUCCESS)
    assert view.state is (State.OPEN if outcome is Outcome.FAILURE else State.HALF_OPEN)


# --- people -------------------------------------------------------------------------------------------------------------


def test_people_may_open_and_close_a_breaker(play: Play) -> None:
    """Each time it begins an epoch, even if it stays in its state; one that is open stays so no longer than it would."""
    breaker = play.breaker()
    play.wait(breaker.force_open())
    assert (play.state(breaker), play.view(breaker).retry_after_ms) == (State.OPEN, 1_000)
    play.now_ms += 600
    play.wait(breaker.force_open())
    assert (play.view(breaker).epoch, play.view(breaker).retry_after_ms) == (2, 400)
    play.wait(breaker.force_close())
    play.wait(breaker.reset())
    assert (play.state(breaker), play.view(breaker).epoch) == (State.CLOSED, 4)
    assert play.call(breaker) == "done"


def test_a_view_changes_nothing(play: Play) -> None:
    """An open breaker whose timeout is over is open until a call is to be made."""
    breaker = play.opened()
    play.now_ms += 10 * LONGEST_MS
    assert [play.view(breaker) for _ in range(2)] == [play.view(breaker)] * 2
    assert (play.state(breaker), play.view(breaker).retry_after_ms) == (State.OPEN, 0)


# --- misuse -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("failure_threshold", 0),
        ("failure_threshold", True),
        ("success_threshold", 1.0),
        ("success_threshold", 2**51 + 1),
        ("open_ms", 0),
        ("open_ms", "30"),
        ("excluded", int),
        ("excluded", (ValueError, 5)),
        ("excluded", 5),
        ("excluded", coroutine),
        ("excluded", (ValueError, generator)),
        ("listeners", 5),
        ("listeners", (print, None)),
        ("listeners", generator),
        ("clock", 5),
        ("draw", 5),
    ],
)
def test_a_bad_setting_is_misuse(play: Play, argument: str, value: Any) -> None:
    """It is named."""
    with pytest.raises(Misuse) as caught:
        play.breaker(**{argument: value})
    assert caught.value.argument == argument


@pytest.mark.parametrize("name", ["", "a{b}", "a\nb", "x" * 513, 5])
def test_a_bad_name_is_misuse(play: Play, name: Any) -> None:
    """As everywhere: 1 to 512 bytes of UTF-8 without braces and control characters."""
    with pytest.raises(Misuse) as caught:
        play.breaker(name)
    assert caught.value.argument == "name"


def test_the_jitter_is_a_fifth_in_both_directions(play: Play) -> None:
    """It is drawn from 80 %, rounded up, to 120 %, rounded down, for each failure; and of 1 ms there is no less and no more."""
    asked: list[tuple[int, int]] = []

    def draw(least: int, most: int) -> int:
        asked.append((least, most))
        return most

    bounds: dict[int, tuple[int, int]] = {1: (1, 1), 3: (3, 3), 4: (4, 4), 5: (4, 6), 99: (80, 118), 1_000: (800, 1_200)}
    for open_ms in bounds:
        play.fail(play.breaker(f"jitter {open_ms}", open_ms=open_ms, draw=draw))
    assert asked == list(bounds.values())


def test_a_breaker_tells_the_time_and_draws_by_itself(play: Play) -> None:
    """Without a clock and a draw of the test's: its own, or the engine's."""
    breaker = play.breaker(failure_threshold=1, open_ms=60_000, clock=None, draw=None)
    play.fail(breaker)
    assert 47_000 < play.view(breaker).retry_after_ms <= 72_000
