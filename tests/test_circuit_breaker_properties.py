"""
The circuit breaker's properties are attacked: each ALWAYS can fail, each SOMETIMES is reached by one story and not by its
lookalike. And its small world is explored to the last state: every ALWAYS holds, and nothing is stuck.
"""

from itertools import product
from typing import Any

import pytest
from attrs import evolve

from redstep_check.exploration import Explored, World, explore
from redstep_spec import circuit_breaker as spec
from redstep_spec.circuit_breaker import (
    INITIAL,
    Acquire,
    Call,
    Change,
    Closed,
    ForceClose,
    ForceOpen,
    HalfOpen,
    Open,
    Outcome,
    Permit,
    Policy,
    Report,
    Reset,
    State,
    View,
    is_idempotent,
    step,
)
from redstep_spec.delivery import Fate, Replied, deliver
from redstep_spec.properties.circuit_breaker import PROPERTIES, Transition
from redstep_spec.properties.circuit_breaker_seen import PROPERTIES as SEEN
from redstep_spec.worlds import circuit_breaker as small
from support.attacking import assert_obeyed, assert_told_apart, assert_well_said, called, names

LOST, NOT_SENT, FLUSHED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED
SUCCESS, FAILURE, NEUTRAL = Outcome.SUCCESS, Outcome.FAILURE, Outcome.NEUTRAL
PLAIN = Policy(failure_threshold=2, success_threshold=2, open_ms=10)
"""It opens for 8 to 12 ms."""
ONE = evolve(PLAIN, failure_threshold=1, success_threshold=1)


def at(now_ms: int, policy: Policy = PLAIN) -> dict[str, Any]:
    """What every call carries."""
    return {"name": "a", "policy": policy, "now_ms": now_ms}


def acquire(now_ms: int, policy: Policy = PLAIN) -> Acquire:
    """An acquire."""
    return Acquire(**at(now_ms, policy))


def report(now_ms: int, permit: Permit, outcome: Outcome, open_ms: int = 10, *, policy: Policy = PLAIN) -> Report:
    """A report."""
    return Report(**at(now_ms, policy), permit=permit, outcome=outcome, open_ms=open_ms)


def taken(before: State, call: Call, *fates: Fate, again: bool = False) -> Transition:
    """The transition that the specification makes of a call."""
    if again:
        told = spec.Counted(
            counted=False, state=spec.kind(before), epoch=before.epoch, transition=None, now_ms=call.now_ms, because=()
        )
        return Transition(before=before, call=call, fates=fates, outcome=Replied(told), after=before, again=True)
    after, outcome = deliver(lambda state: step(state, call), before, fates, resends=1 if is_idempotent(call) else 0)
    return Transition(before=before, call=call, fates=fates, outcome=outcome, after=after)


def probing(*probes: int, successes: int = 0, deadline_ms: int = 120, epoch: int = 4) -> HalfOpen:
    """Half-open, with these probes in flight."""
    return HalfOpen(epoch, successes, frozenset(probes), max(probes, default=successes) + 1, deadline_ms)


SOUND, FAILING, OPEN = Closed(4, 0), Closed(4, 1), Open(4, 110)
HALF, FULL, IDLE = probing(1), probing(1, 2), probing(successes=1)
NOW, OLDER = Permit(4), Permit(2)
PROBE, OLDER_PROBE = Permit(4, 1), Permit(2, 1)


def test_every_property_belongs_to_a_rule_and_says_a_sentence() -> None:
    """A sentence begins with a capital or names an operation, and ends with a full stop; names are unique."""
    assert_well_said([*PROPERTIES.always, *SEEN.sometimes], ("force_",))


def test_what_always_holds_and_what_must_be_seen_stand_in_two_places() -> None:
    """Neither module holds what belongs in the other."""
    assert (PROPERTIES.sometimes, SEEN.always) == ([], [])


# ---------------------------------------------------------------------------------------------- always


