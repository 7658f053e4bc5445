"""Judging: each key on its own, by the search and by the laws."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from redstep_check.binding import Answered, Broke, Unreadable
from redstep_check.linearizability import Illegal, Model, Undecided, Verdict, check
from redstep_check.lockstep import Mismatch, compare
from redstep_check.stress.binding import Finding, Part, Said, Stressed, Tongue
from redstep_check.stress.histories import Overlap, in_brief, operations_as_history, overlap, requests_as_history
from redstep_check.stress.logs import ANSWERED, UNKNOWN
from redstep_check.timelines import Timeline
from redstep_spec.delivery import Replied, Unknown
from redstep_spec.rules import RULES

STEPS_MAX = 100_000
"""Of the search, for one key."""
NAMELESS = "CK-5"
"""The rule where no order explains what was stored, and each reply might be right."""
AROUND = 12
"""How many operations before and after the one that a law is broken by are shown."""


@frozen(kw_only=True)
class Broken:
    """A rule that is broken, and the history that shows it."""

    rule: str
    problem: str
    timeline: Timeline
    excerpt: Timeline
    """As much of it as is to be looked at first."""


@define(kw_only=True)
class Tally:
    """What a run came to so far."""

    operations: int = 0
    answered: int = 0
    failed: int = 0
    unknown: int = 0
    requests: int = 0
    lost: int = 0
    """Those of unknown outcome: a kill hit them under way, for nothing else goes wrong here."""
    kills: int = 0
    parts: int = 0
    searched: int = 0
    """How many of them by the search."""
    steps: int = 0
    undecided: int = 0
    seconds: float = 0.0
    overlap: Overlap = field(factory=Overlap)
    facts: Counter[str] = field(factory=Counter)
    broken: Broken | None = None

    def note(self, guard: Stressed, parts: Mapping[str, Part]) -> None:
        """Count what happened."""
        self.overlap += overlap(parts)
        self.parts += len(parts)
        for part in parts.values():
            self.requests += len(part.requests)
            self.lost += sum(isinstance(each.outcome, Unknown) for each in part.requests)
            for each in part.operations:
                self.operations += 1
                self.answered += each.outcome == ANSWERED
                self.unknown += each.outcome == UNKNOWN
            for request in part.requests:
                self.facts.update(guard.facts(request))
        self.failed = self.operations - self.answered - self.unknown


def judge(guard: Stressed, parts: Mapping[str, Part], tongue: Tongue, tally: Tally, *, in_full: bool) -> None:
    """
    Hold what happened against the specification; the first rule that is broken ends it. Raises what the checker raises.

    The search comes first, because what it finds is told with what the specification would have answered instead.
    """
    laws = (*guard.laws, *guard.one_sided) if in_full else guard.one_sided
    for part in parts.values():
        try:
            part = evolve(part, stored=tongue.stored(part.key))
        except Unreadable as error:
            tally.broken = of_finding(Finding(rule="AC-8", problem=f"what is stored can't be read: {error}", part=part))
            return
        tally.broken = _by_search(guard, part, tally) if in_full and part.requests else None
        if tally.broken is None or tally.broken.rule == NAMELESS:
            finding = next((each for law in laws for each in law(part)), None)
            tally.broken = tally.broken if finding is None else of_finding(finding)
        if tally.broken is not None:
            return


def _by_search(guard: Stressed, part: Part, tally: Tally) -> Broken | None:
    verdict = searched(guard, part)
    tally.searched += 1
    tally.steps += getattr(verdict, "steps", 0)
    tally.undecided += isinstance(verdict, Undecided)
    return of_verdict(guard, part, verdict) if isinstance(verdict, Illegal) else None


def searched(guard: Stressed, part: Part, max_steps: int = STEPS_MAX) -> Verdict:
    """Decide whether the requests about a key are linearizable."""
    stepped = guard.sequential.stepped

    def step(state: Any, call: Any) -> tuple[Any, Any]:
        after, reply = stepped(state, call)
        agrees = part.stored is None or guard.agrees(state, after, part.stored)
        return (after, reply) if agrees else (state, None)  # which nobody was answered

    model: Model[Any, Any, Any] = Model(init=guard.sequential.initial, step=step, only_reads=guard.only_reads)
    return check(model, requests_as_history(part), max_steps=max_steps)


# ---------------------------------------------------------------------------------------------- what is broken


def of_verdict(guard: Stressed, part: Part, verdict: Illegal) -> Broken:
    """The rule that is broken where no order explains a reply: that of what the specification would have answered."""
    said: Said = verdict.stuck.reply
    before = verdict.prefix[-1].state if verdict.prefix else guard.sequential.initial
    _, instead = guard.sequential.stepped(before, verdict.stuck.call)
    verdict = evolve(verdict, instead=instead)
    rule, problem = NAMELESS, str(verdict)
    answer = Broke(str(said.values["error"])) if "error" in said.values else Answered(said.values)
    try:
        compare(Replied(instead), answer, (), guard.sequential.decided_of(instead))
    except Mismatch as mismatch:
        rule = mismatch.rule
    notes = (f"key {part.key}", f"{rule}  {RULES.get(rule, 'the history is not linearizable')}")
    timeline = Timeline(history=requests_as_history(part), verdict=verdict, title=f"{guard.name}, by request", notes=notes)
    return Broken(rule=rule, problem=problem, timeline=timeline, excerpt=evolve(timeline, history=in_brief(part)))


def of_finding(finding: Finding) -> Broken:
    """A law that is broken, with what callers were told around it."""
    part, every = finding.part, sorted(finding.part.operations, key=lambda each: each.began_at)
    notes = (
        f"key {part.key}",
        f"{finding.rule}  {RULES.get(finding.rule, '')}",
        *(f"{each.client} at {each.began_at}: {finding.problem}" for each in every if each.name in finding.about),
        *(() if finding.about else (finding.problem,)),
    )
    at = [number for number, each in enumerate(every) if each.name in finding.about] or [len(every)]
    near = every[max(0, at[0] - AROUND) : at[-1] + AROUND] if at[-1] - at[0] < 2 * AROUND else [every[each] for each in at]
    whole = Timeline(
        history=operations_as_history(every),
        title="What callers were told, held against laws and not searched for an order",
        notes=notes,
    )
    return Broken(
        rule=finding.rule, problem=finding.problem, timeline=whole, excerpt=evolve(whole, history=operations_as_history(near))
    )


# ---------------------------------------------------------------------------------------------- and what it is worth

HOLDS, BROKEN, VACUOUS, UNDECIDED = "holds", "broken", "vacuous", "undecided"


def verdict_of(guard: Stressed, variant: str, tally: Tally, *, kills: bool) -> tuple[str, tuple[str, ...]]:
    """The verdict, and what was missed if it is vacuous."""
    if tally.broken is not None:
        return BROKEN, ()
    missed = missed_by(guard, variant, tally, kills=kills)
    return (VACUOUS, missed) if missed else (UNDECIDED if tally.undecided else HOLDS, ())


def missed_by(guard: Stressed, variant: str, tally: Tally, *, kills: bool) -> tuple[str, ...]:
    """CK-7: what a run is about and has not reached."""
    missed = [fact for fact in guard.must[variant] if not tally.facts[fact]]
    if not tally.answered:
        missed.append("an answer")
    if not tally.overlap.same_key:
        missed.append("requests about one key that overlap")
    if kills and not tally.lost:
        missed.append("a kill that hits a request under way")
    return tuple(missed)
