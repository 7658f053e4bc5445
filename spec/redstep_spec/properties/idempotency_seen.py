"""What a run of the idempotency store must have seen: each reply in each state, both sides of every deadline, every loss."""

from redstep_spec import idempotency as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Failed, Fate, Unknown
from redstep_spec.properties import Properties
from redstep_spec.properties.idempotency import Transition

PROPERTIES: Properties[Transition] = Properties()
sometimes = PROPERTIES.holds_sometimes


# ---------------------------------------------------------------------------------------------- sometimes: claims


@sometimes("ID-1")
def acquired_anew(t: Transition) -> bool:
    """A key that nothing was ever known of is claimed."""
    return t.fresh and isinstance(t.before, spec.Absent)


@sometimes("ID-1")
def acquired_again(t: Transition) -> bool:
    """The owner claims again inside its lease, with less of it left than it asks for."""
    left_ms = t.seen.lease_until_ms - t.call.now_ms if isinstance(t.seen, spec.Claimed) else 0
    return t.told(spec.Claim, spec.Acquired) and not t.fresh and left_ms < getattr(t.call, "lease_ms", 0)


@sometimes("ID-3")
def in_progress(t: Transition) -> bool:
    """Another claims inside the lease."""
    return isinstance(t.reply, spec.InProgress)


@sometimes("ID-4")
def in_the_last_millisecond_of_the_lease(t: Transition) -> bool:
    """Another claims one millisecond before it could take over."""
    return isinstance(t.reply, spec.InProgress) and t.reply.retry_after_ms == 1


@sometimes("ID-4")
def in_the_first_millisecond_after_the_lease(t: Transition) -> bool:
    """A claim takes over that one millisecond earlier would not have."""
    return t.fresh and isinstance(t.seen, spec.Claimed) and t.seen.lease_until_ms == t.call.now_ms


@sometimes("ID-4")
def taken_over_by_another(t: Transition) -> bool:
    """Another token takes over after the lease."""
    return t.fresh and t.late and not t.owned


@sometimes("ID-4")
def taken_over_by_itself(t: Transition) -> bool:
    """The owner's own token claims after its lease, and is an owner anew."""
    return t.fresh and t.late and t.owned


@sometimes("ID-5")
def taken_over_twice(t: Transition) -> bool:
    """A key has its third owner."""
    return isinstance(t.reply, spec.Acquired) and t.fresh and t.reply.fence > 2


@sometimes("ID-5", "release")
def claimed_after_a_release(t: Transition) -> bool:
    """Another claims what was released."""
    return t.fresh and isinstance(t.seen, spec.Released) and not t.owned


@sometimes("ID-5", "release")
def claimed_by_who_released_it(t: Transition) -> bool:
    """Who released a key claims it once more."""
    return t.fresh and isinstance(t.seen, spec.Released) and t.owned


@sometimes("ID-1")
def replayed_to_its_owner(t: Transition) -> bool:
    """Who completed the work is told what it came to."""
    return isinstance(t.reply, spec.Replay) and t.owned


@sometimes("ID-1")
def replayed_to_another(t: Transition) -> bool:
    """Another is told what the work came to."""
    return isinstance(t.reply, spec.Replay) and t.reply.replayable and not t.owned


@sometimes("ID-10")
def an_empty_response_is_replayed(t: Transition) -> bool:
    """A response of no bytes is a response."""
    return isinstance(t.reply, spec.Replay) and t.reply.response == b""


@sometimes("ID-10", "not_replayable")
def told_that_it_is_not_replayable(t: Transition) -> bool:
    """A claim is told that the work is done, and its response too large to be kept."""
    return isinstance(t.reply, spec.Replay) and not t.reply.replayable


@sometimes("ID-8")
def in_the_last_millisecond_of_the_retention(t: Transition) -> bool:
    """A response is replayed that one millisecond later would be forgotten."""
    return isinstance(t.reply, spec.Replay) and spec.life_ms(t.before, t.call.now_ms) == 1


@sometimes("ID-8")
def new_after_the_retention(t: Transition) -> bool:
    """A key is claimed in the first millisecond after the retention of its response."""
    return t.fresh and isinstance(t.before, spec.Completed) and t.before.dies_at_ms == t.call.now_ms


@sometimes("ID-4")
def new_after_it_was_abandoned(t: Transition) -> bool:
    """A key is claimed whose owner died long ago."""
    return t.fresh and t.dead and isinstance(t.before, spec.Claimed)


@sometimes("ID-5", "release")
def new_after_the_tombstone(t: Transition) -> bool:
    """A key is claimed whose tombstone is dead: the fence begins anew."""
    return t.fresh and t.dead and isinstance(t.before, spec.Released)


# ---------------------------------------------------------------------------------------------- sometimes: fingerprints


@sometimes("ID-2", "fingerprint")
def another_payload_of_a_claim(t: Transition) -> bool:
    """Another payload meets a claim inside its lease."""
    return t.told(spec.Claim, spec.Mismatch, spec.Claimed) and not t.late


