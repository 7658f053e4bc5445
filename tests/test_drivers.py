"""
The two drivers before a real engine: what is sent and how often, what an error means, and what an interruption leaves.

Each test that takes a `stage` is played twice, by the sync driver and by the asyncio one, and again by drivers with a
planted fault, which it must catch (at the end of this file).
"""

import asyncio
import gc
import inspect
import itertools
import logging
import multiprocessing
import os
import queue
import signal
import socket
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from unittest.mock import patch

import pytest
import redis
import redis.asyncio
import redis.asyncio.retry
import redis.asyncio.sentinel
import redis.retry
import redis.sentinel
from attrs import frozen
from redis.backoff import NoBackoff
from redis.utils import HIREDIS_AVAILABLE

import redstep.asyncio_driver
import redstep.driving
import redstep.sync_driver
from redstep import AsyncRateLimiter, Corrupt, Decision, Limit, Misuse, RateLimiter, ServiceOverloaded, Unavailable, Usage
from redstep import rate_limiter as protocols
from redstep.asyncio_driver import AsyncDriver
from redstep.rate_limiter import REPRESENTATIONS, ZSET, Policy
from redstep.scripts import Script
from redstep.sync_driver import SyncDriver
from redstep.wishes import Announce, CallScript, DrawBytes, DrawInteger, Protocol, ReadClock, RunWork, Sleep, Wish
from redstep_check.engines import DEFAULT, Engine, EngineUnavailable, open_engine
from redstep_check.faults import FaultProxy
from redstep_spec.delivery import Fate

NOT_SENT, REPLY_LOST, FLUSHED = Fate.NOT_SENT, Fate.REPLY_LOST, Fate.FLUSHED

POLICY = Policy(limits=Limit(100, 3_600_000), representation=ZSET)
[KEY] = POLICY.keys("user")

COUNT = Script("count", "return {redis.call('INCR', KEYS[1])}")
COUNT_LENGTH = Script("count_length", "redis.call('INCR', KEYS[1]); return {#ARGV[1]}")

FOREVER_S = 3_600


def acquire(name: str = "user", cost: int = 1, request_id: str | None = None) -> Protocol[Decision]:
    """The limiter's acquire, under the policy of this file."""
    return protocols.acquire(POLICY, name, cost, request_id)


def peek(name: str = "user") -> Protocol[Usage]:
    """The limiter's peek, likewise."""
    return protocols.peek(POLICY, name)


def count(key: str) -> CallScript:
    """A wish whose executions are counted at a key."""
    return CallScript(script=COUNT, keys=(key,), args=(), idempotent=False)


# --- the stage ------------------------------------------------------------------------------------------------------


class Stage(ABC):
    """One of the two drivers before an engine, with a proxy in between where the play wants one.

    Clients and drivers that are made here are closed at the end of the play.
    """

    library: ModuleType
    driver_type: Any

    def __init__(self, engine: Engine, proxy: FaultProxy, driver_type: Any = None) -> None:
        self.engine = engine
        self.proxy = proxy
        self.driver_type = driver_type or self.driver_type
        self.admin = engine.client()
        self._closing = ExitStack()
        self._closing.callback(self.admin.close)

    def close(self) -> None:
        """Close what was made for the play."""
        self._closing.close()

    @abstractmethod
    def wait(self, value: Any) -> Any:
        """Of what the library or the driver returned, what it came to."""

    @abstractmethod
    def close_client(self, client: Any) -> None:
        """Close a client of the library's."""

    def adopt(self, client: Any) -> Any:
        """Have a client closed at the end of the play."""
        self._closing.callback(self.close_client, client)
        return client

    def client(self, path: str | None = None, *, blocking: bool = False, **options: Any) -> Any:
        """A client with a pool of its own, which doesn't retry; to the engine, unless it is given a path or host and port."""
        if "host" in options:
            options = {"connection_class": self.library.Connection, **options}
        else:
            path = path or cast("str", self.engine.address)
            options = {"connection_class": self.library.UnixDomainSocketConnection, "path": path, **options}
        pool = (self.library.BlockingConnectionPool if blocking else self.library.ConnectionPool)(**options)
        return self.adopt(self.library.Redis.from_pool(pool))

    def driver(self, client: Any = None, **options: Any) -> Any:
        """A driver over a client, by default over one of its own."""
        driver = self.driver_type(client or self.client(), **options)
        self._closing.callback(lambda: self.wait(driver.close()))
        return driver

    def run(self, protocol: Generator[Wish, Any, Any], driver: Any = None) -> Any:
        """Carry a protocol through; gives what it returns."""
        return self.wait((driver or self.driver()).run(protocol))

    def charged(self, key: str = KEY) -> int:
        """How much stands in a log, asked past the proxy."""
        return self.admin.zcard(key)

    def counted(self, key: str) -> int:
        """How often `count` was executed for a key."""
        return int(cast("bytes | None", self.admin.get(key)) or 0)

    def scripts_sent(self) -> dict[str, int]:
        """How often the engine was sent EVALSHA and EVAL since `forget_commands`."""
        stats = self.admin.info("commandstats")
        return {name: stats[f"cmdstat_{name}"]["calls"] for name in ("evalsha", "eval") if f"cmdstat_{name}" in stats}

    def forget_commands(self) -> None:
        """Begin to count commands anew."""
        self.admin.config_resetstat()


class SyncStage(Stage):
    """The sync driver, with clients of redis."""

    library = redis
    driver_type = SyncDriver

    def wait(self, value: Any) -> Any:
        """It is there at once."""
        return value

    def close_client(self, client: Any) -> None:
        """Close it."""
        client.close()


class AsyncStage(Stage):
    """The asyncio driver, with clients of redis.asyncio, on an event loop of its own."""

    library = redis.asyncio
    driver_type = AsyncDriver

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._runner = self._closing.enter_context(asyncio.Runner())

    def wait(self, value: Any) -> Any:
        """Await it."""

        async def awaited() -> Any:
            return await value

        return self._runner.run(awaited())

    def close_client(self, client: Any) -> None:
        """Close it."""
        self.wait(client.aclose())


STAGES = {"sync": SyncStage, "asyncio": AsyncStage}


@pytest.fixture(scope="module")
def shared_engine() -> Iterator[Engine]:
    """An engine with a unix socket alone, for all tests of this file."""
    yield from opened()


@pytest.fixture(scope="module")
def tcp_engine() -> Iterator[Engine]:
    """An engine with a port too: redis-py's pools behave otherwise over TCP, for there they expect maintenance notices."""
    yield from opened(port=str(free_port()), bind="127.0.0.1")


@pytest.fixture
def tcp_address(tcp_engine: Engine) -> tuple[str, int]:
    """The host and port of the engine that has them, emptied."""
    tcp_engine.forget()
    with tcp_engine.client() as admin:
        return "127.0.0.1", int(admin.config_get("port")["port"])


@pytest.fixture
def engine(shared_engine: Engine) -> Engine:
    """The shared engine, with neither keys nor scripts."""
    shared_engine.forget()
    shared_engine.flush_scripts()
    return shared_engine


@pytest.fixture
def proxy(engine: Engine) -> Iterator[FaultProxy]:
    """A proxy before it."""
    assert engine.address is not None
    with FaultProxy(engine.address) as proxy:
        yield proxy


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """Both stages, one after the other."""
    stage = STAGES[request.param](engine, proxy)
    yield stage
    stage.close()


def opened(**config: str) -> Iterator[Engine]:
    """An engine, or a skip with the reason."""
    try:
        with open_engine(DEFAULT, config=config) as engine:
            yield engine
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


