"""
Examples: six objects, each with a history that it may have left behind and one that it cannot have.

    register               reads and writes of one value
    compare-and-set        and a write that only happens where a certain value stands
    key-value store        one register a key; its parts are checked one by one
    queue                  first in, first out
    set                    add, remove, contains
    bag                    first in, any out: nondeterministic, for which one is taken is not said

They are to be copied from. `examples.EXAMPLES` has them all; `check(each.model, each.legal)` is Legal, and
`check(each.model, each.illegal)` is Illegal.
"""

from collections.abc import Hashable
from typing import Any

from attrs import frozen

from redstep_check.linearizability.histories import Completion, Event, History, Invocation
from redstep_check.linearizability.models import AnyModel, Model, NondeterministicModel
from redstep_spec.delivery import Failed, Outcome, Replied, Unknown

# ---------------------------------------------------------------------------------------------- register


@frozen
class Read:
    """The value of a register."""


@frozen
class Write:
    """Put a value into a register."""

    value: int


@frozen
class CompareAndSet:
    """Put a value into a register if another stands there; the reply says whether it did."""

    old: int
    new: int


def register(value: int, call: Read | Write | CompareAndSet) -> tuple[int, int | bool | None]:
    """Take a step of a register that begins with 0."""
    match call:
        case Read():
            return value, value
        case Write(new):
            return new, None
        case CompareAndSet(old, new):
            return (new, True) if value == old else (value, False)


def register_only_reads(call: Read | Write | CompareAndSet, reply: int | bool | None) -> bool:
    """A read leaves it alone, and so does a compare-and-set that failed."""
    return isinstance(call, Read) or (isinstance(call, CompareAndSet) and reply is False)


REGISTER = Model(init=0, step=register, only_reads=register_only_reads)

# ---------------------------------------------------------------------------------------------- key-value store


@frozen
class Get:
    """The value under a key, or None."""

    key: str


@frozen
class Put:
    """Put a value under a key; the reply is what stood there."""

    key: str
    value: str


def key_value(value: str | None, call: Get | Put) -> tuple[str | None, str | None]:
    """Take a step of one key: what happens under the others is no concern of it."""
    return (value if isinstance(call, Get) else call.value), value


KEY_VALUE_STORE = Model(
    init=None,
    step=key_value,
    partition=lambda call: call.key,
    only_reads=lambda call, _reply: isinstance(call, Get),
)

# ---------------------------------------------------------------------------------------------- queue and bag


@frozen
class Enqueue:
    """Put a value at the end."""

    value: str


@frozen
class Dequeue:
    """Take the value at the front, or None if there is none."""


def queue(values: tuple[str, ...], call: Enqueue | Dequeue) -> tuple[tuple[str, ...], str | None]:
    """Take a step of a queue."""
    if isinstance(call, Enqueue):
        return (*values, call.value), None
    return (values[1:], values[0]) if values else (values, None)


EMPTY: tuple[str, ...] = ()
QUEUE = Model(init=EMPTY, step=queue, only_reads=lambda call, reply: isinstance(call, Dequeue) and reply is None)


def bag(values: tuple[str, ...], call: Enqueue | Dequeue, outcome: Outcome[str | None]) -> list[tuple[str, ...]]:
    """All that a bag may be after a call; its values are sorted, so that equal bags are equal."""
    if isinstance(call, Enqueue):
        ways: list[tuple[tuple[str, ...], str | None]] = [(tuple(sorted((*values, call.value))), None)]
    elif values:
        ways = [(values[:at] + values[at + 1 :], value) for at, value in enumerate(values)]
    else:
        ways = [(values, None)]
    return [after for after, reply in ways if outcome in (Replied(reply), Unknown())]


BAG = NondeterministicModel(inits=[EMPTY], steps=bag)

# ---------------------------------------------------------------------------------------------- set


@frozen
class Add:
    """Put a value into a set; the reply says whether it was new."""

    value: str


@frozen
class Remove:
    """Take a value out of a set; the reply says whether it was there."""

    value: str


@frozen
class Contains:
    """Whether a value is in a set."""

    value: str


def membership(values: frozenset[str], call: Add | Remove | Contains) -> tuple[frozenset[str], bool]:
    """Take a step of a set. Its values know nothing of one another, so that each could be a part of its own, too."""
    there = call.value in values
    match call:
        case Add(value):
            return values | {value}, not there
        case Remove(value):
            return values - {value}, there
        case Contains():
            return values, there


