"""
The properties of the idempotency store are attacked, and so is its machine.

Each ALWAYS can fail, each SOMETIMES is reached by one story and not by its lookalike; the specification is explored
breadth-first in small worlds; and the machine catches every mistake that is planted in a copy of the specification, under the
rule that it breaks, by a short story.
"""

from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from redstep_check import exploration
from redstep_check.engines import DEFAULT, Engine
from redstep_check.guards.idempotency import Called, IdempotencySession, Removed, joined
from redstep_check.guards.idempotency_simpler import simpler
from redstep_check.lockstep import ImpossibleStory
from redstep_check.machines.idempotency import IdempotencyMachine
from redstep_check.models.idempotency import ModelIdempotency
from redstep_check.naive.idempotency import NaiveIdempotency
from redstep_check.runs import Bench, Budget, Verdict, replayed, run
from redstep_spec import idempotency as spec
from redstep_spec.delivery import Fate, Replied, deliver
from redstep_spec.idempotency import (
    INITIAL,
    Absent,
    Acquired,
    Call,
    Claim,
    Claimed,
    Complete,
    Completed,
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
    known,
    step,
)
from redstep_spec.properties.idempotency import PROPERTIES, Transition
from redstep_spec.properties.idempotency_seen import PROPERTIES as SEEN
from redstep_spec.worlds import idempotency as world
from support.attacking import assert_obeyed, assert_told_apart, assert_well_said, called, names

LOST, NOT_SENT, FLUSHED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED
SCOPE = Scope("t", "o", "k")
X, Y = "x", "y"
"""Tokens."""


def claim(at_ms: int, token: str = X, fingerprint: bytes | str = "f", *, lease_ms: int = 10) -> Claim:
    """A claim."""
    return Claim(scope=SCOPE, fingerprint=fingerprint, token=token, lease_ms=lease_ms, retention_ms=50, now_ms=at_ms)


def complete(at_ms: int, token: str = X, response: bytes = b"r", *, most: int = 3) -> Complete:
    """A completion."""
    return Complete(scope=SCOPE, token=token, response=response, retention_ms=50, now_ms=at_ms, response_max_bytes=most)


def release(at_ms: int, token: str = X) -> Release:
    """A release."""
    return Release(scope=SCOPE, token=token, retention_ms=50, now_ms=at_ms)


def renew(at_ms: int, token: str = X, *, lease_ms: int = 10) -> Renew:
    """A renewal."""
    return Renew(scope=SCOPE, token=token, lease_ms=lease_ms, retention_ms=50, now_ms=at_ms)


def after(*calls: Call) -> State:
    """The state after these calls."""
    state = INITIAL
    for call in calls:
        state, _ = step(state, call)
    return state


def taken(call: Call, fates: tuple[Fate, ...] = (), *, before: State = INITIAL) -> Transition:
    """The transition that the specification makes of a call."""
    state, outcome = deliver(lambda state: step(state, call), before, fates, resends=1)
    return Transition(before=before, call=call, fates=fates, outcome=outcome, after=state)


def story(*calls: Call, fates: tuple[Fate, ...] = ()) -> Transition:
    """The last step of a story."""
    return taken(calls[-1], fates, before=after(*calls[:-1]))


def test_every_property_belongs_to_a_rule_and_says_a_sentence() -> None:
    """A sentence begins with a capital and ends with a full stop; names are unique."""
    assert_well_said([*PROPERTIES.always, *SEEN.sometimes])


def test_what_always_holds_and_what_must_be_seen_stand_in_two_places() -> None:
    """Neither module holds what belongs in the other."""
    assert (PROPERTIES.sometimes, SEEN.always) == ([], [])


# ---------------------------------------------------------------------------------------------- always


def replied(transition: Transition, reply: Reply) -> Transition:
    """The same transition with another reply."""
    return evolve(transition, outcome=Replied(reply))


def answered(transition: Transition, **changes: Any) -> Transition:
    """The same transition with a reply that differs a little."""
    assert transition.reply is not None
    return replied(transition, evolve(transition.reply, **changes))


def acquired(at_ms: int, fence: int = 1) -> Acquired:
    """Do the work."""
    return Acquired(fence=fence, lease_until_ms=at_ms + 10, now_ms=at_ms, because=())


