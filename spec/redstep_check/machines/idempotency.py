"""
The idempotency store's machine: it draws the moves that a session makes.

Plain random moves hardly ever meet an edge, and hardly ever play a story to its end. So the clock jumps, to the end of a lease
or to the death of a record, one millisecond early, exactly, or one late; and some rules play a whole story: an owner that
comes too late, a response that is given twice, a key that is released and claimed again.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from redstep_check.guards.idempotency import START_MS, Called, IdempotencySession, Removed
from redstep_spec import idempotency as spec
from redstep_spec.arguments import MAX_INTEGER
from redstep_spec.delivery import Fate

LATEST_MS = MAX_INTEGER
HOME = spec.Scope("t", "o", "k")
ALIKE = (
    (spec.Scope("a:b", "c", "k"), spec.Scope("a", "b:c", "k")),
    (spec.Scope("a", "b:c", "k"), spec.Scope("a", "b", "c:k")),
    (spec.Scope("a", "b", "c"), spec.Scope("b", "a", "c")),
    (spec.Scope("ab", "c", "k"), spec.Scope("a", "bc", "k")),
    (spec.Scope("a|b", "c", "k"), spec.Scope("a", "b|c", "k")),
    (spec.Scope("a", "b/c", "k"), spec.Scope("a", "b", "c/k")),
    (spec.Scope("1", "1:1", "1"), spec.Scope("1:1", "1", "1")),
    (spec.Scope("a", "b", "K"), spec.Scope("a", "b", "k")),
    (spec.Scope("\u00e9", "b", "k"), spec.Scope("e\u0301", "b", "k")),
)
"""Pairs of scopes that a careless key would take for one."""

OWNER, OTHER = "x", "y"
tokens = st.sampled_from((OWNER, OWNER, OTHER, "z"))
fingerprints = st.sampled_from(("f", "f", "f", "f", b"f", "g", b"\x00\xff"))
scopes = st.sampled_from((HOME, HOME, HOME, HOME, spec.Scope("t", "o", "k2"), spec.Scope("t2", "o", "k")))
leases_ms = st.sampled_from((10, 10, 4, 25))
retentions_ms = st.sampled_from((50, 50, 12, 6))
durations_ms = st.sampled_from((2, 10, 86_400_000, 2**31 + 1, MAX_INTEGER // 4))
near = st.sampled_from((0, -1, 1))
gaps_ms = st.sampled_from((0, 0, 1, 3))
MOST = 6
"""The size limit of small responses."""
LARGE = bytes(range(256)) * 5
RESPONSES = (b"r", b"r", b"other", b"", b"\r\n\x00", b"\xff\xfe", bytes(range(256)))
AROUND = (b"123456", b"1234567", b"7654321", LARGE, sha256(b"1234567").digest())
"""Responses as large as may be, larger, and what is kept of one that is."""
FATES: tuple[tuple[Fate, ...], ...] = (
    (Fate.REPLY_LOST,),
    (Fate.NOT_SENT,),
    (Fate.FLUSHED,),
    (Fate.REPLY_LOST, Fate.NOT_SENT),
    (Fate.REPLY_LOST, Fate.REPLY_LOST),
    (Fate.REPLY_LOST, Fate.FLUSHED),
)
some_fates = st.sampled_from(((), (), *FATES))
BAD_NAMES: tuple[Any, ...] = ("", "x" * 513, "\u00e9" * 257, "a{b", "}", "a\nb", "\ud800", None, b"a", 7)
BAD_NUMBERS: tuple[Any, ...] = (0, -1, 1.5, "3", None, True, MAX_INTEGER + 1)
BAD_SIZES: tuple[Any, ...] = (-1, 1.5, "3", True, MAX_INTEGER + 1)
BAD_FINGERPRINTS: tuple[Any, ...] = ("", b"", "x" * 513, b"x" * 513, "\ud800", None, 7)
BAD_RESPONSES: tuple[Any, ...] = ("r", None, 7, bytearray(b"r"))
calls = st.sampled_from((spec.Claim, spec.Complete, spec.Release, spec.Renew))
Kind = type[spec.Claim] | type[spec.Complete] | type[spec.Release] | type[spec.Renew]


class IdempotencyMachine(RuleBasedStateMachine):
    """Draws moves; the session makes them on both sides and compares."""

    def __init__(self, begin: Callable[[], IdempotencySession]) -> None:
        super().__init__()
        self.session = begin()
        self.can = self.session.target.features
        self.now_ms = self.floor_ms = START_MS
        self.lease_ms, self.retention_ms = 10, 50
        self.last: Called | None = None

    # ------------------------------------------------------------------------------------------ the policy

    @initialize(
        lease_ms=leases_ms, retention_ms=retentions_ms, start_ms=st.sampled_from((START_MS, START_MS, 1_795_000_000_123))
    )
    def adopt_a_policy(self, lease_ms: int, retention_ms: int, start_ms: int) -> None:
        self.lease_ms, self.retention_ms = lease_ms, retention_ms
        self.now_ms = self.floor_ms = start_ms

    @rule(lease_ms=leases_ms | durations_ms, retention_ms=retentions_ms)
    def change_the_lease(self, lease_ms: int, retention_ms: int) -> None:
        self.lease_ms, self.retention_ms = lease_ms, retention_ms

    @rule(retention_ms=retentions_ms | durations_ms)
    def change_the_retention(self, retention_ms: int) -> None:
        self.retention_ms = retention_ms

    # ------------------------------------------------------------------------------------------ the clock

    @rule(ms=st.integers(1, 25))
    def time_passes(self, ms: int) -> None:
        self._jump(self.now_ms + ms)

    @rule(ms=st.integers(1, 15), kind=calls, token=tokens)
    def the_clock_steps_back(self, ms: int, kind: Kind, token: str) -> None:
        self._jump(self.now_ms - ms)
        self._play(self._made(kind, token))

    @rule(off_ms=near, token=tokens, kind=calls)
    def a_lease_ends(self, off_ms: int, token: str, kind: Kind) -> None:
        self._to_the_lease_end(HOME, off_ms)
        self._play(self._made(kind, token))

    @rule(off_ms=near, token=tokens, kind=calls, fingerprint=fingerprints)
    def a_record_dies(self, off_ms: int, token: str, kind: Kind, fingerprint: bytes | str) -> None:
        self._to_the_death(HOME, off_ms)
        self._play(self._made(kind, token, fingerprint=fingerprint))

    def _to_the_lease_end(self, scope: spec.Scope, off_ms: int) -> None:
        state = self._state(scope)
        if isinstance(state, spec.Claimed):
            self._jump(state.lease_until_ms + off_ms)

    def _to_the_death(self, scope: spec.Scope, off_ms: int) -> None:
        state = self._state(scope)
        if not isinstance(state, spec.Absent):
            self._jump(state.dies_at_ms + off_ms)

    def _jump(self, to_ms: int) -> None:
        self.now_ms = min(max(self.floor_ms, to_ms), LATEST_MS)

    def _state(self, scope: spec.Scope) -> spec.State:
        return self.session.states.get(scope, spec.INITIAL)

    # ------------------------------------------------------------------------------------------ single calls

    @rule(scope=scopes, token=tokens, fingerprint=fingerprints)
    def claim(self, scope: spec.Scope, token: str, fingerprint: bytes | str) -> None:
        self._play(self._made(spec.Claim, token, scope=scope, fingerprint=fingerprint))

    @rule(scope=scopes, token=tokens, response=st.sampled_from(RESPONSES))
    def complete(self, scope: spec.Scope, token: str, response: bytes) -> None:
        self._play(self._made(spec.Complete, token, scope=scope, response=response))

    @rule(scope=scopes, token=tokens, kind=calls)
    def act_as_an_owner(self, scope: spec.Scope, token: str, kind: Kind) -> None:
        self._play(self._made(kind, token, scope=scope))

    @rule(kind=calls, token=tokens, fates=st.sampled_from(FATES), response=st.sampled_from(RESPONSES))
    def call_under_faults(self, kind: Kind, token: str, fates: tuple[Fate, ...], response: bytes) -> None:
        self._play(self._made(kind, token, response=response), fates)

    @precondition(lambda self: self.last is not None)
    @rule(later_ms=gaps_ms, fates=some_fates)
    def the_same_again(self, later_ms: int, fates: tuple[Fate, ...]) -> None:
        """The very bytes of the last call, now or a little later."""
        assert self.last is not None
        self._jump(self.now_ms + later_ms)
        self._play(evolve(self.last.call, now_ms=self.now_ms), fates)

    # ------------------------------------------------------------------------------------------ whole stories

    @rule(off_ms=near, kind=calls, again=st.booleans(), fates=some_fates)
    def an_owner_comes_too_late(self, off_ms: int, kind: Kind, again: bool, fates: tuple[Fate, ...]) -> None:
        """Its lease ends, another claims, and then it acts after all, and what has taken over goes on."""
        self._claim_anew()
        self._to_the_lease_end(HOME, off_ms)
        self._play(self._made(spec.Claim, OWNER if again else OTHER), fates)
        self._play(self._made(kind, OWNER))
        self._play(self._made(kind, OTHER))

    @rule(times=st.integers(2, 3))
    def one_after_the_other_takes_over(self, times: int) -> None:
        self._claim_anew()
        for number in range(times):
            self._to_the_lease_end(HOME, 0)
            self._play(self._made(spec.Claim, (OTHER, OWNER)[number % 2]))

    @rule(kind=calls, off_ms=near)
    def an_owner_acts_about_the_end_of_its_lease(self, kind: Kind, off_ms: int) -> None:
        self._claim_anew()
        self._to_the_lease_end(HOME, off_ms)
        self._play(self._made(kind, OWNER))
        self._play(self._made(spec.Claim, OTHER))

    @rule(data=st.data(), gap_ms=gaps_ms, off_ms=near, most=st.sampled_from((None, MOST)), fates=some_fates)
    def complete_twice(self, data: st.DataObject, gap_ms: int, off_ms: int, most: int | None, fates: tuple[Fate, ...]) -> None:
        """Then a third completes, the response is replayed, and once more about the end of its retention."""
        if most is None or "not_replayable" not in self.can:
            most = spec.RESPONSE_MAX_BYTES
        first, second = (data.draw(st.sampled_from(AROUND if most == MOST else RESPONSES)) for _ in range(2))
        self._claim_anew()
        self._play(self._made(spec.Complete, OWNER, response=first, most=most), fates)
        self._jump(self.now_ms + gap_ms)
        self._play(self._made(spec.Complete, OWNER, response=second, most=most))
        self._play(self._made(spec.Complete, OTHER, response=first, most=most))
        self._play(self._made(spec.Claim, data.draw(tokens)))
        self._to_the_death(HOME, off_ms)
        self._play(self._made(spec.Claim, data.draw(tokens)))

    @precondition(lambda self: "release" in self.can)
    @rule(token=tokens, gap_ms=gaps_ms, first=calls, fingerprint=fingerprints)
    def release_and_claim(self, token: str, gap_ms: int, first: Kind, fingerprint: bytes | str) -> None:
        """Between the two, somebody acts on the tombstone."""
        self._claim_anew()
        self._play(self._made(spec.Release, OWNER))
        self._jump(self.now_ms + gap_ms)
        if first is not spec.Claim:
            self._play(self._made(first, OWNER))
        self._play(self._made(spec.Claim, token, fingerprint=fingerprint))

    @rule(ended=st.sampled_from((None, spec.Complete, spec.Release)), off_ms=near, kind=calls, token=tokens)
    def a_record_dies_of_age(self, ended: Kind | None, off_ms: int, kind: Kind, token: str) -> None:
        """Claimed and abandoned, completed or released; then somebody comes about the instant of its death."""
        self._claim_anew()
        if ended is not None:
            self._play(self._made(ended, OWNER))
        self._to_the_death(HOME, off_ms)
        self._play(self._made(kind, token))

    @precondition(lambda self: "fingerprint" in self.can)
    @rule(ended=st.sampled_from((None, spec.Complete, spec.Release)), late=st.booleans(), most=st.sampled_from((0, 99)))
    def come_with_another_payload(self, ended: Kind | None, late: bool, most: int) -> None:
        """To a claim, inside its lease or after it, to a response, or to a tombstone; as a stranger and as the owner."""
        self._claim_anew()
        if late:
            self._to_the_lease_end(HOME, 0)
        if ended is not None:
            self._play(self._made(ended, OWNER, response=b"r", most=most))
        for token in (OTHER, OWNER):
            self._play(self._made(spec.Claim, token, fingerprint="g"))

    @precondition(lambda self: "renew" in self.can)
    @rule(lease_ms=st.sampled_from((1, 9, 10, 11, 40)), gap_ms=gaps_ms, off_ms=near)
    def renew_by_more_or_less(self, lease_ms: int, gap_ms: int, off_ms: int) -> None:
        self._claim_anew()
        self._jump(self.now_ms + gap_ms)
        kept_ms, self.lease_ms = self.lease_ms, lease_ms
        self._play(self._made(spec.Renew, OWNER))
        self.lease_ms = kept_ms
        self._to_the_lease_end(HOME, off_ms)
        self._play(self._made(spec.Claim, OTHER))

    @precondition(lambda self: "tenants" in self.can)
    @rule(pair=st.sampled_from(ALIKE), swapped=st.booleans(), kind=calls)
    def use_two_scopes_that_look_alike(self, pair: tuple[spec.Scope, spec.Scope], swapped: bool, kind: Kind) -> None:
        first, second = reversed(pair) if swapped else pair
        self._play(self._made(spec.Claim, OWNER, scope=first))
        self._play(self._made(spec.Claim, OTHER, scope=second))
        self._play(self._made(kind, OWNER, scope=second))
        self._play(self._made(spec.Complete, OWNER, scope=first))

    @precondition(lambda self: "stored" in self.can)
    @rule(later_ms=st.integers(0, 12), kind=calls, token=tokens)
    def what_is_dead_is_removed(self, later_ms: int, kind: Kind, token: str) -> None:
        """From here on the clock no longer steps back behind the removal: the engine's own would not either."""
        if later_ms:
            self._to_the_death(HOME, later_ms - 1)
        for scope, state in self.session.states.items():
            if state != spec.INITIAL and spec.life_ms(state, self.now_ms) == 0:
                self.session.play(Removed(scope, self.now_ms))
                self.floor_ms = max(self.floor_ms, self.now_ms)
        self._play(self._made(kind, token))

    @precondition(lambda self: "misuse" in self.can)
    @rule(data=st.data())
    def ask_the_impossible(self, data: st.DataObject) -> None:
        good = self._made(data.draw(calls), OWNER)
        scope: Any = data.draw(st.sampled_from(("tenant", "operation", "key")))
        name: Any = data.draw(st.sampled_from(BAD_NAMES))
        number: Any = data.draw(st.sampled_from(BAD_NUMBERS))
        wrong: list[Any] = [
            evolve(good, scope=evolve(good.scope, **{scope: name})),
            evolve(good, token=name),
            evolve(good, retention_ms=number),
        ]
        if isinstance(good, spec.Claim | spec.Renew):
            wrong.append(evolve(good, lease_ms=number))
        if isinstance(good, spec.Claim):
            wrong += [evolve(good, fingerprint=data.draw(st.sampled_from(BAD_FINGERPRINTS)))] * 2
        if isinstance(good, spec.Complete):
            wrong.append(evolve(good, response=data.draw(st.sampled_from(BAD_RESPONSES))))
            wrong.append(evolve(good, response_max_bytes=data.draw(st.sampled_from(BAD_SIZES))))
        self.session.play(Called(data.draw(st.sampled_from(wrong))))

    # ------------------------------------------------------------------------------------------ helpers

    def _claim_anew(self) -> None:
        """HOME is claimed by its owner: the story begins here, or where the one before has left it."""
        self._to_the_death(HOME, 0)
        self._play(self._made(spec.Claim, OWNER))

    def _made(
        self,
        kind: Kind,
        token: str,
        *,
        scope: spec.Scope = HOME,
        fingerprint: bytes | str = "f",
        response: bytes = b"r",
        most: int = spec.RESPONSE_MAX_BYTES,
    ) -> spec.Call:
        """A call that the target can make; the nearest one, where it can't make this."""
        if "tenants" not in self.can:
            scope = evolve(scope, tenant=HOME.tenant, operation=HOME.operation)
        if "fingerprint" not in self.can:
            fingerprint = "f"
        ways: dict[str, Any] = {
            "scope": scope,
            "token": token,
            "retention_ms": self.retention_ms,
            "now_ms": self.now_ms,
        }
        if kind is spec.Complete:
            return spec.Complete(response=response, response_max_bytes=most, **ways)
        if kind is spec.Release and "release" in self.can:
            return spec.Release(**ways)
        if kind is spec.Renew and "renew" in self.can:
            return spec.Renew(lease_ms=self.lease_ms, **ways)
        return spec.Claim(fingerprint=fingerprint, lease_ms=self.lease_ms, **ways)

    def _play(self, call: spec.Call, fates: tuple[Fate, ...] = ()) -> None:
        called = Called(call, fates if set(fates) <= self.session.target.fates else ())
        self.session.play(called)
        self.last = called
