"""
The properties are attacked: each ALWAYS can fail, each SOMETIMES is reached by one story and not by its lookalike.

And the specification is explored breadth-first in small worlds: every ALWAYS holds in every state that can be reached.
"""

from collections.abc import Iterator
from itertools import product

import pytest
from attrs import evolve, frozen

from redstep_spec.delivery import Fate, Replied, deliver
from redstep_spec.properties.rate_limiter import PROPERTIES, Transition
from redstep_spec.rate_limiter import (
    INITIAL,
    Acquire,
    Admission,
    Call,
    Decision,
    Limit,
    Log,
    Logs,
    Peek,
    Region,
    Reset,
    View,
    is_idempotent,
    step,
)
from support.attacking import assert_obeyed, assert_told_apart, assert_well_said, called, names

LOST, NOT_SENT, FLUSHED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED
COLD = Region(start_ms=90, cold_ms=20)
"""Warm at 110."""


def limit_of(limit: int, window_ms: int = 10) -> Limit:
    """So much in so many ms."""
    return Limit(limit=limit, window_ms=window_ms)


ONE, TWO, SIX = (limit_of(1),), (limit_of(2),), (limit_of(6),)
PAIR = (limit_of(3), limit_of(3, 20))


def acquire(
    at_ms: int, cost: int = 1, request_id: str | None = None, *, limits: tuple[Limit, ...] = TWO, region: Region | None = None
) -> Acquire:
    """An acquire."""
    return Acquire(name="a", limits=limits, now_ms=at_ms, cost=cost, request_id=request_id, region=region)


def after(*calls: Call) -> Logs:
    """The state after these calls."""
    logs = INITIAL
    for call in calls:
        logs, _ = step(logs, call)
    return logs


def taken(call: Call, fates: tuple[Fate, ...] = (), *, before: Logs = INITIAL) -> Transition:
    """The transition that the specification makes of a call."""
    resends = 1 if is_idempotent(call) else 0
    logs, outcome = deliver(lambda state: step(state, call), before, fates, resends=resends)
    return Transition(before=before, call=call, fates=fates, outcome=outcome, after=logs)


def story(*calls: Call) -> Transition:
    """The last step of a story."""
    return taken(calls[-1], before=after(*calls[:-1]))


def test_every_property_belongs_to_a_rule_and_says_a_sentence() -> None:
    """A sentence begins with a capital and ends with a full stop; names are unique."""
    assert_well_said([*PROPERTIES.always, *PROPERTIES.sometimes])


# ---------------------------------------------------------------------------------------------- always


def answered(transition: Transition, **changes: object) -> Transition:
    """The same transition with another reply."""
    assert isinstance(transition.reply, Decision)
    return evolve(transition, outcome=Replied(evolve(transition.reply, **changes)))  # type: ignore[arg-type]


FULL = acquire(100, 2)
DENIED = story(FULL, acquire(104))
DENIED_AND_CHARGED = (Log(10, (Admission(100, 2), Admission(104, 1))),)
WRONG = {
    "never_over_the_limit": evolve(answered(DENIED, allowed=True, retry_after_ms=0), after=DENIED_AND_CHARGED),
    "never_denied_needlessly": answered(taken(acquire(100)), allowed=False, retry_after_ms=1),
    "refusals_change_nothing": evolve(DENIED, after=after(FULL, FULL, acquire(115))),
    "retry_after_is_exact": answered(DENIED, retry_after_ms=5),
    "time_never_runs_backward": evolve(
        story(acquire(100), acquire(90)), after=(Log(10, (Admission(100, 1), Admission(90, 1))),)
    ),
    "an_identity_is_charged_once": evolve(taken(acquire(100, 1, "x")), after=(Log(10, (Admission(100, 1, "y"),)),)),
    "nothing_dead_is_kept": evolve(story(acquire(100), acquire(110)), after=(Log(10, (Admission(100, 1), Admission(110, 1))),)),
}
"""For each ALWAYS, a step that a wrong limiter would take."""

