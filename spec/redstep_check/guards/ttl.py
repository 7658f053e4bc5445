"""TTLs: what may be left of one, given when it was written and when it was read."""

import time

from attrs import frozen

EXPLICIT_CLOCK_TTL_MS = 86_400_000
"""CM-2: what every TTL is longer by when the engine's clock must decide nothing."""


@frozen
class Written:
    """A TTL that something was given, and between which instants of a monotonic clock."""

    ttl_ms: int
    after_s: float
    before_s: float

    def bounds_ms(self, read_s: float) -> tuple[float, float]:
        """The least and the most that may be left of it when it was read after this instant and before now."""
        oldest_ms = (time.monotonic() - self.after_s) * 1000 + 1
        youngest_ms = (read_s - self.before_s) * 1000 - 1
        return self.ttl_ms - oldest_ms, self.ttl_ms - youngest_ms
