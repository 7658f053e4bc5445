"""
A limiter behind a breaker in lockstep: what it says when the store does not answer, and what the breaker makes of that.

Features of a target: `is full`, its store can be made to run out of memory; `stored`, its breaker can be looked at.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from attrs import asdict, evolve, frozen

from redstep_check.binding import Answered, Target
from redstep_check.guards import rate_limiter
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, Told, compare
from redstep_spec import circuit_breaker as cb
from redstep_spec import store_failure as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Replied
from redstep_spec.properties.store_failure import PROPERTIES, Transition

NAME = "rate-limiter-store-failure"


@frozen
class Asked:
    """A call, and what becomes of it should it go to the store."""

    call: spec.GuardedAcquire
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
        self._compare_breaker(reply.because[0])

    def _compare_breaker(self, blamed: str) -> None:
        if "stored" in self.target.features and (stored := self.target.stored()):
            expected, actual = cb.essence(self.state.breaker), cb.essence(stored.state)
            if actual != expected:
                raise Mismatch(blamed, "the breaker", expected, actual)


def simpler(moves: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Stores that answer, clocks that stand still, and lower thresholds and limits for all calls of a story."""
    for place, move in enumerate(moves):
        if move.store is not spec.Store.ANSWERS:
            yield (*moves[:place], evolve(move, store=spec.Store.ANSWERS), *moves[place + 1 :])
    for place, move in enumerate(moves[1:], 1):
        moved_ms = move.now_ms - moves[place - 1].now_ms
        if moved_ms:
            later = (evolve(each, call=evolve(each.call, client_ms=each.call.client_ms - moved_ms)) for each in moves[place:])
            yield (*moves[:place], *later)
    for lowered in (_with_lower_failure_threshold, _with_lower_success_threshold, _with_lower_limit):
        yield tuple(evolve(move, call=lowered(move.call)) for move in moves)


def _with_lower_failure_threshold(call: spec.GuardedAcquire) -> spec.GuardedAcquire:
    return evolve(call, breaker=evolve(call.breaker, failure_threshold=max(1, call.breaker.failure_threshold - 1)))


def _with_lower_success_threshold(call: spec.GuardedAcquire) -> spec.GuardedAcquire:
    return evolve(call, breaker=evolve(call.breaker, success_threshold=max(1, call.breaker.success_threshold - 1)))


def _with_lower_limit(call: spec.GuardedAcquire) -> spec.GuardedAcquire:
    [limit] = call.own.limits
    return evolve(call, own=evolve(call.own, limits=(evolve(limit, limit=max(1, limit.limit - 1)),)))


def tell(move: Asked) -> str:
    """A move as a person would say it."""
    call, limit = move.call, move.call.own.limits[0]
    asked = f"acquire under {limit.limit} in {limit.window_ms} ms, fail {call.policy.value}"
    return f"{asked}; the store {move.store.value}"


def tell_answer(answer: object) -> str:
    """What one side says to a move, in a few words."""
    match answer:
        case Replied(spec.Decision() | spec.NotDecided() as reply):
            return _tell_values(asdict(reply))
        case Answered(values):
            return _tell_values(values)
    return rate_limiter.tell_answer(answer)


def _tell_values(values: Mapping[str, Any]) -> str:
    if values.get("error"):
        return f"{values['error']}, {'nothing was executed' if values.get('definite') else 'outcome unknown'}"
    degraded = ", degraded" if values.get("degraded") else ""
    return rate_limiter.tell_answer(Answered(values)) + degraded
