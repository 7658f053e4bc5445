"""
Shrinking: from a story that shows a difference to the shortest one that does.

Moves carry their own time and arguments, so any of them can be left out or made simpler without a meaning to repair. First
moves are left out, in ever smaller runs; then moves become what their neighbours are; then each guard offers simpler variants
of the whole; all again until nothing helps.
Stories are ordered by the number of calls and clock moves, then by how many different moves there are, then by the length of
their text, then by the text.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from redstep_check.lockstep import Mismatch
from redstep_check.stories import encoded

Moves = tuple[Any, ...]
Play = Callable[[Moves], Mismatch | None]
Simpler = Callable[[Moves], Iterator[Moves]]

PLAYS_MAX = 3_000
"""How many stories are tried at most."""


def length(moves: Sequence[Any]) -> int:
    """Calls and clock moves."""
    clock_moves = [earlier for earlier, later in pairwise(moves) if earlier.now_ms != later.now_ms]
    return len(moves) + len(clock_moves)


def weight(moves: Moves) -> tuple[int, int, int, str]:
    """What is made as small as possible."""
    texts = [json.dumps(_pruned(encoded(move))) for move in moves]
    text = "\n".join(texts)
    return (length(moves), len(set(texts)), len(text), text)


def shortest(mismatch: Mismatch, play: Play, simpler: Simpler) -> Mismatch | None:
    """Find the shortest story; None if not even the story as it is shows a difference again."""
    best = play(_moves(mismatch))
    plays_left = PLAYS_MAX
    while best is not None and plays_left > 0:
        current = _moves(best)
        for candidate in _variants(current, simpler):
            if weight(candidate) >= weight(current):
                continue
            plays_left -= 1
            if (found := play(candidate)) is not None:
                best = found
                break
            if plays_left <= 0:
                break
        else:
            break
    return best


def _moves(mismatch: Mismatch) -> Moves:
    return tuple(told.move for told in mismatch.story)


def _variants(moves: Moves, simpler: Simpler) -> Iterator[Moves]:
    size = len(moves) // 2
    while size:
        for start in reversed(range(0, len(moves) - size + 1, max(1, size // 2))):
            yield moves[:start] + moves[start + size :]
        size //= 2
    for place in range(1, len(moves)):
        yield (*moves[:place], moves[place - 1], *moves[place + 1 :])
        yield (*moves[: place - 1], moves[place], *moves[place:])
    yield from simpler(moves)


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _pruned(each) for name, each in value.items() if each not in (None, [])}
    return [_pruned(each) for each in value] if isinstance(value, list) else value
