"""
Situations: clients, store and clock at one moment, as one value; and what a move makes of it.

Everything is in it that decides what can happen next: the specification's state, which is what the store holds, for they are
compared at every execution; each client's operation and what it was told since; requests adrift; the time. So a situation that
was met before need not be looked at again, and one that was not can be gone on with in every way there is.
"""

from collections.abc import Hashable
from typing import Any

from attrs import evolve, frozen

from redstep_check.binding import Answer
from redstep_check.interleavings.binding import (
    Asks,
    Attempt,
    Concurrent,
    Course,
    Ends,
    Fed,
    Glance,
    Heard,
    Interrupted,
    Pauses,
    Raw,
    Sequential,
    Standing,
    Stop,
    Who,
)
from redstep_check.interleavings.executing import Executed, Live
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes
from redstep_check.lockstep import ImpossibleStory, Mismatch


@frozen(cache_hash=True)
class Client:
    """One client: what it is at, and what it was told since it began."""

    number: int
    memory: Hashable = None
    begun: int = 0
    operation: Any = None
    stop: Stop | None = None
    """Where it waits; None between operations."""
    fed: tuple[Fed, ...] = ()
    course: Course = ()
    held: Raw | None = None
    """The reply that is on its way to it."""
    is_interrupted: bool = False
    is_gone: bool = False

    @property
    def who(self) -> Who:
        """What it is at."""
        return Who(self.number, self.begun, self.operation)

    @property
    def is_idle(self) -> bool:
        """Whether it may begin something."""
        return self.stop is None and not self.is_gone


@frozen(cache_hash=True)
class Adrift:
    """A request that may still arrive."""

    who: Who
    request: Any


@frozen(cache_hash=True)
class Situation:
    """All that there is at one moment."""

    state: Any
    now_ms: int
    clients: tuple[Client, ...]
    ledger: Hashable = ()
    adrift: tuple[Adrift, ...] = ()


@frozen
class Event:
    """What a move came to."""

    who: Who
    stop: Stop | None = None
    """What the client waited for when it was made."""
    was_held: bool = False
    executed: tuple[Executed, ...] = ()
    answer: Answer | Interrupted | None = None
    """How the operation ended, if it did."""
    course: Course = ()
    """Of the operation, up to now."""


def fates(client: Client, *, can_flush: bool) -> tuple[Fate, ...]:
    """What may become of what a client waits for; the first is no fault."""
    stoppable = () if client.is_interrupted else (Fate.CANCELLED,)
    match client.stop:
        case Asks() as asks if client.held is not None:
            overtaken = (Fate.OVERTAKEN,) if stoppable and asks.finishes else ()
            return (Fate.DELIVERED, Fate.REPLY_LOST, *stoppable, *overtaken, Fate.CRASHED)
        case Asks() as asks:
            twice = (Fate.TWICE,) if asks.is_idempotent else ()
            flushed = (Fate.FLUSHED,) if can_flush and asks.needs_script else ()
            given_up = (*stoppable, Fate.ABANDONED) if stoppable else ()
            harmful = (Fate.REPLY_LOST, Fate.NOT_SENT, Fate.ADRIFT, *twice, *flushed, *given_up, Fate.CRASHED)
            return (Fate.DELIVERED, Fate.HELD, *harmful)
        case Pauses():
            return (Fate.DELIVERED, *stoppable, Fate.CRASHED)
        case _:
            return ()


EXECUTING = frozenset({Fate.DELIVERED, Fate.HELD, Fate.REPLY_LOST, Fate.TWICE, Fate.FLUSHED})
"""The fates in which a request is executed that was not yet."""
INTERRUPTING = frozenset({Fate.CANCELLED, Fate.ABANDONED, Fate.OVERTAKEN})
"""The fates in which the client is cancelled."""
TOLD = {
    Fate.DELIVERED: Heard.REPLY,
    Fate.TWICE: Heard.REPLY,
    Fate.FLUSHED: Heard.REPLY,
    Fate.REPLY_LOST: Heard.LOST,
    Fate.ADRIFT: Heard.LOST,
    Fate.NOT_SENT: Heard.NOT_SENT,
    Fate.CANCELLED: Heard.CANCELLED,
    Fate.ABANDONED: Heard.CANCELLED,
    Fate.OVERTAKEN: Heard.OVERTAKEN,
}
"""What a client that asks is told of a fate."""
WITH_REPLY = frozenset({Heard.REPLY, Heard.OVERTAKEN})


