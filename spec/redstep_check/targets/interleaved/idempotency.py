"""The shipped idempotency store among concurrent callers."""

from functools import partial
from types import ModuleType
from typing import Any

from redstep import idempotency_run
from redstep.wishes import CallScript, Protocol, RunWork
from redstep_check.binding import Answer, Answered, Broke, Stored
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Raw, Refused
from redstep_check.interleavings.sequential.idempotency import (
    LEASE_MS,
    NO_EFFECT,
    RAISES,
    RETENTION_MS,
    SCOPE,
    WAIT_MS,
    Run,
    response_of,
)
from redstep_check.targets.idempotency import read
from redstep_check.targets.interleaved.protocols import ProtocolsOf
from redstep_spec import idempotency as spec

OUTCOMES = {
    "InProgress": "in progress",
    "FingerprintMismatch": "mismatch",
    "NotReplayable": "not replayable",
    "NoEffect": NO_EFFECT,
    "WorkFailedError": RAISES,
}
"""What callers make of the errors that a run raises."""


class WorkFailedError(Exception):
    """The work's own."""


class InterleavedIdempotency(ProtocolsOf):
    """One key of a shipped store."""

    features = frozenset({"idempotent", "finishes", "work", "compensates"})

    def __init__(self, engine: Engine, module: ModuleType = idempotency_run) -> None:
        super().__init__(engine, module)
        self.policy = self.module.Policy(lease_ms=LEASE_MS, retention_ms=RETENTION_MS, prefix=self.prefix)
        self.scope = self.module.Scope(tenant=SCOPE.tenant, operation=SCOPE.operation, key=SCOPE.key)

    @property
    def keys(self) -> tuple[str, ...]:
        """The record."""
        return (str(self.policy.key(self.scope)),)

    def protocol(self, operation: Run, memory: Any) -> Protocol[Any]:
        """A whole run; one that renews is put together from its parts."""
        del memory
        if operation.renews:
            return self._renewing(operation)
        manner = self.module.Manner(wait_ms=WAIT_MS if operation.waits else 0)
        work = partial(self.work, operation)
        return self.module.run(self.policy, self.scope, operation.payload, work, manner)  # type: ignore[no-any-return]

    def work(self, operation: Run, claim: Any) -> bytes:
        """The caller's own."""
        if operation.work == RAISES:
            raise WorkFailedError("it failed")
        if operation.work == NO_EFFECT:
            raise self.module.NoEffect("nothing has happened")
        return response_of(claim.token)

    def _renewing(self, operation: Run) -> Protocol[Any]:
        """Claim, renew, work, and complete: what a caller does who needs longer than a lease."""
        parts = self.module.protocols
        claim = yield from parts.claim(self.policy, self.scope, operation.payload)
        if type(claim).__name__ != "Acquired":
            return claim
        yield from parts.renew(self.policy, self.scope, claim.token)
        response = yield RunWork(partial(self.work, operation, claim))
        settled = yield from parts.complete(self.policy, self.scope, claim.token, response)
        return (settled, response)

    def answer(self, result: Any) -> Answer:
        """What came of it, in a word."""
        match result:
            case (settled, response):
                is_done = type(settled).__name__ == "Done"
                told = {"outcome": "done", "recorded": True} if is_done else {"outcome": "lease lost"}
                return Answered({**told, "response": response})
        match type(result).__name__:
            case "Underway":
                return Answered({"outcome": "in progress"})
            case "Mismatch":
                return Answered({"outcome": "mismatch"})
            case "Replay":
                return Answered({"outcome": "replayed", "response": result.response})
        if result.replayed:
            return Answered({"outcome": "replayed", "response": result.response})
        return Answered({"outcome": "done", "response": result.response, "recorded": result.recorded})

    def error(self, error: Exception) -> Answer | None:
        """What a run raises is an answer, too."""
        name = type(error).__name__
        if name == "LeaseLost":
            return Answered({"outcome": "lease lost", "response": getattr(error, "response", None)})
        return Answered({"outcome": OUTCOMES[name]}) if name in OUTCOMES else None

    def understood(self, request: CallScript, now_ms: int) -> spec.Call:
        """Each script is one call."""
        _, token, *rest = request.args
        common: dict[str, Any] = {"scope": SCOPE, "token": token, "now_ms": now_ms}
        match request.script.name.removeprefix("idempotency_"), rest:
            case "claim", [fingerprint, lease_ms, retention_ms]:
                return spec.Claim(**common, fingerprint=fingerprint, lease_ms=lease_ms, retention_ms=retention_ms)  # type: ignore[arg-type]
            case "complete", [response, _, retention_ms]:
                return spec.Complete(**common, response=response, retention_ms=retention_ms)  # type: ignore[arg-type]
            case "release", [retention_ms]:
                return spec.Release(**common, retention_ms=retention_ms)  # type: ignore[arg-type]
            case "renew", [lease_ms, retention_ms]:
                return spec.Renew(**common, lease_ms=lease_ms, retention_ms=retention_ms)  # type: ignore[arg-type]
        raise ValueError(f"{request.script.name} is no script of this guard")

    def read(self, call: spec.Call, raw: Raw) -> Answer:
        """Name what a reply holds."""
        if isinstance(raw, Refused):
            return Broke(f"the script answers {raw}", "CM-8")
        match call, raw:
            case spec.Claim(), (b"ACQUIRED", fence, lease_until_ms, _, _, now_ms):
                return Answered({"verdict": "acquired", "fence": fence, "lease_until_ms": lease_until_ms, "now_ms": now_ms})
            case spec.Claim(), (b"REPLAY", _, _, _, response, now_ms):
                return Answered({"verdict": "replay", "response": response, "replayable": True, "now_ms": now_ms})
            case spec.Claim(), (b"IN_PROGRESS", _, _, retry_after_ms, _, now_ms):
                return Answered({"verdict": "in_progress", "retry_after_ms": retry_after_ms, "now_ms": now_ms})
            case spec.Claim(), (b"MISMATCH", _, _, _, _, now_ms):
                return Answered({"verdict": "mismatch", "now_ms": now_ms})
            case spec.Renew(), (b"RENEWED", lease_until_ms, now_ms):
                return Answered({"verdict": "renewed", "lease_until_ms": lease_until_ms, "now_ms": now_ms})
            case spec.Renew(), (bytes() as verdict, _, now_ms):
                return Answered({"verdict": verdict.decode().lower(), "now_ms": now_ms})
            case _, (bytes() as verdict, now_ms):
                return Answered({"verdict": verdict.decode().lower(), "now_ms": now_ms})
        return Broke(f"the script answers {raw}", "CM-8")

    def seen(self) -> Stored:
        """Read the record."""
        return read(self.client, self.keys[0])
