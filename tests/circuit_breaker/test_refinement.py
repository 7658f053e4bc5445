"""Refinement: the local breaker and the shared one answer alike, step for step, and are in the same state after each."""

import itertools
from collections.abc import Callable
from typing import Any, cast

import pytest
from attrs import evolve, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from redstep.circuit_breaker import Outcome, Permit, Policy, Reason, Transition
from redstep.circuit_breaker_local import LocalBreaker
from redstep.circuit_breaker_protocols import Breaker
from redstep.circuit_breaker_shared import SharedBreaker
from redstep.errors import Misuse
from redstep.wishes import Protocol
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.stored_breakers import read_hash, read_local
from redstep_spec import circuit_breaker as spec

names = (f"b{number}" for number in itertools.count())
MOST = 2**51


@frozen
class Step:
    """One step of both, and how far the clocks go before it, or step back."""

    take: Callable[[Breaker, list[Permit]], Protocol[Any]]
    pass_ms: int
    draw: float
    """Where in its bounds an integer is drawn, from 0 to 1."""


def acquire(breaker: Breaker, _: list[Permit]) -> Protocol[Any]:
    """Ask, and keep the permit."""
    return breaker.acquire()


def view(breaker: Breaker, _: list[Permit]) -> Protocol[Any]:
    """Look."""
    return breaker.view()


def report(which: int, outcome: Outcome) -> Callable[[Breaker, list[Permit]], Protocol[Any]]:
    """Report one of the permits, the newest is 0; often for the second time."""
    return lambda breaker, permits: breaker.report(permits[-1 - which % len(permits)], outcome)


def forge(permit: Permit, outcome: Outcome) -> Callable[[Breaker, list[Permit]], Protocol[Any]]:
    """Report one that was perhaps never given."""
    return lambda breaker, _: breaker.report(permit, outcome)


def intervene(reason: Reason) -> Callable[[Breaker, list[Permit]], Protocol[Any]]:
    """Open or close by hand."""
    return lambda breaker, _: breaker.intervene(reason)


takes = st.one_of(
    st.just(acquire),
    st.just(acquire),
    st.builds(report, st.integers(0, 3), st.sampled_from(Outcome)),
    st.builds(report, st.just(0), st.sampled_from(Outcome)),
    st.just(view),
    st.builds(forge, st.builds(Permit, st.integers(0, 6), st.integers(0, 4)), st.sampled_from(Outcome)),
    st.builds(intervene, st.sampled_from((Reason.FORCE_OPEN, Reason.FORCE_CLOSE, Reason.RESET))),
)
steps = st.builds(Step, takes, st.sampled_from((0, 0, 1, 3, 4, 5, 6, 12, -4, -30)), st.floats(0, 1))


def probes(outcomes: list[Outcome]) -> list[Step]:
    """Calls one after the other, each when whatever was open has been so for long enough."""
    return [step for each in outcomes for step in (Step(acquire, 30, 0.5), Step(report(0, each), 0, 0.5))]


ends = st.sampled_from((*[Outcome.SUCCESS] * 4, *Outcome))
parts = st.one_of(steps.map(lambda step: [step]), st.lists(ends, min_size=1, max_size=4).map(probes))
stories = st.lists(parts, max_size=60).map(lambda several: [step for part in several for step in part])
policies = st.builds(
    Policy,
    failure_threshold=st.integers(1, 3),
    success_threshold=st.integers(1, 4),
    open_ms=st.sampled_from((1, 2, 4, 5, 10)),
)


