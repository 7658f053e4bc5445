"""
The circuit breaker's specification is attacked itself: each rule by examples made by hand, and all of them by an oracle.

The oracle knows no states. It keeps what happened in every epoch, and reads from that what it is asked, by counting.
"""

from fractions import Fraction
from math import ceil, floor
from typing import Any

import pytest
from attrs import evolve, field, mutable
from hypothesis import given, settings
from hypothesis import strategies as st

from redstep_spec.arguments import MAX_INTEGER, Misuse
from redstep_spec.circuit_breaker import (
    INITIAL,
    Acquire,
    Admitted,
    Call,
    Change,
    Closed,
    Counted,
    ForceClose,
    Forced,
    ForceOpen,
    HalfOpen,
    Kind,
    Open,
    Outcome,
    Permit,
    Policy,
    Refused,
    Reply,
    Report,
    Reset,
    Seen,
    State,
    View,
    essence,
    is_idempotent,
    kind,
    step,
)

SUCCESS, FAILURE, NEUTRAL = Outcome.SUCCESS, Outcome.FAILURE, Outcome.NEUTRAL
PLAIN = Policy(failure_threshold=3, success_threshold=2, open_ms=10)
"""It opens for 8 to 12 ms."""


@mutable
class Breaker:
    """One name under the specification, with its policy and its state."""

    policy: Policy = PLAIN
    state: State = INITIAL

    def make(self, call: Call) -> Reply:
        """Make any call."""
        self.state, reply = step(self.state, call)
        return reply

    def ask(self, at_ms: int) -> Admitted | Refused:
        """Make an acquire."""
        reply = self.make(Acquire(name="a", policy=self.policy, now_ms=at_ms))
        assert isinstance(reply, Admitted | Refused)
        return reply

    def admit(self, at_ms: int) -> Permit:
        """Make an acquire that is admitted."""
        reply = self.ask(at_ms)
        assert isinstance(reply, Admitted)
        return reply.permit

    def refuse(self, at_ms: int) -> tuple[str, int]:
        """Make an acquire that is refused."""
        reply = self.ask(at_ms)
        assert isinstance(reply, Refused)
        return reply.why, reply.retry_after_ms

    def would_admit(self, at_ms: int) -> bool:
        """Ask without changing anything."""
        return isinstance(evolve(self).ask(at_ms), Admitted)

    def tell(self, permit: Permit, outcome: Outcome, at_ms: int, open_ms: int | None = None) -> Counted:
        """Report an outcome."""
        drawn_ms = self.policy.open_ms if open_ms is None else open_ms
        reply = self.make(Report(name="a", policy=self.policy, now_ms=at_ms, permit=permit, outcome=outcome, open_ms=drawn_ms))
        assert isinstance(reply, Counted)
        return reply

    def call(self, outcome: Outcome, at_ms: int, open_ms: int | None = None) -> Counted:
        """One whole call in one millisecond."""
        return self.tell(self.admit(at_ms), outcome, at_ms, open_ms)

    def view(self, at_ms: int) -> Seen:
        """Look at it."""
        reply = self.make(View(name="a", policy=self.policy, now_ms=at_ms))
        assert isinstance(reply, Seen)
        return reply

    def force(self, how: type[ForceOpen | ForceClose | Reset], at_ms: int, open_ms: int = 10) -> Forced:
        """Intervene."""
        at: dict[str, Any] = {"name": "a", "policy": self.policy, "now_ms": at_ms}
        reply = self.make(ForceOpen(**at, open_ms=open_ms) if how is ForceOpen else how(**at))
        assert isinstance(reply, Forced)
        return reply


def closed(failures: int = 0, **changes: int) -> Breaker:
    """One that is closed, in epoch 0."""
    return Breaker(evolve(PLAIN, **changes), Closed(0, failures))


def opened(at_ms: int = 100, open_ms: int = 10, **changes: int) -> Breaker:
    """One that has just opened, in epoch 1."""
    breaker = closed(**changes)
    for _ in range(breaker.policy.failure_threshold):
        breaker.call(FAILURE, at_ms, open_ms)
    assert isinstance(breaker.state, Open)
    return breaker


def probing(successes: int = 0, **changes: int) -> Breaker:
    """One that has just become half-open at 110, in epoch 2, with no probes in flight and so many successes."""
    breaker = opened(**changes)
    breaker.tell(breaker.admit(110), NEUTRAL, 110)
    for _ in range(successes):
        breaker.call(SUCCESS, 110)
    assert isinstance(breaker.state, HalfOpen)
    return breaker


