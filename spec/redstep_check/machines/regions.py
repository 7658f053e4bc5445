"""The machine of regions: clocks go forward at equal rates, and the global deployment fails as it likes."""

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from redstep_check.guards.rate_limiter import START_MS
from redstep_check.guards.regions import REGIONS, Asked, RegionsSession
from redstep_spec import rate_limiter as rl
from redstep_spec import regions as spec
from redstep_spec.delivery import Fate

regions = st.sampled_from(REGIONS)
limits = st.integers(1, 3)
FATES: tuple[tuple[Fate, ...], ...] = ((), (Fate.NOT_SENT,), (Fate.REPLY_LOST,), (Fate.FLUSHED,))


class RegionsMachine(RuleBasedStateMachine):
    """Draws calls in two regions."""

    def __init__(self, begin: Callable[[], RegionsSession]) -> None:
        super().__init__()
        self.session = begin()
        self.now_ms = START_MS

    @initialize(
        limit=st.integers(1, 3), overall=st.integers(1, 3), window_ms=st.integers(2, 8), ahead_ms=st.integers(-500, 500)
    )
    def adopt_limits(self, limit: int, overall: int, window_ms: int, ahead_ms: int) -> None:
        self.limits = (rl.Limit(limit=limit, window_ms=window_ms),)
        self.overall = (rl.Limit(limit=overall, window_ms=window_ms),)
        self.ahead_ms = ahead_ms

    @rule(ms=st.integers(1, 9))
    def time_passes(self, ms: int) -> None:
        self.now_ms += ms

    @rule(region=regions, fates=st.sampled_from(FATES))
    def acquire(self, region: str, fates: tuple[Fate, ...]) -> None:
        own = rl.Acquire(name="a", limits=self.limits, now_ms=self.now_ms)
        overall = rl.Acquire(name="a", limits=self.overall, now_ms=self.now_ms + self.ahead_ms)
        self.session.play(Asked(spec.RegionalAcquire(region=region, own=own, overall=overall), fates))

    @rule(count=st.integers(2, 4))
    def acquire_everywhere(self, count: int) -> None:
        for _ in range(count):
            for region in REGIONS:
                self.acquire(region, ())
