"""Connections: when none is free it is this process's fault, and one with an unread reply is never used again."""

import asyncio
import queue
import socket
import threading
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import patch

import pytest
import redis
from redis.connection import AbstractConnection
from redis.exceptions import MaxConnectionsError

from redstep import ServiceOverloaded, Unavailable, Usage
from redstep_check.engines import Engine
from support.servers import impatient, writes_paused

from .stage import Stage, acquire, count, held_connection, in_use, once, peek

POOLS: dict[str, dict[str, Any]] = {
    "one that refuses": {"max_connections": 1},
    "one that waits": {"blocking": True, "max_connections": 1, "timeout": 0.05},
}


# --- BP-2: no connection free -----------------------------------------------------------------------------------------


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
        assert isinstance(caught.value, MaxConnectionsError)
        assert not isinstance(caught.value, Unavailable)
    assert stage.scripts_sent() == {}
    assert stage.run(acquire(), driver).remaining == 98
    assert in_use(client.connection_pool) == 0


@pytest.mark.parametrize("kind", POOLS)
def test_a_store_that_hangs_up_is_not_our_fault(stage: Stage, kind: str) -> None:
    """Even when the caller asks while it handles the end of a wait of its own, which Python notes on our error as well."""
    with hanging_up() as address:
        driver = stage.driver(stage.client(**address, **POOLS[kind]))
        for reason in (queue.Empty(), TimeoutError()):
            try:
                raise reason
            except (queue.Empty, TimeoutError):
                assert stage.failure(acquire(), driver).definite is True


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


# --- BP-4: an unread reply ----------------------------------------------------------------------------------------------


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
    client = stage.client(**address, max_connections=1)
    driver = stage.driver(client)
    stage.run(acquire(), driver)
    with writes_paused(admin), impatient(client.connection_pool), pytest.raises(Unavailable):
        stage.run(acquire(), driver)
    for number in range(3):
        assert isinstance(stage.run(peek(), driver), Usage)
        assert stage.run(once(count("n")), driver) == [number + 1]


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


class _InterruptedAfterSending:
    """A connection that is interrupted between sending and reading, where redis-py itself does not look."""

    interruption: BaseException | None

    def send_command(self, *args: Any, **options: Any) -> Any:
        sent = super().send_command(*args, **options)  # type: ignore[misc]
        if args[0] != "EVALSHA" or not (reason := type(self).interruption):
            return sent
        type(self).interruption = None
        if isinstance(self, AbstractConnection):
            raise reason
        return _raise_after(sent, reason)


async def _raise_after(sent: Awaitable[None], reason: BaseException) -> None:
    await sent
    raise reason
