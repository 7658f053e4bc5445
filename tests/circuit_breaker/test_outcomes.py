"""Outcomes: an exception is a failure, but for those that tell nothing of what is called (CB-10)."""

import asyncio
import concurrent.futures
import logging
import pickle
import queue
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from redis.exceptions import NoScriptError, OutOfMemoryError

from redstep.circuit_breaker import Outcome, State
from redstep.circuit_breaker_outcomes import outcome_of
from redstep.errors import CircuitOpen, Corrupt, Misuse, ServiceOverloaded, Unavailable, UnexpectedReply
from redstep_check.engines import Engine

from .plays import Play

NEUTRAL: dict[str, BaseException] = {
    "a cancellation": asyncio.CancelledError(),
    "a cancellation of a thread's work": concurrent.futures.CancelledError(),
    "Ctrl-C": KeyboardInterrupt(),
    "the end of the process": SystemExit(1),
    "the end of a generator": GeneratorExit(),
    "misuse": Misuse("name", "is wrong"),
    "corrupt data": Corrupt("key"),
    "another script": UnexpectedReply("1"),
    "no connection free": ServiceOverloaded("none"),
    "no connection of a plain pool free": redis.MaxConnectionsError("none"),
    "a full store": Unavailable("refused", definite=True, code="OOM"),
    "a full store, of redis-py": OutOfMemoryError("x", status_code="OOM"),
    "a script that was forgotten": NoScriptError("x", status_code="NOSCRIPT"),
    "a wrong type": redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"),
}
FAILURES: dict[str, BaseException] = {
    "a timeout": TimeoutError(),
    "a timeout of redis-py": redis.TimeoutError("slow"),
    "a connection lost": ConnectionResetError(),
    "a connection of redis-py lost": redis.ConnectionError("gone"),
    "an error reply": redis.ResponseError("ERR syntax error"),
    "another store": Unavailable("gone", definite=True),
    "a replica": Unavailable("refused", definite=True, code="READONLY"),
    "another breaker's refusal": CircuitOpen("other", "open", 5, "another"),
    "the refusal of one of the same name": CircuitOpen("payments", "open", 5, "another"),
    "an error of the code": ZeroDivisionError(),
    "text that looks like a code": redis.ConnectionError("lost: OOM killer"),
}


@pytest.mark.parametrize("what", NEUTRAL)
def test_a_neutral_outcome_changes_no_count_and_frees_the_permit(play: Play, what: str) -> None:
    """It is raised as it is, in every state; a probe's place is free again."""
    breaker = play.breaker(failure_threshold=2)
    play.fail(breaker)
    play.fail(breaker, NEUTRAL[what])
    assert (play.view(breaker).state, play.view(breaker).failures) == (State.CLOSED, 1)
    play.wait(breaker.reset())
    breaker, first = play.probing(success_threshold=2)
    play.fail(breaker, NEUTRAL[what])
    assert (play.view(breaker).state, play.view(breaker).probes, play.view(breaker).successes) == (State.HALF_OPEN, 1, 0)
    play.wait(first.success())
    assert play.view(breaker).successes == 1


@pytest.mark.parametrize("what", FAILURES)
def test_any_other_exception_is_a_failure(play: Play, what: str) -> None:
    """The call's own timeout too."""
    breaker = play.breaker(failure_threshold=1)
    play.fail(breaker, FAILURES[what])
    assert play.state(breaker) is State.OPEN


def test_a_block_tells_outcomes_apart_too(play: Play) -> None:
    """As a call does."""
    breaker = play.breaker(failure_threshold=1)
    for error in NEUTRAL.values():
        play.enter(breaker)
        play.leave(breaker, error)
    assert play.state(breaker) is State.CLOSED
    play.enter(breaker)
    play.leave(breaker, TimeoutError())
    assert play.state(breaker) is State.OPEN


def not_found(error: BaseException) -> bool:
    """A predicate."""
    return getattr(error, "status", None) == 404


