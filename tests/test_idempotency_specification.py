"""
The specification of the idempotency store is attacked: each rule by examples made by hand, and all of them by an oracle.

The oracle keeps no state but a journal of what was granted. It counts owners instead of numbering them, and finds each wait by
trying one millisecond after the other.
"""

from hashlib import sha256
from itertools import pairwise, permutations

import pytest
from attrs import evolve, field, mutable
from hypothesis import given, settings
from hypothesis import strategies as st

from redstep_spec.arguments import MAX_INTEGER, Misuse
from redstep_spec.idempotency import (
    INITIAL,
    RESPONSE_MAX_BYTES,
    Absent,
    Acquired,
    Call,
    Claim,
    Claimed,
    Complete,
    Completed,
    Conflict,
    Done,
    InProgress,
    Mismatch,
    Release,
    Released,
    Renew,
    Renewed,
    Replay,
    Reply,
    Scope,
    StaleOwner,
    State,
    is_idempotent,
    known,
    life_ms,
    step,
)

SCOPE = Scope("tenant", "operation", "key")
LEASE_MS, RETENTION_MS = 10, 50
X, Y, Z = "x", "y", "z"
"""Tokens."""


def claim(at_ms: int, token: str = X, fingerprint: bytes | str = "f", *, lease_ms: int = LEASE_MS) -> Claim:
    """A claim."""
    return Claim(scope=SCOPE, fingerprint=fingerprint, token=token, lease_ms=lease_ms, retention_ms=RETENTION_MS, now_ms=at_ms)


def complete(at_ms: int, token: str = X, response: bytes = b"r", *, most: int = RESPONSE_MAX_BYTES) -> Complete:
    """A completion."""
    return Complete(
        scope=SCOPE, token=token, response=response, retention_ms=RETENTION_MS, now_ms=at_ms, response_max_bytes=most
    )


def release(at_ms: int, token: str = X) -> Release:
    """A release."""
    return Release(scope=SCOPE, token=token, retention_ms=RETENTION_MS, now_ms=at_ms)


def renew(at_ms: int, token: str = X, *, lease_ms: int = LEASE_MS) -> Renew:
    """A renewal."""
    return Renew(scope=SCOPE, token=token, lease_ms=lease_ms, retention_ms=RETENTION_MS, now_ms=at_ms)


@mutable
class Store:
    """One scope under the specification."""

    state: State = INITIAL

    def make(self, *calls: Call) -> Reply:
        """Make calls; the reply of the last."""
        reply: Reply | None = None
        for call in calls:
            self.state, reply = step(self.state, call)
        assert reply is not None
        return reply

    def would(self, call: Call) -> Reply:
        """Ask without changing anything."""
        return step(self.state, call)[1]


def after(*calls: Call) -> Store:
    """The store after these calls."""
    store = Store()
    if calls:
        store.make(*calls)
    return store


def acquired(at_ms: int, fence: int = 1, *, lease_ms: int = LEASE_MS) -> Acquired:
    """Do the work."""
    return Acquired(fence=fence, lease_until_ms=at_ms + lease_ms, now_ms=at_ms, because=())


def replay(at_ms: int, response: bytes | None = b"r") -> Replay:
    """It was done."""
    return Replay(response=response, replayable=response is not None, now_ms=at_ms, because=())


def done(at_ms: int) -> Done:
    """So be it."""
    return Done(now_ms=at_ms, because=())


def stale(at_ms: int) -> StaleOwner:
    """It is not yours."""
    return StaleOwner(now_ms=at_ms, because=())


CLAIMED = after(claim(100))
ENDED = after(claim(100, lease_ms=1))
COMPLETED = after(claim(100), complete(105))
TOO_LARGE = after(claim(100), complete(105, response=b"long", most=3))
RELEASED = after(claim(100), release(105))
LIVING = {"claimed": CLAIMED, "ended": ENDED, "completed": COMPLETED, "too large": TOO_LARGE, "released": RELEASED}
IN_EVERY_STATE = pytest.mark.parametrize("name", LIVING)


# ---------------------------------------------------------------------------------------------- ID-1, ID-2


def test_a_new_key_is_acquired_with_fence_one() -> None:
    """ID-1: and the lease is counted from the time of the claim."""
    assert Store().make(claim(100)) == acquired(100)


