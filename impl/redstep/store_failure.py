"""
Store failure: a limiter goes through a circuit breaker to its store, and its policy decides what the store did not.

    acquire ──▶ breaker ──▶ store ──▶ admitted or denied
                   │          │
                   └──────────┴── refused, unreachable, out of memory, reply lost ──▶ fail open: admitted, degraded
                                                                                      fail closed: Unavailable

So a store that is gone costs a service a few timeouts, and then none: while the breaker is open nothing is sent. Two things are
no failure of the store: a pool without a free connection raises ServiceOverloaded, and what is stored in another form raises
Corrupt, whatever the policy. The breaker learns from neither.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

from attrs import field, frozen

from redstep import circuit_breaker_protocols as breakers
from redstep.circuit_breaker import Policy, State, Transition
from redstep.circuit_breaker_local import LocalBreaker
from redstep.errors import CircuitOpen, Misuse, Unavailable
from redstep.wishes import Announce, Protocol

FAIL_OPEN = "open"
FAIL_CLOSED = "closed"
BREAKER = Policy()
"""The breaker in front of a store, unless another is asked for: five failures, three successes, half a minute."""

T = TypeVar("T")
log = logging.getLogger("redstep")


@frozen
class Failed:
    """The store did not decide."""

    name: str
    problem: str


def warn(event: Failed) -> None:
    """Log that a call was admitted without having been counted."""
    log.warning("rate limiter %r: admitted without being counted: %s", event.name, event.problem)


def tell(transition: Transition) -> None:
    """Log that a store is left alone for a while, or asked again."""
    level = logging.WARNING if transition.to_state is State.OPEN else logging.INFO
    log.log(level, "the breaker in front of the %s store is %s", transition.name, transition.to_state.value)


def as_policy(value: str) -> str:
    """Take what a limiter does when its store fails."""
    if value not in (FAIL_OPEN, FAIL_CLOSED):
        raise Misuse("on_store_failure", f"must be {FAIL_OPEN!r} or {FAIL_CLOSED!r}, not {value!r}")
    return value


def as_breaker(value: Policy) -> Policy:
    """Take the policy of the breaker in front of a store."""
    if not isinstance(value, Policy):
        raise Misuse("breaker", f"must be a redstep.circuit_breaker.Policy, not a {type(value).__name__}")
    return value


def breaker_of(store: str, policy: Policy) -> LocalBreaker:
    """Make the breaker in front of a store."""
    return LocalBreaker(name=store, policy=as_breaker(policy), listeners=tell)


@frozen(kw_only=True)
class Guarded:
    """A store behind its breaker, and what stands for its decision when it makes none."""

    breaker: LocalBreaker
    on_failure: str = field(converter=as_policy)

    def decided(self, name: str, protocol: Protocol[T], otherwise: Callable[[], T]) -> Protocol[T]:
        """Have the store decide, or the policy in its place.

        Raises Corrupt, ServiceOverloaded, and Unavailable when it fails closed.
        """
        try:
            return (yield from through(self.breaker, protocol))
        except CircuitOpen as error:
            if self.on_failure == FAIL_CLOSED:
                raise unavailable(error) from error
        except Unavailable as error:
            if self.on_failure == FAIL_CLOSED:
                raise
            yield Announce((warn,), Failed(name, error.problem))
        return otherwise()

    def asked(self, protocol: Protocol[T]) -> Protocol[T]:
        """Have the store answer what nothing can stand for. Raises Unavailable, Corrupt, ServiceOverloaded."""
        try:
            return (yield from through(self.breaker, protocol))
        except CircuitOpen as error:
            raise unavailable(error) from error


def unavailable(error: CircuitOpen) -> Unavailable:
    """What a breaker's refusal means to the caller of a limiter: the store is not asked for now."""
    return Unavailable(f"the store is not asked: {error}", definite=True)


def through(breaker: LocalBreaker, protocol: Protocol[T]) -> Protocol[T]:
    """Carry a protocol out as a call through a breaker. Raises CircuitOpen, and what the protocol raises."""
    permit = yield from breakers.acquire(breaker)
    try:
        result = yield from protocol
    except GeneratorExit:
        raise
    except BaseException as error:
        yield from breakers.conclude(breaker, permit, error)
        raise
    yield from breakers.conclude(breaker, permit, None)
    return result
