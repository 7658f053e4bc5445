"""Naive regions as a target: when the deployment that all share cannot be asked, they let everything through."""

from collections import defaultdict
from collections.abc import Sequence

from redstep_check.binding import Answer, Answered, Target
from redstep_check.engines import Engine
from redstep_spec import rate_limiter as rl
from redstep_spec import regions as spec
from redstep_spec.delivery import Fate


class NaiveRegions(Target[spec.RegionalAcquire]):
    """Two limits as everybody would write them, with `except ConnectionError: pass` around the second."""

    fates = frozenset({Fate.DELIVERED, Fate.NOT_SENT})

    def __init__(self, engine: Engine) -> None:
        """It needs no engine: what is naive about it would be so on any."""

    def begin(self) -> None:
        """Forget everything."""
        self._logs: defaultdict[str, list[int]] = defaultdict(list)

    def call(self, call: spec.RegionalAcquire, fates: Sequence[Fate]) -> Answer:
        """Ask the region's limit, then the global one."""
        allowed = self._admits(call.region, call.own)
        if not allowed:
            allowed = Fate.NOT_SENT in fates or self._admits("", call.overall)
        return Answered({"allowed": allowed})

    def _admits(self, place: str, call: rl.Acquire) -> bool:
        [limit] = call.limits
        log = self._logs[place]
        if sum(at_ms > call.now_ms - limit.window_ms for at_ms in log) >= limit.limit:
            return False
        log.append(call.now_ms)
        return True