class Both:
    """The two, on clocks and draws that are the same."""

    def __init__(self, engine: Engine, policy: Policy) -> None:
        self.told: dict[str, list[Transition]] = {"local": [], "shared": []}
        name = next(names)
        self.local = LocalBreaker(name=name, policy=policy, listeners=self.told["local"].append)
        self.shared = SharedBreaker(name=name, policy=policy, listeners=self.told["shared"].append)
        self.client = engine.client()
        self.driver = CheckingDriver(client=self.client, flush_scripts=engine.flush_scripts, store_ms=100, client_ms=100)
        self.permits = [Permit(0, 0)]

    def play(self, step: Step) -> None:
        """Take a step of each, and compare."""
        self.driver.store_ms = self.driver.client_ms = max(0, self.driver.store_ms + step.pass_ms)
        self.driver.draw_integer = lambda least, most: least + round((most - least) * step.draw)
        one, other = (self._answer(step, breaker) for breaker in (self.local, self.shared))
        assert one == other
        if (permit := getattr(one, "permit", None)) is not None:
            self.permits.append(permit)
        assert self.told["local"] == self.told["shared"]
        held, stored = read_local(self.local.state).state, read_hash(self.client, self.shared.key).state
        assert spec.essence(held) == spec.essence(stored)

    def _answer(self, step: Step, breaker: Breaker) -> Any:
        answer = self.driver.run(step.take(breaker, self.permits))
        self.driver.run(breaker.announcements.tell())
        return answer

    def adopt(self, policy: Policy) -> None:
        """Have both made anew with another policy, as in a deployment."""
        self.local.policy = self.shared.policy = policy


def test_both_breakers_answer_alike(engine: Engine) -> None:
    """Replies, transitions told and states; also when the policy changes on the way, and when a clock steps back.

    And whatever can make a breaker move was reached.
    """
    reached: set[Reason] = set()

    @given(policy=policies, later=policies, story=stories)
    @settings(max_examples=600, derandomize=True, database=None)
    def play(policy: Policy, later: Policy, story: list[Step]) -> None:
        both = Both(engine, policy)
        for place, step in enumerate(story):
            if place == len(story) // 2:
                both.adopt(later)
            both.play(step)
        reached.update(each.reason for each in both.told["shared"])
        both.client.close()

    play()
    assert reached == set(Reason)


def test_both_breakers_count_beyond_what_a_float_prints(engine: Engine) -> None:
    """Times of sixteen digits are stored as they are."""
    both = Both(engine, Policy(failure_threshold=1, success_threshold=1, open_ms=MOST // 2))
    for both.driver.store_ms in (MOST - 3, 1):
        both.driver.client_ms = both.driver.store_ms
        for take in (
            acquire,
            report(0, Outcome.FAILURE),
            acquire,
            intervene(Reason.RESET),
            intervene(Reason.FORCE_OPEN),
            acquire,
        ):
            both.play(Step(take, 0, 1.0))
        both.driver.store_ms = both.driver.client_ms = read_local(both.local.state).state.open_until_ms
        for take in (acquire, acquire, report(0, Outcome.NEUTRAL), view, intervene(Reason.RESET)):
            both.play(Step(take, 0, 0.0))
    both.client.close()


@pytest.mark.parametrize("least", [True, False])
def test_a_draw_out_of_bounds_is_misuse(engine: Engine, least: bool) -> None:
    """Of both, and before anything is sent."""
    both = Both(engine, Policy(open_ms=1_000))
    both.driver.draw_integer = lambda low, high: low - 1 if least else high + 1
    for breaker in (both.local, both.shared):
        for step in (breaker.report(Permit(0, 0), Outcome.FAILURE), breaker.intervene(Reason.FORCE_OPEN)):
            with pytest.raises(Misuse, match="open_ms"):
                both.driver.run(step)
    assert both.driver.executions == []
    both.client.close()


def test_a_report_of_what_is_no_permit_is_misuse(engine: Engine) -> None:
    """Of both, and before anything is sent."""
    both = Both(engine, Policy())
    good = Permit(0, 0)
    wrong: list[tuple[str, Any, Any]] = [
        ("permit", None, Outcome.SUCCESS),
        ("permit", evolve(good, epoch=-1), Outcome.SUCCESS),
        ("permit", Permit(0, cast("int", 1.0)), Outcome.SUCCESS),
        ("outcome", good, "success or so"),
    ]
    for breaker in (both.local, both.shared):
        for argument, permit, outcome in wrong:
            with pytest.raises(Misuse) as caught:
                both.driver.run(breaker.report(permit, outcome))
            assert caught.value.argument == argument
    assert both.driver.executions == []
    both.client.close()
