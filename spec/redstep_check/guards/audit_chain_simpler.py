"""Simpler variants of an audit chain's story."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs

from redstep_check.guards.audit_chain import Asked, Linked, Move, Verified, Wrote
from redstep_spec import audit_chain as store
from redstep_spec.audit_chain_writer import CONFLICTS_MAX, Entry, Mode, Write

Moves = tuple[Move, ...]
Change = Callable[[Move], Move]
PLAIN = "1"
"""The simplest event."""


def simpler(moves: Moves) -> Iterator[Moves]:
    """Offer variants: fewer appends before a seal, then the same change everywhere, then at one move only."""
    yield from _fewer_appends(moves)
    for change in CHANGES:
        yield tuple(change(move) for move in moves)
    for place, move in enumerate(moves):
        for change in (*CHANGES, *_smaller(move)):
            yield (*moves[:place], change(move), *moves[place + 1 :])


def _fewer_appends(moves: Moves) -> Iterator[Moves]:
    """Leave out moves, in ever smaller runs; what follows speaks of a chain with as many records less."""
    size = len(moves) // 2
    while size:
        for start in reversed(range(0, len(moves) - size + 1, max(1, size // 2))):
            yield (*moves[:start], *(_earlier(later, size) for later in moves[start + size :]))
        size //= 2


def _earlier(move: Move, records: int) -> Move:
    """The same, in a chain with so many records less."""
    if isinstance(move, Verified) and move.size:
        return attrs.evolve(move, size=max(0, move.size - records))
    if isinstance(move, Asked) and isinstance(move.call, store.Seal) and move.call.upto_seq:
        return attrs.evolve(move, call=attrs.evolve(move.call, upto_seq=max(0, move.call.upto_seq - records)))
    return move


def _renamed(move: Move) -> Move:
    if isinstance(move, Wrote):
        return attrs.evolve(move, call=attrs.evolve(move.call, name="a"))
    if isinstance(move, Asked):
        call: store.Read | store.Seal = attrs.evolve(move.call, name="a")
        return attrs.evolve(move, call=call)
    return attrs.evolve(move, name="a")


def _on_writes(**changes: object) -> Change:
    def change(move: Move) -> Move:
        return attrs.evolve(move, **changes) if isinstance(move, Wrote) else move  # type: ignore[arg-type]

    return change


def _on_calls(changed: Callable[[Write], Write]) -> Change:
    def change(move: Move) -> Move:
        return attrs.evolve(move, call=changed(move.call)) if isinstance(move, Wrote) else move

    return change


def _plain_events(move: Move) -> Move:
    if isinstance(move, Linked):
        return attrs.evolve(move, entries=tuple(map(_plain, move.entries)))
    if isinstance(move, Wrote):
        rivals = tuple(rival and _plain(rival) for rival in move.call.rivals)
        return attrs.evolve(move, call=attrs.evolve(move.call, entries=tuple(map(_plain, move.call.entries)), rivals=rivals))
    return move


def _plain(entry: Entry) -> Entry:
    return attrs.evolve(entry, event=PLAIN)


def _fewer_fates(move: Move) -> Move:
    return attrs.evolve(move, fates=move.fates[:-1]) if isinstance(move, Wrote) else move


def _fewer_entries(kept: slice, move: Move) -> Move:
    if isinstance(move, Linked):
        return attrs.evolve(move, entries=move.entries[kept] or move.entries)
    if isinstance(move, Wrote):
        return attrs.evolve(move, call=attrs.evolve(move.call, entries=move.call.entries[kept] or move.call.entries))
    return move


def _at_the_end(move: Move) -> Move:
    return attrs.evolve(move, back=0, rightly=True) if isinstance(move, Linked) else move


def _plain_verification(move: Move) -> Move:
    return Verified(move.name) if isinstance(move, Verified) else move


CHANGES: tuple[Change, ...] = (
    _renamed,
    _on_writes(fates=()),
    _fewer_fates,
    _on_writes(writer="w1"),
    _on_writes(as_text=True),
    _plain_events,
    _on_calls(lambda call: attrs.evolve(call, rivals=())),
    _on_calls(lambda call: attrs.evolve(call, rivals=call.rivals[:-1])),
    _on_calls(lambda call: attrs.evolve(call, rivals=call.rivals[1:])),
    _on_calls(lambda call: attrs.evolve(call, resends=None)),
    _on_calls(lambda call: attrs.evolve(call, conflicts=CONFLICTS_MAX)),
    _on_calls(lambda call: attrs.evolve(call, mode=Mode.CAS, entries=call.entries[:1])),
    partial(_fewer_entries, slice(1)),
    partial(_fewer_entries, slice(1, None)),
    _at_the_end,
    _plain_verification,
)


def _smaller(move: Move) -> Iterator[Change]:
    """Smaller numbers in one move."""
    target: Any = move.call if isinstance(move, Asked) else move
    names = ("upto_seq", "keep", "from_seq", "count", "size", "ago", "place", "back")
    for name in names:
        number = getattr(target, name, None)
        if type(number) is not int:
            continue
        for less in sorted({0, 1, number // 2, number - 1}):
            if 0 <= less < abs(number):
                yield partial(_with_number, name, less)


def _with_number(name: str, number: int, move: Move) -> Move:
    changes: dict[str, Any] = {name: number}
    if isinstance(move, Asked):
        call: store.Read | store.Seal = attrs.evolve(move.call, **changes)
        return attrs.evolve(move, call=call)
    return attrs.evolve(move, **changes)
