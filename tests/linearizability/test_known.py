"""Histories whose verdict is known, and what the verdicts tell."""

import doctest
from typing import Any

import pytest

import redstep_check.linearizability
from redstep_check.linearizability import Illegal, Legal, Operation, check, flaw, operations
from redstep_check.linearizability.examples import EXAMPLES, REGISTER, Example, Read, Write, drawn

from .known import KNOWN, Known


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_known_history_gets_its_verdict(known: Known) -> None:
    """Legal with a witness that can be followed, or illegal; only the first is true."""
    verdict = check(known.model, known.history)
    assert isinstance(verdict, Legal if known.legal else Illegal)
    assert bool(verdict) is known.legal
    if isinstance(verdict, Legal):
        assert not flaw(known.model, known.history, verdict.witness)


def test_the_example_of_the_docstring_is_true() -> None:
    """The package's own."""
    assert doctest.testmod(redstep_check.linearizability).failed == 0
    assert doctest.testmod(redstep_check.linearizability).attempted >= 5


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_is_not_legal_whatever_it_says(example: Example) -> None:
    """With any one reply replaced by what nobody says, the legal history is illegal."""
    its = operations(example.legal)
    for each in its:
        if each.is_answered:
            spoilt = drawn(*(row(one, spoilt=one == each) for one in its))
            assert isinstance(check(example.model, spoilt), Illegal)


def row(operation: Operation, *, spoilt: bool) -> tuple[Any, int, int | None, Any, Any]:
    """An operation as a row of a history."""
    heard = "what nobody says" if spoilt else operation.reply if operation.is_answered else operation.outcome
    return operation.client, operation.invoked_at, operation.completed_at, operation.call, heard


def test_an_illegal_verdict_tells_where_it_shows() -> None:
    """The operation that fits nowhere, what was explained before it, and what the model would have said instead."""
    history = drawn(("A", 1, 6, Write(1), None), ("B", 2, 3, Read(), 1), ("C", 4, 5, Read(), 0), ("D", 7, 8, Read(), 9))
    verdict = check(REGISTER, history)
    assert isinstance(verdict, Illegal)
    assert verdict.stuck.client == "C"
    assert [placed.operation.client for placed in verdict.prefix] == ["A", "B"]
    assert [placed.state for placed in verdict.prefix] == [1, 1]
    assert verdict.instead == 1
    assert str(verdict) == "illegal: no order explains that client C heard 0 (at 5); before that, one explains 2 operations"
