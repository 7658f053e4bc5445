"""Regions in lockstep: two regions with limits of their own, and one that both share."""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import asdict, evolve, frozen

from redstep_check.binding import Answered, Target
from redstep_check.guards import rate_limiter
from redstep_check.lockstep import ImpossibleStory, Session, Told, compare
from redstep_spec import regions as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Replied
from redstep_spec.properties.regions import PROPERTIES, Transition

NAME = "rate-limiter-regions"
REGIONS = ("east", "west")


@frozen
class Asked:
    """A call in a region, and the fates of the attempts to ask the global limit."""

    call: spec.RegionalAcquire
    fates: tuple[Fate, ...] = ()

    @property
    def now_ms(self) -> int:
        """The time of the region's store."""
        return self.call.own.now_ms


class RegionsSession(Session[Asked]):
    """The specification of regions beside a target; one name, and limits that stay the same."""

    def __init__(self, target: Target[spec.RegionalAcquire]) -> None:
        super().__init__(target)
        self.state = spec.State()
        self.admitted_ms: list[int] = []

    def _play(self, move: Asked) -> None:
        after, decision = spec.acquire(self.state, move.call, move.fates)
        if isinstance(decision, Misuse):
            raise ImpossibleStory("regions are asked nothing impossible")
        answer = self.ask(move.call, move.fates)
        self.story.append(Told(move, Replied(decision), answer))
        self.admitted_ms += [move.now_ms] * decision.allowed
        transition = Transition(
            before=self.state,
            call=move.call,
            fates=move.fates,
            decision=decision,
            after=after,
            admitted_ms=tuple(self.admitted_ms),
            limits_sum=move.call.overall.limits[0].limit + len(REGIONS) * move.call.own.limits[0].limit,
        )
        self.observe(PROPERTIES, transition, {*decision.because, "RL-11"})
        compare(Replied(decision), answer, (), frozenset())
        self.state = after


def simpler(moves: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Deliveries without faults, and lower limits; those stay the same for all calls of a story."""
    for place, move in enumerate(moves):
        if move.fates:
            yield (*moves[:place], evolve(move, fates=()), *moves[place + 1 :])
    for which in ("own", "overall"):
        limit = max(getattr(move.call, which).limits[0].limit for move in moves) - 1
        if limit:
            yield tuple(evolve(move, call=_limited(move.call, which, limit)) for move in moves)


def _limited(call: spec.RegionalAcquire, which: str, limit: int) -> spec.RegionalAcquire:
    asked = getattr(call, which)
    return evolve(call, **{which: evolve(asked, limits=(evolve(asked.limits[0], limit=limit),))})


def tell(move: Asked) -> str:
    """A move as a person would say it."""
    own, overall = (each.limits[0] for each in (move.call.own, move.call.overall))
    fates = f" [{', then '.join(fate.value for fate in move.fates)}]" if move.fates else ""
    limits = f"{own.limit} here and {overall.limit} for all per {own.window_ms} ms"
    return f"acquire in {move.call.region} under {limits}{fates}"


def tell_answer(answer: object) -> str:
    """What one side says to a move, in a few words."""
    match answer:
        case Replied(spec.Decision() as decision):
            return _tell_values(asdict(decision))
        case Answered(values):
            return _tell_values(values)
    return rate_limiter.tell_answer(answer)


def _tell_values(values: Mapping[str, Any]) -> str:
    marks = [mark for mark in ("from_global", "degraded") if values.get(mark)]
    return ", ".join([rate_limiter.tell_answer(Answered(values)), *marks])
