"""What benchmarks share: an engine, how much to do, and a table at the end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict

import reporting
from measuring import FULL, QUICK, Extent, Server, open_loopback
from redstep_check.engines import DEFAULT, SERVERS, EngineUnavailable
from reporting import Row

ROWS = pytest.StashKey[list[Row]]()
VERSION = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the options of `make bench`."""
    group = parser.getgroup("redstep benchmarks")
    group.addoption("--engine", choices=SERVERS, default=DEFAULT, help="where to measure (default: %(default)s)")
    group.addoption("--quick", action="store_true", help="few rounds, no peers: whether it works, not what it costs")
    group.addoption("--markdown", type=Path, metavar="FILE", help="write the table there, too")


def pytest_configure(config: pytest.Config) -> None:
    """Start with no findings."""
    config.stash[ROWS] = []
    config.stash[VERSION] = str(config.getoption("--engine"))


@pytest.fixture(scope="session")
def extent(request: pytest.FixtureRequest) -> Extent:
    """How much to do."""
    return QUICK if request.config.getoption("--quick") else FULL


@pytest.fixture(scope="session")
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a private engine listens on the loopback interface."""
    try:
        with open_loopback(request.config.getoption("--engine")) as (engine, where):
            request.config.stash[VERSION] = engine.version
            yield where
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def server(url: str) -> Iterator[Server]:
    """An empty engine whose work is measured."""
    server = Server(url)
    server.client.flushall()
    yield server
    server.close()


@pytest.fixture
def found(request: pytest.FixtureRequest, benchmark: Any) -> Callable[[Row], None]:
    """Take down a finding: for the table, and in pytest-benchmark's extra_info."""

    def take(row: Row) -> None:
        request.config.stash[ROWS].append(row)
        benchmark.extra_info.setdefault("rows", []).append({**asdict(row), "verdict": row.verdict})

    return take


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Show what was found."""
    if rows := config.stash[ROWS]:
        engine = config.stash[VERSION]
        reporting.print_table(rows, engine)
        if path := config.getoption("--markdown"):
            reporting.write_markdown(rows, engine, path)