ALSO_WRONG = [
    ("retry_after_is_exact", answered(DENIED, retry_after_ms=7)),
    ("retry_after_is_exact", answered(DENIED, retry_after_ms=0)),
    ("refusals_change_nothing", evolve(taken(Peek(name="a", limits=TWO, now_ms=100)), after=after(FULL))),
    ("refusals_change_nothing", evolve(taken(acquire(100, 3)), after=after(FULL))),
    ("refusals_change_nothing", evolve(taken(acquire(100), (NOT_SENT,)), after=after(FULL))),
    pytest.param(
        *("time_never_runs_backward", evolve(story(acquire(100), acquire(90)), after=(Log(10, (Admission(90, 1),)),)))
    ),
    pytest.param(*("never_over_the_limit", evolve(taken(acquire(104), (LOST,), before=after(FULL)), after=DENIED_AND_CHARGED))),
    ("an_identity_is_charged_once", evolve(story(acquire(100, 1, "x"), acquire(105, 1, "x")), after=after(acquire(100)))),
]


@pytest.mark.parametrize("name", names(PROPERTIES.always))
def test_an_always_property_can_fail(name: str) -> None:
    """A step that breaks it is told from the one that the specification takes."""
    wrong = WRONG[name]
    assert_told_apart(called(name, PROPERTIES.always), taken(wrong.call, wrong.fates, before=wrong.before), wrong)


@pytest.mark.parametrize(("name", "wrong"), ALSO_WRONG)
def test_an_always_property_fails_in_every_way_that_it_should(name: str, wrong: Transition) -> None:
    """Too long a wait is wrong as too short a one is; a peek, a misuse and what was not sent change nothing either."""
    assert not called(name, PROPERTIES.always).holds(wrong)


# ---------------------------------------------------------------------------------------------- sometimes


def peek(at_ms: int, *, limits: tuple[Limit, ...] = TWO) -> Peek:
    """A peek."""
    return Peek(name="a", limits=limits, now_ms=at_ms)


def reset(at_ms: int) -> Reset:
    """A reset."""
    return Reset(name="a", limits=TWO, now_ms=at_ms)


LOWERED = (acquire(100, 2), acquire(101, limits=ONE))
X = acquire(100, 1, "x")
SHORT_BINDS = acquire(100, limits=(limit_of(2), limit_of(3, 20)))
EQUALS = (limit_of(4), limit_of(6, 20))

EXAMPLES: dict[str, tuple[Transition, Transition]] = {
    "admitted": (taken(acquire(100)), DENIED),
    "denied": (DENIED, story(FULL, acquire(110))),
    "the_last_unit_is_taken": (taken(acquire(100, 2)), taken(acquire(100, 1))),
    "two_in_one_millisecond": (story(acquire(100), acquire(100)), story(acquire(100), acquire(101))),
    "exactly_w_old": (story(acquire(100), acquire(110)), story(acquire(100), acquire(109))),
    "one_millisecond_early": (story(FULL, acquire(109)), story(FULL, acquire(108))),
    "at_the_first_millisecond": (story(FULL, acquire(110)), story(FULL, acquire(111))),
    "admitted_behind_the_log": (story(acquire(100), acquire(99)), story(acquire(100), acquire(100))),
    "denied_behind_the_log": (story(FULL, acquire(99)), story(FULL, acquire(100))),
    "the_dead_are_dropped": (story(acquire(100), acquire(110)), story(acquire(100), acquire(105), acquire(110))),
    "more_than_may_be_stored": (evolve(taken(acquire(100)), overflowing=True), taken(acquire(100))),
    "lowered_below_what_counts": (story(*LOWERED), story(FULL, acquire(101))),
    "two_windows_of_one_name": (taken(acquire(100, limits=PAIR)), story(acquire(100), acquire(100))),
    "impossible": (taken(acquire(100, 3)), DENIED),
    "costs_more_than_one": (taken(acquire(100, 2)), taken(acquire(100, 1))),
    "too_dear_for_what_remains": (story(acquire(100), acquire(101, 2)), DENIED),
    "met_again_inside_the_window": (story(X, acquire(109, 1, "x")), story(X, acquire(110, 1, "x"))),
    "met_again_with_another_cost": (story(X, acquire(109, 2, "x")), story(X, acquire(109, 1, "x"))),
    "met_again_after_the_window": (story(X, acquire(110, 1, "x")), story(X, acquire(110, 1, "y"))),
    "denied_for_the_cold": (taken(acquire(100, 2, region=COLD)), story(FULL, acquire(101, 2, region=COLD))),
    "the_first_warm_millisecond": (taken(acquire(110, region=COLD)), taken(acquire(111, region=COLD))),
    "rounded_down": (
        taken(acquire(100, limits=(limit_of(5),), region=COLD)),
        taken(acquire(100, limits=(limit_of(3),), region=COLD)),
    ),
    "above_the_cold_limit": (taken(acquire(100, 2, region=COLD)), story(FULL, acquire(100, 1, region=COLD))),
    "the_second_binds": (
        taken(acquire(100, limits=(limit_of(3), limit_of(2, 20)))),
        taken(acquire(100, limits=(limit_of(2), limit_of(3, 20)))),
    ),
    "one_has_room_the_other_denies": (
        story(*[evolve(SHORT_BINDS, now_ms=at_ms) for at_ms in (100, 101, 102)]),
        story(*[acquire(100, limits=PAIR)] * 4),
    ),
    "the_first_of_equals_binds": (
        taken(acquire(100, 4, limits=EQUALS, region=COLD)),
        story(*[acquire(100, limits=PAIR)] * 4),
    ),
    "a_log_in_use_is_peeked_at": (story(acquire(100), peek(101)), taken(peek(101))),
    "a_log_in_use_is_reset": (story(acquire(100), reset(101)), taken(reset(101))),
    "the_dead_were_removed": (evolve(taken(acquire(100)), collected=True), taken(acquire(100))),
    "an_acquire_is_not_sent": (taken(acquire(100), (NOT_SENT,)), taken(peek(100), (NOT_SENT,))),
    "a_plain_admission_is_lost": (taken(acquire(100), (LOST,)), taken(acquire(104), (LOST,), before=after(FULL))),
    "a_lost_acquire_is_sent_again": (taken(X, (LOST,)), taken(X)),
    "lost_and_then_not_sent": (taken(X, (LOST, NOT_SENT)), taken(X, (LOST, LOST))),
    "the_script_was_forgotten": (taken(acquire(100), (FLUSHED,)), taken(X, (LOST, FLUSHED))),
}
"""For each SOMETIMES, a step that it is about, and one that looks like it."""