# ---------------------------------------------------------------------------------------------- CB-1: states and epochs


def test_what_nothing_is_known_of_is_closed() -> None:
    """CB-1: in epoch 0, and it admits; nothing of it changes by that."""
    breaker = Breaker()
    assert breaker.admit(0) == Permit(0, 0)
    assert breaker.state is INITIAL
    assert breaker.state == Closed(0, 0)


def test_every_arrow_begins_an_epoch() -> None:
    """CB-1, CB-9: a whole life, and each change is told by the call that made it."""
    breaker = closed(failure_threshold=1, success_threshold=1)
    assert breaker.call(FAILURE, 100).transition == Change("closed", "open", 1)
    probe = breaker.ask(110)
    assert isinstance(probe, Admitted)
    assert probe.transition == Change("open", "half_open", 2)
    assert breaker.tell(probe.permit, FAILURE, 111).transition == Change("half_open", "open", 3)
    silent, after_it = breaker.ask(121), breaker.ask(131)
    assert isinstance(silent, Admitted)
    assert silent.transition == Change("open", "half_open", 4)
    assert isinstance(after_it, Admitted)
    assert after_it.transition == Change("half_open", "half_open", 5)
    assert breaker.tell(after_it.permit, SUCCESS, 132).transition == Change("half_open", "closed", 6)
    assert breaker.state == Closed(6, 0)


def test_what_changes_no_state_begins_no_epoch() -> None:
    """CB-1: nor is it announced."""
    breaker = probing()
    assert [breaker.call(SUCCESS, 110).transition, breaker.ask(110).epoch, breaker.view(110).epoch] == [None, 2, 2]
    assert closed().call(FAILURE, 1).transition is None


# ---------------------------------------------------------------------------------------------- CB-2: to trip


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_so_many_failures_in_a_row_open_it_and_not_one_less(threshold: int) -> None:
    """CB-2: the F-th opens it."""
    breaker = closed(failure_threshold=threshold)
    states = [breaker.call(FAILURE, 100).state for _ in range(threshold)]
    assert states == ["closed"] * (threshold - 1) + ["open"]


def test_a_success_begins_the_row_anew() -> None:
    """CB-2: only failures without a success between them are counted."""
    breaker = closed()
    states = [breaker.call(each, 100).state for each in (FAILURE, FAILURE, SUCCESS, FAILURE, FAILURE, SUCCESS)]
    assert states == ["closed"] * 6
    assert breaker.state == Closed(0, 0)


def test_a_row_is_of_results_and_not_of_calls() -> None:
    """CB-2: what counts is in which order calls end."""
    breaker = closed()
    permits = [breaker.admit(100) for _ in range(4)]
    for permit, outcome in zip(permits, (FAILURE, FAILURE, SUCCESS, FAILURE), strict=True):
        breaker.tell(permit, outcome, 101)
    assert breaker.state == Closed(0, 1)


def test_a_success_of_a_sound_breaker_changes_nothing() -> None:
    """CB-2: its state is the same value."""
    breaker = closed()
    before = breaker.state
    breaker.call(SUCCESS, 100)
    assert breaker.state == before


def test_a_lowered_threshold_holds_from_the_next_failure_on() -> None:
    """CB-2: what has failed already does not open it by itself."""
    breaker = closed(2)
    breaker.policy = evolve(PLAIN, failure_threshold=1)
    assert breaker.would_admit(100)
    assert breaker.call(FAILURE, 100).state == "open"


# ---------------------------------------------------------------------------------------------- CB-3: jitter


@pytest.mark.parametrize("open_ms", [1, 2, 4, 5, 6, 7, 9, 10, 99, 30_000, 30_001, MAX_INTEGER - 3, MAX_INTEGER])
def test_the_range_of_what_can_be_drawn_is_exact(open_ms: int) -> None:
    """CB-3: from ceil(0.8 T) to floor(1.2 T), never empty and never zero."""
    policy = Policy(open_ms=open_ms)
    assert policy.open_least_ms == ceil(Fraction(8, 10) * open_ms) >= 1
    assert policy.open_most_ms == floor(Fraction(12, 10) * open_ms)
    assert policy.open_least_ms <= open_ms <= policy.open_most_ms


@pytest.mark.parametrize("open_ms", [8, 9, 10, 12])
def test_it_opens_for_what_was_drawn(open_ms: int) -> None:
    """CB-3: neither earlier draws nor T itself matter."""
    breaker = closed()
    breaker.call(FAILURE, 100, 12)
    breaker.call(FAILURE, 100, 8)
    breaker.call(FAILURE, 100, open_ms)
    assert breaker.state == Open(1, 100 + open_ms)
    assert [breaker.refuse(at_ms) for at_ms in (100, 101)] == [("open", open_ms), ("open", open_ms - 1)]