def ending(transition: Transition, after: State) -> Transition:
    """The same transition with another end."""
    return evolve(transition, after=after)


def answered(right: Transition, **changes: object) -> Transition:
    """The same transition with another reply."""
    assert right.reply is not None
    return evolve(right, outcome=Replied(evolve(right.reply, **changes)))  # type: ignore[arg-type]


TRIPPED = taken(FAILING, report(100, NOW, FAILURE))
LATE_FAILURE = taken(OPEN, report(105, OLDER, FAILURE))
WAITING = taken(OPEN, acquire(105))
DUE = taken(OPEN, acquire(110))
CROWDED = taken(FULL, acquire(115))
RENEWED = taken(FULL, acquire(120))
HEALED = taken(probing(2, successes=1), report(115, Permit(4, 2), SUCCESS))
REFUSED_BY_NOBODY = spec.Refused(why="full", retry_after_ms=1, epoch=4, now_ms=130, because=())

WRONG = {
    "every_change_begins_an_epoch": ending(TRIPPED, Open(4, 110)),
    "opens_at_the_last_failure_of_a_row": ending(TRIPPED, Closed(4, 2)),
    "opens_for_a_jittered_time": ending(TRIPPED, Open(5, 113)),
    "only_an_acquire_ends_open": ending(WAITING, probing(1, epoch=5)),
    "an_open_refusal_is_exact": answered(WAITING, retry_after_ms=6),
    "a_view_is_pure": ending(taken(OPEN, View(**at(110))), probing(epoch=5)),
    "never_more_probes_than_successes_are_needed": ending(taken(HALF, acquire(115)), probing(1, 2, 3)),
    "every_probe_has_the_next_number": ending(taken(IDLE, acquire(115)), HalfOpen(4, 1, frozenset({1}), 2, 125)),
    "closes_at_the_last_success": ending(HEALED, probing(successes=2)),
    "an_epoch_begins_with_nothing": ending(RENEWED, probing(1, successes=1, epoch=5)),
    "a_stale_result_changes_nothing": ending(LATE_FAILURE, Open(4, 109)),
    "the_permit_of_a_probe_counts_once": ending(taken(HALF, report(115, PROBE, SUCCESS)), probing(1, successes=1)),
    "no_refusal_is_for_ever": answered(CROWDED, retry_after_ms=4),
    "every_probe_is_waited_for": ending(taken(HALF, acquire(115)), probing(1, 2, deadline_ms=120)),
    "time_matters_only_to_probes_in_flight": ending(taken(IDLE, acquire(130)), probing(1, epoch=5)),
    "nothing_keeps_it_open_for_longer": ending(LATE_FAILURE, Open(4, 115)),
    "an_epoch_is_announced_by_the_call_that_began_it": answered(TRIPPED, transition=None),
    "a_neutral_result_only_frees_its_permit": ending(taken(FULL, report(115, PROBE, NEUTRAL)), FULL),
    "no_wait_is_longer_than_could_be_drawn": ending(
        answered(taken(OPEN, acquire(90)), retry_after_ms=20),
        OPEN,
    ),
    "an_intervention_is_obeyed": ending(taken(OPEN, Reset(**at(105))), Open(5, 110)),
    "what_was_not_executed_changed_nothing": ending(taken(HALF, report(115, PROBE, SUCCESS), NOT_SENT), IDLE),
}
"""For each ALWAYS, a step that a wrong breaker would take."""