@sometimes("ID-2", "fingerprint")
def another_payload_of_the_owner_itself(t: Transition) -> bool:
    """The owner's own token comes with another payload."""
    return t.told(spec.Claim, spec.Mismatch, spec.Claimed) and t.owned


@sometimes("ID-2", "fingerprint")
def another_payload_after_the_lease(t: Transition) -> bool:
    """Another payload meets a claim after its lease."""
    return t.told(spec.Claim, spec.Mismatch, spec.Claimed) and t.late


@sometimes("ID-2", "fingerprint")
def another_payload_of_a_response(t: Transition) -> bool:
    """Another payload meets a completed record."""
    return t.told(spec.Claim, spec.Mismatch, spec.Completed)


@sometimes("ID-2", "fingerprint", "release")
def another_payload_of_a_tombstone(t: Transition) -> bool:
    """Another payload meets a tombstone."""
    return t.told(spec.Claim, spec.Mismatch, spec.Released)


@sometimes("ID-8", "fingerprint")
def another_payload_of_the_dead(t: Transition) -> bool:
    """Another payload claims a key that is new again."""
    return t.fresh and t.dead and getattr(t.before, "fingerprint", b"") != getattr(t.after, "fingerprint", b"")


# ---------------------------------------------------------------------------------------------- sometimes: complete


@sometimes("ID-6")
def completed(t: Transition) -> bool:
    """The owner completes inside its lease."""
    return t.told(spec.Complete, spec.Done, spec.Claimed) and not t.late


@sometimes("ID-4")
def completed_after_the_lease(t: Transition) -> bool:
    """The owner completes after its lease, for nobody has taken over."""
    return t.told(spec.Complete, spec.Done, spec.Claimed) and t.late


@sometimes("ID-6")
def completed_again(t: Transition) -> bool:
    """The owner completes once more with the same response, when the retention would end later if it began anew."""
    if not isinstance(t.seen, spec.Completed) or not t.told(spec.Complete, spec.Done):
        return False
    return t.call.now_ms + t.call.retention_ms > t.seen.dies_at_ms


@sometimes("ID-6")
def completed_otherwise(t: Transition) -> bool:
    """The owner completes once more with another response."""
    return t.told(spec.Complete, spec.Conflict)


@sometimes("ID-6")
def completed_too_late(t: Transition) -> bool:
    """Somebody completes what another has taken over."""
    return t.told(spec.Complete, spec.StaleOwner, spec.Claimed) and t.passed_on


@sometimes("ID-6")
def completed_by_another_already(t: Transition) -> bool:
    """Somebody completes what another has completed."""
    return t.told(spec.Complete, spec.StaleOwner, spec.Completed)


@sometimes("ID-6", "release")
def completed_after_its_release(t: Transition) -> bool:
    """Who released a key completes it."""
    return t.told(spec.Complete, spec.StaleOwner, spec.Released) and t.owned


@sometimes("ID-8")
def completed_after_its_death(t: Transition) -> bool:
    """The owner completes a claim that is dead: it isn't brought back."""
    return t.told(spec.Complete, spec.StaleOwner) and t.dead and getattr(t.before, "token", "") == t.call.token


@sometimes("ID-10", "not_replayable")
def just_small_enough(t: Transition) -> bool:
    """A response is kept that is exactly as large as may be."""
    return isinstance(t.call, spec.Complete) and t.after != t.before and len(t.call.response) == t.call.response_max_bytes


@sometimes("ID-10", "not_replayable")
def too_large_by_one(t: Transition) -> bool:
    """A response is one byte too large."""
    return isinstance(t.call, spec.Complete) and t.after != t.before and len(t.call.response) == t.call.response_max_bytes + 1


@sometimes("ID-10", "not_replayable")
def too_large_again(t: Transition) -> bool:
    """The owner completes once more with a response that was too large, and it is known again."""
    return t.told(spec.Complete, spec.Done, spec.Completed) and t.payload is not None and not t.payload[1]


@sometimes("ID-10", "not_replayable")
def too_large_and_otherwise(t: Transition) -> bool:
    """The owner completes once more, too large as before, but with another response."""
    was_too_large = isinstance(t.seen, spec.Completed) and not t.seen.replayable
    return t.told(spec.Complete, spec.Conflict) and was_too_large and t.payload is not None and not t.payload[1]


# ---------------------------------------------------------------------------------------------- sometimes: release, renew


@sometimes("ID-7", "release")
def released(t: Transition) -> bool:
    """The owner releases inside its lease."""
    return t.told(spec.Release, spec.Done, spec.Claimed) and not t.late


@sometimes("ID-4", "release")
def released_after_the_lease(t: Transition) -> bool:
    """The owner releases after its lease, for nobody has taken over."""
    return t.told(spec.Release, spec.Done, spec.Claimed) and t.late


@sometimes("ID-6", "release")
def released_again(t: Transition) -> bool:
    """Who released a key releases it once more."""
    return t.told(spec.Release, spec.Done, spec.Released)


@sometimes("ID-6", "release")
def released_too_late(t: Transition) -> bool:
    """Somebody releases what another has taken over."""
    return t.told(spec.Release, spec.StaleOwner, spec.Claimed) and t.passed_on


