"""Histories: what is one, and what is refused."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from redstep_check.linearizability import (
    Completion,
    Event,
    Failed,
    Invocation,
    MalformedHistory,
    Outcome,
    Recorder,
    Replied,
    Unknown,
    check,
    operations,
)
from redstep_check.linearizability.examples import REGISTER, Read, Write

A1, A2 = Invocation(1, "A", Read()), Completion(2, "A", Replied(0))


def test_invocations_and_completions_are_paired() -> None:
    """Each client's own, in order of invocation; without a completion the outcome is unknown, and so it is when given up."""
    its = operations(
        [
            A1,
            Invocation(2, "B", Write(1)),
            Completion(3, "B", Unknown()),
            Invocation(4, "B", Read()),
            Completion(5, "A", Replied(0)),
        ]
    )
    assert [(each.number, each.client, each.invoked_at, each.completed_at) for each in its] == [
        (0, "A", 1, 5),
        (1, "B", 2, 3),
        (2, "B", 4, None),
    ]
    assert [each.outcome for each in its] == [Replied(0), Unknown(), Unknown()]
    assert [each.is_answered for each in its] == [True, False, False]
    assert [each.is_open for each in its] == [False, True, True]


def test_precedence_is_of_what_is_over() -> None:
    """A completed operation precedes what is invoked later, not at the same place; one of unknown outcome precedes nothing."""
    early, late, tied, unknown, after = operations(
        [
            A1,
            Invocation(1, "B", Read()),
            Completion(2, "A", Replied(0)),
            Invocation(2, "C", Read()),
            Invocation(3, "A", Write(1)),
            Completion(4, "A", Unknown()),
            Invocation(5, "A", Read()),
        ]
    )
    assert early.precedes(unknown)
    assert early.precedes(after)
    assert not early.precedes(tied)
    assert not early.precedes(late)
    assert not unknown.precedes(after)
    assert not late.precedes(early)


MALFORMED: list[tuple[Sequence[Any], str]] = [
    ([Completion(1, "A", Replied(0))], "hears of a call that it has not made"),
    ([A1, A2, Completion(3, "A", Replied(0))], "hears of a call that it has not made"),
    ([A1, Completion(2, "B", Replied(0))], "client 'B' hears"),
    ([A1, Invocation(2, "A", Read())], "makes a call while another is open"),
    ([A2, A1], "the counter never runs backward"),
    ([A1, Invocation(3, "B", Read()), A2], "at 2: this comes after what was at 3"),
    ([A1, Completion(1, "A", Replied(0))], "two events at one place"),
    ([A1, A2, Invocation(2, "A", Read())], "two events at one place"),
    ([Invocation(1.0, "A", Read())], "is an integer"),  # type: ignore[arg-type]
    ([Invocation(True, "A", Read())], "is an integer"),
    ([A1, "a completion"], "neither an invocation nor a completion"),
    ([A1, Completion(2, "A", 0)], "at 2: client 'A' heard 0, which is neither Replied nor Failed nor Unknown"),  # type: ignore[arg-type]
    ([A1, Completion(2, "A", None)], "heard None, which is neither"),  # type: ignore[arg-type]
    ([A1, Completion(2, "A", Failed)], "which is neither"),  # type: ignore[arg-type]
    ([A1, Invocation(2, ["B"], Read())], r"client \['B'\] is unhashable"),  # type: ignore[arg-type]
    ([A1, Completion(1, {}, Replied(0))], "client {} is unhashable"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("history", "problem"), MALFORMED)
def test_what_no_run_leaves_behind_is_refused(history: Sequence[Event], problem: str) -> None:
    """By the pairing and by the checker, with the place and what is wrong there."""
    with pytest.raises(MalformedHistory, match=problem):
        operations(history)
    with pytest.raises(MalformedHistory, match=problem):
        check(REGISTER, history)


def test_at_one_place_invocations_come_first() -> None:
    """In whatever order they were written down."""
    tied: list[Event] = [Invocation(2, "B", Read()), A2]
    for order in (tied, tied[::-1]):
        [one, other] = operations([A1, *order])
        assert not one.precedes(other)


def test_a_recorder_takes_down_what_threads_do() -> None:
    """What comes out is a history, whichever way they interleave."""
    recorder = Recorder()
    outcomes: list[Outcome[None]] = [Replied(None), Failed(), Unknown()]

    def client(name: str) -> None:
        for number in range(200):
            recorder.invoke(name, Write(number))
            recorder.complete(name, outcomes[number % 3])

    threads = [threading.Thread(target=client, args=(name,)) for name in "ABCD"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    its = operations(recorder.history())
    assert len(its) == 800
    assert sum(each.is_answered for each in its) == 4 * 67
    assert check(REGISTER, recorder.history())


def test_a_recorder_draws_from_the_counter_that_it_is_given() -> None:
    """So that processes can share one."""
    places = iter((7, 9))
    recorder = Recorder(places.__next__)
    recorder.invoke("A", Read())
    recorder.complete("A", Replied(0))
    assert recorder.history() == [Invocation(7, "A", Read()), Completion(9, "A", Replied(0))]
