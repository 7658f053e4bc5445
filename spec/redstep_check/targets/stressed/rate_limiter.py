"""The shipped rate limiter under stress: a few units in any window of some milliseconds, so that admissions keep ending."""

from collections.abc import Sequence
from random import Random
from typing import Any

import attrs

from redstep.rate_limiter import PACKED, ZSET
from redstep_check.binding import Answer, Answered
from redstep_check.engines import Engine
from redstep_check.stress.binding import Surroundings, Values
from redstep_check.targets.interleaved.rate_limiter import InterleavedRateLimiter
from redstep_check.targets.stressed.clients import ShippedClients, WireTongue, client_module, number
from redstep_check.targets.stressed.planted.rate_limiter import BUGS as BUGS
from redstep_check.targets.stressed.planted.rate_limiter import NAIVE
from redstep_spec import rate_limiter as spec

LIMIT = spec.Limit(limit=8, window_ms=25)
IDS = 6
"""How many request ids callers of one key share."""
NEVER = 1_000_000
"""Failures in a row after which a limiter would stop asking its store: here the store is what is tested."""
VARIANTS = (ZSET, PACKED)


class RateLimiterClients(ShippedClients):
    """One limiter for all who share it."""

    def __init__(self, own: Surroundings) -> None:
        super().__init__(own, client_module("redstep.clients.rate_limiter", BUGS, own.bug))
        self.limiter = self.kind("RateLimiter")(
            self.redis,
            self.module.Limit(LIMIT.limit, LIMIT.window_ms),
            on_store_failure="closed",
            breaker=self.module.Policy(failure_threshold=NEVER),
            representation=own.variant,
            prefix=own.prefix,
            clock=own.clock,
        )

    def draw(self, chance: Random, key: str) -> Values:
        """Mostly calls of cost 1 or 2, some of them under an identity that others use too; now and then a look."""
        if chance.random() < 0.1:
            return {"do": "peek"}
        request_id = f"{key}-{chance.randrange(IDS)}" if self.own.variant == ZSET and chance.random() < 0.3 else None
        return {"do": "acquire", "cost": chance.choice((1, 1, 2)), "request_id": request_id}

    def ask(self, key: str, call: Values) -> Any:
        """Ask, or look."""
        if call["do"] == "peek":
            return self.limiter.peek(key)
        return self.limiter.acquire(key, call["cost"], request_id=call["request_id"])

    def told(self, result: Any) -> Values:
        """All of it."""
        return attrs.asdict(result)


class RateLimiterTongue(WireTongue):
    """Each script is one call."""

    names = tuple(f"rate_limiter_{variant}_{what}" for variant in VARIANTS for what in ("acquire", "peek"))

    def __init__(self, engine: Engine, variant: str, bug: str, prefix: str) -> None:
        super().__init__(BUGS, bug)
        del prefix
        self._variant = variant
        self._interleaved = InterleavedRateLimiter(engine, variant)

    def understood(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> spec.Call:
        """Cost and identity are arguments; the limit is known."""
        name = self.name(script)
        common: dict[str, Any] = {"name": self.key(keys[0]), "limits": (LIMIT,), "now_ms": number(args[0] or 0)}
        if name.endswith("peek"):
            return spec.Peek(**common)
        if name == NAIVE:
            return spec.Acquire(**common)
        identity = args[2] if self._variant == ZSET else b""
        return spec.Acquire(**common, cost=number(args[1]), request_id=identity.decode() or None)

    def read(self, call: spec.Call, reply: Any) -> Answer:
        """As the interleaved target reads them; the naive script says yes or no, and nothing else."""
        if isinstance(reply, int):
            return Answered({"allowed": bool(reply)})
        return self._interleaved.read(call, tuple(reply))

    def close(self) -> None:
        """Close the connection."""
        self._interleaved.close()