def test_the_same_token_again_is_told_the_same() -> None:
    """ID-1: as long as its lease runs; nothing is extended by it."""
    store = after(claim(100))
    before = store.state
    assert store.make(claim(109)) == evolve(acquired(100), now_ms=109)
    assert store.state is before


def test_another_waits() -> None:
    """ID-1, ID-3: and is told for how long."""
    assert CLAIMED.would(claim(103, Y)) == InProgress(retry_after_ms=7, now_ms=103, because=())


def test_what_is_completed_is_replayed_to_everybody() -> None:
    """ID-1: to its owner, whose reply may have been lost, and to others, inside the lease and after it."""
    for token in (X, Y):
        for at_ms in (105, 111, 154):
            assert COMPLETED.would(claim(at_ms, token)) == replay(at_ms)


@IN_EVERY_STATE
@pytest.mark.parametrize("token", [X, Y])
def test_another_payload_is_a_mismatch_in_every_state(name: str, token: str) -> None:
    """ID-2: whoever asks; the answer has no field but the time, and nothing changes."""
    store = evolve(LIVING[name])
    before = store.state
    assert store.make(claim(106, token, "g")) == Mismatch(now_ms=106)
    assert store.state is before


@IN_EVERY_STATE
def test_the_same_payload_never_is(name: str) -> None:
    """ID-2: a text and its UTF-8 are the same payload."""
    for fingerprint in ("f", b"f"):
        assert not isinstance(LIVING[name].would(claim(106, Y, fingerprint)), Mismatch)


@IN_EVERY_STATE
def test_another_payload_of_a_dead_key_is_a_new_one(name: str) -> None:
    """ID-2, ID-8: nothing is remembered of it."""
    assert LIVING[name].would(claim(1_000, Y, "g")) == acquired(1_000)


@pytest.mark.parametrize("fingerprint", [b"f\0", b"F", b"ff", "f ", b"\xc3\xa9", "\u00e9x"])
def test_fingerprints_are_compared_byte_for_byte(fingerprint: bytes | str) -> None:
    """ID-2: nothing is trimmed, folded or cut."""
    assert isinstance(CLAIMED.would(claim(101, X, fingerprint)), Mismatch)


# ---------------------------------------------------------------------------------------------- ID-3, ID-4, ID-5


@pytest.mark.parametrize("order", list(permutations("xyz")))
def test_of_many_at_once_one_is_given_the_work(order: tuple[str, ...]) -> None:
    """ID-3: whoever comes first; all in one millisecond."""
    store = Store()
    replies = [store.make(claim(100, token)) for token in order]
    assert [type(reply) for reply in replies] == [Acquired, InProgress, InProgress]


def test_a_lease_ends_to_the_millisecond() -> None:
    """ID-4: at its last millisecond another waits for one more; at its end it takes over."""
    assert CLAIMED.would(claim(109, Y)) == InProgress(retry_after_ms=1, now_ms=109, because=())
    assert CLAIMED.would(claim(110, Y)) == acquired(110, 2)


def test_its_own_token_takes_over_too() -> None:
    """ID-4, ID-5: after its lease the same token is another owner: what it began before may still be under way."""
    assert CLAIMED.would(claim(110)) == acquired(110, 2)


def test_a_takeover_has_a_lease_and_a_life_of_its_own() -> None:
    """ID-4: nothing of the first claim's times remains."""
    store = after(claim(100), claim(130, Y, lease_ms=3))
    assert store.state == Claimed(fingerprint=b"f", token=Y, fence=2, lease_until_ms=133, dies_at_ms=183)


@pytest.mark.parametrize("at_ms", [109, 110, 111, 159])
def test_until_a_takeover_the_owner_may_act_however_late(at_ms: int) -> None:
    """ID-4: complete, release and renew are done after the lease as inside it."""
    assert CLAIMED.would(complete(at_ms)) == done(at_ms)
    assert CLAIMED.would(release(at_ms)) == done(at_ms)
    assert CLAIMED.would(renew(at_ms)) == Renewed(lease_until_ms=at_ms + 10, now_ms=at_ms, because=())


def test_an_abandoned_claim_is_forgotten_after_its_lease_and_the_retention() -> None:
    """ID-4: until then the fence is remembered."""
    assert CLAIMED.would(claim(159, Y)) == acquired(159, 2)
    assert CLAIMED.would(claim(160, Y)) == acquired(160, 1)


