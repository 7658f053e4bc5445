"""Histories whose verdict is known beforehand: from papers, and for what each part of the checker is about."""

from collections.abc import Sequence

from attrs import frozen

from redstep_check.linearizability import AnyModel, Event, Failed, Unknown
from redstep_check.linearizability.examples import (
    EXAMPLES,
    KEY_VALUE_STORE,
    QUEUE,
    REGISTER,
    CompareAndSet,
    Dequeue,
    Enqueue,
    Get,
    Put,
    Read,
    Write,
    drawn,
)

from .drawing import KINDS, Move, Veiled


@frozen
class Known:
    """A history, and its verdict."""

    name: str
    model: AnyModel
    legal: bool
    history: Sequence[Event]


[STRICT] = [each.model for each in KINDS if each.name == "strict"]
X, Y = Enqueue("x"), Enqueue("y")
OUT, READ, LOST = Dequeue(), Read(), Unknown()

PUBLISHED = [
    # Herlihy and Wing, Linearizability, 1990, figure 1: four histories of a queue
    Known(
        "Herlihy and Wing 1a",
        QUEUE,
        True,
        drawn(
            ("A", 1, 5, X, None),
            ("B", 2, 4, Y, None),
            ("B", 6, 8, OUT, "x"),
            ("A", 7, 11, OUT, "y"),
            ("B", 9, 10, Enqueue("z"), None),
        ),
    ),
    Known("Herlihy and Wing 1b", QUEUE, False, drawn(("A", 1, 2, X, None), ("B", 3, 6, Y, None), ("A", 7, 8, OUT, "y"))),
    Known("Herlihy and Wing 1c", QUEUE, True, drawn(("A", 1, 4, X, None), ("B", 2, 3, OUT, "x"))),
    Known(
        "Herlihy and Wing 1d",
        QUEUE,
        False,
        drawn(
            ("A", 1, 3, X, None),
            ("B", 2, 4, Y, None),
            ("A", 5, 7, OUT, "y"),
            ("B", 6, 10, OUT, "y"),
            ("C", 8, 9, OUT, "x"),
        ),
    ),
    # the quiz of MIT's 6.824 in 2017 that Porcupine's tests begin with
    Known("6.824, legal", REGISTER, True, drawn(("0", 0, 100, Write(7), None), ("1", 25, 75, READ, 7), ("2", 30, 60, READ, 0))),
    Known(
        "6.824, illegal", REGISTER, False, drawn(("0", 0, 100, Write(7), None), ("1", 10, 30, READ, 7), ("2", 40, 90, READ, 0))
    ),
    # what Aphyr's articles on Jepsen show of stale reads, and of compare-and-set that both sides of a partition won
    Known(
        "stale read",
        REGISTER,
        False,
        drawn(("A", 1, 2, Write(1), None), ("A", 3, 4, Write(2), None), ("B", 5, 6, READ, 1)),
    ),
    Known(
        "split brain",
        REGISTER,
        False,
        drawn(
            ("A", 1, 2, CompareAndSet(0, 1), True),
            ("B", 3, 4, CompareAndSet(0, 2), True),
        ),
    ),
]

