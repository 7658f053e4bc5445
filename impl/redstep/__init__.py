"""Guards that services keep in Redis: rate limiter, circuit breaker, audit chain and idempotency store."""

from redstep.audit_chain_errors import AppendUnknown, ChainBroken, CheckpointRefused, NotAppended, SealRefused
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
from redstep.idempotency_errors import (
    FingerprintMismatch,
    InProgress,
    LeaseLost,
    NoEffect,
    NotReplayable,
    ResponseUnusable,
)
from redstep.rate_limiter import Decision, Limit, Region, Usage

__all__ = [
    "AppendUnknown",
    "AsyncAuditChain",
    "AsyncCircuitBreaker",
    "AsyncIdempotencyStore",
    "AsyncRateLimiter",
    "AsyncSharedCircuitBreaker",
    "AuditChain",
    "ChainBroken",
    "CheckpointRefused",
    "CircuitBreaker",
    "CircuitOpen",
    "Corrupt",
    "Decision",
    "FingerprintMismatch",
    "IdempotencyStore",
    "InProgress",
    "LeaseLost",
    "Limit",
    "Misuse",
    "NoEffect",
    "NotAppended",
    "NotReplayable",
    "RateLimiter",
    "RedstepError",
    "Region",
    "ResponseUnusable",
    "Scope",
    "SealRefused",
    "ServiceOverloaded",
    "SharedCircuitBreaker",
    "Unavailable",
    "Usage",
    "async_start_region",
    "start_region",
]