@sometimes("ID-6", "release")
def released_after_completion(t: Transition) -> bool:
    """The owner releases what it has completed."""
    return t.told(spec.Release, spec.Conflict)


@sometimes("ID-8", "release")
def released_after_its_death(t: Transition) -> bool:
    """Somebody releases what is dead."""
    return t.told(spec.Release, spec.StaleOwner) and t.dead


@sometimes("ID-4", "renew")
def renewed(t: Transition) -> bool:
    """The owner renews inside its lease, and it is longer."""
    return t.told(spec.Renew, spec.Renewed) and not t.late and t.after != t.before


@sometimes("ID-4", "renew")
def renewed_by_less_than_is_left(t: Transition) -> bool:
    """The owner asks for less than is left of its lease: it isn't made shorter."""
    left_ms = t.seen.lease_until_ms - t.call.now_ms if isinstance(t.seen, spec.Claimed) else 0
    return t.told(spec.Renew, spec.Renewed) and getattr(t.call, "lease_ms", 0) < left_ms


@sometimes("ID-4", "renew")
def renewed_after_the_lease(t: Transition) -> bool:
    """The owner renews after its lease, for nobody has taken over."""
    return t.told(spec.Renew, spec.Renewed) and t.late


@sometimes("ID-6", "renew")
def renewed_too_late(t: Transition) -> bool:
    """Somebody renews the lease of what another has taken over."""
    return t.told(spec.Renew, spec.StaleOwner, spec.Claimed) and t.passed_on


@sometimes("ID-6", "renew", "release")
def renewed_after_its_release(t: Transition) -> bool:
    """Who released a key renews its lease."""
    return t.told(spec.Renew, spec.StaleOwner, spec.Released) and t.owned


@sometimes("ID-6", "renew")
def renewed_after_completion(t: Transition) -> bool:
    """The owner renews the lease of what it has completed."""
    return t.told(spec.Renew, spec.Conflict)


@sometimes("ID-8", "renew")
def renewed_after_its_death(t: Transition) -> bool:
    """Somebody renews the lease of what is dead."""
    return t.told(spec.Renew, spec.StaleOwner) and t.dead


# ---------------------------------------------------------------------------------------------- sometimes: all of them


@sometimes("ID-6")
def of_what_nobody_claimed(t: Transition) -> bool:
    """Somebody acts as the owner of a key that nothing was ever known of."""
    return isinstance(t.reply, spec.StaleOwner) and isinstance(t.before, spec.Absent)


@sometimes("ID-9", "tenants")
def alike_but_for_the_colons(t: Transition) -> bool:
    """A key is claimed while another is in use that would be the same if tenant, operation and key were joined by colons."""
    return t.fresh and t.alike and isinstance(t.before, spec.Absent)


@sometimes("CM-9", "misuse")
def impossible(t: Transition) -> bool:
    """An impossible call is refused before it is sent."""
    return isinstance(t.reply, Misuse)


@sometimes("CM-3", "stored")
def the_dead_were_removed(t: Transition) -> bool:
    """A call is answered after the dead record of its key was removed from the store."""
    return t.collected and t.reply is not None and not isinstance(t.reply, Misuse)


@sometimes("CM-9", Fate.NOT_SENT.value)
def not_sent(t: Transition) -> bool:
    """A call does not reach the store."""
    return isinstance(t.outcome, Failed)


@sometimes("CM-4", Fate.REPLY_LOST.value)
def a_lost_claim_is_sent_again(t: Transition) -> bool:
    """A claim is acquired, its reply is lost, and it is sent again."""
    return t.fresh and t.fates[:1] == (Fate.REPLY_LOST,)


@sometimes("CM-4", Fate.REPLY_LOST.value)
def a_lost_completion_is_sent_again(t: Transition) -> bool:
    """A response is kept, the reply is lost, and it is sent again."""
    return t.told(spec.Complete, spec.Done, spec.Claimed) and t.fates[:1] == (Fate.REPLY_LOST,)


@sometimes("CM-4", Fate.REPLY_LOST.value)
def claimed_without_knowing_it(t: Transition) -> bool:
    """A claim is acquired, and no reply arrives."""
    return isinstance(t.call, spec.Claim) and isinstance(t.outcome, Unknown) and t.after != t.before


@sometimes("CM-4", Fate.REPLY_LOST.value)
def completed_without_knowing_it(t: Transition) -> bool:
    """A response is kept, and no reply arrives."""
    return isinstance(t.call, spec.Complete) and isinstance(t.outcome, Unknown) and t.after != t.before


@sometimes("CM-9", Fate.REPLY_LOST.value, Fate.NOT_SENT.value)
def lost_and_then_not_sent(t: Transition) -> bool:
    """The second attempt does not reach the store, but the first did."""
    return isinstance(t.outcome, Unknown) and t.fates[1:2] == (Fate.NOT_SENT,)


@sometimes("CM-6", Fate.FLUSHED.value)
def the_script_was_forgotten(t: Transition) -> bool:
    """The engine forgot the scripts just before a call."""
    return t.reply is not None and not isinstance(t.reply, Misuse) and t.fates[:1] == (Fate.FLUSHED,)