C, R = claim(100), complete(105)
CLAIMED, COMPLETED, RELEASED = after(C), after(C, R), after(C, release(105))
TOO_LARGE = complete(105, response=b"long")
DEAD_MS = 160
WRONG = {
    "a_claim_is_acquired_until_completed": evolve(replied(story(C, R, claim(106)), acquired(106)), after=CLAIMED),
    "the_fingerprint_comes_first": replied(story(C, claim(106, Y, "g")), InProgress(retry_after_ms=4, now_ms=106, because=())),
    "one_owner": evolve(story(C, claim(109, Y)), after=after(claim(109, Y))),
    "retry_after_is_exact": answered(story(C, claim(103, Y)), retry_after_ms=6),
    "a_lease_is_never_cut_short": evolve(story(C, renew(105, lease_ms=4)), after=after(claim(99))),
    "every_owner_has_a_greater_fence": answered(story(C, claim(110, Y)), fence=1),
    "only_the_owner_acts": evolve(story(C, complete(105, Y)), after=COMPLETED),
    "refusals_change_nothing": evolve(story(C, claim(106, Y)), after=after(claim(101))),
    "what_is_completed_stays": evolve(story(C, R, complete(106)), after=after(C, complete(106))),
    "the_retention_counts_from_completion": evolve(story(C, R), after=after(C, complete(100))),
    "the_dead_stay_dead": evolve(story(C, complete(DEAD_MS)), after=COMPLETED),
    "a_replay_is_what_was_kept": answered(story(C, R, claim(106)), response=b"s"),
    "to_send_it_again_is_no_harm": evolve(story(C, release(105)), after=INITIAL),
}
"""For each ALWAYS, a step that a wrong store would take."""


def claimed(call: Claim) -> Claimed:
    """What a claim of a new key makes of it."""
    state = after(call)
    assert isinstance(state, Claimed)
    return state


TAKEN_OVER = story(C, claim(110, Y))
TOLD_TOO_LARGE = story(C, TOO_LARGE, claim(106))
ALSO_WRONG = [
    (
        "a_claim_is_acquired_until_completed",
        replied(story(C, claim(106)), Replay(response=b"", replayable=True, now_ms=106, because=())),
    ),
    ("the_fingerprint_comes_first", replied(story(C, claim(106, Y)), Mismatch(now_ms=106))),
    ("the_fingerprint_comes_first", replied(story(C, claim(DEAD_MS, Y, "g")), Mismatch(now_ms=DEAD_MS))),
    ("the_fingerprint_comes_first", evolve(story(C, claim(106, Y, "g")), after=RELEASED)),
    ("the_fingerprint_comes_first", replied(story(C, release(105), claim(106, Y, "g")), acquired(106, 2))),
    ("one_owner", evolve(story(C, R, claim(109, Y)), after=after(claim(109, Y), complete(109, Y)))),
    ("retry_after_is_exact", answered(story(C, claim(103, Y)), retry_after_ms=8)),
    ("a_lease_is_never_cut_short", evolve(story(C, claim(105)), after=after(claim(99)))),
    ("a_lease_is_never_cut_short", evolve(taken(C), after=evolve(claimed(C), dies_at_ms=110))),
    ("every_owner_has_a_greater_fence", evolve(TAKEN_OVER, after=after(claim(110, Y)))),
    ("every_owner_has_a_greater_fence", evolve(answered(TAKEN_OVER, fence=1), after=after(claim(110, Y)))),
    ("every_owner_has_a_greater_fence", evolve(TAKEN_OVER, fates=(LOST, LOST), after=after(claim(110, Y)))),
    ("every_owner_has_a_greater_fence", answered(story(C, claim(101)), fence=2)),
    ("every_owner_has_a_greater_fence", evolve(story(C, claim(110), release(111)), after=RELEASED)),
    ("only_the_owner_acts", evolve(taken(complete(105)), after=COMPLETED)),
    ("only_the_owner_acts", evolve(story(C, R, release(106)), after=RELEASED)),
    ("only_the_owner_acts", evolve(story(C, renew(101, Y)), after=after(claim(101)))),
    ("refusals_change_nothing", evolve(taken(C, (NOT_SENT,)), after=CLAIMED)),
    ("refusals_change_nothing", evolve(story(C, R, claim(106)), after=after(C, complete(106)))),
    ("refusals_change_nothing", evolve(taken(claim(100, "")), after=CLAIMED)),
    ("what_is_completed_stays", evolve(story(C, R, release(106)), after=RELEASED)),
    ("the_retention_counts_from_completion", evolve(story(C, release(105)), after=after(C, release(100)))),
    ("the_dead_stay_dead", evolve(story(C, renew(DEAD_MS)), after=after(claim(DEAD_MS)))),
    ("a_replay_is_what_was_kept", answered(TOLD_TOO_LARGE, response=b"long")),
    ("a_replay_is_what_was_kept", answered(TOLD_TOO_LARGE, replayable=True)),
    ("a_replay_is_what_was_kept", evolve(story(C, R), after=after(C, complete(105, response=b"s")))),
    ("a_replay_is_what_was_kept", evolve(story(C, TOO_LARGE), after=after(C, complete(105, response=b"long", most=4)))),
    ("a_replay_is_what_was_kept", replied(taken(C), Replay(response=b"", replayable=True, now_ms=100, because=()))),
    ("to_send_it_again_is_no_harm", replied(story(C, claim(106, Y)), acquired(106))),
]


@pytest.mark.parametrize("name", names(PROPERTIES.always))
def test_an_always_property_can_fail(name: str) -> None:
    """A step that breaks it is told from the one that the specification takes."""
    wrong = WRONG[name]
    assert_told_apart(called(name, PROPERTIES.always), taken(wrong.call, wrong.fates, before=wrong.before), wrong)


