"""Engines with a port, and stages, for the drivers' tests."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from redstep_check.engines import DEFAULT, Engine
from redstep_check.faults import FaultProxy
from support.servers import listening

from .stage import AsyncStage, Stage, SyncStage

STAGES = {"sync": SyncStage, "asyncio": AsyncStage}


@pytest.fixture(scope="package")
def tcp_engine() -> Iterator[Engine]:
    """An engine with a port too: redis-py's pools behave otherwise over TCP, for there they expect maintenance notices."""
    with listening(DEFAULT) as (engine, _):
        yield engine


@pytest.fixture
def tcp_address(tcp_engine: Engine) -> tuple[str, int]:
    """The host and port of the engine that has them, emptied."""
    tcp_engine.forget()
    with tcp_engine.client() as admin:
        return "127.0.0.1", int(str(admin.config_get("port")["port"]))


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """Both stages, one after the other."""
    with closing(STAGES[request.param](engine, proxy)) as stage:
        yield stage


@pytest.fixture
def sync_stage(engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """The stage of what only threads do."""
    with closing(SyncStage(engine, proxy)) as stage:
        yield stage


@pytest.fixture
def async_stage(engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """The stage of what only tasks do."""
    with closing(AsyncStage(engine, proxy)) as stage:
        yield stage