def free_port() -> int:
    """A port on loopback that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return cast("int", free.getsockname()[1])


def eventually(fact: Callable[[], bool], within_s: float = 10) -> bool:
    """Does the fact come true before the deadline?"""
    deadline = time.monotonic() + within_s
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def in_use(pool: Any) -> int:
    """How many connections of a pool are with somebody."""
    return cast("int", pool.get_connection_count()[1][0])


@contextmanager
def writes_paused(admin: redis.Redis) -> Iterator[None]:
    """While a server is paused it takes scripts, and neither runs nor answers them."""
    admin.client_pause(FOREVER_S * 1000, all=False)
    try:
        yield
    finally:
        admin.client_unpause()


def blocked(admin: redis.Redis, number: int = 1) -> bool:
    """Do so many clients wait for their reply?"""
    return bool(admin.info("clients")["blocked_clients"] == number)


# --- CM-5: nothing is executed twice without anybody's knowledge ------------------------------------------------------


def _retrying(library: ModuleType, retries: int) -> Any:
    return (library.retry.Retry)(NoBackoff(), retries)


def _explicit_pool(library: ModuleType, path: str, kind: str = "ConnectionPool", **options: Any) -> Any:
    pool = getattr(library, kind)(connection_class=library.UnixDomainSocketConnection, path=path, **options)
    return library.Redis.from_pool(pool)


CLIENTS: dict[str, Callable[[Any, str], Any]] = {
    "constructor": lambda library, path: library.Redis(unix_socket_path=path),
    "single connection": lambda library, path: library.Redis(unix_socket_path=path, single_connection_client=True),
    "retry on error": lambda library, path: library.Redis(unix_socket_path=path, retry_on_error=[redis.ConnectionError]),
    "retry on timeout": lambda library, path: _explicit_pool(library, path, retry_on_timeout=True, retry_on_error=[OSError]),
    "pool": lambda library, path: _explicit_pool(library, path),
    "pool with retries": lambda library, path: _explicit_pool(library, path, retry=_retrying(library, 7)),
    "pool with endless retries": lambda library, path: _explicit_pool(library, path, retry=_retrying(library, -1)),
    "blocking pool with retries": lambda library, path: _explicit_pool(
        library, path, "BlockingConnectionPool", max_connections=3, timeout=2, retry=_retrying(library, 7)
    ),
    "url": lambda library, path: library.Redis.from_url(f"unix://{path}"),
    "url with retries": lambda library, path: library.Redis.from_url(f"unix://{path}", retry=_retrying(library, 7)),
}

any_client = pytest.mark.parametrize("kind", CLIENTS)


@any_client
def test_a_lost_reply_is_not_asked_for_again(stage: Stage, kind: str) -> None:
    """A plain acquire is executed once, whatever client it is given; that it may have been is said (CM-5, CM-9)."""
    driver = stage.driver(stage.adopt(CLIENTS[kind](stage.library, stage.proxy.address)))
    stage.proxy.arm([REPLY_LOST])
    with pytest.raises(Unavailable) as caught:
        stage.run(acquire(), driver)
    assert caught.value.definite is False
    assert (stage.proxy.executed, stage.charged()) == (1, 1)
    assert stage.run(acquire(), driver).remaining == 98


@any_client
def test_an_identity_makes_asking_again_safe(stage: Stage, kind: str) -> None:
    """With a request id the same bytes are sent once more: two executions, one charge, and the decision (CM-4)."""
    driver = stage.driver(stage.adopt(CLIENTS[kind](stage.library, stage.proxy.address)))
    stage.proxy.arm([REPLY_LOST])
    decision = stage.run(acquire(request_id="r1"), driver)
    assert (decision.allowed, decision.remaining) == (True, 99)
    assert (stage.proxy.executed, stage.charged()) == (2, 1)


def test_asking_again_has_an_end(stage: Stage) -> None:
    """When the second reply is lost too, the outcome is unknown, and charged once."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.proxy.arm([REPLY_LOST] * 5)
    with pytest.raises(Unavailable) as caught:
        stage.run(acquire(request_id="r1"), driver)
    assert caught.value.definite is False
    assert (stage.proxy.executed, stage.charged()) == (2, 1)


def test_a_store_gone_after_a_lost_reply_leaves_the_outcome_unknown(stage: Stage) -> None:
    """The second attempt was definitely not executed, but the first may have been."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.proxy.arm([REPLY_LOST, NOT_SENT])
    with pytest.raises(Unavailable) as caught:
        stage.run(acquire(request_id="r1"), driver)
    assert caught.value.definite is False
    assert (stage.proxy.executed, stage.charged()) == (1, 1)


def test_a_full_pool_after_a_lost_reply_leaves_the_outcome_unknown(stage: Stage) -> None:
    """ServiceOverloaded would say that nothing was sent."""
    client = stage.client(stage.proxy.address, max_connections=1)
    driver, real, taken = stage.driver(client), client.connection_pool.get_connection, list[bool]()

    def only_once() -> Any:
        if taken:
            raise redis.exceptions.MaxConnectionsError
        taken.append(True)
        return real()

    stage.proxy.arm([REPLY_LOST])
    with patch.object(client.connection_pool, "get_connection", only_once), pytest.raises(Unavailable) as caught:
        stage.run(acquire(request_id="r1"), driver)
    assert caught.value.definite is False
    assert stage.proxy.executed == 1


def test_the_danger_is_real(stage: Stage) -> None:
    """The same client, used by itself, charges again for each reply that is lost; through a driver it charges once."""
    client = stage.adopt(stage.library.Redis(unix_socket_path=stage.proxy.address))
    stage.proxy.arm([REPLY_LOST] * 3)
    assert stage.wait(client.eval(COUNT.text, 1, "alone")) == [4]
    stage.proxy.arm([REPLY_LOST] * 3)
    with pytest.raises(Unavailable):
        stage.run(once(count("driven")), stage.driver(client))
    assert (stage.counted("alone"), stage.counted("driven")) == (4, 1)


@any_client
def test_the_callers_client_is_not_altered(stage: Stage, kind: str) -> None:
    """Its settings, its retries and its connections are what they were, and it works on after the driver is closed."""
    client = stage.adopt(CLIENTS[kind](stage.library, stage.proxy.address))
    stage.wait(client.ping())
    before = portrait(client)
    driver = stage.driver_type(client)
    stage.run(acquire(), driver)
    stage.proxy.arm([REPLY_LOST])
    with pytest.raises(Unavailable):
        stage.run(acquire(), driver)
    stage.wait(driver.close())
    assert portrait(client) == before
    assert stage.wait(client.ping())
    assert portrait(client) == before


def portrait(client: Any) -> object:
    """All of a client that a driver might have altered."""
    pool = client.connection_pool
    settings = {name: setting for name, setting in pool.connection_kwargs.items() if name != "retry"}
    retry = client.get_retry()
    connections = sorted(id(each) for each in (*pool._get_free_connections(), *pool._get_in_use_connections()))
    retries = [
        (each.retry.get_retries(), each.retry._supported_errors)
        for each in (*pool._get_free_connections(), *pool._get_in_use_connections())
    ]
    return settings, retry and (retry.get_retries(), retry._supported_errors), connections, retries, pool.max_connections


@any_client
def test_a_refused_connection_fails_at_once(stage: Stage, kind: str) -> None:
    """One attempt to connect, and the certainty that nothing was executed."""
    client = stage.adopt(CLIENTS[kind](stage.library, stage.proxy.address))
    attempts = counting_attempts(client.connection_pool)
    driver = stage.driver(client)
    stage.proxy.arm([NOT_SENT])
    for request_id in (None, "r1"):
        attempts.clear()
        with pytest.raises(Unavailable) as caught:
            stage.run(acquire(request_id=request_id), driver)
        assert caught.value.definite is True
        assert len(attempts) == 1
    stage.proxy.restore()
    assert stage.run(acquire(), driver).remaining == 99


def counting_attempts(pool: Any) -> list[None]:
    """Have the pool's future connections note each attempt to connect."""
    attempts: list[None] = []
    plain = pool.connection_class

    class Counting(plain):  # type: ignore[valid-type, misc]  # of either library
        def _connect(self) -> Any:
            attempts.append(None)
            return super()._connect()

    pool.connection_class = Counting
    return attempts


def test_a_sentinels_client_is_driven_too(stage: Stage, tcp_address: tuple[str, int]) -> None:
    """Its pool is made with more than the settings of connections; with retries, the driver makes another such pool."""

    def primary(_name: str) -> Any:
        return found() if stage.library is redis.asyncio else tcp_address

    async def found() -> tuple[str, int]:
        return tcp_address

    sentinel = (redis.sentinel if stage.library is redis else redis.asyncio.sentinel).Sentinel([])
    with patch.object(sentinel, "discover_master", primary):
        for remaining, options in ((99, {}), (98, {"retry": _retrying(stage.library, 3)})):
            client = stage.adopt(sentinel.master_for("primary", **options))
            driver = stage.driver(client)
            assert stage.run(acquire(), driver).remaining == remaining
            assert (driver._pool is client.connection_pool) is not bool(options)


# --- CM-6: scripts that the engine forgot -----------------------------------------------------------------------------


def once(wish: Wish) -> Protocol[Any]:
    """One wish; its outcome is the result."""
    return (yield wish)


def twice(wish: Wish) -> Protocol[list[Any]]:
    """The same wish twice."""
    return [(yield wish), (yield wish)]


