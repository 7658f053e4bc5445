"""Guards that services keep in Redis: rate limiter, circuit breaker, audit chain and idempotency store."""

from redstep.clients import (
    AsyncAuditChain,
    AsyncCircuitBreaker,
    AsyncIdempotencyStore,
    AsyncRateLimiter,
    AsyncSharedCircuitBreaker,
    AuditChain,
    CircuitBreaker,
    IdempotencyStore,
    RateLimiter,
    SharedCircuitBreaker,
    async_start_region,
    start_region,
)
from redstep.errors import CircuitOpen, Corrupt, Misuse, RedstepError, ServiceOverloaded, Unavailable
from redstep.idempotency import Scope
from redstep.rate_limiter import Decision, Limit, Region, Usage

__all__ = [
    "AsyncAuditChain",
    "AsyncCircuitBreaker",
    "AsyncIdempotencyStore",
    "AsyncRateLimiter",
    "AsyncSharedCircuitBreaker",
    "AuditChain",
    "CircuitBreaker",
    "CircuitOpen",
    "Corrupt",
    "Decision",
    "IdempotencyStore",
    "Limit",
    "Misuse",
    "RateLimiter",
    "RedstepError",
    "Region",
    "Scope",
    "ServiceOverloaded",
    "SharedCircuitBreaker",
    "Unavailable",
    "Usage",
    "async_start_region",
    "start_region",
]
