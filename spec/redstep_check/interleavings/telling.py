"""Telling: a story of several clients as a timeline, a lane for each of them and one for the store."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import define, field

from redstep_check.binding import Answer, Answered, Broke, Misused
from redstep_check.interleavings.binding import Asks, Glance, Interrupted, Pauses, Sequential, Who
from redstep_check.interleavings.executing import Executed
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes
from redstep_check.interleavings.seen import Moment
from redstep_check.interleavings.situations import EXECUTING, Situation
from redstep_check.interleavings.watching import Watched
from redstep_check.linearizability import Completion, Event, Invocation
from redstep_check.linearizability import Failed as HeardOfFailure
from redstep_check.linearizability import Replied as HeardReply
from redstep_check.linearizability import Unknown as HeardNothing
from redstep_check.lockstep import Mismatch
from redstep_check.timelines import Differs, Mark, Sign, Timeline
from redstep_check.timelines.values import Kept, printable, told
from redstep_spec.audit_chain_encoding import Record
from redstep_spec.delivery import Failed, Replied, Unknown
from redstep_spec.rules import RULES

STORE = "store"
LONGEST = 24
"""A text that is longer is told by its first characters."""
AS_EVER = frozenset({"now_ms", "name", "limits", "policy", "scope", "lease_ms", "retention_ms"})
"""Arguments that are the same for all clients."""
SIGNS = {
    Fate.DELIVERED: Sign.EXECUTED,
    Fate.HELD: Sign.EXECUTED,
    Fate.REPLY_LOST: Sign.LOST,
    Fate.NOT_SENT: Sign.NOT_SENT,
    Fate.ADRIFT: Sign.ADRIFT,
    Fate.TWICE: Sign.TWICE,
    Fate.FLUSHED: Sign.FLUSHED,
    Fate.CANCELLED: Sign.CANCELLED,
    Fate.ABANDONED: Sign.ADRIFT,
    Fate.OVERTAKEN: Sign.CANCELLED,
    Fate.CRASHED: Sign.CRASHED,
}
AFTER = {
    Fate.HELD: ", and the reply is on its way",
    Fate.REPLY_LOST: ", and the reply is lost",
}
HELD = {
    Fate.DELIVERED: (Sign.ARRIVED, "the reply arrives"),
    Fate.REPLY_LOST: (Sign.LOST, "the reply is lost"),
    Fate.CANCELLED: (Sign.CANCELLED, "cancelled; nobody reads the reply"),
    Fate.OVERTAKEN: (Sign.CANCELLED, "the reply arrives, and the cancellation that waited for it"),
    Fate.CRASHED: (Sign.CRASHED, "crashes; nobody reads the reply"),
}
UNSENT = {
    Fate.NOT_SENT: "not sent, and the client can tell",
    Fate.ADRIFT: "sent, and given up on its way",
    Fate.CANCELLED: "cancelled before it was sent",
    Fate.ABANDONED: "sent, and cancelled on its way",
    Fate.CRASHED: "crashes before it sends",
}


def timeline(sequential: Sequential, watched: Watched, mismatch: Mismatch, *, title: str) -> Timeline:
    """
    Draw what was watched. `mismatch` is the difference that it shows, or one that was seen before and does not show again.

    Each operation is a bar. Of a round trip it is told when it is executed, and what becomes of its reply.
    """
    mismatch = watched.mismatch or mismatch
    expected, actual = tell_sides(sequential, mismatch)
    scribe = _Scribe(sequential, watched)
    for place, moment in enumerate(watched.moments):
        scribe.settles(place)
        scribe.happened(moment)
    scribe.settles(len(watched.moments))
    scribe.differs(f"{mismatch.rule}: {mismatch.what}: the specification says {expected}, the implementation {actual}")
    verdict = Differs(
        rule=mismatch.rule,
        sentence=RULES.get(mismatch.rule, ""),
        what=mismatch.what,
        expected=expected,
        actual=actual,
    )
    return Timeline(history=scribe.events, verdict=verdict, title=title, marks=scribe.marks)


@define
class _Scribe:
    """Takes events and marks down, each at a place of its own."""

    sequential: Sequential
    watched: Watched
    now_ms: int | None = None
    events: list[Event] = field(factory=list)
    marks: list[Mark] = field(factory=list)
    _places: int = 0

    def settles(self, moments: int) -> None:
        """From here on all go on in turn, if this is where."""
        if self.watched.settles is not None and self.watched.settles[0] == moments:
            self._tick(self.watched.settles[1])
            self._mark(STORE, Sign.NOTED, "from here on all go on in turn, without a fault")

    def happened(self, moment: Moment) -> None:
        """A move, and what it came to."""
        self._tick(moment.move.now_ms)
        self._moved(moment.before, moment.move, moment.event.executed)
        if isinstance(moment.move, Arrives):
            return
        client = _name(moment.move.client)
        if moment.event.answer is not None:
            self.events.append(Completion(self._place(), client, self._end(client, moment.event.answer)))
        elif moment.fate is Fate.CRASHED:
            self.events.append(Completion(self._place(), client, HeardNothing()))

    def differs(self, text: str) -> None:
        """The move that could not be made alike."""
        move = self.watched.failed
        if self.watched.mismatch is None:
            self._mark(STORE, Sign.NOTED, f"played again, it does not show any more: {text}", is_wrong=True)
        elif move is None:
            self._mark(STORE, Sign.NOTED, f"looked at as a whole: {text}", is_wrong=True)
        else:
            self._tick(move.now_ms)
            self._moved(self.watched.situation, move, ())
            client = STORE if isinstance(move, Arrives) else _name(move.client)
            self._mark(client, Sign.NOTED, text, is_wrong=True)

    # ------------------------------------------------------------------------------------------ one move

    def _moved(self, before: Situation, move: Begins | Goes | Arrives, executed: tuple[Executed, ...]) -> None:
        match move:
            case Begins(client, operation):
                self.events.append(Invocation(self._place(), _name(client), self.sequential.tell(operation)))
            case Arrives(which):
                adrift = before.adrift[which]
                whose = f"the late request of {_name(adrift.who.client)} arrives"
                self._mark(STORE, Sign.EXECUTED, f"{whose}: {self._executed(adrift.request, move.now_ms, executed)}")
            case Goes(client, fate):
                self._went(before, client, fate, executed)

    def _went(self, before: Situation, number: int, fate: Fate, executed: tuple[Executed, ...]) -> None:
        client, stop = _name(number), before.clients[number].stop
        sign = SIGNS[fate]
        match stop:
            case Pauses(what):
                ends = {Fate.CANCELLED: f"cancelled at {what}", Fate.CRASHED: f"crashes at {what}"}
                self._mark(client, Sign.PAUSED if fate is Fate.DELIVERED else sign, ends.get(fate, f"{what}: over"))
            case Asks() if before.clients[number].held is not None:
                self._mark(client, *HELD[fate])
            case Asks(request) if fate in EXECUTING:
                flushed = "the engine's scripts are flushed; " if fate is Fate.FLUSHED else ""
                said = self._executed(request, self._now_ms, executed, twice=fate is Fate.TWICE)
                self._mark(client, sign, f"{flushed}{said}{AFTER.get(fate, '')}")
            case Asks(request):
                call = self.watched.stage.target.understood(request, self._now_ms)
                self._mark(client, sign, f"{UNSENT[fate]}: {tell_call(call)}")

    def _executed(self, request: Any, now_ms: int, executed: tuple[Executed, ...], *, twice: bool = False) -> str:
        """What a request was executed as, and the replies; without them where it could not be told."""
        call = executed[0].call if executed else self.watched.stage.target.understood(request, now_ms)
        replies = [tell_answer(self.sequential, each.answer) for each in executed if not isinstance(call, Glance)]
        said = f"{tell_call(call)} → {', then '.join(replies)}" if replies else tell_call(call)
        return f"twice: {said}" if twice else said

    def _end(self, client: str, answer: Answer | Interrupted) -> HeardReply[Any] | HeardOfFailure | HeardNothing:
        match answer:
            case Failed():
                return HeardOfFailure()
            case Unknown():
                return HeardNothing()
            case Interrupted():
                self._mark(client, Sign.CANCELLED, "the operation is interrupted")
                return HeardNothing()
        return HeardReply(Kept("answer", text=tell_answer(self.sequential, answer)))

    # ------------------------------------------------------------------------------------------ places

    @property
    def _now_ms(self) -> int:
        return self.now_ms or 0

    def _tick(self, now_ms: int) -> None:
        if now_ms != self.now_ms:
            self.now_ms = now_ms
            self._mark(STORE, Sign.CLOCK, f"it is {now_ms:,} ms")

    def _mark(self, client: str, sign: Sign, text: str, *, is_wrong: bool = False) -> None:
        self.marks.append(Mark(self._place(), client, sign, text, is_wrong=is_wrong))

    def _place(self) -> int:
        self._places += 1
        return self._places


def _name(client: int) -> str:
    return f"client {client}"


# ---------------------------------------------------------------------------------------------- words


def tell_answer(sequential: Sequential, answer: Any) -> str:
    """What an operation or a script answered, or what it should have."""
    match answer:
        case Replied(reply):
            return tell_answer(sequential, reply)
        case Failed():
            return "fails, definitely"
        case Unknown():
            return "fails, outcome unknown"
        case Interrupted():
            return "is interrupted"
        case Misused(argument):
            return f"misuse of {argument}"
        case Broke(problem):
            return f"error: {printable(problem)}"
        case Answered(values):
            its = ((name, value) for name, value in values.items() if not name.endswith("_ms"))
            return ", ".join(f"{name} {brief(value)}" for name, value in its) or "done"
    return printable(sequential.tell_reply(answer))


def tell_sides(sequential: Sequential, mismatch: Mismatch) -> tuple[str, str]:
    """What the specification says and what the implementation does, briefly if that tells them apart."""
    words = [_tell_side(sequential, each, brief) for each in (mismatch.expected, mismatch.actual)]
    if words[0] == words[1]:
        words = [_tell_side(sequential, each, told) for each in (mismatch.expected, mismatch.actual)]
    return words[0], words[1]


def _tell_side(sequential: Sequential, value: object, said: Callable[[Any], str]) -> str:
    if isinstance(value, Replied | Failed | Unknown | Interrupted | Misused | Broke | Answered):
        return tell_answer(sequential, value)
    return printable(value) if isinstance(value, str) and " " in value else said(value)


def tell_call(call: Any) -> str:
    """A call of the specification in a few words: what it is, and which of its arguments are not as ever."""
    if isinstance(call, Glance):
        return "look"
    words = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(call).__name__).lower()]
    for each in attrs.fields(type(call)):
        value = getattr(call, each.name)
        if each.eq and value != each.default and each.name not in AS_EVER:
            words.append(f"{each.name} {brief(value)}")
    return words[0] + (f" ({', '.join(words[1:])})" if words[1:] else "")


def brief(value: Any) -> str:
    """A value on one line, with what is long in it cut."""
    match value:
        case bytes():
            is_text = len(value) <= LONGEST and value.isascii() and value.decode("ascii").isprintable()
            return value.decode("ascii") if is_text else _cut(value.hex())
        case str():
            return printable(_cut(value))
        case tuple() | list():
            return f"[{', '.join(map(brief, value))}]"
        case Mapping():
            return ", ".join(f"{name} {brief(each)}" for name, each in value.items())
        case Record(seq=seq):
            return f"record {seq}"
        case Who(client=client, begun=begun):
            return f"operation {begun} of {_name(client)}"
    if attrs.has(type(value)):
        its = ((each.name, getattr(value, each.name)) for each in attrs.fields(type(value)) if each.eq)
        return f"{type(value).__name__}({', '.join(f'{name}={brief(each)}' for name, each in its)})"
    return told(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:8]}…"
