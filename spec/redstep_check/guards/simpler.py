"""What the simpler variants of all guards' stories have in common: smaller numbers, and earlier times."""

from collections.abc import Iterator
from typing import Any

from attrs import evolve

Moves = tuple[Any, ...]
FEW = (1, 2, 3, 5, 10)


def smaller(number: int) -> Iterator[int]:
    """Offer numbers below this one, from 1 on."""
    yield from (less for less in (*FEW, number // 2, number * 3 // 4, number - 1) if 0 < less < number)


def sooner(moves: Moves, start_ms: int) -> Iterator[Moves]:
    """Begin at the beginning; shorten one step of the clock, and what follows comes sooner or is as late as before."""
    yield tuple(moved(move, start_ms - moves[0].now_ms) for move in moves)
    for place in range(1, len(moves)):
        step_ms = moves[place].now_ms - moves[place - 1].now_ms
        for less_ms in {step_ms, step_ms // 2, 1 if step_ms > 0 else -1} - {0}:
            if abs(step_ms - less_ms) < abs(step_ms):
                yield (*moves[:place], *(moved(move, -less_ms) for move in moves[place:]))
                yield (*moves[:place], moved(moves[place], -less_ms), *moves[place + 1 :])


def moved(move: Any, by_ms: int) -> Any:
    """The same move at another time, which its call has if it makes one."""
    if hasattr(move, "call"):
        return evolve(move, call=evolve(move.call, now_ms=move.call.now_ms + by_ms))
    return evolve(move, now_ms=move.now_ms + by_ms)
