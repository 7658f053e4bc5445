"""What always holds of the rate limiter, and what a run of it must have seen."""

from attrs import evolve, frozen

from redstep_spec import rate_limiter as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Failed, Fate, Outcome, Replied, Unknown
from redstep_spec.properties import Properties


@frozen(kw_only=True)
class Transition:
    """One call on the logs of one name, the fates of its attempts, and what came of it."""

    before: spec.Logs
    call: spec.Call
    fates: tuple[Fate, ...]
    outcome: Outcome[spec.Reply]
    after: spec.Logs
    collected: bool = False
    """Whether a dead log of this name was removed from the store since it was last written."""
    overflowing: bool = False
    """Whether more was ever admitted to a log of the call than may be stored of it."""

    @property
    def reply(self) -> spec.Reply | None:
        """The reply, if it arrived."""
        return self.outcome.reply if isinstance(self.outcome, Replied) else None

    @property
    def admitted(self) -> bool:
        """Whether this is an acquire that was told it may proceed."""
        return isinstance(self.reply, spec.Decision) and self.reply.allowed

    @property
    def denied(self) -> bool:
        """Whether this is an acquire that was told it may not."""
        return isinstance(self.reply, spec.Decision) and not self.reply.allowed

    @property
    def acquire(self) -> spec.Acquire | None:
        """The call, if it is an acquire."""
        return self.call if isinstance(self.call, spec.Acquire) else None

    @property
    def cost(self) -> int:
        """The cost of the call."""
        return self.acquire.cost if self.acquire else 1

    @property
    def request_id(self) -> str | None:
        """The identity of the call."""
        return self.acquire.request_id if self.acquire else None

    @property
    def views(self) -> list[spec.View]:
        """What the call saw of each of its limits."""
        region = None if isinstance(self.call, spec.Reset) else self.call.region
        return spec.views(self.before, self.call.limits, region, self.call.now_ms)

    @property
    def earlier(self) -> spec.Admission | None:
        """The admission under the same request id that is still counted."""
        counted = (a for view in self.views for a in view.counted(view.time_ms))
        return next((a for a in counted if self.request_id and a.request_id == self.request_id), None)

    def would_be_admitted(self, logs: spec.Logs, ms: int) -> bool:
        """Whether the same call would be admitted on these logs so many ms later, or earlier."""
        _, reply = spec.step(logs, evolve(self.call, now_ms=self.call.now_ms + ms))
        return isinstance(reply, spec.Decision) and reply.allowed


PROPERTIES: Properties[Transition] = Properties()
always, sometimes = PROPERTIES.holds_always, PROPERTIES.holds_sometimes


# ---------------------------------------------------------------------------------------------- always


@always("RL-2")
def never_over_the_limit(t: Transition) -> bool:
    """When something was charged, no more is counted than the limit in force, whether the reply arrived or not."""
    if t.acquire is None or t.after == t.before:
        return True
    after = [evolve(view, log=spec.log_of(t.after, view.limit.window_ms)) for view in t.views]
    return all(view.used(view.time_ms) <= view.effective(view.time_ms) for view in after)


@always("RL-2")
def never_denied_needlessly(t: Transition) -> bool:
    """A denial means that some limit would be exceeded."""
    return not t.denied or not all(view.fits(t.cost, view.time_ms) for view in t.views)


@always("RL-3")
def refusals_change_nothing(t: Transition) -> bool:
    """A denial, a peek, a misuse and a call that was not sent leave the state as it was."""
    may_change = t.admitted or isinstance(t.call, spec.Reset) or isinstance(t.outcome, Unknown)
    return may_change or t.after == t.before


@always("RL-4")
def retry_after_is_exact(t: Transition) -> bool:
    """Waiting retry_after is enough, and one millisecond less is not."""
    if not isinstance(t.reply, spec.Decision) or t.admitted:
        return True
    wait_ms = t.reply.retry_after_ms
    return t.would_be_admitted(t.after, wait_ms) and not t.would_be_admitted(t.after, wait_ms - 1)


@always("RL-5")
def time_never_runs_backward(t: Transition) -> bool:
    """The stamps of a log never decrease, nor does its newest, unless it is reset."""
    stamps = [[admission.at_ms for admission in log.admissions] for log in t.after]
    newest = [(log.newest_ms or 0, spec.log_of(t.after, log.window_ms).newest_ms or 0) for log in t.before]
    forward = isinstance(t.call, spec.Reset) or all(earlier <= later for earlier, later in newest)
    return forward and all(each == sorted(each) for each in stamps)


