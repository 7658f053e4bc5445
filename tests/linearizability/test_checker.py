"""The checker: budgets, turns, sizes, models that do not keep to it, and what an order has to be."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve, field, frozen

from redstep_check.linearizability import (
    Completion,
    Event,
    Failed,
    Illegal,
    Invocation,
    Legal,
    Model,
    ModelError,
    NondeterministicModel,
    Placed,
    Replied,
    Undecided,
    Unknown,
    Vacuous,
    check,
    flaw,
    operations,
)
from redstep_check.linearizability.examples import BAG, QUEUE, REGISTER, Dequeue, Enqueue, Read, Write, drawn, register
from redstep_spec import rate_limiter
from redstep_spec.rate_limiter import Acquire, Limit

from .battery import QUEUES, believed, hidden, hopeless, lost

# ---------------------------------------------------------------------------------------------- verdicts


@pytest.mark.parametrize(
    "outcomes", [[], [Failed()], [Failed(), Failed()], [Unknown()], [Failed(), Unknown()]], ids=lambda each: str(len(each))
)
def test_a_history_without_a_reply_is_vacuous(outcomes: list[Any]) -> None:
    """It could not have been illegal: that is no pass."""
    verdict = check(
        REGISTER, drawn(*((number, number * 2, number * 2 + 1, Read(), each) for number, each in enumerate(outcomes)))
    )
    assert verdict == Vacuous(len(outcomes))
    assert not verdict


def test_a_search_is_given_up_after_its_steps() -> None:
    """Undecided, never legal, with the steps that it was allowed and the part that is open; with more it is decided."""
    assert not lost(check)
    smaller = hopeless("a", 1, puts=5)
    steps = check(QUEUES, smaller).steps  # type: ignore[union-attr]
    assert isinstance(check(QUEUES, smaller, max_steps=steps - 1), Undecided)
    assert isinstance(check(QUEUES, smaller, max_steps=steps + 1), Illegal)


@pytest.mark.parametrize("max_steps", [0, -1])
def test_a_search_takes_at_least_a_step(max_steps: int) -> None:
    """None at all is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one step"):
        check(REGISTER, [], max_steps=max_steps)


def test_a_hopeless_part_does_not_hide_another() -> None:
    """They take turns: what is illegal for all to see is found though two others are far beyond the budget."""
    assert not hidden(check)


def test_all_open_parts_are_told() -> None:
    """Those that were decided are not."""
    easy: list[Event] = [Invocation(101, "z", ("z", "take")), Completion(102, "z", Replied(None))]
    verdict = check(QUEUES, [*hopeless("a", 1), *hopeless("b", 31), *easy], max_steps=5_000)
    assert isinstance(verdict, Undecided)
    assert sorted(map(str, verdict.open_partitions)) == ["a", "b"]
    assert verdict.steps == 5_000


def test_the_default_budget_is_bounded() -> None:
    """Nobody waits for ever: 2,000,000 steps, and a history that needs more is undecided."""
    assert check.__kwdefaults__ == {"max_steps": 2_000_000}


# ---------------------------------------------------------------------------------------------- sizes


def test_a_long_history_needs_no_recursion() -> None:
    """20,000 operations one after the other, and two at a time, the second of which must go first."""
    rows = [("A", 2 * at, 2 * at + 1, Write(at), None) for at in range(20_000)]
    assert check(REGISTER, drawn(*rows))
    pairs = []
    for at in range(0, 40_000, 4):
        pairs += [("A", at, at + 2, Read(), at + 1), ("B", at + 1, at + 3, Write(at + 1), None)]
    verdict = check(REGISTER, drawn(*pairs))
    assert isinstance(verdict, Legal)
    assert [placed.operation.client for placed in verdict.witness[:4]] == ["B", "A", "B", "A"]
    wrong = check(REGISTER, drawn(*pairs, ("A", 50_000, 50_001, Read(), -1)))
    assert isinstance(wrong, Illegal)
    assert len(wrong.prefix) == len(pairs)