ALSO_WRONG = [
    ("every_change_begins_an_epoch", ending(taken(SOUND, acquire(100)), Closed(5, 0))),
    ("every_change_begins_an_epoch", ending(RENEWED, probing(1))),
    ("every_change_begins_an_epoch", ending(taken(SOUND, Reset(**at(100))), SOUND)),
    ("every_change_begins_an_epoch", ending(HEALED, Closed(6, 0))),
    ("every_change_begins_an_epoch", ending(taken(SOUND, Reset(**at(100))), INITIAL)),
    ("opens_at_the_last_failure_of_a_row", ending(taken(SOUND, report(100, NOW, FAILURE)), Open(5, 110))),
    ("opens_at_the_last_failure_of_a_row", ending(taken(FAILING, report(100, NOW, SUCCESS)), FAILING)),
    ("opens_at_the_last_failure_of_a_row", ending(taken(FAILING, acquire(100)), Open(5, 110))),
    ("opens_for_a_jittered_time", ending(TRIPPED, Open(5, 107))),
    ("only_an_acquire_ends_open", ending(LATE_FAILURE, Closed(5, 0))),
    ("only_an_acquire_ends_open", ending(taken(OPEN, View(**at(110))), probing(epoch=5))),
    ("an_open_refusal_is_exact", ending(WAITING, Open(4, 109))),
    ("a_view_is_pure", answered(taken(OPEN, View(**at(109))), retry_after_ms=0)),
    ("a_view_is_pure", answered(taken(OPEN, View(**at(110))), retry_after_ms=1)),
    ("a_view_is_pure", ending(taken(OPEN, View(**at(109)), LOST, LOST), Open(4, 109))),
    ("every_probe_has_the_next_number", ending(DUE, HalfOpen(5, 0, frozenset({2}), 3, 120))),
    ("every_probe_has_the_next_number", ending(taken(HALF, acquire(115), LOST), HalfOpen(4, 0, frozenset({1, 3}), 4, 125))),
    ("closes_at_the_last_success", ending(taken(HALF, report(115, PROBE, SUCCESS)), Closed(5, 0))),
    ("closes_at_the_last_success", ending(taken(HALF, report(115, PROBE, FAILURE)), IDLE)),
    ("closes_at_the_last_success", ending(taken(HALF, report(115, PROBE, NEUTRAL)), Open(5, 125))),
    ("an_epoch_begins_with_nothing", ending(HEALED, Closed(5, 1))),
    ("an_epoch_begins_with_nothing", ending(DUE, probing(1, 2, epoch=5))),
    ("an_epoch_begins_with_nothing", ending(DUE, evolve(probing(1, epoch=5), next_number=3))),
    ("a_stale_result_changes_nothing", answered(LATE_FAILURE, counted=True)),
    ("a_stale_result_changes_nothing", ending(taken(FAILING, report(100, NOW, SUCCESS), again=True), SOUND)),
    ("a_stale_result_changes_nothing", ending(taken(HALF, report(115, Permit(4, 2), SUCCESS)), IDLE)),
    ("no_refusal_is_for_ever", answered(WAITING, retry_after_ms=4)),
    ("no_refusal_is_for_ever", answered(CROWDED, retry_after_ms=0)),
    (
        "time_matters_only_to_probes_in_flight",
        evolve(taken(IDLE, acquire(130)), outcome=Replied(REFUSED_BY_NOBODY), after=IDLE),
    ),
    ("nothing_keeps_it_open_for_longer", ending(taken(OPEN, ForceOpen(**at(105), open_ms=12)), Open(5, 117))),
    ("nothing_keeps_it_open_for_longer", ending(WAITING, Open(4, 111))),
    ("an_epoch_is_announced_by_the_call_that_began_it", answered(LATE_FAILURE, transition=Change("closed", "open", 4))),
    ("an_epoch_is_announced_by_the_call_that_began_it", answered(TRIPPED, transition=Change("closed", "open", 4))),
    ("an_epoch_is_announced_by_the_call_that_began_it", ending(WAITING, Open(5, 110))),
    ("a_neutral_result_only_frees_its_permit", ending(taken(FAILING, report(100, NOW, NEUTRAL)), SOUND)),
    ("no_wait_is_longer_than_could_be_drawn", ending(taken(OPEN, acquire(90)), OPEN)),
    ("an_intervention_is_obeyed", ending(taken(SOUND, ForceOpen(**at(100), open_ms=10)), Closed(5, 0))),
    ("what_was_not_executed_changed_nothing", ending(taken(SOUND, acquire(100, evolve(PLAIN, open_ms=0))), FAILING)),
    ("what_was_not_executed_changed_nothing", ending(taken(FAILING, report(100, NOW, SUCCESS), again=True), SOUND)),
]


