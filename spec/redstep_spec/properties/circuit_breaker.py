"""What always holds of the circuit breaker; what a run of it must have seen stands in `circuit_breaker_seen`."""

from attrs import evolve, frozen

from redstep_spec import circuit_breaker as spec
from redstep_spec.arguments import Misuse
from redstep_spec.circuit_breaker import Closed, HalfOpen, Open
from redstep_spec.circuit_breaker import Outcome as Result
from redstep_spec.delivery import Failed, Fate, Outcome, Replied, Unknown
from redstep_spec.properties import Properties

INTERVENTIONS = (spec.ForceOpen, spec.ForceClose, spec.Reset)


@frozen(kw_only=True)
class Transition:
    """One call on the breaker of one name, the fates of its attempts, and what came of it."""

    before: spec.State
    call: spec.Call
    fates: tuple[Fate, ...]
    outcome: Outcome[spec.Reply]
    after: spec.State
    again: bool = False
    """Whether this is a second report by one handle, which is none."""

    @property
    def reply(self) -> spec.Reply | None:
        """The reply, if it arrived."""
        return self.outcome.reply if isinstance(self.outcome, Replied) else None

    @property
    def executed(self) -> bool:
        """Whether the call took effect, whether its reply arrived or not."""
        return not (self.again or isinstance(self.outcome, Failed) or isinstance(self.reply, Misuse))

    @property
    def admitted(self) -> bool:
        """Whether this is an acquire that was told it may proceed."""
        return isinstance(self.reply, spec.Admitted)

    @property
    def refused(self) -> spec.Refused | None:
        """The reply, if this is an acquire that was told it may not proceed."""
        return self.reply if isinstance(self.reply, spec.Refused) else None

    @property
    def result(self) -> Result | None:
        """The outcome that was reported and counted, whether the reply arrived or not."""
        return self.call.outcome if isinstance(self.call, spec.Report) and self.executed and not self.stale else None

    @property
    def stale(self) -> bool:
        """Whether this is a report under a permit of another epoch, or of a number that is not in flight."""
        if not isinstance(self.call, spec.Report):
            return False
        epoch, number = self.call.permit.epoch, self.call.permit.number
        in_flight = self.before.probes if isinstance(self.before, HalfOpen) else {0} if isinstance(self.before, Closed) else ()
        return epoch != self.before.epoch or number not in in_flight

    @property
    def silent(self) -> bool:
        """Whether an acquire finds probes past their deadline."""
        is_acquire = isinstance(self.call, spec.Acquire) and self.executed
        return is_acquire and isinstance(self.before, HalfOpen) and self.before.is_silent(self.call.now_ms)

    @property
    def probing(self) -> HalfOpen | None:
        """The state after a probe was admitted, whether anybody was told or not."""
        before, after = self.before, self.after
        if not isinstance(self.call, spec.Acquire) or not isinstance(after, HalfOpen):
            return None
        is_new = not isinstance(before, HalfOpen) or after.epoch != before.epoch or after.probes != before.probes
        return after if self.admitted or is_new else None

    def moved(self, old: type[spec.State], new: type[spec.State]) -> bool:
        """Whether a new epoch began, from one kind of state to another."""
        return isinstance(self.before, old) and isinstance(self.after, new) and self.before.epoch != self.after.epoch

    def outlived(self, of: type[spec.State], since: type[spec.State]) -> bool:
        """Whether a result of an older epoch arrives: of a call admitted in one kind of state, in another kind."""
        told = isinstance(self.reply, spec.Counted) and not self.again and isinstance(self.call, spec.Report)
        if not told or not isinstance(self.before, since) or not isinstance(self.call, spec.Report):
            return False
        older = self.call.permit.epoch < self.before.epoch
        return older and (self.call.permit.number > 0) == (of is HalfOpen)

    def would_be_admitted(self, ms: int) -> bool:
        """Whether an acquire is admitted so many ms later, if nothing else happens."""
        call = spec.Acquire(name=self.call.name, policy=self.call.policy, now_ms=self.call.now_ms + ms)
        return isinstance(spec.step(self.after, call)[1], spec.Admitted)