@frozen
class Stage:
    """Where situations follow one another: a specification, an implementation, and who executes."""

    sequential: Sequential
    target: Concurrent
    engine: Live

    def opening(self, clients: int, now_ms: int) -> Situation:
        """Before anything has happened."""
        return Situation(
            state=self.sequential.initial,
            now_ms=now_ms,
            clients=tuple(map(Client, range(clients))),
            ledger=self.sequential.ledger,
        )

    def after(self, situation: Situation, move: Begins | Goes | Arrives) -> tuple[Situation, Event]:
        """Make a move. Raises Mismatch, ImpossibleStory."""
        if move.now_ms < situation.now_ms:
            raise ImpossibleStory("the store's clock steps back")
        situation = evolve(situation, now_ms=move.now_ms)
        match move:
            case Begins(client, operation):
                return self._begun(situation, _client(situation, client), operation)
            case Goes(client, fate):
                return self._gone_on(situation, _client(situation, client), fate)
            case Arrives(which):
                return self._arrived(situation, which)

    def _begun(self, situation: Situation, client: Client, operation: Any) -> tuple[Situation, Event]:
        if not client.is_idle:
            raise ImpossibleStory("a client begins two operations at once")
        client = evolve(client, begun=client.begun + 1, operation=operation)
        return self._stood(situation, client, Event(client.who))

    def _gone_on(self, situation: Situation, client: Client, fate: Fate) -> tuple[Situation, Event]:
        if fate not in fates(client, can_flush=self.target.can_flush):
            raise ImpossibleStory(f"{fate} can't become of {client.stop}")
        event = Event(client.who, client.stop, was_held=client.held is not None, course=client.course)
        if isinstance(client.stop, Pauses):
            return self._paused(situation, client, fate, event)
        asks = client.stop
        assert isinstance(asks, Asks)  # noqa: S101  fates() knows no others
        situation, client, event = self._tried(situation, client, asks, fate, event)
        if fate is Fate.CRASHED:
            return _with(situation, _gone(client)), event
        if fate is Fate.HELD:
            return _with(situation, client), event
        heard = TOLD[fate]
        kept = client.held if heard in WITH_REPLY else self.target.unheard(asks, client.held, situation.now_ms)
        client = evolve(
            client,
            fed=(*client.fed, Fed(heard, kept)),
            held=None,
            course=(*client.course[:-1], evolve(client.course[-1], heard=heard)),
            is_interrupted=client.is_interrupted or fate in INTERRUPTING,
        )
        return self._stood(situation, client, evolve(event, course=client.course))

    def _paused(self, situation: Situation, client: Client, fate: Fate, event: Event) -> tuple[Situation, Event]:
        if fate is Fate.CRASHED:
            return _with(situation, _gone(client)), event
        if event.stop == Pauses("work") and fate is Fate.DELIVERED:
            ledger = self.sequential.worked(situation.ledger, client.who, client.course, situation.state, situation.now_ms)
            situation = evolve(situation, ledger=ledger)
        heard = Heard.GOES_ON if fate is Fate.DELIVERED else Heard.CANCELLED
        client = evolve(
            client,
            fed=(*client.fed, Fed(heard, self.target.unheard(None, None, situation.now_ms))),
            course=(*client.course, Attempt(event.stop, heard)),
            is_interrupted=client.is_interrupted or fate is Fate.CANCELLED,
        )
        return self._stood(situation, client, evolve(event, course=client.course))

    def _tried(
        self, situation: Situation, client: Client, asks: Asks, fate: Fate, event: Event
    ) -> tuple[Situation, Client, Event]:
        """Have the request executed as often as its fate says, and note the attempt."""
        if client.held is not None:
            return situation, client, event
        times = 2 if fate is Fate.TWICE else int(fate in EXECUTING)
        executed: list[Executed] = []
        for _ in range(times):
            situation, one = self._execute(situation, client.who, asks.request, flushed=fate is Fate.FLUSHED and not executed)
            executed.append(one)
        if fate in (Fate.ADRIFT, Fate.ABANDONED):
            situation = evolve(situation, adrift=(*situation.adrift, Adrift(client.who, asks.request)))
        call = executed[0].call if executed else self.target.understood(asks.request, situation.now_ms)
        replies = tuple(each.reply for each in executed)
        self._is_allowed(client, asks, call)
        attempt = Attempt(call, None, replies, changed=any(each.before != each.after for each in executed))
        held = executed[-1].raw if executed else None
        client = evolve(client, course=(*client.course, attempt), held=held)
        return situation, client, evolve(event, executed=tuple(executed), course=client.course)

    def _is_allowed(self, client: Client, asks: Asks, call: Any) -> None:
        """CM-4: what is not idempotent is never sent again when it may have been executed, whatever was asked since."""
        if isinstance(call, Glance) or self.sequential.is_idempotent(call):
            return
        if asks.is_idempotent:
            raise Mismatch("CM-4", "whether it may be sent again", call, "sent as idempotent")
        if any(each.heard is Heard.LOST and _same(each.call, call) for each in client.course):
            raise Mismatch("CM-4", "what is sent after an unknown outcome", "nothing", call)

    def _execute(self, situation: Situation, who: Who, request: Any, *, flushed: bool = False) -> tuple[Situation, Executed]:
        one = self.engine.execute(situation.state, request, situation.now_ms, flushed=flushed)
        ledger = self.sequential.executed(situation.ledger, who, one.call, one.before, one.reply, one.after)
        return evolve(situation, state=one.after, ledger=ledger), one

    def _stood(self, situation: Situation, client: Client, event: Event) -> tuple[Situation, Event]:
        """Look where a client stands by now."""
        standing = self.standing(client)
        if not isinstance(standing, Ends):
            return _with(situation, evolve(client, stop=standing.stop)), event
        ledger = self.sequential.ended(
            situation.ledger, client.who, client.course, standing.answer, situation.state, situation.now_ms
        )
        rested = Client(client.number, standing.memory, client.begun)
        return _with(evolve(situation, ledger=ledger), rested), evolve(event, answer=standing.answer)

    def standing(self, client: Client) -> Standing:
        """Look where a client stands, given what it was told."""
        return self.target.stand(client.number, client.begun, client.operation, client.memory, client.fed)

    def _arrived(self, situation: Situation, which: int) -> tuple[Situation, Event]:
        if which >= len(situation.adrift):
            raise ImpossibleStory("no such request is adrift")
        adrift = situation.adrift[which]
        left = situation.adrift[:which] + situation.adrift[which + 1 :]
        situation, one = self._execute(evolve(situation, adrift=left), adrift.who, adrift.request)
        return situation, Event(adrift.who, executed=(one,))


def _same(one: Any, other: Any) -> bool:
    """Whether two calls are the same but for their time."""
    return type(one) is type(other) and bool(evolve(one, now_ms=0) == evolve(other, now_ms=0))


def _client(situation: Situation, number: int) -> Client:
    if not 0 <= number < len(situation.clients):
        raise ImpossibleStory("there is no such client")
    return situation.clients[number]


def _with(situation: Situation, client: Client) -> Situation:
    clients = situation.clients
    return evolve(situation, clients=(*clients[: client.number], client, *clients[client.number + 1 :]))


def _gone(client: Client) -> Client:
    return Client(client.number, begun=client.begun, is_gone=True)
