"""Order: what is numbered must be numbered as time went."""

from collections.abc import Iterator, Sequence
from typing import Protocol, TypeVar

from attrs import frozen

from redstep_check.stress.binding import Request


class Timed(Protocol):
    """Something that began and, if anybody heard of it, ended."""

    @property
    def began_at(self) -> int:
        """Its first place in the order of events."""
        raise NotImplementedError

    @property
    def ended_at(self) -> int | None:
        """Its last; None if nobody knows that it was over by then."""
        raise NotImplementedError


@frozen
class Told:
    """A request that was told a number."""

    request: Request
    number: int

    @property
    def began_at(self) -> int:
        """When it was sent."""
        return self.request.asked_at

    @property
    def ended_at(self) -> int | None:
        """When its answer was heard."""
        return self.request.heard_at


T = TypeVar("T", bound=Timed)


def out_of_time(numbered: Sequence[T]) -> Iterator[tuple[T, T]]:
    """
    Of those in order of their numbers: each that began after a later one had ended, with that one.

    One pass from the end, for it is enough to know which of the later ones ended first.
    """
    first: T | None = None
    ended_at = 0
    for each in reversed(numbered):
        if first is not None and ended_at < each.began_at:
            yield each, first
        if each.ended_at is not None and (first is None or each.ended_at < ended_at):
            first, ended_at = each, each.ended_at
