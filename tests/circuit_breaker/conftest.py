"""Engines and plays for the circuit breaker's tests."""

from collections.abc import Iterator

import pytest

from redstep_check.engines import Engine

from .plays import PLAYS, AsyncSharedPlay, Play


@pytest.fixture
def engine(default_engine: Engine) -> Engine:
    """The default engine, emptied."""
    return default_engine


@pytest.fixture(params=PLAYS)
def play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """All four, one after the other."""
    yield from _played(PLAYS[request.param](engine))


@pytest.fixture(params=[name for name in PLAYS if "asyncio" not in name])
def sync_play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """Those of threads."""
    yield from _played(PLAYS[request.param](engine))


@pytest.fixture(params=[name for name in PLAYS if "asyncio" in name])
def async_play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """Those of tasks."""
    yield from _played(PLAYS[request.param](engine))


@pytest.fixture(params=[name for name in PLAYS if "shared" in name])
def shared_play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """Those of a store."""
    yield from _played(PLAYS[request.param](engine))


@pytest.fixture
def async_shared_play(engine: Engine) -> Iterator[AsyncSharedPlay]:
    """The one of tasks and a store."""
    play = AsyncSharedPlay(engine)
    yield play
    play.close()


def _played(play: Play) -> Iterator[Play]:
    yield play
    play.close()
