"""What always holds of a limiter whose store may fail, and what a run must have seen."""

from attrs import frozen

from redstep_spec import circuit_breaker as cb
from redstep_spec import store_failure as spec
from redstep_spec.properties import Properties


@frozen(kw_only=True)
class Transition:
    """One call, what became of it on its way to the store, and what came of it."""

    before: spec.State
    call: spec.GuardedAcquire
    store: spec.Store
    reply: spec.Decision | spec.NotDecided
    after: spec.State

    @property
    def is_asked(self) -> bool:
        """Whether the breaker let the call through."""
        opened = self.before.breaker
        return not isinstance(opened, cb.Open) or self.call.client_ms >= opened.open_until_ms

    @property
    def stands_in(self) -> bool:
        """Whether the policy decided."""
        return "RL-12" in self.reply.because


PROPERTIES: Properties[Transition] = Properties()
always, sometimes = PROPERTIES.holds_always, PROPERTIES.holds_sometimes


@always("RL-12")
def a_limiter_that_fails_open_never_denies_for_the_store(t: Transition) -> bool:
    """Failing open admits, marked degraded, whatever the store does; failing closed never does."""
    degraded = isinstance(t.reply, spec.Decision) and t.reply.degraded
    return not t.stands_in or degraded == (t.call.policy is spec.OnFailure.FAIL_OPEN)


@always("RL-12")
def what_is_not_asked_is_not_charged(t: Transition) -> bool:
    """While the breaker refuses, nothing reaches the store."""
    return t.is_asked or t.after.logs == t.before.logs


@always("RL-13")
def the_pool_is_neutral(t: Transition) -> bool:
    """That no connection was free moves no count of the breaker, and leaves no probe in flight."""
    if t.store is not spec.Store.HAS_NO_CONNECTION or not t.is_asked:
        return True
    if isinstance(t.before.breaker, cb.Closed):
        return t.after.breaker == t.before.breaker
    return isinstance(t.after.breaker, cb.HalfOpen) and not t.after.breaker.probes


@always("RL-12")
def no_call_leaves_a_permit(t: Transition) -> bool:
    """However a call ends, its permit is given back."""
    return not getattr(t.after.breaker, "probes", ())


@sometimes("RL-12")
def admitted_though_the_store_failed(t: Transition) -> bool:
    """A limiter that fails open admits when the store fails."""
    return t.is_asked and t.stands_in and isinstance(t.reply, spec.Decision)


@sometimes("RL-12")
def admitted_though_the_breaker_refused(t: Transition) -> bool:
    """A limiter that fails open admits without asking the store."""
    return not t.is_asked and isinstance(t.reply, spec.Decision)


@sometimes("RL-12")
def refused_for_the_store_failed(t: Transition) -> bool:
    """A limiter that fails closed raises when the store fails, definitely."""
    return t.is_asked and isinstance(t.reply, spec.NotDecided) and t.store is spec.Store.FAILS


@sometimes("RL-12")
def refused_for_the_reply_was_lost(t: Transition) -> bool:
    """A limiter that fails closed raises when the reply is lost, and says that the call may have been charged."""
    return isinstance(t.reply, spec.NotDecided) and not t.reply.definite


@sometimes("RL-12")
def refused_by_the_breaker(t: Transition) -> bool:
    """A limiter that fails closed raises without asking the store."""
    return not t.is_asked and isinstance(t.reply, spec.NotDecided)


@sometimes("RL-12")
def opened_by_failures(t: Transition) -> bool:
    """A store that fails again and again opens the breaker."""
    return isinstance(t.before.breaker, cb.Closed) and isinstance(t.after.breaker, cb.Open)


@sometimes("RL-12")
def closed_by_answers(t: Transition) -> bool:
    """A store that answers again closes the breaker."""
    return isinstance(t.before.breaker, cb.HalfOpen) and isinstance(t.after.breaker, cb.Closed)


@sometimes("RL-12")
def a_denial_is_an_answer(t: Transition) -> bool:
    """A denial is no failure: the breaker counts it as a success."""
    denied = isinstance(t.reply, spec.Decision) and not t.reply.allowed
    return denied and getattr(t.before.breaker, "failures", 0) > 0 and t.after.breaker != t.before.breaker


@sometimes("RL-13")
def overloaded(t: Transition) -> bool:
    """The process has no connection free, between two failures."""
    return t.is_asked and t.store is spec.Store.HAS_NO_CONNECTION and getattr(t.before.breaker, "failures", 0) > 0


@sometimes("RL-13")
def overloaded_as_a_probe(t: Transition) -> bool:
    """The breaker is half-open for a call that then has no connection; that it became so stands."""
    return isinstance(t.before.breaker, cb.Open) and t.is_asked and t.store is spec.Store.HAS_NO_CONNECTION


@sometimes("RL-17", spec.Store.IS_FULL.value)
def full_and_denying(t: Transition) -> bool:
    """A store without memory denies."""
    return t.is_asked and t.store is spec.Store.IS_FULL and not t.stands_in


@sometimes("RL-17", spec.Store.IS_FULL.value)
def full_and_refusing(t: Transition) -> bool:
    """A store without memory refuses to admit, which the breaker does not hold against it."""
    return t.is_asked and t.store is spec.Store.IS_FULL and t.stands_in and getattr(t.before.breaker, "failures", 0) > 0
