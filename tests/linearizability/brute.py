"""Linearizability by its definition, trying everything: slow, and hard to get wrong."""

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any

from redstep_check.linearizability import AnyModel, Event, Failed, Illegal, Model, Operation, Replied, operations

States = Mapping[Hashable, Collection[Any]]


def is_legal(model: AnyModel, history: Iterable[Event]) -> bool:
    """Whether some order of the answered and of any of the open operations keeps real time and the model's replies."""
    happened = [each for each in operations(history) if not isinstance(each.outcome, Failed)]
    return explained(model, {}, happened, [each for each in happened if each.is_answered])


def explained(model: AnyModel, states: States, rest: list[Operation], required: list[Operation]) -> bool:
    """Whether the required ones of the rest can be placed, and any others among them."""
    if not required:
        return True
    for each in rest:
        if not any(other.precedes(each) for other in required if other is not each) and (after := stepped(model, states, each)):
            left = [other for other in required if other is not each]
            if explained(model, after, [other for other in rest if other is not each], left):
                return True
    return False


def stepped(model: AnyModel, states: States, operation: Operation) -> States:
    """The states that each part may be in after an operation; empty if it cannot have had its outcome."""
    key = model.partition(operation.call) if model.partition else None
    outcome = operation.outcome
    if isinstance(model, Model):
        [before] = states.get(key, [model.init])
        after, reply = model.step(before, operation.call)
        return {} if isinstance(outcome, Replied) and reply != outcome.reply else {**states, key: [after]}
    ways = {after for before in states.get(key, model.inits) for after in model.steps(before, operation.call, outcome)}
    return {**states, key: ways} if ways else {}


def is_first_stuck(model: AnyModel, history: Iterable[Event], verdict: Illegal) -> bool:
    """Whether all that was completed before the stuck operation can be explained, and not this one, too."""
    part = [
        each
        for each in operations(history)
        if not isinstance(each.outcome, Failed)
        and (model.partition is None or model.partition(each.call) == verdict.partition)
        and each.invoked_at <= when(verdict.stuck)[0]
    ]
    earlier = [each for each in part if each.is_answered and when(each) < when(verdict.stuck)]
    [stuck] = [each for each in part if each == verdict.stuck]
    return explained(model, {}, part, earlier) and not explained(model, {}, part, [*earlier, stuck])


def when(operation: Operation) -> tuple[int, int]:
    """When it was completed; of those at one place, the one that was invoked first is the first."""
    assert operation.completed_at is not None
    return operation.completed_at, operation.number