def test_every_property_has_its_examples() -> None:
    """A new property comes with a step that breaks it, or with one that reaches it and one that does not."""
    assert set(WRONG) == set(names(PROPERTIES.always))
    assert set(EXAMPLES) == set(names(PROPERTIES.sometimes))


@pytest.mark.parametrize("name", names(PROPERTIES.sometimes))
def test_a_sometimes_property_is_reached_by_its_story_and_not_by_its_lookalike(name: str) -> None:
    """It tells the two apart."""
    reached, lookalike = EXAMPLES[name]
    assert_told_apart(called(name, PROPERTIES.sometimes), reached, lookalike)


def test_every_step_of_the_examples_obeys_every_always_property() -> None:
    """They are steps of the specification."""
    assert_obeyed(PROPERTIES.always, EXAMPLES)


AHEAD_AND_COLD = acquire(100, limits=(limit_of(5), limit_of(3, 20)), region=COLD)
LOOKALIKES = [
    pytest.param("lost_and_then_not_sent", taken(acquire(100), (LOST, NOT_SENT)), "it is never sent again"),
    pytest.param("a_lost_acquire_is_sent_again", taken(X, (FLUSHED, LOST)), "its first reply arrived"),
    pytest.param("a_plain_admission_is_lost", taken(reset(101), (LOST,), before=after(X)), "it is a reset"),
    pytest.param("two_in_one_millisecond", story(X, X), "it is one admission, met again"),
    pytest.param(
        *("rounded_down", taken(AHEAD_AND_COLD, before=after(acquire(115, 4, limits=(limit_of(5),)))), "the cold limit is one")
    ),
]
"""What a SOMETIMES must not take for its own."""


@pytest.mark.parametrize(("name", "lookalike", "why"), LOOKALIKES)
def test_a_sometimes_property_is_not_fooled(name: str, lookalike: Transition, why: str) -> None:
    """A run that saw only a lookalike has not seen what it is about."""
    assert not called(name, PROPERTIES.sometimes).holds(lookalike), why


# ---------------------------------------------------------------------------------------------- exploration