@pytest.mark.parametrize(("name", "wrong"), ALSO_WRONG)
def test_an_always_property_fails_in_every_way_that_it_should(name: str, wrong: Transition) -> None:
    """By what is told, and by what is kept."""
    assert_told_apart(called(name, PROPERTIES.always), taken(wrong.call, before=wrong.before), wrong)


# ---------------------------------------------------------------------------------------------- sometimes


SECOND = (C, claim(110, Y))
LARGE_TWICE = (C, TOO_LARGE, complete(106, response=b"long"))
IMPOSSIBLE = taken(claim(100, ""))

EXAMPLES: dict[str, tuple[Transition, Transition]] = {
    "acquired_anew": (taken(C), story(C, claim(DEAD_MS))),
    "acquired_again": (story(C, claim(101)), story(C, claim(110))),
    "in_progress": (story(C, claim(101, Y)), story(C, claim(101))),
    "in_the_last_millisecond_of_the_lease": (story(C, claim(109, Y)), story(C, claim(108, Y))),
    "in_the_first_millisecond_after_the_lease": (story(C, claim(110, Y)), story(C, claim(111, Y))),
    "taken_over_by_another": (story(C, claim(110, Y)), story(C, claim(110))),
    "taken_over_by_itself": (story(C, claim(110)), story(C, claim(109))),
    "taken_over_twice": (story(*SECOND, claim(120)), story(*SECOND)),
    "claimed_after_a_release": (story(C, release(105), claim(106, Y)), story(C, release(105), claim(106))),
    "claimed_by_who_released_it": (story(C, release(105), claim(106)), story(C, release(105), claim(155))),
    "replayed_to_its_owner": (story(C, R, claim(106)), story(C, R, claim(106, Y))),
    "replayed_to_another": (story(C, R, claim(106, Y)), story(C, TOO_LARGE, claim(106, Y))),
    "an_empty_response_is_replayed": (story(C, complete(105, response=b""), claim(106)), TOLD_TOO_LARGE),
    "told_that_it_is_not_replayable": (TOLD_TOO_LARGE, story(C, complete(105, response=b""), claim(106))),
    "in_the_last_millisecond_of_the_retention": (story(C, R, claim(154)), story(C, R, claim(153))),
    "new_after_the_retention": (story(C, R, claim(155)), story(C, R, claim(156))),
    "new_after_it_was_abandoned": (story(C, claim(DEAD_MS)), story(C, claim(DEAD_MS - 1))),
    "new_after_the_tombstone": (story(C, release(105), claim(155)), story(C, release(105), claim(154))),
    "another_payload_of_a_claim": (story(C, claim(109, Y, "g")), story(C, claim(110, Y, "g"))),
    "another_payload_of_the_owner_itself": (story(C, claim(109, X, "g")), story(C, claim(109, Y, "g"))),
    "another_payload_after_the_lease": (story(C, claim(110, Y, "g")), story(C, claim(110, Y))),
    "another_payload_of_a_response": (story(C, R, claim(106, Y, "g")), story(C, claim(106, Y, "g"))),
    "another_payload_of_a_tombstone": (story(C, release(105), claim(106, Y, "g")), story(C, release(105), claim(106, Y))),
    "another_payload_of_the_dead": (story(C, claim(DEAD_MS, Y, "g")), story(C, claim(DEAD_MS, Y))),
    "completed": (story(C, R), story(C, complete(110))),
    "completed_after_the_lease": (story(C, complete(110)), story(C, R)),
    "completed_again": (story(C, R, complete(106)), story(C, R, complete(105))),
    "completed_otherwise": (story(C, R, complete(106, response=b"s")), story(C, R, release(106))),
    "completed_too_late": (story(*SECOND, complete(111)), story(C, complete(109, Y))),
    "completed_by_another_already": (story(C, R, complete(106, Y)), story(C, complete(106, Y))),
    "completed_after_its_release": (story(C, release(105), complete(106)), story(C, release(105), complete(106, Y))),
    "completed_after_its_death": (story(C, complete(DEAD_MS)), story(C, complete(DEAD_MS, Y))),
    "just_small_enough": (story(C, complete(105, response=b"123")), story(C, complete(105, response=b"12"))),
    "too_large_by_one": (story(C, complete(105, response=b"1234")), story(C, complete(105, response=b"12345"))),
    "too_large_again": (story(*LARGE_TWICE), story(C, R, complete(106))),
    "too_large_and_otherwise": (
        story(C, TOO_LARGE, complete(106, response=b"longer")),
        story(C, TOO_LARGE, complete(106, response=b"s")),
    ),
    "released": (story(C, release(105)), story(C, release(110))),
    "released_after_the_lease": (story(C, release(110)), story(C, release(105))),
    "released_again": (story(C, release(105), release(106)), story(C, release(105))),
    "released_too_late": (story(*SECOND, release(111)), story(C, release(105, Y))),
    "released_after_completion": (story(C, R, release(106)), story(C, R, release(106, Y))),
    "released_after_its_death": (story(C, release(DEAD_MS)), taken(release(100))),
    "renewed": (story(C, renew(101)), story(C, renew(100))),
    "renewed_by_less_than_is_left": (story(C, renew(101, lease_ms=8)), story(C, renew(101, lease_ms=9))),
    "renewed_after_the_lease": (story(C, renew(110)), story(C, renew(109))),
    "renewed_too_late": (story(*SECOND, renew(111)), story(C, renew(105, Y))),
    "renewed_after_its_release": (story(C, release(105), renew(106)), story(C, release(105), renew(106, Y))),
    "renewed_after_completion": (story(C, R, renew(106)), story(C, R, renew(106, Y))),
    "renewed_after_its_death": (story(C, renew(DEAD_MS)), taken(renew(100))),
    "of_what_nobody_claimed": (taken(complete(100)), story(C, complete(DEAD_MS))),
    "alike_but_for_the_colons": (evolve(taken(C), alike=True), evolve(taken(complete(100)), alike=True)),
    "impossible": (IMPOSSIBLE, taken(C)),
    "the_dead_were_removed": (evolve(taken(C), collected=True), evolve(IMPOSSIBLE, collected=True)),
    "not_sent": (taken(C, (NOT_SENT,)), taken(C, (LOST, NOT_SENT))),
    "a_lost_claim_is_sent_again": (taken(C, (LOST,)), story(C, claim(101), fates=(LOST,))),
    "a_lost_completion_is_sent_again": (story(C, R, fates=(LOST,)), story(C, R, complete(106), fates=(LOST,))),
    "claimed_without_knowing_it": (taken(C, (LOST, LOST)), story(C, claim(101, Y), fates=(LOST, LOST))),
    "completed_without_knowing_it": (story(C, R, fates=(LOST, LOST)), taken(R, (LOST, LOST))),
    "lost_and_then_not_sent": (taken(C, (LOST, NOT_SENT)), taken(C, (LOST, LOST))),
    "the_script_was_forgotten": (taken(C, (FLUSHED,)), taken(C, (LOST, FLUSHED))),
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


WRONG_ARGUMENTS: list[Call] = [
    *(evolve(call, token=None) for call in (C, R, release(105), renew(105))),  # type: ignore[arg-type]
    *(evolve(call, retention_ms=None) for call in (C, R, release(105), renew(105))),  # type: ignore[arg-type]
    evolve(C, fingerprint="\ud800"),
    evolve(R, response=None),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("before", [INITIAL, CLAIMED, COMPLETED, RELEASED], ids=lambda state: type(state).__name__)
def test_a_misuse_is_nothing_but_that(before: State) -> None:
    """No property stumbles over an argument that makes no sense, or takes it for something else."""
    for call in WRONG_ARGUMENTS:
        one = taken(call, before=before)
        assert all(each.holds(one) for each in PROPERTIES.always)
        assert {each.name for each in SEEN.sometimes if each.holds(one)} == {"impossible"}


# ---------------------------------------------------------------------------------------------- exploration


WORLD = exploration.World(initial=world.INITIAL, calls=world.calls, step=world.step, kind=world.kind, label=world.label)

DIAGRAM = {
    ("Absent", "Claimed"): {"claim: acquired"},
    ("Claimed", "Claimed"): {"claim: acquired", "claim: in progress", "renew: renewed"},
    ("Claimed", "Lease ended"): {"the lease ends"},
    ("Claimed", "Completed"): {"complete: done"},
    ("Claimed", "Completed, not replayable"): {"complete: done"},
    ("Claimed", "Released"): {"release: done"},
    ("Lease ended", "Claimed"): {"claim: acquired", "renew: renewed"},
    ("Lease ended", "Completed"): {"complete: done"},
    ("Lease ended", "Completed, not replayable"): {"complete: done"},
    ("Lease ended", "Released"): {"release: done"},
    ("Lease ended", "Absent"): {"dies"},
    ("Completed", "Completed"): {
        "claim: replay",
        "complete: done",
        *(f"{each}: conflict" for each in ("complete", "release", "renew")),
    },
    ("Completed", "Absent"): {"dies"},
    ("Released", "Released"): {"release: done"},
    ("Released", "Claimed"): {"claim: acquired"},
    ("Released", "Absent"): {"dies"},
}
DIAGRAM |= {
    ("Completed, not replayable",) * 2: DIAGRAM["Completed", "Completed"],
    ("Completed, not replayable", "Absent"): {"dies"},
}


def test_the_specification_takes_the_steps_of_its_diagram_and_no_others() -> None:
    """In a small world, with a clock that only goes forward; nothing is cut."""
    found = exploration.explore(WORLD)
    assert found.exhausted
    assert (len(found.depth), found.steps) == (696, 11_527)
    assert {edge: set(names) for edge, names in found.edges.items()} == DIAGRAM


FATES: tuple[tuple[Fate, ...], ...] = ((), (LOST,), (NOT_SENT,), (FLUSHED,), (LOST, LOST), (LOST, NOT_SENT))


def wild_calls(state: State) -> Iterator[Call]:
    """Calls at any of a few instants, whatever came before: the clock steps back and forth."""
    for now_ms, token in product(range(6), (X, Y)):
        for lease_ms, fingerprint in ((1, "f"), (3, "f"), (1, "g")):
            if isinstance(state, Absent) or state.fence < 3:
                yield evolve(claim(now_ms, token, fingerprint, lease_ms=lease_ms), retention_ms=2)
        for response in (b"r", b"", b"12", b"longer"):
            yield evolve(complete(now_ms, token, response, most=1), retention_ms=2)
        yield evolve(release(now_ms, token), retention_ms=2)
        yield evolve(renew(now_ms, token, lease_ms=2), retention_ms=2)


WILD = exploration.World[State](
    initial=INITIAL, calls=wild_calls, step=step, kind=lambda state: type(state).__name__, label=lambda *_: ""
)
WILD_STATES = 451
"""How many states of a scope can be reached."""
NOT_OF_A_STEP = {"alike_but_for_the_colons", "impossible", "the_dead_were_removed"}
"""What a session knows and a single step does not; and misuse, which has no part in these worlds."""


def test_every_always_property_holds_in_every_state_that_can_be_reached() -> None:
    """Under every fate, with clocks that step back; and there every SOMETIMES is reached."""
    found, reached = exploration.Explored[State](depth={INITIAL: 0}), set[str]()
    for one in exploration.steps(WILD, found, exploration.STATES_MAX):
        for fates in FATES if isinstance(one.call, Claim | Complete) else ((),):
            transition = taken(one.call, fates, before=one.before)
            for each in PROPERTIES.always:
                assert each.holds(transition), (each.name, transition)
            reached |= {each.name for each in SEEN.sometimes if each.name not in reached and each.holds(transition)}
    assert found.exhausted
    assert len(found.depth) == WILD_STATES
    assert {each.name for each in SEEN.sometimes} - reached == NOT_OF_A_STEP


# ---------------------------------------------------------------------------------------------- the machine


BENCH = Bench(session=IdempotencySession, machine=IdempotencyMachine, sometimes=SEEN.sometimes, simpler=simpler)
BUDGET = Budget(seed=20_250)
STORY_MAX = 4
"""How many moves a mistake needs at most."""


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "answers alone"])
def test_the_model_agrees_with_itself(stored: bool) -> None:
    """The machine finds no difference between the specification and itself, and reaches all there is to reach."""
    result = run(BENCH, ModelIdempotency(stored=stored), BUDGET)
    assert result.verdict is Verdict.HOLDS, result.mismatch or [each.sentence for each in result.missed]


