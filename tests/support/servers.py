"""What tests bring servers to, and their clients: paused, with clients that wait or don't, listening on a port."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import MappingProxyType
from typing import Any

import pytest
import redis

from redstep_check.engines import Engine, EngineUnavailable, open_engine, open_listening

FOREVER_S = 3_600
MOMENT_S = 0.05

Opened = Callable[[str], Engine]
"""Opens an engine by its name."""


@contextmanager
def opener() -> Iterator[Opened]:
    """Opens engines, and closes them in the end; one that is missing skips the test, with its reason."""
    with ExitStack() as stack:

        def opened(name: str) -> Engine:
            try:
                return stack.enter_context(open_engine(name))
            except EngineUnavailable as reason:
                pytest.skip(str(reason))

        yield opened


def blocked(admin: redis.Redis, number: int = 1) -> bool:
    """Do so many clients wait for their reply?"""
    return bool(admin.info("clients")["blocked_clients"] == number)


@contextmanager
def writes_paused(admin: redis.Redis) -> Iterator[None]:
    """While a server is paused it takes scripts, and neither runs nor answers them."""
    admin.client_pause(FOREVER_S * 1000, all=False)
    try:
        yield
    finally:
        admin.client_unpause()


@contextmanager
def impatient(pool: Any) -> Iterator[None]:
    """While the connections that a pool has made, and no others, wait but a moment for a reply.

    So only what is meant to hang has a short timeout: a client made with one would give a busy machine up as well.
    """
    connections = [(each, each.socket_timeout) for each in pool._available_connections]
    for connection, _ in connections:
        connection.socket_timeout = MOMENT_S
        connection.update_current_socket_timeout(MOMENT_S)
    try:
        yield
    finally:
        for connection, timeout in connections:
            connection.socket_timeout = timeout


@contextmanager
def listening(
    name: str, *settings: str, config: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[Engine, tuple[str, int]]]:
    """`open_listening`; an engine that is missing skips the test, with its reason, and one that doesn't start fails it."""
    with ExitStack() as stack:
        try:
            found = stack.enter_context(open_listening(name, *settings, config=config))
        except EngineUnavailable as reason:
            pytest.skip(str(reason))
        yield found
