"""
Limits across regions: each region decides by itself, and asks the limit that all share only when it would have to deny.

    acquire ──▶ denied before, and it still holds? ──no──▶ the region's own limit ──▶ admitted
                    │ yes                                       │ denied
                    └──────────────────────┬────────────────────┘
                                           ▼
                                   the global limit ──▶ admitted, and says so
                                     │ denied           │ failed
                                     ▼                  ▼
                         denied, with the shorter    the region's own denial, degraded
                         wait of the two

So a region goes on when the deployment that all share is gone, and the admissions of all regions in any window never exceed
the sum of their limits plus the global one. Nothing that goes wrong with the global call is raised.
"""

import logging
from collections.abc import Iterable

from attrs import evolve, frozen

from redstep import rate_limiter, store_failure
from redstep.arguments import PREFIX
from redstep.circuit_breaker import Policy as BreakerPolicy
from redstep.circuit_breaker_local import LocalBreaker
from redstep.denials import Denials
from redstep.errors import Misuse, RedstepError
from redstep.rate_limiter import PACKED, Decision, Limit, Policy, Region, Usage, as_limits
from redstep.store_failure import BREAKER, Guarded
from redstep.wishes import Announce, Protocol, ReadClock, Store

log = logging.getLogger("redstep")


@frozen
class Degraded:
    """The global limit could not be asked."""

    name: str
    problem: str


def warn(event: Degraded) -> None:
    """Log that a decision is the region's alone."""
    log.warning("rate limiter %r: the global limit could not be asked: %s", event.name, event.problem)


@frozen(kw_only=True)
class Regional:
    """What a limiter decides by: the region's own policy, the global one if any, denials, and the way to its stores."""

    local: Policy
    overall: Policy | None = None
    denials: Denials | None = None
    store: Guarded
    overall_breaker: LocalBreaker


def plan(
    limits: Limit | Iterable[Limit],
    *,
    on_store_failure: str,
    breaker: BreakerPolicy = BREAKER,
    global_limits: Limit | Iterable[Limit] | None = None,
    global_client: object = None,
    cache_denials: bool = False,
    region: Region | None = None,
    representation: str = PACKED,
    prefix: str = PREFIX,
    global_prefix: str = PREFIX,
) -> Regional:
    """Take what a limiter is made with. Raises Misuse."""
    if global_client is not None and global_limits is None:
        raise Misuse("global_client", "is of no use without global_limits")
    if type(cache_denials) is not bool:
        raise Misuse("cache_denials", f"must be True or False, not {cache_denials!r}")
    local = Policy(limits=limits, region=region, representation=representation, prefix=prefix)
    regional = Regional(
        local=local,
        denials=Denials() if cache_denials else None,
        store=Guarded(breaker=store_failure.breaker_of("home", breaker), on_failure=on_store_failure),
        overall_breaker=store_failure.breaker_of("global", breaker),
    )
    if global_limits is None:
        return regional
    overall = evolve(local, limits=as_limits(global_limits, "global_limits"), store=Store.GLOBAL, prefix=global_prefix)
    return evolve(regional, overall=overall)


def acquire(regional: Regional, name: str, cost: int = 1, request_id: str | None = None) -> Protocol[Decision]:
    """Ask the region's limits and, if they deny, the global ones. Raises as `rate_limiter.acquire` does for the region's.

    An identity would be kept in one of two logs, and could be charged in both: with global limits it is a Misuse.
    """
    rate_limiter.check_acquire(regional.local, name, cost, request_id)
    if request_id is not None and regional.overall is not None:
        raise Misuse("request_id", "cannot be admitted just once by a limiter with global limits")
    decision = yield from _acquire_locally(regional, name, cost, request_id)
    overall = regional.overall
    if decision.allowed or overall is None or cost > overall.cost_most:
        return decision
    try:
        second = yield from store_failure.through(regional.overall_breaker, rate_limiter.acquire(overall, name, cost))
    except RedstepError as error:
        yield Announce((warn,), Degraded(name, str(error)))
        return evolve(decision, degraded=True)
    if second.allowed:
        return evolve(second, from_global=True)
    return evolve(decision, retry_after_ms=min(decision.retry_after_ms, second.retry_after_ms))


def _acquire_locally(regional: Regional, name: str, cost: int, request_id: str | None) -> Protocol[Decision]:
    denials = regional.denials
    if denials is None or request_id is not None:
        return (yield from _decide(regional, name, cost, request_id))
    sent_ms: int = yield ReadClock()
    if (known := denials.recall(name, cost, sent_ms)) is not None:
        return known
    decision = yield from _decide(regional, name, cost, None)
    if not decision.allowed:
        denials.remember(name, cost, decision, sent_ms, regional.local.warm_at_ms)
    return decision


def _decide(regional: Regional, name: str, cost: int, request_id: str | None) -> Protocol[Decision]:
    asked = rate_limiter.acquire(regional.local, name, cost, request_id)
    return regional.store.decided(name, asked, regional.local.uncounted)


def peek(regional: Regional, name: str) -> Protocol[Usage]:
    """Ask how much the region's limits have left, without using any. Raises as `rate_limiter.peek`."""
    return regional.store.asked(rate_limiter.peek(regional.local, name))


def reset(regional: Regional, name: str) -> Protocol[None]:
    """Forget what the region admitted; what the global limit admitted stays."""
    try:
        yield from regional.store.asked(rate_limiter.reset(regional.local, name))
    finally:
        if regional.denials is not None:
            regional.denials.forget(name)