def test_every_owner_has_a_greater_fence() -> None:
    """ID-5: over takeovers and releases, whosever."""
    store = after(claim(100))
    fences = [store.make(call) for call in (claim(110, Y), claim(120), claim(130))]
    store.make(release(131))
    fences += [store.make(claim(131, Z))]
    assert [reply.fence for reply in fences if isinstance(reply, Acquired)] == [2, 3, 4, 5]


def test_a_tombstone_remembers_the_fence_for_the_retention() -> None:
    """ID-5: counted from the release."""
    assert RELEASED.would(claim(105, Y)) == acquired(105, 2)
    assert RELEASED.would(claim(154)) == acquired(154, 2)
    assert RELEASED.would(claim(155)) == acquired(155, 1)


def test_renew_makes_a_lease_longer_and_never_shorter() -> None:
    """ID-4: the later of what there was and what is asked for; and the record dies as much later."""
    store = after(claim(100))
    assert store.make(renew(105, lease_ms=4)) == Renewed(lease_until_ms=110, now_ms=105, because=())
    assert store.make(renew(105, lease_ms=6)) == Renewed(lease_until_ms=111, now_ms=105, because=())
    assert store.state == Claimed(fingerprint=b"f", token=X, fence=1, lease_until_ms=111, dies_at_ms=161)
    assert isinstance(store.would(claim(110, Y)), InProgress)
    assert isinstance(store.would(claim(111, Y)), Acquired)


def test_a_clock_that_steps_back_shortens_no_lease() -> None:
    """ID-4: the wait is counted from the raw now, and may be longer than the lease."""
    store = after(claim(100), renew(90))
    assert store.would(claim(90, Y)) == InProgress(retry_after_ms=20, now_ms=90, because=())


# ---------------------------------------------------------------------------------------------- ID-6, ID-7


TAKEN_OVER = after(claim(100), claim(110, Y))
OWNERS_CALLS = (complete(120), release(120), renew(120))


@pytest.mark.parametrize("call", OWNERS_CALLS, ids=lambda call: type(call).__name__)
def test_whoever_is_not_the_owner_changes_nothing(call: Call) -> None:
    """ID-6: nobody's key, another's claim, one that was taken over, another's response or tombstone."""
    stranger = evolve(call, token=Z)
    for store, asked in [(Store(), call), (TAKEN_OVER, call), *((each, stranger) for each in LIVING.values())]:
        state, reply = step(store.state, asked)
        assert reply == stale(120)
        assert state is store.state


def test_to_complete_again_is_no_harm() -> None:
    """ID-6: the same response is done again, and its retention isn't restarted; another is a conflict."""
    state, reply = step(COMPLETED.state, complete(150))
    assert reply == done(150)
    assert state is COMPLETED.state
    state, reply = step(COMPLETED.state, complete(150, response=b"s"))
    assert reply == Conflict(now_ms=150)
    assert state is COMPLETED.state


def test_to_release_again_is_no_harm() -> None:
    """ID-6: the tombstone dies when it would have."""
    state, reply = step(RELEASED.state, release(150))
    assert reply == done(150)
    assert state is RELEASED.state


def test_what_is_completed_is_not_released_nor_renewed() -> None:
    """ID-6: not by its owner either, who is told that it has completed it."""
    for call in (release(106), renew(106)):
        state, reply = step(COMPLETED.state, call)
        assert reply == Conflict(now_ms=106)
        assert state is COMPLETED.state


def test_what_is_released_is_not_completed_nor_renewed() -> None:
    """ID-6: who gave a key up has to claim it again."""
    for call in (complete(106), renew(106)):
        assert RELEASED.would(call) == stale(106)


def test_a_release_gives_the_key_to_whoever_comes_next() -> None:
    """ID-7: at once, in the middle of the lease."""
    assert after(claim(100), release(100)).make(claim(100, Y)) == acquired(100, 2)
    assert RELEASED.state == Released(fingerprint=b"f", token=X, fence=1, dies_at_ms=155)


# ---------------------------------------------------------------------------------------------- ID-8, ID-9, ID-10


def test_the_retention_counts_from_completion() -> None:
    """ID-8: to the millisecond, however long the work took."""
    late = after(claim(100), complete(159))
    assert late.would(claim(208, Y)) == replay(208)
    assert late.would(claim(209, Y)) == acquired(209)


