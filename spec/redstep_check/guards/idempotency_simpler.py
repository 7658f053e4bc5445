"""Simpler variants of an idempotency store's story."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from redstep_check.guards.idempotency import START_MS, Called, Move, Removed
from redstep_spec import idempotency as spec

Moves = tuple[Move, ...]
Change = Callable[[Move], Move]

PLAIN = spec.Scope("t", "o", "k")
NUMBERS = ("lease_ms", "retention_ms")


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
    yield lambda move: attrs.evolve(move, fates=()) if isinstance(move, Called) else move
    yield lambda move: attrs.evolve(move, fates=move.fates[:-1]) if isinstance(move, Called) else move
    yield _in_the_plain_scope
    for name, plain in (("token", "x"), ("token", "y"), ("fingerprint", "f"), ("fingerprint", "g"), ("response", b"r")):
        yield _replaced(name, None, plain)
    for token in sorted({call.token for call in calls if isinstance(call.token, str)}):
        yield _replaced("token", token, "x")
        yield _replaced("token", token, "y")
    for response in sorted({call.response for call in calls if isinstance(call, spec.Complete) and _is_bytes(call.response)}):
        for shorter in {b"", b"r", response[: len(response) // 2], response[:-1]} - {response}:
            yield _replaced("response", response, shorter)
    for name in NUMBERS:
        for number in sorted({value for call in calls if type(value := getattr(call, name, None)) is int}):
            for less in _smaller(number):
                yield _replaced(name, number, less)


def _is_bytes(value: object) -> bool:
    return type(value) is bytes


def _in_the_plain_scope(move: Move) -> Move:
    if isinstance(move, Removed):
        return attrs.evolve(move, scope=PLAIN)
    return attrs.evolve(move, call=attrs.evolve(move.call, scope=PLAIN))


def _replaced(name: str, old: object, new: Any) -> Change:
    """Replace an argument wherever it has the old value; None stands for any."""

    def change(move: Move) -> Move:
        if not isinstance(move, Called) or not hasattr(move.call, name):
            return move
        if old is not None and getattr(move.call, name) != old:
            return move
        return attrs.evolve(move, call=attrs.evolve(move.call, **{name: new}))

    return change


def _smaller(number: int) -> Iterator[int]:
    yield from (less for less in (1, 2, 3, 10, number // 2, number * 3 // 4, number - 1) if 0 < less < number)


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
