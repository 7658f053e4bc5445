"""Histories drawn at random: small, contended, with ties, failures and unknown outcomes; mostly sound, now and then not."""

from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import field, frozen

from redstep_check.linearizability import (
    AnyModel,
    Completion,
    Event,
    Failed,
    Invocation,
    Model,
    NondeterministicModel,
    Outcome,
    Replied,
    Unknown,
)
from redstep_check.linearizability.examples import (
    BAG,
    KEY_VALUE_STORE,
    QUEUE,
    REGISTER,
    SET,
    Add,
    CompareAndSet,
    Contains,
    Dequeue,
    Enqueue,
    Get,
    Put,
    Read,
    Remove,
    Write,
)


def coin(value: int, call: str, outcome: Outcome[int]) -> list[int]:
    """All that a coin may be: 0 or 1 after a toss whose reply, if any, was `tossed`; its side, and no other, when looked at."""
    if call == "toss":
        return [0, 1] if outcome in (Replied("tossed"), Unknown()) else []
    return [value] if outcome in (Replied(value), Unknown()) else []


def once(taken: bool, call: str, outcome: Outcome[str]) -> list[bool]:
    """A thing that can be taken once, and is refused to nobody: the second who asks waits for ever."""
    return [] if taken or (call, outcome) not in [("take", Replied("taken")), ("take", Unknown())] else [True]


@frozen
class Move:
    """Move to a place; True is no place, though it is 1."""

    place: int


@frozen
class Veiled(Move):
    """The same; it does not show where to."""

    place: int = field(repr=False)


def strict(place: int, call: Move | None) -> tuple[int, int | str]:
    """Take a step of somebody who goes from place to place, and says where he is now, but does not go to True."""
    if call is None:
        return place, place
    return (place, "misuse") if isinstance(call.place, bool) else (call.place, call.place)


@frozen
class Kind:
    """A model, and what may be called and heard."""

    name: str
    model: AnyModel
    calls: Sequence[Any]
    replies: Sequence[Any]


KINDS = (
    Kind(
        "register", REGISTER, [Read(), Read(), *map(Write, (1, 2)), CompareAndSet(0, 1), CompareAndSet(1, 2)], [0, 1, 2, None]
    ),
    Kind("writes", REGISTER, [Read(), Write(0), Write(1), Write(True)], [0, 1, None]),
    Kind("store", KEY_VALUE_STORE, [*map(Get, "xy"), Put("x", "1"), Put("y", "1"), Put("x", "2")], ["1", "2", None]),
    Kind("queue", QUEUE, [Enqueue("a"), Enqueue("b"), Dequeue(), Dequeue()], ["a", "b", None]),
    Kind("set", SET, [Add("a"), Add("b"), Remove("a"), Contains("a"), Contains("b")], [True, False]),
    Kind("bag", BAG, [Enqueue("a"), Enqueue("b"), Dequeue(), Dequeue()], ["a", "b", None]),
    Kind(
        "strict",
        Model(init=0, step=strict),
        [None, None, None, Move(1), Move(True), Move(2), Veiled(1), Veiled(2)],
        [0, 1, 2, "misuse"],
    ),
    Kind("coin", NondeterministicModel(inits=[0, 1], steps=coin), ["toss", "look", "look"], [0, 1, "tossed"]),
    Kind("once", NondeterministicModel(inits=[False], steps=once), ["take"], ["taken"]),
)


class Run:
    """Clients that take turns; each call is made, carried out, and heard of, in three strokes."""

    def __init__(self, kind: Kind, random: Random, operations_max: int) -> None:
        self.kind = kind
        self.events: list[Event] = []
        self._random = random
        self._at = 0
        self._last: dict[int, int] = {}
        self._states: dict[Any, Any] = {}
        self._calls: dict[int, Any] = {}
        self._replies: dict[int, Any] = {}
        self._clients = range(random.randint(1, 4))
        self._left = random.randint(0, operations_max)
        self._odd = random.choice((0.0, 0.1, 0.4))
        """How much of what is heard is anything at all."""

    def go(self) -> Sequence[Event]:
        """Run to the end; some clients never hear of their last call."""
        while self._left or self._calls:
            client = self._random.choice(self._clients)
            if client not in self._calls:
                self._begin(client)
            elif client not in self._replies and self._random.random() < 0.8:
                self._carry_out(client)
            else:
                self._end(client)
        return self.events

    def _place(self, client: int) -> int:
        """The next place, or the same again, if it was another client's."""
        if self._random.random() < 0.7 or self._last.get(client) == self._at:
            self._at += 1
        self._last[client] = self._at
        return self._at

    def _begin(self, client: int) -> None:
        if self._left:
            self._left -= 1
            self._calls[client] = self._random.choice(self.kind.calls)
            self.events.append(Invocation(self._place(client), client, self._calls[client]))

    def _carry_out(self, client: int) -> None:
        model, call = self.kind.model, self._calls[client]
        key = model.partition(call) if model.partition else None
        if isinstance(model, Model):
            self._states[key], self._replies[client] = model.step(self._states.get(key, model.init), call)
            return
        before = self._states.get(key, self._random.choice(list(model.inits)))
        ways = [(after, reply) for reply in self.kind.replies for after in model.steps(before, call, Replied(reply))]
        self._states[key], self._replies[client] = self._random.choice(ways) if ways else (before, self.kind.replies[0])

    def _end(self, client: int) -> None:
        del self._calls[client]
        was_carried_out = client in self._replies
        reply = self._replies.pop(client, None)
        if not was_carried_out and self._random.random() < 0.7:
            outcome: Outcome[Any] = Failed()
        elif not was_carried_out or self._random.random() < 0.2:
            outcome = Unknown()
        else:
            outcome = Replied(self._random.choice(self.kind.replies) if self._random.random() < self._odd else reply)
        if not self._left and isinstance(outcome, Unknown):
            return
        self.events.append(Completion(self._place(client), client, outcome))


def history(kind: Kind, random: Random, operations_max: int = 6) -> Sequence[Event]:
    """Draw a history."""
    return Run(kind, random, operations_max).go()