@always("RL-7")
def an_identity_is_charged_once(t: Transition) -> bool:
    """A call with a request id, made twice, gives the same verdict and changes nothing more."""
    if not t.request_id or not t.admitted:
        return True
    again, _ = spec.step(t.after, t.call)
    return again == t.after and t.would_be_admitted(t.after, 0)


@always("RL-8")
def nothing_dead_is_kept(t: Transition) -> bool:
    """A log keeps no admission that can never count again."""
    return all(a.at_ms > (log.newest_ms or 0) - log.window_ms for log in t.after for a in log.admissions)


# ---------------------------------------------------------------------------------------------- sometimes: one limit


@sometimes("RL-2")
def admitted(t: Transition) -> bool:
    """A call is admitted."""
    return t.admitted


@sometimes("RL-2")
def denied(t: Transition) -> bool:
    """A call is denied."""
    return t.denied


@sometimes("RL-2")
def the_last_unit_is_taken(t: Transition) -> bool:
    """An admission leaves nothing."""
    return t.admitted and isinstance(t.reply, spec.Decision) and t.reply.remaining == 0


@sometimes("RL-2")
def two_in_one_millisecond(t: Transition) -> bool:
    """Two calls are admitted in one millisecond."""
    return t.admitted and t.earlier is None and any(view.log.newest_ms == view.now_ms for view in t.views)


@sometimes("RL-1")
def exactly_w_old(t: Transition) -> bool:
    """A call is decided when an admission is exactly W old."""
    edges = ((a.at_ms, v.time_ms - v.limit.window_ms) for v in t.views for a in v.log.admissions)
    return isinstance(t.reply, spec.Decision) and any(at_ms == edge_ms for at_ms, edge_ms in edges)


@sometimes("RL-4")
def one_millisecond_early(t: Transition) -> bool:
    """A call is denied one millisecond before it would be admitted."""
    return isinstance(t.reply, spec.Decision) and t.reply.retry_after_ms == 1


@sometimes("RL-4")
def at_the_first_millisecond(t: Transition) -> bool:
    """A call is admitted that one millisecond earlier would have been denied."""
    return t.admitted and not t.would_be_admitted(t.before, -1)


@sometimes("RL-5")
def admitted_behind_the_log(t: Transition) -> bool:
    """A call is admitted while the clock is behind the newest admission."""
    return t.admitted and any(view.now_ms < view.time_ms for view in t.views)


@sometimes("RL-5")
def denied_behind_the_log(t: Transition) -> bool:
    """A call is denied while the clock is behind the newest admission."""
    return t.denied and any(view.now_ms < view.time_ms for view in t.views)


@sometimes("RL-8")
def the_dead_are_dropped(t: Transition) -> bool:
    """An admission finds only dead ones before it."""
    return t.admitted and any(view.log.admissions and not view.counted(view.time_ms) for view in t.views)


@sometimes("RL-8", "stored", "cost")
def more_than_may_be_stored(t: Transition) -> bool:
    """More was admitted to a log than may ever be stored of it."""
    return t.admitted and t.overflowing


@sometimes("RL-6")
def lowered_below_what_counts(t: Transition) -> bool:
    """A limit was lowered below what is counted already."""
    return t.denied and any(view.used(view.time_ms) > view.effective(view.time_ms) for view in t.views)


@sometimes("RL-6")
def two_windows_of_one_name(t: Transition) -> bool:
    """One name has logs of two windows."""
    return len(t.after) > 1


@sometimes("RL-16", "misuse")
def impossible(t: Transition) -> bool:
    """An impossible call is refused before it is sent."""
    return isinstance(t.reply, Misuse)


@sometimes("RL-2", "cost")
def costs_more_than_one(t: Transition) -> bool:
    """A call of a cost above one is admitted."""
    return t.admitted and t.cost > 1


@sometimes("RL-2", "cost")
def too_dear_for_what_remains(t: Transition) -> bool:
    """A call is denied although something remains."""
    return t.denied and isinstance(t.reply, spec.Decision) and t.reply.remaining > 0


# ---------------------------------------------------------------------------------------------- sometimes: identity


@sometimes("RL-7", "request_id")
def met_again_inside_the_window(t: Transition) -> bool:
    """A request id is met again while it counts."""
    return t.admitted and t.earlier is not None


@sometimes("RL-7", "request_id", "cost")
def met_again_with_another_cost(t: Transition) -> bool:
    """A request id is met again with another cost than its first."""
    return t.admitted and t.earlier is not None and t.earlier.cost != t.cost


@sometimes("RL-7", "request_id")
def met_again_after_the_window(t: Transition) -> bool:
    """A request id is admitted afresh, for its first admission is dead."""
    logged = (a.request_id for view in t.views for a in view.log.admissions)
    return t.admitted and t.earlier is None and t.request_id is not None and t.request_id in logged


