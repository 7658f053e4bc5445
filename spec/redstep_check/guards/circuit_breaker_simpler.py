"""Simpler variants of a circuit breaker's story."""

from collections.abc import Callable, Iterator
from functools import partial

from attrs import astuple, evolve

from redstep_check.guards.circuit_breaker import START_MS, Called, Move, Reported
from redstep_check.guards.simpler import smaller, sooner
from redstep_spec import circuit_breaker as spec

Moves = tuple[Move, ...]
Change = Callable[[Move], Move]


def simpler(moves: Moves) -> Iterator[Moves]:
    """Offer variants: another policy throughout, the same change everywhere, then at one move only, then other times."""
    for policy in dict.fromkeys(_policy(move) for move in moves):
        yield tuple(_under(policy, move) for move in moves)
    for change in (*_lessenings(moves), *CHANGES):
        yield tuple(change(move) for move in moves)
    for place, move in enumerate(moves):
        for change in CHANGES:
            yield (*moves[:place], change(move), *moves[place + 1 :])
    yield _renumbered(moves)
    yield from sooner(moves, START_MS)


def _lessenings(moves: Moves) -> Iterator[Change]:
    """A policy is changed wherever it is in force, so that a story is of one policy if it can be."""
    policies = {_policy(move) for move in moves}
    for name in ("failure_threshold", "success_threshold", "open_ms"):
        for number in sorted({getattr(policy, name) for policy in policies if type(getattr(policy, name)) is int}):
            for less in smaller(number):
                yield partial(_lessened, name, number, less)


def _policy(move: Move) -> spec.Policy:
    return move.call.policy if isinstance(move, Called) else move.policy


def _renamed(move: Move) -> Move:
    if isinstance(move, Called):
        return evolve(move, call=evolve(move.call, name="a"))
    return move if isinstance(move, Reported) else evolve(move, name="a")


def _plainly_drawn(move: Move) -> Move:
    """It opens for T, neither more nor less."""
    return _with_policy(move, _policy(move), lambda _: _policy(move).open_ms)


def _lessened(name: str, number: int, less: int, move: Move) -> Move:
    """One number of the policy is smaller."""
    old = _policy(move)
    return _under(evolve(old, **{name: less}), move) if getattr(old, name) == number else move


def _under(new: spec.Policy, move: Move) -> Move:
    """Another policy; what was drawn is as far from T as it was, if that is in range."""
    old = _policy(move)
    if not all(type(each) is int for policy in (old, new) for each in astuple(policy)):
        return move
    return _with_policy(move, new, lambda ms: min(max(ms - old.open_ms + new.open_ms, new.open_least_ms), new.open_most_ms))


def _with_policy(move: Move, policy: spec.Policy, draw: Callable[[int], int]) -> Move:
    """The same move under another policy; only what was drawn well is drawn again."""
    if not isinstance(move, Called):
        return evolve(move, policy=policy, open_ms=_drawn(move.open_ms, draw))
    if isinstance(move.call, spec.ForceOpen | spec.Report):
        return evolve(move, call=evolve(move.call, policy=policy, open_ms=_drawn(move.call.open_ms, draw)))
    return evolve(move, call=evolve(move.call, policy=policy))


def _drawn(open_ms: int, draw: Callable[[int], int]) -> int:
    return draw(open_ms) if type(open_ms) is int and open_ms > 0 else open_ms


def _fewer_fates(move: Move) -> Move:
    return evolve(move, fates=move.fates[:-1])


def _no_fates(move: Move) -> Move:
    return evolve(move, fates=())


CHANGES: tuple[Change, ...] = (_no_fates, _fewer_fates, _renamed, _plainly_drawn)


def _renumbered(moves: Moves) -> Moves:
    """Only permits that are reported have a number; they are counted from 1, in the order in which they are told."""
    reported = {move.grant for move in moves if isinstance(move, Reported)}
    granted = (move.grant for move in moves if isinstance(move, Called) and move.grant in reported)
    numbers: dict[int | None, int] = {grant: number for number, grant in enumerate(dict.fromkeys(granted), 1)}
    return tuple(_regranted(move, numbers) for move in moves)


def _regranted(move: Move, numbers: dict[int | None, int]) -> Move:
    if isinstance(move, Called):
        return evolve(move, grant=numbers.get(move.grant))
    return evolve(move, grant=numbers.get(move.grant, move.grant)) if isinstance(move, Reported) else move
