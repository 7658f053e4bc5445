"""What tests share."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from hypothesis import settings

from redstep_check.engines import DEFAULT, NAMES, SERVERS, Engine
from redstep_check.faults import FaultProxy
from support.servers import Opened, opener

signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background would ignore Ctrl-C, as would its children
settings.register_profile("redstep", deadline=None)  # the first call of a test may have to start a server
settings.load_profile("redstep")


@pytest.fixture
def engine_named() -> Iterator[Opened]:
    """Opens engines of a test's own."""
    with opener() as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_engines() -> Iterator[Opened]:
    """Engines that tests share: each is opened once, and comes with neither keys nor scripts."""
    with opener() as opened:
        engines: dict[str, Engine] = {}

        def emptied(name: str) -> Engine:
            engine = engines[name] if name in engines else engines.setdefault(name, opened(name))
            engine.forget()
            engine.flush_scripts()
            return engine

        yield emptied


@pytest.fixture
def default_engine(shared_engines: Opened) -> Engine:
    """The default engine, emptied."""
    return shared_engines(DEFAULT)


@pytest.fixture
def engine(default_engine: Engine) -> Engine:
    """The default engine, emptied; some modules and packages have another."""
    return default_engine


@pytest.fixture
def proxy(engine: Engine) -> Iterator[FaultProxy]:
    """A proxy before it."""
    assert engine.address is not None
    with FaultProxy(engine.address) as proxy:
        yield proxy


@pytest.fixture(params=NAMES)
def each_engine(request: pytest.FixtureRequest, shared_engines: Opened) -> Engine:
    """Each engine in turn, emptied."""
    return shared_engines(request.param)


@pytest.fixture(params=SERVERS)
def acl_engine(request: pytest.FixtureRequest, shared_engines: Opened) -> Engine:
    """Each engine in turn that knows users, emptied."""
    return shared_engines(request.param)


Login = dict[str, Any]
User = Callable[[frozenset[str]], AbstractContextManager[Login]]


@pytest.fixture
def user(acl_engine: Engine) -> User:
    """Makes a user who may run some commands on the keys of redstep, and nothing else; gives how one becomes it."""

    @contextmanager
    def may(commands: frozenset[str]) -> Iterator[Login]:
        with acl_engine.client() as admin:
            granted = [f"+{command}" for command in sorted(commands)]
            admin.execute_command("ACL", "SETUSER", "service", "reset", "on", ">secret", "~redstep:*", *granted)
            try:
                yield {"unix_socket_path": acl_engine.address, "username": "service", "password": "secret"}
            finally:
                admin.acl_deluser("service")

    return may