# ---------------------------------------------------------------------------------------------- sometimes: cold start


@sometimes("RL-9", "region")
def denied_for_the_cold(t: Transition) -> bool:
    """A call is denied that a warm region would admit."""
    warm = evolve(t.acquire, region=None) if t.acquire else None
    return t.denied and warm is not None and evolve(t, call=warm).would_be_admitted(t.before, 0)


@sometimes("RL-9", "region")
def the_first_warm_millisecond(t: Transition) -> bool:
    """A call is decided in the first millisecond of a warm region."""
    return isinstance(t.reply, spec.Decision) and any(v.region and v.time_ms == v.region.warm_at_ms for v in t.views)


@sometimes("RL-9", "region")
def rounded_down(t: Transition) -> bool:
    """A cold limit is rounded down to something above one."""
    if not isinstance(t.reply, spec.Decision) or t.reply.limit == 1:
        return False
    binding = t.views[t.reply.binding]
    is_cold = binding.region is not None and binding.is_cold(binding.time_ms)
    return is_cold and binding.region is not None and binding.region.percent * binding.limit.limit % 100 > 0


@sometimes("RL-6", "region", "cost")
def above_the_cold_limit(t: Transition) -> bool:
    """A cost above the cold limit waits for the end of the cold start."""
    return t.denied and any(v.is_cold(v.time_ms) and t.cost > v.effective(v.time_ms) for v in t.views)


# ---------------------------------------------------------------------------------------------- sometimes: several limits


@sometimes("RL-15", "several")
def the_second_binds(t: Transition) -> bool:
    """Not the first limit is the binding one."""
    return isinstance(t.reply, spec.Decision) and t.reply.binding > 0


@sometimes("RL-15", "several")
def one_has_room_the_other_denies(t: Transition) -> bool:
    """One limit has room, another denies, and neither is charged."""
    return t.denied and any(view.fits(t.cost, view.time_ms) for view in t.views)


@sometimes("RL-15", "several", "region", "cost")
def the_first_of_equals_binds(t: Transition) -> bool:
    """Two limits deny for equally long."""
    waits = sorted(view.retry_after(t.cost) for view in t.views) if t.denied else []
    return len(waits) > 1 and waits[-1] == waits[-2]


# ---------------------------------------------------------------------------------------------- sometimes: other calls


@sometimes("RL-14", "peek")
def a_log_in_use_is_peeked_at(t: Transition) -> bool:
    """A peek sees a log in use."""
    return isinstance(t.reply, spec.Usage) and bool(t.before)


@sometimes("RL-14", "reset")
def a_log_in_use_is_reset(t: Transition) -> bool:
    """A log in use is reset."""
    return isinstance(t.call, spec.Reset) and t.after != t.before


@sometimes("CM-3", "stored")
def the_dead_were_removed(t: Transition) -> bool:
    """A call is decided after the dead log of its name was removed from the store."""
    return t.collected and isinstance(t.reply, spec.Decision)


# ---------------------------------------------------------------------------------------------- sometimes: faults


@sometimes("CM-9", Fate.NOT_SENT.value)
def an_acquire_is_not_sent(t: Transition) -> bool:
    """An acquire does not reach the store."""
    return t.acquire is not None and isinstance(t.outcome, Failed)


@sometimes("CM-4", Fate.REPLY_LOST.value)
def a_plain_admission_is_lost(t: Transition) -> bool:
    """An acquire without identity is charged, and its reply is lost."""
    lost = t.acquire is not None and isinstance(t.outcome, Unknown)
    return lost and t.request_id is None and t.after != t.before


@sometimes("CM-4", Fate.REPLY_LOST.value, "request_id")
def a_lost_acquire_is_sent_again(t: Transition) -> bool:
    """An acquire with an identity is charged, its reply is lost, and it is sent again."""
    return t.admitted and t.fates[:1] == (Fate.REPLY_LOST,) and t.after != t.before


@sometimes("CM-9", Fate.REPLY_LOST.value, Fate.NOT_SENT.value, "request_id")
def lost_and_then_not_sent(t: Transition) -> bool:
    """The second attempt does not reach the store, but the first did."""
    return isinstance(t.outcome, Unknown) and spec.is_idempotent(t.call) and t.fates[1:2] == (Fate.NOT_SENT,)


@sometimes("CM-6", Fate.FLUSHED.value)
def the_script_was_forgotten(t: Transition) -> bool:
    """The engine forgot the scripts just before an acquire."""
    return isinstance(t.reply, spec.Decision) and t.fates[:1] == (Fate.FLUSHED,)