@IN_EVERY_STATE
def test_nothing_brings_the_dead_back(name: str) -> None:
    """ID-8: the owner of old is a stranger, and what is stored stays as it is."""
    state = LIVING[name].state
    assert not isinstance(state, Absent)
    for call in (complete(state.dies_at_ms), release(state.dies_at_ms), renew(state.dies_at_ms)):
        after_it, reply = step(state, call)
        assert reply == stale(state.dies_at_ms)
        assert after_it is state


def test_a_late_completion_does_not_disturb_the_new_key() -> None:
    """ID-8, ID-5: though the fence began anew, the token tells the owners apart."""
    store = after(claim(100), claim(200, Y))
    assert store.make(complete(201, response=b"late")) == stale(201)
    assert store.make(complete(202, Y, b"new")) == done(202)
    assert store.make(claim(203)) == replay(203, b"new")


@pytest.mark.parametrize("response", [b"", b"\0", bytes(range(256)) * 9, b"\r\n", b"\xff\xfe"])
def test_a_response_is_replayed_byte_for_byte(response: bytes) -> None:
    """ID-10: whatever it holds, even nothing."""
    assert after(claim(100), complete(101, response=response)).would(claim(102, Y)) == replay(102, response)


@pytest.mark.parametrize("most", [0, 1, 7, RESPONSE_MAX_BYTES])
def test_a_response_is_kept_up_to_the_limit(most: int) -> None:
    """ID-10: one byte more, and a later claim is told that it is completed, not replayable, and is never given the work."""
    fits = after(claim(100), complete(101, response=b"." * most, most=most))
    assert fits.would(claim(102, Y)) == replay(102, b"." * most)
    large = after(claim(100), complete(101, response=b"." * (most + 1), most=most))
    assert large.would(claim(102, Y)) == replay(102, None)
    assert large.would(claim(151, X)) == acquired(151)


def test_a_response_that_was_too_large_is_known_again() -> None:
    """ID-10, ID-6: by its SHA-256; another as large is a conflict, and so is the digest itself, given as a response."""
    assert isinstance(TOO_LARGE.state, Completed)
    assert TOO_LARGE.state.payload == sha256(b"long").digest()
    assert TOO_LARGE.would(complete(106, response=b"long", most=3)) == done(106)
    assert TOO_LARGE.would(complete(106, response=b"long?", most=3)) == Conflict(now_ms=106)
    assert TOO_LARGE.would(complete(106, response=sha256(b"long").digest())) == Conflict(now_ms=106)


# ---------------------------------------------------------------------------------------------- CM-7, CM-9: arguments


@pytest.mark.parametrize("call", [claim(100), *OWNERS_CALLS], ids=lambda call: type(call).__name__)
@pytest.mark.parametrize("value", ["", "x" * 513, "{", "\n", "\ud800", None, b"x", 3])
def test_what_is_no_name_is_refused(call: Call, value: object) -> None:
    """CM-7, ID-9: each part of a scope, and the token."""
    for part in ("tenant", "operation", "key"):
        wrong = evolve(call, scope=evolve(SCOPE, **{part: value}))  # type: ignore[arg-type]
        assert step(CLAIMED.state, wrong) == (CLAIMED.state, Misuse(part))
    assert step(CLAIMED.state, evolve(call, token=value)) == (CLAIMED.state, Misuse("token"))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", None, True, MAX_INTEGER + 1])
def test_what_is_no_duration_is_refused(value: object) -> None:
    """CM-9: one millisecond is the least, of a lease and of a retention."""
    for leased in (claim(100), renew(100)):
        assert Store().would(evolve(leased, lease_ms=value)) == Misuse("lease_ms")  # type: ignore[arg-type]
    for call in (claim(100), *OWNERS_CALLS):
        assert Store().would(evolve(call, retention_ms=value)) == Misuse("retention_ms")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", b"", "x" * 513, b"x" * 513, "\u20ac" * 171, "\ud800", None, 3, bytearray(b"f")])
def test_what_is_no_fingerprint_is_refused(value: object) -> None:
    """ID-2: 1 to 512 bytes, or a text of as many."""
    assert Store().would(evolve(claim(100), fingerprint=value)) == Misuse("fingerprint")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [b"f", "f", b"\0" * 512, "{\n}", "\u20ac" * 170])
def test_a_fingerprint_may_hold_anything(value: bytes | str) -> None:
    """ID-2: it is no name."""
    assert Store().would(claim(100, fingerprint=value)) == acquired(100)


