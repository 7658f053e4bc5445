"""
Tallies: how much of what a run of interleavings is about it met, in figures.

A move overlaps if two operations or more are under way when it is made. A fault counts when it hit: when that became of what a
client waited for. An unknown outcome is resolved when the operation ends, by what it had changed by then. A request that was
given up on its way may still arrive, and take effect late; its operation may have ended by then in whatever way.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from attrs import define, field

from redstep_check.interleavings.moves import HARMLESS, Arrives, Begins, Fate, Goes
from redstep_check.interleavings.seen import resolved
from redstep_check.interleavings.situations import Event, Situation

NEEDS: Mapping[Fate, str] = {Fate.TWICE: "idempotent", Fate.FLUSHED: "flush", Fate.OVERTAKEN: "finishes"}
"""The faults that can hit only a target with a feature."""


@define
class Tally:
    """What was met, counted by moves."""

    overlapping: int = 0
    """Moves that were made while two operations or more were under way."""
    hits: Counter[str] = field(factory=Counter)
    """How often each fate was met."""
    took_effect: int = 0
    """Unknown outcomes of operations that had changed something."""
    took_none: int = 0
    """Unknown outcomes of operations that had changed nothing."""
    took_effect_late: int = 0
    """Requests that were given up, arrived after all, and changed something."""

    def note(self, move: Begins | Goes | Arrives, event: Event, *, overlaps: bool) -> None:
        """Count a move, and what it came to."""
        self.overlapping += overlaps
        if isinstance(move, Goes):
            self.hits[move.fate.value] += 1
            if event.answer is not None and (effect := resolved(event)) is not None:
                self.took_effect += effect
                self.took_none += not effect
        elif isinstance(move, Arrives):
            self.took_effect_late += any(each.before != each.after for each in event.executed)

    @property
    def faults(self) -> dict[str, int]:
        """How often each fault hit."""
        harmful = (fate.value for fate in Fate if fate not in HARMLESS)
        return {name: self.hits[name] for name in harmful if self.hits[name]}

    def not_hit(self, features: Collection[str]) -> list[str]:
        """The faults that could have hit a target with these features, and did not."""
        possible = (fate for fate in Fate if fate not in HARMLESS and NEEDS.get(fate, "") in ("", *features))
        return [fate.value for fate in possible if not self.hits[fate.value]]

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        unknown = {"took_effect": self.took_effect, "took_none": self.took_none, "took_effect_late": self.took_effect_late}
        return {"overlapping": self.overlapping, "hits": dict(self.hits), "faults": self.faults, "unknown_outcomes": unknown}

    def missing(self, features: Collection[str], *, faults_allowed: bool = True) -> Iterator[str]:
        """What was not met at all, in sentences."""
        if not self.overlapping:
            yield "nothing overlapped: no two operations were under way at once"
        if not faults_allowed:
            yield "no fault was allowed"
            return
        if not_hit := self.not_hit(features):
            yield f"never hit: {', '.join(not_hit)}"
        if not self.took_effect + self.took_none:
            yield "no operation ended in an unknown outcome"
        elif not self.took_effect:
            yield "no operation of unknown outcome had taken effect"
        elif not self.took_none:
            yield "each operation of unknown outcome had taken effect"


def overlaps(situation: Situation) -> bool:
    """Whether two operations or more are under way."""
    return sum(each.stop is not None for each in situation.clients) > 1


def tell_unknown(outcomes: Mapping[str, int]) -> str:
    """How unknown outcomes were resolved, in a few words."""
    return f"{outcomes['took_effect']:,} did, {outcomes['took_none']:,} not, {outcomes['took_effect_late']:,} late"
