"""The specification of the rate limiter as a target."""

from collections.abc import Sequence

import attrs

from redstep_check.binding import Answer, Answered, Misused, Target
from redstep_check.guards.rate_limiter import expected
from redstep_spec import rate_limiter as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Replied


class ModelRateLimiter(Target[spec.Call]):
    """The specification of the rate limiter; it stores nothing that could be read back or run out."""

    features = frozenset({"cost", "request_id", "region", "several", "peek", "reset", "misuse"})
    fates = frozenset(Fate)

    def __init__(self) -> None:
        self._logs: dict[str, spec.Logs] = {}

    def begin(self) -> None:
        """Forget everything."""
        self._logs = {}

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Take a step."""
        self._logs[call.name], outcome = expected(self._logs.get(call.name, spec.INITIAL), call, tuple(fates))
        if not isinstance(outcome, Replied):
            return outcome
        if isinstance(outcome.reply, Misuse):
            return Misused(outcome.reply.argument)
        return Answered(attrs.asdict(outcome.reply))
