"""Simpler variants of a rate limiter's story."""

from collections.abc import Callable, Iterator
from functools import partial

import attrs

from redstep_check.guards.rate_limiter import START_MS, Called, Move, Removed
from redstep_spec import rate_limiter as spec

Moves = tuple[Move, ...]
Limits = tuple[spec.Limit, ...]
Change = Callable[[Move], Move]


def simpler(moves: Moves) -> Iterator[Moves]:
    """Offer variants: the same change everywhere first, then at one move only, then other times."""
    for change in _changes(moves):
        yield tuple(change(move) for move in moves)
    for place, move in enumerate(moves):
        for change in _changes((move,)):
            yield (*moves[:place], change(move), *moves[place + 1 :])
    yield from _sooner(moves)


def _changes(moves: Moves) -> Iterator[Change]:
    calls = [move.call for move in moves if isinstance(move, Called)]
    acquires = [call for call in calls if isinstance(call, spec.Acquire)]
    limits = {limit for call in calls for limit in call.limits}
    yield lambda move: attrs.evolve(move, fates=()) if isinstance(move, Called) else move
    yield lambda move: attrs.evolve(move, fates=move.fates[:-1]) if isinstance(move, Called) else move
    yield _on_acquires(region=None)
    yield _on_acquires(request_id=None)
    yield _renamed
    yield _on_limits(lambda limits: limits[:1])
    yield _on_limits(lambda limits: limits[1:] or limits)
    for cost in sorted({call.cost for call in acquires if type(call.cost) is int}):
        for less in _smaller(cost):
            yield _on_acquires(cost=less, only=("cost", cost))
    for name in ("limit", "window_ms"):
        for number in sorted({getattr(limit, name) for limit in limits if type(getattr(limit, name)) is int}):
            for less in _smaller(number):
                yield _on_limits(partial(_replaced, name, number, less))
    for region in {call.region for call in acquires if call.region}:
        for cold_ms in _smaller(region.cold_ms):
            yield _on_acquires(region=attrs.evolve(region, cold_ms=cold_ms), only=("region", region))
        yield _on_acquires(region=attrs.evolve(region, percent=50), only=("region", region))


def _on_acquires(*, only: tuple[str, object] | None = None, **changes: object) -> Change:
    def change(move: Move) -> Move:
        if not isinstance(move, Called) or not isinstance(move.call, spec.Acquire):
            return move
        if only and getattr(move.call, only[0]) != only[1]:
            return move
        return attrs.evolve(move, call=attrs.evolve(move.call, **changes))  # type: ignore[arg-type]

    return change


def _on_limits(replace: Callable[[Limits], Limits]) -> Change:
    def change(move: Move) -> Move:
        if isinstance(move, Removed):
            return move
        return attrs.evolve(move, call=attrs.evolve(move.call, limits=replace(move.call.limits)))

    return change


def _replaced(name: str, number: int, less: int, limits: Limits) -> Limits:
    return tuple(attrs.evolve(each, **{name: less}) if getattr(each, name) == number else each for each in limits)


def _renamed(move: Move) -> Move:
    if isinstance(move, Removed):
        return attrs.evolve(move, name="a")
    return attrs.evolve(move, call=attrs.evolve(move.call, name="a"))


def _smaller(number: int) -> Iterator[int]:
    yield from (less for less in (1, 2, 3, number // 2, number * 3 // 4, number - 1) if 0 < less < number)


def _sooner(moves: Moves) -> Iterator[Moves]:
    """Begin at the beginning; shorten one step of the clock, and what follows comes sooner or is as late as before."""
    yield tuple(_moved(move, START_MS - moves[0].now_ms) for move in moves)
    for place in range(1, len(moves)):
        step_ms = moves[place].now_ms - moves[place - 1].now_ms
        for less_ms in {step_ms, step_ms // 2, 1 if step_ms > 0 else -1} - {0}:
            if abs(step_ms - less_ms) < abs(step_ms):
                yield (*moves[:place], *(_moved(move, -less_ms) for move in moves[place:]))
                yield (*moves[:place], _moved(moves[place], -less_ms), *moves[place + 1 :])


def _moved(move: Move, by_ms: int) -> Move:
    if isinstance(move, Removed):
        return attrs.evolve(move, now_ms=move.now_ms + by_ms)
    return attrs.evolve(move, call=attrs.evolve(move.call, now_ms=move.call.now_ms + by_ms))