class Answered(Exception):
    """What a client of somebody's raises."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@pytest.mark.parametrize(
    ("excluded", "error", "outcome"),
    [
        (KeyError, KeyError("k"), Outcome.NEUTRAL),
        (LookupError, KeyError("k"), Outcome.NEUTRAL),
        (KeyError, LookupError("k"), Outcome.FAILURE),
        ((ValueError, KeyError), KeyError("k"), Outcome.NEUTRAL),
        (not_found, Answered(404), Outcome.NEUTRAL),
        (not_found, Answered(500), Outcome.FAILURE),
        ((KeyError, not_found), Answered(404), Outcome.NEUTRAL),
        ([TimeoutError], TimeoutError(), Outcome.NEUTRAL),
    ],
)
def test_what_is_excluded_is_neutral(play: Play, excluded: Any, error: Exception, outcome: Outcome) -> None:
    """A class with those below it, a predicate, or several."""
    breaker = play.breaker(failure_threshold=1, excluded=excluded)
    play.fail(breaker, error)
    assert play.state(breaker) is (State.CLOSED if outcome is Outcome.NEUTRAL else State.OPEN)


def test_a_predicate_that_fails_excludes_nothing(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the call's own is raised."""

    def broken(error: BaseException) -> bool:
        raise AttributeError(error)

    breaker = play.breaker(failure_threshold=1, excluded=broken)
    with caplog.at_level(logging.ERROR, "redstep"):
        play.fail(breaker)
    assert play.state(breaker) is State.OPEN
    assert "a predicate failed" in caplog.text


class Codes(list[int]):
    """A predicate that can be iterated over, too."""

    def __call__(self, error: BaseException) -> bool:
        """Is it one of them?"""
        return getattr(error, "status", None) in self


def test_what_can_be_called_is_one_predicate(play: Play) -> None:
    """Though it could be iterated over."""
    breaker = play.breaker(failure_threshold=1, excluded=Codes([404]))
    play.fail(breaker, Answered(404))
    assert play.state(breaker) is State.CLOSED
    play.fail(breaker, Answered(500))
    assert play.state(breaker) is State.OPEN


