"""
A shipped protocol, driven from stop to stop.

It is begun afresh and told all that it heard so far; what it wishes for within its own process, and nobody could tell from
outside, is carried out at once: clocks, draws. A client's monotonic clock is its own, and goes on by what it sleeps.
"""

import hashlib
import logging
from abc import abstractmethod
from asyncio import CancelledError
from collections.abc import Callable, Hashable, Iterator, Sequence
from types import ModuleType
from typing import Any

import attrs
import redis
from attrs import define, frozen
from redis.exceptions import NoScriptError, ResponseError

from redstep.driving import Overtaken, Raised, Returned, Run, command
from redstep.errors import Misuse, Unavailable, UnexpectedReply
from redstep.redis_errors import replied
from redstep.wishes import Announce, CallScript, DrawBytes, DrawInteger, GoOn, Protocol, ReadClock, RunWork, Sleep, Wish
from redstep_check.binding import Answer, Answered, Broke, Misused, session_prefix
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import (
    Asks,
    Concurrent,
    Ends,
    Fed,
    Heard,
    Interrupted,
    Pauses,
    Raw,
    Refused,
    Standing,
    Waits,
)
from redstep_spec.delivery import Failed, Unknown


class Cancelled(CancelledError):
    """The cancellation of a client."""


@define
class Process:
    """What a client's process has of its own."""

    identity: str
    clock_ms: int = 0
    drawn: int = 0

    def at_once(self, wish: ReadClock | DrawInteger | DrawBytes | GoOn) -> object:
        """Carry out what nobody has to wait for."""
        match wish:
            case ReadClock():
                return self.clock_ms
            case DrawInteger(least):
                return least
            case DrawBytes(size):
                self.drawn += 1
                return hashlib.sha256(f"{self.identity}.{self.drawn}".encode()).digest()[:size]
            case GoOn():
                return None


def stand(protocol: Protocol[Any], process: Process, fed: Sequence[Fed], reader: "Reader") -> Standing:
    """Run a protocol as far as it comes with what it is told."""
    run, told = Run(protocol), iter(fed)
    while (wish := run.wish) is not None:
        if isinstance(wish, ReadClock | DrawInteger | DrawBytes | GoOn):
            run.feed(Returned(process.at_once(wish)))
        elif (outcome := _outcome(wish, process, told)) is not None:
            run.feed(outcome)
        else:
            protocol.close()  # another, told the same, will go on in its place
            return Waits(_stop(wish))
    return Ends(ended(run.result, reader))


def _stop(wish: Wish) -> Asks | Pauses:
    match wish:
        case CallScript(idempotent=idempotent, finishes=finishes):
            return Asks(wish, idempotent, finishes)
        case Sleep():
            return Pauses("sleep")
        case RunWork():
            return Pauses("work")
        case _:
            return Pauses("announce")


def _outcome(wish: Wish, process: Process, told: Iterator[Fed]) -> Returned | Raised | None:
    """What a wish came to; None if that is not told yet."""
    fed = next(told, None)
    if fed is None:
        return None
    match fed.heard:
        case Heard.REPLY:
            return reply_of(fed.raw)
        case Heard.NOT_SENT:
            return Raised(Unavailable("no server was reached", definite=True))
        case Heard.LOST:
            return Raised(Unavailable("the reply was lost", definite=False))
        case Heard.CANCELLED:
            return Raised(Cancelled())
        case Heard.OVERTAKEN:
            came = reply_of(fed.raw)
            return Raised(Overtaken(came.value, Cancelled())) if isinstance(came, Returned) else came
        case Heard.GOES_ON:
            return _carried_out(wish, process)


def reply_of(raw: Raw | None) -> Returned | Raised:
    """A script's answer, as a driver would pass it on."""
    if isinstance(raw, Refused):
        return Raised(replied(ResponseError(raw.text)))
    return Returned(list(raw or ()))


def _carried_out(wish: Wish, process: Process) -> Returned | Raised:
    try:
        match wish:
            case Sleep(ms):
                process.clock_ms += ms
            case RunWork(work):
                return Returned(work())
            case Announce(listeners, event):
                for listener in listeners:
                    listener(event)
    except Exception as error:  # noqa: BLE001  whatever it is, it is the outcome
        return Raised(error)
    return Returned(None)