UNKNOWN = [
    Known("took effect at once", REGISTER, True, drawn(("A", 1, 2, Write(1), LOST), ("B", 3, 4, READ, 1))),
    Known("took effect never", REGISTER, True, drawn(("A", 1, 2, Write(1), LOST), ("B", 3, 4, READ, 0), ("B", 9, 10, READ, 0))),
    Known(
        "took effect late, between two reads",
        REGISTER,
        True,
        drawn(("A", 1, 2, Write(1), LOST), ("B", 3, 4, READ, 0), ("A", 5, 6, READ, 0), ("B", 7, 8, READ, 1)),
    ),
    Known(
        "did so though its client never went on", REGISTER, True, drawn(("A", 1, None, Write(1), None), ("B", 3, 4, READ, 1))
    ),
    Known(
        "did so after its client's next call",
        REGISTER,
        True,
        drawn(("A", 1, 2, Write(1), LOST), ("A", 3, 4, Write(2), None), ("B", 5, 6, READ, 2), ("B", 7, 8, READ, 1)),
    ),
    Known(
        "did so twice",
        REGISTER,
        False,
        drawn(("A", 1, 2, Write(1), LOST), ("B", 3, 4, READ, 1), ("B", 5, 6, Write(0), None), ("B", 7, 8, READ, 1)),
    ),
    Known("was undone", REGISTER, False, drawn(("A", 1, 2, Write(1), LOST), ("B", 3, 4, READ, 1), ("B", 5, 6, READ, 0))),
    Known("did so before it began", REGISTER, False, drawn(("B", 1, 2, READ, 1), ("A", 3, 4, Write(1), LOST))),
    Known("is not a failure", REGISTER, False, drawn(("A", 1, 2, Write(1), Failed()), ("B", 3, 4, READ, 1))),
    Known("a failure happened to nobody", REGISTER, True, drawn(("A", 1, 2, Write(1), Failed()), ("B", 3, 4, READ, 0))),
    Known(
        "two of a kind, both needed",
        QUEUE,
        True,
        drawn(("A", 1, 2, X, LOST), ("B", 3, 4, X, LOST), ("C", 5, 6, OUT, "x"), ("C", 7, 8, OUT, "x")),
    ),
    Known(
        "two of a kind, and a third came out",
        QUEUE,
        False,
        drawn(("A", 1, 2, X, LOST), ("B", 3, 4, X, LOST), *(("C", at, at + 1, OUT, "x") for at in (5, 7, 9))),
    ),
    Known(
        "two of a kind, one on each side of a read",
        QUEUE,
        True,
        drawn(
            ("A", 1, 2, X, LOST), ("B", 3, 4, X, LOST), ("C", 5, 6, OUT, "x"), ("C", 7, 8, OUT, None), ("C", 9, 10, OUT, "x")
        ),
    ),
    Known("a lost read", REGISTER, True, drawn(("A", 1, 2, READ, LOST), ("B", 3, 4, READ, 0))),
    Known(
        "equal calls need not be the same",
        STRICT,
        True,
        drawn(("A", 1, 2, Move(True), LOST), ("B", 3, 4, Move(1), LOST), ("C", 5, 6, None, 1)),
    ),
    Known(
        "nor need those that look alike",
        STRICT,
        True,
        drawn(("A", 1, 2, Veiled(0), LOST), ("B", 3, 4, Veiled(2), LOST), ("C", 5, 6, None, 2)),
    ),
]

REAL_TIME = [
    Known("a tie is an overlap", REGISTER, True, drawn(("A", 1, 2, Write(1), None), ("B", 2, 3, READ, 0))),
    Known("one later is not", REGISTER, False, drawn(("A", 1, 2, Write(1), None), ("B", 3, 4, READ, 0))),
    Known(
        "two writes, read in both orders",
        REGISTER,
        False,
        drawn(
            ("A", 1, 9, Write(1), None),
            ("B", 2, 10, Write(2), None),
            *zip("CDCD", (3, 5, 11, 13), (4, 6, 12, 14), [READ] * 4, (1, 2, 1, 2), strict=True),
        ),
    ),
    Known(
        "the keys of a store are apart",
        KEY_VALUE_STORE,
        True,
        drawn(
            ("A", 1, 4, Put("x", "1"), None),
            ("B", 2, 3, Put("y", "1"), None),
            ("C", 5, 6, Get("x"), "1"),
            ("C", 7, 8, Get("y"), "1"),
        ),
    ),
    Known(
        "one of the keys is stale",
        KEY_VALUE_STORE,
        False,
        drawn(
            ("A", 1, 4, Put("x", "1"), None),
            ("B", 2, 3, Put("y", "1"), None),
            ("C", 5, 6, Get("x"), "1"),
            ("C", 7, 8, Get("y"), None),
        ),
    ),
]

OF_EXAMPLES = [
    Known(f"{each.name}, {'legal' if legal else 'illegal'}", each.model, legal, each.legal if legal else each.illegal)
    for each in EXAMPLES
    for legal in (True, False)
]

KNOWN = [*PUBLISHED, *UNKNOWN, *REAL_TIME, *OF_EXAMPLES]
