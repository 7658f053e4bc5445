"""The circuit breaker's machine is attacked: every wrong breaker is caught, under the rule it breaks, by a short story."""

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
from attrs import evolve

from redstep_check.binding import Answer, Stored, Target, Unreadable
from redstep_check.guards.circuit_breaker import Called, CircuitBreakerSession, Forged, Reported, tell, tell_answer
from redstep_check.guards.circuit_breaker_simpler import simpler
from redstep_check.lockstep import Mismatch
from redstep_check.machines.circuit_breaker import CircuitBreakerMachine
from redstep_check.models.circuit_breaker import ModelCircuitBreaker
from redstep_check.runs import Bench, Budget, Verdict, replayed, run
from redstep_check.stories import decoded, encoded
from redstep_spec import circuit_breaker as spec
from redstep_spec.circuit_breaker import Acquire, Call, Closed, HalfOpen, Open, Outcome, Permit, Reply, Report, State
from redstep_spec.delivery import Fate
from redstep_spec.properties.circuit_breaker_seen import PROPERTIES as SEEN

BENCH = Bench(session=CircuitBreakerSession, machine=CircuitBreakerMachine, sometimes=SEEN.sometimes, simpler=simpler)
BUDGET = Budget(seed=20_250)
STORY_MAX = 8
"""How many moves show a planted mistake."""

Step = Callable[[State, Call], tuple[State, Reply]]


def seen_as(alter: Callable[[State, Call], tuple[State, Call]]) -> Step:
    """A breaker that takes the right step from a wrong state, or for a wrong call; what it leaves alone, it leaves right."""

    def step(state: State, call: Call) -> tuple[State, Reply]:
        taken_for, made_of = alter(state, call)
        after, reply = spec.step(taken_for, made_of)
        return (state if after == taken_for else after), reply

    return step


def ending_as(alter: Callable[[State, Call, State], State]) -> Step:
    """A breaker that takes the right step and stores something else."""

    def step(state: State, call: Call) -> tuple[State, Reply]:
        after, reply = spec.step(state, call)
        return alter(state, call, after), reply

    return step


# ---------------------------------------------------------------------------------------------- wrong breakers


@seen_as
def no_epoch_check(state: State, call: Call) -> tuple[State, Call]:
    """Any permit counts while closed, and any number in flight while half-open."""
    if isinstance(call, Report) and isinstance(state, Closed):
        return state, evolve(call, permit=Permit(state.epoch))
    if isinstance(call, Report) and isinstance(state, HalfOpen):
        return state, evolve(call, permit=evolve(call.permit, epoch=state.epoch))
    return state, call


@seen_as
def a_stale_number_counts(state: State, call: Call) -> tuple[State, Call]:
    """A number that is not in flight counts as one that is."""
    if not isinstance(call, Report) or not isinstance(state, HalfOpen) or not state.probes:
        return state, call
    if call.permit.epoch != state.epoch or call.permit.number in state.probes:
        return state, call
    return state, evolve(call, permit=Permit(state.epoch, min(state.probes)))


def successes_outlive_a_failure() -> Step:
    """The count of successes is forgotten by closing alone."""
    kept: dict[str, int] = {}

    def step(state: State, call: Call) -> tuple[State, Reply]:
        after, reply = spec.step(state, call)
        if isinstance(state, HalfOpen) and isinstance(after, Open):
            kept[call.name] = state.successes
        if isinstance(state, Open) and isinstance(after, HalfOpen):
            after = evolve(after, successes=kept.pop(call.name, 0))
        return after, reply

    return step


@seen_as
def told_anew_at_every_acquire(state: State, call: Call) -> tuple[State, Call]:
    """An acquire that is refused is told to wait for T."""
    if isinstance(state, Open) and isinstance(call, Acquire) and 0 < state.open_until_ms - call.now_ms < call.policy.open_ms:
        return Open(state.epoch, call.now_ms + call.policy.open_ms), call
    return state, call


def drawn_again(state: State, call: Call) -> tuple[State, Reply]:
    """An acquire that is refused begins the wait anew."""
    if isinstance(state, Open) and isinstance(call, Acquire) and call.now_ms < state.open_until_ms:
        state = Open(state.epoch, call.now_ms + call.policy.open_least_ms)
    return spec.step(state, call)


