"""Limiters of packages, as they are: what the scheduler finds, and what holds once that is taken into account."""

import pytest

from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.lockstep import Mismatch

pytest.importorskip("limits")
pytest.importorskip("pyrate_limiter")

from . import packages

SMALL = Bounds(clients=2, operations=2, faults=1, ticks=1)


def shown(target: Foreign) -> Mismatch:
    """The shortest story of the difference in a small world."""
    found = target.world("plain", SMALL).explore()
    assert found.mismatch is not None
    shrunk = target.subject.shrunk(target, found.mismatch)
    target.close()
    assert shrunk is not None
    return shrunk


@pytest.mark.parametrize("kind", [packages.MovingWindow, packages.AsyncMovingWindow, packages.Bucket])
def test_they_hold_but_for_the_edge_of_the_window(engine: Engine, kind: type[Foreign]) -> None:
    """With a window that is shorter by the one instant that they count and the specification does not."""
    target = kind(engine)
    found = target.world("plain", SMALL).explore()
    target.close()
    assert found.mismatch is None, found.mismatch
    assert found.exhausted


@pytest.mark.parametrize("kind", [packages.MovingWindowAsItIs, packages.UnforgottenBucket])
def test_an_admission_as_old_as_the_window_counts_for_them(engine: Engine, kind: type[Foreign]) -> None:
    """For the specification it does not: a difference of definition, seen at that instant alone."""
    shrunk = shown(kind(engine))
    assert shrunk.rule in {"RL-1", "RL-2"}
    assert shrunk.what == "allowed"
    assert (shrunk.expected, shrunk.actual) == (True, False)
    assert shrunk.story[-1].move.now_ms == 1_010


def test_a_bucket_does_not_load_a_forgotten_script_again(engine: Engine) -> None:
    """It is loaded when the bucket is made, and never after; every call fails then."""
    bucket = packages.Bucket(engine)
    bucket.can_flush = True
    shrunk = shown(bucket)
    assert shrunk.rule == "CM-6"


def test_a_client_that_retries_makes_a_moving_window_charge_twice(engine: Engine) -> None:
    """The retry is redis-py's; the list takes whatever is pushed."""
    shrunk = shown(packages.RetriedMovingWindow(engine))
    assert shrunk.rule == "CM-4"
