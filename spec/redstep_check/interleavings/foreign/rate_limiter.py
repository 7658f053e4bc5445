"""
A foreign rate limiter: two units in any ten of the schedule's milliseconds, and what it does in how many round trips it likes.

Its caller learns whether a call may proceed, and no more. What is stored must be, of each unit, when it was charged; what has
stopped counting is nothing. An operation that is denied must have heard, in its last step, that there was no room: a denial, or
a look at what is left. One that is admitted must have charged once, whatever was lost on the way.
"""

from abc import abstractmethod
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

from attrs import evolve

from redstep_check.binding import Answer, Answered, Broke, Misused, Stored
from redstep_check.interleavings.binding import Course, Glance, Heard, Interrupted, Pauses, Refused, Who, was_cancelled
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.wire import Commands
from redstep_check.interleavings.sequential import rate_limiter
from redstep_check.interleavings.sequential.rate_limiter import LIMIT, NAME, Look, Operation, Take, call_of
from redstep_check.lockstep import Mismatch
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Failed, Unknown

__all__ = ["LIMIT", "NAME", "ForeignRateLimiter", "Glance", "Limits", "Look", "Take", "call_of"]


class Limits(rate_limiter.Sequential):
    """The specification, of which a foreign limiter must show the decisions, and what counts."""

    def stepped(self, state: spec.Logs, call: Any) -> tuple[spec.Logs, Any]:
        """One step; what no longer counts is dropped at any."""
        after, reply = super().stepped(state, call)
        log = spec.log_of(after, LIMIT.window_ms)
        counted = tuple(each for each in log.admissions if each.at_ms > call.now_ms - LIMIT.window_ms)
        return spec.with_log(after, evolve(log, admissions=counted)), reply

    def menu(self, features: Collection[str]) -> Sequence[Operation]:
        """Plain calls, and such that cost more."""
        return (Take(), Take(cost=2)) if "costs" in features else (Take(),)

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Operation]]:
        """The same."""
        return {"plain": (Take(),), **({"costs": (Take(), Take(cost=2))} if "costs" in features else {})}

    def ended(
        self, ledger: Any, who: Who, course: Course, answer: Answer | Interrupted, state: spec.Logs, now_ms: int
    ) -> Hashable:
        """It charged at most once, and tells what it heard."""
        del state, now_ms
        judge(course, answer, who.operation.cost)
        return ledger  # type: ignore[no-any-return]


def judge(course: Course, answer: Answer | Interrupted, cost: int) -> None:
    """Hold the answer of an operation against its course. Raises Mismatch."""
    steps = [each for each in course if not isinstance(each.call, Glance | Pauses)]
    charged = sum(getattr(reply, "allowed", False) for each in steps for reply in each.replies)
    heards = {each.heard for each in course}
    if charged > 1:
        raise Mismatch("CM-4", "how often it is charged", "at most once", charged)
    if isinstance(answer, Interrupted) != was_cancelled(course):
        raise Mismatch("CM-10", "the answer", "an interruption, if there was one", answer)
    match answer:
        case Broke(problem, rule):
            raise Mismatch(rule or "CM-9", "the answer", "a decision, or that nobody knows", problem)
        case Misused(argument):
            raise Mismatch("RL-16", "the answer", "a decision", f"misuse of {argument}")
        case Failed() if Heard.LOST in heards:
            raise Mismatch("CM-9", "the answer", "that nobody knows", answer)
        case Unknown() | Failed() if not heards & {Heard.LOST, Heard.NOT_SENT}:
            raise Mismatch("CM-9", "the answer", "a decision: all was heard", answer)
        case Answered(values):
            heard = next((each.replies[-1] for each in reversed(steps) if each.heard is Heard.REPLY), None)
            said, expected = values["allowed"], decided(heard, cost)
            if said is not expected:
                raise Mismatch("CM-9" if expected is None else "RL-2", "allowed", expected, said)


def decided(reply: Any, cost: int) -> bool | None:
    """What the last step that was heard comes to: a decision, a look at no room, or nothing."""
    match reply:
        case spec.Decision(allowed=allowed):
            return allowed
        case spec.Usage(remaining=remaining) if remaining < cost:
            return False
        case _:
            return None


class ForeignRateLimiter(Foreign):
    """What foreign limiters have in common; mix it in before `Coroutines` or `Calls`."""

    specification = Limits()

    @property
    def window_ms(self) -> int:
        """The window, in the implementation's milliseconds."""
        return LIMIT.window_ms * self.unit_ms

    @abstractmethod
    def charged_ms(self) -> Iterable[float]:
        """When each stored unit was charged, in the implementation's milliseconds."""

    def meant(self, commands: Commands, now_ms: int) -> Any:
        """Of a limiter of one script: each call of it is one decision about one unit."""
        del commands
        return call_of(Take(), now_ms)

    def told(self, call: Any, value: Any) -> Answer:
        """Of a script: 1 is yes. Of a look: how many units are stored."""
        if isinstance(value, Refused):
            return Broke(f"the engine answers {value.text}")
        if isinstance(call, spec.Peek):
            return Answered({"remaining": max(0, LIMIT.limit - value)})
        return Answered({"allowed": value == 1})

    def answer(self, result: Any) -> Answer:
        """Whether a call may proceed."""
        return Answered({"allowed": bool(result)})

    def seen(self) -> Stored:
        """What still counts."""
        instants_ms = [charged_ms / self.unit_ms for charged_ms in self.charged_ms()]
        tally = Counter((_whole(at_ms), None) for at_ms in instants_ms if at_ms > self.now_ms - LIMIT.window_ms)
        return Stored(tally, len(instants_ms), None, tuple(instants_ms))


def _whole(at_ms: float) -> float:
    """An instant of the schedule as a whole number, if it is one but for what a float loses."""
    return round(at_ms) if abs(at_ms - round(at_ms)) < 1e-6 else at_ms
