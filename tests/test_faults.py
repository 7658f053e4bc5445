"""The fault proxy: each fate does just what it says, to real connections of redis-py's own clients."""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from hashlib import sha1
from pathlib import Path
from typing import Any, cast

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError
from redis.retry import Retry

from redstep_check.engines import DEFAULT, Engine
from redstep_check.faults import FaultProxy, notice_endings
from redstep_spec.delivery import Fate
from support.servers import listening, opener
from support.waiting import eventually

DELIVERED, NOT_SENT, REPLY_LOST, FLUSHED = Fate.DELIVERED, Fate.NOT_SENT, Fate.REPLY_LOST, Fate.FLUSHED

CHARGE = "return redis.call('INCR', KEYS[1])"
SHA = sha1(CHARGE.encode()).hexdigest()  # noqa: S324 - a script's name, not a secret


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """One real server for the whole module."""
    with opener() as opened:
        yield opened(DEFAULT)


@pytest.fixture
def proxy(engine: Engine) -> Iterator[FaultProxy]:
    """A proxy before an empty engine that knows the script."""
    assert engine.address is not None
    engine.forget()
    with engine.client() as client:
        client.script_load(CHARGE)
    with FaultProxy(engine.address) as proxy:
        yield proxy


class Caller:
    """Charges through a proxy: EVALSHA, then EVAL after NOSCRIPT. Sync and asyncio clients behind one face."""

    def charge(self) -> object:
        """Count one up; gives the new count."""
        try:
            return self.run("EVALSHA", SHA, 1, "charged")
        except NoScriptError:
            return self.run("EVAL", CHARGE, 1, "charged")

    def run(self, *command: Any) -> object:
        """Send one command; gives its reply."""
        raise NotImplementedError

    def close(self) -> None:
        """End the client."""
        raise NotImplementedError


class SyncCaller(Caller):
    """With redis-py's sync client."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._client = proxy.client()

    def run(self, *command: Any) -> object:
        """Send it at once."""
        return cast("object", self._client.execute_command(*command))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close its connections."""
        self._client.close()