def test_a_promise_excludes_nothing(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    """A predicate whose answer is to be awaited is one that fails."""

    async def no(_: BaseException) -> bool:
        raise AssertionError

    breaker = play.breaker(failure_threshold=1, excluded=lambda error: no(error))
    with caplog.at_level(logging.ERROR, "redstep"):
        play.fail(breaker)
    assert play.state(breaker) is State.OPEN
    assert "a predicate failed" in caplog.text


def refusal(play: Play, breaker: Any) -> CircuitOpen:
    """What a breaker that is open refuses a call with."""
    with pytest.raises(CircuitOpen) as caught:
        play.call(breaker)
    return caught.value


def test_this_breakers_refusal_is_neutral(play: Play) -> None:
    """Of calls that are nested; also if it came by way of another process. Those that share a key are one breaker."""
    breaker = play.opened(failure_threshold=1)
    own = refusal(play, breaker)
    play.wait(breaker.reset())
    play.fail(breaker, own)
    play.fail(breaker, pickle.loads(pickle.dumps(own)))  # noqa: S301  our own
    assert play.state(breaker) is State.CLOSED
    play.fail(play.breaker(failure_threshold=1), own)
    assert play.state(breaker) is State.CLOSED


def test_the_refusal_of_another_breaker_is_a_failure(play: Play) -> None:
    """Though it may have the same name: it is of what is called."""
    settings = {"prefix": "another:"} if play.is_shared else {}
    other = refusal(play, play.opened(failure_threshold=1, **settings))
    breaker = play.breaker(failure_threshold=1)
    assert (other.name, breaker._breaker.name) == ("payments", "payments")
    play.fail(breaker, other)
    assert play.state(breaker) is State.OPEN


# --- the store's own errors -----------------------------------------------------------------------------------------------


def raised(work: Callable[[], object]) -> Exception:
    """What a use of a store's client raises."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  which one is what the tests are about
        work()
    return caught.value


def neutral(error: BaseException) -> bool:
    """Is it neutral?"""
    return outcome_of(error, "payments", ()) is Outcome.NEUTRAL


@contextmanager
def full(admin: redis.Redis) -> Iterator[None]:
    """While the store's memory is full."""
    admin.config_set("maxmemory", 1)
    try:
        yield
    finally:
        admin.config_set("maxmemory", 0)


STORES = ["valkey9", "valkey8", "redis62", "fakeredis"]


@pytest.mark.parametrize("name", STORES)
def test_the_datas_errors_are_neutral_whatever_raises_them(engine_named: Callable[[str], Engine], name: str) -> None:
    """A command, a pipeline or a script."""
    engine = engine_named(name)
    client = engine.client()
    client.set("text", "x")

    def pipelined() -> None:
        pipeline = client.pipeline(transaction=False)
        pipeline.lpush("text", 1)
        pipeline.execute()

    script = "return redis.call('LPUSH', 'text', 1)"
    for work in (lambda: client.lpush("text", 1), pipelined, lambda: client.eval(script, 0)):
        error = raised(work)
        assert "WRONGTYPE" in str(error)
        assert neutral(error), error
    assert neutral(raised(lambda: client.evalsha("0" * 40, 0)))
    assert not neutral(raised(lambda: client.execute_command("NOSUCHCOMMAND", "WRONGTYPE")))  # type: ignore[no-untyped-call]
    client.close()


@pytest.mark.parametrize("name", [name for name in STORES if name != "fakeredis"])
def test_a_full_stores_errors_are_neutral_whatever_raises_them(engine_named: Callable[[str], Engine], name: str) -> None:
    """A command, a pipeline or a script."""
    engine = engine_named(name)
    client = engine.client()

    def pipelined() -> None:
        pipeline = client.pipeline(transaction=False)
        pipeline.set("text", 1)
        pipeline.execute()

    with full(client):
        for work in (
            lambda: client.set("text", 1),
            pipelined,
            lambda: client.eval("return redis.call('SET', KEYS[1], 1)", 1, "text"),
        ):
            error = raised(work)
            assert "OOM" in str(error) or "maxmemory" in str(error)
            assert neutral(error), error
    client.close()


def _pool(path: object, library: Any, kind: str, **options: Any) -> Any:
    pool = getattr(library, kind)(connection_class=library.UnixDomainSocketConnection, path=path, max_connections=1, **options)
    return library.Redis.from_pool(pool)


POOLS = {"ConnectionPool": {}, "BlockingConnectionPool": {"timeout": 0.01}}


@pytest.mark.parametrize("kind", POOLS)
def test_a_pool_that_ran_out_is_neutral(engine: Engine, kind: str) -> None:
    """Whichever of redis-py's it is, and although one of them raises no error of its own for it."""
    client = _pool(engine.address, redis, kind, **POOLS[kind])
    held = client.connection_pool.get_connection()
    assert neutral(raised(client.ping))
    client.connection_pool.release(held)
    client.close()


@pytest.mark.parametrize("kind", POOLS)
def test_an_asyncio_pool_that_ran_out_is_neutral(engine: Engine, kind: str) -> None:
    """Likewise."""

    async def play() -> Exception:
        client = _pool(engine.address, redis.asyncio, kind, **POOLS[kind])
        held = await client.connection_pool.get_connection()
        with pytest.raises(Exception) as caught:  # noqa: PT011
            await cast("Awaitable[object]", client.ping())
        await client.connection_pool.release(held)
        await client.aclose()
        return caught.value

    assert neutral(asyncio.run(play()))


def test_an_error_of_a_connection_is_a_failure_whatever_is_being_handled(engine: Engine) -> None:
    """A pool that ran out is not told by what somebody else was handling at that moment."""
    client = _pool(engine.address, redis, "ConnectionPool")
    held = queue.Queue[object]()
    gone = _pool(f"{engine.address}.gone", redis, "ConnectionPool")

    def while_handling(work: Callable[[], object]) -> None:
        try:
            held.get(timeout=0)
        except queue.Empty:
            work()

    def lost() -> None:
        raise redis.ConnectionError("Connection closed by server.")

    for work in (gone.ping, lost):
        error = raised(lambda work=work: while_handling(work))  # type: ignore[misc]
        assert isinstance(error, redis.ConnectionError)
        assert not neutral(error)
    client.close()
    gone.close()
