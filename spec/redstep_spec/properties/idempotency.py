"""What always holds of the idempotency store; what a run of it must have seen stands in `idempotency_seen`."""

from attrs import evolve, frozen

from redstep_spec import idempotency as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Outcome, Replied, Unknown
from redstep_spec.properties import Properties


@frozen(kw_only=True)
class Transition:
    """One call on one scope, the fates of its attempts, and what came of it."""

    before: spec.State
    call: spec.Call
    fates: tuple[Fate, ...] = ()
    outcome: Outcome[spec.Reply]
    after: spec.State
    collected: bool = False
    """Whether the dead record of this scope was removed from the store since it was last written."""
    alike: bool = False
    """Whether another scope is in use that would be this one if their parts were joined by a colon."""

    @property
    def reply(self) -> spec.Reply | None:
        """The reply, if it arrived."""
        return self.outcome.reply if isinstance(self.outcome, Replied) else None

    @property
    def seen(self) -> spec.State:
        """What the call saw: of the dead, nothing."""
        return spec.known(self.before, self.call.now_ms)

    @property
    def owned(self) -> bool:
        """Whether what the call saw has its token."""
        return isinstance(self.seen, spec.Record) and self.seen.token == self.call.token

    @property
    def late(self) -> bool:
        """Whether the lease of what the call saw has ended."""
        return isinstance(self.seen, spec.Claimed) and self.seen.lease_until_ms <= self.call.now_ms

    @property
    def passed_on(self) -> bool:
        """Whether what the call saw had an owner before its last."""
        return isinstance(self.seen, spec.Record) and self.seen.fence > 1

    @property
    def dead(self) -> bool:
        """Whether there is a record, and the call saw nothing of it."""
        return self.seen != self.before

    @property
    def fresh(self) -> bool:
        """Whether the caller was made the owner by this very call."""
        return isinstance(self.reply, spec.Acquired) and self.after != self.before

    @property
    def payload(self) -> tuple[bytes, bool] | None:
        """What would be kept of the response."""
        return spec.kept(self.call.response, self.call.response_max_bytes) if isinstance(self.call, spec.Complete) else None

    def told(self, call: type, reply: type, seen: type | None = None) -> bool:
        """Whether this is such a call with such a reply, in such a state."""
        return isinstance(self.call, call) and isinstance(self.reply, reply) and (seen is None or isinstance(self.seen, seen))


OWNERS = spec.Complete | spec.Release | spec.Renew
"""The calls that are the owner's to make."""

PROPERTIES: Properties[Transition] = Properties()
always = PROPERTIES.holds_always


# ---------------------------------------------------------------------------------------------- always


@always("ID-1")
def a_claim_is_acquired_until_completed(t: Transition) -> bool:
    """What is completed is never acquired, and what is not is never replayed."""
    acquired, replayed = (t.told(spec.Claim, kind) for kind in (spec.Acquired, spec.Replay))
    return not (acquired if isinstance(t.seen, spec.Completed) else replayed)


@always("ID-2")
def the_fingerprint_comes_first(t: Transition) -> bool:
    """A claim with another payload is a mismatch in every state, tells the time alone and changes nothing; no other is one."""
    if not isinstance(t.call, spec.Claim) or isinstance(t.reply, Misuse | None):
        return True
    if isinstance(t.seen, spec.Absent) or t.seen.fingerprint == spec.encoded(t.call.fingerprint):
        return not isinstance(t.reply, spec.Mismatch)
    return t.reply == spec.Mismatch(now_ms=t.call.now_ms) and t.after == t.before


@always("ID-3")
def one_owner(t: Transition) -> bool:
    """A key changes hands only when its lease has ended, it was released, or it is new."""
    if isinstance(t.seen, spec.Absent) or isinstance(t.after, spec.Absent) or t.after.token == t.seen.token:
        return True
    return isinstance(t.seen, spec.Released) or t.late


