"""The shipped idempotency store under stress: duplicates of the same work, short leases, and owners that are late or die."""

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from redstep.idempotency_errors import FingerprintMismatch, InProgress, LeaseLost, NoEffect
from redstep_check.binding import Answer, Answered
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Glance
from redstep_check.stress.binding import Surroundings, Values
from redstep_check.stress.logs import Worked
from redstep_check.targets.interleaved.idempotency import InterleavedIdempotency
from redstep_check.targets.stressed.clients import ShippedClients, WireTongue, client_module, number
from redstep_check.targets.stressed.connections import CURRENT
from redstep_check.targets.stressed.planted.idempotency import BUGS as BUGS
from redstep_check.targets.stressed.planted.idempotency import READ
from redstep_spec import idempotency as spec

LEASE_MS, RETENTION_MS = 40, 3_600_000
"""A lease is over soon; no record dies in a run."""
LATE_MS = 60
"""How long work takes that outlasts its lease."""
WAIT_MS = 30
OPERATION = "charge"
RETURNS, RAISES, NO_EFFECT = "returns", "raises", "has no effect"


class WorkFailedError(Exception):
    """The work's own: nobody knows what it did."""


class IdempotencyClients(ShippedClients):
    """One store for all who share it."""

    def __init__(self, own: Surroundings) -> None:
        super().__init__(own, client_module("redstep.clients.idempotency", BUGS, own.bug))
        options = {"lease_ms": LEASE_MS, "retention_ms": RETENTION_MS, "prefix": own.prefix, "clock": own.clock}
        self.store = self.kind("IdempotencyStore")(self.redis, **options)

    def draw(self, chance: Random, key: str) -> Values:
        """The same work, asked for again and again; some callers are patient, some owners late, some payloads others."""
        del key
        work = chance.choices((RETURNS, NO_EFFECT, RAISES), (80, 12, 8))[0]
        return {
            "do": "run",
            "payload": "other" if chance.random() < 0.05 else "same",
            "work": work,
            "takes_ms": chance.choices((0, 1, 4, LATE_MS), (50, 25, 20, 5))[0],
            "wait_ms": chance.choice((0, 0, WAIT_MS)),
        }

    def ask(self, key: str, call: Values) -> Any:
        """Have the work done."""
        name = CURRENT.get()
        scope = self.module.Scope(operation=OPERATION, key=key)

        def work(lease: Any) -> bytes:
            if call["takes_ms"]:
                time.sleep(call["takes_ms"] / 1000)
            return self._come_to(name, call["work"], lease)

        async def work_async(lease: Any) -> bytes:
            if call["takes_ms"]:
                await asyncio.sleep(call["takes_ms"] / 1000)
            return self._come_to(name, call["work"], lease)

        own = work_async if self.own.is_async else work
        return self.store.run(scope, call["payload"], own, wait_ms=call["wait_ms"])

    def _come_to(self, name: str, work: str, lease: Any) -> bytes:
        """The effect is written down, and the response says whose it is."""
        if work == NO_EFFECT:
            raise NoEffect("nothing has happened")
        response = f"{name} under fence {lease.fence}".encode()
        values = {"token": lease.token, "fence": lease.fence, "response": response}
        self.own.log.write(Worked(self.own.tick(), self.own.name, name, values))
        if work == RAISES:
            raise WorkFailedError("it failed")
        return response

    def told(self, result: Any) -> Values:
        """The response, and whose."""
        kind = "replayed" if result.replayed else "done"
        return {"outcome": kind, "response": result.response, "recorded": result.recorded, "degraded": result.degraded}

    def answered(self, error: Exception) -> Values | None:
        """What a run raises is an answer, too."""
        match error:
            case InProgress():
                return {"outcome": "in progress"}
            case FingerprintMismatch():
                return {"outcome": "mismatch"}
            case LeaseLost():
                return {"outcome": "lease lost"}
            case NoEffect():
                return {"outcome": NO_EFFECT}
            case WorkFailedError():
                return {"outcome": RAISES}
        return None


class IdempotencyTongue(WireTongue):
    """Each script is one call."""

    names = tuple(f"idempotency_{what}" for what in ("claim", "complete", "release", "renew"))

    def __init__(self, engine: Engine, variant: str, bug: str, prefix: str) -> None:
        super().__init__(BUGS, bug)
        del variant, prefix
        self._interleaved = InterleavedIdempotency(engine)

    def understood(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> Any:
        """Token, payload, response and durations are arguments."""
        name = self.name(script)
        if name == READ:
            return Glance(number(args[0] or 0))
        scope = spec.Scope("default", OPERATION, self.key(keys[0]))
        common: dict[str, Any] = {"scope": scope, "now_ms": number(args[0] or 0), "token": args[1].decode()}
        match name.removeprefix("idempotency_"), args[2:]:
            case "claim", [fingerprint, lease_ms, retention_ms]:
                common |= {"lease_ms": number(lease_ms), "retention_ms": number(retention_ms)}
                return spec.Claim(**common, fingerprint=fingerprint)
            case "complete", [response, _, retention_ms]:
                return spec.Complete(**common, response=response, retention_ms=number(retention_ms))
            case "release", [retention_ms]:
                return spec.Release(**common, retention_ms=number(retention_ms))
        raise ValueError(f"no call has the arguments {args}")

    def read(self, call: Any, reply: Any) -> Answer:
        """As the interleaved target reads them; what only reads says nothing."""
        return Answered({}) if isinstance(call, Glance) else self._interleaved.read(call, tuple(reply))

    def close(self) -> None:
        """Close the connection."""
        self._interleaved.close()