PROPERTIES: Properties[Transition] = Properties()
always = PROPERTIES.holds_always


@always("CB-1")
def every_change_begins_an_epoch(t: Transition) -> bool:
    """The epoch grows by one at a change of state, a renewal and an intervention, and by nothing else."""
    moved = type(t.after) is not type(t.before) or t.silent or (t.executed and isinstance(t.call, INTERVENTIONS))
    return t.after.epoch == t.before.epoch + moved


@always("CB-2")
def opens_at_the_last_failure_of_a_row(t: Transition) -> bool:
    """A closed breaker opens at the F-th failure in a row, or by hand; a success begins the row anew."""
    if not isinstance(t.before, Closed):
        return True
    if t.result is Result.SUCCESS:
        return t.after == Closed(t.before.epoch)
    is_last = t.result is Result.FAILURE and t.before.failures + 1 >= t.call.policy.failure_threshold
    return isinstance(t.after, Open) == (is_last or (t.executed and isinstance(t.call, spec.ForceOpen)))


@always("CB-3")
def opens_for_a_jittered_time(t: Transition) -> bool:
    """Whenever it opens, it is for a time between 0.8 T and 1.2 T."""
    if isinstance(t.before, Open) or not isinstance(t.after, Open):
        return True
    length_ms = t.after.open_until_ms - t.call.now_ms
    return 4 * t.call.policy.open_ms <= 5 * length_ms <= 6 * t.call.policy.open_ms


@always("CB-4")
def only_an_acquire_ends_open(t: Transition) -> bool:
    """What is open stays open until an acquire at open_until or later, or an intervention."""
    if not isinstance(t.before, Open) or isinstance(t.after, Open):
        return True
    is_time = t.call.now_ms >= t.before.open_until_ms
    return (isinstance(t.call, spec.Acquire) and is_time) or isinstance(t.call, INTERVENTIONS)


@always("CB-4")
def an_open_refusal_is_exact(t: Transition) -> bool:
    """One millisecond before the end of a wait for an open breaker, an acquire is still refused."""
    return t.refused is None or t.refused.why == "full" or not t.would_be_admitted(t.refused.retry_after_ms - 1)


@always("CB-4")
def a_view_is_pure(t: Transition) -> bool:
    """A view moves nothing, and says what an acquire at that instant would be told."""
    if not isinstance(t.reply, spec.Seen):
        return not isinstance(t.call, spec.View) or t.after == t.before
    return t.after == t.before and t.would_be_admitted(0) == (t.reply.retry_after_ms == 0)


@always("CB-5")
def never_more_probes_than_successes_are_needed(t: Transition) -> bool:
    """A probe is admitted while successes and probes in flight are fewer than S, or when there is none in flight."""
    if t.probing is None:
        return True
    return len(t.probing.probes) == 1 or t.probing.successes + len(t.probing.probes) <= t.call.policy.success_threshold


@always("CB-5")
def every_probe_has_the_next_number(t: Transition) -> bool:
    """In an epoch of half-open numbers are given in turn from 1 on, and none twice."""
    if t.probing is None:
        return True
    number = t.before.next_number if isinstance(t.before, HalfOpen) and t.before.epoch == t.probing.epoch else 1
    return t.probing.next_number == number + 1 and number in t.probing.probes


@always("CB-6")
def closes_at_the_last_success(t: Transition) -> bool:
    """A half-open breaker closes at the S-th success of its epoch, or by hand; a failure opens it."""
    if not isinstance(t.before, HalfOpen):
        return True
    is_last = t.result is Result.SUCCESS and t.before.successes + 1 >= t.call.policy.success_threshold
    by_hand = t.executed and isinstance(t.call, spec.ForceClose | spec.Reset)
    opened = t.result is Result.FAILURE or (t.executed and isinstance(t.call, spec.ForceOpen))
    return isinstance(t.after, Closed) == (is_last or by_hand) and isinstance(t.after, Open) == opened


@always("CB-6")
def an_epoch_begins_with_nothing(t: Transition) -> bool:
    """A new epoch knows no successes, no failures, and no probe but the one that began it."""
    if t.after.epoch == t.before.epoch or isinstance(t.after, Open):
        return True
    if isinstance(t.after, HalfOpen):
        return (t.after.successes, t.after.probes, t.after.next_number) == (0, frozenset({1}), 2)
    return t.after.failures == 0


