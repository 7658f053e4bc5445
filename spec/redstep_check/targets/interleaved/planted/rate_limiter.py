"""Bugs of a rate limiter that only interleavings show."""

from functools import partial
from typing import Any

from redstep.errors import Unavailable
from redstep.protocols import integers, send
from redstep.rate_limiter import ZSET, Decision
from redstep.scripts import Script
from redstep.wishes import NOW, CallScript, Protocol, Sleep
from redstep_check.engines import Engine
from redstep_check.interleavings.sequential.rate_limiter import LIMIT, NAME, Operation, Take
from redstep_check.interleavings.subjects import Bug
from redstep_check.targets.interleaved.rate_limiter import InterleavedRateLimiter
from redstep_check.targets.planted import Fault, planted

WRITE = Script(
    "read_then_write_acquire",
    """
local now, cost, limit, window = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
for _ = 1, cost do redis.call('ZADD', KEYS[1], now, now .. '-' .. redis.call('ZCARD', KEYS[1]) + 1000) end
redis.call('PEXPIRE', KEYS[1], window + 86400000)
return {1, 0, limit, math.max(0, limit - redis.call('ZCARD', KEYS[1])), 0, window, now}
""",
)


class ReadThenWrite(InterleavedRateLimiter):
    """Looks how much is left, and then charges: right as long as nobody comes between."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, ZSET)
        self.features = self.features - {"request_id", "idempotent"}

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """In two round trips."""
        return self.acquire(operation.cost) if isinstance(operation, Take) else super().protocol(operation, memory)

    def acquire(self, cost: int) -> Protocol[Decision]:
        """Read, then write."""
        usage = yield from self.module.peek(self.policy, NAME)
        if usage.remaining < cost:
            return (yield from self.module.acquire(self.policy, NAME, cost))  # type: ignore[no-any-return]
        args = (NOW, cost, "", LIMIT.limit, LIMIT.window_ms)
        request = CallScript(script=WRITE, keys=self.keys, args=args, idempotent=False)
        allowed, binding, limit, remaining, retry_after_ms, reset_after_ms, now_ms = integers((yield from send(request)), 7)
        return Decision(bool(allowed), binding, limit, remaining, retry_after_ms, reset_after_ms, now_ms)


class BlindRetry(InterleavedRateLimiter):
    """Sends again what may have been executed, and waits a moment before."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, ZSET)

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """At most twice."""
        try:
            return (yield from super().protocol(operation, memory))
        except Unavailable as error:
            if error.definite:
                raise
        yield Sleep(1)
        try:
            return (yield from super().protocol(operation, memory))
        except Unavailable as error:
            raise Unavailable(error.problem, definite=False) from error


def _faulty(name: str, rule: str, file: str, old: str, new: str, faults: int = 1) -> Bug:
    fault = Fault(name=name, rule=rule, file=file, old=old, new=new)

    def make(engine: Engine) -> InterleavedRateLimiter:
        return InterleavedRateLimiter(engine, ZSET, planted(fault, "redstep.rate_limiter"))

    return Bug(name=name, rule=rule, variant=ZSET, make=make, faults=faults)


_protocols = partial(_faulty, file="redstep.protocols")

BUGS = (
    Bug(name="read, then write", rule="RL-2", variant=ZSET, make=ReadThenWrite),
    _protocols("a blind retry", "CM-4", old="RESENDS_MAX if request.idempotent else 0", new="RESENDS_MAX"),
    Bug(name="a blind retry after a moment", rule="CM-4", variant=ZSET, make=BlindRetry),
    _protocols(
        "an unknown outcome called definite", "CM-9", old="definite=not maybe_executed", new="definite=error.definite", faults=2
    ),
    _faulty(
        "an identity is only looked up while there is room",
        "RL-7",
        "rate_limiter_zset_acquire.lua",
        old="duplicate = duplicate or (admitted and",
        new="duplicate = duplicate or (view.used < view.in_force and admitted and",
    ),
)
