"""Foreign coroutines see redis-py and asyncio as they are; what can't be followed is refused."""

import asyncio
import itertools
import random
import secrets
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep_check.binding import Broke, Unsupported
from redstep_check.engines import Engine, open_engine
from redstep_check.interleavings.binding import Asks, Ends, Heard, Interrupted, Pauses, Waits
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.operations import Lost
from redstep_check.interleavings.foreign.replaying import Nondeterministic
from redstep_spec.delivery import Unknown

from .probes import Driven, Probe, ended, option

HOUR_S = 3_600


@pytest.fixture
def probe(engine: Engine) -> Iterator[Foreign]:
    """A target that runs what it is given."""
    target = Probe(engine)
    yield target
    target.close()


class Decoding(Probe):
    """A client that decodes."""

    options = {"decode_responses": True}  # noqa: RUF012  it is not changed


class Impatient(Probe):
    """A client whose patience ends."""

    lost = Lost.TIMEOUT


# ---------------------------------------------------------------------------------------------- redis-py


async def replies(client: redis.asyncio.Redis, prefix: str) -> list[Any]:
    """One of each kind."""
    key: Any = prefix
    await client.hset(key + "h", mapping={"a": "1"})
    await client.zadd(key + "z", {"m": 1.5})
    wrong = None
    try:
        await client.incr(key + "h")
    except redis.ResponseError as error:
        wrong = str(error)
    got = [await client.hgetall(key + "h"), await client.get(key + "none"), await client.zscore(key + "z", "m"), wrong]
    return [*got, await client.set(key + "s", "v", nx=True), await client.set(key + "s", "v", nx=True)]


def test_replies_are_what_redis_py_makes_of_them(engine: Engine) -> None:
    """Hashes are dicts, errors are raised, and texts are decoded where the client is told to."""
    *got, wrong, first, second = ended(Probe, engine, replies)
    assert got == [{b"a": b"1"}, None, 1.5]
    assert "WRONGTYPE" in wrong
    assert (first, second) == (True, None)
    assert ended(Decoding, engine, replies)[0] == {"a": "1"}


@pytest.mark.parametrize("protocol", [2, 3, None])
def test_a_client_may_speak_either_protocol(engine: Engine, protocol: int | None) -> None:
    """The engine answers in the one that it speaks."""
    first, none, score, wrong, *_ = ended(option(Probe, protocol=protocol), engine, replies)
    assert (first, none, score) == ({b"a": b"1"}, None, 1.5)
    assert "WRONGTYPE" in wrong


def test_nobody_asks_after_a_connections_health(probe: Foreign, engine: Engine) -> None:
    """A PING of redis-py's own would be a stop that means nothing; one of the code's is one."""

    async def sleepy(client: redis.asyncio.Redis, prefix: str) -> Any:
        await client.get(prefix)
        await asyncio.sleep(60)
        return await client.get(prefix)

    target = option(Probe, health_check_interval=5)(engine)
    driven = Driven(target, sleepy).told(Heard.REPLY).told(Heard.GOES_ON)
    assert driven.asked == [b"GET"]
    target.close()
    assert Driven(probe, lambda client, _: client.ping()).asked == [b"PING"]


async def locks(client: redis.asyncio.Redis, prefix: str) -> Any:
    """redis-py's own lock: it draws its token by uuid1."""
    async with client.lock(prefix + "l", timeout=HOUR_S) as lock:
        return await lock.owned()


def test_redis_pys_lock_is_run_as_it_is(probe: Foreign) -> None:
    """SET, a look at it, and its script."""
    driven = Driven(probe, locks)
    assert driven.to_the_end() is True
    assert len(driven.fed) == 3


async def transaction(client: redis.asyncio.Redis, prefix: str) -> Any:
    """Two commands at once."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.incr(prefix + "n")
        pipe.incr(prefix + "n")
        return await pipe.execute()


async def pipeline(client: redis.asyncio.Redis, prefix: str) -> Any:
    """Two commands, one after the other."""
    async with client.pipeline(transaction=False) as pipe:
        pipe.incr(prefix + "n")
        pipe.incr(prefix + "n")
        return await pipe.execute()


def test_a_transaction_is_one_stop(probe: Foreign) -> None:
    """From MULTI to EXEC."""
    driven = Driven(probe, transaction)
    assert driven.asked == [b"MULTI", b"INCRBY", b"INCRBY", b"EXEC"]
    assert driven.to_the_end() == [1, 2]
    assert len(driven.fed) == 1


def test_others_come_between_the_commands_of_a_pipeline(probe: Foreign) -> None:
    """It is no transaction: each command is a stop."""
    driven = Driven(probe, pipeline)
    assert driven.asked == [b"INCRBY"]
    driven.told(Heard.REPLY)
    assert driven.asked == [b"INCRBY"]
    probe.store.ask((b"INCRBY", f"{probe.prefix}n".encode(), b"10"))
    assert driven.to_the_end() == [1, 12]


@pytest.mark.parametrize("fault", [Heard.LOST, Heard.NOT_SENT])
def test_a_pipeline_that_breaks_off_is_lost_as_a_whole(probe: Foreign, fault: Heard) -> None:
    """Its client can't tell what was executed."""
    driven = Driven(probe, pipeline).told(Heard.REPLY).told(fault)
    assert driven.standing == Ends(Unknown())


