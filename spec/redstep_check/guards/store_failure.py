"""A limiter behind a breaker in lockstep: what it says when the store does not answer, and what the breaker makes of that."""

from collections.abc import Iterator
from typing import Any

from attrs import evolve, frozen

from redstep_check.binding import Target
from redstep_check.lockstep import ImpossibleStory, Session, Told, compare
from redstep_spec import store_failure as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Replied
from redstep_spec.properties.store_failure import PROPERTIES, Transition


@frozen
class Asked:
    """A call, and what becomes of it should it go to the store."""

    call: spec.Acquire
    store: spec.Store

    @property
    def now_ms(self) -> int:
        """The time of the process."""
        return self.call.client_ms


class StoreFailureSession(Session[Asked]):
    """The specification of a limiter behind a breaker beside a target; one name, one breaker."""

    def __init__(self, target: Target[Any]) -> None:
        super().__init__(target)
        self.state = spec.State()
        self._latest_ms = 0

    def _play(self, move: Asked) -> None:
        if move.now_ms < self._latest_ms:
            raise ImpossibleStory("a monotonic clock steps back")
        self._latest_ms = move.now_ms
        after, reply = spec.acquire(self.state, move.call, move.store)
        if isinstance(reply, Misuse):
            raise ImpossibleStory("the impossible is asked of the limiter alone")
        answer = self.ask(move, ())
        self.story.append(Told(move, Replied(reply), answer))
        transition = Transition(before=self.state, call=move.call, store=move.store, reply=reply, after=after)
        self.observe(PROPERTIES, transition, reply.because)
        compare(Replied(reply), answer, (), frozenset({"allowed", "remaining", "degraded", "error", "definite"}))
        self.state = after


def simpler(moves: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Stores that answer, limits of one, and clocks that stand still."""
    for place, move in enumerate(moves):
        if move.store is not spec.Store.ANSWERS:
            yield (*moves[:place], evolve(move, store=spec.Store.ANSWERS), *moves[place + 1 :])
    for place, move in enumerate(moves[1:], 1):
        moved_ms = move.now_ms - moves[place - 1].now_ms
        if moved_ms:
            later = (evolve(each, call=evolve(each.call, client_ms=each.call.client_ms - moved_ms)) for each in moves[place:])
            yield (*moves[:place], *later)


def tell(move: Asked) -> str:
    """A move as a person would say it."""
    call, limit = move.call, move.call.own.limits[0]
    asked = f"acquire under {limit.limit} in {limit.window_ms} ms, fail {call.policy.value}"
    return f"{asked}; the store {move.store.value}"
