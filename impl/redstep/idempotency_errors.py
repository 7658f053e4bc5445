"""
What may come of idempotent work beside its response, each an exception of its own.

    RedstepError
    ├── FingerprintMismatch   the key was used for another payload: the work was not run
    ├── InProgress            somebody else is at it: the work was not run here, and may be claimed after `retry_after_ms`
    ├── NotReplayable         it was done, and its response was too large to keep: the work was not run again
    ├── LeaseLost             the lease ended and another took over: carries the response of the work, if it was run
    └── ResponseUnusable      the work was run, and what it returned can't be turned into bytes: carries that

    NoEffect                  raised by the caller's own work: nothing has happened, so that it may be tried again

All but the last can be pickled if the response can; NoEffect is whatever the caller derives from it.
"""

from functools import partial
from typing import Any

from redstep.errors import RedstepError


class FingerprintMismatch(RedstepError):
    """The key was claimed with another fingerprint: two requests share a key and are not the same."""


class InProgress(RedstepError):
    """Somebody else owns the key."""

    def __init__(self, problem: str, *, retry_after_ms: int) -> None:
        super().__init__(f"{problem}; it can be claimed in {retry_after_ms} ms at the latest")
        self.problem = problem
        self.retry_after_ms = retry_after_ms
        """When the lease ends, unless it is renewed; a response may be there before."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), retry_after_ms=self.retry_after_ms), (self.problem,)


class NotReplayable(RedstepError):
    """The work was done, and its response was not kept."""


class WithResponse(RedstepError):
    """An error that comes after the work was run, and carries what it returned, so that it is not lost."""

    def __init__(self, problem: str, *, response: Any) -> None:
        super().__init__(problem)
        self.problem = problem
        self.response = response
        """What the work returned; None if it was still to return."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), response=self.response), (self.problem,)


class LeaseLost(WithResponse):
    """The lease ended and another took over: whatever the work did, somebody else may have done too."""


class ResponseUnusable(WithResponse):
    """The work was run, and its response cannot be stored; a later claim is told that it was done."""


class NoEffect(Exception):
    """Raise it, or an error derived from it, in idempotent work that has changed nothing: the key is free again at once.

    It is the caller's own error, so it is no RedstepError; it is raised on, unchanged.
    """
