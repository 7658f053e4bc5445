"""Each stretch runs at the time of the stop after it; a reading that is kept stays what it was."""

import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Asks, Ends, Heard, Waits
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.replaying import Nondeterministic, Reply

from .probes import Driven, SyncProbe

HOUR_S = 3_600


@pytest.fixture
def probe(engine: Engine) -> Iterator[Foreign]:
    """A target that runs what it is given."""
    target = SyncProbe(engine)
    yield target
    target.close()


def now_units() -> int:
    """The time, in milliseconds of the schedule."""
    return int(time.time()) // HOUR_S


def again(client: Any, prefix: str) -> Any:
    """The same bytes, if nobody knows of the first."""
    now = now_units()
    for _ in range(2):
        try:
            return client.set(prefix, now)
        except redis.ConnectionError:
            pass
    return None


def slept(client: Any, prefix: str) -> Any:
    """It reads the clock, and sleeps."""
    now = now_units()
    time.sleep(1)
    return client.set(prefix, now)


def cancelled(client: Any, prefix: str) -> Any:
    """It tidies up, with what it has read before."""
    now = now_units()
    try:
        client.get(prefix)
    finally:
        client.set(prefix, now)


def cancelled_asleep(client: Any, prefix: str) -> Any:
    """The same, and it sleeps."""
    now = now_units()
    try:
        time.sleep(1)
    finally:
        client.set(prefix, now)


@pytest.mark.parametrize(
    ("work", "heard"),
    [
        (again, Heard.LOST),
        (again, Heard.NOT_SENT),
        (slept, Heard.GOES_ON),
        (cancelled, Heard.CANCELLED),
        (cancelled_asleep, Heard.CANCELLED),
    ],
)
def test_a_reading_that_is_kept_is_sent_as_it_was_read(probe: Foreign, work: Any, heard: Heard) -> None:
    """Though the clock has gone on since, and no reply has told the time."""
    driven = Driven(probe, work).told(heard, 1_003).told(Heard.REPLY, 1_005)
    assert isinstance(driven.standing, Ends)
    assert probe.client.get(probe.prefix) == b"1003"


def test_a_reading_that_is_kept_no_longer_depends_on_the_time(probe: Foreign) -> None:
    """What is sent again is settled."""
    stops = [Driven(probe, again).standing, Driven(probe, again).told(Heard.LOST).standing]
    recipes = [each.stop.request.recipe for each in stops if isinstance(each, Waits) and isinstance(each.stop, Asks)]
    assert [each is None for each in recipes] == [False, True]


def test_of_a_lost_reply_it_is_kept_when_the_request_was_executed(probe: Foreign) -> None:
    """Not when its client gave up; and not what it said, as nobody heard that."""
    standing = Driven(probe, again).standing
    assert isinstance(standing, Waits)
    assert isinstance(standing.stop, Asks)
    raw = probe.execute(standing.stop.request, 1_003)
    kept = Reply.of(probe.unheard(standing.stop, raw, 1_009))
    assert (kept.data, kept.now_ms) == (b"", 1_003)
    assert kept.to == ((b"SET", probe.prefix.encode(), b"1003"),)


@pytest.mark.parametrize("heard", [Heard.LOST, Heard.NOT_SENT, Heard.CANCELLED])
def test_what_asks_something_else_is_refused_whatever_it_heard(probe: Foreign, heard: Heard) -> None:
    """Also where it heard no reply; and it is said what may be the cause."""
    counted = itertools.count()

    def work(client: Any, prefix: str) -> Any:
        client.get(f"{prefix}{next(counted)}")

    driven = Driven(probe, work).told(heard)
    with pytest.raises(Nondeterministic, match=r"it asks GET .*1 where it asked GET .*0 before.* chance, that is not given"):
        _ = driven.standing


def test_what_asks_where_it_slept_is_refused(probe: Foreign) -> None:
    """By name."""
    counted = itertools.count()

    def work(client: Any, prefix: str) -> Any:
        return time.sleep(1) if next(counted) == 0 else client.get(prefix)

    driven = Driven(probe, work).told(Heard.GOES_ON)
    with pytest.raises(Nondeterministic, match=r"it asks GET .* where it asked a sleep before"):
        _ = driven.standing
