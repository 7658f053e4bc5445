"""Foreign sync code sees redis-py as it is, and stops where coroutines do."""

import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redstep_check.binding import Broke, Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Ends, Heard, Interrupted, Pauses, Waits
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.operations import Lost
from redstep_spec.delivery import Unknown

from .probes import Driven, SyncProbe, ended, option

HOUR_S = 3_600


@pytest.fixture
def probe(engine: Engine) -> Iterator[Foreign]:
    """A target that runs what it is given."""
    target = SyncProbe(engine)
    yield target
    target.close()


class Impatient(SyncProbe):
    """A client that decodes, and whose patience ends."""

    options = {"decode_responses": True}  # noqa: RUF012  it is not changed
    lost = Lost.TIMEOUT


def replies(client: Any, prefix: str) -> list[Any]:
    """One of each kind."""
    client.hset(prefix + "h", mapping={"a": "1"})
    wrong = None
    try:
        client.incr(prefix + "h")
    except redis.ResponseError as error:
        wrong = str(error)
    big = "x" * 20_000
    client.set(prefix + "s", big)
    return [client.hgetall(prefix + "h"), wrong, len(client.get(prefix + "s"))]


def test_replies_are_what_redis_py_makes_of_them(engine: Engine) -> None:
    """Hashes are dicts, errors are raised, and what is large comes whole."""
    for kind, expected in ((SyncProbe, {b"a": b"1"}), (Impatient, {"a": "1"})):
        told, wrong, size = ended(kind, engine, replies)
        assert told == expected
        assert "WRONGTYPE" in wrong
        assert size == 20_000


@pytest.mark.parametrize("protocol", [2, 3, None])
def test_a_client_may_speak_either_protocol(engine: Engine, protocol: int | None) -> None:
    """The engine answers in the one that it speaks."""
    told, wrong, size = ended(option(SyncProbe, protocol=protocol), engine, replies)
    assert told == {b"a": b"1"}
    assert "WRONGTYPE" in wrong
    assert size == 20_000


def test_nobody_asks_after_a_connections_health(engine: Engine) -> None:
    """A PING of redis-py's own would be a stop that means nothing."""

    def sleepy(client: Any, prefix: str) -> Any:
        client.get(prefix)
        time.sleep(60)
        return client.get(prefix)

    target = option(SyncProbe, health_check_interval=5)(engine)
    driven = Driven(target, sleepy).told(Heard.REPLY).told(Heard.GOES_ON)
    assert driven.asked == [b"GET"]
    target.close()


def test_redis_pys_lock_is_run_as_it_is(probe: Foreign) -> None:
    """It draws its token by uuid1: SET, a look at it, and its script; who finds it taken sleeps."""

    def locks(client: Any, prefix: str) -> Any:
        with client.lock(prefix + "l", timeout=HOUR_S) as lock:
            return lock.owned()

    driven = Driven(probe, locks)
    assert driven.to_the_end() is True
    assert len(driven.fed) == 3
    probe.client.set(probe.prefix + "l", "another's")
    assert Driven(probe, locks).asked == [b"SET"]


@pytest.mark.parametrize(("transaction", "stops"), [(True, 1), (False, 2)])
def test_a_transaction_is_one_stop_and_a_pipeline_is_several(probe: Foreign, transaction: bool, stops: int) -> None:
    """As in coroutines."""

    def work(client: Any, prefix: str) -> Any:
        return client.pipeline(transaction=transaction).incr(prefix + "n").incr(prefix + "n").execute()

    driven = Driven(probe, work)
    assert driven.to_the_end() == [1, 2]
    assert len(driven.fed) == stops


def test_a_forgotten_script_is_loaded_and_called_again(probe: Foreign) -> None:
    """By redis-py, when it hears NOSCRIPT."""

    def work(client: Any, prefix: str) -> Any:
        return client.register_script("return {KEYS[1], ARGV[1]}")(keys=[prefix], args=["x"])

    assert Driven(probe, work).to_the_end() == [probe.prefix.encode(), b"x"]
    assert Driven(probe, work).told(Heard.REPLY, flushed=True).to_the_end() == [probe.prefix.encode(), b"x"]


def get(client: Any, prefix: str) -> Any:
    """One command; what is raised is told by its class."""
    try:
        return client.get(prefix)
    except redis.RedisError as error:
        return type(error)


def test_a_fault_is_what_redis_py_makes_of_it(probe: Foreign, engine: Engine) -> None:
    """Not sent, lost with the connection, or lost to the client's patience; and then it connects again."""
    assert ended(SyncProbe, engine, get, [Heard.NOT_SENT]) is redis.ConnectionError
    assert ended(SyncProbe, engine, get, [Heard.LOST]) is redis.ConnectionError
    assert ended(Impatient, engine, get, [Heard.LOST]) is redis.TimeoutError
    assert Driven(probe, lambda *args: (get(*args), get(*args))).told(Heard.LOST).to_the_end() == (redis.ConnectionError, None)
    assert Driven(probe, lambda client, prefix: client.get(prefix)).told(Heard.LOST).standing == Ends(Unknown())


def test_a_sleep_is_a_pause_and_the_clock_is_the_stores(probe: Foreign) -> None:
    """Also under the name by which redis-py imported it."""

    def work(client: Any, prefix: str) -> Any:
        before_s = time.monotonic()
        time.sleep(2)
        slept_s = time.monotonic() - before_s
        client.set(prefix, uuid.uuid4().hex)
        return slept_s, time.time()

    driven = Driven(probe, work)
    assert driven.standing == Waits(Pauses("sleep"))
    assert driven.to_the_end(1_009) == (2, 1_009 * HOUR_S)


def test_an_interruption_is_a_ctrl_c(probe: Foreign) -> None:
    """What is asked on the way out is a stop as any other."""

    def work(client: Any, prefix: str) -> None:
        try:
            client.incr(prefix + "n")
        finally:
            client.decr(prefix + "n")

    driven = Driven(probe, work).told(Heard.CANCELLED)
    assert driven.asked == [b"DECRBY"]
    assert driven.to_the_end() == Interrupted()


def test_one_that_is_discarded_leaves_nothing(probe: Foreign) -> None:
    """Whatever it does on its way out."""
    ends = []

    def work(client: Any, prefix: str) -> None:
        try:
            client.get(prefix)
        finally:
            ends.append(True)
            client.get(prefix)

    assert Driven(probe, work).asked == [b"GET"]
    assert ends == [True]


def test_an_error_of_its_own_is_no_answer(engine: Engine) -> None:
    """Unless the binding says so."""
    answer = ended(SyncProbe, engine, lambda *_: 1 // 0)
    assert isinstance(answer, Broke)
    assert "ZeroDivisionError" in answer.problem


def test_one_that_exits_is_told_and_does_not_end_the_exploration(engine: Engine) -> None:
    """What a tool does when it is interrupted is an end as any other, and none that a caller may see."""

    def exits(client: Any, prefix: str) -> Any:
        try:
            return client.get(prefix)
        except KeyboardInterrupt:
            sys.exit(0)

    answer = ended(SyncProbe, engine, exits, [Heard.CANCELLED])
    assert isinstance(answer, Broke)
    assert "SystemExit: 0" in answer.problem


def test_without_greenlets_it_says_what_to_install(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the extra."""
    monkeypatch.setitem(sys.modules, "greenlet", None)
    monkeypatch.delitem(sys.modules, "redstep_check.interleavings.foreign.greenlets")
    monkeypatch.delattr("redstep_check.interleavings.foreign.greenlets")
    with pytest.raises(Unsupported, match=r"install redstep\[greenlets\]"):
        SyncProbe(engine)