SET = Model(
    init=frozenset[str](),
    step=membership,
    only_reads=lambda call, reply: isinstance(call, Contains) or not reply,
)

# ---------------------------------------------------------------------------------------------- histories


def drawn(*rows: tuple[Hashable, int, int | None, Any, Any]) -> History:
    """A history of rows: client, invoked at, completed at (or None), call, and a reply, or Failed or Unknown."""
    events: list[Event] = []
    for client, invoked_at, completed_at, call, reply in rows:
        events.append(Invocation(invoked_at, client, call))
        if completed_at is not None:
            outcome = reply if isinstance(reply, (Failed, Unknown)) else Replied(reply)
            events.append(Completion(completed_at, client, outcome))
    return sorted(events, key=lambda each: each.at)


@frozen
class Example:
    """An object, and two histories; why the one is legal and the other not stands above each."""

    name: str
    model: AnyModel
    legal: History
    illegal: History


EXAMPLES = (
    Example(
        "register",
        REGISTER,
        # B and C both overlap the write, and B may have read before it, though it answered last.
        drawn(("A", 1, 6, Write(1), None), ("B", 2, 5, Read(), 0), ("C", 3, 4, Read(), 1)),
        # When C begins, the write has been seen: it can't be unseen.
        drawn(("A", 1, 6, Write(1), None), ("B", 2, 3, Read(), 1), ("C", 4, 5, Read(), 0)),
    ),
    Example(
        "compare-and-set",
        REGISTER,
        # A heard nothing of its write, but B's success shows that it took effect.
        drawn(
            ("A", 1, 2, Write(1), Unknown()), ("B", 3, 6, CompareAndSet(1, 2), True), ("C", 4, 5, CompareAndSet(0, 3), False)
        ),
        # Both swapped the same value: one of them must have failed.
        drawn(("A", 1, 3, CompareAndSet(0, 1), True), ("B", 2, 4, CompareAndSet(0, 2), True)),
    ),
    Example(
        "key-value store",
        KEY_VALUE_STORE,
        # The keys are independent: what B sees of x says nothing about y.
        drawn(
            ("A", 1, 4, Put("x", "1"), None),
            ("B", 2, 3, Get("x"), "1"),
            ("B", 5, 6, Get("y"), None),
            ("C", 7, 8, Put("y", "2"), None),
        ),
        # Both puts say that nothing stood there before.
        drawn(("A", 1, 3, Put("x", "1"), None), ("B", 2, 4, Put("x", "2"), None), ("C", 5, 6, Put("y", "3"), None)),
    ),
    Example(
        "queue",
        QUEUE,
        # The enqueues overlap: y may have been first.
        drawn(
            ("A", 1, 3, Enqueue("x"), None),
            ("B", 2, 4, Enqueue("y"), None),
            ("A", 5, 6, Dequeue(), "y"),
            ("B", 7, 8, Dequeue(), "x"),
        ),
        # x was in the queue before y was on its way, and y came out first.
        drawn(
            ("A", 1, 2, Enqueue("x"), None),
            ("B", 3, 4, Enqueue("y"), None),
            ("A", 5, 6, Dequeue(), "y"),
            ("B", 7, 8, Dequeue(), "x"),
        ),
    ),
    Example(
        "set",
        SET,
        # The removal fits between the two adds.
        drawn(("A", 1, 2, Add("x"), True), ("A", 4, 5, Add("x"), True), ("B", 3, 6, Remove("x"), True)),
        # Both removals found x, which was added once.
        drawn(("A", 1, 2, Add("x"), True), ("A", 3, 5, Remove("x"), True), ("B", 4, 6, Remove("x"), True)),
    ),
    Example(
        "bag",
        BAG,
        # y may come out first.
        drawn(("A", 1, 2, Enqueue("x"), None), ("A", 3, 4, Enqueue("y"), None), ("B", 5, 6, Dequeue(), "y")),
        # What is in a bag does not come out twice.
        drawn(("A", 1, 2, Enqueue("x"), None), ("B", 3, 5, Dequeue(), "x"), ("C", 4, 6, Dequeue(), "x")),
    ),
)