def test_a_flush_between_any_two_calls_is_not_noticed(stage: Stage) -> None:
    """NOSCRIPT reaches nobody, and no call is executed more than once for it."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.proxy.arm([FLUSHED] * 4)
    assert stage.run(acquire(), driver).remaining == 99
    assert stage.run(acquire(request_id="r1"), driver).remaining == 98
    assert stage.run(peek(), driver).remaining == 98
    assert stage.run(twice(count("n")), driver) == [[1], [2]]
    assert stage.proxy.executed == 5


def test_a_flush_uses_no_resend_up(stage: Stage) -> None:
    """A reply that is lost after a flush may still be asked for again, and the second attempt may find a flush too."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.engine.flush_scripts()
    stage.proxy.arm([REPLY_LOST, FLUSHED])
    assert stage.run(acquire(request_id="r1"), driver).remaining == 99
    assert (stage.proxy.executed, stage.charged()) == (2, 1)


def test_a_reply_lost_after_a_flush_is_unknown(stage: Stage) -> None:
    """The EVAL that follows NOSCRIPT is as much at most once as EVALSHA."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.engine.flush_scripts()
    stage.proxy.arm([REPLY_LOST])
    with pytest.raises(Unavailable) as caught:
        stage.run(acquire(), driver)
    assert caught.value.definite is False
    assert (stage.proxy.executed, stage.charged()) == (1, 1)


def test_scripts_can_be_loaded_ahead(stage: Stage) -> None:
    """After `load` the first call of each is EVALSHA alone; without, EVAL follows it."""
    driver = stage.driver()
    stage.wait(driver.load(protocols.scripts_of(ZSET)))
    stage.forget_commands()
    stage.run(acquire(), driver)
    stage.run(peek(), driver)
    assert stage.scripts_sent() == {"evalsha": 2}
    stage.engine.flush_scripts()
    stage.run(acquire(), driver)
    assert stage.scripts_sent() == {"evalsha": 3, "eval": 1}


def test_loading_ahead_says_whose_fault_it_is(stage: Stage) -> None:
    """It raises what a call would raise."""
    driver = stage.driver(stage.client(stage.proxy.address, max_connections=1))
    with held_connection(stage, driver._pool), pytest.raises(ServiceOverloaded):
        stage.wait(driver.load(protocols.scripts_of(ZSET)))
    stage.proxy.arm([NOT_SENT])
    with pytest.raises(Unavailable) as caught:
        stage.wait(driver.load(protocols.scripts_of(ZSET)))
    assert caught.value.definite


# --- CM-9: what an error means ----------------------------------------------------------------------------------------


@contextmanager
def settings(admin: redis.Redis, **wanted: str | int) -> Iterator[None]:
    """With other settings of the server."""
    names = [name.replace("_", "-") for name in wanted]
    before = {name: str(admin.config_get(name)[name]) for name in names}
    for name, value in zip(names, wanted.values(), strict=True):
        admin.config_set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            admin.config_set(name, value)


@contextmanager
def replica_of_nobody(admin: redis.Redis) -> Iterator[None]:
    """As a replica whose primary can't be reached."""
    admin.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        admin.replicaof("NO", "ONE")


@contextmanager
def cut_off_replica(admin: redis.Redis) -> Iterator[None]:
    """As such a replica that was told not to answer with stale data."""
    with settings(admin, replica_serve_stale_data="no"), replica_of_nobody(admin):
        yield


@contextmanager
def busy(admin: redis.Redis) -> Iterator[None]:
    """While a script of somebody else's runs on and on."""
    with settings(admin, busy_reply_threshold=1), socket.socket(socket.AF_UNIX) as other:
        other.connect(admin.connection_pool.connection_kwargs["path"])
        other.sendall(b"EVAL 'while true do end' 0\r\n")
        assert eventually(lambda: _fails(admin.ping))
        try:
            yield
        finally:
            admin.script_kill()
            other.recv(1)


def _fails(call: Callable[[], object]) -> bool:
    try:
        call()
    except redis.ResponseError:
        return True
    return False


@contextmanager
def password_wanted(admin: redis.Redis) -> Iterator[None]:
    """When the server wants a password."""
    with settings(admin, requirepass="secret"):
        yield


@contextmanager
def full_server(admin: redis.Redis) -> Iterator[None]:
    """When the server takes no further connection."""
    connected = admin.info("clients")["connected_clients"]
    with settings(admin, maxclients=connected):
        yield


NO_HANDSHAKE = {"protocol": 2, "driver_info": None}
WARM = True

REFUSALS: dict[str, tuple[str, Callable[[redis.Redis], AbstractContextManager[None]], dict[str, Any], bool]] = {
    "a read-only replica": ("READONLY", replica_of_nobody, {}, WARM),
    "a replica cut off": ("MASTERDOWN", cut_off_replica, {}, WARM),
    "too few replicas": ("NOREPLICAS", lambda admin: settings(admin, min_replicas_to_write=1), {}, WARM),
    "a full memory": ("OOM", lambda admin: settings(admin, maxmemory=1), {}, WARM),
    "a busy script": ("BUSY", busy, {}, WARM),
    "a busy script, connecting": ("BUSY", busy, {}, not WARM),
    "a wrong password": ("invalid username-password pair", password_wanted, {"password": "wrong"}, not WARM),
    "no password": ("", password_wanted, {}, not WARM),
    "no password, without a handshake": ("unauthenticated", password_wanted, NO_HANDSHAKE, not WARM),
    "a full server": ("", full_server, {}, not WARM),
}


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_refusal_is_definite(stage: Stage, reason: str) -> None:
    """What the engine answers, or that it can't be reached, is certain: nothing was executed, and a retry is free."""
    code, condition, options, warm = REFUSALS[reason]
    driver = stage.driver(stage.client(**options))
    if warm:
        stage.run(acquire(), driver)
    charged = stage.charged()
    for request_id in (None, "r1"):
        with condition(stage.admin), pytest.raises(Unavailable) as caught:
            stage.run(acquire(request_id=request_id), driver)
        assert caught.value.definite is True
        assert code in str(caught.value)
        assert "nothing was executed" in str(caught.value)
        assert stage.charged() == charged
    assert stage.run(acquire(), driver).remaining == 99 - charged
    assert in_use(driver._pool) == 0


def test_a_forbidden_command_is_definite(stage: Stage) -> None:
    """An ACL user who may not run scripts has not run one (NOPERM)."""
    stage.admin.acl_setuser("weak", enabled=True, passwords=["+weak"], keys="*", categories=["+@all"], commands=["-evalsha"])
    try:
        with pytest.raises(Unavailable, match="NOPERM") as caught:
            stage.run(acquire(), stage.driver(stage.client(username="weak", password="weak")))  # noqa: S106
    finally:
        stage.admin.acl_deluser("weak")
    assert caught.value.definite is True
    assert stage.charged() == 0


def test_an_engine_that_loads_its_data_is_definite(stage: Stage) -> None:
    """LOADING comes as a connection's error from redis-py, but it is an answer."""
    with open_engine(DEFAULT, config={"enable-debug-command": "yes"}) as slow, slow.client(socket_timeout=None) as admin:
        for number in range(100):
            admin.set(f"key {number}", "x" * 2_000)
        admin.config_set("loading-process-events-interval-bytes", 1024)
        driver = stage.driver(stage.client(cast("str", slow.address)))
        stage.run(acquire(), driver)
        admin.config_set("key-load-delay", 10_000)  # microseconds
        reloading = threading.Thread(target=admin.execute_command, args=("DEBUG", "RELOAD"))
        reloading.start()
        errors: list[Unavailable] = []

        def refused() -> bool:
            try:
                stage.run(acquire(), driver)
            except Unavailable as error:
                errors.append(error)
            return bool(errors)

        assert eventually(refused)
        with slow.client() as other:
            other.config_set("key-load-delay", 0)
        reloading.join()
    assert "LOADING" in str(errors[0])
    assert errors[0].definite is True


def test_a_cluster_without_its_slots_is_definite(stage: Stage) -> None:
    """CLUSTERDOWN executed nothing."""
    config = {"cluster-enabled": "yes", "port": str(free_port()), "cluster-port": str(free_port()), "bind": "127.0.0.1"}
    with open_engine(DEFAULT, config=config) as broken, pytest.raises(Unavailable, match="CLUSTERDOWN") as caught:
        stage.run(acquire(), stage.driver(stage.client(cast("str", broken.address))))
    assert caught.value.definite is True