def test_many_clients_at_once_are_no_matter_of_word_size() -> None:
    """100 operations that all overlap: their bits go far beyond 64."""
    into = [(at, at, 100 + at, Enqueue(str(at)), None) for at in range(100)]
    out = [("out", 300 + 2 * at, 301 + 2 * at, Dequeue(), str(at)) for at in range(100)]
    verdict = check(QUEUE, drawn(*into, *out))
    assert isinstance(verdict, Legal)
    assert not flaw(QUEUE, drawn(*into, *out), verdict.witness)


# ---------------------------------------------------------------------------------------------- models


def test_a_state_that_cannot_be_remembered_is_refused() -> None:
    """With the state and what to do about it, wherever it turns up."""
    history = drawn(("A", 1, 2, Write(1), None))
    lists: Model[Any, Any, None] = Model(init=(), step=lambda values, call: ([*values, call], None))
    with pytest.raises(ModelError, match=r"cannot be remembered.*list.*make it of tuples"):
        check(lists, history)
    with pytest.raises(ModelError, match="cannot be remembered"):
        check(evolve(lists, init=[]), history)
    with pytest.raises(ModelError, match="cannot be remembered"):
        check(NondeterministicModel(inits=[()], steps=lambda *_: [[]]), history)
    with pytest.raises(ModelError, match="cannot be remembered"):
        check(NondeterministicModel(inits=[[]], steps=lambda *_: [()]), history)


def test_what_goes_wrong_in_a_model_is_not_taken_for_its_state() -> None:
    """A TypeError of its own is raised as it is, also where its states are drawn one by one."""

    def steps(value: int, _call: Any, _outcome: Any) -> Iterator[int]:
        yield value + None  # type: ignore[operator]

    with pytest.raises(TypeError, match="unsupported operand") as raised:
        check(NondeterministicModel(inits=[0], steps=steps), drawn(("A", 1, 2, Write(1), None)))
    assert not isinstance(raised.value, ModelError)


def unhashable(_call: Any) -> Any:
    """No key."""
    return []


def test_a_part_needs_a_key() -> None:
    """One that can be hashed."""
    with pytest.raises(ModelError, match="cannot be a key"):
        check(Model(init=0, step=register, partition=unhashable), drawn(("A", 1, 2, Read(), 0)))


def test_calls_and_replies_may_be_anything() -> None:
    """They are neither hashed nor ordered."""
    model: Model[int, Any, Any] = Model(init=0, step=lambda total, call: (total + sum(call["add"]), {"total": [total]}))
    one, other = {"add": [1, 2]}, {"add": [3]}
    assert check(model, drawn(("A", 1, 4, one, {"total": [3]}), ("B", 2, 3, other, {"total": [0]})))
    assert check(model, drawn(("A", 1, None, one, None), ("B", 2, None, one, None), ("C", 3, 4, other, {"total": [6]})))
    assert not check(model, drawn(("A", 1, None, one, None), ("C", 3, 4, other, {"total": [6]})))


@frozen
class Tagged:
    """A call of which only the model knows all."""

    tag: str = field(eq=False, repr=False)


def test_calls_that_look_alike_and_are_equal_are_still_two() -> None:
    """What the model tells apart, the search does: either may have taken effect alone."""
    model: Model[frozenset[str], Any, Any] = Model(
        init=frozenset(), step=lambda tags, call: (tags | {call.tag}, None) if isinstance(call, Tagged) else (tags, tags)
    )
    one, other = Tagged("one"), Tagged("other")
    assert one == other
    assert repr(one) == repr(other)
    for tags, is_legal in ((set(), True), ({"one"}, True), ({"other"}, True), ({"one", "other"}, True), ({"third"}, False)):
        read = ("C", 3, 4, Read(), frozenset(tags))
        assert bool(check(model, drawn(("A", 1, None, one, None), ("B", 2, None, other, None), read))) is is_legal


def test_a_model_is_not_believed_when_it_says_what_only_reads() -> None:
    """A step that changes something is an error of the model, not a verdict."""
    assert not believed(check)
    liar = evolve(BAG, only_reads=lambda _call, _reply: True)
    with pytest.raises(ModelError, match="only_reads says"):
        check(liar, drawn(("A", 1, 2, Enqueue("x"), None)))