def lease_of(state: State, now_ms: int, *, running: bool) -> Claimed | None:
    """The claim that a call sees, if its lease runs, or if it has ended."""
    seen = known(state, now_ms)
    return seen if isinstance(seen, Claimed) and (now_ms < seen.lease_until_ms) is running else None


def claim_without_comparing_tokens(state: State, call: Call) -> tuple[State, Reply]:
    """Whoever claims inside the lease is taken for the owner."""
    seen = lease_of(state, call.now_ms, running=True)
    return step(state, evolve(call, token=seen.token) if seen and isinstance(call, Claim) else call)


def complete_by_anybody(state: State, call: Call) -> tuple[State, Reply]:
    """Whoever completes is taken for the owner."""
    seen = known(state, call.now_ms)
    return step(state, evolve(call, token=seen.token) if isinstance(seen, Claimed) and isinstance(call, Complete) else call)


def renew_by_anybody(state: State, call: Call) -> tuple[State, Reply]:
    """Whoever renews is taken for the owner."""
    seen = known(state, call.now_ms)
    return step(state, evolve(call, token=seen.token) if isinstance(seen, Claimed) and isinstance(call, Renew) else call)


def fingerprint_after_the_state(state: State, call: Call) -> tuple[State, Reply]:
    """Inside the lease another payload is told that it is in progress."""
    seen = lease_of(state, call.now_ms, running=True)
    return step(state, evolve(call, fingerprint=seen.fingerprint) if seen and isinstance(call, Claim) else call)


