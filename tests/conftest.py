"""What tests share."""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import settings

from redstep_check.engines import Engine, EngineUnavailable, open_engine

signal.signal(signal.SIGINT, signal.default_int_handler)  # a run in the background would ignore Ctrl-C, as would its children
settings.register_profile("redstep", deadline=None)  # the first call of a test may have to start a server
settings.load_profile("redstep")


@pytest.fixture
def engine_named() -> Iterator[Callable[[str], Engine]]:
    """Opens engines until the test ends; one that is missing skips the test, with its reason."""
    with ExitStack() as stack:

        def opened(name: str) -> Engine:
            try:
                return stack.enter_context(open_engine(name))
            except EngineUnavailable as reason:
                pytest.skip(str(reason))

        yield opened