async def get(client: redis.asyncio.Redis, prefix: str) -> Any:
    """One command; what is raised is told by its class."""
    try:
        return await client.get(prefix)
    except redis.RedisError as error:
        return type(error)


def test_a_fault_is_what_redis_py_makes_of_it(probe: Foreign, engine: Engine) -> None:
    """Not sent, lost with the connection, or lost to the client's patience; and then it connects again."""
    assert ended(Probe, engine, get, [Heard.NOT_SENT]) is redis.ConnectionError
    assert ended(Probe, engine, get, [Heard.LOST]) is redis.ConnectionError
    assert ended(Impatient, engine, get, [Heard.LOST]) is redis.TimeoutError

    async def again(client: redis.asyncio.Redis, prefix: str) -> Any:
        return await get(client, prefix), await get(client, prefix)

    assert Driven(probe, again).told(Heard.LOST).to_the_end() == (redis.ConnectionError, None)


# ---------------------------------------------------------------------------------------------- asyncio


def test_a_sleep_is_a_pause(probe: Foreign) -> None:
    """After it the process's own clock has gone on."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> float:
        del client, prefix
        before = time.monotonic()
        await asyncio.sleep(2)
        return time.monotonic() - before

    driven = Driven(probe, work)
    assert driven.standing == Waits(Pauses("sleep"))
    assert driven.to_the_end() == 2


def test_tasks_of_one_operation_are_served_in_the_order_in_which_they_ask(probe: Foreign) -> None:
    """With a lock between them, and a timeout that does not come."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        lock = asyncio.Lock()

        async def one() -> int:
            async with lock:
                return int(await client.incr(prefix + "n"))

        async def other() -> int:
            return int(await asyncio.wait_for(client.incrby(prefix + "n", 10), 5))

        return await asyncio.gather(one(), other(), one())

    driven = Driven(probe, work)
    assert driven.to_the_end() == [1, 11, 12]
    assert len(driven.fed) == 3


def test_a_cancelled_coroutine_cleans_up(probe: Foreign) -> None:
    """What it asks after the cancellation is a stop as any other; and then its caller hears of the cancellation."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> None:
        try:
            await client.incr(prefix + "n")
        finally:
            await client.decr(prefix + "n")

    driven = Driven(probe, work).told(Heard.CANCELLED)
    assert driven.asked == [b"DECRBY"]
    assert driven.to_the_end() == Interrupted()


def test_a_cancellation_may_be_swallowed(probe: Foreign) -> None:
    """And is told as what it comes to; that no rule allows it is the specification's to say."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> str:
        try:
            await client.incr(prefix + "n")
        except asyncio.CancelledError:
            return "swallowed"
        return "answered"

    assert Driven(probe, work).told(Heard.CANCELLED).to_the_end() == "swallowed"


def test_one_that_is_discarded_leaves_nothing(probe: Foreign) -> None:
    """However it clings to its connection."""
    ends = []

    async def work(client: redis.asyncio.Redis, prefix: str) -> None:
        try:
            while True:
                try:
                    await client.get(prefix)
                except asyncio.CancelledError:
                    await client.get(prefix)
        finally:
            ends.append(True)

    assert Driven(probe, work).asked == [b"GET"]
    assert ends == [True]


# ---------------------------------------------------------------------------------------------- time and chance