@pytest.mark.parametrize("name", names(PROPERTIES.always))
def test_an_always_property_can_fail(name: str) -> None:
    """A step that breaks it is told from the one that the specification takes."""
    wrong = WRONG[name]
    assert_told_apart(called(name, PROPERTIES.always), taken(wrong.before, wrong.call, *wrong.fates), wrong)


@pytest.mark.parametrize(("name", "wrong"), ALSO_WRONG)
def test_an_always_property_fails_in_every_way_that_it_should(name: str, wrong: Transition) -> None:
    """Too early is wrong as too late is, and what must not change must not change to the better."""
    assert_told_apart(called(name, PROPERTIES.always), taken(wrong.before, wrong.call, *wrong.fates, again=wrong.again), wrong)


# ---------------------------------------------------------------------------------------------- sometimes


def by_hand(before: State, how: type) -> Transition:
    """An intervention."""
    return taken(before, ForceOpen(**at(115), open_ms=10) if how is ForceOpen else how(**at(115)))


def told(before: State, permit: Permit, outcome: Outcome, now_ms: int = 115, policy: Policy = PLAIN) -> Transition:
    """A report."""
    return taken(before, report(now_ms, permit, outcome, policy=policy))


LOWERED, SHORT = evolve(PLAIN, success_threshold=1), evolve(PLAIN, open_ms=3)