def test_it_opens_again_for_what_is_drawn_afresh() -> None:
    """CB-3, CB-6: not for what was drawn before."""
    breaker = probing()
    breaker.call(FAILURE, 111, 12)
    assert breaker.state == Open(3, 123)


# ---------------------------------------------------------------------------------------------- CB-4: lazily


def test_an_acquire_is_admitted_at_exactly_open_until() -> None:
    """CB-4: one millisecond earlier it is refused."""
    breaker = opened()
    assert breaker.refuse(109) == ("open", 1)
    assert breaker.admit(110) == Permit(2, 1)
    assert breaker.state == HalfOpen(2, 0, frozenset({1}), 2, 120)


def test_a_refusal_changes_nothing() -> None:
    """CB-4: however often it is repeated."""
    breaker = opened()
    before = breaker.state
    assert [breaker.refuse(105) for _ in range(9)] == [("open", 5)] * 9
    assert breaker.state is before


def test_a_view_moves_nothing_however_late_it_is() -> None:
    """CB-4: it is still open, and an acquire would be admitted."""
    breaker = opened()
    before = breaker.state
    seen = breaker.view(10_000)
    assert (seen.state, seen.epoch, seen.retry_after_ms) == ("open", 1, 0)
    assert breaker.state is before


def test_a_view_tells_what_there_is_in_each_state() -> None:
    """CB-4: and nothing of the other states."""
    half = probing(1)
    half.admit(110)
    told = [
        (seen.state, seen.failures, seen.successes, seen.in_flight, seen.retry_after_ms)
        for seen in (closed(2).view(100), opened().view(103), probing().view(110), half.view(113))
    ]
    assert told == [("closed", 2, 0, 0, 0), ("open", 0, 0, 0, 7), ("half_open", 0, 0, 0, 0), ("half_open", 0, 1, 1, 7)]


# ---------------------------------------------------------------------------------------------- CB-5: probes


def test_as_many_probes_are_in_flight_as_successes_are_needed() -> None:
    """CB-5: the next one is refused for it is full, until the probe deadline at the latest."""
    breaker = opened(success_threshold=3)
    assert [breaker.admit(at_ms) for at_ms in (110, 111, 113)] == [Permit(2, 1), Permit(2, 2), Permit(2, 3)]
    assert breaker.refuse(114) == ("full", 9)


def test_successes_take_the_place_of_probes() -> None:
    """CB-5: with one success of two, only one probe more is of use."""
    breaker = probing(1)
    breaker.admit(110)
    assert breaker.refuse(110) == ("full", 10)


def test_a_number_is_never_given_twice_in_an_epoch() -> None:
    """CB-5, CB-7: not even after its call was neutral, so a report repeated cannot free somebody else's permit."""
    breaker = probing()
    numbers = []
    for _ in range(3):
        permit = breaker.admit(110)
        numbers.append(permit.number)
        breaker.tell(permit, NEUTRAL, 110)
    assert numbers == [2, 3, 4]


def test_one_probe_is_always_possible_where_none_is_in_flight() -> None:
    """CB-5, CB-8: even if S was lowered to what has succeeded already; its success closes it."""
    breaker = probing(2, success_threshold=3)
    breaker.policy = evolve(breaker.policy, success_threshold=1)
    permit = breaker.admit(111)
    assert breaker.refuse(111) == ("full", 10)
    assert breaker.tell(permit, SUCCESS, 112).state == "closed"


# ---------------------------------------------------------------------------------------------- CB-6: to heal


@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_so_many_successes_close_it_and_not_one_less(threshold: int) -> None:
    """CB-6: the S-th closes it, in an epoch without failures."""
    breaker = opened(success_threshold=threshold)
    states = [breaker.call(SUCCESS, 110).state for _ in range(threshold)]
    assert states == ["half_open"] * (threshold - 1) + ["closed"]
    assert breaker.state == Closed(3, 0)


def test_one_failure_opens_it_again_and_nothing_is_kept() -> None:
    """CB-6: the next epoch of half-open needs S successes."""
    breaker = probing(1)
    assert breaker.call(FAILURE, 112).state == "open"
    states = [breaker.call(SUCCESS, 122).state for _ in range(2)]
    assert states == ["half_open", "closed"]


