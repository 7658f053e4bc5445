"""Shrinking: what comes out still differs, is no longer than what went in, and of a planted fault is its minimum."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redstep_check import runs, shrinking
from redstep_check.binding import Answer, Answered
from redstep_check.guards.rate_limiter import Called, tell
from redstep_check.lockstep import Mismatch
from redstep_check.models.rate_limiter import ModelRateLimiter
from redstep_check.registry import GUARDS
from redstep_check.shrinking import Moves, shortest, weight
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Fate

BENCH = GUARDS["rate-limiter"].bench


class Generous(ModelRateLimiter):
    """Never denies a call of a cost above one."""

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Take a step, and lie about it."""
        answer = super().call(call, fates)
        if isinstance(answer, Answered) and isinstance(call, spec.Acquire) and call.cost > 1:
            return Answered({**answer.values, "allowed": True})
        return answer


class Play:
    """Plays stories on the generous limiter, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, moves: Moves) -> Mismatch | None:
        """Play one."""
        self.count += 1
        return runs.replayed(BENCH, Generous(), moves)


def noisy(name: str, cost: int, limit: int, window_ms: int, now_ms: int, fates: tuple[Fate, ...]) -> Called:
    """A call with all the trimmings."""
    region = spec.Region(start_ms=now_ms // 2, cold_ms=3)
    limits = (spec.Limit(limit=limit, window_ms=window_ms), spec.Limit(limit=limit + 5, window_ms=window_ms + 5))
    call = spec.Acquire(name=name, limits=limits, now_ms=now_ms, cost=cost, request_id=f"{name}{now_ms}", region=region)
    return Called(call, fates)


stories = st.lists(
    st.builds(
        noisy,
        name=st.sampled_from("abc"),
        cost=st.integers(1, 4),
        limit=st.integers(4, 9),
        window_ms=st.integers(2, 9),
        now_ms=st.integers(1_000, 1_040),
        fates=st.sampled_from(((), (Fate.REPLY_LOST,), (Fate.NOT_SENT,), (Fate.FLUSHED,))),
    ),
    min_size=8,
    max_size=30,
).map(tuple)


@given(story=stories)
def test_what_is_shrunk_still_differs_and_is_never_longer(story: tuple[Called, ...]) -> None:
    """Whatever it starts from; and shrinking again changes nothing more."""
    found = Play()(story)
    if found is None:
        return
    shrunk = shortest(found, Play(), BENCH.simpler)
    assert shrunk is not None
    moves = moves_of(shrunk)
    assert Play()(moves) is not None
    assert weight(moves) <= weight(moves_of(found))
    again = shortest(shrunk, Play(), BENCH.simpler)
    assert again is not None
    assert moves_of(again) == moves


def test_a_noisy_story_of_a_planted_fault_becomes_its_minimum() -> None:
    """Thirty calls on three names, with faults, regions, ids and two limits each, come down to the two that matter."""
    noise = [noisy("abc"[number % 3], 2, 9, 50, 1_000 + number, (Fate.REPLY_LOST,)) for number in range(30)]
    found = Play()(tuple(noise))
    assert found is not None
    shrunk = shortest(found, Play(), BENCH.simpler)
    assert shrunk is not None
    assert [tell(move) for move in moves_of(shrunk)] == ["acquire 'a' cost 2 under 2 per 1 ms"] * 2


def test_the_budget_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the best story so far is told, however long it still is."""
    monkeypatch.setattr(shrinking, "PLAYS_MAX", 5)
    play = Play()
    found = play(tuple(noisy("a", 2, 9, 50, 1_000 + number, ()) for number in range(30)))
    assert found is not None
    shrunk = shortest(found, play, BENCH.simpler)
    assert shrunk is not None
    assert play.count <= 2 + 5
    assert weight(moves_of(shrunk)) <= weight(moves_of(found))


def test_a_difference_that_does_not_show_again_has_no_shortest_story() -> None:
    """It is told as it was seen, by whoever asked."""
    found = Play()(tuple(noisy("a", 2, 9, 50, 1_000 + number, ()) for number in range(9)))
    assert found is not None
    assert shortest(found, lambda _: None, BENCH.simpler) is None


def test_fewer_kinds_of_moves_come_before_smaller_numbers() -> None:
    """The same call three times is easier to read than three calls, even if one of them is smaller."""

    def acquires(*limits: int) -> Moves:
        made = [(spec.Limit(limit=limit, window_ms=1),) for limit in limits]
        return tuple(Called(spec.Acquire(name="a", limits=each, now_ms=1_000)) for each in made)

    assert weight(acquires(2, 2, 2)) < weight(acquires(1, 2, 2))
    assert weight(acquires(2, 2)) < weight(acquires(1, 1, 1))


def moves_of(mismatch: Mismatch) -> tuple[Any, ...]:
    """The moves of a story."""
    return tuple(told.move for told in mismatch.story)
