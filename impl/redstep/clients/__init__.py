"""The guards as services use them, sync and asyncio: the two differ by `await` alone, for what they do is one protocol."""

from redstep.clients.rate_limiter import AsyncRateLimiter, RateLimiter, async_start_region, start_region

__all__ = ["AsyncRateLimiter", "RateLimiter", "async_start_region", "start_region"]