EXAMPLES: dict[str, tuple[Transition, Transition]] = {
    "admitted_while_closed": (taken(SOUND, acquire(100)), DUE),
    "a_failure_is_counted": (told(SOUND, NOW, FAILURE), told(FAILING, NOW, FAILURE)),
    "a_success_ends_a_row_of_failures": (told(FAILING, NOW, SUCCESS), told(SOUND, NOW, SUCCESS)),
    "the_last_of_several_failures_opens_it": (TRIPPED, told(SOUND, NOW, FAILURE, policy=ONE)),
    "fewer_failures_are_allowed_than_there_were": (told(FAILING, NOW, FAILURE, policy=ONE), TRIPPED),
    "refused_one_millisecond_early": (taken(OPEN, acquire(109)), taken(OPEN, acquire(108))),
    "half_open_at_the_first_millisecond": (DUE, taken(OPEN, acquire(111))),
    "half_open_late": (taken(OPEN, acquire(120)), taken(OPEN, acquire(119))),
    "still_open_to_a_view": (taken(OPEN, View(**at(110))), taken(OPEN, View(**at(109)))),
    "opened_for_the_shortest_time": (taken(FAILING, report(100, NOW, FAILURE, 8)), TRIPPED),
    "opened_for_the_longest_time": (taken(FAILING, report(100, NOW, FAILURE, 12)), TRIPPED),
    "a_probe_beside_another": (taken(HALF, acquire(115)), taken(IDLE, acquire(115))),
    "refused_for_it_is_full": (CROWDED, WAITING),
    "full_of_successes_and_probes": (taken(probing(2, successes=1), acquire(115)), CROWDED),
    "fewer_successes_are_needed_than_there_were": (taken(IDLE, acquire(115, LOWERED)), taken(IDLE, acquire(115))),
    "the_last_of_several_successes_closes_it": (HEALED, told(HALF, PROBE, SUCCESS, policy=ONE)),
    "one_failure_opens_it_again": (told(HALF, PROBE, FAILURE), told(HALF, PROBE, SUCCESS)),
    "opened_again_after_successes": (
        told(probing(2, successes=1), Permit(4, 2), FAILURE),
        told(HALF, PROBE, FAILURE),
    ),
    "a_later_probe_succeeds_first": (told(FULL, Permit(4, 2), SUCCESS), told(FULL, PROBE, SUCCESS)),
    "full_one_millisecond_before_the_deadline": (taken(FULL, acquire(119)), taken(FULL, acquire(118))),
    "probes_are_given_up_at_the_deadline": (RENEWED, taken(FULL, acquire(121))),
    "probes_are_given_up_though_there_was_room": (taken(HALF, acquire(120)), RENEWED),
    "a_renewal_forgets_successes": (taken(probing(2, successes=1), acquire(120)), RENEWED),
    "idle_for_long": (taken(IDLE, acquire(120)), taken(IDLE, acquire(119))),
    "a_probe_succeeds_after_its_deadline": (told(HALF, PROBE, SUCCESS, 120), told(HALF, PROBE, SUCCESS, 119)),
    "a_result_of_closed_meets_open": (told(OPEN, OLDER, FAILURE), told(OPEN, OLDER_PROBE, FAILURE)),
    "a_result_of_closed_meets_half_open": (told(HALF, OLDER, SUCCESS), told(HALF, OLDER_PROBE, SUCCESS)),
    "a_result_of_closed_meets_another_closed": (told(SOUND, OLDER, SUCCESS), told(SOUND, NOW, SUCCESS)),
    "a_result_of_a_probe_meets_open": (told(OPEN, OLDER_PROBE, FAILURE), told(OPEN, OLDER, FAILURE)),
    "a_result_of_a_probe_meets_another_half_open": (told(HALF, OLDER_PROBE, SUCCESS), told(HALF, PROBE, SUCCESS)),
    "a_result_of_a_probe_meets_closed": (told(SOUND, OLDER_PROBE, SUCCESS), told(SOUND, OLDER, SUCCESS)),
    "a_number_that_is_not_in_flight": (told(HALF, Permit(4, 2), SUCCESS), told(HALF, OLDER_PROBE, SUCCESS)),
    "reported_again_while_closed": (
        taken(SOUND, report(115, NOW, FAILURE), again=True),
        taken(SOUND, report(115, OLDER, FAILURE), again=True),
    ),
    "reported_again_while_half_open": (
        taken(IDLE, report(115, PROBE, FAILURE), again=True),
        taken(IDLE, report(115, OLDER, FAILURE), again=True),
    ),
    "neutral_among_failures": (told(FAILING, NOW, NEUTRAL), told(SOUND, NOW, NEUTRAL)),
    "neutral_makes_room": (told(FULL, PROBE, NEUTRAL), told(HALF, PROBE, NEUTRAL)),
    "open_for_too_long": (taken(OPEN, acquire(97)), taken(OPEN, acquire(98))),
    "a_probe_deadline_too_far_off": (taken(FULL, acquire(107)), taken(FULL, acquire(108))),
    "opened_by_hand_while_closed": (by_hand(SOUND, ForceOpen), by_hand(HALF, ForceOpen)),
    "opened_by_hand_while_open": (by_hand(OPEN, ForceOpen), by_hand(SOUND, ForceOpen)),
    "opened_by_hand_while_half_open": (by_hand(HALF, ForceOpen), by_hand(OPEN, ForceOpen)),
    "closed_by_hand_while_failing": (by_hand(FAILING, ForceClose), by_hand(SOUND, ForceClose)),
    "closed_by_hand_while_open": (by_hand(OPEN, ForceClose), by_hand(OPEN, Reset)),
    "closed_by_hand_while_half_open": (by_hand(HALF, ForceClose), by_hand(HALF, Reset)),
    "reset_while_failing": (by_hand(FAILING, Reset), by_hand(SOUND, Reset)),
    "reset_while_open": (by_hand(OPEN, Reset), by_hand(OPEN, ForceClose)),
    "reset_while_half_open": (by_hand(HALF, Reset), by_hand(HALF, ForceClose)),
    "opened_by_hand_and_no_longer_for_it": (by_hand(OPEN, ForceOpen), taken(OPEN, ForceOpen(**at(100), open_ms=10))),
    "a_late_failure_and_no_longer_open_for_it": (told(OPEN, OLDER, FAILURE), taken(OPEN, report(100, OLDER, FAILURE, 10))),
    "a_call_that_no_breaker_answers": (taken(SOUND, acquire(100, evolve(PLAIN, open_ms=0))), WAITING),
    "a_probe_that_nobody_knows_of": (taken(HALF, acquire(115), LOST), taken(FULL, acquire(115), LOST)),
    "a_result_counts_though_nobody_hears": (
        taken(SOUND, report(100, NOW, FAILURE), LOST),
        taken(SOUND, report(100, NOW, SUCCESS), LOST),
    ),
    "an_epoch_that_nobody_announces": (taken(OPEN, acquire(110), LOST), taken(OPEN, acquire(109), LOST)),
    "a_lost_view_is_sent_again": (taken(OPEN, View(**at(105)), LOST), taken(OPEN, View(**at(105)), LOST, LOST)),
    "a_result_is_not_sent": (taken(HALF, report(115, PROBE, SUCCESS), NOT_SENT), taken(HALF, acquire(115), NOT_SENT)),
    "a_breaker_whose_script_was_forgotten": (taken(SOUND, acquire(100), FLUSHED), taken(SOUND, acquire(100))),
}
"""For each SOMETIMES, a step that it is about, and one that looks like it."""


