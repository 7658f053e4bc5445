"""
One piece of work, once: told from the effects, which are written down, and from what callers and owners were answered.

No record dies while its key is in use, so that all of this holds from the first claim to the last.
"""

from collections.abc import Iterator

from redstep_check.stress.binding import Finding, Part, Request
from redstep_check.stress.laws.clients import found
from redstep_check.stress.laws.order import Told, out_of_time
from redstep_check.stress.logs import ANSWERED
from redstep_spec import idempotency as spec


class _Owner(Told):
    """A claim that was told to do the work, and its fence."""

    @property
    def token(self) -> str:
        """Who claims."""
        return str(self.request.call.token)


def fences(part: Part) -> Iterator[Finding]:
    """ID-5: every owner has a fence of his own, greater than those of all before him."""
    owners = _owners(part)
    by_fence: dict[int, str] = {}
    for each in owners:
        if by_fence.setdefault(each.number, each.token) != each.token:
            problem = f"two owners have the fence {each.number}: {by_fence[each.number]} and {each.token}"
            yield found("ID-5", problem, part)
    last = {each.token: each.number for each in owners}
    for each in owners:
        if last[each.token] != each.number:
            yield found("ID-5", f"one token has two fences, {each.number} and {last[each.token]}", part)
    for early, late in out_of_time(sorted(owners, key=lambda each: (each.number, each.began_at))):
        if early.token != late.token:
            yield found("ID-5", f"the fence {early.number} was given when {late.number} had been given already", part)


def completed_once(part: Part) -> Iterator[Finding]:
    """ID-6, ID-1: one completion is recorded, and after it nobody is told to do the work."""
    completions = [each for each in part.requests if _is(each, spec.Complete, "done")]
    first = min(completions, key=lambda each: each.heard_at or 0, default=None)
    if first is None:
        return
    others = sorted({each.call.token for each in completions} - {first.call.token})
    if others:
        yield found("ID-6", f"it was completed by {first.call.token}, and by {', '.join(others)}", part)
    for each in _owners(part):
        if first.heard_at is not None and first.heard_at < each.began_at:
            problem = f"{each.token} was told to do what {first.call.token} had completed"
            yield found("ID-1", problem, part, *(one for one in part.operations if one.name == each.request.operation))


def effects(part: Part) -> Iterator[Finding]:
    """ID-3: only owners work, each under his fence and once."""
    fence_of = {each.token: each.number for each in _owners(part)}
    for operation in part.operations:
        if len(operation.works) > 1:
            yield found("ID-3", f"one call worked {len(operation.works)} times", part, operation)
        for _, values in operation.works:
            token, fence = values["token"], values["fence"]
            if fence_of.get(token) != fence:
                yield found(
                    "ID-3", f"{token} worked under the fence {fence}, and was given {fence_of.get(token)}", part, operation
                )


def replays(part: Part) -> Iterator[Finding]:
    """ID-10: every replay is the response that was completed, byte for byte, and somebody's."""
    made = {values["response"]: at for operation in part.operations for at, values in operation.works}
    completing: dict[bytes, int] = {}
    for request in part.requests:
        if isinstance(request.call, spec.Complete):
            completing.setdefault(request.call.response, request.asked_at)
    known: bytes | None = next((each.call.response for each in part.requests if _is(each, spec.Complete, "done")), None)
    for operation in part.operations:
        if operation.outcome != ANSWERED or operation.values.get("outcome") != "replayed":
            continue
        response = str(operation.values["response"]).encode("latin-1")
        known = response if known is None else known
        if response != known:
            yield found("ID-10", f"it was replayed {response!r}, and what was completed is {known!r}", part, operation)
        elif operation.values["response"] not in made or response not in completing:
            yield found("ID-10", f"it was replayed {response!r}, which nobody completed", part, operation)
        elif operation.ended_at is not None and operation.ended_at < completing[response]:
            yield found("ID-10", f"it was replayed {response!r} before that was completed", part, operation)


def answers(part: Part) -> Iterator[Finding]:
    """ID-3, ID-6: who is told that his response was recorded completed it himself, and did the work."""
    done = {each.call.response: each for each in part.requests if _is(each, spec.Complete, "done")}
    for operation in part.operations:
        if operation.outcome != ANSWERED or operation.values.get("outcome") != "done":
            continue
        response = str(operation.values["response"]).encode("latin-1")
        if not operation.works and not operation.values.get("degraded"):
            yield found("ID-3", "it is told as done, and nobody worked", part, operation)
        if operation.values["recorded"] and response not in done:
            yield found("ID-6", "it is told as recorded, and no completion was acknowledged", part, operation)


def _owners(part: Part) -> list[_Owner]:
    acquired = [each for each in part.requests if _is(each, spec.Claim, "acquired")]
    return [_Owner(each, int(each.says["fence"])) for each in acquired]


def _is(request: Request, kind: type, verdict: str) -> bool:
    return isinstance(request.call, kind) and request.says.get("verdict") == verdict


LAWS = (fences, completed_once, effects, replays, answers)
