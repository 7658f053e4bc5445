"""
The idempotency store among concurrent callers: one key, leases of ten milliseconds, and work that is done once.

An operation is a whole run: claim, work, complete or release. Its end must be what its course comes to. Beside the steps of the
store three laws are held against it: work is run only by who was told so; who was told to wait does not hold the claim himself;
and a caller that was cancelled before its work began leaves nobody waiting for it.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, in_, instance_of, min_len

from redstep_check.binding import Answer, Answered
from redstep_check.guards.idempotency import DECIDED
from redstep_check.interleavings.binding import (
    Attempt,
    Course,
    Heard,
    Interrupted,
    Pauses,
    Who,
    requests,
    was_cancelled,
)
from redstep_check.interleavings.binding import Sequential as Base
from redstep_check.interleavings.judging import heard, rules_of
from redstep_check.lockstep import Mismatch
from redstep_spec import idempotency as spec
from redstep_spec.delivery import Failed, Replied, Unknown

SCOPE = spec.Scope("tenant", "operation", "key")
LEASE_MS, RETENTION_MS = 10, 20
WAIT_MS = 20
"""How long a patient caller waits for another."""
RETURNS, RAISES, NO_EFFECT = "returns", "raises", "has no effect"


@frozen
class Run:
    """Have the work done."""

    payload: str = field(default="f", validator=and_(instance_of(str), min_len(1)))
    work: str = field(default=RETURNS, validator=in_((RETURNS, RAISES, NO_EFFECT)))
    """What it comes to."""
    waits: bool = field(default=False, validator=instance_of(bool))
    renews: bool = field(default=False, validator=instance_of(bool))
    """Whether the lease is renewed before the work."""


class Sequential(Base):
    """One key of an idempotency store."""

    name = "idempotency"
    initial = spec.INITIAL
    decided = DECIDED

    def step(self, state: spec.State, call: spec.Call) -> tuple[spec.State, spec.Reply]:
        """One step of the specification."""
        return spec.step(state, call)

    def is_idempotent(self, call: spec.Call) -> bool:
        """All of them carry the caller's token."""
        return spec.is_idempotent(call)

    def abstracted(self, state: spec.State) -> spec.State:
        """All of it is stored."""
        return state

    def blame(self, before: spec.State, call: spec.Call, reply: Any) -> str:
        """The most specific rule of the decision."""
        del before, call
        return str(reply.because[0])

    def instants_ms(self, state: spec.State) -> set[int]:
        """The end of the lease, and the death of the record."""
        ends = (getattr(state, name, None) for name in ("lease_until_ms", "dies_at_ms"))
        return {each for each in ends if each is not None}

    def menu(self, features: Collection[str]) -> Sequence[Run]:
        """Work that returns, fails, has no effect; patient callers, other payloads, renewals."""
        del features
        return (
            Run(),
            Run(work=NO_EFFECT),
            Run(waits=True),
            Run(renews=True),
            Run(work=RAISES),
            Run(payload="g"),
        )

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Run]]:
        """Duplicates of one call; and of calls that fail, wait, renew, or are about something else."""
        del features
        return {
            "duplicates": (Run(),),
            "no effect": (Run(work=NO_EFFECT), Run()),
            "raises": (Run(work=RAISES), Run()),
            "renew": (Run(renews=True), Run()),
            "wait": (Run(waits=True), Run()),
            "payloads": (Run(), Run(payload="g")),
        }

    def worked(self, ledger: Any, who: Who, course: Course, state: spec.State, now_ms: int) -> Hashable:
        """ID-3: only who was told to do the work does it, and once."""
        del state, now_ms
        claims = [each for each in requests(course) if isinstance(each.call, spec.Claim)]
        last = claims[-1] if claims else None
        if last is None or last.heard is not Heard.REPLY or not isinstance(last.replies[-1], spec.Acquired):
            raise Mismatch("ID-3", "who works", "who acquired the key", who)
        if any(each.call == Pauses("work") for each in course):
            raise Mismatch("ID-3", "how often an operation works", "once", who)
        return ledger  # type: ignore[no-any-return]

    def ended(
        self, ledger: Any, who: Who, course: Course, answer: Answer | Interrupted, state: spec.State, now_ms: int
    ) -> Hashable:
        """It tells what its course comes to, and leaves nobody waiting in vain."""
        claims = [each for each in requests(course) if isinstance(each.call, spec.Claim)]
        tokens = {each.call.token for each in claims}
        current = spec.known(state, now_ms)
        holding = current if isinstance(current, spec.Claimed) and current.token in tokens else None
        if isinstance(answer, Interrupted):
            self._interrupted(course, holding)
            return ledger  # type: ignore[no-any-return]
        expected = outcome_of(who.operation, course)
        told = answer.values if isinstance(answer, Answered) else answer
        if isinstance(told, Mapping) and told.get("outcome") == "in progress" and holding is not None:
            raise Mismatch("ID-1", "the answer", "what its own claim acquired", answer)
        if was_cancelled(course) or told != expected:
            raise Mismatch(blame_of(course), "the answer", expected, answer)
        return ledger  # type: ignore[no-any-return]

    def _interrupted(self, course: Course, holding: spec.Claimed | None) -> None:
        if not was_cancelled(course):
            raise Mismatch("CM-10", "the answer", "no interruption", "interrupted")
        has_begun = any(each.call == Pauses("work") or isinstance(each.call, spec.Renew) for each in course)
        releases = [each for each in requests(course) if isinstance(each.call, spec.Release)]
        in_vain = any(each.heard is not Heard.REPLY for each in releases)
        if holding is not None and not has_begun and not in_vain:
            raise Mismatch("CM-10", "what a cancelled caller leaves", "nothing that others wait for", holding)

    def tell(self, operation: Run) -> str:
        """An operation in a few words."""
        words = ["run"] + ([f"payload {operation.payload}"] if operation.payload != "f" else [])
        words += [f"work that {operation.work}"] if operation.work != RETURNS else []
        return " ".join((*words, *(["and wait"] if operation.waits else []), *(["and renew"] if operation.renews else [])))