def test_every_property_has_its_examples() -> None:
    """A new property comes with a step that breaks it, or with one that reaches it and one that does not."""
    assert set(WRONG) == set(names(PROPERTIES.always))
    assert set(EXAMPLES) == set(names(SEEN.sometimes))


@pytest.mark.parametrize("name", names(SEEN.sometimes))
def test_a_sometimes_property_is_reached_by_its_story_and_not_by_its_lookalike(name: str) -> None:
    """It tells the two apart."""
    reached, lookalike = EXAMPLES[name]
    assert_told_apart(called(name, SEEN.sometimes), reached, lookalike)


def test_every_step_of_the_examples_obeys_every_always_property() -> None:
    """They are steps of the specification."""
    assert_obeyed(PROPERTIES.always, EXAMPLES)


NONSENSE: tuple[Any, ...] = (0, 1.5, "3", None)
STATES = (SOUND, FAILING, OPEN, HALF, FULL, IDLE)


@pytest.mark.parametrize("before", STATES, ids=str)
def test_every_property_can_be_asked_of_a_call_that_is_nonsense(before: State) -> None:
    """Every ALWAYS holds, and no SOMETIMES takes it for its own but that of misuse."""
    calls: tuple[Call, ...] = (
        *(acquire(120), View(**at(120)), Reset(**at(120)), ForceOpen(**at(120), open_ms=10)),
        *(report(120, permit, outcome) for permit in (NOW, PROBE) for outcome in Outcome),
    )
    numbers = ("failure_threshold", "success_threshold", "open_ms")
    policies = [evolve(PLAIN, **{name: value}) for name in numbers for value in NONSENSE]
    for call, policy in product(calls, policies):
        one = taken(before, evolve(call, policy=policy))
        assert [each.name for each in PROPERTIES.always if not each.holds(one)] == []
        assert [each.name for each in SEEN.sometimes if each.holds(one)] == ["a_call_that_no_breaker_answers"]


