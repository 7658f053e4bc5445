"""What tests of interleavings share."""

from collections.abc import Iterator

import pytest

from redstep_check.engines import DEFAULT, Engine
from support.servers import opener


@pytest.fixture(scope="package")
def engine() -> Iterator[Engine]:
    """The default engine."""
    with opener() as opened:
        yield opened(DEFAULT)
