"""
The circuit breaker's protocols: how calls go through a breaker, whichever of the two it is.

    acquire ──▶ CircuitOpen
       │
       ▼            success, failure or neutral
    the call ──────────────────────────────────▶ report ──▶ the call's own result or error, unchanged

No lock is held while the call or a listener runs. Listeners are told after the step, in order, one transition after the other;
who finds somebody telling them leaves its own with them.

An error while reporting never takes the place of what the call came to: it is logged, and counted. A cancellation frees the
permit, wherever it comes: what was given and not yet reported is reported as neutral.
"""

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from threading import RLock
from typing import Any, ClassVar, TypeVar

from attrs import Factory, define, field, setters

from redstep.arguments import checked_integer, checked_name
from redstep.callables import checked_function
from redstep.circuit_breaker import Admission, Intervention, Outcome, Permit, Policy, Reason, Report, Transition, View
from redstep.circuit_breaker_outcomes import Excluded, as_excluded, outcome_of
from redstep.errors import CircuitOpen, Misuse
from redstep.forks import heed_forks
from redstep.wishes import Announce, DrawInteger, GoOn, Protocol, RunWork, Wish

Listener = Callable[[Transition], Any]
"""What is told of transitions."""
Answer = TypeVar("Answer", Admission, Report, Intervention)
log = logging.getLogger("redstep")


def as_listeners(value: Listener | Iterable[Listener]) -> tuple[Listener, ...]:
    """Take what is told of transitions: a function or several. Raises Misuse."""
    several = tuple(value) if isinstance(value, Iterable) and not callable(value) else (value,)
    for each in several:
        checked_function("listeners", each, awaited=True)
    return several


def _as_name(value: str) -> str:
    return checked_name("name", value)


class Announcements:
    """Transitions on their way to the listeners. Safe to share between threads."""

    def __init__(self, listeners: tuple[Listener, ...]) -> None:
        self._listeners = listeners
        self._waiting: deque[Transition] = deque()
        self._telling: dict[int, object] = {}
        """Who tells them, by process: a fork leaves behind whoever was telling. No lock, for a thread would wait for itself."""

    def add(self, transition: Transition) -> None:
        """Put a transition behind those that wait."""
        self._waiting.append(transition)

    def tell(self) -> Protocol[None]:
        """Tell the listeners of what waits, unless somebody else is telling them. An interruption goes on afterwards."""
        interruption: BaseException | None = None
        process, me = os.getpid(), object()
        while self._waiting and self._telling.setdefault(process, me) is me:
            try:
                interruption = (yield from _outlived(GoOn())) or interruption
                while self._waiting:
                    transition = self._waiting.popleft()
                    for listener in self._listeners:
                        interruption = (yield from _outlived(Announce((listener,), transition))) or interruption
            finally:
                self._telling.pop(process, None)
        if interruption is not None:
            raise interruption


def _outlived(wish: Wish) -> Protocol[BaseException | None]:
    """Have a wish carried out; returns the interruption that came meanwhile, if one did."""
    try:
        yield wish
    except GeneratorExit:
        raise
    except BaseException as interruption:  # noqa: BLE001  it is raised when all is done
        return interruption
    return None


