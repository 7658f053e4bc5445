"""
Simpler variants of a story of several clients, and the one with the fewest switches between them.

A client's moves belong together: what it begins is left out with all that becomes of it. Then faults are taken away, replies
are no longer held, operations become what others are, clients are made one, and the clock stands still.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from attrs import evolve

from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Settles
from redstep_check.interleavings.session import START_MS
from redstep_check.lockstep import Mismatch

Move = Any
Moves = tuple[Any, ...]
Play = Callable[[Moves], Mismatch | None]


def simpler(moves: Moves) -> Iterator[Moves]:
    """Offer variants."""
    for place, move in enumerate(moves):
        if isinstance(move, Begins):
            yield without_operation(moves, place)
    for client in sorted({move.client for move in moves if isinstance(move, Begins | Goes)}):
        yield tuple(move for move in moves if isinstance(move, Arrives | Settles) or move.client != client)
    for place, move in enumerate(moves):
        if isinstance(move, Goes) and move.fate is not Fate.DELIVERED:
            yield (*moves[:place], evolve(move, fate=Fate.DELIVERED), *moves[place + 1 :])
        if isinstance(move, Goes) and move.fate is Fate.HELD:
            yield _not_held(moves, place)
    yield from _settled(moves)
    yield from _like_others(moves)
    yield from _renumbered(moves)
    yield from _sooner(moves)


def without_operation(moves: Moves, place: int) -> Moves:
    """Leave out what a client begins at this place, and all that becomes of it."""
    client = moves[place].client
    end = next(
        (at for at in range(place + 1, len(moves)) if isinstance(moves[at], Begins) and moves[at].client == client), len(moves)
    )
    gone = {place, *(at for at in range(place, end) if isinstance(moves[at], Goes) and moves[at].client == client)}
    return tuple(move for at, move in enumerate(moves) if at not in gone)


def _not_held(moves: Moves, place: int) -> Moves:
    """Deliver at once, and leave the delivery out."""
    client = moves[place].client
    later = [at for at in range(place + 1, len(moves)) if isinstance(moves[at], Goes) and moves[at].client == client]
    kept = [move for at, move in enumerate(moves) if at not in later[:1]]
    kept[place] = evolve(kept[place], fate=Fate.DELIVERED)
    return tuple(kept)


def _settled(moves: Moves) -> Iterator[Moves]:
    """What is left to be done is done in turn; what was to begin later begins, or does not."""
    for place in range(len(moves)):
        settles = Settles(moves[-1].now_ms)
        begins = tuple(move for move in moves[place:] if isinstance(move, Begins))
        yield (*moves[:place], settles)
        yield (*moves[:place], *(evolve(move, now_ms=settles.now_ms) for move in begins), settles)


def _like_others(moves: Moves) -> Iterator[Moves]:
    operations = list(dict.fromkeys(move.operation for move in moves if isinstance(move, Begins)))
    for operation in operations:
        yield tuple(evolve(move, operation=operation) if isinstance(move, Begins) else move for move in moves)
    for place, move in enumerate(moves):
        if isinstance(move, Begins):
            for operation in operations:
                yield (*moves[:place], evolve(move, operation=operation), *moves[place + 1 :])


def _renumbered(moves: Moves) -> Iterator[Moves]:
    """Clients in the order in which they begin; two made one."""
    clients = list(dict.fromkeys(move.client for move in moves if isinstance(move, Begins | Goes)))
    yield tuple(evolve(move, client=clients.index(move.client)) if isinstance(move, Begins | Goes) else move for move in moves)
    for one, other in pairwise(clients):
        yield tuple(
            evolve(move, client=one) if isinstance(move, Begins | Goes) and move.client == other else move for move in moves
        )


def _sooner(moves: Moves) -> Iterator[Moves]:
    """No time passes; or one step of the clock is shorter, and all that follows comes sooner."""
    if not moves:
        return
    yield tuple(evolve(move, now_ms=START_MS) for move in moves)
    times = [START_MS, *(move.now_ms for move in moves)]
    for place, (earlier, later) in enumerate(pairwise(times)):
        step_ms = later - earlier
        for less_ms in sorted({0, 1, step_ms // 2, step_ms - 1}):
            if 0 <= less_ms < step_ms:
                by_ms = step_ms - less_ms
                yield (*moves[:place], *(evolve(move, now_ms=move.now_ms - by_ms) for move in moves[place:]))


# ---------------------------------------------------------------------------------------------- switches


def switches(moves: Sequence[Move]) -> int:
    """How often another client goes on than before."""
    clients = [getattr(move, "client", None) for move in moves]
    return sum(one != other for one, other in pairwise(clients))


def unswitched(mismatch: Mismatch, play: Play) -> Mismatch:
    """Reorder the moves of a shortest story, so that clients take turns as seldom as possible."""
    best = mismatch
    while True:
        moves = tuple(told.move for told in best.story)
        for candidate in _reordered(moves):
            found = play(candidate) if switches(candidate) < switches(moves) else None
            if found is not None and len(found.story) == len(moves) and found.rule == best.rule:
                best = found
                break
        else:
            return best


def _reordered(moves: Moves) -> Iterator[Moves]:
    """One move goes elsewhere; times stay in their places."""
    for start in range(len(moves)):
        for end in range(len(moves)):
            if start != end:
                others = [*moves[:start], *moves[start + 1 :]]
                others.insert(end, moves[start])
                yield tuple(evolve(move, now_ms=at.now_ms) for move, at in zip(others, moves, strict=True))