@pytest.mark.parametrize("field", ["step", "partition", "only_reads"])
def test_a_model_is_made_of_functions(field: str) -> None:
    """What can't be called is refused when the model is made."""
    with pytest.raises(TypeError):
        evolve(REGISTER, **{field: 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="inits"):
        NondeterministicModel(inits=[], steps=lambda *_: [])


def test_what_the_model_raises_is_raised() -> None:
    """Nothing is made of it."""
    with pytest.raises(ZeroDivisionError):
        check(Model(init=0, step=lambda value, call: (value // 0, call)), drawn(("A", 1, 2, Write(1), None)))


def test_a_specification_of_a_guard_is_a_model_as_it_stands() -> None:
    """Two clients and a limit of one: each may have come first, and both cannot have been admitted."""
    model = Model(init=rate_limiter.INITIAL, step=rate_limiter.step, partition=lambda call: call.name)
    call = Acquire(name="a", limits=(Limit(limit=1, window_ms=10),), now_ms=100)
    after, admitted = rate_limiter.step(rate_limiter.INITIAL, call)
    _, denied = rate_limiter.step(after, call)
    assert check(model, drawn(("A", 1, 3, call, denied), ("B", 2, 4, call, admitted)))
    assert not check(model, drawn(("A", 1, 3, call, admitted), ("B", 2, 4, call, admitted)))
    assert not check(model, drawn(("A", 1, 2, call, denied), ("B", 3, 4, call, admitted)))


def test_time_that_only_the_reply_tells_is_no_obstacle() -> None:
    """A model may look at the reply to take its step: here a stamp that must not run backward."""

    def stamp(last_ms: int, _call: str, outcome: Any) -> list[int]:
        return [outcome.reply] if isinstance(outcome, Replied) and outcome.reply >= last_ms else []

    model = NondeterministicModel(inits=[0], steps=stamp)
    assert check(model, drawn(("A", 1, 4, "now", 20), ("B", 2, 3, "now", 10)))
    assert not check(model, drawn(("A", 1, 2, "now", 20), ("B", 3, 4, "now", 10)))


# ---------------------------------------------------------------------------------------------- orders

HISTORY = drawn(("A", 1, 3, Write(1), None), ("B", 2, 4, Read(), 1), ("C", 5, 6, Read(), 1), ("D", 7, 8, Write(2), Failed()))
WRITE, READ, LATER, FAILED = operations(HISTORY)
ORDER = (Placed(WRITE, 1), Placed(READ, 1), Placed(LATER, 1))


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        (ORDER, ""),
        (ORDER[:2], "was answered, and is not in it"),
        ((*ORDER, ORDER[2]), "in it twice"),
        ((*ORDER, Placed(FAILED, 1)), "failed, and did not happen"),
        ((*ORDER[:2], Placed(LATER._replace(outcome=Replied(7)), 1)), "none of the history's"),
        ((ORDER[0], ORDER[2], ORDER[1]), "was completed before operation 2 was invoked"),
        ((ORDER[1], ORDER[0], ORDER[2]), "operation 1 does not lead there"),
        ((Placed(WRITE, 2), *ORDER[1:]), "operation 0 does not lead there"),
    ],
)
def test_an_order_can_be_followed(order: tuple[Placed, ...], problem: str) -> None:
    """And every flaw in one is told."""
    assert problem in flaw(REGISTER, HISTORY, order)
    assert bool(problem) == bool(flaw(REGISTER, HISTORY, order))


def test_the_parts_of_a_witness_are_put_together_in_real_time() -> None:
    """One order of all operations, each part's own within it."""
    events: list[Event] = []
    for at in range(0, 400, 4):
        key = "ab"[at % 8 // 4]
        events += [Invocation(at, "A", (key, "x")), Invocation(at + 1, "B", (key, "take"))]
        events += [Completion(at + 2, "A", Replied(None)), Completion(at + 3, "B", Replied("x"))]
    verdict = check(QUEUES, events)
    assert isinstance(verdict, Legal)
    assert not flaw(QUEUES, events, verdict.witness)
    assert [placed.operation.call[0] for placed in verdict.witness[:6]] == ["a", "a", "b", "b", "a", "a"]