class AsyncCaller(Caller):
    """With redis-py's asyncio client, on an event loop of its own."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._runner = asyncio.Runner()
        self._client = proxy.async_client()

    def run(self, *command: Any) -> object:
        """Send it after the loop had a chance to look around, as it has in a service."""

        async def answer() -> object:
            await notice_endings()
            return await cast("Awaitable[object]", self._client.execute_command(*command))  # type: ignore[no-untyped-call]

        return self._runner.run(answer())

    def close(self) -> None:
        """Close its connections, and the loop after them."""
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture(params=[SyncCaller, AsyncCaller])
def caller(request: pytest.FixtureRequest, proxy: FaultProxy) -> Iterator[Caller]:
    """A client through the proxy, of either kind."""
    caller: Caller = request.param(proxy)
    yield caller
    caller.close()


def charged(engine: Engine) -> int:
    """How often the engine was charged, asked past the proxy."""
    with engine.client() as client:
        return int(cast("bytes | None", client.get("charged")) or 0)


def refuses(call: Callable[[], object]) -> bool:
    """Does the call find no server?"""
    with pytest.raises(redis.ConnectionError) as caught:
        call()
    return "refused" in str(caught.value).lower()


# --- each fate ------------------------------------------------------------------------------------------------------


def test_an_unarmed_proxy_delivers(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """Without fates it is a piece of wire that counts."""
    assert [caller.charge(), caller.charge()] == [1, 2]
    assert proxy.executed == charged(engine) == 2


def test_a_lost_reply_was_executed_once_and_the_connection_breaks(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """The client has an error, the engine has the charge; the next attempt is delivered."""
    proxy.arm([REPLY_LOST])
    with pytest.raises(redis.ConnectionError):
        caller.charge()
    assert proxy.executed == charged(engine) == 1
    assert caller.charge() == 2


def test_an_attempt_that_is_not_sent_finds_no_server(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """Open connections have ended and connects are refused, until the store is restored."""
    assert caller.charge() == 1
    proxy.arm([NOT_SENT])
    assert refuses(caller.charge)
    assert refuses(caller.charge)
    assert proxy.executed == 0
    assert charged(engine) == 1
    proxy.restore()
    assert caller.charge() == 2


def test_the_next_arm_ends_a_refusal_too(proxy: FaultProxy, caller: Caller) -> None:
    """A proxy that is armed anew listens again at the same path."""
    proxy.arm([NOT_SENT])
    assert refuses(caller.charge)
    proxy.arm([])
    assert caller.charge() == 1


def test_a_flushed_engine_asks_for_the_script(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """EVALSHA is answered NOSCRIPT, which the client sees; the EVAL that follows belongs to the same attempt."""
    proxy.arm([FLUSHED, FLUSHED])
    with pytest.raises(NoScriptError):
        caller.run("EVALSHA", SHA, 1, "charged")
    assert proxy.executed == 0
    assert caller.run("EVAL", CHARGE, 1, "charged") == 1
    assert caller.charge() == 2
    assert caller.run("EVALSHA", SHA, 1, "charged") == 3
    assert proxy.executed == charged(engine) == 3


# --- fates in a row -------------------------------------------------------------------------------------------------


def test_a_retry_after_a_lost_reply_is_delivered(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """Two attempts of one call charge twice, unless the script knows the call."""
    proxy.arm([REPLY_LOST, DELIVERED])
    with pytest.raises(redis.ConnectionError):
        caller.charge()
    assert caller.charge() == 2
    assert proxy.executed == charged(engine) == 2


def test_a_retry_after_a_lost_reply_finds_no_server(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """When the client learns of the loss, the proxy refuses already."""
    proxy.arm([REPLY_LOST, NOT_SENT])
    with pytest.raises(redis.ConnectionError):
        caller.charge()
    assert refuses(caller.charge)
    assert proxy.executed == charged(engine) == 1


def test_the_reply_is_lost_where_something_was_executed(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """NOSCRIPT executed nothing: it passes, and the reply of the EVAL after it is the one that is lost."""
    engine.flush_scripts()
    proxy.arm([REPLY_LOST, DELIVERED])
    with pytest.raises(NoScriptError):
        caller.run("EVALSHA", SHA, 1, "charged")
    with pytest.raises(redis.ConnectionError):
        caller.run("EVAL", CHARGE, 1, "charged")
    assert proxy.executed == charged(engine) == 1
    assert caller.charge() == 2


@pytest.mark.parametrize("before", [DELIVERED, FLUSHED])
def test_an_attempt_right_after_a_delivered_one_fails_definitely(
    before: Fate, engine: Engine, proxy: FaultProxy, caller: Caller
) -> None:
    """On the connection that just delivered a reply, the refusal is an answer; what connects anew is refused."""
    proxy.arm([before, NOT_SENT, DELIVERED])
    assert caller.charge() == 1
    with pytest.raises(redis.BusyLoadingError):
        caller.charge()
    with proxy.client() as another:
        assert refuses(another.ping)
    assert proxy.executed == charged(engine) == 1
    proxy.restore()
    assert caller.charge() == 2


def test_arming_forgets_what_was_armed_before(engine: Engine, proxy: FaultProxy, caller: Caller) -> None:
    """Fates and count start anew."""
    proxy.arm([REPLY_LOST, REPLY_LOST])
    with pytest.raises(redis.ConnectionError):
        caller.charge()
    proxy.arm([DELIVERED])
    assert proxy.executed == 0
    assert [caller.charge(), caller.charge()] == [2, 3]
    assert proxy.executed == 2
    assert charged(engine) == 3


def test_other_commands_have_no_fate(proxy: FaultProxy, caller: Caller) -> None:
    """Only an attempt to have a script executed uses one up."""
    proxy.arm([REPLY_LOST])
    assert caller.run("SET", "charged", 7) in (True, b"OK")
    assert caller.run("GET", "charged") == b"7"
    with pytest.raises(redis.ConnectionError):
        caller.charge()


# --- the danger -----------------------------------------------------------------------------------------------------


def test_the_default_client_charges_for_every_lost_reply(engine: Engine, proxy: FaultProxy) -> None:
    """Why redstep pins its own policy (CM-5): redis-py's own client resends what may have been executed."""
    proxy.arm([REPLY_LOST] * 3)
    with redis.Redis(unix_socket_path=proxy.address) as client:
        assert client.evalsha(SHA, 1, "charged") == 4
    assert proxy.executed == charged(engine) == 4


def test_a_client_of_the_proxy_resends_if_told(engine: Engine, proxy: FaultProxy) -> None:
    """Options of redis-py's connections reach them."""
    proxy.arm([REPLY_LOST] * 3)
    with proxy.client(retry=Retry(NoBackoff(), 1)) as client, pytest.raises(redis.ConnectionError):
        client.evalsha(SHA, 1, "charged")
    assert proxy.executed == charged(engine) == 2


