"""Plays for the circuit breaker's tests."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from redstep_check.engines import Engine

from .plays import PLAYS, AsyncSharedPlay, Play


@pytest.fixture(params=PLAYS)
def play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """All four, one after the other."""
    with closing(PLAYS[request.param](engine)) as play:
        yield play


@pytest.fixture(params=[name for name in PLAYS if "asyncio" not in name])
def sync_play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """Those of threads."""
    with closing(PLAYS[request.param](engine)) as play:
        yield play


@pytest.fixture(params=[name for name in PLAYS if "asyncio" in name])
def async_play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """Those of tasks."""
    with closing(PLAYS[request.param](engine)) as play:
        yield play


@pytest.fixture(params=[name for name in PLAYS if "shared" in name])
def shared_play(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Play]:
    """Those of a store."""
    with closing(PLAYS[request.param](engine)) as play:
        yield play


@pytest.fixture
def async_shared_play(engine: Engine) -> Iterator[AsyncSharedPlay]:
    """The one of tasks and a store."""
    with closing(AsyncSharedPlay(engine)) as play:
        yield play
