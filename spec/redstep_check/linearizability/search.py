"""
Search: the algorithm of Wing and Gong, with Lowe's memory of where it has been.

At each point of a history there is an operation that is *due*: of all that are not placed yet, the one that was completed
first. The candidates are those that were invoked before its completion. Place one of them, and step the model; when the due
one is placed, the next completion is due. If no candidate fits, go back and try another.

A configuration is what is due, which of the candidates are placed, and the state. Two orders that lead to the same one have
the same future, so each is visited once (Lowe, *Testing for linearizability*, 2017; Wing and Gong, 1993).

Lowe keeps a linked list of all events, from which what is placed is lifted and put back. Here each operation has a bit only
from its invocation to its completion; what is not due yet has none, what is no longer due needs none. So a set of placed
operations is an integer of as many bits as operations ever overlapped, not as there are operations in the history, and
nothing has to be put back.

Three things are left out, because whatever they lead to is found without them:

- an operation of unknown outcome that changes nothing is not placed: it may as well never have taken effect;
- of two of them that make the same call, the later is not placed before the earlier: it is the same with the two exchanged;
- where an operation that only reads fits, nothing else is tried: it takes nothing from the rest.
"""

from collections.abc import Generator, Iterator

from attrs import frozen

from redstep_check.linearizability.points import Candidate, Points
from redstep_check.linearizability.stepping import Stepper

Order = tuple[tuple[int, int], ...]
"""Indices of operations, and the numbers of the states after them."""


@frozen
class Found:
    """An order of all that was answered."""

    order: Order
    steps: int


@frozen
class Blocked:
    """There is none: all that was completed before the operation `stuck` can be placed, and not that one, too."""

    stuck: int
    prefix: Order
    steps: int


Path = tuple["Path", Iterator[Candidate], int, int, int, int] | None
"""
Where the search came from: the path before that; and of the configuration it was in what is untried, its point, what is
placed, its state; and what was placed next. Paths share what they have in common.
"""


def search(points: Points, stepper: Stepper) -> Generator[int, int, Found | Blocked]:
    """
    Search for an order of the operations of which these are the points; at least one of them was answered.

    Send how many steps to go before the next pause, and get how many it has gone. A step is one operation placed, in a
    configuration that is new.
    """
    due, candidates, step, is_read = points.due_bits, points.candidates, stepper.step(), stepper.is_read
    visited: list[set[int]] = [set() for _ in due]
    path: Path = None
    at, placed, state, untried = 0, 0, stepper.initial(), iter(candidates[0])
    furthest, most, longest = -1, 0, (path, state)
    steps = 0
    pause = yield steps
    while True:
        for index, bit, both, twin, known in untried:
            if placed & both != twin:
                continue
            after = known.get(state)
            if after is None:
                after = known[state] = step(index, state)
            if after < 0:
                continue
            if after == state and is_read[index]:
                for _ in untried:
                    pass
            now, then = placed | bit, at
            if bit == due[at]:
                while now & due[then]:
                    now ^= due[then]
                    then += 1
                    if then == len(due):
                        return Found((*_order(path, state), (index, after)), steps + 1)
            if (after | now) in visited[then]:
                continue
            visited[then].add(after | now)
            path = (path, untried, at, placed, state, index)
            at, placed, state, untried = then, now, after, iter(candidates[then])
            steps += 1
            if steps == pause:
                pause += yield steps
            break
        else:
            if at > furthest or (at == furthest and placed.bit_count() > most):
                furthest, most, longest = at, placed.bit_count(), (path, state)
            if path is None:
                return Blocked(points.due[furthest], _order(*longest), steps)
            path, untried, at, placed, state, _ = path


def _order(path: Path, state: int) -> Order:
    """What was placed on a path that led to a state, the first first."""
    order = []
    while path is not None:
        order.append((path[-1], state))
        path, _, _, _, state, _ = path
    return tuple(reversed(order))