@always("CB-7")
def a_stale_result_changes_nothing(t: Transition) -> bool:
    """A result of another epoch, or of a number that is not in flight, is not counted."""
    if not (t.stale or t.again):
        return True
    return t.after == t.before and not (isinstance(t.reply, spec.Counted) and t.reply.counted)


@always("CB-7")
def the_permit_of_a_probe_counts_once(t: Transition) -> bool:
    """After a probe was counted, the same report is stale, and so is every other under its permit."""
    if t.result is None or isinstance(t.before, Closed):
        return True
    _, reply = spec.step(t.after, t.call)
    return isinstance(reply, spec.Counted) and not reply.counted


@always("CB-8")
def no_refusal_is_for_ever(t: Transition) -> bool:
    """After the wait that a refusal tells, an acquire is admitted."""
    return t.refused is None or (t.refused.retry_after_ms >= 1 and t.would_be_admitted(t.refused.retry_after_ms))


@always("CB-8")
def every_probe_is_waited_for(t: Transition) -> bool:
    """When a probe is admitted, all that are in flight have until T from now."""
    if t.probing is None:
        return True
    return t.probing.deadline_ms == t.call.now_ms + t.call.policy.open_ms


@always("CB-8")
def time_matters_only_to_probes_in_flight(t: Transition) -> bool:
    """Half-open without probes in flight, it admits an acquire at any time, in the same epoch."""
    idle = isinstance(t.before, HalfOpen) and not t.before.probes and isinstance(t.call, spec.Acquire)
    return not (idle and t.executed) or (t.after.epoch == t.before.epoch and t.refused is None)


@always("CB-9")
def nothing_keeps_it_open_for_longer(t: Transition) -> bool:
    """From OPEN to OPEN, open_until never moves to a later time."""
    return not (isinstance(t.before, Open) and isinstance(t.after, Open)) or t.after.open_until_ms <= t.before.open_until_ms


@always("CB-9")
def an_epoch_is_announced_by_the_call_that_began_it(t: Transition) -> bool:
    """A reply tells a transition if and only if its own call made one."""
    if not isinstance(t.reply, spec.Admitted | spec.Counted | spec.Forced):
        return isinstance(t.outcome, Unknown) or t.after.epoch == t.before.epoch
    kinds = (spec.kind(t.before), spec.kind(t.after))
    told = t.reply.transition
    return (told is None) if t.after.epoch == t.before.epoch else told == spec.Change(*kinds, t.after.epoch)


@always("CB-10")
def a_neutral_result_only_frees_its_permit(t: Transition) -> bool:
    """A neutral result moves no count and no state; the probe it belongs to is no longer in flight."""
    if t.result is not Result.NEUTRAL or not isinstance(t.call, spec.Report):
        return True
    if isinstance(t.before, HalfOpen):
        return t.after == evolve(t.before, probes=t.before.probes - {t.call.permit.number})
    return t.after == t.before


@always("CB-13")
def no_wait_is_longer_than_could_be_drawn(t: Transition) -> bool:
    """However the clock stepped, a refusal tells a wait of at most 1.2 T, and stores no other deadline."""
    if t.refused is None:
        return True
    deadline_ms = t.after.open_until_ms if isinstance(t.after, Open) else getattr(t.after, "deadline_ms", 0)
    return 5 * t.refused.retry_after_ms <= 6 * t.call.policy.open_ms and deadline_ms == t.call.now_ms + t.refused.retry_after_ms


@always("CB-15")
def an_intervention_is_obeyed(t: Transition) -> bool:
    """After force_open it is open; after force_close and reset it is closed."""
    if not t.executed or not isinstance(t.call, INTERVENTIONS):
        return True
    return isinstance(t.after, Open if isinstance(t.call, spec.ForceOpen) else Closed)


@always("CM-9")
def what_was_not_executed_changed_nothing(t: Transition) -> bool:
    """A misuse, a call that was not sent, and a second report by one handle leave the state as it was."""
    return t.executed or t.after == t.before
