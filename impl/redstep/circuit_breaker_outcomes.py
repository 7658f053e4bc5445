"""
Outcomes: what an exception of a call tells of what was called.

An Exception is a failure, a timeout of the call's own included. Neutral are

    cancellations       CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit, whatever else is no Exception
    the caller's        the exceptions that a breaker is told to exclude; Misuse
    the data's          WRONGTYPE, NOSCRIPT, OOM and Corrupt: the store answers, and would answer others
    this process's      no connection of its pool is free; this very breaker refused a call that was made within a call,
                        which is told by the identity that a refusal carries: others may have its name
"""

import concurrent.futures
import logging
from collections.abc import Callable, Iterable

from redis.exceptions import RedisError

from redstep.callables import at_once, checked_function
from redstep.circuit_breaker import Outcome
from redstep.errors import CircuitOpen, Corrupt, Misuse, Unavailable
from redstep.redis_errors import code, ran_out

Excluded = type[BaseException] | Callable[[BaseException], bool]
"""Exceptions that are neutral: a class of them, or a predicate."""

NEUTRAL_CODES = frozenset({"NOSCRIPT", "OOM", "WRONGTYPE"})
"""The engine's errors that tell nothing of its health."""
_NEUTRAL = (Misuse, Corrupt, concurrent.futures.CancelledError)
log = logging.getLogger("redstep")


def as_excluded(value: Excluded | Iterable[Excluded]) -> tuple[Excluded, ...]:
    """Take what is excluded: a class of exceptions, a predicate, or several of them. Raises Misuse."""
    several = tuple(value) if isinstance(value, Iterable) and not callable(value) else (value,)
    for each in several:
        if not callable(each) or (isinstance(each, type) and not issubclass(each, BaseException)):
            raise Misuse("excluded", f"must hold classes of exceptions and predicates, holds {each!r}")
        checked_function("excluded", each)
    return several


def outcome_of(error: BaseException, identity: str, excluded: tuple[Excluded, ...]) -> Outcome:
    """Tell what an exception of a call means for the breaker of this identity."""
    neutral = (
        not isinstance(error, Exception)
        or isinstance(error, _NEUTRAL)
        or (isinstance(error, CircuitOpen) and error.identity == identity)
        or (isinstance(error, Unavailable) and error.code in NEUTRAL_CODES)
        or (isinstance(error, RedisError) and code(error) in NEUTRAL_CODES)
        or ran_out(error)
        or any(_excludes(each, error) for each in excluded)
    )
    return Outcome.NEUTRAL if neutral else Outcome.FAILURE


def _excludes(excluded: Excluded, error: BaseException) -> bool:
    if isinstance(excluded, type):
        return isinstance(error, excluded)
    try:
        return bool(at_once("excluded", excluded(error)))
    except Exception:
        log.exception("a predicate failed on %r, which counts as a failure", error)
        return False
