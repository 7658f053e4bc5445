"""Engines for the audit chain's tests."""

from collections.abc import Callable, Iterator

import pytest
import redis

from redstep.audit_chain import MODES, SERVER_ORDER, Chain
from redstep_check.engines import DEFAULT, Engine

ENGINES = (DEFAULT, "redis62", "fakeredis")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, shared_engines: Callable[[str], Engine]) -> Engine:
    """Some engines in turn, emptied."""
    return shared_engines(request.param)


@pytest.fixture
def server(default_engine: Engine) -> Engine:
    """A real one, for tests that need sockets."""
    return default_engine


@pytest.fixture
def client(engine: Engine) -> Iterator[redis.Redis]:
    """A client of the engine."""
    with engine.client() as client:
        yield client


@pytest.fixture
def server_client(server: Engine) -> Iterator[redis.Redis]:
    """A client of the real one."""
    with server.client() as client:
        yield client


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    """Each mode in turn."""
    return str(request.param)


@pytest.fixture
def chain(request: pytest.FixtureRequest, mode: str) -> Chain:
    """A chain, to be appended to in each mode; fakeredis cannot hash."""
    if mode == SERVER_ORDER and "engine" in request.fixturenames:
        needs_bit(request.getfixturevalue("engine"))
    return Chain(name="orders", mode=mode)


def needs_bit(engine: Engine) -> None:
    """Skip where the engine's Lua has no bit operations."""
    with engine.client() as client:
        if not client.eval("return bit and 1 or 0", 0):
            pytest.skip(f"the Lua of {engine.name} lacks `bit`, which the mode {SERVER_ORDER} needs")
