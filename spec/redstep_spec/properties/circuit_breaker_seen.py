"""What a run of the circuit breaker must have seen: every arrow of its diagram, each kind of refusal and of stale result."""

from redstep_spec import circuit_breaker as spec
from redstep_spec.arguments import Misuse
from redstep_spec.circuit_breaker import Closed, HalfOpen, Open
from redstep_spec.circuit_breaker import Outcome as Result
from redstep_spec.delivery import Failed, Fate, Unknown
from redstep_spec.properties import Properties
from redstep_spec.properties.circuit_breaker import Transition

PROPERTIES: Properties[Transition] = Properties()
sometimes = PROPERTIES.holds_sometimes


# ---------------------------------------------------------------------------------------------- sometimes: closed


@sometimes("CB-1")
def admitted_while_closed(t: Transition) -> bool:
    """A closed breaker admits a call."""
    return t.admitted and isinstance(t.before, Closed)


@sometimes("CB-2")
def a_failure_is_counted(t: Transition) -> bool:
    """A failure is counted, and does not open it yet."""
    return t.result is Result.FAILURE and isinstance(t.before, Closed) and isinstance(t.after, Closed)


@sometimes("CB-2")
def a_success_ends_a_row_of_failures(t: Transition) -> bool:
    """A success resets the count of failures."""
    return t.result is Result.SUCCESS and isinstance(t.before, Closed) and t.before.failures > 0


@sometimes("CB-2")
def the_last_of_several_failures_opens_it(t: Transition) -> bool:
    """CLOSED to OPEN: the F-th failure in a row, and F is more than one."""
    return t.result is Result.FAILURE and isinstance(t.before, Closed) and t.before.failures > 0 and isinstance(t.after, Open)


@sometimes("CB-2")
def fewer_failures_are_allowed_than_there_were(t: Transition) -> bool:
    """A failure opens it after F was lowered to what had failed already."""
    tripped = t.result is Result.FAILURE and t.moved(Closed, Open)
    return tripped and isinstance(t.before, Closed) and t.before.failures >= t.call.policy.failure_threshold


# ---------------------------------------------------------------------------------------------- sometimes: open


@sometimes("CB-4")
def refused_one_millisecond_early(t: Transition) -> bool:
    """An open breaker refuses a call one millisecond before open_until."""
    return t.refused is not None and t.refused.why == "open" and t.refused.retry_after_ms == 1


@sometimes("CB-4")
def half_open_at_the_first_millisecond(t: Transition) -> bool:
    """OPEN to HALF_OPEN: an acquire is admitted at exactly open_until."""
    return t.admitted and isinstance(t.before, Open) and t.call.now_ms == t.before.open_until_ms


@sometimes("CB-4")
def half_open_late(t: Transition) -> bool:
    """OPEN to HALF_OPEN: an acquire is admitted long after open_until."""
    return t.admitted and isinstance(t.before, Open) and t.call.now_ms >= t.before.open_until_ms + t.call.policy.open_ms


@sometimes("CB-4", "view")
def still_open_to_a_view(t: Transition) -> bool:
    """A view finds it open, though an acquire would be admitted."""
    return isinstance(t.reply, spec.Seen) and t.reply.state == "open" and t.reply.retry_after_ms == 0


@sometimes("CB-3", "jitter")
def opened_for_the_shortest_time(t: Transition) -> bool:
    """It opens for ceil(0.8 T), which is less than T."""
    open_ms = _opened_for(t)
    return open_ms is not None and open_ms == t.call.policy.open_least_ms < t.call.policy.open_ms


@sometimes("CB-3", "jitter")
def opened_for_the_longest_time(t: Transition) -> bool:
    """It opens for floor(1.2 T), which is more than T."""
    open_ms = _opened_for(t)
    return open_ms is not None and open_ms == t.call.policy.open_most_ms > t.call.policy.open_ms


def _opened_for(t: Transition) -> int | None:
    """How long it is going to be open, if it has just opened."""
    opened = isinstance(t.after, Open) and not isinstance(t.before, Open)
    return t.after.open_until_ms - t.call.now_ms if opened and isinstance(t.after, Open) else None


# ---------------------------------------------------------------------------------------------- sometimes: half-open