@ending_as
def drawn_by_nobody(state: State, call: Call, after: State) -> State:
    """It opens for T whatever was drawn."""
    if isinstance(call, Report | spec.ForceOpen) and isinstance(after, Open) and not isinstance(state, Open):
        return evolve(after, open_until_ms=call.now_ms + call.policy.open_ms)
    return after


@seen_as
def probes_without_limit(state: State, call: Call) -> tuple[State, Call]:
    """Half-open, it admits everybody."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire):
        return state, evolve(call, policy=evolve(call.policy, success_threshold=1_000))
    return state, call


@seen_as
def one_probe_too_few(state: State, call: Call) -> tuple[State, Call]:
    """Half-open, it keeps one place free."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire):
        return state, evolve(call, policy=evolve(call.policy, success_threshold=max(1, call.policy.success_threshold - 1)))
    return state, call


@seen_as
def successes_leave_room(state: State, call: Call) -> tuple[State, Call]:
    """S probes may be in flight, however many have succeeded."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire):
        more = call.policy.success_threshold + state.successes
        return state, evolve(call, policy=evolve(call.policy, success_threshold=more))
    return state, call


@ending_as
def a_failure_while_open_extends_it(state: State, call: Call, after: State) -> State:
    """A late failure begins the wait anew."""
    if isinstance(state, Open) and isinstance(call, Report) and call.outcome is Outcome.FAILURE:
        return Open(state.epoch, max(state.open_until_ms, call.now_ms + call.open_ms))
    return after


@ending_as
def forced_open_for_longer(state: State, call: Call, after: State) -> State:
    """To force open what is open begins the wait anew."""
    if isinstance(state, Open) and isinstance(call, spec.ForceOpen):
        return Open(after.epoch, call.now_ms + call.open_ms)
    return after


@ending_as
def a_neutral_result_leaks_its_permit(state: State, call: Call, after: State) -> State:
    """What was neutral is in flight for ever."""
    neutral = isinstance(call, Report) and call.outcome is Outcome.NEUTRAL
    return state if neutral else after


@seen_as
def neutral_is_failure(state: State, call: Call) -> tuple[State, Call]:
    """A cancelled call counts against what it called."""
    if isinstance(call, Report) and call.outcome is Outcome.NEUTRAL:
        return state, evolve(call, outcome=Outcome.FAILURE, open_ms=call.policy.open_ms)
    return state, call


@seen_as
def neutral_is_success(state: State, call: Call) -> tuple[State, Call]:
    """A cancelled call counts for what it called."""
    if isinstance(call, Report) and call.outcome is Outcome.NEUTRAL:
        return state, evolve(call, outcome=Outcome.SUCCESS)
    return state, call


@seen_as
def closes_one_success_early(state: State, call: Call) -> tuple[State, Call]:
    """S - 1 are enough."""
    if isinstance(state, HalfOpen) and isinstance(call, Report):
        return state, evolve(call, policy=evolve(call.policy, success_threshold=max(1, call.policy.success_threshold - 1)))
    return state, call


@seen_as
def opens_one_failure_late(state: State, call: Call) -> tuple[State, Call]:
    """More than F are needed."""
    if isinstance(state, Closed) and isinstance(call, Report):
        return state, evolve(call, policy=evolve(call.policy, failure_threshold=call.policy.failure_threshold + 1))
    return state, call


@seen_as
def half_open_one_millisecond_early(state: State, call: Call) -> tuple[State, Call]:
    """It admits before open_until."""
    if isinstance(state, Open) and isinstance(call, Acquire) and call.now_ms == state.open_until_ms - 1:
        return evolve(state, open_until_ms=state.open_until_ms - 1), call
    return state, call


@seen_as
def half_open_one_millisecond_late(state: State, call: Call) -> tuple[State, Call]:
    """It admits after open_until."""
    if isinstance(state, Open) and isinstance(call, Acquire) and call.now_ms == state.open_until_ms:
        return evolve(state, open_until_ms=state.open_until_ms + 1), call
    return state, call


@ending_as
def a_renewal_keeps_successes(state: State, _: Call, after: State) -> State:
    """The new epoch of half-open begins with what the old one had."""
    if isinstance(state, HalfOpen) and isinstance(after, HalfOpen) and after.epoch != state.epoch:
        return evolve(after, successes=state.successes)
    return after


@seen_as
def renewed_one_millisecond_late(state: State, call: Call) -> tuple[State, Call]:
    """Probes are given up after their deadline, not at it."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire) and call.now_ms == state.deadline_ms:
        return evolve(state, deadline_ms=state.deadline_ms + 1), call
    return state, call