def fingerprint_of_a_tombstone_ignored(state: State, call: Call) -> tuple[State, Reply]:
    """What was released may be claimed with any payload."""
    seen = known(state, call.now_ms)
    if isinstance(call, Claim) and isinstance(seen, Released):
        return step(evolve(seen, fingerprint=spec.encoded(call.fingerprint)), call)
    return step(state, call)


def fingerprint_after_the_lease_ignored(state: State, call: Call) -> tuple[State, Reply]:
    """What may be taken over may be so with any payload."""
    seen = lease_of(state, call.now_ms, running=False)
    if isinstance(call, Claim) and seen:
        return step(evolve(seen, fingerprint=spec.encoded(call.fingerprint)), call)
    return step(state, call)


def lease_ends_early(state: State, call: Call) -> tuple[State, Reply]:
    """By one millisecond."""
    seen = known(state, call.now_ms)
    if isinstance(call, Claim) and isinstance(seen, Claimed) and seen.lease_until_ms == call.now_ms + 1:
        return step(evolve(seen, lease_until_ms=call.now_ms), call)
    return step(state, call)


def lease_ends_late(state: State, call: Call) -> tuple[State, Reply]:
    """By one millisecond."""
    seen = known(state, call.now_ms)
    if isinstance(call, Claim) and isinstance(seen, Claimed) and seen.lease_until_ms == call.now_ms:
        reply = step(evolve(seen, lease_until_ms=call.now_ms + 1), call)[1]
        return state, evolve(reply, lease_until_ms=call.now_ms) if isinstance(reply, Acquired) else reply
    return step(state, call)