@sometimes("CB-5")
def a_probe_beside_another(t: Transition) -> bool:
    """A probe is admitted while another is in flight."""
    return t.admitted and isinstance(t.before, HalfOpen) and isinstance(t.after, HalfOpen) and len(t.after.probes) > 1


@sometimes("CB-5")
def refused_for_it_is_full(t: Transition) -> bool:
    """A half-open breaker refuses a call, for enough probes are in flight."""
    return t.refused is not None and t.refused.why == "full"


@sometimes("CB-5")
def full_of_successes_and_probes(t: Transition) -> bool:
    """It is full by probes in flight and successes together."""
    return t.refused is not None and isinstance(t.before, HalfOpen) and t.before.successes > 0


@sometimes("CB-5")
def fewer_successes_are_needed_than_there_were(t: Transition) -> bool:
    """A probe is admitted after S was lowered to what succeeded already."""
    needed = t.call.policy.success_threshold
    return t.admitted and isinstance(t.before, HalfOpen) and not t.before.probes and t.before.successes >= needed


@sometimes("CB-6")
def the_last_of_several_successes_closes_it(t: Transition) -> bool:
    """HALF_OPEN to CLOSED: the S-th success, and S is more than one."""
    return (
        t.result is Result.SUCCESS and isinstance(t.before, HalfOpen) and t.before.successes > 0 and t.moved(HalfOpen, Closed)
    )


@sometimes("CB-6")
def one_failure_opens_it_again(t: Transition) -> bool:
    """HALF_OPEN to OPEN: a probe fails."""
    return t.result is Result.FAILURE and t.moved(HalfOpen, Open)


@sometimes("CB-6")
def opened_again_after_successes(t: Transition) -> bool:
    """HALF_OPEN to OPEN: a probe fails after others succeeded."""
    return t.result is Result.FAILURE and isinstance(t.before, HalfOpen) and t.before.successes > 0


@sometimes("CB-6")
def a_later_probe_succeeds_first(t: Transition) -> bool:
    """A probe succeeds while one that was admitted before it is in flight."""
    if t.result is not Result.SUCCESS or not isinstance(t.before, HalfOpen) or not isinstance(t.call, spec.Report):
        return False
    return min(t.before.probes) < t.call.permit.number


@sometimes("CB-8")
def full_one_millisecond_before_the_deadline(t: Transition) -> bool:
    """A half-open breaker refuses a call one millisecond before the probe deadline."""
    return t.refused is not None and t.refused.why == "full" and t.refused.retry_after_ms == 1


@sometimes("CB-8")
def probes_are_given_up_at_the_deadline(t: Transition) -> bool:
    """HALF_OPEN renewed: an acquire at exactly the probe deadline gives up the probes in flight."""
    return t.admitted and t.silent and isinstance(t.before, HalfOpen) and t.call.now_ms == t.before.deadline_ms


@sometimes("CB-8")
def probes_are_given_up_though_there_was_room(t: Transition) -> bool:
    """HALF_OPEN renewed: with room for one more."""
    return t.silent and isinstance(t.before, HalfOpen) and t.before.has_room(t.call.policy.success_threshold)


@sometimes("CB-8")
def a_renewal_forgets_successes(t: Transition) -> bool:
    """HALF_OPEN renewed: what succeeded so far is forgotten."""
    return t.silent and isinstance(t.before, HalfOpen) and t.before.successes > 0


@sometimes("CB-8")
def idle_for_long(t: Transition) -> bool:
    """Half-open with none in flight, it admits an acquire after the last deadline, in the same epoch."""
    if not t.admitted or not isinstance(t.before, HalfOpen) or t.before.probes:
        return False
    return t.call.now_ms >= t.before.deadline_ms


@sometimes("CB-8")
def a_probe_succeeds_after_its_deadline(t: Transition) -> bool:
    """A probe succeeds later than its deadline, and counts, for nobody gave it up."""
    late = isinstance(t.before, HalfOpen) and t.before.is_silent(t.call.now_ms)
    return late and t.result is Result.SUCCESS


# ---------------------------------------------------------------------------------------------- sometimes: stale results