def test_a_response_is_bytes_and_its_limit_a_size() -> None:
    """ID-10: a text would have to be encoded by somebody, and again the same way."""
    for value in ("r", None, bytearray(b"r")):
        assert CLAIMED.would(evolve(complete(101), response=value)) == Misuse("response")  # type: ignore[arg-type]
    for limit in (-1, 1.5, None):
        wrong = evolve(complete(101), response_max_bytes=limit)  # type: ignore[arg-type]
        assert CLAIMED.would(wrong) == Misuse("response_max_bytes")


def test_the_largest_times_can_be_added() -> None:
    """CM-8: the instant of death stays below 2^53."""
    utmost = evolve(claim(MAX_INTEGER, lease_ms=MAX_INTEGER), retention_ms=MAX_INTEGER)
    state = after(utmost).state
    assert not isinstance(state, Absent)
    assert state.dies_at_ms < 2**53


@pytest.mark.parametrize("call", [claim(100), *OWNERS_CALLS], ids=lambda call: type(call).__name__)
def test_every_call_may_be_sent_again(call: Call) -> None:
    """CM-4: for each carries the token of its caller."""
    assert is_idempotent(call)


# ---------------------------------------------------------------------------------------------- the oracle


@mutable
class Oracle:
    """Keeps what was granted since the key was last new; all else is found by looking at it."""

    journal: list[Call] = field(factory=list)

    def owners(self) -> list[Claim]:
        """Everybody who was ever given the work."""
        return [call for call in self.journal if isinstance(call, Claim)]

    def lease_until(self) -> int:
        """The latest end that the last owner was promised."""
        start = max(i for i, call in enumerate(self.journal) if isinstance(call, Claim))
        return max(call.now_ms + call.lease_ms for call in self.journal[start:] if isinstance(call, Claim | Renew))

    def forgotten(self, now_ms: int) -> bool:
        """Has the retention passed since the end of what was last granted?"""
        last = self.journal[-1]
        end_ms = last.now_ms if isinstance(last, Complete | Release) else self.lease_until()
        return now_ms - end_ms >= last.retention_ms

    def make(self, call: Call) -> Reply:
        """Answer, by looking through the journal."""
        if self.journal and self.forgotten(call.now_ms):
            if not isinstance(call, Claim):
                return stale(call.now_ms)
            self.journal.clear()
        reply, granted = self.claim(call) if isinstance(call, Claim) else self.act(call)
        if granted:
            self.journal.append(call)
        return reply

    def claim(self, call: Claim) -> tuple[Reply, bool]:
        """The first owner's payload is everybody's."""
        if not self.journal:
            return acquired(call.now_ms, lease_ms=call.lease_ms), True
        first, last = self.owners()[0], self.journal[-1]
        if bytes(first.fingerprint, "utf-8") != bytes(call.fingerprint, "utf-8"):  # type: ignore[arg-type]  # texts alone
            return Mismatch(now_ms=call.now_ms), False
        if isinstance(last, Complete):
            fits = len(last.response) <= last.response_max_bytes
            return replay(call.now_ms, last.response if fits else None), False
        waits_ms = next(ms for ms in range(1_000) if call.now_ms + ms >= self.lease_until())
        if isinstance(last, Release) or waits_ms == 0:
            return acquired(call.now_ms, len(self.owners()) + 1, lease_ms=call.lease_ms), True
        if self.owners()[-1].token == call.token:
            until_ms = self.lease_until()
            return Acquired(fence=len(self.owners()), lease_until_ms=until_ms, now_ms=call.now_ms, because=()), False
        return InProgress(retry_after_ms=waits_ms, now_ms=call.now_ms, because=()), False

    def act(self, call: Complete | Release | Renew) -> tuple[Reply, bool]:
        """Only the last owner, and only once."""
        if not self.journal or self.owners()[-1].token != call.token:
            return stale(call.now_ms), False
        last = self.journal[-1]
        if isinstance(last, Complete | Release) and type(last) is type(call):
            same = not isinstance(call, Complete) or call.response == getattr(last, "response", None)
            return (done(call.now_ms) if same else Conflict(now_ms=call.now_ms)), False
        if isinstance(last, Complete):
            return Conflict(now_ms=call.now_ms), False
        if isinstance(last, Release):
            return stale(call.now_ms), False
        if isinstance(call, Renew):
            until_ms = max(self.lease_until(), call.now_ms + call.lease_ms)
            return Renewed(lease_until_ms=until_ms, now_ms=call.now_ms, because=()), True
        return done(call.now_ms), True


