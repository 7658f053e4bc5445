"""The guards that can be checked, and what they are put together to."""

from redstep_check.registry import circuit_breaker, idempotency, rate_limiter, regions, store_failure

GUARDS = {each.GUARD.name: each.GUARD for each in (rate_limiter, circuit_breaker, idempotency, regions, store_failure)}