@sometimes("CB-7")
def a_result_of_closed_meets_open(t: Transition) -> bool:
    """A result of a call that was admitted while closed arrives while it is open."""
    return t.outlived(Closed, Open)


@sometimes("CB-7")
def a_result_of_closed_meets_half_open(t: Transition) -> bool:
    """A result of a call that was admitted while closed arrives while it is half-open."""
    return t.outlived(Closed, HalfOpen)


@sometimes("CB-7")
def a_result_of_closed_meets_another_closed(t: Transition) -> bool:
    """A result of a call that was admitted while closed arrives when it is closed again."""
    return t.outlived(Closed, Closed)


@sometimes("CB-7")
def a_result_of_a_probe_meets_open(t: Transition) -> bool:
    """A result of a probe arrives when it is open again."""
    return t.outlived(HalfOpen, Open)


@sometimes("CB-7")
def a_result_of_a_probe_meets_another_half_open(t: Transition) -> bool:
    """A result of a probe arrives in a later epoch of half-open."""
    return t.outlived(HalfOpen, HalfOpen)


@sometimes("CB-7")
def a_result_of_a_probe_meets_closed(t: Transition) -> bool:
    """A result of a probe arrives when it is closed."""
    return t.outlived(HalfOpen, Closed)


@sometimes("CB-7", "forged")
def a_number_that_is_not_in_flight(t: Transition) -> bool:
    """A result of the present epoch of half-open carries a number that is not in flight."""
    if not isinstance(t.reply, spec.Counted) or not isinstance(t.call, spec.Report) or t.again:
        return False
    return t.stale and isinstance(t.before, HalfOpen) and t.call.permit.epoch == t.before.epoch


@sometimes("CB-7", "handles")
def reported_again_while_closed(t: Transition) -> bool:
    """One handle is reported twice while its epoch of closed lasts, where permits have no numbers."""
    return t.again and not t.stale and isinstance(t.before, Closed)


@sometimes("CB-7", "handles")
def reported_again_while_half_open(t: Transition) -> bool:
    """One handle of a probe is reported twice."""
    return (
        t.again and isinstance(t.before, HalfOpen) and isinstance(t.call, spec.Report) and t.call.permit.epoch == t.before.epoch
    )


@sometimes("CB-10", "neutral")
def neutral_among_failures(t: Transition) -> bool:
    """A neutral result leaves the count of failures as it is."""
    return t.result is Result.NEUTRAL and isinstance(t.before, Closed) and t.before.failures > 0


@sometimes("CB-10", "neutral")
def neutral_makes_room(t: Transition) -> bool:
    """A neutral result frees the permit of a probe where it was full."""
    if t.result is not Result.NEUTRAL or not isinstance(t.before, HalfOpen):
        return False
    return not t.before.has_room(t.call.policy.success_threshold)


# ---------------------------------------------------------------------------------------------- sometimes: clocks, by hand


@sometimes("CB-13")
def open_for_too_long(t: Transition) -> bool:
    """An acquire finds open_until too far off, for the clock stepped back or T was lowered."""
    return t.refused is not None and isinstance(t.before, Open) and t.after != t.before


@sometimes("CB-13")
def a_probe_deadline_too_far_off(t: Transition) -> bool:
    """An acquire finds the probe deadline too far off."""
    return t.refused is not None and isinstance(t.before, HalfOpen) and t.after != t.before


@sometimes("CB-15", "interventions")
def opened_by_hand_while_closed(t: Transition) -> bool:
    """force_open meets CLOSED."""
    return isinstance(t.call, spec.ForceOpen) and t.moved(Closed, Open)


@sometimes("CB-15", "interventions")
def opened_by_hand_while_open(t: Transition) -> bool:
    """force_open meets OPEN, and leaves open_until as it is."""
    return isinstance(t.call, spec.ForceOpen) and t.moved(Open, Open)


@sometimes("CB-15", "interventions")
def opened_by_hand_while_half_open(t: Transition) -> bool:
    """force_open meets HALF_OPEN."""
    return isinstance(t.call, spec.ForceOpen) and t.moved(HalfOpen, Open)


@sometimes("CB-15", "interventions")
def closed_by_hand_while_failing(t: Transition) -> bool:
    """force_close meets CLOSED with failures counted."""
    return isinstance(t.call, spec.ForceClose) and t.moved(Closed, Closed) and getattr(t.before, "failures", 0) > 0


