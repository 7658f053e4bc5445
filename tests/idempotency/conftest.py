"""Stages for the tests of the idempotency store."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy

from .stage import STAGES, AsyncStage, Stage, SyncStage


@pytest.fixture(params=STAGES)
def stage(request: pytest.FixtureRequest, engine: Engine, proxy: FaultProxy) -> Iterator[Stage]:
    """Both stages, one after the other."""
    with closing(STAGES[request.param](engine, proxy)) as stage:
        yield stage


@pytest.fixture
def sync_stage(engine: Engine, proxy: FaultProxy) -> Iterator[SyncStage]:
    """The stage of what only threads do."""
    with closing(SyncStage(engine, proxy)) as stage:
        yield stage


@pytest.fixture
def async_stage(engine: Engine, proxy: FaultProxy) -> Iterator[AsyncStage]:
    """The stage of what only tasks do."""
    with closing(AsyncStage(engine, proxy)) as stage:
        yield stage
