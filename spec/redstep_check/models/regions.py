"""The specification of regions as a target."""

from collections.abc import Sequence

import attrs

from redstep_check.binding import Answer, Answered, Misused, Target
from redstep_spec import regions as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate


class ModelRegions(Target[spec.RegionalAcquire]):
    """What regions decide, and nothing that could be read back."""

    fates = frozenset(Fate)

    def begin(self) -> None:
        """Forget everything."""
        self._state = spec.State()

    def call(self, call: spec.RegionalAcquire, fates: Sequence[Fate]) -> Answer:
        """Take a step."""
        self._state, reply = spec.acquire(self._state, call, fates)
        return Misused(reply.argument) if isinstance(reply, Misuse) else Answered(attrs.asdict(reply))
