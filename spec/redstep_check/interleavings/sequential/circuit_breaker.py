"""
The shared circuit breaker among concurrent callers: one failure opens it, two successes close it, ten milliseconds in between.

An operation is a whole call: acquire, work, report. Its end must be what its work came to, or the refusal. Beside the steps of
the breaker two laws are held against it: work is run only by who was admitted; and a caller whose call was cancelled, wherever
that was, leaves no probe in flight, unless its report was lost.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from attrs.validators import in_

from redstep_check.binding import Answer, Answered
from redstep_check.guards.circuit_breaker import NARROW
from redstep_check.interleavings.binding import Course, Heard, Interrupted, Pauses, Who, requests, was_cancelled
from redstep_check.interleavings.binding import Sequential as Base
from redstep_check.interleavings.judging import heard, rules_of
from redstep_check.lockstep import Mismatch
from redstep_check.lockstep import rules_of as rules_of_fields
from redstep_spec import circuit_breaker as spec
from redstep_spec.delivery import Replied

NAME = "a"
POLICY = spec.Policy(failure_threshold=1, success_threshold=2, open_ms=10)
RETURNS, RAISES, NEUTRAL = "returned", "raised", "was excluded"
FORCE_OPEN, FORCE_CLOSE = "force_open", "force_close"


@frozen
class Call:
    """Make a call through the breaker."""

    work: str = field(default=RETURNS, validator=in_((RETURNS, RAISES, NEUTRAL)))
    """What it comes to."""


@frozen
class Intervene:
    """Open or close it by hand."""

    how: str = field(validator=in_((FORCE_OPEN, FORCE_CLOSE)))


@frozen
class Look:
    """Look at it."""


Operation = Call | Intervene | Look


class Sequential(Base):
    """One shared breaker."""

    name = "circuit-breaker"
    initial = spec.INITIAL

    def step(self, state: spec.State, call: spec.Call) -> tuple[spec.State, spec.Reply]:
        """One step of the specification."""
        return spec.step(state, call)

    def is_idempotent(self, call: spec.Call) -> bool:
        """Only a view is."""
        return spec.is_idempotent(call)

    def decided_of(self, reply: Any) -> frozenset[str]:
        """A rule of one branch alone is to blame for whatever differs."""
        return frozenset(rules_of_fields(reply)) if reply.because[0] in NARROW else frozenset({"admitted"})

    def abstracted(self, state: spec.State) -> spec.State:
        """All of it is stored."""
        return state

    def blame(self, before: spec.State, call: spec.Call, reply: Any) -> str:
        """The most specific rule of the decision."""
        del before, call
        return str(reply.because[0])

    def instants_ms(self, state: spec.State) -> set[int]:
        """The end of the timeout, and the deadline of probes."""
        match spec.essence(state):
            case spec.Open(open_until_ms=until_ms) | spec.HalfOpen(deadline_ms=until_ms):
                return {until_ms}
        return set()

    def menu(self, features: Collection[str]) -> Sequence[Operation]:
        """Calls that succeed, fail and tell nothing; interventions."""
        del features
        raises = Call(RAISES)
        return (Call(), raises, Call(NEUTRAL), raises, Call(), Look(), Intervene(FORCE_OPEN), Intervene(FORCE_CLOSE))

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Operation]]:
        """What fails and heals; fails again; is excluded; is opened and closed by hand."""
        del features
        return {
            "heals": (Call(RAISES), Call(), Call(), Call()),
            "fails": (Call(RAISES),),
            "excluded": (Call(RAISES), Call(NEUTRAL), Call()),
            "closed by hand": (Call(RAISES), Intervene(FORCE_CLOSE)),
            "opened by hand": (Intervene(FORCE_OPEN), Call(), Look()),
        }

    def worked(self, ledger: Any, who: Who, course: Course, state: spec.State, now_ms: int) -> Hashable:
        """CB-4, CB-5: only who was admitted makes the call."""
        del state, now_ms
        if permit_of(course) is None:
            raise Mismatch("CB-5", "who makes a call", "who was admitted", who)
        return ledger  # type: ignore[no-any-return]

    def ended(
        self, ledger: Any, who: Who, course: Course, answer: Answer | Interrupted, state: spec.State, now_ms: int
    ) -> Hashable:
        """It tells what its course comes to, and holds no permit any more."""
        del now_ms
        if isinstance(who.operation, Call):
            _left(course, state)
        if isinstance(answer, Interrupted):
            if not was_cancelled(course):
                raise Mismatch("CM-10", "the answer", "no interruption", answer)
            return ledger  # type: ignore[no-any-return]
        if was_cancelled(course):
            raise Mismatch("CM-10", "the answer", "the interruption goes on", answer)
        expected = outcome_of(who.operation, course)
        told = dict(answer.values) if isinstance(answer, Answered) else answer
        if told != expected:
            raise Mismatch((*rules_of(course)[-1:], "CB-12")[0], "the answer", expected, answer)
        return ledger  # type: ignore[no-any-return]

    def tell(self, operation: Operation) -> str:
        """An operation in a few words."""
        match operation:
            case Call(work):
                return f"make a call that {work}"
            case Intervene(how):
                return how
            case Look():
                return "look"


def permit_of(course: Course) -> spec.Permit | None:
    """The permit that an operation was given, as far as it heard."""
    for each in course:
        if isinstance(each.call, spec.Acquire) and each.heard in (Heard.REPLY, Heard.OVERTAKEN):
            reply = each.replies[-1]
            return reply.permit if isinstance(reply, spec.Admitted) else None
    return None


def _left(course: Course, state: spec.State) -> None:
    """CB-10: a permit is reported, whatever became of the call; or its report was lost."""
    permit = permit_of(course)
    if permit is None or not isinstance(state, spec.HalfOpen):
        return
    reports = [each for each in requests(course) if isinstance(each.call, spec.Report)]
    last = reports[-1] if reports else None
    in_vain = last is not None and last.heard in (Heard.LOST, Heard.NOT_SENT)
    if state.epoch == permit.epoch and permit.number in state.probes and not in_vain:
        raise Mismatch("CB-10", "what a call leaves in flight", "nothing", permit)


def outcome_of(operation: Operation, course: Course) -> object:
    """What a caller must be told, given what was heard."""
    asked = requests(course)
    if not isinstance(operation, Call):
        outcome = heard(course)
        return {"outcome": "done"} if isinstance(outcome, Replied) else outcome
    acquires = tuple(each for each in asked if isinstance(each.call, spec.Acquire))
    if not acquires:
        return heard(course)
    outcome = heard(acquires)
    match outcome:
        case Replied(spec.Refused(why=why, retry_after_ms=retry_after_ms)):
            return {"outcome": "refused", "why": why, "retry_after_ms": retry_after_ms}
        case Replied(_):
            has_worked = any(each.call == Pauses("work") for each in course)
            return {"outcome": operation.work} if has_worked else "work"
    return outcome