def late_owner_refused(state: State, call: Call) -> tuple[State, Reply]:
    """A lease that has ended takes all from its owner."""
    if isinstance(call, Complete) and lease_of(state, call.now_ms, running=False):
        return state, StaleOwner(now_ms=call.now_ms, because=())
    return step(state, call)


def own_token_waits(state: State, call: Call) -> tuple[State, Reply]:
    """The owner that sends its claim again is told to wait for itself."""
    after, reply = step(state, call)
    seen = lease_of(state, call.now_ms, running=True)
    if isinstance(reply, Acquired) and seen:
        return state, InProgress(retry_after_ms=seen.lease_until_ms - call.now_ms, now_ms=call.now_ms, because=())
    return after, reply


def own_token_extends(state: State, call: Call) -> tuple[State, Reply]:
    """The owner that sends its claim again has more time."""
    after, reply = step(state, call)
    if isinstance(call, Claim) and isinstance(reply, Acquired) and isinstance(after, Claimed):
        after = evolve(after, lease_until_ms=max(after.lease_until_ms, call.now_ms + call.lease_ms))
    return after, reply


def fence_not_growing(state: State, call: Call) -> tuple[State, Reply]:
    """Every owner has the same."""
    after, reply = step(state, call)
    if isinstance(after, Claimed) and isinstance(reply, Acquired):
        return evolve(after, fence=1), evolve(reply, fence=1)
    return after, reply


def fence_lost_on_release(state: State, call: Call) -> tuple[State, Reply]:
    """What is released is deleted."""
    after, reply = step(state, call)
    return (INITIAL if isinstance(after, Released) else after), reply


def tombstone_without_retention(state: State, call: Call) -> tuple[State, Reply]:
    """It is dead as soon as it is there."""
    after, reply = step(state, call)
    return (evolve(after, dies_at_ms=call.now_ms) if isinstance(after, Released) else after), reply


def retention_from_the_claim(state: State, call: Call) -> tuple[State, Reply]:
    """A response is kept for as long as the claim would have been."""
    after, reply = step(state, call)
    if isinstance(state, Claimed) and isinstance(after, Completed):
        return evolve(after, dies_at_ms=state.dies_at_ms), reply
    return after, reply


def retention_restarted(state: State, call: Call) -> tuple[State, Reply]:
    """By a second completion."""
    after, reply = step(state, call)
    if isinstance(call, Complete) and isinstance(reply, Done) and isinstance(after, Completed):
        return evolve(after, dies_at_ms=call.now_ms + call.retention_ms), reply
    return after, reply


def retention_restarted_by_a_replay(state: State, call: Call) -> tuple[State, Reply]:
    """As a cache would."""
    after, reply = step(state, call)
    if isinstance(reply, Replay) and isinstance(after, Completed):
        return evolve(after, dies_at_ms=call.now_ms + call.retention_ms), reply
    return after, reply


def late_completion_revives(state: State, call: Call) -> tuple[State, Reply]:
    """What is dead is completed all the same."""
    if isinstance(call, Complete) and isinstance(state, Claimed):
        return step(evolve(state, dies_at_ms=max(state.dies_at_ms, call.now_ms + 1)), call)
    return step(state, call)


def forgotten_late(state: State, call: Call) -> tuple[State, Reply]:
    """A response is replayed for one millisecond too long."""
    if isinstance(state, Completed) and state.dies_at_ms == call.now_ms:
        return step(evolve(state, dies_at_ms=call.now_ms + 1), call)
    return step(state, call)


def release_frees_what_is_completed(state: State, call: Call) -> tuple[State, Reply]:
    """And the work runs again."""
    after, reply = step(state, call)
    if isinstance(call, Release) and isinstance(reply, spec.Conflict) and isinstance(state, Completed):
        dies_at_ms = call.now_ms + call.retention_ms
        tombstone = Released(fingerprint=state.fingerprint, token=state.token, fence=state.fence, dies_at_ms=dies_at_ms)
        return tombstone, Done(now_ms=call.now_ms, because=())
    return after, reply


def another_response_taken_for_the_same(state: State, call: Call) -> tuple[State, Reply]:
    """Who completes again is always told that all is well."""
    after, reply = step(state, call)
    if isinstance(call, Complete) and isinstance(reply, spec.Conflict):
        return after, Done(now_ms=call.now_ms, because=())
    return after, reply


