"""What can't be followed is refused, with its reason; and nobody gets away with catching that."""

import asyncio
import itertools
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis.asyncio
from redis.exceptions import NoScriptError

from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Heard
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.requests import Unfit
from redstep_check.interleavings.foreign.wire import Command

from .probes import Driven, Probe, SyncProbe, ended


@pytest.fixture
def probe(engine: Engine) -> Iterator[Foreign]:
    """A target that runs what it is given."""
    target = Probe(engine)
    yield target
    target.close()


async def watches(client: redis.asyncio.Redis, prefix: str) -> Any:
    """WATCH."""
    async with client.pipeline() as pipe:
        await pipe.watch(prefix)


async def blocks(client: redis.asyncio.Redis, prefix: str) -> Any:
    """BLPOP."""
    await client.blpop([prefix], timeout=1)


async def subscribes(client: redis.asyncio.Redis, prefix: str) -> Any:
    """SUBSCRIBE."""
    await client.pubsub().subscribe(prefix)


async def flushes(client: redis.asyncio.Redis, prefix: str) -> Any:
    """SCRIPT FLUSH."""
    del prefix
    await client.script_flush()


async def leaves_the_loop(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A thread."""
    del client, prefix
    await asyncio.to_thread(print)


async def waits_for_nothing(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A future that nobody knows."""
    del client, prefix
    await asyncio.get_running_loop().create_future()


async def holds_up_its_process(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A sleep that is no pause."""
    del client, prefix
    time.sleep(1)  # noqa: ASYNC251  it is what is refused


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (watches, "WATCH changes one connection"),
        (blocks, "BLPOP blocks"),
        (subscribes, "SUBSCRIBE changes one connection"),
        (flushes, "SCRIPT FLUSH is the scheduler's to do"),
        (leaves_the_loop, "run_in_executor leads out of the operation's own event loop"),
        (waits_for_nothing, "neither a reply nor a sleep"),
        (holds_up_its_process, "a coroutine calls time.sleep"),
    ],
)
def test_what_cannot_be_followed_is_refused(probe: Foreign, work: Any, reason: str) -> None:
    """With its reason, and who does it."""
    with pytest.raises(Unfit, match=f"Probe, .*: {reason}|{reason}"):
        _ = Driven(probe, work).standing


# ---------------------------------------------------------------------------------------------- the engine's own clock


@pytest.mark.parametrize(
    "words",
    [
        "PEXPIREAT {} 1",
        "SET {} v PXAT 1",
        "HEXPIRE {} 3600 FIELDS 1 f",
        "HPEXPIREAT {} 3600 FIELDS 1 f",
        "HSETEX {} EX 3600 FIELDS 1 f v",
        "HGETEX {} EX 3600 FIELDS 1 f",
        "EXPIRETIME {}",
        "PEXPIRETIME {}",
        "RESTORE {} 1 dump ABSTTL",
        "XADD {} MAXLEN 5 * f v",
        "XAUTOCLAIM {} group consumer 3600 0",
    ],
)
def test_what_goes_by_the_engines_own_clock_is_refused(probe: Foreign, words: str) -> None:
    """As a command, and in a script, however the word is quoted there; that clock knows nothing of the schedule's."""
    name, *rest = words.split()

    async def commands(client: redis.asyncio.Redis, prefix: str) -> Any:
        await client.execute_command(name, *(each.format(prefix) for each in rest))  # type: ignore[no-untyped-call]

    async def quoted(client: redis.asyncio.Redis, prefix: str) -> Any:
        called = ", ".join("KEYS[1]" if each == "{}" else f"'{each}'" for each in [name.lower(), *rest])
        await client.eval(f"return redis.call({called})", 1, prefix)

    async def bracketed(client: redis.asyncio.Redis, prefix: str) -> Any:
        called = ", ".join("KEYS[1]" if each == "{}" else f"[[{each}]]" for each in [name, *rest])
        await client.eval(f"return redis.call({called})", 1, prefix)

    for work in (commands, quoted, bracketed):
        with pytest.raises(Unfit, match="goes by the engine's own clock"):
            _ = Driven(probe, work).standing


def test_what_is_told_when_or_how_long_is_not_refused(engine: Engine) -> None:
    """An entry with a name of its own, a life that is left, and a script that only speaks of clocks."""

    def work(client: Any, prefix: str) -> Any:
        client.set(prefix + "k", "v")
        client.restore(prefix + "copy", 3_600_000, client.dump(prefix + "k"))
        client.eval("local hexpire = 1 -- no EXPIREAT here\nreturn redis.call('SET', KEYS[1], hexpire)", 1, prefix + "k")
        return client.xadd(prefix + "s", {"f": "*v"}, id="1-1"), client.get(prefix + "copy")

    assert ended(SyncProbe, engine, work) == (b"1-1", b"v")


# ---------------------------------------------------------------------------------------------- keys of others


@pytest.mark.parametrize(
    ("words", "about"),
    [
        ("SET elsewhere v", "SET is about 'elsewhere'"),
        ("MGET {}a elsewhere", "MGET is about 'elsewhere'"),
        ("ZUNIONSTORE elsewhere 1 {}a", "ZUNIONSTORE is about 'elsewhere'"),
        ("SORT {}a STORE elsewhere", "SORT is about 'elsewhere'"),
        ("EVAL return 2 {}a elsewhere v", "EVAL is about 'elsewhere'"),
        ("KEYS *", r"KEYS is about '\*'"),
        ("SCAN 0", r"SCAN is about '\*'"),
        ("SCAN 0 COUNT 5 MATCH else*", r"SCAN is about 'else\*'"),
        ("RANDOMKEY", "RANDOMKEY is about more than one"),
    ],
)
@pytest.mark.parametrize("transaction", [False, True])
def test_keys_without_the_prefix_are_refused(engine: Engine, words: str, about: str, transaction: bool) -> None:
    """Before anything is executed: they would outlive a schedule, and the run (CK-13)."""

    def work(client: Any, prefix: str) -> Any:
        with client.pipeline(transaction=transaction) as pipe:
            pipe.set(prefix + "a", "v")
            pipe.execute_command(*(each.format(prefix) for each in words.split()))
            return pipe.execute()

    with pytest.raises(Unfit, match=about):
        ended(SyncProbe, engine, work)
    with engine.client() as client:
        assert not client.exists("elsewhere")


def test_what_begins_with_the_prefix_is_not_refused(engine: Engine) -> None:
    """Nor what is about no key, nor what the engine itself refuses."""

    def work(client: Any, prefix: str) -> Any:
        errors = []
        for command in (("GET",), ("NOSUCH", "elsewhere"), ("EVAL", "return 1", "none", "elsewhere")):
            try:
                client.execute_command(*command)
            except redis.ResponseError as error:
                errors.append(str(error))
        client.mset({prefix + "a": "1", prefix + "b": "2"})
        found = sorted(client.keys(prefix + "*")), sorted(client.scan_iter(match=prefix + "a*"))
        return len(errors), client.ping(), [[each[-1:] for each in keys] for keys in found]

    assert ended(SyncProbe, engine, work) == (3, True, [[b"a", b"b"], [b"a"]])


def test_the_engine_is_asked_for_the_keys_of_a_command_once(probe: Foreign, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exploration executes the same ones again and again."""
    asked: list[Command] = []
    ask = probe.store.ask

    def counted(*commands: Command) -> list[Any]:
        asked.extend(commands)
        return ask(*commands)

    monkeypatch.setattr(probe.store.keys, "ask", counted)
    for _ in range(3):
        probe.store.execute(((b"GET", probe.prefix.encode()),), 1_000)
    assert asked == [(b"COMMAND", b"GETKEYS", b"GET", probe.prefix.encode())]


# ---------------------------------------------------------------------------------------------- who catches it


async def sleeps_and_goes_on(client: redis.asyncio.Redis, prefix: str) -> Any:
    """It takes the refusal for any error."""
    try:
        time.sleep(1)  # noqa: ASYNC251  it is what is refused
    except Exception:  # noqa: BLE001  it is what is tested
        return await client.get(prefix)


async def fails_open(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A thread, whatever comes of it."""
    try:
        return await asyncio.to_thread(print)
    except Exception:  # noqa: BLE001  it is what is tested
        return await client.get(prefix)


async def waits_on(client: redis.asyncio.Redis, prefix: str) -> Any:
    """What is refused is refused to a task of which nobody hears."""
    del client, prefix
    loop = asyncio.get_running_loop()
    task = loop.create_task(loop.getaddrinfo("localhost", 1))
    await loop.create_future()
    return task


def starts_a_thread(client: Any, prefix: str) -> Any:
    """In a pool, whatever comes of it."""
    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(client.get, prefix).result()
    except Exception:  # noqa: BLE001  it is what is tested
        return client.get(prefix)


def has_a_socket(client: Any, prefix: str) -> Any:
    """Of its own."""
    del client, prefix
    with socket.socket(socket.AF_UNIX) as own:
        return own.connect_ex("/nowhere") or os.strerror(0)


def has_a_client(client: Any, prefix: str) -> Any:
    """Of its own."""
    del client
    try:
        return redis.Redis(unix_socket_path="/nowhere").get(prefix)
    except redis.RedisError:
        return None


@pytest.mark.parametrize(
    ("kind", "work", "reason"),
    [
        (Probe, sleeps_and_goes_on, "a coroutine calls time.sleep"),
        (Probe, fails_open, "run_in_executor leads out"),
        (Probe, waits_on, "getaddrinfo leads out"),
        (Probe, has_a_client, "it connects a socket of its own"),
        (SyncProbe, starts_a_thread, "it starts a thread"),
        (SyncProbe, has_a_socket, "it connects a socket of its own"),
        (SyncProbe, has_a_client, "it connects a socket of its own"),
    ],
)
def test_a_refusal_that_is_caught_is_raised_all_the_same(engine: Engine, kind: type[Foreign], work: Any, reason: str) -> None:
    """Else what went on unseen would count as explored."""

    async def coroutine(client: Any, prefix: str) -> Any:
        return work(client, prefix)

    with pytest.raises(Unfit, match=reason):
        ended(kind, engine, coroutine if kind is Probe and not asyncio.iscoroutinefunction(work) else work)


def test_a_client_in_a_thread_that_was_there_before_is_refused(engine: Engine) -> None:
    """It would go on without the scheduler, whatever the code makes of that."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()

        def work(client: Any, prefix: str) -> Any:
            return str(pool.submit(client.get, prefix).exception())

        with pytest.raises(Unfit, match="in its own thread"):
            ended(SyncProbe, engine, work)


def test_other_threads_are_refused_nothing(engine: Engine) -> None:
    """The clock, threads and sockets are as they were, for them."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()

        def other() -> bool:
            thread = threading.Thread(target=int)
            thread.start()
            thread.join()
            with socket.socket(socket.AF_UNIX) as own:
                own.connect(str(engine.address))
            return True

        assert ended(SyncProbe, engine, lambda *_: pool.submit(other).result()) is True


# ---------------------------------------------------------------------------------------------- what comes to no end


def test_one_that_never_loads_what_it_calls_is_refused(probe: Foreign) -> None:
    """It would call it for ever."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        while True:
            try:
                return await client.evalsha("0" * 40, 1, prefix)
            except NoScriptError:
                continue

    with pytest.raises(Unfit, match="200 times in a row"):
        _ = Driven(probe, work).standing


def test_an_operation_without_end_is_refused(probe: Foreign) -> None:
    """After so many stops."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> None:
        del client, prefix
        for _ in itertools.count():
            await asyncio.sleep(1)

    driven = Driven(probe, work)
    driven.fed = driven.told(Heard.GOES_ON).fed * 201
    with pytest.raises(Unfit, match="it has not come to an end"):
        _ = driven.standing