def test_the_clock_is_the_stores_when_the_request_is_executed(probe: Foreign) -> None:
    """Read before it, it says when that was; and TIME says the same."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        started_s = time.time()
        await client.set(prefix, str(started_s))
        return started_s, await client.get(prefix), (await client.time())[0]

    driven = Driven(probe, work).told(Heard.REPLY, 1_003).told(Heard.REPLY, 1_005)
    assert driven.to_the_end(1_007) == (1_003 * HOUR_S, str(1_003.0 * HOUR_S).encode(), 1_007 * HOUR_S)
    assert time.time() > 1_007 * HOUR_S


def test_a_script_is_given_the_same_clock(probe: Foreign) -> None:
    """However it spells TIME, with a line about its engine before it."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        plain = await client.eval("return {redis.call('TIME')[1], redis.pcall(\"time\")[1], #ARGV}", 0, "x")
        lined = await client.eval("#!lua flags=no-writes\nreturn redis.call('time')[1]", 1, prefix)
        return *plain, lined

    time_s = b"%d" % (1_004 * HOUR_S)
    assert Driven(probe, work).to_the_end(1_004) == (time_s, time_s, 1, time_s)


def test_keys_live_by_the_schedule(probe: Foreign) -> None:
    """Three units, and not one more: at the last instant of its life a key is still there."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> list[Any]:
        await client.set(prefix + "short", "x", ex=3 * HOUR_S)
        await client.set(prefix + "long", "x")
        return [await client.get(prefix + "short") for _ in range(2)]

    driven = Driven(probe, work).told(Heard.REPLY).told(Heard.REPLY)
    stored = probe.save()
    driven.told(Heard.REPLY, 1_003)
    assert driven.to_the_end(1_004) == [b"x", None]
    assert len(probe.store.lives) == 1
    probe.restore(stored)
    assert probe.store.execute(((b"EXISTS", f"{probe.prefix}short".encode()),), 1_003) == b":1\r\n"


def test_chance_depends_on_the_operation_alone(probe: Foreign) -> None:
    """Whatever it is drawn by; and what the process draws besides is what it would have drawn."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        drawn = (uuid.uuid1().hex, uuid.uuid4().hex, random.random(), secrets.token_hex(4))  # noqa: S311
        await client.get(prefix)
        return drawn

    random.seed(7)
    expected = random.random()  # noqa: S311
    random.seed(7)
    one, same = Driven(probe, work).to_the_end(), Driven(probe, work).to_the_end()
    assert random.random() == expected  # noqa: S311
    assert one == same
    standing = probe.stand(1, 1, work, None, Driven(probe, work).told(Heard.REPLY).fed)
    assert isinstance(standing, Ends)
    assert getattr(standing.answer, "values", {})["result"] != one


def test_what_does_something_else_when_told_the_same_is_refused(probe: Foreign) -> None:
    """By name, with what it asked then and now."""
    counted = itertools.count()

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        return await client.get(f"{prefix}{next(counted)}")

    driven = Driven(probe, work).told(Heard.REPLY)
    with pytest.raises(Nondeterministic, match=r"Probe, .* it asks GET .*1 where it asked GET .*0 before"):
        _ = driven.standing


# ---------------------------------------------------------------------------------------------- how it ends


def test_an_error_of_its_own_is_no_answer(engine: Engine) -> None:
    """Unless the binding says so."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> None:
        del client, prefix
        raise ZeroDivisionError("no reason")

    answer = ended(Probe, engine, work)
    assert isinstance(answer, Broke)
    assert "ZeroDivisionError: no reason" in answer.problem


async def exits(client: redis.asyncio.Redis, prefix: str) -> Any:
    """What a tool does when it is interrupted."""
    try:
        return await client.get(prefix)
    except asyncio.CancelledError:
        sys.exit(0)


async def exits_from_a_callback(client: redis.asyncio.Redis, prefix: str) -> Any:
    """While its task waits for something else."""
    try:
        await client.get(prefix)
    finally:
        asyncio.get_running_loop().call_soon(sys.exit, 0)
        await client.get(prefix)


@pytest.mark.parametrize("work", [exits, exits_from_a_callback])
def test_one_that_exits_is_told_and_does_not_end_the_exploration(engine: Engine, work: Any) -> None:
    """It is an end as any other, and none that a caller may see."""
    answer = ended(Probe, engine, work, [Heard.CANCELLED])
    assert isinstance(answer, Broke)
    assert "SystemExit: 0" in answer.problem


def test_an_engine_without_a_socket_is_refused() -> None:
    """What is sent goes to it byte for byte."""
    with open_engine("fakeredis") as engine, pytest.raises(Unsupported, match="no socket"):
        Probe(engine)


def test_a_stop_tells_whether_it_depends_on_the_time(probe: Foreign) -> None:
    """Only then must it be come to again when it is executed."""

    async def timed(client: redis.asyncio.Redis, prefix: str) -> None:
        await client.set(prefix, time.time_ns())

    stops = [Driven(probe, work).standing for work in (get, timed)]
    recipes = [each.stop.request.recipe for each in stops if isinstance(each, Waits) and isinstance(each.stop, Asks)]
    assert [each is None for each in recipes] == [True, False]
