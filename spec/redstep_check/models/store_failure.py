"""The specification of a limiter behind a breaker as a target."""

from collections.abc import Sequence

import attrs

from redstep_check.binding import Answer, Answered, Misused, Target
from redstep_check.guards.store_failure import Asked
from redstep_spec import store_failure as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate


class ModelStoreFailure(Target[Asked]):
    """What such a limiter says, and nothing that could be read back."""

    features = frozenset({spec.Store.IS_FULL.value})

    def begin(self) -> None:
        """Forget everything."""
        self._state = spec.State()

    def call(self, call: Asked, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  the move says what the store does
        """Take a step."""
        self._state, reply = spec.acquire(self._state, call.call, call.store)
        return Misused(reply.argument) if isinstance(reply, Misuse) else Answered(attrs.asdict(reply))
