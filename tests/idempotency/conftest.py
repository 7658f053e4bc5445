"""Engines, proxies and stages for the tests of the idempotency store."""

from collections.abc import Iterator
from typing import TypeVar

import pytest

from redstep_check.engines import DEFAULT, Engine, EngineUnavailable, open_engine
from redstep_check.faults import FaultProxy

from .stage import STAGES, AsyncStage, Stage, SyncStage

AnyStage = TypeVar("AnyStage", bound=Stage)


@pytest.fixture(scope="package")
def shared_engine() -> Iterator[Engine]:
    """The default engine, for all of these tests."""
    try:
        with open_engine(DEFAULT) as engine:
            yield engine
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


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
