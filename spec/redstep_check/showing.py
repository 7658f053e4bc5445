"""Showing: a story of one call after the other as a timeline, so that it can be looked at like those of several clients."""

from itertools import count
from typing import Any

from redstep_check.linearizability import Completion, Event, Invocation, Outcome
from redstep_check.linearizability import Failed as HeardOfFailure
from redstep_check.linearizability import Replied as HeardReply
from redstep_check.linearizability import Unknown as HeardNothing
from redstep_check.lockstep import Mismatch
from redstep_check.registry.guard import Guard
from redstep_check.timelines import Differs, Mark, Sign, Timeline
from redstep_check.timelines.values import Kept, printable
from redstep_spec.delivery import Failed, Unknown
from redstep_spec.rules import RULES

STORE, CLIENT = "store", "client"


def timeline(guard: Guard, mismatch: Mismatch, *, title: str) -> Timeline:
    """
    Draw a story. Whoever makes calls has a lane, and the store has one, where its clock goes on and what others do to it shows.

    Each call is marked with what the specification says to it; the last one is where both sides differ.
    """
    events: list[Event] = []
    marks: list[Mark] = []
    places = count(1)
    now_ms = 0
    for told in mismatch.story:
        is_last = told is mismatch.story[-1]
        if (at_ms := getattr(told.move, "now_ms", 0)) != now_ms:
            now_ms = at_ms
            marks.append(Mark(next(places), STORE, Sign.CLOCK, f"it is {now_ms:,} ms"))
        said = f"the specification: {_told(guard, told.expected)}"
        if told.expected is None and told.answer is None:
            marks.append(Mark(next(places), STORE, Sign.NOTED, guard.tell(told.move), is_wrong=is_last))
            continue
        client = str(getattr(told.move, "writer", CLIENT))
        events.append(Invocation(next(places), client, guard.tell(told.move)))
        marks.append(Mark(next(places), client, Sign.CALLED, said, is_wrong=is_last))
        events.append(Completion(next(places), client, _outcome(guard, told.answer)))
    expected, actual = (_told(guard, each) for each in (mismatch.expected, mismatch.actual))
    sentence = RULES.get(mismatch.rule, "")
    verdict = Differs(rule=mismatch.rule, sentence=sentence, what=mismatch.what, expected=expected, actual=actual)
    return Timeline(history=events, verdict=verdict, title=title, marks=marks)


def _told(guard: Guard, answer: object) -> str:
    return printable(guard.tell_answer(answer) or repr(answer))


def _outcome(guard: Guard, answer: object) -> Outcome[Any]:
    match answer:
        case Failed():
            return HeardOfFailure()
        case Unknown():
            return HeardNothing()
    return HeardReply(Kept("answer", text=_told(guard, answer)))