def test_successes_count_in_whatever_order_probes_end() -> None:
    """CB-6: the later probe first."""
    breaker = opened()
    first, second = breaker.admit(110), breaker.admit(111)
    assert [breaker.tell(each, SUCCESS, 115).state for each in (second, first)] == ["half_open", "closed"]


def test_a_failure_after_the_last_success_comes_too_late() -> None:
    """CB-6, CB-7: order of completion decides; a probe that a lowered S left over is of an older epoch then."""
    breaker = opened(success_threshold=2)
    first, second = breaker.admit(110), breaker.admit(110)
    breaker.policy = evolve(breaker.policy, success_threshold=1)
    assert breaker.tell(first, SUCCESS, 111).state == "closed"
    assert not breaker.tell(second, FAILURE, 111).counted
    assert breaker.state == Closed(3, 0)


# ---------------------------------------------------------------------------------------------- CB-7: staleness


def of_states() -> list[Breaker]:
    """One of each: epoch 0, 1 and 2; numbers 1 and 3 of the last have been reported, 2 is in flight."""
    half = probing(success_threshold=3)
    half.admit(110)
    half.call(SUCCESS, 110)
    return [closed(2), opened(), half]


FRESH = [Permit(0, 0), None, Permit(2, 2)]


@pytest.mark.parametrize("permit", [Permit(epoch, number) for epoch in range(5) for number in range(6)], ids=str)
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_fresh_permit_counts(which: int, permit: Permit, outcome: Outcome) -> None:
    """CB-7: of this epoch, and while half-open in flight; else the state is the same value, and the reply says so."""
    breaker = of_states()[which]
    before = breaker.state
    reply = breaker.tell(permit, outcome, 111, 12)
    assert reply.counted == (permit == FRESH[which])
    if not reply.counted:
        assert breaker.state is before
        assert (reply.state, reply.epoch, reply.transition) == (kind(before), before.epoch, None)


def test_a_probe_counts_once() -> None:
    """CB-7: a second report under its permit is stale."""
    breaker = opened(success_threshold=3)
    permit = breaker.admit(110)
    assert [breaker.tell(permit, SUCCESS, 111).counted for _ in range(3)] == [True, False, False]
    assert breaker.view(111).successes == 1


def test_a_closed_breaker_cannot_tell_two_reports_from_one_repeated() -> None:
    """CB-7: its permits are not numbered, for nothing is stored by an acquire; that a handle counts once is its client's."""
    breaker = closed()
    permit = breaker.admit(100)
    assert [breaker.tell(permit, FAILURE, 100).counted for _ in range(2)] == [True, True]
    assert breaker.state == Closed(0, 2)


# ---------------------------------------------------------------------------------------------- CB-8: silence


def test_probes_are_given_up_at_exactly_their_deadline() -> None:
    """CB-8: one millisecond earlier it is full; then a new epoch begins, and with it a new first probe."""
    breaker = opened()
    breaker.admit(110)
    breaker.admit(112)
    assert breaker.refuse(121) == ("full", 1)
    assert breaker.admit(122) == Permit(3, 1)
    assert breaker.state == HalfOpen(3, 0, frozenset({1}), 2, 132)


def test_every_probe_gives_all_of_them_more_time() -> None:
    """CB-8: the deadline is that of the last one admitted."""
    breaker = opened(success_threshold=3)
    for at_ms in (110, 119, 128):
        breaker.admit(at_ms)
    assert breaker.refuse(137) == ("full", 1)
    assert breaker.would_admit(138)


def test_silent_probes_are_given_up_though_there_is_room() -> None:
    """CB-8: and what has succeeded so far is forgotten with them."""
    breaker = probing(1, success_threshold=4)
    breaker.admit(110)
    assert breaker.would_admit(119)
    assert breaker.admit(120) == Permit(3, 1)
    assert breaker.view(120).successes == 0


def test_a_probe_that_was_given_up_has_nothing_to_say_any_more() -> None:
    """CB-7, CB-8: its number may be in flight again, in another epoch."""
    breaker = opened()
    late, _ = breaker.admit(110), breaker.admit(120)
    assert not breaker.tell(late, FAILURE, 121).counted
    assert breaker.view(121).in_flight == 1


def test_a_probe_that_nobody_gave_up_still_counts() -> None:
    """CB-8: a deadline does nothing by itself."""
    breaker = opened()
    assert breaker.tell(breaker.admit(110), SUCCESS, 10_000).counted