@sometimes("CB-15", "interventions")
def closed_by_hand_while_open(t: Transition) -> bool:
    """force_close meets OPEN."""
    return isinstance(t.call, spec.ForceClose) and t.moved(Open, Closed)


@sometimes("CB-15", "interventions")
def closed_by_hand_while_half_open(t: Transition) -> bool:
    """force_close meets HALF_OPEN."""
    return isinstance(t.call, spec.ForceClose) and t.moved(HalfOpen, Closed)


@sometimes("CB-15", "interventions")
def reset_while_failing(t: Transition) -> bool:
    """A reset meets CLOSED with failures counted."""
    return isinstance(t.call, spec.Reset) and t.moved(Closed, Closed) and getattr(t.before, "failures", 0) > 0


@sometimes("CB-15", "interventions")
def reset_while_open(t: Transition) -> bool:
    """A reset meets OPEN."""
    return isinstance(t.call, spec.Reset) and t.moved(Open, Closed)


@sometimes("CB-15", "interventions")
def reset_while_half_open(t: Transition) -> bool:
    """A reset meets HALF_OPEN."""
    return isinstance(t.call, spec.Reset) and t.moved(HalfOpen, Closed)


@sometimes("CB-9", "interventions")
def opened_by_hand_and_no_longer_for_it(t: Transition) -> bool:
    """force_open meets OPEN, and what was drawn with it would end later."""
    return isinstance(t.call, spec.ForceOpen) and t.moved(Open, Open) and _would_last(t, t.call.open_ms)


@sometimes("CB-9")
def a_late_failure_and_no_longer_open_for_it(t: Transition) -> bool:
    """A failure is reported while open, and what was drawn with it would end later."""
    is_late = isinstance(t.call, spec.Report) and t.call.outcome is Result.FAILURE and t.executed and t.stale
    return is_late and _would_last(t, getattr(t.call, "open_ms", 0))


def _would_last(t: Transition, open_ms: int) -> bool:
    return isinstance(t.before, Open) and t.call.now_ms + open_ms > t.before.open_until_ms


# ---------------------------------------------------------------------------------------------- sometimes: faults


@sometimes("CM-9", "misuse")
def a_call_that_no_breaker_answers(t: Transition) -> bool:
    """A call is the caller's mistake."""
    return isinstance(t.reply, Misuse)


@sometimes("CM-4", Fate.REPLY_LOST.value)
def a_probe_that_nobody_knows_of(t: Transition) -> bool:
    """A probe is admitted, and its reply is lost."""
    lost = isinstance(t.outcome, Unknown) and isinstance(t.call, spec.Acquire)
    return lost and isinstance(t.after, HalfOpen) and t.after != t.before


@sometimes("CM-4", Fate.REPLY_LOST.value)
def a_result_counts_though_nobody_hears(t: Transition) -> bool:
    """A report changes the state, and its reply is lost."""
    return isinstance(t.outcome, Unknown) and isinstance(t.call, spec.Report) and t.after != t.before


@sometimes("CB-9", Fate.REPLY_LOST.value)
def an_epoch_that_nobody_announces(t: Transition) -> bool:
    """A new epoch begins, and the reply that tells it is lost."""
    return isinstance(t.outcome, Unknown) and t.after.epoch > t.before.epoch


@sometimes("CM-4", Fate.REPLY_LOST.value, "view")
def a_lost_view_is_sent_again(t: Transition) -> bool:
    """The reply of a view is lost, and it is sent again."""
    return isinstance(t.reply, spec.Seen) and t.fates[:1] == (Fate.REPLY_LOST,)


@sometimes("CM-9", Fate.NOT_SENT.value)
def a_result_is_not_sent(t: Transition) -> bool:
    """A report does not reach the store."""
    return isinstance(t.outcome, Failed) and isinstance(t.call, spec.Report)


@sometimes("CM-6", Fate.FLUSHED.value)
def a_breaker_whose_script_was_forgotten(t: Transition) -> bool:
    """The engine forgot the scripts just before a call."""
    return t.reply is not None and t.executed and t.fates[:1] == (Fate.FLUSHED,)
