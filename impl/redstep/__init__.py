"""Guards that services keep in Redis: today the rate limiter."""

from redstep.clients import AsyncRateLimiter, RateLimiter, async_start_region, start_region
from redstep.errors import Corrupt, Misuse, RedstepError, ServiceOverloaded, Unavailable
from redstep.rate_limiter import Decision, Limit, Region, Usage

__all__ = [
    "AsyncRateLimiter",
    "Corrupt",
    "Decision",
    "Limit",
    "Misuse",
    "RateLimiter",
    "RedstepError",
    "Region",
    "ServiceOverloaded",
    "Unavailable",
    "Usage",
    "async_start_region",
    "start_region",
]
