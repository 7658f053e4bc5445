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
import queue
from collections.abc import Callable, Iterable

from redis.exceptions import (
    ConnectionError,  # noqa: A004  redis-py's own, which is no OSError
    MaxConnectionsError,
    RedisError,
)

from redstep.callables import at_once, checked_function
from redstep.circuit_breaker import Outcome
from redstep.driving import code
from redstep.errors import CircuitOpen, Corrupt, Misuse, ServiceOverloaded, Unavailable

Excluded = type[BaseException] | Callable[[BaseException], bool]
"""Exceptions that are neutral: a class of them, or a predicate."""

NEUTRAL_CODES = frozenset({"NOSCRIPT", "OOM", "WRONGTYPE"})
"""The engine's errors that tell nothing of its health."""
_NEUTRAL = (Misuse, Corrupt, ServiceOverloaded, MaxConnectionsError, concurrent.futures.CancelledError)
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
        or (isinstance(error, RedisError) and (code(error) in NEUTRAL_CODES or _waited_in_vain(error)))
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


def _waited_in_vain(error: RedisError) -> bool:
    """Whether a blocking pool of redis-py ran out: there, a bare ConnectionError takes the place of a timeout, in one frame."""
    over = error.__context__
    if type(error) is not ConnectionError or not isinstance(over, queue.Empty | TimeoutError):
        return False
    raised, handled = error.__traceback__, over.__traceback__
    while raised and raised.tb_next:
        raised = raised.tb_next
    return raised is not None and handled is not None and raised.tb_frame is handled.tb_frame
