"""
The rate limiter among concurrent clients: two units in any ten milliseconds, and never more, whoever asks in between.

An operation is one call. Beside the steps, an operation's end is judged: it must tell what its last request was answered, or
that it failed, or that nobody knows.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, instance_of, min_len, optional

from redstep_check.binding import Answer
from redstep_check.guards.rate_limiter import DECIDED
from redstep_check.interleavings.binding import Course, Interrupted, Who
from redstep_check.interleavings.binding import Sequential as Base
from redstep_check.interleavings.judging import compare_answer
from redstep_spec import rate_limiter as spec

NAME = "a"
LIMIT = spec.Limit(limit=2, window_ms=10)


@frozen
class Take:
    """Ask whether a call may proceed."""

    cost: int = field(default=1, validator=and_(instance_of(int), ge(1)))
    request_id: str | None = field(default=None, validator=optional(and_(instance_of(str), min_len(1))))


@frozen
class Look:
    """Ask how much is left."""


@frozen
class Forget:
    """Reset the key."""


Operation = Take | Look | Forget


def call_of(operation: Operation, now_ms: int) -> spec.Call:
    """The call that an operation makes."""
    match operation:
        case Take(cost, request_id):
            return spec.Acquire(name=NAME, limits=(LIMIT,), now_ms=now_ms, cost=cost, request_id=request_id)
        case Look():
            return spec.Peek(name=NAME, limits=(LIMIT,), now_ms=now_ms)
        case Forget():
            return spec.Reset(name=NAME, limits=(LIMIT,), now_ms=now_ms)


class Sequential(Base):
    """One key of a rate limiter."""

    name = "rate-limiter"
    initial = spec.INITIAL
    decided = DECIDED

    def step(self, state: spec.Logs, call: spec.Call) -> tuple[spec.Logs, spec.Reply]:
        """One step of the specification."""
        return spec.step(state, call)

    def is_idempotent(self, call: spec.Call) -> bool:
        """A call that carries an identity, or only reads."""
        return spec.is_idempotent(call)

    def abstracted(self, state: spec.Logs) -> Any:
        """The cost at each instant, by identity."""
        return spec.tally(spec.log_of(state, LIMIT.window_ms))

    def blame(self, before: spec.Logs, call: spec.Call, reply: Any) -> str:
        """A denial changes nothing, nor does a look; of an admission, the most specific rule."""
        del before
        if isinstance(call, spec.Peek):
            return "RL-14"
        return "RL-3" if getattr(reply, "allowed", True) is False else str(reply.because[0])

    def instants_ms(self, state: spec.Logs) -> set[int]:
        """When an admission stops counting."""
        return {each.at_ms + log.window_ms for log in state for each in log.admissions}

    def menu(self, features: Collection[str]) -> Sequence[Operation]:
        """Calls with and without an identity."""
        named = (Take(request_id="x"), Take(request_id="y"), Take(cost=2, request_id="x")) if "request_id" in features else ()
        return (Take(), Take(cost=2), *named, Look(), Forget())

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Operation]]:
        """Plain calls; looks and resets among them; calls of one identity, and of several."""
        plain = {"plain": (Take(),), "costs": (Take(), Take(cost=2)), "reset": (Take(), Forget(), Look())}
        if "request_id" not in features:
            return plain
        return {**plain, "one id": (Take(request_id="x"),), "ids": (Take(request_id="x"), Take(request_id="y"), Take())}

    def ended(
        self, ledger: Any, who: Who, course: Course, answer: Answer | Interrupted, state: spec.Logs, now_ms: int
    ) -> Hashable:
        """It tells what it heard last."""
        del who, state, now_ms
        compare_answer(course, answer, DECIDED)
        return ledger  # type: ignore[no-any-return]

    def tell(self, operation: Operation) -> str:
        """An operation in a few words."""
        match operation:
            case Take(cost, request_id):
                return f"take {cost}" + (f" as {request_id}" if request_id else "")
            case Look():
                return "look"
            case Forget():
                return "reset"