@frozen(kw_only=True)
class World:
    """A bounded world: all calls that can be made in it, whatever the order."""

    policies: tuple[tuple[Limit, ...], ...]
    times_ms: range
    costs: tuple[int, ...] = (1,)
    request_ids: tuple[str | None, ...] = (None,)
    region: Region | None = None
    fates: tuple[tuple[Fate, ...], ...] = ((),)

    def calls(self) -> Iterator[tuple[Call, tuple[Fate, ...]]]:
        """Every call, under every fate."""
        for limits, now_ms, fates in product(self.policies, self.times_ms, self.fates):
            yield Peek(name="a", limits=limits, now_ms=now_ms, region=self.region), fates
            yield Reset(name="a", limits=limits, now_ms=now_ms), fates
            for cost, request_id in product(self.costs, self.request_ids):
                yield acquire(now_ms, cost, request_id, limits=limits, region=self.region), fates


@frozen(kw_only=True)
class Explored:
    """What there was in a world."""

    states: int
    steps: int
    reached: frozenset[str]


def explored(world: World) -> Explored:
    """Go through a world breadth-first; every ALWAYS must hold at every step."""
    calls = list(world.calls())
    known, frontier, steps, reached = {INITIAL}, [INITIAL], 0, set[str]()
    while frontier:
        found = [taken(call, fates, before=logs) for logs in frontier for call, fates in calls]
        steps += len(found)
        for one in found:
            for each in PROPERTIES.always:
                assert each.holds(one), (each.name, one)
            missing = (each for each in PROPERTIES.sometimes if each.name not in reached)
            reached |= {each.name for each in missing if each.holds(one)}
        frontier = list({one.after for one in found} - known)
        known |= set(frontier)
    return Explored(states=len(known), steps=steps, reached=frozenset(reached))


NOT_OF_A_STEP = {"more_than_may_be_stored", "the_dead_were_removed"}
"""What a session knows, and a single step does not."""

WORLDS = {
    "two windows in turn, a lowered limit, clocks that step back": World(
        policies=((limit_of(1, 2),), (limit_of(2, 2),), (limit_of(2, 3),)), times_ms=range(7), costs=(1, 2)
    ),
    "ids and faults": World(
        policies=((limit_of(2, 3),),),
        times_ms=range(7),
        costs=(1, 2),
        request_ids=(None, "x", "y"),
        fates=((), (LOST,), (NOT_SENT,), (FLUSHED,), (LOST, NOT_SENT)),
    ),
    "two limits at once, and one of them alone": World(
        policies=((limit_of(1, 2), limit_of(2, 3)), (limit_of(2, 3),)), times_ms=range(7), costs=(1, 2)
    ),
    "a cold start": World(
        policies=((limit_of(3, 2),), (limit_of(3, 2), limit_of(5, 3))),
        times_ms=range(4),
        costs=(1, 3),
        region=Region(start_ms=0, cold_ms=3),
    ),
}

STATES = {
    "two windows in turn, a lowered limit, clocks that step back": 924,
    "ids and faults": 169,
    "two limits at once, and one of them alone": 264,
    "a cold start": 470,
}
"""How many states of a name can be reached."""


@pytest.fixture(scope="module")
def worlds() -> dict[str, Explored]:
    """Each world, explored; every ALWAYS held at every step, or there is none."""
    return {name: explored(world) for name, world in WORLDS.items()}


def test_every_always_property_holds_in_every_state_that_can_be_reached(worlds: dict[str, Explored]) -> None:
    """All calls of a world are made in all of its states; nothing is cut."""
    for name, found in worlds.items():
        print(f"{name}: {found.states} states, {found.steps} steps")  # noqa: T201  the figures are what one wants to see
    assert {name: found.states for name, found in worlds.items()} == STATES


def test_every_sometimes_property_is_reached_in_a_small_world(worlds: dict[str, Explored]) -> None:
    """But for the two that only a session of many steps knows."""
    reached = frozenset[str]().union(*(found.reached for found in worlds.values()))
    assert {each.name for each in PROPERTIES.sometimes} - reached == NOT_OF_A_STEP


def test_a_wrong_step_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exploration is no formality: with the window one millisecond short, a property fails."""
    monkeypatch.setattr(View, "counted", lambda view, at_ms: tuple(a for a in view.log.admissions if a.at_ms > at_ms - 2))
    with pytest.raises(AssertionError):
        explored(World(policies=((limit_of(1, 3),),), times_ms=range(5)))
