"""
Store failure: what a rate limiter says when the store behind it does not answer.

    acquire ──▶ the breaker ──refuses──────────────────────────┐
                   │ admits                                    ▼
                   ▼                                     fail open: admitted, degraded
                the store ──fails, or its reply is lost──▶     fail closed: unavailable
                   │    │
                   │    └──no connection free──▶ overloaded, whatever the policy
                   ▼
             admitted or denied

Two laws. A limiter has four outcomes, and a caller can tell them apart: a decision, a store that failed, a pool that ran out
and a request that is impossible (RL-16). And the breaker learns of nothing but the store: that this process had no connection
free (RL-13), and that the store is full but alive (RL-17), is neutral for it.
"""

from enum import Enum
from typing import Annotated, Literal

from attrs import evolve, field, frozen

from redstep_spec import circuit_breaker as cb
from redstep_spec import rate_limiter as rl
from redstep_spec.arguments import Misuse

BREAKER = "store"


class OnFailure(Enum):
    """RL-12: what a limiter does when its store fails. It is chosen for each limiter."""

    FAIL_OPEN = "open"
    """Admit, for the service matters more than the limit."""
    FAIL_CLOSED = "closed"
    """Raise, for the limit matters more."""


class Store(Enum):
    """What becomes of the one call to the store, should the breaker let it through."""

    ANSWERS = "answers"
    FAILS = "fails"
    """No server was reached: nothing was executed."""
    LOSES_THE_REPLY = "loses the reply"
    """Executed, but the connection broke before the reply arrived."""
    IS_FULL = "is full"
    """A denial is still answered, and an admission is refused for want of memory."""
    HAS_NO_CONNECTION = "has no connection"
    """This process's pool ran out: nothing was sent."""


@frozen(kw_only=True)
class GuardedAcquire:
    """A call of a limiter behind a breaker."""

    own: rl.Acquire
    policy: OnFailure
    breaker: cb.Policy
    client_ms: int
    """The monotonic clock of the process: the breaker's time, as `own.now_ms` is the store's."""
    open_ms: int
    """What the breaker draws should this call be the one that opens it."""


@frozen
class State:
    """What was admitted under one name, and what the process has learned of its store."""

    breaker: Annotated[cb.State, "RL-12"] = cb.INITIAL
    logs: Annotated[rl.Logs, "RL-2"] = rl.INITIAL


@frozen(kw_only=True)
class Decision:
    """The store's own decision, or the admission that stands for it."""

    error: Annotated[Literal[""], "RL-16"] = field(default="", init=False)
    allowed: Annotated[bool, "RL-12"]
    degraded: Annotated[bool, "RL-12"]
    """Whether it was admitted without having been counted, because the store could not be asked."""
    remaining: Annotated[int, "RL-2"] = 0
    retry_after_ms: Annotated[int, "RL-4"] = 0
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class NotDecided:
    """An error instead of a decision."""

    error: Annotated[Literal["unavailable", "overloaded"], "RL-16"]
    definite: Annotated[bool, "CM-9"]
    """Whether certainly nothing was executed."""
    because: tuple[str, ...] = field(eq=False)


Reply = Decision | NotDecided | Misuse


def acquire(state: State, call: GuardedAcquire, store: Store) -> tuple[State, Reply]:
    """RL-12: through the breaker to the store, if it lets the call through; the impossible reaches neither (RL-6)."""
    if wrong := rl.misuse(call.own):
        return state, wrong
    asking = cb.Acquire(name=BREAKER, policy=call.breaker, now_ms=call.client_ms)
    breaker, permission = cb.acquire(state.breaker, asking)
    state = evolve(state, breaker=breaker)
    if isinstance(permission, cb.Refused):
        return state, failed(call.policy, definite=True)
    logs, reply = asked(state.logs, call, store)
    report = cb.Report(
        name=BREAKER,
        policy=call.breaker,
        now_ms=call.client_ms,
        permit=permission.permit,
        outcome=lesson(reply, store),
        open_ms=call.open_ms,
    )
    return State(cb.report(state.breaker, report)[0], logs), reply


def asked(logs: rl.Logs, call: GuardedAcquire, store: Store) -> tuple[rl.Logs, Decision | NotDecided]:
    """What the store, or the way to it, makes of a call."""
    after, own = rl.acquire(logs, call.own)
    if store is Store.HAS_NO_CONNECTION:
        return logs, NotDecided(error="overloaded", definite=True, because=("RL-13", "RL-16"))
    if store is Store.IS_FULL and own.allowed:
        return logs, failed(call.policy, definite=True, because=("RL-17", "RL-12"))
    if store is Store.FAILS:
        return logs, failed(call.policy, definite=True)
    if store is Store.LOSES_THE_REPLY:
        return after, failed(call.policy, definite=False)
    return after, Decision(
        allowed=own.allowed,
        degraded=False,
        remaining=own.remaining,
        retry_after_ms=own.retry_after_ms,
        because=("RL-17", *own.because) if store is Store.IS_FULL else own.because,
    )


def failed(policy: OnFailure, *, definite: bool, because: tuple[str, ...] = ("RL-12",)) -> Decision | NotDecided:
    """RL-12: the policy decides what the store did not."""
    if policy is OnFailure.FAIL_OPEN:
        return Decision(allowed=True, degraded=True, because=because)
    return NotDecided(error="unavailable", definite=definite, because=(*because, "RL-16"))


def lesson(reply: Decision | NotDecided, store: Store) -> cb.Outcome:
    """What the breaker learns: that the store is well, that it failed, or nothing (CB-10)."""
    if store in {Store.FAILS, Store.LOSES_THE_REPLY}:
        return cb.Outcome.FAILURE
    refused = isinstance(reply, NotDecided) or reply.degraded
    return cb.Outcome.NEUTRAL if refused else cb.Outcome.SUCCESS
