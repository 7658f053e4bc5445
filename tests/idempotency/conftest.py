"""Engines, proxies and stages for the tests of the idempotency store."""

from collections.abc import Iterator
from typing import TypeVar

import pytest

from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy

from .stage import STAGES, AsyncStage, Stage, SyncStage

AnyStage = TypeVar("AnyStage", bound=Stage)


@pytest.fixture
def engine(default_engine: Engine) -> Engine:
    """The default engine, emptied."""
    return default_engine


@pytest.fixture
def proxy(engine: Engine) -> Iterator[FaultProxy]:
    """A proxy before it."""
    assert engine.address is not None
    with FaultProxy(engine.address) as proxy:
        yield proxy


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """Both stages, one after the other."""
    yield from _played(STAGES[request.param](engine, proxy))


@pytest.fixture
def sync_stage(engine: Engine, proxy: FaultProxy) -> Iterator[SyncStage]:
    """The stage of what only threads do."""
    yield from _played(SyncStage(engine, proxy))


@pytest.fixture
def async_stage(engine: Engine, proxy: FaultProxy) -> Iterator[AsyncStage]:
    """The stage of what only tasks do."""
    yield from _played(AsyncStage(engine, proxy))


def _played(stage: AnyStage) -> Iterator[AnyStage]:
    yield stage
    stage.close()
