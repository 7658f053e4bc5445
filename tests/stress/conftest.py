"""What tests of stress share."""

from collections.abc import Iterator

import pytest

from redstep_check.engines import Engine, EngineUnavailable, open_engine


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """The default engine."""
    try:
        with open_engine("valkey9") as opened:
            yield opened
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
