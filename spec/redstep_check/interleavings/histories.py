"""
Histories: every request as an operation of its own, from the moment it is asked to the moment its reply arrives.

An execution of which nobody heard is an operation of unknown outcome; a request that was executed twice is two operations,
and one that was not executed is none. The time at which it was executed is part of the call, so the model has no clock.
"""

from typing import Any

from attrs import define, field

from redstep_check.interleavings.binding import Asks, Sequential, values
from redstep_check.interleavings.executing import Executed
from redstep_check.interleavings.moves import Arrives, Begins, Goes
from redstep_check.interleavings.situations import WITH_REPLY, Event, Situation
from redstep_check.linearizability import Completion, Illegal, Invocation, Model, check
from redstep_check.lockstep import Mismatch, rules_of
from redstep_spec.delivery import Replied, Unknown

STEPS_MAX = 100_000

Observed = tuple[tuple[str, object], ...]


def observable(reply: Any) -> Observed:
    """What of a reply must agree, by the names of its fields."""
    return tuple((name, getattr(reply, name)) for name in rules_of(reply))


def observed(executed: Executed) -> Observed:
    """What the implementation said; where it does not say, what the specification does."""
    said = values(executed.answer)
    return tuple((name, said.get(name, expected)) for name, expected in observable(executed.reply))


@define
class _Request:
    client: int
    asked_at: int
    executed: list[Any] = field(factory=list)
    """The calls as which it was executed, and the reply to each."""
    heard_at: int | None = None
    """When its client heard the reply to the last of them."""


@define
class History:
    """What clients asked and heard, in order of one counter."""

    _now: int = 0
    _open: dict[int, _Request] = field(factory=dict)
    _adrift: list[_Request] = field(factory=list)
    _requests: list[_Request] = field(factory=list)

    def note(self, before: Situation, move: Begins | Goes | Arrives, event: Event, after: Situation) -> None:
        """Take a move down."""
        self._now += 1
        executed = [(each.call, observed(each)) for each in event.executed]
        if isinstance(move, Arrives):
            self._adrift.pop(move.which).executed += executed
            return
        request = self._open.get(move.client)
        if request is not None:
            request.executed += executed
            if len(after.adrift) > len(before.adrift):
                self._adrift.append(request)
            if event.course and event.course[-1].heard in WITH_REPLY and isinstance(event.stop, Asks):
                request.heard_at = self._now
            if after.clients[move.client].held is None:
                del self._open[move.client]
        if isinstance(after.clients[move.client].stop, Asks) and move.client not in self._open:
            self._now += 1
            self._open[move.client] = _Request(move.client, self._now)
            self._requests.append(self._open[move.client])

    def events(self) -> list[Invocation | Completion]:
        """The history as the linearizability checker takes it; each request is a client of its own."""
        events: list[Invocation | Completion] = []
        for number, request in enumerate(self._requests):
            for execution, (call, reply) in enumerate(request.executed):
                name = f"{request.client}.{number}.{execution}"
                events.append(Invocation(request.asked_at, name, call))
                is_heard = request.heard_at is not None and execution == len(request.executed) - 1
                if is_heard and request.heard_at is not None:
                    events.append(Completion(request.heard_at, name, Replied(reply)))
                else:
                    events.append(Completion(self._now + 1, name, Unknown()))
        return sorted(events, key=lambda each: each.at)

    def judge(self, sequential: Sequential) -> None:
        """Hold the history against the specification. Raises Mismatch."""

        def step(state: Any, call: Any) -> tuple[Any, Observed]:
            after, reply = sequential.stepped(state, call)
            return after, observable(reply)

        verdict = check(Model(init=sequential.initial, step=step), self.events(), max_steps=STEPS_MAX)
        if isinstance(verdict, Illegal):
            raise Mismatch("CK-5", "the history", "linearizable", str(verdict))