def renew_shortens(state: State, call: Call) -> tuple[State, Reply]:
    """The lease is what is asked for, though there was more of it."""
    after, reply = step(state, call)
    if isinstance(call, Renew) and isinstance(reply, Renewed) and isinstance(after, Claimed):
        until_ms = call.now_ms + call.lease_ms
        shorter = evolve(after, lease_until_ms=until_ms, dies_at_ms=until_ms + call.retention_ms)
        return shorter, evolve(reply, lease_until_ms=until_ms)
    return after, reply


def response_altered(state: State, call: Call) -> tuple[State, Reply]:
    """Line ends, as somebody who takes it for a text would."""
    return step(state, evolve(call, response=call.response.replace(b"\r\n", b"\n")) if isinstance(call, Complete) else call)


def response_cut(state: State, call: Call) -> tuple[State, Reply]:
    """At its first zero byte."""
    after, reply = step(state, call)
    return (evolve(after, payload=after.payload.split(b"\0")[0]) if isinstance(after, Completed) else after), reply


def digest_replayed(state: State, call: Call) -> tuple[State, Reply]:
    """As if it were the response."""
    after, reply = step(state, call)
    if isinstance(reply, Replay) and isinstance(state, Completed) and not reply.replayable:
        return after, evolve(reply, response=state.payload, replayable=True)
    return after, reply


def too_large_runs_again(state: State, call: Call) -> tuple[State, Reply]:
    """What can't be replayed is done once more."""
    is_large = isinstance(state, Completed) and not state.replayable
    return step(INITIAL if is_large and isinstance(call, Claim) else state, call)


def limit_off_by_one(state: State, call: Call) -> tuple[State, Reply]:
    """One byte more is kept."""
    if isinstance(call, Complete):
        return step(state, evolve(call, response_max_bytes=call.response_max_bytes + 1))
    return step(state, call)


MISTAKES: dict[Callable[[State, Call], tuple[State, Reply]], str] = {
    claim_without_comparing_tokens: "ID-3",
    complete_by_anybody: "ID-6",
    renew_by_anybody: "ID-6",
    fingerprint_after_the_state: "ID-2",
    fingerprint_of_a_tombstone_ignored: "ID-2",
    fingerprint_after_the_lease_ignored: "ID-2",
    lease_ends_early: "ID-4",
    lease_ends_late: "ID-4",
    late_owner_refused: "ID-4",
    own_token_waits: "ID-1",
    own_token_extends: "ID-1",
    fence_not_growing: "ID-5",
    fence_lost_on_release: "ID-5",
    tombstone_without_retention: "ID-5",
    retention_from_the_claim: "ID-8",
    retention_restarted: "ID-6",
    retention_restarted_by_a_replay: "ID-8",
    late_completion_revives: "ID-8",
    forgotten_late: "ID-8",
    release_frees_what_is_completed: "ID-6",
    another_response_taken_for_the_same: "ID-6",
    renew_shortens: "ID-4",
    response_altered: "ID-10",
    response_cut: "ID-10",
    digest_replayed: "ID-10",
    too_large_runs_again: "ID-10",
    limit_off_by_one: "ID-10",
}
"""Steps that differ from the specification's, each by one mistake, and the rule that it breaks."""


@pytest.mark.parametrize(("mistake", "rule"), MISTAKES.items(), ids=lambda each: getattr(each, "__name__", each))
def test_a_mistake_is_caught_under_its_rule_by_a_short_story(
    mistake: Callable[[State, Call], tuple[State, Reply]], rule: str
) -> None:
    """One edit of the specification, as a target."""
    result = run(BENCH, ModelIdempotency(mistake), BUDGET)
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch is not None
    assert result.mismatch.rule == rule, result.mismatch
    assert len(result.mismatch.story) <= STORY_MAX


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda each: each.__name__)
def test_a_mistake_shows_in_the_answers_too(mistake: Callable[[State, Call], tuple[State, Reply]]) -> None:
    """Where what is stored cannot be read, it takes no more than a longer story."""
    result = run(BENCH, ModelIdempotency(mistake, stored=False), BUDGET)
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch is not None
    assert len(result.mismatch.story) <= 2 * STORY_MAX


KEYS: dict[str, Callable[[Scope], object]] = {
    "joined by colons": joined,
    "joined by nothing": lambda scope: scope.tenant + scope.operation + scope.key,
    "joined by bars": lambda scope: f"{scope.tenant}|{scope.operation}|{scope.key}",
    "without the tenant": lambda scope: (scope.operation, scope.key),
    "without the operation": lambda scope: (scope.tenant, scope.key),
    "in any order": lambda scope: frozenset((scope.tenant, scope.operation, scope.key)),
    "in lower case": lambda scope: (scope.tenant, scope.operation, scope.key.lower()),
}