def test_with_no_probes_in_flight_time_changes_nothing() -> None:
    """CB-8: successes are not forgotten, however slowly they come."""
    breaker = probing(1)
    assert breaker.view(10_000).retry_after_ms == 0
    assert breaker.call(SUCCESS, 10_000).state == "closed"


def test_a_deadline_means_nothing_when_there_are_no_probes() -> None:
    """CB-8: so it makes no difference between two states."""
    assert essence(HalfOpen(2, 1, frozenset(), 3, 120)) == essence(HalfOpen(2, 1, frozenset(), 3, 999))
    assert essence(HalfOpen(2, 1, frozenset({2}), 3, 120)) != essence(HalfOpen(2, 1, frozenset({2}), 3, 999))


# ---------------------------------------------------------------------------------------------- CB-9, CB-10


def test_late_failures_do_not_keep_it_open() -> None:
    """CB-9: all that were in flight when it opened fail one after the other."""
    breaker = closed()
    permits = [breaker.admit(100) for _ in range(9)]
    for number, permit in enumerate(permits):
        breaker.tell(permit, FAILURE, 100 + number)
    assert breaker.state == Open(1, 112)


def test_a_neutral_result_of_a_closed_breaker_is_none() -> None:
    """CB-10: neither does it count nor does it end a row."""
    breaker = closed(2)
    assert breaker.call(NEUTRAL, 100).counted
    assert breaker.state == Closed(0, 2)


def test_a_neutral_result_of_a_probe_makes_room() -> None:
    """CB-10: it neither closes nor opens; the next probe decides."""
    breaker = probing(1)
    permit = breaker.admit(111)
    assert not breaker.would_admit(111)
    assert breaker.tell(permit, NEUTRAL, 112).state == "half_open"
    assert breaker.view(112).successes == 1
    assert breaker.would_admit(112)


# ---------------------------------------------------------------------------------------------- CB-13: clocks


def test_a_clock_that_steps_back_does_not_keep_it_open() -> None:
    """CB-13: the acquire that sees it brings open_until within 1.2 T, and the epoch stays."""
    breaker = opened()
    assert breaker.refuse(50) == ("open", 12)
    assert breaker.state == Open(1, 62)
    assert breaker.would_admit(62)


def test_what_could_have_been_drawn_is_left_as_it_is() -> None:
    """CB-13: a deadline of exactly now + floor(1.2 T)."""
    breaker = opened(open_ms=12)
    before = breaker.state
    assert breaker.refuse(100) == ("open", 12)
    assert breaker.state is before
    assert breaker.refuse(99) == ("open", 12)
    assert breaker.state == Open(1, 111)


def test_a_clock_that_steps_back_does_not_keep_it_full() -> None:
    """CB-13: the deadline of probes in flight is brought within 1.2 T as well."""
    breaker = opened()
    breaker.admit(110)
    breaker.admit(110)
    assert breaker.refuse(50) == ("full", 12)
    assert breaker.state == HalfOpen(2, 0, frozenset({1, 2}), 3, 62)


def test_a_probe_that_is_admitted_sets_the_deadline_anew() -> None:
    """CB-13, CB-8: T from now, whatever it was."""
    breaker = opened()
    breaker.admit(110)
    breaker.admit(50)
    assert breaker.state == HalfOpen(2, 0, frozenset({1, 2}), 3, 60)


def test_a_shorter_timeout_holds_for_what_is_open() -> None:
    """CB-13: lowered while it is open, it shortens the wait."""
    breaker = opened()
    breaker.policy = evolve(PLAIN, open_ms=3)
    assert breaker.view(101).retry_after_ms == 3
    assert breaker.state == Open(1, 110)
    assert breaker.refuse(101) == ("open", 3)
    assert breaker.state == Open(1, 104)


# ---------------------------------------------------------------------------------------------- CB-15: by hand


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_intervention_begins_an_epoch_in_every_state(which: int) -> None:
    """CB-15: and is announced, even if it leaves the kind of state as it is; the epoch is never forgotten."""
    ways: tuple[tuple[type[ForceOpen | ForceClose | Reset], Kind], ...]
    ways = ((ForceOpen, "open"), (ForceClose, "closed"), (Reset, "closed"))
    for how, after in ways:
        breaker = of_states()[which]
        before = breaker.state
        reply = breaker.force(how, 105)
        assert reply.transition == Change(kind(before), after, before.epoch + 1)
        assert (reply.state, reply.epoch, kind(breaker.state)) == (after, before.epoch + 1, after)


