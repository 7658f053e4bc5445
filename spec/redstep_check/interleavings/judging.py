"""Judging: what an operation may tell its caller, given what it asked and heard."""

from redstep_check.binding import Answer
from redstep_check.interleavings.binding import Course, Heard, Interrupted, requests, was_cancelled
from redstep_check.lockstep import Mismatch, compare
from redstep_spec.delivery import Failed, Outcome, Replied, Unknown


def heard(course: Course) -> Outcome[object]:
    """What is known in the end of a call that was attempted so often: CM-9, definite only if none was executed."""
    course = tuple(requests(course))
    last = course[-1]
    if last.heard in (Heard.REPLY, Heard.OVERTAKEN):
        return Replied(last.replies[-1])
    return Unknown() if any(each.heard is Heard.LOST for each in course) else Failed()


def compare_answer(course: Course, answer: Answer | Interrupted, decided: frozenset[str]) -> None:
    """Hold the answer of an operation of one call against its course. Raises Mismatch."""
    if isinstance(answer, Interrupted):
        if not was_cancelled(course):
            raise Mismatch("CM-10", "the answer", "no interruption", answer)
        return
    if was_cancelled(course):
        raise Mismatch("CM-10", "the answer", "the interruption goes on", answer)
    if not course:
        raise Mismatch("CM-9", "the answer", "a request before it", answer)
    compare(heard(course), answer, rules_of(course), decided)


def rules_of(course: Course) -> tuple[str, ...]:
    """The rules that an operation's faults put to the test, the most specific first."""
    heards = {each.heard for each in course}
    if Heard.LOST in heards:
        return ("CM-4", "CM-9")
    return ("CM-9",) if Heard.NOT_SENT in heards else ()
