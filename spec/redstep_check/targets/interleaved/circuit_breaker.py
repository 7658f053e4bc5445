"""The shipped shared breaker among concurrent callers."""

from functools import partial
from types import ModuleType
from typing import Any

import attrs

from redstep.clients import circuit_breaker
from redstep.wishes import CallScript, Protocol
from redstep_check.binding import Answer, Answered, Broke, Stored
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Raw, Refused
from redstep_check.interleavings.sequential.circuit_breaker import (
    NAME,
    NEUTRAL,
    POLICY,
    RAISES,
    RETURNS,
    Call,
    Intervene,
    Look,
    Operation,
)
from redstep_check.targets.interleaved.protocols import ProtocolsOf
from redstep_check.targets.stored_breakers import read_hash
from redstep_spec import circuit_breaker as spec


class WorkFailedError(Exception):
    """The work's own: a failure of what is called."""


class ExcludedError(Exception):
    """The work's own: it tells nothing of what is called."""


WORKS = {RAISES: WorkFailedError, NEUTRAL: ExcludedError}


class InterleavedCircuitBreaker(ProtocolsOf):
    """One shared breaker."""

    features = frozenset({"finishes", "work", "compensates"})

    def __init__(self, engine: Engine, module: ModuleType = circuit_breaker) -> None:
        super().__init__(engine, module)
        self.policy = self.module.Policy(**attrs.asdict(POLICY))

    def breaker(self) -> Any:
        """The breaker, as each client has it: it holds nothing of its own but what is to be announced."""
        return self.module.SharedBreaker(
            name=NAME, policy=self.policy, prefix=self.prefix, excluded=ExcludedError, listeners=lambda _transition: None
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The hash."""
        return (str(self.breaker().key),)

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """A whole call, an intervention, or a view."""
        del memory
        breaker = self.breaker()
        match operation:
            case Call(work):
                return self.module.protocols.call(breaker, partial(self.work, work))  # type: ignore[no-any-return]
            case Intervene(how):
                return self.module.protocols.intervene(breaker, self.module.Reason(how))  # type: ignore[no-any-return]
            case Look():
                return breaker.view()  # type: ignore[no-any-return]

    def work(self, work: str) -> str:
        """The caller's own."""
        if work in WORKS:
            raise WORKS[work](work)
        return work

    def answer(self, result: Any) -> Answer:
        """What a call came to, in a word."""
        return Answered({"outcome": RETURNS if result == RETURNS else "done"})

    def error(self, error: Exception) -> Answer | None:
        """The work's own errors come through as they are; a refusal says why."""
        if type(error).__name__ == "CircuitOpen":
            refusal: Any = error
            return Answered({"outcome": "refused", "why": refusal.why, "retry_after_ms": refusal.retry_after_ms})
        return next((Answered({"outcome": work}) for work, kind in WORKS.items() if isinstance(error, kind)), None)

    def understood(self, request: CallScript, now_ms: int) -> spec.Call:
        """Each script is one call."""
        common: dict[str, Any] = {"name": NAME, "policy": POLICY, "now_ms": now_ms}
        args: list[Any] = list(request.args)
        match request.script.name.removeprefix("circuit_breaker_"):
            case "acquire":
                return spec.Acquire(**common)
            case "report":
                _, _, _, open_ms, epoch, number, outcome = args
                permit = spec.Permit(int(epoch), int(number))
                return spec.Report(**common, permit=permit, outcome=spec.Outcome(str(outcome)), open_ms=int(open_ms))
            case "view":
                return spec.View(**common)
        _, open_ms, state = args
        is_open = str(state) == "open"
        return spec.ForceOpen(**common, open_ms=int(open_ms)) if is_open else spec.ForceClose(**common)

    def read(self, call: spec.Call, raw: Raw) -> Answer:
        """Name what a reply holds."""
        if isinstance(raw, Refused):
            return Broke(f"the script answers {raw}", "CM-8")
        words = [each.decode() if isinstance(each, bytes) else each for each in raw]
        match call, words:
            case spec.Acquire(), [1, state, epoch, number, _, left, now_ms]:
                told = {"admitted": True, "epoch": epoch, "number": number, "now_ms": now_ms}
                return Answered({**told, "transition": change(left, state, epoch)})
            case spec.Acquire(), [0, state, epoch, _, retry_after_ms, _, now_ms]:
                why = "open" if state == "open" else "full"
                told = {"admitted": False, "why": why, "retry_after_ms": retry_after_ms, "epoch": epoch, "now_ms": now_ms}
                return Answered(told)
            case spec.Report(), [counted, state, epoch, left, now_ms]:
                told = {"counted": bool(counted), "state": state, "epoch": epoch, "now_ms": now_ms}
                return Answered({**told, "transition": change(left, state, epoch)})
            case spec.View(), [state, epoch, failures, successes, in_flight, retry_after_ms, now_ms]:
                told = {"state": state, "epoch": epoch, "failures": failures, "successes": successes, "now_ms": now_ms}
                return Answered({**told, "in_flight": in_flight, "retry_after_ms": retry_after_ms})
            case ((spec.ForceOpen() | spec.ForceClose()), [state, epoch, left, now_ms]):
                told = {"state": state, "epoch": epoch, "now_ms": now_ms}
                return Answered({**told, "transition": change(left, state, epoch)})
        return Broke(f"the script answers {raw}", "CM-8")

    def seen(self) -> Stored:
        """Read the hash."""
        return read_hash(self.client, self.keys[0])


def change(left: Any, state: Any, epoch: Any) -> spec.Change | None:
    """The transition that a reply tells of, if it does."""
    return spec.Change(left, state, epoch) if left else None
