"""Simpler variants of an idempotency store's story."""

from collections.abc import Callable, Iterator
from typing import Any

import attrs

from redstep_check.guards.idempotency import START_MS, Called, Move, Removed
from redstep_check.guards.simpler import smaller, sooner
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
    yield from sooner(moves, START_MS)


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
            for less in smaller(number):
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