@always("ID-4")
def retry_after_is_exact(t: Transition) -> bool:
    """Waiting retry_after is enough to take over, and one millisecond less is not."""
    if not isinstance(t.reply, spec.InProgress):
        return True
    waits_ms = (t.reply.retry_after_ms, t.reply.retry_after_ms - 1)
    enough, less = (spec.step(t.after, evolve(t.call, now_ms=t.call.now_ms + wait_ms))[1] for wait_ms in waits_ms)
    return isinstance(enough, spec.Acquired) and isinstance(less, spec.InProgress)


@always("ID-4")
def a_lease_is_never_cut_short(t: Transition) -> bool:
    """As long as a claim keeps its fence, its lease ends no earlier than before; and it is remembered beyond its lease."""
    if not isinstance(t.after, spec.Claimed):
        return True
    same = isinstance(t.seen, spec.Claimed) and t.seen.fence == t.after.fence
    before_ms = t.seen.lease_until_ms if isinstance(t.seen, spec.Claimed) and same else 0
    return before_ms <= t.after.lease_until_ms < t.after.dies_at_ms


@always("ID-5")
def every_owner_has_a_greater_fence(t: Transition) -> bool:
    """The fence grows by one at every takeover, release or not, and else stays as it is; a new key begins with one."""
    known = 0 if isinstance(t.seen, spec.Absent) else t.seen.fence
    fence = 0 if isinstance(t.after, spec.Absent) else t.after.fence
    told = not isinstance(t.reply, spec.Acquired) or t.reply.fence == fence
    return told and (t.after == t.before or fence == known + isinstance(t.call, spec.Claim))


@always("ID-6")
def only_the_owner_acts(t: Transition) -> bool:
    """Nothing is completed, released or renewed but by the token that claimed it last."""
    return not isinstance(t.call, OWNERS) or t.after == t.before or (t.owned and isinstance(t.seen, spec.Claimed))


@always("ID-6")
def refusals_change_nothing(t: Transition) -> bool:
    """Whoever is told anything but acquired, done or renewed has changed nothing, nor has a call that was not sent."""
    may_change = isinstance(t.reply, spec.Acquired | spec.Done | spec.Renewed) or isinstance(t.outcome, Unknown)
    return may_change or t.after == t.before


@always("ID-8")
def what_is_completed_stays(t: Transition) -> bool:
    """Until it dies, nothing changes a completed record: it isn't claimed, and its retention doesn't begin anew."""
    return not isinstance(t.seen, spec.Completed) or t.after == t.before


@always("ID-8")
def the_retention_counts_from_completion(t: Transition) -> bool:
    """What is completed or released now is remembered for the retention, whenever it was claimed."""
    ended = isinstance(t.after, spec.Completed | spec.Released) and t.after != t.before
    return not ended or spec.life_ms(t.after, t.call.now_ms) == t.call.retention_ms


@always("ID-8")
def the_dead_stay_dead(t: Transition) -> bool:
    """What is dead is changed by nothing but a new claim."""
    return not t.dead or t.after == t.before or isinstance(t.call, spec.Claim)


@always("ID-10")
def a_replay_is_what_was_kept(t: Transition) -> bool:
    """A replay is the payload that was kept, or says that it was too large; what was kept is the response, byte for byte."""
    if isinstance(t.reply, spec.Replay) and isinstance(t.seen, spec.Completed):
        return t.reply.replayable == t.seen.replayable and t.reply.response == (t.seen.payload if t.seen.replayable else None)
    if isinstance(t.call, spec.Complete) and isinstance(t.after, spec.Completed) and t.after != t.before:
        fits = len(t.call.response) <= t.call.response_max_bytes
        return t.after.replayable == fits and (not fits or t.after.payload == t.call.response)
    return not isinstance(t.reply, spec.Replay)


@always("CM-4")
def to_send_it_again_is_no_harm(t: Transition) -> bool:
    """A call made twice gets the same reply, and changes nothing more."""
    again = spec.step(t.after, t.call)
    return t.reply is None or again == (t.after, t.reply)
