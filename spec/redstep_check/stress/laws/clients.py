"""What makes good operations of good requests, whatever the guard."""

from collections.abc import Callable, Iterator
from typing import Any

from redstep_check.stress.binding import Finding, Law, Operation, Part, Request
from redstep_check.stress.logs import ANSWERED, BROKE, FAILED
from redstep_spec.delivery import Replied, Unknown


def found(rule: str, problem: str, part: Part, *about: Operation) -> Finding:
    """A finding about some operations."""
    return Finding(rule=rule, problem=problem, part=part, about=frozenset(each.name for each in about))


def sent_once(is_idempotent: Callable[[Any], bool]) -> Law:
    """CM-4: what carries no identity is not sent again when it may have been executed."""

    def law(part: Part) -> Iterator[Finding]:
        for each in part.operations:
            for before, request in _pairs(each):
                if type(before.call) is type(request.call) and not is_idempotent(request.call):
                    problem = "it was sent again, though it may have been executed and carries no identity"
                    yield found("CM-4", problem, part, each)

    return law


def _pairs(operation: Operation) -> Iterator[tuple[Request, Request]]:
    """Each request of unknown outcome with those after it."""
    for number, before in enumerate(operation.requests):
        if isinstance(before.outcome, Unknown):
            for request in operation.requests[number + 1 :]:
                yield before, request


def definite_errors(part: Part) -> Iterator[Finding]:
    """CM-9: an error is definite only if nothing can have been executed since the last answer; and it is one of the guard's."""
    for each in part.operations:
        if each.outcome == BROKE:
            yield found("CM-9", f"it raised what no rule allows: {each.values.get('problem')}", part, each)
        since = list(each.requests)
        while any(isinstance(request.outcome, Replied) for request in since):
            since.pop(0)
        if each.outcome == FAILED and any(isinstance(request.outcome, Unknown) for request in since):
            yield found("CM-9", "it was told to have failed for certain, and may have been executed", part, each)


def told_as_answered(part: Part) -> Iterator[Finding]:
    """CM-1: an operation of one call tells what its last request was answered."""
    for each in part.operations:
        if each.outcome != ANSWERED:
            continue
        says = each.requests[-1].says if each.requests else {}
        if not says:
            yield found("CM-1", "it was answered, and its last request was not", part, each)
        wrong = [name for name, value in says.items() if name in each.values and each.values[name] != value]
        if wrong:
            was, is_told = says[wrong[0]], each.values[wrong[0]]
            yield found("CM-1", f"{wrong[0]} is told as {is_told!r}, and the script answered {was!r}", part, each)
