"""
The idempotency store as services use it, sync and asyncio.

    store = IdempotencyStore(redis.Redis())

    @store.idempotent(operation="charge", key=lambda order: order.id, fingerprint=lambda order: fingerprint(order.amount))
    def charge(order):
        return provider.charge(order)       # bytes; runs once for each order

The two differ by `await` alone: what they do is one protocol.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, Self, TypeVar

import redis
import redis.asyncio
from attrs import field, frozen

from redstep import idempotency_protocols as protocols
from redstep.arguments import PREFIX
from redstep.asyncio_driver import AsyncDriver
from redstep.callables import checked_function
from redstep.idempotency import (
    RESPONSE_BYTES_MAX,
    Acquired,
    Claim,
    Conflict,
    Policy,
    Renewed,
    Scope,
    Settled,
    StaleOwner,
)
from redstep.idempotency_calls import Calls, LeaseOf, renewed
from redstep.idempotency_run import BYTES, Codec, Manner, Outcome, run
from redstep.store_failure import FAIL_CLOSED
from redstep.sync_driver import SyncDriver

P = ParamSpec("P")
T = TypeVar("T")


@frozen
class Lease(LeaseOf):
    """What work holds while it runs under an `IdempotencyStore`."""

    _store: "IdempotencyStore" = field(repr=False, eq=False)

    def renew(self) -> int:
        """Have the lease last for its full length from now; returns when it ends. Raises LeaseLost if another took over."""
        return renewed(self.scope, self._store.renew(self.scope, self.token)) if self.token else 0


@frozen
class AsyncLease(LeaseOf):
    """What work holds while it runs under an `AsyncIdempotencyStore`."""

    _store: "AsyncIdempotencyStore" = field(repr=False, eq=False)

    async def renew(self) -> int:
        """Have the lease last for its full length from now; returns when it ends. Raises LeaseLost if another took over."""
        return renewed(self.scope, await self._store.renew(self.scope, self.token)) if self.token else 0


class IdempotencyStore:
    """Has work done once for each key, across all processes that share a Redis. Safe to share between threads.

    `lease_ms`  how long an owner that died blocks its key. Work that may take longer renews its lease.
    `retention_ms`  how long a response is replayed, from its completion.
    `response_max_bytes`  a longer response is not kept: the work counts as done, and is not replayable.
    `on_store_failure`  "closed" (the default) raises when a claim can't be made; "open" runs the work unprotected.
    `prefix`  what all keys start with.
    `clock`  ms; for tests. By default the engine's own clock decides, so that clients' clocks do not matter.

    As a context manager it closes itself at the end. Raises Misuse for a bad argument.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        lease_ms: int = 30_000,
        retention_ms: int = 86_400_000,
        response_max_bytes: int = RESPONSE_BYTES_MAX,
        on_store_failure: str = FAIL_CLOSED,
        prefix: str = PREFIX,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._policy = Policy(
            lease_ms=lease_ms,
            retention_ms=retention_ms,
            response_max_bytes=response_max_bytes,
            on_store_failure=on_store_failure,
            prefix=prefix,
        )
        self._driver = SyncDriver(client, clock=clock)

    def claim(self, scope: Scope, fingerprint: str | bytes, *, token: str | None = None) -> Claim:
        """Ask to do the work of a scope. See `redstep.idempotency_protocols.claim`."""
        return self._driver.run(protocols.claim(self._policy, scope, fingerprint, token))

    def complete(self, scope: Scope, token: str, response: bytes) -> Settled:
        """Store what the work came to."""
        return self._driver.run(protocols.complete(self._policy, scope, token, response))

    def release(self, scope: Scope, token: str) -> Settled:
        """Give the key up, for the work has had no effect."""
        return self._driver.run(protocols.release(self._policy, scope, token))

    def renew(self, scope: Scope, token: str) -> Renewed | StaleOwner | Conflict:
        """Have the lease last for its full length from now."""
        return self._driver.run(protocols.renew(self._policy, scope, token))

    def run(
        self,
        scope: Scope,
        fingerprint: str | bytes,
        work: Callable[[Lease], T],
        *,
        wait_ms: int = 0,
        codec: Codec[Any] = BYTES,
        store_if: Callable[[T], bool] | None = None,
        had_no_effect: Callable[[Exception], bool] | None = None,
    ) -> Outcome[T]:
        """Have work done once, here or by another, and give its response. See `redstep.idempotency_run`."""
        checked_function("work", work)
        manner = Manner(wait_ms=wait_ms, codec=codec, store_if=store_if, had_no_effect=had_no_effect)

        def leased(claim: Acquired) -> T:
            return work(Lease(scope, claim.token, claim.fence, claim.lease_until_ms, self))

        return self._driver.run(run(self._policy, scope, fingerprint, leased, manner))

    def idempotent(
        self,
        *,
        operation: str,
        key: Callable[..., str],
        fingerprint: Callable[..., str | bytes],
        tenant: str | Callable[..., str] = "default",
        lease_as: str | None = None,
        wait_ms: int = 0,
        codec: Codec[Any] = BYTES,
        store_if: Callable[[Any], bool] | None = None,
        had_no_effect: Callable[[Exception], bool] | None = None,
    ) -> Callable[[Callable[P, T]], Callable[P, T]]:
        """Decorate a function so that each of its calls is `run`, and gives the response alone.

        `key`, `fingerprint` and `tenant` are given the call's arguments. `lease_as` names an argument by which the function
        gets the Lease; callers leave it out. Raises Misuse for a function that does its work later: a generator, or a coroutine
        function, which AsyncIdempotencyStore decorates.
        """
        calls = Calls(operation=operation, key=key, fingerprint=fingerprint, tenant=tenant, lease_as=lease_as)
        manner = {"wait_ms": wait_ms, "codec": codec, "store_if": store_if, "had_no_effect": had_no_effect}
        Manner(**manner)  # type: ignore[arg-type]  # Misuse comes at the decoration

        def decorate(function: Callable[P, T]) -> Callable[P, T]:
            checked_function("function", function)

            @functools.wraps(function)
            def idempotent(*args: P.args, **options: P.kwargs) -> T:
                scope, payload = calls.scope(*args, **options), calls.fingerprint(*args, **options)
                return self.run(scope, payload, calls.work(function, *args, **options), **manner).response  # type: ignore[arg-type]

            return idempotent

        return decorate

    def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        self._driver.load(protocols.SCRIPTS)

    def close(self) -> None:
        """Close the connections that this store opened; the client's own stay."""
        self._driver.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncIdempotencyStore:
    """`IdempotencyStore` for asyncio. Safe to share between the tasks of one event loop."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        *,
        lease_ms: int = 30_000,
        retention_ms: int = 86_400_000,
        response_max_bytes: int = RESPONSE_BYTES_MAX,
        on_store_failure: str = FAIL_CLOSED,
        prefix: str = PREFIX,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self._policy = Policy(
            lease_ms=lease_ms,
            retention_ms=retention_ms,
            response_max_bytes=response_max_bytes,
            on_store_failure=on_store_failure,
            prefix=prefix,
        )
        self._driver = AsyncDriver(client, clock=clock)

    async def claim(self, scope: Scope, fingerprint: str | bytes, *, token: str | None = None) -> Claim:
        """Ask to do the work of a scope. See `redstep.idempotency_protocols.claim`."""
        return await self._driver.run(protocols.claim(self._policy, scope, fingerprint, token))

    async def complete(self, scope: Scope, token: str, response: bytes) -> Settled:
        """Store what the work came to."""
        return await self._driver.run(protocols.complete(self._policy, scope, token, response))

    async def release(self, scope: Scope, token: str) -> Settled:
        """Give the key up, for the work has had no effect."""
        return await self._driver.run(protocols.release(self._policy, scope, token))

    async def renew(self, scope: Scope, token: str) -> Renewed | StaleOwner | Conflict:
        """Have the lease last for its full length from now."""
        return await self._driver.run(protocols.renew(self._policy, scope, token))

    async def run(
        self,
        scope: Scope,
        fingerprint: str | bytes,
        work: Callable[[AsyncLease], Awaitable[T]],
        *,
        wait_ms: int = 0,
        codec: Codec[Any] = BYTES,
        store_if: Callable[[T], bool] | None = None,
        had_no_effect: Callable[[Exception], bool] | None = None,
    ) -> Outcome[T]:
        """Have work done once, here or by another, and give its response. See `redstep.idempotency_run`."""
        checked_function("work", work, awaited=True)
        manner = Manner(wait_ms=wait_ms, codec=codec, store_if=store_if, had_no_effect=had_no_effect)

        def leased(claim: Acquired) -> Awaitable[T]:
            return work(AsyncLease(scope, claim.token, claim.fence, claim.lease_until_ms, self))

        return await self._driver.run(run(self._policy, scope, fingerprint, leased, manner))

    def idempotent(
        self,
        *,
        operation: str,
        key: Callable[..., str],
        fingerprint: Callable[..., str | bytes],
        tenant: str | Callable[..., str] = "default",
        lease_as: str | None = None,
        wait_ms: int = 0,
        codec: Codec[Any] = BYTES,
        store_if: Callable[[Any], bool] | None = None,
        had_no_effect: Callable[[Exception], bool] | None = None,
    ) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
        """Decorate a coroutine function so that each of its calls is `run`, and gives the response alone.

        `key`, `fingerprint` and `tenant` are given the call's arguments. `lease_as` names an argument by which the function
        gets the AsyncLease; callers leave it out. Raises Misuse for a generator, which does its work later.
        """
        calls = Calls(operation=operation, key=key, fingerprint=fingerprint, tenant=tenant, lease_as=lease_as)
        manner = {"wait_ms": wait_ms, "codec": codec, "store_if": store_if, "had_no_effect": had_no_effect}
        Manner(**manner)  # type: ignore[arg-type]  # Misuse comes at the decoration

        def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
            checked_function("function", function, awaited=True)

            @functools.wraps(function)
            async def idempotent(*args: P.args, **options: P.kwargs) -> T:
                scope, payload = calls.scope(*args, **options), calls.fingerprint(*args, **options)
                outcome = await self.run(scope, payload, calls.work(function, *args, **options), **manner)  # type: ignore[arg-type]
                return outcome.response

            return idempotent

        return decorate

    async def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        await self._driver.load(protocols.SCRIPTS)

    async def close(self) -> None:
        """Close the connections that this store opened; the client's own stay."""
        await self._driver.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
