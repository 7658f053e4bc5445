"""An operation of foreign code, whatever it runs in: it stops when it sends or sleeps, and is told what came of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import frozen

ROUNDS_MAX = 100
"""How often an operation that is discarded may want to go on."""


@frozen
class Packet:
    """It has sent these bytes, and waits for the replies."""

    data: bytes


@frozen
class Slumber:
    """It sleeps."""


@frozen
class Over:
    """It has come to an end."""

    result: Callable[[], Any]
    """Returns what it returned, raises what it raised."""
    was_interrupted: bool = False
    """Whether it was raised by its cancellation."""


Stopped = Packet | Slumber | Over


def raising(error: BaseException, *, was_interrupted: bool = False) -> Over:
    """The end of what has raised this."""

    def result() -> Any:
        raise error

    return Over(result, was_interrupted)


class Lost(Enum):
    """How no reply comes."""

    CLOSED = "the connection is closed"
    """redis-py raises ConnectionError."""
    TIMEOUT = "the client's patience ends"
    """redis-py raises TimeoutError."""


class NotSent:
    """No server was reached."""


Outcome = bytes | Lost | NotSent


class Operation(ABC):
    """One operation under way."""

    @abstractmethod
    def run(self) -> Stopped:
        """Go on until it stops. Raises Unfit if it waits for something else, or was refused something on the way."""

    @abstractmethod
    def tell(self, outcome: Outcome) -> None:
        """Tell it what came of the packet it stopped at."""

    @abstractmethod
    def wake(self) -> None:
        """Its sleep is over."""

    @abstractmethod
    def cancel(self) -> None:
        """Interrupt it where it stopped."""

    @abstractmethod
    def discard(self) -> None:
        """End it without a trace, whatever it still wants to do."""
