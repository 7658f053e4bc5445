"""The naive limiter as a target: it says yes or no, and nothing else."""

from collections.abc import Sequence
from importlib import resources

from redstep_check.binding import Answer, Answered, Target, session_prefix
from redstep_check.engines import Engine
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Fate

SCRIPT = resources.files("redstep_check.naive").joinpath("rate_limiter.lua").read_text(encoding="utf-8")


class NaiveRateLimiter(Target[spec.Call]):
    """Trim, count, add: with the caller's clock, and the timestamp as member."""

    def __init__(self, engine: Engine) -> None:
        self._client = engine.client()
        self._engine = engine

    def begin(self) -> None:
        """Start anew under another prefix."""
        self._prefix = session_prefix(self._engine.prefix)

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  it has none but the default
        """Carry out an acquire."""
        [limit] = call.limits
        key = f"{self._prefix}{call.name}:{limit.window_ms}"
        allowed = self._client.eval(SCRIPT, 1, key, call.now_ms, limit.window_ms, limit.limit)
        return Answered({"allowed": bool(allowed)})

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
