"""What the stories of all guards have in common: names that are cut short, fates, and the ways in which a call ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from redstep_check.binding import Answered, Broke, Misused
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Failed, Fate, Replied, Unknown

LONGEST = 24
TellValues = Callable[[Mapping[str, Any]], str]


def shortened(value: object) -> str:
    """A value as it is written, unless it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:16]}... ({len(text)} characters)"


def tell_fates(fates: Sequence[Fate]) -> list[str]:
    """What became of the attempts, if not the usual."""
    return [f"[{', then '.join(fate.value for fate in fates)}]"] if fates else []


def tell_answer(answer: object, tell_values: TellValues) -> str:
    """What one side says to a move, in a few words; those for the fields of a reply are the guard's own."""
    match answer:
        case None:
            return ""
        case Replied(reply):
            return tell_answer(reply, tell_values)
        case Misuse(argument) | Misused(argument):
            return f"misuse of {argument}"
        case Failed():
            return "fails, definitely"
        case Unknown():
            return "fails, outcome unknown"
        case Broke(problem):
            return f"error: {problem}"
        case Answered(values):
            return tell_values(values)
    return tell_values(attrs.asdict(answer, recurse=False)) if attrs.has(type(answer)) else repr(answer)  # type: ignore[arg-type]
