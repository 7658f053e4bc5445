"""
Witnesses: an order need not be believed, it can be followed.

What is checked here is the definition itself, with nothing in common with the search: whoever doubts a verdict, or reads one
from a file, has it here.
"""

from collections.abc import Hashable, Iterable, Sequence

from redstep_check.linearizability.histories import Event, Operation, operations
from redstep_check.linearizability.models import AnyModel, Model
from redstep_check.linearizability.verdicts import Placed
from redstep_spec.delivery import Failed, Replied


def flaw(model: AnyModel, history: Iterable[Event], order: Sequence[Placed]) -> str:
    """
    Say what is wrong with an order as the witness of a history; empty if nothing is.

    Every answered operation is in it, none twice, and none that failed; what was completed before another was invoked
    comes before it; and the model takes every step, to the state that is told. Raises MalformedHistory.
    """
    every = {each.number: each for each in operations(history)}
    placed = [each.operation.number for each in order]
    if len(set(placed)) < len(placed):
        return "an operation is in it twice"
    for each in order:
        if every.get(each.operation.number) != each.operation:
            return f"operation {each.operation.number} is none of the history's"
        if isinstance(each.operation.outcome, Failed):
            return f"operation {each.operation.number} failed, and did not happen"
    if missing := [each.number for each in every.values() if each.is_answered and each.number not in placed]:
        return f"operation {missing[0]} was answered, and is not in it"
    return out_of_time([each.operation for each in order]) or out_of_step(model, order)


def out_of_time(order: Sequence[Operation]) -> str:
    """Say which operations stand the wrong way round."""
    for at, late in enumerate(order):
        for early in order[:at]:
            if late.precedes(early):
                return f"operation {late.number} was completed before operation {early.number} was invoked, and comes after it"
    return ""


def out_of_step(model: AnyModel, order: Sequence[Placed]) -> str:
    """Say which step the model does not take."""
    states: dict[Hashable, object] = {}
    for operation, state in order:
        key = model.partition(operation.call) if model.partition else None
        before = [states[key]] if key in states else [model.init] if isinstance(model, Model) else list(model.inits)
        if not any(_takes(model, each, operation, state) for each in before):
            return f"operation {operation.number} does not lead there, or not with this reply"
        states[key] = state
    return ""


def _takes(model: AnyModel, before: object, operation: Operation, after: object) -> bool:
    if not isinstance(model, Model):
        return after in model.steps(before, operation.call, operation.outcome)
    state, reply = model.step(before, operation.call)
    return bool(state == after and (not isinstance(operation.outcome, Replied) or reply == operation.outcome.reply))