durations = st.sampled_from((1, 2, 3, 5, 9))


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """Calls on one scope, close together, so that they meet; clocks step forward and back."""
    calls: list[Call] = []
    now_ms = 20
    for _ in range(draw(st.integers(1, 25))):
        now_ms = max(0, now_ms + draw(st.sampled_from((0, 0, 0, 1, 1, 2, 3, 7, -1, -3))))
        token = draw(st.sampled_from((X, X, Y)))
        possible: tuple[Call, ...] = (
            *(claim(now_ms, token, lease_ms=draw(durations)),) * 3,
            claim(now_ms, token, "g"),
            *(complete(now_ms, token, response, most=1) for response in (b"", b"r", b"s", b"long", b"longer")),
            release(now_ms, token),
            renew(now_ms, token, lease_ms=draw(durations)),
        )
        calls.append(evolve(draw(st.sampled_from(possible)), retention_ms=draw(durations)))
    return calls


@settings(max_examples=400, deadline=None)
@given(some_calls())
def test_the_specification_agrees_with_the_oracle_that_keeps_a_journal(calls: list[Call]) -> None:
    """ID-1 to ID-10: every field of every reply, whatever was called before."""
    store, oracle = Store(), Oracle()
    for call in calls:
        assert store.make(call) == oracle.make(call)


@settings(max_examples=200, deadline=None)
@given(some_calls())
def test_the_work_runs_no_oftener_than_it_must(calls: list[Call]) -> None:
    """ID-3: executions <= 1 + leases that ended + releases, for as long as the key is the same."""
    store, executions, excuses = Store(), 0, 0
    for call in calls:
        before = known(store.state, call.now_ms)
        reply = store.make(call)
        if isinstance(before, Absent):
            executions, excuses = 0, 1
        if isinstance(reply, Acquired) and store.state != before:
            executions += 1
            excuses += isinstance(before, Claimed) and before.lease_until_ms <= call.now_ms
        excuses += isinstance(before, Claimed) and isinstance(store.state, Released)
        assert executions <= excuses


@settings(max_examples=200, deadline=None)
@given(some_calls(), st.integers(1, 10**12))
def test_only_differences_of_time_matter(calls: list[Call], later_ms: int) -> None:
    """CM-2: the same story at another time has the same answers."""
    now, then = Store(), Store()
    for call in calls:
        mine, theirs = now.make(call), then.make(evolve(call, now_ms=call.now_ms + later_ms))
        assert not isinstance(mine, Misuse)
        changes = {name: getattr(mine, name) + later_ms for name in ("now_ms", "lease_until_ms") if hasattr(mine, name)}
        assert theirs == evolve(mine, **changes)


@settings(max_examples=200, deadline=None)
@given(some_calls(), st.integers(0, 20))
def test_what_is_dead_can_be_removed(calls: list[Call], later_ms: int) -> None:
    """CM-3: while clocks do not step back behind the removal, it changes no answer."""
    kept, collected = after(*calls), after(*calls)
    now_ms = max(call.now_ms for call in calls) + later_ms
    if life_ms(collected.state, now_ms) == 0:
        collected.state = INITIAL
    for call in calls:
        moved = evolve(call, now_ms=now_ms + call.now_ms)
        assert kept.make(moved) == collected.make(moved)


@settings(max_examples=200, deadline=None)
@given(some_calls())
def test_whatever_is_made_twice_is_made_once(calls: list[Call]) -> None:
    """CM-4: the second run gives the same reply and changes nothing more."""
    store = Store()
    for call in calls:
        first = store.make(call)
        before = store.state
        assert store.make(call) == first
        assert store.state == before


@settings(max_examples=200, deadline=None)
@given(some_calls())
def test_fences_grow_for_as_long_as_anything_is_remembered(calls: list[Call]) -> None:
    """ID-5: of two owners of one life of a key, the later has the greater fence, by one."""
    store, lives = Store(), list[list[int]]()
    for call in calls:
        before = store.state
        is_new = isinstance(known(before, call.now_ms), Absent)
        reply = store.make(call)
        if isinstance(reply, Acquired) and store.state != before:
            if is_new:
                lives.append([])
            lives[-1].append(reply.fence)
    assert all(later == earlier + 1 for fences in lives for earlier, later in pairwise([0, *fences]))