@define(kw_only=True, eq=False, on_setattr=setters.NO_OP)
class Breaker(ABC):
    """What both breakers are: a name, a policy, and four steps.

    The steps of a shared breaker raise Unavailable, Corrupt and ServiceOverloaded.
    """

    name: str = field(converter=_as_name)
    policy: Policy
    excluded: tuple[Excluded, ...] = field(default=(), converter=as_excluded)
    listeners: tuple[Listener, ...] = field(default=(), converter=as_listeners)
    announcements: Announcements = field(
        init=False, default=Factory(lambda self: Announcements(self.listeners), takes_self=True)
    )
    reports_lost: int = field(init=False, default=0)
    """How many reports failed, or may have."""
    lock: Any = field(init=False, factory=RLock, repr=False)
    """Held for a moment, never while the caller's code runs. A thread may take it twice: what handles a signal, or a generator
    that the garbage collector closes, may use the breaker in the midst of a step."""

    asks_a_store: ClassVar[bool]
    """Whether a step may take a while, in which it may be cancelled."""
    identity: str = field(init=False)
    """What tells it from every other, of its name too."""

    def __attrs_post_init__(self) -> None:
        heed_forks(self)

    def after_fork(self) -> None:
        """Have a lock that no thread of the parent's holds."""
        self.lock = RLock()

    @abstractmethod
    def acquire(self) -> Protocol[Admission]:
        """Ask whether a call may be made."""

    @abstractmethod
    def report(self, permit: Permit, outcome: Outcome) -> Protocol[Report]:
        """Tell what a call came to."""

    @abstractmethod
    def intervene(self, reason: Reason) -> Protocol[Intervention]:
        """Open or close the breaker by hand."""

    @abstractmethod
    def view(self) -> Protocol[View]:
        """Look at the breaker, which changes nothing."""

    def draw_open_ms(self) -> Protocol[int]:
        """Draw how long the breaker stays open, if it opens. Raises Misuse if the draw is out of bounds."""
        least, most = self.policy.open_ms_least, self.policy.open_ms_most
        return checked_integer("open_ms", (yield DrawInteger(least, most)), least, most)

    def checked(self, permit: Permit, outcome: Outcome) -> None:
        """Raise Misuse for a report that no breaker could ever ask for."""
        if not isinstance(permit, Permit) or not isinstance(outcome, Outcome):
            raise Misuse("permit" if isinstance(outcome, Outcome) else "outcome", "is none")
        for number in (permit.epoch, permit.number):
            checked_integer("permit", number, 0)

    def noted(self, answer: Answer) -> Answer:
        """Have the listeners told, in time, if an answer tells of a transition; gives the answer."""
        if answer.left is not None:
            transition = Transition(
                name=self.name, from_state=answer.left, to_state=answer.state, epoch=answer.epoch, reason=answer.reason
            )
            self.announcements.add(transition)
        return answer


def acquire(breaker: Breaker) -> Protocol[Permit]:
    """Ask for the permit of a call, which is to be settled. Raises CircuitOpen, and what a step of the breaker raises."""
    admission = yield from breaker.acquire()
    if admission.permit is None:
        raise CircuitOpen(breaker.name, admission.why, admission.retry_after_ms, breaker.identity)
    try:
        if breaker.asks_a_store:
            yield GoOn()
        yield from breaker.announcements.tell()
    except GeneratorExit:
        raise
    except BaseException:
        yield from free(breaker, admission.permit)
        raise
    return admission.permit


def settle(breaker: Breaker, permit: Permit, outcome: Outcome) -> Protocol[bool]:
    """Report what a call came to; returns whether that was counted. What goes wrong is logged, and counted as lost."""
    try:
        counted = yield from _reported(breaker, permit, outcome)
    except GeneratorExit:
        raise
    except BaseException:
        if permit.number:
            yield from _reported(breaker, permit, Outcome.NEUTRAL)
        raise
    yield from breaker.announcements.tell()
    return counted


def _reported(breaker: Breaker, permit: Permit, outcome: Outcome) -> Protocol[bool]:
    try:
        answer = yield from breaker.report(permit, outcome)
    except Exception as error:  # noqa: BLE001  whatever it is, the call came to something else
        with breaker.lock:
            breaker.reports_lost += 1
        log.warning("circuit breaker %r: a report of %s was lost: %s", breaker.name, outcome.value, error)
        return False
    return answer.counted


def free(breaker: Breaker, permit: Permit) -> Protocol[None]:
    """Give a permit back unused. One that was given in CLOSED is nowhere counted."""
    if permit.number:
        yield from settle(breaker, permit, Outcome.NEUTRAL)


def conclude(breaker: Breaker, permit: Permit, error: BaseException | None) -> Protocol[None]:
    """Settle the permit of a call that ended with an error, or without one."""
    outcome = Outcome.SUCCESS if error is None else outcome_of(error, breaker.identity, breaker.excluded)
    if outcome is Outcome.NEUTRAL:
        yield from free(breaker, permit)
    else:
        yield from settle(breaker, permit, outcome)


def call(breaker: Breaker, work: Callable[[], Any]) -> Protocol[Any]:
    """Make a call through the breaker; returns what it returns, and raises what it raises. Raises as `acquire`."""
    permit = yield from acquire(breaker)
    try:
        result = yield RunWork(work)
    except GeneratorExit:
        raise
    except BaseException as error:
        yield from conclude(breaker, permit, error)
        raise
    yield from conclude(breaker, permit, None)
    return result


def intervene(breaker: Breaker, reason: Reason) -> Protocol[None]:
    """Open or close the breaker by hand. Raises what a step of the breaker raises."""
    yield from breaker.intervene(reason)
    yield from breaker.announcements.tell()