@pytest.mark.parametrize("how", KEYS)
def test_scopes_that_collide_are_caught(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ID-9: whatever is made of their parts; a call on each shows it. No time passes, so that no TTL runs down meanwhile."""
    for module in ("guards.idempotency", "guards.ttl", "models.idempotency"):
        monkeypatch.setattr(f"redstep_check.{module}.time", SimpleNamespace(monotonic=lambda: 0.0))
    result = run(BENCH, ModelIdempotency(key_of=KEYS[how]), BUDGET)
    assert result.mismatch is not None
    assert result.mismatch.rule == "ID-9", result.mismatch
    assert len(result.mismatch.story) <= STORY_MAX


# ---------------------------------------------------------------------------------------------- stories


class KeptWrongly(ModelIdempotency):
    """Answers right, and keeps for another time."""

    def __init__(self, by_ms: int) -> None:
        super().__init__()
        self._by_ms = by_ms

    def stored(self, *key: Any) -> Any:
        """Read a TTL that is so much longer."""
        stored = super().stored(*key)
        return stored if stored.ttl_ms is None else evolve(stored, ttl_ms=stored.ttl_ms + self._by_ms)


class Forever(ModelIdempotency):
    """Answers right, and keeps for ever."""

    def stored(self, *key: Any) -> Any:
        """Read no TTL at all."""
        return evolve(super().stored(*key), ttl_ms=None)


class Touched(ModelIdempotency):
    """Writes something at every call that a reader would not see."""

    def __init__(self) -> None:
        super().__init__()
        self._writes = 0

    def stored(self, *key: Any) -> Any:
        """Read what differs in one byte from what was read before."""
        self._writes += 1
        return evolve(super().stored(*key), raw=self._writes)


@pytest.mark.parametrize(
    ("target", "rules"),
    [
        (KeptWrongly(-1_000), {"CM-3"}),
        (KeptWrongly(1_000), {"CM-3"}),
        (Forever(), {"CM-3"}),
        (Touched(), {"ID-1", "ID-6"}),
    ],
    ids=["too short", "too long", "for ever", "touched"],
)
def test_what_is_stored_is_compared_to_the_byte_and_to_the_millisecond(target: ModelIdempotency, rules: set[str]) -> None:
    """CM-3: and what a call should have left alone, to the byte."""
    result = run(BENCH, target, BUDGET)
    assert result.mismatch is not None
    assert result.mismatch.rule in rules


def test_a_renewal_without_effect_may_be_written_or_not() -> None:
    """CM-3: the same lease may be given its TTL anew, by the clock of the renewal, or be left alone."""

    class WritesAnew(ModelIdempotency):
        """Gives the TTL anew with every renewal."""

        def call(self, call: Call, fates: Any) -> Any:
            answer = super().call(call, fates)
            kept = self._kept.get(call.scope)
            if isinstance(call, Renew) and kept and getattr(answer, "values", {}).get("verdict") == "renewed":
                self._kept[call.scope] = self.kept(kept.state, call.now_ms)
            return answer

    for target in (ModelIdempotency(), WritesAnew()):
        moves = tuple(Called(call) for call in (C, renew(103, lease_ms=1), claim(104), renew(105, lease_ms=1), claim(106, Y)))
        assert replayed(BENCH, target, moves) is None
        assert run(BENCH, target, Budget(seed=3, examples=60)).mismatch is None


def test_a_living_record_is_never_removed() -> None:
    """Such a story is impossible, and so is a clock that steps back behind a removal."""
    for moves in (
        (Called(C), Removed(SCOPE, DEAD_MS - 1)),
        (Called(C), Removed(SCOPE, DEAD_MS), Called(claim(DEAD_MS - 1))),
    ):
        with pytest.raises(ImpossibleStory):
            replayed(BENCH, ModelIdempotency(), moves)
    assert replayed(BENCH, ModelIdempotency(), (Called(C), Removed(SCOPE, DEAD_MS), Called(claim(DEAD_MS)))) is None


LATE_OWNER = (C, claim(110, Y), complete(111, response=b"late"), claim(112, "z"))


def test_the_store_of_the_tutorials_lets_a_late_owner_overwrite(engine_named: Callable[[str], Engine]) -> None:
    """Its lease ended, another took over, and its response is replayed while the other is still at it."""
    naive = NaiveIdempotency(engine_named(DEFAULT))
    found = replayed(BENCH, naive, tuple(Called(call) for call in LATE_OWNER))
    assert found is not None
    assert (found.rule, found.expected, found.actual) == ("ID-3", "in_progress", "replay")
    assert replayed(BENCH, naive, tuple(Called(call) for call in LATE_OWNER[:2])) is None
    naive.close()


def test_the_store_of_the_tutorials_fails_at_once(engine_named: Callable[[str], Engine]) -> None:
    """It locks a caller out that sends its claim again."""
    naive = NaiveIdempotency(engine_named(DEFAULT))
    result = run(BENCH, naive, BUDGET)
    naive.close()
    assert result.mismatch is not None
    assert result.mismatch.rule == "ID-1"
    assert len(result.mismatch.story) == 2