@frozen
class Reader:
    """How what an operation came to is told in the specification's terms."""

    result: Callable[[Any], Answer]
    error: Callable[[Exception], Answer | None]
    """None for an error that is no answer of this guard."""


def ended(result: Callable[[], Any], reader: Reader) -> Answer | Interrupted:
    """What an operation came to, as its caller sees it."""
    try:
        return reader.result(result())
    except Cancelled:
        return Interrupted()
    except Misuse as error:
        return Misused(error.argument)
    except Unavailable as error:
        return Failed() if error.definite else Unknown()
    except UnexpectedReply as error:
        return Broke(str(error), "CM-8")
    except Exception as error:  # noqa: BLE001  whatever else is raised, no rule allows it
        return reader.error(error) or Broke(repr(error))


def as_it_is(reply: Any) -> Answer:
    """A reply whose fields have the specification's names."""
    return Answered({} if reply is None else attrs.asdict(reply))


class ProtocolsOf(Concurrent):
    """The shipped protocols of one guard on an engine."""

    def __init__(self, engine: Engine, module: ModuleType) -> None:
        logging.getLogger("redstep").addHandler(logging.NullHandler())  # what it would log of the faults done to it is no news
        self.engine = engine
        self.module: Any = module
        """The guard's protocols, whole or with a fault in them."""
        self.client = engine.client()
        self.prefix = session_prefix(engine.prefix)
        self.can_flush = engine.owned
        if engine.owned:
            self.features = self.features | {"flush"}

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """All that the guard stores."""

    @abstractmethod
    def protocol(self, operation: Any, memory: Any) -> Protocol[Any]:
        """The protocol of an operation, by a client of this memory."""

    def recalled(self, memory: Any) -> Any:
        """The memory of a client's process, as protocols take it."""
        return memory

    def remembered(self, memory: Any) -> Hashable:
        """The same as a value."""
        return memory  # type: ignore[no-any-return]

    def answer(self, result: Any) -> Answer:
        """What an operation returned, by the names of the specification's reply fields."""
        return as_it_is(result)

    def error(self, error: Exception) -> Answer | None:
        """What an operation raised, if that is an answer of this guard."""
        del error
        return None

    def stand(self, client: int, begun: int, operation: Any, memory: Hashable, fed: Sequence[Fed]) -> Standing:
        """Run a fresh protocol as far as it comes."""
        own = self.recalled(memory)
        process, reader = Process(f"{client}.{begun}"), Reader(self.answer, self.error)
        standing = stand(self.protocol(operation, own), process, fed, reader)
        return attrs.evolve(standing, memory=self.remembered(own)) if isinstance(standing, Ends) else standing

    def begin(self) -> None:
        """Start anew with an empty store."""
        self.client.unlink(*self.keys)

    def execute(self, request: Any, now_ms: int) -> Raw:
        """Have the engine execute a script."""
        try:
            try:
                reply: Any = self.client.execute_command(*command(request, "EVALSHA", now_ms))  # type: ignore[no-untyped-call]
            except NoScriptError:
                reply = self.client.execute_command(*command(request, "EVAL", now_ms))  # type: ignore[no-untyped-call]
        except ResponseError as error:
            return Refused(str(error))
        return tuple(reply)

    def flush(self) -> None:
        """Make the engine forget its scripts."""
        self.engine.flush_scripts()

    def save(self) -> Hashable:
        """Dump all keys, with their TTLs."""
        both = self.client.pipeline(transaction=False)
        for key in self.keys:
            both.dump(key)
            both.pttl(key)
        return tuple(both.execute())

    def restore(self, saved: Any) -> None:
        """Put all keys back, and remove what was not there."""
        both = self.client.pipeline(transaction=False)
        for key, dumped, ttl_ms in zip(self.keys, saved[::2], saved[1::2], strict=True):
            if dumped is None:
                both.unlink(key)
            else:
                both.restore(key, max(0, ttl_ms), dumped, replace=True)
        both.execute()

    def close(self) -> None:
        """Leave nothing behind, and close the connection."""
        try:
            self.client.unlink(*self.keys)
        except redis.RedisError:
            return
        finally:
            self.client.close()
