"""
Sending until there is an answer: the same bytes again, as long as it is unknown what became of them.

An attempt is ambiguous from its first byte written to the last byte of its reply. One that was refused says nothing of an
ambiguous one before it. Waits between attempts double, and each is drawn, so that many writers do not come back at once.
"""

from collections.abc import Callable
from typing import Protocol as Interface
from typing import TypeVar

from attrs import define

from redstep.errors import RedstepError, ServiceOverloaded, Unavailable, UnexpectedReply
from redstep.wishes import CallScript, DrawInteger, Protocol, ReadClock, Sleep

T = TypeVar("T")

RESEND_PAUSE_MS, RESEND_PAUSE_MAX_MS = 8, 512
"""Waits double, from the one to the other; each is drawn between half of itself and all of it."""


class Doubtful(Interface):
    """Something that may have been executed."""

    ambiguous: bool
    """Whether it may have been, as it is now."""


class GaveUp(Exception):
    """An append came to its end without success."""

    def __init__(self, cause: Exception, *, exhausted: bool) -> None:
        super().__init__(cause)
        self.cause = cause
        self.exhausted = exhausted
        """Whether a budget ran out, or the outcome is unknown: somebody must hear of it."""


@define
class Patience:
    """For how long one append may be sent again; time spent otherwise, on conflicts, is not counted."""

    left_ms: int
    pause_ms: int = RESEND_PAUSE_MS
    since_ms: int | None = None
    """When the request failed first that is waited for now."""

    def wait(self, now_ms: int) -> int | None:
        """How long to wait before the next attempt; None when there is no time left."""
        self.since_ms = now_ms if self.since_ms is None else self.since_ms
        left_ms = self.since_ms + self.left_ms - now_ms
        pause_ms, self.pause_ms = min(self.pause_ms, left_ms), min(2 * self.pause_ms, RESEND_PAUSE_MAX_MS)
        return pause_ms if left_ms > 0 else None

    def end(self, now_ms: int) -> None:
        """There is an answer."""
        if self.since_ms is not None:
            self.left_ms -= now_ms - self.since_ms
            self.since_ms = None


def answered(request: CallScript, patience: Patience, what: Doubtful | None = None) -> Protocol[tuple[bool, list[int | bytes]]]:
    """Have a request answered; say whether any attempt before the answer may have been executed. Raises GaveUp."""
    while True:
        in_doubt = what is not None and what.ambiguous
        if what is not None:
            what.ambiguous = True  # it is, as long as we wait: a cancellation may be thrown in here
        try:
            reply: list[int | bytes] = yield request
        except RedstepError as error:
            definite = not isinstance(error, UnexpectedReply) and getattr(error, "definite", True)
            if what is not None:
                what.ambiguous = in_doubt or not definite
            if definite and not in_doubt:
                raise GaveUp(error, exhausted=False) from error
            most_ms = patience.wait((yield ReadClock()))
            if most_ms is None or not isinstance(error, Unavailable | ServiceOverloaded):
                raise GaveUp(error, exhausted=True) from error
        else:
            if patience.since_ms is not None:
                patience.end((yield ReadClock()))
            return in_doubt, reply
        yield from pause(most_ms)


def pause(most_ms: int) -> Protocol[None]:
    """Wait for a time that is drawn, so that those who were stopped together do not come back together."""
    ms: int = yield DrawInteger((most_ms + 1) // 2, most_ms)
    yield Sleep(ms)


def understood(reader: Callable[[list[int | bytes]], T], reply: list[int | bytes]) -> T:
    """Read an answer. Raises GaveUp when it is none."""
    try:
        return reader(reply)
    except UnexpectedReply as error:  # what answers is not our script, and nobody knows what it did
        raise GaveUp(error, exhausted=True) from error
