"""
Errors say whose fault it is, and whether anything can have happened.

    RedstepError
    ├── Misuse              the caller's: raised before any command is sent
    ├── Unavailable         the store's: `definite` tells whether it certainly executed nothing
    ├── Corrupt             what is stored breaks an invariant: nothing was changed, and somebody must look
    │   └── UnexpectedReply what answers is not the script that was called
    ├── ServiceOverloaded   this process's: no connection was free, no command was sent
    ├── CircuitOpen         nobody's: a circuit breaker refused a call, which was not made
    ├── more in audit_chain_errors: what becomes of an append, and what else a chain refuses
    └── more in idempotency_errors: what may come of idempotent work beside its response

All of them can be pickled, so that they reach a caller in another process.
"""

from functools import partial
from typing import Any

from redis.exceptions import MaxConnectionsError


class RedstepError(Exception):
    """What every error of this package is."""


class Misuse(RedstepError, ValueError):
    """An argument that no state of the store could make right; no command was sent."""

    def __init__(self, argument: str, problem: str) -> None:
        super().__init__(argument, problem)
        self.argument = argument
        """The name of the argument at fault."""

    def __str__(self) -> str:
        return ": ".join(self.args)


class Unavailable(RedstepError):
    """The store could not be asked, or its answer was lost."""

    def __init__(self, problem: str, *, definite: bool, code: str | None = None) -> None:
        super().__init__(f"{problem} ({'nothing was executed' if definite else 'it may have been executed'})")
        self.problem = problem
        self.definite = definite
        """True: certainly nothing was executed. False: it may have been, so a call without identity is not to be repeated."""
        self.code = code
        """The code of the engine's own error, such as OOM or READONLY; None if it answered none."""

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), definite=self.definite, code=self.code), (self.problem,)


class Corrupt(RedstepError):
    """Stored state breaks an invariant of its guard; nothing was changed."""


class UnexpectedReply(Corrupt):
    """A script answered something else than it is to answer: another one lies under its name."""


class ServiceOverloaded(MaxConnectionsError, RedstepError):
    """No connection of this process's pool was free in time; no command was sent."""


class CircuitOpen(RedstepError):
    """A circuit breaker refused a call, which was not made."""

    def __init__(self, name: str, why: str, retry_after_ms: int, identity: str = "") -> None:
        super().__init__(name, why, retry_after_ms, identity)
        self.name = name
        """The breaker's."""
        self.why = why
        """`open`: calls failed. `full`: it is half-open, and the probes in flight are as many as it wants."""
        self.retry_after_ms = retry_after_ms
        """The wait after which the breaker would admit a call if nothing else happened; a full one may have room earlier."""
        self.identity = identity
        """Which breaker it is, of all that have this name; empty if that is not known."""

    def __str__(self) -> str:
        return f"the circuit breaker {self.name!r} is {self.why}: retry in {self.retry_after_ms} ms"
