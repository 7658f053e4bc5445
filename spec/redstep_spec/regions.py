"""
Regions: each decides by its own limit, and asks the one that all share only when it would have to deny.

    a region's own limit ──▶ admitted
             │ denied
             ▼
      the global limit ──▶ admitted, from_global
       │ denied     │ failed: not sent, reply lost, overloaded, corrupt
       ▼            ▼
     denied,      the region's own denial,
     the shorter  degraded
     wait

Two laws. What goes wrong with the global limit changes no answer but this: the call stays denied, and says that it is
degraded (RL-10). And in any window the admissions of all regions never exceed the sum of their limits and the global one,
with clocks of equal rate (RL-11): each admission is charged to just one limit, and each limit holds by itself.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from attrs import evolve, field, frozen

from redstep_spec import rate_limiter as rl
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Outcome, Replied, deliver


@frozen(kw_only=True)
class RegionalAcquire:
    """A call in a region; `overall` is the same call under the global limits, at the time of the deployment that all share."""

    region: str
    own: rl.Acquire
    overall: rl.Acquire


@frozen
class Place:
    """What was admitted under one name in one region."""

    region: str
    logs: rl.Logs = rl.INITIAL


@frozen
class State:
    """What was admitted under one name: in each region by its own limits, and by the global ones."""

    places: Annotated[tuple[Place, ...], "RL-10"] = ()
    overall: Annotated[rl.Logs, "RL-10"] = rl.INITIAL

    def of(self, region: str) -> rl.Logs:
        """What a region admitted by its own limits."""
        return next((place.logs for place in self.places if place.region == region), rl.INITIAL)

    def with_place(self, new: Place) -> "State":
        """The state with one region's logs replaced."""
        others = [place for place in self.places if place.region != new.region]
        return evolve(self, places=tuple(sorted([*others, new], key=lambda place: place.region)))


@frozen(kw_only=True)
class Decision:
    """The answer to an acquire in a region."""

    allowed: Annotated[bool, "RL-10"]
    from_global: Annotated[bool, "RL-10"] = False
    """Whether the global limit admitted what the region's own had denied."""
    degraded: Annotated[bool, "RL-10"] = False
    """Whether the global limit should have been asked, and could not be."""
    limit: Annotated[int, "RL-9"]
    remaining: Annotated[int, "RL-2"]
    retry_after_ms: Annotated[int, "RL-10"]
    """The shorter wait of the two, when both deny."""
    because: tuple[str, ...] = field(eq=False, default=("RL-10",))


def acquire(state: State, call: RegionalAcquire, fates: Sequence[Fate]) -> tuple[State, Decision | Misuse]:
    """RL-10: a region decides alone whenever it can; `fates` are those of the attempts to ask the global limit."""
    if wrong := rl.misuse(call.own):
        return state, wrong
    logs, own = rl.acquire(state.of(call.region), call.own)
    state = state.with_place(Place(call.region, logs))
    if own.allowed or rl.misuse(call.overall):
        return state, decision(own)
    overall, outcome = deliver(partial(_step, call.overall), state.overall, fates, resends=0)
    return evolve(state, overall=overall), combined(own, outcome)


def _step(call: rl.Acquire, logs: rl.Logs) -> tuple[rl.Logs, rl.Decision]:
    return rl.acquire(logs, call)


def combined(own: rl.Decision, outcome: Outcome[rl.Decision]) -> Decision:
    """What a denial of the region's own and the outcome of the global call come to."""
    if not isinstance(outcome, Replied):
        return evolve(decision(own), degraded=True)
    if outcome.reply.allowed:
        return evolve(decision(outcome.reply), from_global=True)
    return evolve(decision(own), retry_after_ms=min(own.retry_after_ms, outcome.reply.retry_after_ms))


def decision(reply: rl.Decision) -> Decision:
    """A decision of one limit as that of the region."""
    return Decision(allowed=reply.allowed, limit=reply.limit, remaining=reply.remaining, retry_after_ms=reply.retry_after_ms)