# --- the wire -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3])
def test_replies_of_every_shape_pass(engine: Engine, proxy: FaultProxy, protocol: int) -> None:
    """What comes through the proxy is what comes past it, in either version of the protocol."""
    commands: list[tuple[Any, ...]] = [
        ("SET", "text", "a\r\n$1\r\n*2\r\n" * 40_000),
        ("GET", "text"),
        ("GET", "absent"),
        ("HSET", "hash", "field", "value"),
        ("HGETALL", "hash"),
        ("SADD", "set", "member"),
        ("SMEMBERS", "set"),
        ("ZADD", "zset", 1.5, "member"),
        ("ZSCORE", "zset", "member"),
        ("BLPOP", "absent", 0.001),
        ("EVAL", "return {1, {'two', {}}, redis.status_reply('three'), false}", 0),
        ("COMMAND DOCS", "GET"),
        ("EXISTS", "", "text"),
    ]
    replies = []
    for source in (engine, proxy):
        engine.forget()
        with source.client(protocol=protocol) as client:
            replies.append([client.execute_command(*command) for command in commands])
    assert replies[0] == replies[1]


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_pipeline_passes_in_order(engine: Engine, proxy: FaultProxy, protocol: int) -> None:
    """Many commands in one write, of which some are attempts, get their replies in order."""
    proxy.arm([])
    with proxy.client(protocol=protocol) as client:
        pipeline = client.pipeline(transaction=False)
        for number in range(200):
            pipeline.set("n", number)
            pipeline.evalsha(SHA, 1, "charged")
        assert pipeline.execute() == [reply for number in range(200) for reply in (True, number + 1)]
    assert proxy.executed == charged(engine) == 200


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_subscription_passes(engine: Engine, proxy: FaultProxy, protocol: int) -> None:
    """What the engine pushes unasked arrives too."""
    with proxy.client(protocol=protocol) as client, engine.client() as other, client.pubsub() as subscription:
        subscription.subscribe("one", "two")
        seen = [subscription.get_message(timeout=5) for _ in range(2)]
        other.publish("two", "news")
        seen.append(subscription.get_message(timeout=5))
    assert [message and message["data"] for message in seen] == [1, 2, b"news"]


@pytest.mark.parametrize("chunk", [1, 7])
def test_a_command_may_come_in_pieces(engine: Engine, proxy: FaultProxy, chunk: int) -> None:
    """An attempt is known by its bytes, not by how they were cut."""
    proxy.arm([DELIVERED, REPLY_LOST])
    command = f"*4\r\n$7\r\nevalsha\r\n$40\r\n{SHA}\r\n$1\r\n1\r\n$7\r\ncharged\r\n".encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(proxy.address)
        for _ in range(2):
            for start in range(0, len(command), chunk):
                client.sendall(command[start : start + chunk])
        received = b""
        while data := client.recv(100):
            received += data
    assert received == b":1\r\n"
    assert proxy.executed == charged(engine) == 2


def test_an_upstream_may_be_a_host_and_a_port() -> None:
    """The proxy stands before a server on the network as well."""
    with listening(DEFAULT) as (engine, address), FaultProxy(address) as proxy, proxy.client() as client:
        proxy.arm([FLUSHED])
        with pytest.raises(NoScriptError):
            client.evalsha(SHA, 1, "charged")
        assert client.eval(CHARGE, 1, "charged") == charged(engine) == 1


def test_a_client_of_a_dead_engine_is_disconnected(tmp_path: Path) -> None:
    """The proxy has no life of its own: what can't reach the engine is told so by its connection's end."""
    with (
        FaultProxy(str(tmp_path / "nothing")) as proxy,
        proxy.client() as client,
        pytest.raises(redis.ConnectionError),
    ):
        client.ping()


# --- the end --------------------------------------------------------------------------------------------------------


def test_a_proxy_leaves_nothing(engine: Engine) -> None:
    """No thread, no socket, no connection to the engine; and whoever was connected learns that it is over."""
    assert engine.address is not None
    threads = threading.active_count()
    with ExitStack() as stack, socket.socket(socket.AF_UNIX) as waiting:
        with FaultProxy(engine.address) as proxy:
            stack.enter_context(proxy.client()).ping()
            waiting.settimeout(10)
            waiting.connect(proxy.address)
            waiting.sendall(b"*3\r\n$5\r\nBLPOP\r\n$6\r\nabsent\r\n$1\r\n0\r\n")
            with engine.client() as past:
                assert eventually(lambda: past.info("clients")["blocked_clients"] == 1)
        assert waiting.recv(1) == b""
        assert threading.active_count() == threads
        assert not Path(proxy.address).parent.exists()
        with engine.client() as past:
            assert eventually(lambda: past.info("clients")["connected_clients"] == 2)
