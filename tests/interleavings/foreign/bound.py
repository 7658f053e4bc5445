"""The foreign limiters, bound to the scheduler."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from redstep_check.binding import Answer, Answered
from redstep_check.interleavings.foreign.binding import Calls, Coroutines
from redstep_check.interleavings.foreign.rate_limiter import LIMIT, NAME, ForeignRateLimiter, Glance, Look, Take, call_of
from redstep_check.interleavings.foreign.wire import Commands
from redstep_spec import rate_limiter as spec

from .limiters import (
    NUMBERED,
    NaiveLimiter,
    NumberedLimiter,
    PatientTransactionLimiter,
    PipelinedLimiter,
    PipelinedTransactionLimiter,
    RetryingFallbackLimiter,
    RetryingLimiter,
    ScriptLimiter,
    StoresTimeLimiter,
    SyncNaiveLimiter,
    SyncNumberedLimiter,
    SyncRetryingLimiter,
    SyncScriptLimiter,
    TransactionLimiter,
)


class Logged(ForeignRateLimiter):
    """Limiters that keep a sorted set of units."""

    def charged_ms(self) -> Iterable[float]:
        """The scores."""
        return [score for _, score in self.client.zrange(self.prefix + NAME, 0, -1, withscores=True)]


class Script(Logged, Coroutines):
    """A limiter of one script: what a binding needs."""

    limiter: type[NaiveLimiter] = ScriptLimiter

    async def run(self, client: redis.asyncio.Redis, operation: Take) -> bool:
        """Ask once."""
        del operation
        return await self.limiter(client, self.prefix + NAME, LIMIT.limit, self.window_ms).acquire()


class Stepwise(Logged):
    """What the commands of a naive limiter mean."""

    calls_scripts = False

    def meant(self, commands: Commands, now_ms: int) -> Any:
        """To count is to look, to add is to decide."""
        match commands[-1][0]:
            case b"ZADD":
                return call_of(Take(), now_ms)
            case b"ZCARD":
                return call_of(Look(), now_ms)
        return Glance(now_ms)

    def is_idempotent(self, commands: Commands) -> bool:
        """All but to add."""
        return commands[-1][0] != b"ZADD"

    def told(self, call: Any, value: Any) -> Answer:
        """Who adds takes itself for admitted."""
        return Answered({"allowed": True}) if isinstance(call, spec.Acquire) else super().told(call, value)


class Naive(Stepwise, Script):
    """Three commands."""

    limiter = NaiveLimiter


class SyncScript(Logged, Calls):
    """The same of sync code."""

    limiter: ClassVar[type[SyncNaiveLimiter]] = SyncScriptLimiter

    def run(self, client: redis.Redis, operation: Take) -> bool:
        """Ask once."""
        del operation
        return self.limiter(client, self.prefix + NAME, LIMIT.limit, self.window_ms).acquire()


class SyncNaive(Stepwise, SyncScript):
    """Three commands."""

    limiter = SyncNaiveLimiter


class Declared(Script):
    """One that says of its script that it may be executed twice."""

    limiter = NumberedLimiter

    def is_idempotent(self, commands: Commands) -> bool:
        """It may not."""
        del commands
        return True


class StoresTime(Script):
    """A script that asks for the time."""

    limiter = StoresTimeLimiter


class Transaction(Script):
    """A transaction that adds before it looks."""

    limiter = TransactionLimiter
    calls_scripts = False

    def told(self, call: Any, value: Any) -> Answer:
        """Of EXEC: the last reply is the count."""
        del call
        return Answered({"allowed": value[-1] <= LIMIT.limit})


class Pipelined(Script):
    """A script in a pipeline."""

    limiter = PipelinedLimiter


class PipelinedTransaction(Script):
    """A script in a transaction."""

    limiter = PipelinedTransactionLimiter

    def told(self, call: Any, value: Any) -> Answer:
        """Of EXEC: the one reply."""
        return super().told(call, value[0])


class PatientTransaction(PipelinedTransaction):
    """The same, executed anew when its script was forgotten."""

    limiter = PatientTransactionLimiter


class RetryingFallback(Script):
    """By SHA, else by text, which it sends again after an error that tells nothing."""

    limiter = RetryingFallbackLimiter
    scripts = (NUMBERED,)


class Retrying(Script):
    """A script, sent again after an error that tells nothing."""

    limiter = RetryingLimiter


class SyncRetrying(SyncScript):
    """The same of sync code."""

    limiter = SyncRetryingLimiter


class ClientRetries(Script):
    """A script, and a client of redis-py's that retries by itself, as its clients do by default."""

    limiter = NumberedLimiter
    options: ClassVar[Mapping[str, Any]] = {"retry": AsyncRetry(NoBackoff(), 1)}


class SyncClientRetries(SyncScript):
    """The same of sync code."""

    limiter = SyncNumberedLimiter
    options: ClassVar[Mapping[str, Any]] = {"retry": Retry(NoBackoff(), 1)}
