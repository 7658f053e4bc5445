"""
A small world of the rate limiter: two units in any window of three milliseconds, one name, a clock that only goes forward.

A log knows no beginning of time. So a state stands here for all that differ from it only by when they are: it is always looked
at at the same instant, and `Tick` moves its admissions into the past instead.
"""

from collections.abc import Iterator

from attrs import evolve, frozen

from redstep_spec import rate_limiter as spec

LIMIT = spec.Limit(limit=2, window_ms=3)
NOW_MS = 100
INITIAL = spec.INITIAL


@frozen
class Tick:
    """A millisecond passes."""


@frozen
class Passed:
    """It has passed, and so many units count no more."""

    ended: int


Call = spec.Call | Tick
Reply = spec.Reply | Passed


def step(logs: spec.Logs, call: Call) -> tuple[spec.Logs, Reply]:
    """One step of the specification, or of the clock; what counts no more is forgotten with the step that it ends by."""
    if not isinstance(call, Tick):
        return spec.step(logs, call)
    log = spec.log_of(logs, LIMIT.window_ms)
    moved = tuple(evolve(each, at_ms=each.at_ms - 1) for each in log.admissions)
    kept = evolve(log, admissions=tuple(each for each in moved if each.at_ms > NOW_MS - LIMIT.window_ms))
    return spec.with_log(logs, kept), Passed(used(logs) - used(spec.with_log((), kept)))


def calls(_logs: spec.Logs) -> Iterator[Call]:
    """All that may be called, in whatever state."""
    yield Tick()
    for cost in (1, 2):
        yield spec.Acquire(name="a", limits=(LIMIT,), now_ms=NOW_MS, cost=cost)
    yield spec.Peek(name="a", limits=(LIMIT,), now_ms=NOW_MS)
    yield spec.Reset(name="a", limits=(LIMIT,), now_ms=NOW_MS)


def used(logs: spec.Logs) -> int:
    """How many units count."""
    return sum(each.cost for each in spec.log_of(logs, LIMIT.window_ms).admissions)


def kind(logs: spec.Logs) -> str:
    """The name of a state."""
    return {0: "Empty", LIMIT.limit: "Full"}.get(used(logs), "Counting")


def label(call: Call, reply: Reply) -> str:
    """The name of a step; empty for what reads, and for time that changes nothing."""
    match call, reply:
        case spec.Acquire(), spec.Decision(allowed=allowed):
            return "admitted" if allowed else "denied"
        case spec.Reset(), _:
            return "reset"
        case Tick(), Passed(ended=ended) if ended:
            return "a window ends"
    return ""