def response_of(token: str) -> bytes:
    """What work comes to."""
    return f"by {token[:8]}".encode()


def outcome_of(operation: Run, course: Course) -> object:
    """What a caller must be told, given what was heard: the outcome and its particulars."""
    asked = requests(course)
    claims = [each for each in asked if isinstance(each.call, spec.Claim)]
    if not claims:
        return heard(course)
    outcome = heard(_of_the_last(course))
    if not isinstance(outcome, Replied):
        return outcome
    match outcome.reply:
        case spec.Replay(response=response):
            return {"outcome": "replayed", "response": response}
        case spec.InProgress():
            return {"outcome": "in progress"}
        case spec.Mismatch():
            return {"outcome": "mismatch"}
    if operation.renews and not isinstance(failed := heard(_of_one_kind(asked)), Replied):
        return failed
    if operation.work != RETURNS:
        return {"outcome": operation.work}
    completes = tuple(each for each in asked if isinstance(each.call, spec.Complete))
    settled = heard(completes) if completes else Failed()
    response = response_of(claims[-1].call.token)
    match settled:
        case Replied(spec.Done()):
            return {"outcome": "done", "response": response, "recorded": True}
        case Failed() | Unknown():
            return {"outcome": "done", "response": response, "recorded": False}
    return {"outcome": "lease lost", "response": response}


def _of_the_last(course: Course) -> Course:
    """The attempts of the last claim: a patient caller claims several times, with a pause between."""
    last: list[Any] = []
    for each in course:
        if isinstance(each.call, spec.Claim):
            last.append(each)
        elif each.call == Pauses("sleep"):
            last = []
    return tuple(last)


def _of_one_kind(asked: Sequence[Attempt]) -> Course:
    """The attempts of the call that came last."""
    return tuple(each for each in asked if type(each.call) is type(asked[-1].call))


def blame_of(course: Course) -> str:
    """The rule that is broken when a caller is told something else."""
    if was_cancelled(course):
        return "CM-10"
    completes = tuple(each for each in requests(course) if isinstance(each.call, spec.Complete))
    if completes and isinstance(heard(completes), Replied):
        return "ID-6"
    rules = rules_of(course)
    return rules[-1] if rules else "ID-1"
