"""The guards that can be checked: the four, and a limiter across regions and in front of a store that fails."""

from redstep_check.registry import audit_chain, circuit_breaker, idempotency, rate_limiter, regions, store_failure

GUARDS = {
    each.GUARD.name: each.GUARD for each in (rate_limiter, circuit_breaker, audit_chain, idempotency, regions, store_failure)
}
