"""The guards as services use them, sync and asyncio: the two differ by `await` alone, for what they do is one protocol."""

from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.clients.circuit_breaker import (
    AsyncCircuitBreaker,
    AsyncSharedCircuitBreaker,
    CircuitBreaker,
    SharedCircuitBreaker,
)
from redstep.clients.idempotency import AsyncIdempotencyStore, IdempotencyStore
from redstep.clients.rate_limiter import AsyncRateLimiter, RateLimiter, async_start_region, start_region

__all__ = [
    "AsyncAuditChain",
    "AsyncCircuitBreaker",
    "AsyncIdempotencyStore",
    "AsyncRateLimiter",
    "AsyncSharedCircuitBreaker",
    "AuditChain",
    "CircuitBreaker",
    "IdempotencyStore",
    "RateLimiter",
    "SharedCircuitBreaker",
    "async_start_region",
    "start_region",
]
