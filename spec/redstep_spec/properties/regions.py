"""What always holds across regions, and what a run must have seen."""

from attrs import frozen

from redstep_spec import regions as spec
from redstep_spec.delivery import Fate
from redstep_spec.properties import Properties


@frozen(kw_only=True)
class Transition:
    """One call in a region, the fates of the global attempts, and what came of it."""

    before: spec.State
    call: spec.RegionalAcquire
    fates: tuple[Fate, ...]
    decision: spec.Decision
    after: spec.State
    admitted_ms: tuple[int, ...]
    """When calls were admitted so far, this one included: by whatever region or limit."""
    limits_sum: int
    """The sum of all regions' limits and the global one."""


PROPERTIES: Properties[Transition] = Properties()
always, sometimes = PROPERTIES.holds_always, PROPERTIES.holds_sometimes


@always("RL-11")
def never_over_the_sum_of_limits(t: Transition) -> bool:
    """In any window the admissions of all regions stay within the sum of their limits and the global one."""
    window_ms = t.call.own.limits[0].window_ms
    return sum(at_ms > t.call.own.now_ms - window_ms for at_ms in t.admitted_ms) <= t.limits_sum


@always("RL-10")
def the_global_limit_is_asked_last(t: Transition) -> bool:
    """What a region admits itself is not charged to the global limit."""
    return not t.decision.allowed or t.decision.from_global or t.after.overall == t.before.overall


@sometimes("RL-10")
def admitted_by_the_region(t: Transition) -> bool:
    """A region admits by its own limit."""
    return t.decision.allowed and not t.decision.from_global


@sometimes("RL-10")
def admitted_by_all_regions(t: Transition) -> bool:
    """The global limit admits what the region's own denied."""
    return t.decision.from_global


@sometimes("RL-10")
def both_deny(t: Transition) -> bool:
    """Both limits deny."""
    return not t.decision.allowed and not t.decision.degraded


@sometimes("RL-10", Fate.NOT_SENT.value)
def degraded_for_it_was_not_sent(t: Transition) -> bool:
    """The global deployment cannot be reached."""
    return t.decision.degraded and t.fates[:1] == (Fate.NOT_SENT,)


@sometimes("RL-10", Fate.REPLY_LOST.value)
def degraded_and_charged(t: Transition) -> bool:
    """The global limit admitted, but its reply was lost."""
    return t.decision.degraded and t.after.overall != t.before.overall


@sometimes("RL-11")
def all_limits_are_full(t: Transition) -> bool:
    """As much is admitted in one window as all limits together allow."""
    window_ms = t.call.own.limits[0].window_ms
    return sum(at_ms > t.call.own.now_ms - window_ms for at_ms in t.admitted_ms) == t.limits_sum
