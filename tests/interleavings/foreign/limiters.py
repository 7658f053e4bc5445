"""Foreign limiters, as people write them: naive, sound, and too patient; in coroutines and in plain functions."""

import asyncio
import hashlib
import time
import uuid

import redis
import redis.asyncio
from redis.exceptions import NoScriptError

SLIDING_WINDOW = """
local now, window, limit = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
if redis.call('ZCARD', KEYS[1]) >= limit then return 0 end
redis.call('ZADD', KEYS[1], now, ARGV[4])
redis.call('PEXPIRE', KEYS[1], window)
return 1
"""
NUMBERED = SLIDING_WINDOW.replace("ARGV[4]", "now .. '-' .. redis.call('ZCARD', KEYS[1])", 1)
"""The engine names the units: to send it again is to charge again."""
ON_THE_STORES_TIME = SLIDING_WINDOW.replace(
    "tonumber(ARGV[1])", "(function() local t = redis.call('TIME') return t[1] * 1000 + math.floor(t[2] / 1000) end)()", 1
)


def now_ms() -> int:
    """The time."""
    return int(time.time() * 1000)


class NaiveLimiter:
    """Trims, counts, adds."""

    def __init__(self, client: redis.asyncio.Redis, key: str, limit: int, window_ms: int) -> None:
        self.client, self.key, self.limit, self.window_ms = client, key, limit, window_ms

    async def acquire(self) -> bool:
        """In three round trips."""
        now = now_ms()
        await self.client.zremrangebyscore(self.key, "-inf", now - self.window_ms)
        if await self.client.zcard(self.key) >= self.limit:
            return False
        await self.client.zadd(self.key, {uuid.uuid4().hex: now})
        return True


class ScriptLimiter(NaiveLimiter):
    """One script."""

    script = SLIDING_WINDOW

    async def acquire(self) -> bool:
        """In one round trip."""
        script = self.client.register_script(self.script)
        args: list[int | str] = [now_ms(), self.window_ms, self.limit, uuid.uuid4().hex]
        return bool(await script(keys=[self.key], args=args))


class StoresTimeLimiter(ScriptLimiter):
    """One script, which asks the engine what time it is."""

    script = ON_THE_STORES_TIME


class TransactionLimiter(NaiveLimiter):
    """Adds first, and then looks whether it was too much: a denial is charged, too."""

    async def acquire(self) -> bool:
        """In one transaction."""
        now = now_ms()
        async with self.client.pipeline(transaction=True) as pipe:
            pipe.zremrangebyscore(self.key, "-inf", now - self.window_ms)
            pipe.zadd(self.key, {uuid.uuid4().hex: now})
            pipe.zcard(self.key)
            _, _, count = await pipe.execute()
        return bool(count <= self.limit)


class NumberedLimiter(ScriptLimiter):
    """One script, which names what it charges."""

    script = NUMBERED


class RetryingLimiter(NumberedLimiter):
    """Sends again what may have been executed."""

    async def acquire(self) -> bool:
        """At most twice."""
        try:
            return await super().acquire()
        except redis.ConnectionError:
            await asyncio.sleep(0.1)
            return await super().acquire()


class PipelinedLimiter(ScriptLimiter):
    """One script, in a pipeline."""

    transaction = False

    async def acquire(self) -> bool:
        """In one round trip."""
        script = self.client.register_script(self.script)
        async with self.client.pipeline(transaction=self.transaction) as pipe:
            args: list[int | str] = [now_ms(), self.window_ms, self.limit, uuid.uuid4().hex]
            await script(keys=[self.key], args=args, client=pipe)
            [result] = await pipe.execute()
        return bool(result)


class PipelinedTransactionLimiter(PipelinedLimiter):
    """In a transaction."""

    transaction = True


class PatientTransactionLimiter(PipelinedTransactionLimiter):
    """Executes it anew when its script was forgotten."""

    async def acquire(self) -> bool:
        """At most twice."""
        try:
            return await super().acquire()
        except NoScriptError:
            return await super().acquire()


class RetryingFallbackLimiter(NumberedLimiter):
    """By SHA, else by text; and that it sends again when nobody knows of it."""

    async def acquire(self) -> bool:
        """As often as it takes."""
        call = (1, self.key, now_ms(), self.window_ms, self.limit)
        try:
            return bool(await self.client.evalsha(hashlib.sha1(self.script.encode()).hexdigest(), *call))  # noqa: S324
        except NoScriptError:
            pass
        try:
            return bool(await self.client.eval(self.script, *call))
        except redis.ConnectionError:
            return bool(await self.client.eval(self.script, *call))


class SyncNaiveLimiter:
    """Trims, counts, adds."""

    def __init__(self, client: redis.Redis, key: str, limit: int, window_ms: int) -> None:
        self.client, self.key, self.limit, self.window_ms = client, key, limit, window_ms

    def acquire(self) -> bool:
        """In three round trips."""
        now = now_ms()
        self.client.zremrangebyscore(self.key, "-inf", now - self.window_ms)
        if int(self.client.zcard(self.key)) >= self.limit:
            return False
        self.client.zadd(self.key, {uuid.uuid4().hex: now})
        return True


class SyncScriptLimiter(SyncNaiveLimiter):
    """One script."""

    script = SLIDING_WINDOW

    def acquire(self) -> bool:
        """In one round trip."""
        script = self.client.register_script(self.script)
        args: list[int | str] = [now_ms(), self.window_ms, self.limit, uuid.uuid4().hex]
        return bool(script(keys=[self.key], args=args))


class SyncNumberedLimiter(SyncScriptLimiter):
    """One script, which names what it charges."""

    script = NUMBERED


class SyncRetryingLimiter(SyncNumberedLimiter):
    """Sends again what may have been executed."""

    def acquire(self) -> bool:
        """At most twice."""
        try:
            return super().acquire()
        except redis.ConnectionError:
            time.sleep(0.1)
            return super().acquire()
