"""
How an append ends that does not succeed, and what else may be refused.

    RedstepError
    ├── AppendFailed
    │   ├── NotAppended      certainly not in the chain, and never will be
    │   └── AppendUnknown    it may be in the chain, or not
    ├── Conflict             a cause: others appended first, again and again
    ├── Sealed               a cause: the place of an append that was under way has been sealed
    ├── Regress              a cause: the chain lost what its writer knows
    ├── ChainBroken          records that do not make a chain are not exported
    ├── SealRefused          too few records would stay, or others are stored than were exported
    └── CheckpointRefused    a checkpoint that must not be signed, or a note that is not to be trusted

An append that failed carries its event, so that nothing is lost silently.
"""

from functools import partial
from typing import Any

from redstep.errors import RedstepError


class Conflict(RedstepError):
    """Others appended first, more often than the append was to be tried again."""


class Sealed(RedstepError):
    """The records among which an append would be were sealed before its outcome was known."""


class Regress(RedstepError):
    """The chain has fewer records than its writer knows of, or others: a failover lost its tail, or somebody rewrote it.

    A writer that sees it appends nothing more, for to link on would cover it up. Verify the chain against a checkpoint, and
    make a new client to go on.
    """


class AppendFailed(RedstepError):
    """An append that did not succeed; it is one of the two below."""

    verdict = "failed"

    def __init__(self, event: bytes, append_id: bytes, cause: BaseException, *, spooled: bool = False) -> None:
        super().__init__(f"append {append_id.hex()}: {self.verdict}{', kept in the spool' if spooled else ''}: {cause!r}")
        self.event = event
        """The canonical bytes, as they are hashed and stored."""
        self.append_id = append_id
        """What tells this append from every other."""
        self.cause = self.__cause__ = cause
        """Why: Unavailable, ServiceOverloaded, Corrupt, Conflict, Sealed or Regress; or what interrupted it."""
        self.spooled = spooled
        """Whether the spool keeps it, for a later `drain`."""
        self.together: tuple[AppendFailed, ...] = (self,)
        """All that failed together, each with its own event; more than one only of an `append_all`."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), spooled=self.spooled), (self.event, self.append_id, self.cause), vars(self)


class NotAppended(AppendFailed):
    """The event is certainly not in the chain; to append it again is safe."""

    verdict = "not appended"


class AppendUnknown(AppendFailed):
    """The event may be in the chain; to append it again may put it there twice. A spool finds out."""

    verdict = "may have been appended"


class ChainBroken(RedstepError):
    """What was to be exported is no chain; verify it to see where it breaks."""


class CheckpointRefused(RedstepError):
    """A checkpoint goes back behind an earlier one, or its signature is not that of the key."""


class SealRefused(RedstepError):
    """Fewer records would stay than are to be kept, or others are stored than were exported; nothing was removed."""
