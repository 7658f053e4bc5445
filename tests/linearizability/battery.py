"""What a checker is put through, be it sound or not: many small histories, and a definition to hold it against."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

from attrs import evolve, frozen

from redstep_check.linearizability import (
    Completion,
    Event,
    Illegal,
    Invocation,
    Legal,
    Model,
    ModelError,
    Operation,
    Replied,
    Undecided,
    Vacuous,
    Verdict,
    flaw,
    operations,
)
from redstep_check.linearizability.witnesses import out_of_step, out_of_time

from .brute import is_first_stuck, is_legal, when
from .drawing import KINDS, Kind, history
from .known import KNOWN

Check = Callable[..., Verdict]
SEEDS = 250


def wrong(check: Check, kind: Kind, events: Sequence[Event], *, legal: bool) -> str:
    """Say what is wrong with the verdict on a history, by the definition; empty if nothing is."""
    verdict = check(kind.model, events)
    its = operations(events)
    match verdict:
        case Vacuous(count):
            return "" if count == len(its) and not any(each.is_answered for each in its) else "not vacuous at all"
        case Legal(witness):
            if not legal or not any(each.is_answered for each in its):
                return "legal, and no order exists, or anything to be explained"
            return flaw(kind.model, events, witness)
        case Illegal():
            return "illegal, and there is an order" if legal else wrong_prefix(kind, events, verdict)
        case Undecided():
            return "undecided, small as it is"


def wrong_prefix(kind: Kind, events: Sequence[Event], verdict: Illegal) -> str:
    """Say what is wrong with what an illegal history is told to be stuck at."""
    if not is_first_stuck(kind.model, events, verdict):
        return "stuck at another operation"
    order = [each.operation for each in verdict.prefix]
    if missing := [
        each
        for each in operations(events)
        if each.is_answered and when(each) < when(verdict.stuck) and each not in order and in_part(kind, each, verdict)
    ]:
        return f"{missing[0]} is not in the prefix"
    if verdict.stuck in order or any(each.invoked_at > when(verdict.stuck)[0] for each in order):
        return "the prefix holds what does not belong there"
    return out_of_time(order) or out_of_step(kind.model, verdict.prefix)


def in_part(kind: Kind, operation: Operation, verdict: Illegal) -> bool:
    """Whether an operation is on the part that a verdict is about."""
    return kind.model.partition is None or kind.model.partition(operation.call) == verdict.partition


def queue_at(values: tuple[str, ...], call: tuple[str, str]) -> tuple[tuple[str, ...], str | None]:
    """Take a step of one of many queues: put a value at its end, or take from its front."""
    _, value = call
    if value != "take":
        return (*values, value), None
    return (values[1:], values[0]) if values else (values, None)


QUEUES = Model(init=tuple[str, ...](), step=queue_at, partition=lambda call: call[0])
PUTS = 9


def hopeless(key: str, at: int, puts: int = PUTS) -> list[Event]:
    """Many enqueue at once, and what comes out was never put in: all orders must be tried to find that there is none."""
    clients = [f"{key}{number}" for number in range(puts)]
    events: list[Event] = [Invocation(at, each, (key, each)) for at, each in enumerate(clients, at)]
    events += [Completion(at, each, Replied(None)) for at, each in enumerate(clients, at + puts)]
    taken = at + 2 * puts
    return [*events, Invocation(taken, clients[0], (key, "take")), Completion(taken + 1, clients[0], Replied("x"))]


def lost(check: Check) -> str:
    """Say how a checker fails to give up; empty if it does give up, having taken exactly the steps that it was allowed."""
    for max_steps in (1, 700, 2_500):
        verdict = check(QUEUES, hopeless("a", 1), max_steps=max_steps)
        if verdict != Undecided(max_steps, ("a",)) or verdict:
            return f"not given up after {max_steps}: {verdict}"
    return ""


def hidden(check: Check) -> str:
    """Say how a checker lets hopeless parts hide another that is illegal for all to see; empty if it does not."""
    easy = [Invocation(101, "z", ("z", "take")), Completion(102, "z", Replied("x"))]
    verdict = check(QUEUES, [*hopeless("a", 1), *hopeless("b", 31), *easy], max_steps=20_000)
    if not isinstance(verdict, Illegal) or verdict.partition != "z":
        return f"hidden: {verdict}"
    return "" if verdict.steps < 10_000 else f"found late, after {verdict.steps} steps"


def believed(check: Check) -> str:
    """Say how a checker believes a model that says falsely what only reads; empty if it does not."""
    history = [Invocation(1, "a", ("a", "x")), Completion(2, "a", Replied(None))]
    try:
        return f"believed: {check(evolve(QUEUES, only_reads=lambda _call, _reply: True), history)}"
    except ModelError:
        return ""


@frozen
class Drawn:
    """A history, and what the definition says of it."""

    kind: Kind
    events: Sequence[Event]
    legal: bool


@cache
def drawn() -> Sequence[Drawn]:
    """Those that are known, and many of each kind."""
    every = [(kind, history(kind, Random(f"{kind.name} {seed}"))) for kind in KINDS for seed in range(SEEDS)]  # noqa: S311
    known = [Drawn(Kind(each.name, each.model, (), ()), each.history, each.legal) for each in KNOWN]
    return [*known, *(Drawn(kind, events, is_legal(kind.model, events)) for kind, events in every)]


def failure(check: Check) -> str:
    """The first of all of them on which a checker is wrong, and how; empty if it never is."""
    if said := lost(check) or hidden(check) or believed(check):
        return said
    for each in drawn():
        if said := wrong(check, each.kind, each.events, legal=each.legal):
            return f"{each.kind.name}: {said}: {each.events}"
    return ""


def census() -> Counter[str]:
    """How many of them are what they must be, so that a checker can be wrong on them."""
    found = Counter[str]()
    for each in drawn():
        its = operations(each.events)
        answered = any(one.is_answered for one in its)
        found[f"{each.kind.name} {'legal' if each.legal else 'illegal'}"] += answered
        found["vacuous"] += not answered
        found["unknown"] += any(one.is_open for one in its)
        found["failed"] += any(not one.is_open and not one.is_answered for one in its)
        found["ties"] += len({one.at for one in each.events}) < len(each.events)
        found["overlap"] += any(not a.precedes(b) and not b.precedes(a) for a in its for b in its if a is not b)
    return found
