"""A limiter with `except Exception: allowed = True` around it, as a target: it takes every failure for the store's."""

from collections.abc import Sequence

from redstep_check.binding import Answer, Answered, Target
from redstep_check.engines import Engine
from redstep_check.guards.store_failure import Asked
from redstep_spec import store_failure as spec
from redstep_spec.delivery import Fate
from redstep_spec.store_failure import OnFailure, Store


class NaiveFailure(Target[Asked]):
    """An exact limiter without a breaker."""

    def __init__(self, engine: Engine) -> None:
        """It needs no engine: what is naive about it would be so on any."""

    def begin(self) -> None:
        """Forget everything."""
        self._log: list[int] = []

    def call(self, call: Asked, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  it has none but the default
        """Ask the limiter, and do without it if that fails."""
        allowed = call.store not in {Store.FAILS, Store.HAS_NO_CONNECTION} and self._admits(call.call)
        if call.store in {Store.ANSWERS, Store.IS_FULL}:
            return Answered({"error": "", "allowed": allowed, "degraded": False})
        if call.call.policy is OnFailure.FAIL_OPEN:
            return Answered({"error": "", "allowed": True, "degraded": True})
        return Answered({"error": "unavailable"})

    def _admits(self, call: spec.GuardedAcquire) -> bool:
        [limit] = call.own.limits
        if sum(at_ms > call.own.now_ms - limit.window_ms for at_ms in self._log) >= limit.limit:
            return False
        self._log.append(call.own.now_ms)
        return True
