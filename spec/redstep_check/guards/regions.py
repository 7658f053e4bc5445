"""Regions in lockstep: two regions with limits of their own, and one that both share."""

from typing import Any

from attrs import frozen

from redstep_check.binding import Target
from redstep_check.lockstep import ImpossibleStory, Session, Told, compare
from redstep_spec import regions as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Replied
from redstep_spec.properties.regions import PROPERTIES, Transition

REGIONS = ("east", "west")


@frozen
class Asked:
    """A call in a region, and the fates of the attempts to ask the global limit."""

    call: spec.Acquire
    fates: tuple[Fate, ...] = ()

    @property
    def now_ms(self) -> int:
        """The time of the region's store."""
        return self.call.own.now_ms


class RegionsSession(Session[Asked]):
    """The specification of regions beside a target; one name, and limits that stay the same."""

    def __init__(self, target: Target[spec.Acquire]) -> None:
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


def no_simpler(_moves: tuple[Any, ...]) -> Any:
    """Stories of regions are shrunk by leaving moves out."""
    return iter(())
