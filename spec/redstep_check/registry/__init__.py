"""The guards that can be checked."""

from redstep_check.registry import rate_limiter, regions, store_failure

GUARDS = {each.GUARD.name: each.GUARD for each in (rate_limiter, regions, store_failure)}