def test_what_was_admitted_before_an_intervention_is_of_another_epoch() -> None:
    """CB-15, CB-7: in CLOSED too, where nothing else begins one."""
    breaker = closed()
    permit = breaker.admit(100)
    breaker.force(Reset, 101)
    assert not breaker.tell(permit, FAILURE, 102).counted


def test_to_force_open_what_is_open_does_not_make_it_later() -> None:
    """CB-9, CB-15: nor sooner."""
    breaker = opened()
    breaker.force(ForceOpen, 109, 12)
    assert breaker.state == Open(2, 110)


def test_to_force_open_lasts_for_what_is_drawn() -> None:
    """CB-15: from CLOSED and from HALF_OPEN."""
    for breaker in (closed(), probing()):
        breaker.force(ForceOpen, 200, 8)
        assert (breaker.refuse(207), breaker.would_admit(208)) == (("open", 1), True)


# ---------------------------------------------------------------------------------------------- misuse, identity


BAD: tuple[Any, ...] = (0, -1, 1.0, "1", True, None, MAX_INTEGER + 1)
AT: dict[str, Any] = {"name": "a", "policy": PLAIN, "now_ms": 1}
GOOD: tuple[Call, ...] = (
    Acquire(**AT),
    View(**AT),
    Report(**AT, permit=Permit(0), outcome=FAILURE, open_ms=10),
    ForceOpen(**AT, open_ms=10),
    ForceClose(**AT),
    Reset(**AT),
)
IMPOSSIBLE: list[tuple[str, Call]] = [
    *(("name", evolve(call, name=name)) for call in GOOD for name in ("", "{", "a\nb")),
    *(
        (argument, evolve(call, policy=evolve(PLAIN, **{argument: number})))
        for call in GOOD
        for argument in ("failure_threshold", "success_threshold", "open_ms")
        for number in BAD
    ),
    *(("open_ms", Report(**AT, permit=Permit(0), outcome=FAILURE, open_ms=number)) for number in (*BAD, 7, 13)),
    *(("open_ms", ForceOpen(**AT, open_ms=number)) for number in (*BAD, 7, 13)),
    *(("permit", Report(**AT, permit=Permit(number), outcome=SUCCESS)) for number in BAD[1:]),
    *(("permit", Report(**AT, permit=Permit(0, number), outcome=SUCCESS)) for number in BAD[1:]),
    ("outcome", Report(**AT, permit=Permit(0), outcome="success")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("argument", "call"), IMPOSSIBLE)
@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_no_breaker_could_answer_is_the_callers_mistake(which: int, argument: str, call: Call) -> None:
    """CM-9, CM-7, CB-3: it is told which argument, and nothing changes."""
    breaker = of_states()[which]
    before = breaker.state
    assert breaker.make(call) == Misuse(argument)
    assert breaker.state is before


@pytest.mark.parametrize("outcome", [SUCCESS, NEUTRAL])
@pytest.mark.parametrize("open_ms", [0, 7, 13, -1])
def test_what_is_drawn_matters_to_failures_only(outcome: Outcome, open_ms: int) -> None:
    """CB-3: nobody need draw for anything else."""
    assert closed().tell(Permit(0), outcome, 100, open_ms).counted


@pytest.mark.parametrize("call", GOOD, ids=lambda call: type(call).__name__)
def test_only_a_view_may_be_sent_again(call: Call) -> None:
    """CM-4: no call of a breaker carries an identity."""
    assert is_idempotent(call) == isinstance(call, View)


# ---------------------------------------------------------------------------------------------- the oracle


@mutable
class Epoch:
    """What happened since a state began."""

    is_closed: bool = False
    admitted_ms: list[int] = field(factory=list)
    """When probes were; the n-th has number n. Of a closed epoch nothing is kept."""
    reported: list[tuple[int, Outcome]] = field(factory=list)
    waits_until_ms: list[int] = field(factory=list)
    """Every deadline it was ever given, the last of which holds."""


@mutable
class Oracle:
    """Keeps everything, and counts."""

    epochs: list[Epoch] = field(factory=lambda: [Epoch(is_closed=True)])

    @property
    def now(self) -> Epoch:
        """The present epoch."""
        return self.epochs[-1]

    @property
    def kind(self) -> Kind:
        """Closed, or with a probe ever admitted half-open, or else open."""
        return "closed" if self.now.is_closed else "half_open" if self.now.admitted_ms else "open"

    def in_flight(self) -> set[int]:
        """Those that were admitted, without those that were reported."""
        return set(range(1, len(self.now.admitted_ms) + 1)) - {number for number, _ in self.now.reported}

    def row(self) -> int:
        """Go back from the last result until one is a success."""
        results = [outcome for _, outcome in self.now.reported if outcome is not NEUTRAL]
        return next((back for back, outcome in enumerate(reversed(results)) if outcome is SUCCESS), len(results))

    def successes(self) -> int:
        """Count them."""
        return sum(outcome is SUCCESS for _, outcome in self.now.reported)

    def waits(self, call: Acquire | View) -> tuple[str, int] | None:
        """Why it would not be admitted, and for how long, by trying every millisecond up to 1.2 T."""
        if self.kind == "closed":
            return None
        blocked = self.kind == "open" or (
            bool(self.in_flight()) and len(self.in_flight()) + self.successes() >= call.policy.success_threshold
        )
        tried = range(call.policy.open_ms * 12 // 10)
        wait_ms = next((ms for ms in tried if call.now_ms + ms >= self.now.waits_until_ms[-1]), len(tried))
        return ("open" if self.kind == "open" else "full", wait_ms) if blocked and wait_ms else None

    def begin(self, epoch: Epoch, was: Kind) -> Change:
        """Begin an epoch."""
        self.epochs.append(epoch)
        return Change(was, self.kind, len(self.epochs) - 1)

    def make(self, call: Call) -> tuple[Any, ...]:
        """Answer a call that is no misuse, in the order of the reply's fields."""
        was, change = self.kind, None
        match call:
            case Acquire(now_ms=now_ms, policy=policy):
                if waits := self.waits(call):
                    self.now.waits_until_ms.append(now_ms + waits[1])
                    return False, *waits, len(self.epochs) - 1, now_ms
                if was == "closed":
                    return True, len(self.epochs) - 1, 0, None, now_ms
                if was == "open" or (self.in_flight() and now_ms >= self.now.waits_until_ms[-1]):
                    change = self.begin(Epoch(admitted_ms=[now_ms]), was)
                else:
                    self.now.admitted_ms.append(now_ms)
                self.now.waits_until_ms.append(now_ms + policy.open_ms)
                return True, len(self.epochs) - 1, len(self.now.admitted_ms), change, now_ms
            case Report(permit=permit):
                counts = permit.epoch == len(self.epochs) - 1
                counts &= permit.number in self.in_flight() or (was == "closed" and permit.number == 0)
                if counts:
                    self.now.reported.append((permit.number, call.outcome))
                    change = self.result(call, was)
                return counts, self.kind, len(self.epochs) - 1, change, call.now_ms
            case View():
                counts_now = [self.row() if was == "closed" else 0, self.successes() if was == "half_open" else 0]
                waits = self.waits(call)
                return was, len(self.epochs) - 1, *counts_now, len(self.in_flight()), waits[1] if waits else 0, call.now_ms
            case ForceOpen():
                until_ms = self.now.waits_until_ms[-1] if was == "open" else call.now_ms + call.open_ms
                change = self.begin(Epoch(waits_until_ms=[until_ms]), was)
            case _:
                change = self.begin(Epoch(is_closed=True), was)
        return self.kind, len(self.epochs) - 1, change, call.now_ms

    def result(self, call: Report, was: Kind) -> Change | None:
        """What a result that counts leads to."""
        failed = call.outcome is FAILURE
        if failed and (was == "half_open" or self.row() >= call.policy.failure_threshold):
            return self.begin(Epoch(waits_until_ms=[call.now_ms + call.open_ms]), was)
        healed = was == "half_open" and call.outcome is SUCCESS and self.successes() >= call.policy.success_threshold
        return self.begin(Epoch(is_closed=True), was) if healed else None


def fields_of(reply: Reply) -> tuple[Any, ...]:
    """What of a reply can be told."""
    match reply:
        case Admitted():
            return reply.admitted, reply.epoch, reply.number, reply.transition, reply.now_ms
        case Refused():
            return reply.admitted, reply.why, reply.retry_after_ms, reply.epoch, reply.now_ms
        case Counted():
            return reply.counted, reply.state, reply.epoch, reply.transition, reply.now_ms
        case Seen():
            counts = reply.failures, reply.successes, reply.in_flight
            return reply.state, reply.epoch, *counts, reply.retry_after_ms, reply.now_ms
        case Forced():
            return reply.state, reply.epoch, reply.transition, reply.now_ms
        case Misuse():
            return (reply.argument,)


policies = st.builds(
    Policy, failure_threshold=st.integers(1, 3), success_threshold=st.integers(1, 3), open_ms=st.sampled_from((1, 2, 5, 7))
)


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """Calls of one name, close together, so that they meet; clocks step forward and back, and policies change."""
    calls: list[Call] = []
    call: Call
    state, policy, now_ms, held = INITIAL, draw(policies), 50, [Permit(0)]
    for _ in range(draw(st.integers(1, 40))):
        if draw(st.integers(0, 9)) == 0:
            policy = draw(policies)
        now_ms = max(0, now_ms + draw(st.sampled_from((0, 0, 0, 1, 2, 5, 8, -1, -9))))
        if isinstance(state, Open) and draw(st.booleans()):
            now_ms = max(now_ms, state.open_until_ms)
        at: dict[str, Any] = {"name": "a", "policy": policy, "now_ms": now_ms}
        open_ms = draw(st.integers(policy.open_least_ms, policy.open_most_ms))
        match draw(st.integers(0, 24)):
            case 0:
                by_hand: tuple[Call, ...] = (ForceClose(**at), Reset(**at), ForceOpen(**at, open_ms=open_ms))
                call = draw(st.sampled_from(by_hand))
            case 1 | 2:
                call = View(**at)
            case 3:
                permit = Permit(max(0, state.epoch + draw(st.integers(-1, 1))), draw(st.integers(0, 3)))
                call = Report(**at, permit=permit, outcome=draw(st.sampled_from(Outcome)), open_ms=open_ms)
            case choice if choice % 2:
                permit = held[-1 - draw(st.integers(0, min(3, len(held) - 1)))]
                call = Report(**at, permit=permit, outcome=draw(st.sampled_from(Outcome)), open_ms=open_ms)
            case _:
                call = Acquire(**at)
        calls.append(call)
        state, reply = step(state, call)
        held += [reply.permit] if isinstance(reply, Admitted) else []
    return calls


@settings(max_examples=600, deadline=None)
@given(some_calls())
def test_the_specification_agrees_with_the_oracle_that_keeps_everything(calls: list[Call]) -> None:
    """CB-1 to CB-10, CB-13, CB-15: every field of every reply, whatever was called before."""
    breaker, oracle = Breaker(), Oracle()
    for call in calls:
        assert fields_of(breaker.make(call)) == oracle.make(call)


@settings(max_examples=300, deadline=None)
@given(some_calls())
def test_every_epoch_is_announced_once_and_in_order(calls: list[Call]) -> None:
    """CB-1, CB-9: and each announcement begins with the kind of state in which the one before it ended."""
    breaker = Breaker()
    told = [getattr(breaker.make(call), "transition", None) for call in calls]
    changes = [each for each in told if each is not None]
    assert [each.epoch for each in changes] == list(range(1, breaker.state.epoch + 1))
    assert [each.old for each in changes] == ["closed", *(each.new for each in changes)][: len(changes)]


@settings(max_examples=300, deadline=None)
@given(some_calls())
def test_a_view_tells_what_an_acquire_would_be_told(calls: list[Call]) -> None:
    """CB-4: and whether it would be admitted."""
    breaker = Breaker()
    for call in calls:
        breaker.make(call)
        breaker.policy = call.policy
        asked = evolve(breaker).ask(call.now_ms)
        assert breaker.view(call.now_ms).retry_after_ms == (asked.retry_after_ms if isinstance(asked, Refused) else 0)


@settings(max_examples=300, deadline=None)
@given(some_calls(), st.integers(0, 40))
def test_successes_alone_close_it_however_slowly_they_come(calls: list[Call], slow_ms: int) -> None:
    """CB-8: whatever happened before, and whatever is still in flight; no refusal is for ever."""
    breaker = Breaker()
    for call in calls:
        breaker.make(call)
    breaker.policy, now_ms = calls[-1].policy, calls[-1].now_ms
    for _ in range(3 * breaker.policy.success_threshold + 2):
        if isinstance(breaker.state, Closed):
            return
        asked = breaker.ask(now_ms)
        if isinstance(asked, Refused):
            now_ms += asked.retry_after_ms
        else:
            now_ms += slow_ms
            breaker.tell(asked.permit, SUCCESS, now_ms)
    assert isinstance(breaker.state, Closed)


@settings(max_examples=200, deadline=None)
@given(some_calls(), st.integers(1, 10**12))
def test_only_differences_of_time_matter(calls: list[Call], later_ms: int) -> None:
    """CM-2: the same story at another time has the same answers."""
    now, then = Breaker(), Breaker()
    for call in calls:
        mine, theirs = now.make(call), then.make(evolve(call, now_ms=call.now_ms + later_ms))
        assert fields_of(theirs)[:-1] == fields_of(mine)[:-1]