@seen_as
def never_renewed(state: State, call: Call) -> tuple[State, Call]:
    """Probes that fell silent are waited for."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire) and call.now_ms >= state.deadline_ms:
        return evolve(state, deadline_ms=call.now_ms + 1), call
    return state, call


def renewed_only_when_full(state: State, call: Call) -> tuple[State, Reply]:
    """With room for one more, silent probes stay in flight."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire) and state.has_room(call.policy.success_threshold):
        return spec.admit(state, state, call, ("CB-8",))
    return spec.step(state, call)


def renewed_without_probes(state: State, call: Call) -> tuple[State, Reply]:
    """Time alone begins a new epoch of half-open."""
    if isinstance(state, HalfOpen) and isinstance(call, Acquire) and call.now_ms >= state.deadline_ms:
        return spec.admit(state, HalfOpen(state.epoch + 1), call, ("CB-8",))
    return spec.step(state, call)


@ending_as
def the_first_probe_sets_the_deadline(state: State, _: Call, after: State) -> State:
    """A later probe has no more time than is left."""
    if isinstance(state, HalfOpen) and state.probes and isinstance(after, HalfOpen) and after.epoch == state.epoch:
        return evolve(after, deadline_ms=state.deadline_ms) if after.next_number > state.next_number else after
    return after


@ending_as
def a_success_does_not_end_a_row(state: State, call: Call, after: State) -> State:
    """Failures are counted for ever."""
    if isinstance(state, Closed) and isinstance(call, Report) and call.outcome is Outcome.SUCCESS:
        return state
    return after


def never_clamped(state: State, call: Call) -> tuple[State, Reply]:
    """A clock that steps back leaves it open for as long as it stepped."""
    after, reply = spec.step(state, call)
    return (state if isinstance(reply, spec.Refused) else after), reply


def a_view_half_opens(state: State, call: Call) -> tuple[State, Reply]:
    """Whoever looks moves it."""
    after, reply = spec.step(state, call)
    if isinstance(call, spec.View) and isinstance(state, Open) and call.now_ms >= state.open_until_ms:
        after = HalfOpen(state.epoch + 1)
    return after, reply


@ending_as
def a_reset_forgets_the_epoch(_: State, call: Call, after: State) -> State:
    """As if the key had been deleted."""
    return spec.INITIAL if isinstance(call, spec.Reset) else after


@ending_as
def closing_begins_no_epoch(state: State, call: Call, after: State) -> State:
    """Closed again, it is in the epoch of its probes."""
    closed = isinstance(state, HalfOpen) and isinstance(after, Closed) and isinstance(call, Report)
    return evolve(after, epoch=state.epoch) if closed else after


def everybody_announces(state: State, call: Call) -> tuple[State, Reply]:
    """Who reports while it is open announces that it opened."""
    after, reply = spec.step(state, call)
    if isinstance(reply, spec.Counted) and isinstance(after, Open):
        return after, evolve(reply, transition=spec.Change("closed", "open", after.epoch))
    return after, reply


def full_for_ever(state: State, call: Call) -> tuple[State, Reply]:
    """With S lowered to what succeeded, and none in flight, it refuses."""
    after, reply = spec.step(state, call)
    needed = call.policy.success_threshold
    if isinstance(state, HalfOpen) and not state.probes and state.successes >= needed and isinstance(reply, spec.Admitted):
        return state, spec.Refused(why="full", retry_after_ms=1, epoch=state.epoch, now_ms=call.now_ms, because=())
    return after, reply