@contextmanager
def held_connection(stage: Stage, pool: Any) -> Iterator[None]:
    """While somebody else has a connection of the pool."""
    connection = stage.wait(pool.get_connection())
    try:
        yield
    finally:
        stage.wait(pool.release(connection))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_full_memory_still_denies(stage: Stage, representation: str) -> None:
    """Denials are answered, admissions fail, and not a byte is added (RL-17)."""
    policy = Policy(limits=Limit(3, 3_600_000), representation=representation)
    driver = stage.driver()
    for _ in range(3):
        assert stage.run(protocols.acquire(policy, "full"), driver).allowed
    stage.run(protocols.acquire(policy, "other"), driver)
    keys = [*policy.keys("full"), *policy.keys("other")]
    with settings(stage.admin, maxmemory=1):
        before = [stage.admin.dump(key) for key in keys]
        for _ in range(20):
            decision = stage.run(protocols.acquire(policy, "full"), driver)
            assert (decision.allowed, decision.remaining) == (False, 0)
            with pytest.raises(Unavailable, match="OOM") as caught:
                stage.run(protocols.acquire(policy, "other"), driver)
            assert caught.value.definite is True
        assert [stage.admin.dump(key) for key in keys] == before
        assert stage.admin.dbsize() == 2
    assert stage.run(protocols.acquire(policy, "other"), driver).remaining == 1


def test_a_reply_that_does_not_come_in_time_leaves_the_outcome_unknown(stage: Stage) -> None:
    """A timeout says nothing about what the engine did; the connection is given up with it."""
    client = stage.client(socket_timeout=0.05, max_connections=1)
    driver = stage.driver(client)
    stage.run(acquire(), driver)
    with writes_paused(stage.admin), pytest.raises(Unavailable) as caught:
        stage.run(acquire(), driver)
    assert caught.value.definite is False
    assert in_use(client.connection_pool) == 0


def test_a_connection_killed_on_the_way_leaves_the_outcome_unknown(stage: Stage) -> None:
    """The engine closed it with the request taken and the reply not given."""
    driver = stage.driver(stage.client(client_name="victim"))
    stage.run(acquire(), driver)

    def kill() -> None:
        assert eventually(lambda: blocked(stage.admin))
        [victim] = [each for each in stage.admin.client_list() if each["name"] == "victim"]
        stage.admin.client_kill_filter(_id=victim["id"])

    with writes_paused(stage.admin):
        killer = threading.Thread(target=kill)
        killer.start()
        with pytest.raises(Unavailable) as caught:
            stage.run(acquire(), driver)
        killer.join()
    assert caught.value.definite is False


@pytest.mark.parametrize("planted", ["another type", "a score that is no integer", "a score below zero"])
def test_what_is_no_log_is_corrupt_and_stays(stage: Stage, planted: str) -> None:
    """Nothing is changed, neither by acquire nor by peek, and nobody takes it for a denial or an outage."""
    if planted == "another type":
        stage.admin.set(KEY, "something else")
    else:
        stage.admin.zadd(KEY, {"x": 10.0**15 + 0.5 if "integer" in planted else -5})
    before = stage.admin.dump(KEY)
    for protocol in (acquire(), acquire(request_id="r1"), peek()):
        with pytest.raises(Corrupt, match="user"):
            stage.run(protocol)
    assert stage.admin.dump(KEY) == before
    assert stage.admin.pttl(KEY) == -1
    assert stage.run(acquire("another")).allowed


def test_a_script_of_another_shape_is_corrupt(stage: Stage) -> None:
    """A reply that no redstep script gives is not guessed at."""
    with patch.object(protocols, "ZSET_ACQUIRE", Script("other", "return {1, 2}")), pytest.raises(Corrupt):
        stage.run(acquire())


def test_what_the_script_refuses_is_misuse(stage: Stage) -> None:
    """A clock of the caller's that gives nonsense is named."""
    with pytest.raises(Misuse) as caught:
        stage.run(acquire(), stage.driver(clock=lambda: -5))
    assert caught.value.argument == "now_ms"
    assert stage.charged() == 0


# --- BP-2: no connection free -----------------------------------------------------------------------------------------

POOLS: dict[str, dict[str, Any]] = {
    "one that refuses": {"max_connections": 1},
    "one that waits": {"blocking": True, "max_connections": 1, "timeout": 0.05},
}


@pytest.mark.parametrize("kind", POOLS)
def test_running_out_of_connections_is_this_processs_fault(stage: Stage, kind: str) -> None:
    """It is ServiceOverloaded from either of redis-py's pools; nothing was sent, and it works on afterwards (BP-2)."""
    client = stage.client(**POOLS[kind])
    driver = stage.driver(client)
    stage.run(acquire(), driver)
    stage.forget_commands()
    for request_id in (None, "r1"):
        with held_connection(stage, client.connection_pool), pytest.raises(ServiceOverloaded) as caught:
            stage.run(acquire(request_id=request_id), driver)
        assert isinstance(caught.value, redis.exceptions.MaxConnectionsError)
        assert not isinstance(caught.value, Unavailable)
    assert stage.scripts_sent() == {}
    assert stage.run(acquire(), driver).remaining == 98
    assert in_use(client.connection_pool) == 0


def test_a_pool_of_the_drivers_own_is_like_the_callers(stage: Stage) -> None:
    """It is as large, and it waits as long."""
    retry = _retrying(stage.library, 3)
    client = stage.client(blocking=True, max_connections=2, timeout=0.07, retry=retry, socket_timeout=3)
    pool = stage.driver(client)._pool
    assert pool is not client.connection_pool
    assert (type(pool), pool.max_connections, pool.timeout) == (type(client.connection_pool), 2, 0.07)
    connection = stage.wait(pool.get_connection())
    assert (connection.socket_timeout, connection.retry.get_retries()) == (3, 0)
    assert isinstance(connection.retry, type(retry))
    stage.wait(pool.release(connection))


@contextmanager
def hanging_up() -> Iterator[dict[str, Any]]:
    """A server that closes each connection upon the first words; gives its address."""

    def serve() -> None:
        with suppress(OSError):  # that it was shut down
            while True:
                connection, _ = server.accept()
                connection.recv(4096)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield {"host": "127.0.0.1", "port": server.getsockname()[1]}
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("kind", POOLS)
def test_a_store_that_hangs_up_is_not_our_fault(stage: Stage, kind: str) -> None:
    """Even when the caller asks while it handles the end of a wait of its own, which Python notes on our error as well."""
    with hanging_up() as address:
        driver = stage.driver(stage.client(**address, **POOLS[kind]))
        for reason in (queue.Empty(), TimeoutError()):
            try:
                raise reason
            except (queue.Empty, TimeoutError):
                with pytest.raises(Unavailable) as caught:
                    stage.run(acquire(), driver)
            assert caught.value.definite is True


# --- BP-4: a connection with an unread reply is never used again -------------------------------------------------------


@pytest.fixture(params=["unix", "tcp"])
def wire(request: pytest.FixtureRequest, engine: Engine) -> Iterator[tuple[redis.Redis, dict[str, Any]]]:
    """An administrator of a server, and how to reach it. Over TCP redis-py's pools don't look for unread replies."""
    address: dict[str, Any] = {"path": engine.address}
    if request.param == "tcp":
        address = dict(zip(("host", "port"), request.getfixturevalue("tcp_address"), strict=True))
        engine = request.getfixturevalue("tcp_engine")
    with engine.client() as admin:
        yield admin, address


def test_after_a_timeout_each_call_gets_its_own_answer(stage: Stage, wire: tuple[redis.Redis, dict[str, Any]]) -> None:
    """The late reply of an acquire is not taken for that of the peek that follows on the same pool."""
    admin, address = wire
    driver = stage.driver(stage.client(**address, socket_timeout=0.05, max_connections=1))
    stage.run(acquire(), driver)
    with writes_paused(admin), pytest.raises(Unavailable):
        stage.run(acquire(), driver)
    for number in range(3):
        assert isinstance(stage.run(peek(), driver), Usage)
        assert stage.run(once(count("n")), driver) == [number + 1]


class _InterruptedAfterSending:
    """A connection that is interrupted between sending and reading, where redis-py itself does not look."""

    interruption: BaseException | None = KeyboardInterrupt()

    def send_command(self, *args: Any, **options: Any) -> Any:
        sent = super().send_command(*args, **options)  # type: ignore[misc]
        if args[0] != "EVALSHA" or not (reason := type(self).interruption):
            return sent
        type(self).interruption = None
        if isinstance(self, redis.connection.AbstractConnection):
            raise reason
        return _raise_after(sent, reason)


async def _raise_after(sent: Awaitable[None], reason: BaseException) -> None:
    await sent
    raise reason


