"""Simpler variants of a rate limiter's story."""

from collections.abc import Callable, Iterator
from functools import partial

import attrs

from redstep_check.guards.rate_limiter import START_MS, Called, Move, Removed
from redstep_check.guards.simpler import smaller, sooner
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
    yield from sooner(moves, START_MS)


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
        for less in smaller(cost):
            yield _on_acquires(cost=less, only=("cost", cost))
    for name in ("limit", "window_ms"):
        for number in sorted({getattr(limit, name) for limit in limits if type(getattr(limit, name)) is int}):
            for less in smaller(number):
                yield _on_limits(partial(_replaced, name, number, less))
    for region in {call.region for call in acquires if call.region}:
        for cold_ms in smaller(region.cold_ms):
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