WRONG: dict[str, tuple[Callable[[], Step], str]] = {
    "no epoch check": (lambda: no_epoch_check, "CB-7"),
    "a stale number counts": (lambda: a_stale_number_counts, "CB-7"),
    "successes outlive a failure": (successes_outlive_a_failure, "CB-6"),
    "the wait is drawn again at every acquire": (lambda: drawn_again, "CB-3"),
    "the wait is told anew at every acquire": (lambda: told_anew_at_every_acquire, "CB-3"),
    "what is drawn is not used": (lambda: drawn_by_nobody, "CB-3"),
    "probes without limit": (lambda: probes_without_limit, "CB-5"),
    "one probe too few": (lambda: one_probe_too_few, "CB-5"),
    "successes leave room": (lambda: successes_leave_room, "CB-5"),
    "full for ever": (lambda: full_for_ever, "CB-5"),
    "a failure while open extends it": (lambda: a_failure_while_open_extends_it, "CB-9"),
    "forced open for longer": (lambda: forced_open_for_longer, "CB-9"),
    "everybody announces": (lambda: everybody_announces, "CB-9"),
    "a neutral result leaks its permit": (lambda: a_neutral_result_leaks_its_permit, "CB-10"),
    "neutral is failure": (lambda: neutral_is_failure, "CB-10"),
    "neutral is success": (lambda: neutral_is_success, "CB-10"),
    "closes one success early": (lambda: closes_one_success_early, "CB-6"),
    "opens one failure late": (lambda: opens_one_failure_late, "CB-2"),
    "a success does not end a row": (lambda: a_success_does_not_end_a_row, "CB-2"),
    "half-open one millisecond early": (lambda: half_open_one_millisecond_early, "CB-4"),
    "half-open one millisecond late": (lambda: half_open_one_millisecond_late, "CB-4"),
    "a view half-opens": (lambda: a_view_half_opens, "CB-4"),
    "a renewal keeps successes": (lambda: a_renewal_keeps_successes, "CB-8"),
    "renewed one millisecond late": (lambda: renewed_one_millisecond_late, "CB-8"),
    "never renewed": (lambda: never_renewed, "CB-8"),
    "renewed only when full": (lambda: renewed_only_when_full, "CB-8"),
    "renewed without probes": (lambda: renewed_without_probes, "CB-8"),
    "the first probe sets the deadline": (lambda: the_first_probe_sets_the_deadline, "CB-8"),
    "never clamped": (lambda: never_clamped, "CB-13"),
    "a reset forgets the epoch": (lambda: a_reset_forgets_the_epoch, "CB-15"),
    "closing begins no epoch": (lambda: closing_begins_no_epoch, "CB-1"),
}
"""Breakers that are wrong in one way each, and the rule that each of them breaks."""


class Wrong(ModelCircuitBreaker):
    """A breaker that is wrong, and as good as new in every session."""

    def __init__(self, make: Callable[[], Step]) -> None:
        super().__init__()
        self.make = make

    def begin(self) -> None:
        """Forget everything."""
        super().begin()
        self._step = self.make()


class AnyDrawWillDo(ModelCircuitBreaker):
    """It opens for however long it is told."""

    def take(self, call: Call, fates: Sequence[Fate], *, again: bool = False) -> Answer:
        """Bring what was drawn into range first."""
        wrong = spec.misuse(call)
        if wrong and wrong.argument == "open_ms" and isinstance(call, spec.ForceOpen):
            call = evolve(call, open_ms=call.policy.open_ms)
        return super().take(call, fates, again=again)


class Again(ModelCircuitBreaker):
    """Its handles can be reported as often as one likes."""

    def take(self, call: Call, fates: Sequence[Fate], *, again: bool = False) -> Answer:  # noqa: ARG002  that is what is wrong
        """Report it again."""
        return super().take(call, fates)


