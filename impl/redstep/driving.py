"""What both drivers share: a protocol under way, what this process has of its own, and how a request is spelled."""

import contextlib
import random
import secrets
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from attrs import frozen

from redstep.errors import Misuse
from redstep.wishes import NOW, CallScript, DrawBytes, DrawInteger, GoOn, Protocol, ReadClock, Sleep, Wish

T = TypeVar("T")
Clock = Callable[[], int]
"""Tells the time, in ms."""
Draw = Callable[[int, int], int]
"""Draws an integer from the least to the most, both included."""
Words = tuple[str | bytes | int, ...]
"""A command, as it is sent."""

COMPENSATION_MAX_MS = 1_000
"""How long the compensation of a cancelled protocol may take. A thread can't be stopped: there, what is under way at
that moment ends by the timeouts of the client's pool and sockets."""


@frozen
class Returned:
    """A wish came to a value."""

    value: Any


@frozen
class Raised:
    """A wish came to an error, or was interrupted."""

    error: BaseException


class Overtaken(BaseException):
    """A wish came to a value, but a cancellation came first, and waited."""

    def __init__(self, value: object, cancellation: BaseException) -> None:
        super().__init__()
        self.value = value
        self.cancellation = cancellation


class Interrupted(BaseException):
    """What a protocol sees of a GeneratorExit, which itself would close the generators that the protocol delegates to."""


class Run(Generic[T]):
    """A protocol under way: what it wishes for now, and in the end what it came to."""

    def __init__(self, protocol: Protocol[T]) -> None:
        self._protocol = protocol
        self._result: Returned | Raised | None = None
        self.wish: Wish | None = None
        """What it waits for; None when it has ended."""
        self.interruption: BaseException | None = None
        """The cancellation that was thrown in. Wishes after it are compensation."""
        self._stop: StopIteration | None = None
        self._go_on(next, protocol)

    def feed(self, outcome: Returned | Raised) -> None:
        """Tell the protocol what its wish came to."""
        try:
            if isinstance(outcome, Returned):
                self._go_on(self._protocol.send, outcome.value)
            elif isinstance(outcome.error, Overtaken):
                self._overtake(outcome.error)
            else:
                self._go_on(self._protocol.throw, self._thrown(outcome.error))
        finally:
            del outcome

    def _thrown(self, error: BaseException) -> BaseException:
        """What a protocol sees of an error; an interruption is remembered."""
        if not isinstance(error, Exception):
            self.interruption = self.interruption or error
        if isinstance(error, StopIteration):
            self._stop = error
        return Interrupted() if isinstance(error, GeneratorExit) else error

    def _overtake(self, late: Overtaken) -> None:
        self._go_on(self._protocol.send, late.value)
        self.interruption = self.interruption or late.cancellation
        if self.wish is not None:
            self.feed(Raised(late.cancellation))

    def abandon(self) -> None:
        """End a protocol whose compensation took too long."""
        self.wish = None
        with contextlib.suppress(Exception):  # whatever it still wishes or raises, the interruption goes on
            self._protocol.close()

    def result(self) -> T:
        """Return or raise what the protocol came to; an interruption goes on, whatever that was.

        Once: no error is kept here or in a frame that it passed. It holds these, and all would stay until garbage is collected.
        """
        result, self._result = self._result, None
        if self.interruption is not None:
            result, self.interruption = Raised(self.interruption), None
        if isinstance(result, Returned):
            value: T = result.value
            return value
        self._stop = None
        try:
            raise result.error if result else RuntimeError("the protocol has not ended")
        finally:
            del result

    def _go_on(self, move: Callable[..., Wish], *told: Any) -> None:
        try:
            self.wish = move(*told)
        except StopIteration as ended:
            self.wish, self._result = None, Returned(ended.value)
        except RuntimeError as error:  # a StopIteration that leaves a generator is turned into the cause of one
            self.wish, self._result = None, Raised(self._stop if self._stop and error.__cause__ is self._stop else error)
        except BaseException as error:  # noqa: BLE001  whatever it is, result() raises it again
            self.wish, self._result = None, Raised(error)
        finally:
            del told


def monotonic_ms() -> int:
    """Tell the time of this process."""
    return time.monotonic_ns() // 1_000_000


@frozen(kw_only=True)
class Sources:
    """What this process has of its own: a clock and chance."""

    clock: Clock
    """Monotonic, in ms."""
    draw: Draw
    """For jitter, which is no secret."""

    def at_once(self, wish: ReadClock | DrawInteger | DrawBytes | GoOn) -> object:
        """Carry out a wish that nobody has to wait for."""
        match wish:
            case ReadClock():
                return self.clock()
            case DrawInteger(least, most):
                return self.draw(least, most)
            case DrawBytes(size):
                return secrets.token_bytes(size)
            case GoOn():
                return None


def command(request: CallScript, how: str, now_ms: int | None) -> Words:
    """Spell a request out: `how` is EVALSHA or EVAL, `now_ms` an explicit clock or None for the engine's own.

    In UTF-8, whatever encoding the caller's client has: in another one, two names might become the same key.
    """
    now = "" if now_ms is None else now_ms
    args = (now if arg is NOW else arg for arg in request.args)
    script = request.script.sha1 if how == "EVALSHA" else request.script.text
    words = (script, len(request.keys), *request.keys, *args)
    return (how, *(word.encode() if isinstance(word, str) else word for word in words))


def within(wish: Wish, left_ms: int) -> Wish:
    """Shorten a wish for sleep to the time that is left."""
    return Sleep(min(wish.ms, left_ms)) if isinstance(wish, Sleep) else wish


def checked_clock(clock: Clock | None) -> Clock | None:
    """Return what tells the time, or None for the engine's own clock."""
    if clock is not None and not callable(clock):
        raise Misuse("clock", f"must be a function that returns ms, or None for the engine's own, not a {type(clock).__name__}")
    return clock


def sources(clock: Clock | None = None, draw: Draw | None = None) -> Sources:
    """Return where times and draws come from; None for this process's own. Raises Misuse."""
    if clock is not None and not callable(clock):
        raise Misuse("clock", f"must be a function that returns ms, or None, not a {type(clock).__name__}")
    if draw is not None and not callable(draw):
        raise Misuse("draw", f"must be a function of the least and the most integer, or None, not a {type(draw).__name__}")
    return Sources(clock=clock or monotonic_ms, draw=draw or random.randint)