LOOKALIKES = [
    ("a_result_of_closed_meets_another_closed", told(SOUND, Permit(6), SUCCESS), "it is of an epoch to come"),
    ("a_result_of_closed_meets_open", taken(OPEN, report(105, OLDER, FAILURE), NOT_SENT), "it did not arrive"),
    ("a_result_of_closed_meets_half_open", taken(HALF, report(115, OLDER, SUCCESS), again=True), "it was told before"),
    ("a_number_that_is_not_in_flight", told(HALF, PROBE, SUCCESS), "it is in flight"),
    ("a_number_that_is_not_in_flight", taken(IDLE, report(115, PROBE, FAILURE), again=True), "nothing was sent"),
    ("reported_again_while_closed", told(SOUND, NOW, FAILURE), "it is the first time"),
    ("a_probe_that_nobody_knows_of", taken(SOUND, acquire(100), LOST), "nobody need know of it"),
    ("a_breaker_whose_script_was_forgotten", taken(SOUND, acquire(1, evolve(PLAIN, open_ms=0)), FLUSHED), "none was needed"),
    ("opened_for_the_longest_time", taken(FAILING, report(100, NOW, FAILURE, 3, policy=SHORT)), "there is nothing to draw"),
    ("a_later_probe_succeeds_first", told(FULL, Permit(4, 2), NEUTRAL), "it does not succeed"),
    ("closed_by_hand_while_open", taken(OPEN, ForceClose(**at(105)), NOT_SENT), "nobody was reached"),
]
"""What a SOMETIMES must not take for its own."""


@pytest.mark.parametrize(("name", "lookalike", "why"), LOOKALIKES)
def test_a_sometimes_property_is_not_fooled(name: str, lookalike: Transition, why: str) -> None:
    """A run that saw only a lookalike has not seen what it is about."""
    assert not called(name, SEEN.sometimes).holds(lookalike), why


# ---------------------------------------------------------------------------------------------- exploration


WORLD = World(initial=small.INITIAL, calls=small.calls, step=small.step, kind=small.kind, label=small.label)
REACHED = 34
"""How many states can be reached, but for epochs, time and numbers."""


@pytest.fixture(scope="module")
def explored() -> Explored[State]:
    """The small world, to its last state."""
    return explore(WORLD)


def test_every_always_property_holds_in_every_state_that_can_be_reached(explored: Explored[State]) -> None:
    """All calls are made in all states; nothing is cut."""
    assert explored.exhausted
    assert len(explored.depth) == REACHED
    for state in explored.depth:
        for call, each in product(small.calls(state), PROPERTIES.always):
            assert each.holds(taken(state, call)), (each.name, state, call)


NOT_OF_A_STEP = {
    *("reported_again_while_closed", "reported_again_while_half_open"),
    *("fewer_failures_are_allowed_than_there_were", "fewer_successes_are_needed_than_there_were"),
    *("a_call_that_no_breaker_answers", "a_breaker_whose_script_was_forgotten"),
    *("a_probe_that_nobody_knows_of", "a_result_counts_though_nobody_hears", "an_epoch_that_nobody_announces"),
    *("a_lost_view_is_sent_again", "a_result_is_not_sent"),
}
"""What takes a client, a fault or another policy."""


def test_every_sometimes_property_is_reached_in_the_small_world(explored: Explored[State]) -> None:
    """But for those that it has nothing for."""
    steps = [taken(state, call) for state in explored.depth for call in small.calls(state)]
    missed = {each.name for each in SEEN.sometimes if not any(each.holds(one) for one in steps)}
    assert missed == NOT_OF_A_STEP


def test_the_diagram_has_every_arrow_and_no_other(explored: Explored[State]) -> None:
    """CB-1: between which states steps lead, and by what."""
    arrows = {(before, after, name) for (before, after), names in explored.edges.items() for name in names}
    by_hand = {
        (before, after, name)
        for before in ("CLOSED", "OPEN", "HALF_OPEN")
        for after, name in (("OPEN", "force_open"), ("CLOSED", "force_close"), ("CLOSED", "reset"))
    }
    assert arrows - by_hand == {
        ("CLOSED", "OPEN", "the F-th failure in a row"),
        ("OPEN", "HALF_OPEN", "an acquire from open_until on"),
        ("HALF_OPEN", "HALF_OPEN", "an acquire from the probe deadline on"),
        ("HALF_OPEN", "OPEN", "a failure"),
        ("HALF_OPEN", "CLOSED", "the S-th success"),
    }
    assert by_hand <= arrows