def test_an_interruption_between_sending_and_reading_costs_the_connection(stage: Stage) -> None:
    """The reply that nobody read is not there for the next call."""
    plain = stage.library.UnixDomainSocketConnection
    reason = SystemExit() if stage.library is redis else asyncio.CancelledError()
    interrupted = type("Interrupted", (_InterruptedAfterSending, plain), {"interruption": reason})
    client = stage.client(connection_class=interrupted, max_connections=1)
    with patch.object(type(client.connection_pool), "maint_notifications_enabled", lambda _: True):  # so pools don't look
        driver = stage.driver(client)
        with pytest.raises(type(reason)):
            stage.run(acquire(), driver)
        assert isinstance(stage.run(peek(), driver), Usage)
        assert stage.run(once(count("n")), driver) == [1]
    assert in_use(client.connection_pool) == 0


# --- work, listeners and draws ----------------------------------------------------------------------------------------


def guarding(wish: Wish, seen: list[BaseException], *compensation: Wish) -> Protocol[str]:
    """Wishes, and on any error wishes for compensation; it delegates, as real protocols do, and swallows what it saw."""
    return (yield from _guarding(wish, seen, compensation))


def _guarding(wish: Wish, seen: list[BaseException], compensation: tuple[Wish, ...]) -> Protocol[str]:
    try:
        yield wish
    except BaseException as error:  # noqa: BLE001  as a guard must
        seen.append(error)
        for each in compensation:  # noqa: UP028  a tuple's iterator takes no replies
            yield each
        return "swallowed"
    return "done"


def test_work_comes_to_its_result(stage: Stage) -> None:
    """Under asyncio what it returns is awaited, if it can be."""

    async def later() -> int:
        return 7

    assert stage.run(once(RunWork(lambda: 5))) == 5
    assert stage.run(once(RunWork(later))) == 7 if isinstance(stage, AsyncStage) else True


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

    def broken() -> int:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        stage.run(acquire(), stage.driver(client, clock=broken))
    assert in_use(client.connection_pool) == 0


# --- CM-10: interruptions ---------------------------------------------------------------------------------------------

INTERRUPTIONS = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


@pytest.mark.parametrize("kind", INTERRUPTIONS)
@pytest.mark.parametrize("place", ["work", "listener"])
def test_an_interruption_is_thrown_in_compensated_and_goes_on(stage: Stage, kind: type[BaseException], place: str) -> None:
    """The protocol learns of it at its wish, its compensation is carried out, and what it returned does not matter."""
    own = kind("now")

    def interrupted(*_: object) -> None:
        raise own

    seen: list[BaseException] = []
    wish = RunWork(interrupted) if place == "work" else Announce((interrupted,), "event")
    with pytest.raises(kind) as caught:
        stage.run(guarding(wish, seen, count("compensated"), count("compensated")))
    assert caught.value is own
    assert len(seen) == 1
    assert not isinstance(seen[0], Exception)
    assert stage.counted("compensated") == 2


def test_an_interruption_goes_on_whatever_compensation_comes_to(stage: Stage) -> None:
    """An error of the compensation neither replaces nor ends it."""

    def interrupted() -> None:
        raise SystemExit(3)

    def failing() -> Protocol[None]:
        try:
            yield RunWork(interrupted)
        finally:
            raise ValueError("of the compensation")

    with pytest.raises(SystemExit):
        stage.run(failing())

    def broken_work() -> None:
        raise ValueError("of the work in it")

    with pytest.raises(SystemExit):
        stage.run(guarding(RunWork(interrupted), [], RunWork(broken_work)))


ENDLESS: dict[str, Callable[[], Iterator[Wish]]] = {
    "many short wishes": lambda: itertools.repeat(ReadClock()),
    "a long sleep": lambda: iter([Sleep(FOREVER_S * 1000)]),
    "many sleeps": lambda: itertools.repeat(Sleep(20)),
}


@pytest.mark.parametrize("length", ENDLESS)
@pytest.mark.parametrize("obstinacy", ["goes", "wishes on", "raises"])
def test_compensation_has_an_end(stage: Stage, length: str, obstinacy: str) -> None:
    """After COMPENSATION_MAX_MS the protocol is closed, and whatever it does then, the interruption goes on."""

    def interrupted() -> None:
        raise SystemExit(3)

    def endless() -> Protocol[None]:
        try:
            yield RunWork(interrupted)
        finally:
            try:
                for wish in ENDLESS[length]():  # noqa: UP028  as above
                    yield wish
            except GeneratorExit:
                if obstinacy == "wishes on":
                    yield Sleep(1)
                if obstinacy == "raises":
                    raise ValueError("while closing") from None
                raise

    started = time.monotonic()
    with compensation_ms_max(stage, 60), pytest.raises(SystemExit):
        stage.run(endless())
    assert 0.05 < time.monotonic() - started < 2


@contextmanager
def compensation_ms_max(stage: Stage, ms: int) -> Iterator[None]:
    """With another bound, in the module that the stage's driver is of."""
    with patch.dict(stage.driver_type.run.__globals__, {"COMPENSATION_MAX_MS": ms}):
        yield


# --- CM-10, threads -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sync_stage(engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """The stage of what only threads do."""
    stage = SyncStage(engine, proxy)
    yield stage
    stage.close()


def test_control_c_in_the_midst_of_a_call(sync_stage: Stage) -> None:
    """KeyboardInterrupt reaches the protocol and its caller; the connection with the unread reply is not used again."""
    stage, seen = sync_stage, list[BaseException]()
    client = stage.client(max_connections=1)
    driver = stage.driver(client)

    def press() -> None:
        assert eventually(lambda: blocked(stage.admin))
        signal.pthread_kill(cast("int", threading.main_thread().ident), signal.SIGINT)
        assert eventually(lambda: bool(seen))
        stage.admin.client_unpause()

    thread = threading.Thread(target=press)
    with writes_paused(stage.admin):
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            stage.run(guarding(count("n"), seen, count("compensated")), driver)
        thread.join()
    assert [type(each) for each in seen] == [KeyboardInterrupt]
    assert stage.counted("compensated") == 1
    assert in_use(client.connection_pool) == 0
    assert isinstance(stage.run(peek(), driver), Usage)
    assert stage.run(once(count("after")), driver) == [1]


