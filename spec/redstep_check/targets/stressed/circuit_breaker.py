"""The shipped shared breaker under stress: two failures in a row open it for some milliseconds, two successes close it."""

import asyncio
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import attrs

from redstep.errors import CircuitOpen
from redstep_check.binding import Answer
from redstep_check.engines import Engine
from redstep_check.stress.binding import Surroundings, Values
from redstep_check.targets.interleaved.circuit_breaker import InterleavedCircuitBreaker
from redstep_check.targets.stressed.clients import ShippedClients, WireTongue, client_module, number
from redstep_check.targets.stressed.planted.circuit_breaker import BUGS as BUGS
from redstep_spec import circuit_breaker as spec

POLICY = spec.Policy(failure_threshold=2, success_threshold=2, open_ms=10)
RETURNS, RAISES, EXCLUDED = "returns", "raises", "excluded"
CALL, VIEW, CLOSE = "call", "view", "force_close"


class WorkFailedError(Exception):
    """The work's own: a failure of what is called."""


class ExcludedError(Exception):
    """The work's own: it tells nothing of what is called."""


class CircuitBreakerClients(ShippedClients):
    """A breaker for each key, made when it is first used."""

    def __init__(self, own: Surroundings) -> None:
        super().__init__(own, client_module("redstep.clients.circuit_breaker", BUGS, own.bug))
        self._breakers: dict[str, Any] = {}

    def breaker(self, key: str) -> Any:
        """The one of a key; of two that are made at the same time one is kept."""
        if key not in self._breakers:
            options = {**attrs.asdict(POLICY), "prefix": self.own.prefix, "clock": self.own.clock, "excluded": ExcludedError}
            self._breakers.setdefault(key, self.kind("SharedCircuitBreaker")(self.redis, key, **options))
        return self._breakers[key]

    def draw(self, chance: Random, key: str) -> Values:
        """Calls that succeed, fail or tell nothing, at once or after a moment; a look; an intervention now and then."""
        del key
        do = chance.choices((CALL, VIEW, CLOSE), (92, 6, 2))[0]
        if do != CALL:
            return {"do": do}
        work = chance.choices((RETURNS, RAISES, EXCLUDED), (60, 35, 5))[0]
        return {"do": do, "work": work, "takes_ms": chance.choice((0, 0, 0, 1, 3))}

    def ask(self, key: str, call: Values) -> Any:
        """Make a call through it, or look, or close it."""
        breaker = self.breaker(key)
        if call["do"] == VIEW:
            return breaker.view()
        if call["do"] == CLOSE:
            return breaker.force_close()
        return breaker.call(_work_async if self.own.is_async else _work, call["work"], call["takes_ms"])

    def told(self, result: Any) -> Values:
        """A word; of a view no more than that it was one."""
        return {"outcome": result if isinstance(result, str) else "done"}

    def answered(self, error: Exception) -> Values | None:
        """The work's own errors come through as they are; a refusal says why."""
        match error:
            case CircuitOpen():
                return {"outcome": "refused", "why": error.why}
            case WorkFailedError():
                return {"outcome": RAISES}
            case ExcludedError():
                return {"outcome": EXCLUDED}
        return None


def _come_to(work: str) -> str:
    if work == RAISES:
        raise WorkFailedError(work)
    if work == EXCLUDED:
        raise ExcludedError(work)
    return work


def _work(work: str, takes_ms: int) -> str:
    if takes_ms:
        time.sleep(takes_ms / 1000)
    return _come_to(work)


async def _work_async(work: str, takes_ms: int) -> str:
    if takes_ms:
        await asyncio.sleep(takes_ms / 1000)
    return _come_to(work)


class CircuitBreakerTongue(WireTongue):
    """Each script is one call."""

    names = tuple(f"circuit_breaker_{what}" for what in ("acquire", "report", "view", "intervene"))

    def __init__(self, engine: Engine, variant: str, bug: str, prefix: str) -> None:
        super().__init__(BUGS, bug)
        del variant, prefix
        self._interleaved = InterleavedCircuitBreaker(engine)

    def understood(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> spec.Call:
        """The policy is known; what was drawn, the permit and the outcome are arguments."""
        common: dict[str, Any] = {"name": self.key(keys[0]), "policy": POLICY, "now_ms": number(args[0] or 0)}
        match self.name(script).removeprefix("circuit_breaker_"), args:
            case "acquire", _:
                return spec.Acquire(**common)
            case "report", [_, _, _, open_ms, epoch, permit, outcome]:
                common |= {"permit": spec.Permit(number(epoch), number(permit)), "outcome": spec.Outcome(outcome.decode())}
                return spec.Report(**common, open_ms=number(open_ms))
            case "view", _:
                return spec.View(**common)
            case "intervene", [_, _, b"closed"]:
                return spec.ForceClose(**common)
            case "intervene", [_, open_ms, _]:
                return spec.ForceOpen(**common, open_ms=number(open_ms))
        raise ValueError(f"no call has the arguments {args}")

    def read(self, call: spec.Call, reply: Any) -> Answer:
        """As the interleaved target reads them."""
        return self._interleaved.read(call, tuple(reply))

    def close(self) -> None:
        """Close the connection."""
        self._interleaved.close()