def healed(state: State, slow_ms: int) -> bool:
    """Whether successes alone close it: one call after the other, each as slow as that."""
    now_ms = small.NOW_MS
    for _ in range(4 * small.POLICY.success_threshold):
        if isinstance(state, Closed):
            return True
        state, reply = step(state, Acquire(name="a", policy=small.POLICY, now_ms=now_ms))
        if isinstance(reply, spec.Refused):
            now_ms += reply.retry_after_ms
        elif isinstance(reply, spec.Admitted):
            now_ms += slow_ms
            told = Report(name="a", policy=small.POLICY, now_ms=now_ms, permit=reply.permit, outcome=SUCCESS)
            state, _ = step(state, told)
    return False


@pytest.mark.parametrize("slow_ms", [0, 1, 4, 5, 6, 100])
def test_successes_alone_lead_from_every_state_to_closed(explored: Explored[State], slow_ms: int) -> None:
    """CB-8: whatever else is in flight, and however slowly they come."""
    assert [state for state in explored.depth if not healed(state, slow_ms)] == []


def test_no_state_refuses_for_ever(explored: Explored[State]) -> None:
    """CB-8, CB-13: whoever is refused is admitted after at most 1.2 T, and from then on at any time."""
    for state in explored.depth:
        seen, reply = step(state, acquire(small.NOW_MS, small.POLICY))
        wait_ms = reply.retry_after_ms if isinstance(reply, spec.Refused) else 0
        assert wait_ms <= small.POLICY.open_most_ms
        later = [step(seen, acquire(small.NOW_MS + wait_ms + ms, small.POLICY))[1] for ms in range(20)]
        assert wait_ms == 0 or all(isinstance(each, spec.Admitted) for each in later), state


@pytest.mark.parametrize(("epoch", "later_ms", "numbers"), [(7, 0, 0), (1, 12_345, 0), (1, 0, 3), (9, 10**12, 40)])
def test_a_state_stands_for_all_that_differ_by_epoch_time_and_numbers(
    explored: Explored[State], epoch: int, later_ms: int, numbers: int
) -> None:
    """CB-1, CM-2: moved to another epoch, another time and other numbers, every step leads to the same state, moved as far."""
    for state in explored.depth:
        for call in small.calls(state):
            after, reply = step(state, call)
            other, another = step(moved(state, epoch, later_ms, numbers), moved_call(call, epoch, later_ms, numbers))
            assert small.normal(other, call.now_ms + later_ms) == small.normal(after, call.now_ms)
            assert type(another) is type(reply)


def moved(state: State, epoch: int, later_ms: int, numbers: int) -> State:
    """A state in another epoch, at another time, with other numbers."""
    match state:
        case Closed():
            return evolve(state, epoch=epoch)
        case Open():
            return Open(epoch, state.open_until_ms + later_ms)
        case HalfOpen():
            probes = frozenset(number + numbers for number in state.probes)
            return HalfOpen(epoch, state.successes, probes, state.next_number + numbers, state.deadline_ms + later_ms)


def moved_call(call: Call, epoch: int, later_ms: int, numbers: int) -> Call:
    """A call at another time; a permit is as many epochs old as it was."""
    call = evolve(call, now_ms=call.now_ms + later_ms)
    if not isinstance(call, Report):
        return call
    number = call.permit.number + numbers if call.permit.number else 0
    return evolve(call, permit=Permit(call.permit.epoch - small.EPOCH + epoch, number))


def test_a_wrong_step_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exploration is no formality: if silence is never noticed, something is stuck."""
    monkeypatch.setattr(HalfOpen, "is_silent", lambda *_: False)
    assert [state for state in explore(WORLD).depth if not healed(state, 0)]