def test_many_threads_share_a_limiter(sync_stage: Stage) -> None:
    """Together they are admitted to the limit and not beyond, and each gets its own answers."""
    limiter = RateLimiter(sync_stage.client(max_connections=8), Limit(60, 3_600_000))
    answers: queue.SimpleQueue[Decision] = queue.SimpleQueue()

    def work() -> None:
        for _ in range(10):
            answers.put(limiter.acquire("shared"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    decisions = [answers.get_nowait() for _ in range(80)]
    assert sorted(each.remaining for each in decisions if each.allowed) == list(range(60))
    assert sum(not each.allowed for each in decisions) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.parametrize("kind", ["pool", "constructor"])
def test_a_forked_child_uses_the_same_limiter(sync_stage: Stage, kind: str) -> None:
    """It connects anew instead of talking into its parent's connection; both count on one log."""
    limiter = RateLimiter(sync_stage.adopt(CLIENTS[kind](redis, cast("str", sync_stage.engine.address))), Limit(100, 3_600_000))
    assert limiter.acquire("forked").remaining == 99
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    child = fork.Process(target=_spend, args=(limiter, there))
    child.start()
    assert here.recv() == [98, 97, 96]
    child.join()
    assert child.exitcode == 0
    assert limiter.acquire("forked").remaining == 95
    limiter.close()


def _spend(limiter: RateLimiter, answer: Connection) -> None:
    answer.send([limiter.acquire("forked").remaining for _ in range(3)])


# --- CM-10, tasks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def async_stage(engine: Engine, proxy: FaultProxy) -> Iterator[AsyncStage]:
    """The stage of what only tasks do."""
    stage = AsyncStage(engine, proxy)
    yield stage
    stage.close()


async def turns(number: int = 10) -> None:
    """Let the event loop turn."""
    for _ in range(number):
        await asyncio.sleep(0)


async def soon(fact: Callable[[], bool]) -> None:
    """Wait until a fact comes true."""
    deadline = time.monotonic() + 10
    while not fact():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


async def alone() -> bool:
    """Is no other task left, but those that are about to end?"""
    await turns()
    return asyncio.all_tasks() == {asyncio.current_task()}


@contextmanager
def no_complaints() -> Iterator[None]:
    """The loop's exception handler hears of nothing: no exception that nobody retrieved, no task destroyed."""
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield
    gc.collect()
    assert heard == []


async def cancelled(task: asyncio.Task[Any]) -> bool:
    """Does a task end by its cancellation?"""
    with suppress(asyncio.CancelledError):
        await asyncio.wait_for(asyncio.shield(task), 10)
    return task.cancelled()


CONNECTIONS: dict[str, dict[str, Any]] = {
    "by default": {},
    "without timeouts": {"socket_timeout": None},
    "without a handshake": NO_HANDSHAKE,
    "from a pool that waits": {"blocking": True, "timeout": 5},
}


def cancel_at_every_turn(stage: AsyncStage, *, cancellations: int = 1, connected: bool = False, **options: Any) -> int:
    """Cancel an acquire after one turn of the event loop, after two, and so on until it is too late; gives their number.

    Whatever the acquire was doing, it is cancelled, its connection is back, no task is left, and the next call on the
    same connection gets its own answer.
    """

    async def play() -> int:
        with no_complaints():
            for number in itertools.count():
                if not connected:
                    await client.connection_pool.disconnect()
                task = asyncio.create_task(driver.run(acquire()))
                await turns(number)
                if task.done():
                    return number
                for _ in range(cancellations):
                    task.cancel()
                    await turns(1)
                assert await cancelled(task), f"not cancelled after {number} turns"
                assert await alone()
                assert in_use(client.connection_pool) == 0, f"a connection leaked after {number} turns"
                assert isinstance(await driver.run(peek("nobody")), Usage)
        raise AssertionError

    client = stage.client(max_connections=1, **options)
    driver = stage.driver(client)
    stage.run(peek(), driver)
    return cast("int", stage.wait(play()))


@pytest.mark.parametrize("options", CONNECTIONS)
@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("cancellations", [1, 3])
def test_a_cancellation_is_heeded_at_every_turn(
    async_stage: AsyncStage, options: str, connected: bool, cancellations: int
) -> None:
    """While connecting, sending, reading or giving back: none is swallowed and nothing is left behind."""
    number = cancel_at_every_turn(async_stage, cancellations=cancellations, connected=connected, **CONNECTIONS[options])
    assert number > (1 if connected else 3)


def test_a_swallowed_cancellation_is_heeded(async_stage: AsyncStage) -> None:
    """Before Python 3.12 `asyncio.wait_for`, through which redis-py connects and sends, swallows some."""
    cancel_at_every_turn(async_stage)


def test_what_is_cancelled_before_it_is_sent_is_never_sent(async_stage: AsyncStage) -> None:
    """A cancellation that comes while the connection is made, even if swallowed there, keeps the request back."""

    class Deaf(redis.asyncio.UnixDomainSocketConnection):
        async def connect(self) -> None:
            reached.set()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(FOREVER_S)
            await super().connect()  # type: ignore[no-untyped-call]

    async def play() -> None:
        task = asyncio.create_task(driver.run(once(count("n"))))
        await reached.wait()
        task.cancel()
        assert await cancelled(task)
        assert await alone()

    reached = asyncio.Event()
    client = async_stage.client(connection_class=Deaf, max_connections=1)
    driver = async_stage.driver(client)
    async_stage.forget_commands()
    async_stage.wait(play())
    assert async_stage.scripts_sent() == {}
    assert in_use(client.connection_pool) == 0


@frozen
class Point:
    """Somewhere that a protocol can be when it is cancelled."""

    wish: Wish
    reached: Callable[[], bool]
    leave: Callable[[], Any] = lambda: None
    """Clears the way for compensation."""
    executed: tuple[int, ...] = (0,)
    over: Callable[[], bool] = lambda: True
    """Has the loop nothing more to do for it?"""


def _checkout(stage: AsyncStage, pool: Any, _: ExitStack) -> Point:
    held = stage.wait(pool.get_connection())
    released = list[Any]()
    return Point(
        count("n"),
        reached=lambda: bool(pool._condition._waiters),
        leave=lambda: released.append(asyncio.ensure_future(pool.release(held))),
    )


def _send(stage: AsyncStage, pool: Any, stack: ExitStack) -> Point:
    pid = stage.engine.pid
    assert pid is not None
    script = CallScript(script=COUNT_LENGTH, keys=("n",), args=("x" * 8_000_000,), idempotent=False)
    stage.run(once(count("warm")), stage.driver_type(redis.asyncio.Redis(connection_pool=pool)))
    os.kill(pid, signal.SIGSTOP)
    stack.callback(os.kill, pid, signal.SIGCONT)

    [transport] = [each._writer.transport for each in pool._available_connections]

    def writing() -> bool:
        return bool(transport.get_write_buffer_size())

    return Point(
        script,
        reached=writing,
        leave=lambda: os.kill(pid, signal.SIGCONT),
        executed=(0, 1),  # asyncio sends what it has in hand even when redis-py disconnects
        over=lambda: not writing(),
    )


def _read(stage: AsyncStage, _: Any, stack: ExitStack) -> Point:
    stack.enter_context(writes_paused(stage.admin))
    return Point(count("n"), lambda: blocked(stage.admin), leave=stage.admin.client_unpause, executed=(0, 1))


def _release(stage: AsyncStage, pool: Any, stack: ExitStack) -> Point:
    """Where the pool is held by somebody else, so that to give a connection back takes a while."""
    stack.enter_context(writes_paused(stage.admin))
    condition, held = pool._condition, list[Any]()

    def reached() -> bool:
        if not held and blocked(stage.admin):
            held.append(asyncio.ensure_future(condition.acquire()))
            stage.admin.client_unpause()
        return bool(held and condition._lock._waiters)

    return Point(count("n"), reached, leave=condition.release, executed=(1,))


def _sleep(*_: object) -> Point:
    return Point(Sleep(FOREVER_S * 1000), lambda: True)


def _wait_for(wish: Callable[[Callable[..., Any]], Wish]) -> Point:
    waiting = list[object]()

    async def forever(*_: object) -> None:
        waiting.append(None)
        await asyncio.sleep(FOREVER_S)

    return Point(wish(forever), lambda: bool(waiting))


POINTS: dict[str, Callable[[AsyncStage, Any, ExitStack], Point]] = {
    "checkout": _checkout,
    "send": _send,
    "read": _read,
    "release": _release,
    "sleep": _sleep,
    "work": lambda *_: _wait_for(RunWork),
    "a listener": lambda *_: _wait_for(lambda forever: Announce((forever,), "event")),
}


def cancel_at(stage: AsyncStage, point: str, cancellations: int) -> None:
    """Cancel a protocol at a point, once or more; its compensation is carried out once, in full."""
    client = stage.client(blocking=True, max_connections=1, timeout=None)
    pool = client.connection_pool
    driver, seen = stage.driver(client), list[BaseException]()
    with ExitStack() as stack:
        place = POINTS[point](stage, pool, stack)

        async def play() -> None:
            with no_complaints():
                task = asyncio.create_task(driver.run(guarding(place.wish, seen, count("compensated"), Sleep(5), count("too"))))
                await turns()
                await soon(place.reached)
                for _ in range(cancellations):
                    task.cancel()
                    await turns(2)
                place.leave()
                await turns(1)
                for _ in range(cancellations - 1):
                    task.cancel()
                    await turns(1)
                assert await cancelled(task)
                assert [type(each) for each in seen] == [asyncio.CancelledError]
                await soon(place.over)
                assert await alone()
                assert in_use(pool) == 0

        stage.wait(play())
    assert (stage.counted("compensated"), stage.counted("too")) == (1, 1)
    assert stage.counted("n") in place.executed
    assert stage.run(once(count("after")), driver) == [1]


@pytest.mark.parametrize("cancellations", [1, 2, 3])
@pytest.mark.parametrize("point", POINTS)
def test_a_cancellation_is_thrown_in_wherever_the_protocol_waits(
    async_stage: AsyncStage, point: str, cancellations: int
) -> None:
    """What it wishes then is shielded from further cancellations; then the first goes on, whatever it returned."""
    cancel_at(async_stage, point, cancellations)


def test_a_contended_release_is_not_cancelled(async_stage: AsyncStage) -> None:
    """redis-py's pool would lose the connection for good."""
    cancel_at(async_stage, "release", 3)


def test_compensation_is_shielded(async_stage: AsyncStage) -> None:
    """A second cancellation and a third don't reach it."""
    cancel_at(async_stage, "work", 3)


def test_the_pool_of_redis_py_itself_leaks(async_stage: AsyncStage) -> None:
    """The danger that the driver keeps off: a release that is cancelled while it waits for the pool."""

    async def play() -> None:
        pool = async_stage.client(blocking=True, max_connections=1).connection_pool
        connection = await pool.get_connection()
        async with pool._condition:
            release = asyncio.create_task(pool.release(connection))
            await turns()
            release.cancel()
            assert await cancelled(release)
        assert in_use(pool) == 1

    async_stage.wait(play())


ENDLESS_WAITS: dict[str, Callable[[], Wish]] = {
    "work": lambda: RunWork(lambda: asyncio.sleep(FOREVER_S)),
    "a script": lambda: count("never"),
    "a listener": lambda: Announce((lambda _: asyncio.sleep(FOREVER_S),), "event"),
}


@pytest.mark.parametrize("wait", ENDLESS_WAITS)
def test_compensation_that_hangs_is_broken_off(async_stage: AsyncStage, wait: str) -> None:
    """What it waits for is cancelled in its turn: no task is left and no connection."""
    client = async_stage.client(max_connections=1)
    driver = async_stage.driver(client)

    async def play() -> None:
        with no_complaints():
            task = asyncio.create_task(driver.run(guarding(Sleep(FOREVER_S * 1000), [], ENDLESS_WAITS[wait]())))
            await turns()
            task.cancel()
            assert await cancelled(task)
            assert await alone()
            assert in_use(client.connection_pool) == 0

    with writes_paused(async_stage.admin), compensation_ms_max(async_stage, 60):
        async_stage.wait(play())
    assert async_stage.run(once(count("after")), driver) == [1]


def test_a_timeout_around_a_call_works(async_stage: AsyncStage) -> None:
    """`asyncio.timeout` ends the call, as TimeoutError, and leaves the task uncancelled."""
    client = async_stage.client(max_connections=1)
    driver, seen = async_stage.driver(client), list[BaseException]()

    async def play() -> None:
        with no_complaints():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await driver.run(guarding(count("n"), seen, Sleep(1)))
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            assert in_use(client.connection_pool) == 0
            assert await alone()

    with writes_paused(async_stage.admin):
        async_stage.wait(play())
    assert [type(each) for each in seen] == [asyncio.CancelledError]
    assert async_stage.run(once(count("after")), driver) == [1]


def test_a_task_group_ends_its_calls(async_stage: AsyncStage) -> None:
    """When one of many fails, the others are cancelled, and all connections are back."""
    client = async_stage.client(blocking=True, max_connections=3, timeout=None)
    driver = async_stage.driver(client)

    async def fail() -> None:
        await soon(lambda: blocked(async_stage.admin, 3))
        raise ArithmeticError

    async def crowd() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(driver.run(acquire()))
            group.create_task(fail())

    async def play() -> None:
        with no_complaints():
            with pytest.raises(ExceptionGroup) as caught:
                await crowd()
            assert [type(each) for each in caught.value.exceptions] == [ArithmeticError]
            assert in_use(client.connection_pool) == 0
            assert await alone()

    with writes_paused(async_stage.admin):
        async_stage.wait(play())
    assert async_stage.run(once(count("after")), driver) == [1]


def test_many_tasks_share_a_limiter(async_stage: AsyncStage) -> None:
    """Together they are admitted to the limit and not beyond, though some are cancelled on the way."""
    limiter = AsyncRateLimiter(
        async_stage.client(blocking=True, max_connections=4, timeout=None), Limit(60, 3_600_000), representation=ZSET
    )

    async def play() -> list[Decision]:
        tasks = [asyncio.create_task(limiter.acquire("shared")) for _ in range(100)]
        await turns(3)
        for each in tasks[::5]:
            each.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert in_use(limiter._driver._pool) == 0
        return [each for each in outcomes if isinstance(each, Decision)]

    decisions = async_stage.wait(play())
    assert len(decisions) == 80
    remaining = [each.remaining for each in decisions if each.allowed]
    assert len(set(remaining)) == len(remaining)
    assert set(remaining) <= set(range(60))
    [key] = limiter._policy.keys("shared")
    assert async_stage.charged(key) == 60


# --- any client will do -------------------------------------------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "decoded": {"decode_responses": True},
    "protocol 2": {"protocol": 2},
    "protocol 2, decoded": {"protocol": 2, "decode_responses": True},
    "protocol 3": {"protocol": 3},
    "health checks": {"health_check_interval": 1},
    "another encoding": {"encoding": "utf-16"},
    "another encoding, decoded": {"encoding": "latin-1", "decode_responses": True},
    "a lossy encoding": {"encoding": "ascii", "encoding_errors": "replace"},
    "no timeouts": {"socket_timeout": None, "socket_connect_timeout": None},
    "one connection": {"single_connection_client": True},
    "a name": {"client_name": "limiter"},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_the_settings_of_a_client_do_not_matter(stage: Stage, options: str) -> None:
    """Replies, errors and keys are the same, whatever it decodes, encodes or checks; no two names become one key."""
    client = stage.library.Redis(unix_socket_path=stage.engine.address, **OPTIONS[options])
    driver = stage.driver(stage.adopt(client))
    names = ("user", "ключ", "キー", "é", "è", "e?", "🔑")
    for name in names:
        assert stage.run(acquire(name), driver).remaining == 99
        assert stage.run(acquire(name, request_id="идентификатор"), driver).remaining == 98
        assert stage.run(acquire(name, request_id="идентификатор"), driver).remaining == 98
        assert stage.run(peek(name)).remaining == 98
    assert stage.admin.dbsize() == len(names)
    stage.engine.flush_scripts()
    stage.wait(driver.load(protocols.scripts_of(ZSET)))
    stage.forget_commands()
    for name in names:
        assert stage.run(protocols.reset(POLICY, name), driver) is None
    assert stage.scripts_sent() == {"evalsha": len(names)}
    assert stage.admin.dbsize() == 0
    stage.admin.set(KEY, "something else")
    with pytest.raises(Corrupt):
        stage.run(acquire(), driver)


def test_fakeredis_will_do(stage: Stage) -> None:
    """For tests of services: the same answers, and a flush is not noticed."""
    with open_engine("fakeredis") as fake:
        client = stage.adopt(fake.client() if stage.library is redis else fake.async_client())
        driver = stage.driver(client)
        assert stage.run(acquire(), driver).remaining == 99
        fake.flush_scripts()
        assert stage.run(acquire(request_id="r1"), driver).remaining == 98
        assert stage.run(acquire(request_id="r1"), driver).remaining == 98
        assert stage.run(peek(), driver).remaining == 98
        stage.wait(driver.load(protocols.scripts_of(ZSET)))
        assert stage.run(protocols.reset(POLICY, "user"), driver) is None
        assert stage.run(peek(), driver).remaining == 100
        with fake.client() as admin:
            admin.set(KEY, "something else")
        with pytest.raises(Corrupt):
            stage.run(acquire(), driver)


@pytest.mark.parametrize("retries", [0, 3])
def test_closing_a_driver_closes_its_own_connections_alone(stage: Stage, retries: int) -> None:
    """Those that it opened beside the caller's are gone from the server; the caller's stay, and both can be used again."""
    client = stage.client(client_name="mine", retry=_retrying(stage.library, retries))

    def connections() -> int:
        return sum(each["name"] == "mine" for each in stage.admin.client_list())

    stage.wait(client.ping())
    driver = stage.driver(client)
    for _ in range(2):
        stage.run(acquire(), driver)
        assert connections() == (2 if retries else 1)
        stage.wait(driver.close())
        assert eventually(lambda: connections() == 1)


# --- the drivers themselves are tested: each planted fault is caught ---------------------------------------------------

SYNC, ASYNC, SHARED = redstep.sync_driver, redstep.asyncio_driver, redstep.driving


def edited(module: ModuleType, *edits: tuple[str, str]) -> ModuleType:
    """A copy of a module whose text is edited, each edit in exactly one place."""
    path = Path(cast("str", module.__file__))
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    copy = ModuleType(module.__name__)
    exec(compile(text, str(path), "exec"), copy.__dict__)  # noqa: S102  our own text
    return copy


@frozen
class Plant:
    """A fault to be planted, the rule that it breaks, and the test that must catch it."""

    rule: str
    module: ModuleType
    edits: tuple[tuple[str, str], ...]
    caught_by: Callable[..., None]
    arguments: tuple[Any, ...] = ()

    def stages(self) -> list[type[Stage]]:
        """The stages that it concerns, with drivers that have it."""
        copy = edited(self.module, *self.edits)
        if self.module is not SHARED:
            return [self._with(copy)]
        with patch.dict(sys.modules, {"redstep.driving": copy}):
            return [self._with(edited(SYNC)), self._with(edited(ASYNC))]

    @staticmethod
    def _with(module: ModuleType) -> type[Stage]:
        if hasattr(module, "SyncDriver"):
            return type("SyncStage", (SyncStage,), {"driver_type": module.SyncDriver})
        return type("AsyncStage", (AsyncStage,), {"driver_type": module.AsyncDriver})


_READ = "connection.read_response(disable_decoding=True)"
_SEND = "connection.send_command(*words, check_health=False)"
_RETRY_ALONE = ("never_retrying(client.connection_pool)", "client.connection_pool; self._client = client")
_NO_EVAL = 'self._exchange(connection, command(request, "EVAL", now_ms))'

PLANTS: dict[str, Plant] = {
    "sync: no EVAL after NOSCRIPT": Plant(
        "CM-6", SYNC, ((f"return {_NO_EVAL}", "raise"),), test_a_flush_between_any_two_calls_is_not_noticed
    ),
    "asyncio: no EVAL after NOSCRIPT": Plant(
        "CM-6", ASYNC, ((f"return await {_NO_EVAL}", "raise"),), test_a_flush_between_any_two_calls_is_not_noticed
    ),
    "sync: through the client itself": Plant(
        "CM-5",
        SYNC,
        (_RETRY_ALONE, (f"{_SEND}\n            return {_READ}", "return self._client.execute_command(*words)")),
        test_a_lost_reply_is_not_asked_for_again,
        ("constructor",),
    ),
    "asyncio: through the client itself": Plant(
        "CM-5",
        ASYNC,
        (
            _RETRY_ALONE,
            (
                f"{_SEND}\n            _heed_cancellation()\n            return await {_READ}",
                "asyncio.sleep(0)\n            return await self._client.execute_command(*words)",
            ),
        ),
        test_a_lost_reply_is_not_asked_for_again,
        ("constructor",),
    ),
    "sync: the caller's pool, retries and all": Plant(
        "CM-5", SYNC, (_RETRY_ALONE,), test_a_refused_connection_fails_at_once, ("pool with retries",)
    ),
    "asyncio: the caller's pool, retries and all": Plant(
        "CM-5", ASYNC, (_RETRY_ALONE,), test_a_refused_connection_fails_at_once, ("pool with retries",)
    ),
    "the caller's settings are changed in place": Plant(
        "CM-5",
        SHARED,
        (("settings = dict(pool.connection_kwargs)", "settings = pool.connection_kwargs"),),
        test_the_callers_client_is_not_altered,
        ("pool with retries",),
    ),
    "a pool is made of its connections' settings alone": Plant(
        "CM-5", SHARED, (('("timeout", "queue_class"),', "(),"),), test_a_pool_of_the_drivers_own_is_like_the_callers
    ),
    "a lost reply is definite": Plant(
        "CM-9", SHARED, (("definite=False", "definite=True"),), test_a_lost_reply_is_not_asked_for_again, ("pool",)
    ),
    "LOADING is a lost reply": Plant(
        "CM-9",
        SHARED,
        ((" or (isinstance(error, RedisError) and error.status_code)", ""),),
        test_an_engine_that_loads_its_data_is_definite,
    ),
    "a blocking pool runs out as if the store were away": Plant(
        "BP-2",
        SHARED,
        ((" or _waited_in_vain(error, handled)", ""),),
        test_running_out_of_connections_is_this_processs_fault,
        ("one that waits",),
    ),
    "sync: what the caller handles is taken for the pool's": Plant(
        "BP-2",
        SYNC,
        (("handled = sys.exception()", "handled = None"),),
        test_a_store_that_hangs_up_is_not_our_fault,
        ("one that waits",),
    ),
    "in the client's encoding": Plant(
        "CM-7",
        SHARED,
        (("word.encode() if isinstance(word, str) else word", "word"),),
        test_the_settings_of_a_client_do_not_matter,
        ("a lossy encoding",),
    ),
    "sync: a connection isn't given back": Plant(
        "BP-4",
        SYNC,
        (
            (
                f"{_NO_EVAL}\n        finally:\n            self._pool.release(connection)",
                f"{_NO_EVAL}\n        finally:\n            pass",
            ),
        ),
        test_running_out_of_connections_is_this_processs_fault,
        ("one that refuses",),
    ),
    "asyncio: a connection isn't given back": Plant(
        "BP-4",
        ASYNC,
        (("await self._pool.release(connection)", "pass"),),
        test_running_out_of_connections_is_this_processs_fault,
        ("one that refuses",),
    ),
    "sync: an interrupted connection is used again": Plant(
        "BP-4",
        SYNC,
        (("connection.disconnect()", "pass"),),
        test_an_interruption_between_sending_and_reading_costs_the_connection,
    ),
    "asyncio: an interrupted connection is used again": Plant(
        "BP-4",
        ASYNC,
        (("await connection.disconnect(nowait=True)", "pass"),),
        test_an_interruption_between_sending_and_reading_costs_the_connection,
    ),
    "an interruption is swallowed": Plant(
        "CM-10",
        SHARED,
        (("if self.interruption is not None:\n            raise", "if self._result is None:\n            raise"),),
        test_an_interruption_is_thrown_in_compensated_and_goes_on,
        (SystemExit, "work"),
    ),
    "GeneratorExit is thrown in itself": Plant(
        "CM-10",
        SHARED,
        (("Interrupted() if isinstance(outcome.error, GeneratorExit) else outcome.error", "outcome.error"),),
        test_an_interruption_is_thrown_in_compensated_and_goes_on,
        (GeneratorExit, "work"),
    ),
    "what a protocol raises while it's closed goes on instead": Plant(
        "CM-10",
        SHARED,
        (("contextlib.suppress(Exception)", "contextlib.suppress(RuntimeError)"),),
        test_compensation_has_an_end,
        ("many sleeps", "raises"),
    ),
    "sync: compensation takes as long as it wants": Plant(
        "CM-10",
        SYNC,
        (("COMPENSATION_MAX_MS / 1000", "COMPENSATION_MAX_MS / 25"),),
        test_compensation_has_an_end,
        ("many sleeps", "goes"),
    ),
    "asyncio: compensation takes as long as it wants": Plant(
        "CM-10",
        ASYNC,
        (("COMPENSATION_MAX_MS / 1000", "COMPENSATION_MAX_MS / 25"),),
        test_compensation_has_an_end,
        ("many sleeps", "goes"),
    ),
    "asyncio: compensation that hangs is left hanging": Plant(
        "CM-10",
        ASYNC,
        (("run.abandon()\n            task.cancel()", "run.abandon()"),),
        test_compensation_that_hangs_is_broken_off,
        ("work",),
    ),
    "asyncio: compensation isn't shielded": Plant(
        "CM-10", ASYNC, (("await _patiently(task)\n        if", "await task\n        if"),), test_compensation_is_shielded
    ),
    "asyncio: a release is cancelled": Plant(
        "BP-4", ASYNC, (("if task in self._talking:", "if True:"),), test_a_contended_release_is_not_cancelled
    ),
    "asyncio: a call in the caller's own task": Plant(
        "BP-4", ASYNC, (("self._apart(self._call(wish))", "self._call(wish)"),), test_a_contended_release_is_not_cancelled
    ),
    "asyncio: a swallowed cancellation is sent after all": Plant(
        "CM-10",
        ASYNC,
        (("_heed_cancellation()\n            await", "await"),),
        test_what_is_cancelled_before_it_is_sent_is_never_sent,
    ),
    "sync: a listener's error goes on": Plant(
        "CM-10",
        SYNC,
        (("except Exception:\n", "except ArithmeticError:\n"),),
        test_a_listeners_error_is_logged_and_goes_no_further,
    ),
    "asyncio: a listener's error goes on": Plant(
        "CM-10",
        ASYNC,
        (("except Exception:\n", "except ArithmeticError:\n"),),
        test_a_listeners_error_is_logged_and_goes_no_further,
    ),
}


@pytest.mark.parametrize("plant", [pytest.param(name, marks=pytest.mark.catches(PLANTS[name].rule, name)) for name in PLANTS])
def test_a_planted_fault_is_caught(plant: str, engine: Engine, proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    """A driver with one fault fails the test that is there for it."""
    fault = PLANTS[plant]
    if "encoding" in plant and HIREDIS_AVAILABLE:
        pytest.skip("hiredis, where it is installed, sends UTF-8 whatever the client's encoding")
    fixtures = {"caplog": caplog} if "caplog" in inspect.signature(fault.caught_by).parameters else {}
    for kind in fault.stages():
        with closing(kind(engine, proxy)) as stage:
            assert fails(lambda stage=stage: fault.caught_by(stage, *fault.arguments, **fixtures))  # type: ignore[misc]
        engine.forget()
        proxy.arm([])


def fails(check: Callable[[], None]) -> bool:
    """Does a check fail, for another reason than an edit that makes no sense?"""
    try:
        check()
    except BaseException as failure:  # noqa: BLE001  the interruption that the check is about may escape
        return not isinstance(failure, AttributeError | NameError | TypeError)  # those would be the edit's own
    return False