class Twice(ModelCircuitBreaker):
    """What was lost is sent again, whatever it is."""

    def take(self, call: Call, fates: Sequence[Fate], *, again: bool = False) -> Answer:
        """Take the step twice, if its first reply is lost."""
        if fates and fates[0] is Fate.REPLY_LOST and not again:
            super().take(call, ())
            return super().take(call, fates[1:])
        return super().take(call, fates, again=again)


class Blind(Wrong):
    """One whose state cannot be read."""

    features = Wrong.features - {"stored"}


def caught(target: Target[Any]) -> Mismatch:
    """The shortest story of what is wrong with a target."""
    result = run(BENCH, target, BUDGET)
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch is not None
    print(result.mismatch, f"{result.seconds:.1f} s")  # noqa: T201  the stories are what one wants to see
    for told in result.mismatch.story:
        print("   ", told.move.now_ms, tell(told.move), "|", tell_answer(told.expected), "|", tell_answer(told.answer))  # noqa: T201
    return result.mismatch


@cache
def caught_by_name(name: str) -> Mismatch:
    """The shortest story of a wrong breaker whose state can be read."""
    return caught(Wrong(WRONG[name][0]))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_breaker_is_caught_under_its_rule(name: str) -> None:
    """By a story of at most eight moves."""
    mismatch = caught_by_name(name)
    assert mismatch.rule == WRONG[name][1]
    assert len(mismatch.story) <= STORY_MAX


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_breaker_is_caught_by_its_replies_alone(name: str) -> None:
    """A step or two later, when nothing of what it stores can be read."""
    step, _ = WRONG[name]
    assert len(caught(Blind(step)).story) <= STORY_MAX + 2


class Mortal(ModelCircuitBreaker):
    """Its state has a time to live."""

    def stored(self, *key: object) -> Stored:
        """Five seconds, say."""
        return evolve(super().stored(*key), ttl_ms=5_000)


class Restless(ModelCircuitBreaker):
    """Its state is written anew whatever happens."""

    writes = 0

    def take(self, call: Call, fates: Sequence[Fate], *, again: bool = False) -> Answer:
        """Count the writes."""
        self.writes += 1
        return super().take(call, fates, again=again)

    def stored(self, *key: object) -> Stored:
        """With a count of the writes beside it."""
        return evolve(super().stored(*key), raw=self.writes)


class Garbled(ModelCircuitBreaker):
    """What it stores while half-open cannot be read."""

    def stored(self, *key: object) -> Stored:
        """Raises Unreadable."""
        stored = super().stored(*key)
        if isinstance(stored.state, HalfOpen):
            raise Unreadable("no integer")
        return stored


@pytest.mark.parametrize(
    ("target", "rule"),
    [
        (AnyDrawWillDo(), "CB-3"),
        (Again(), "CB-7"),
        (Twice(), "CM-4"),
        (Mortal(), "CM-3"),
        (Restless(), "CB-1"),
        (Garbled(), "CB-4"),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_wrong_client_is_caught_under_its_rule(target: Target[Any], rule: str) -> None:
    """What is wrong around the steps, as against in them."""
    mismatch = caught(target)
    assert mismatch.rule == rule
    assert len(mismatch.story) <= STORY_MAX


# ---------------------------------------------------------------------------------------------- stories


KINDS = {
    each.__name__: each
    for each in (
        *(Called, Reported, Forged, Fate, Outcome, Permit, spec.Policy),
        *(Acquire, Report, spec.View, spec.ForceOpen, spec.ForceClose, spec.Reset),
    )
}


def moves_of(mismatch: Mismatch) -> tuple[Any, ...]:
    """The moves of a story."""
    return tuple(told.move for told in mismatch.story)


@pytest.mark.parametrize("name", WRONG)
def test_a_story_is_told_again_by_whoever_reads_it(name: str) -> None:
    """Through JSON and back, it shows the same difference; on a breaker that is right it shows none."""
    step, rule = WRONG[name]
    moves = decoded(json.loads(json.dumps([encoded(move) for move in moves_of(caught_by_name(name))])), KINDS)
    again = replayed(BENCH, Wrong(step), moves)
    assert again is not None
    assert (again.rule, moves_of(again)) == (rule, moves)
    assert replayed(BENCH, ModelCircuitBreaker(), moves) is None
