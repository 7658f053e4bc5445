"""Sync code: an operation in a greenlet, which switches to whoever drives it when it sends and when it sleeps."""

from collections.abc import Callable
from typing import Any

import greenlet  # type: ignore[import-untyped, unused-ignore]
import redis

from redstep_check.interleavings.foreign.operations import (
    ROUNDS_MAX,
    Lost,
    Operation,
    Outcome,
    Over,
    Packet,
    Slumber,
    Stopped,
    raising,
)
from redstep_check.interleavings.foreign.surroundings import Surroundings, refuse


class Interruption(KeyboardInterrupt):
    """What cancels sync code: nothing else can, but the process's user."""


def _switch(stopped: Stopped) -> Any:
    own: Any = greenlet.getcurrent()
    if not getattr(own, "runs_operation", False):
        refuse("the client belongs to an operation under the scheduler, in its own thread, and works nowhere else")
    return own.parent.switch(stopped)


class _Wire:
    """What a connection has for a socket."""

    def __init__(self) -> None:
        self.outcome: bytes | Lost = b""

    def sendall(self, data: bytes) -> None:
        """Send it, and wait for the scheduler."""
        outcome = _switch(Packet(data))
        if not isinstance(outcome, bytes | Lost):
            raise ConnectionRefusedError(111, "Connection refused")
        self.outcome = outcome

    def recv(self, size: int) -> bytes:
        """Give what has come."""
        if self.outcome is Lost.TIMEOUT:
            raise TimeoutError("timed out")
        if not isinstance(self.outcome, bytes):
            return b""
        data, self.outcome = self.outcome[:size], self.outcome[size:]
        return data

    def settimeout(self, seconds: float | None) -> None:
        """Nobody waits here."""

    def shutdown(self, how: int) -> None:
        """There is nothing to shut down."""

    def close(self) -> None:
        """Nor to close."""


class Connection(redis.Connection):
    """A connection of redis-py's that ends in the scheduler."""

    def _connect(self) -> Any:
        return _Wire()

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Nobody greets."""
        del check_health
        self._parser.on_connect(self)

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        """In one piece, however large it is."""
        whole = command if isinstance(command, str | bytes) else b"".join(command)
        super().send_packed_command([whole], check_health)  # type: ignore[no-untyped-call]

    def check_health(self) -> None:
        """Nobody asks after it."""

    def can_read(self, timeout: float = 0) -> bool:
        """Nothing comes unasked."""
        del timeout
        return False


class GreenletOperation(Operation):
    """Sync code under way."""

    def __init__(self, begin: Callable[[], Any], given: Surroundings) -> None:
        self.begin = begin
        self.given = given
        self.greenlet: Any = greenlet.greenlet(self._begun)
        self.greenlet.runs_operation = True
        self.next: Any = None
        self.slept_s = 0.0
        self.was_cancelled = False

    def _begun(self) -> Over:
        try:
            result = self.begin()
        except Interruption as error:
            return raising(error, was_interrupted=self.was_cancelled)
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever it is, it is how it ends
            return raising(error)
        return Over(lambda: result)

    def run(self) -> Stopped:
        """To the next packet or sleep, or to the end."""
        self.greenlet.parent = greenlet.getcurrent()
        told, self.next = self.next, None
        stopped: Stopped = self.greenlet.throw(told) if isinstance(told, Interruption) else self.greenlet.switch(*_given(told))
        self.given.require_fit()
        return stopped

    def sleep(self, seconds: float) -> None:
        """Stands in the place of `time.sleep`."""
        self.slept_s = seconds
        _switch(Slumber())

    def tell(self, outcome: Outcome) -> None:
        """Give it to the connection."""
        self.next = outcome

    def wake(self) -> None:
        """Its own clock has gone on by what it slept."""
        self.given.slept_s += self.slept_s

    def cancel(self) -> None:
        """Interrupt it where it waits."""
        self.was_cancelled = True
        self.next = Interruption()

    def discard(self) -> None:
        """Have it exit, whatever it does on its way out."""
        self.greenlet.parent = greenlet.getcurrent()
        for _ in range(ROUNDS_MAX):
            if not self.greenlet:
                break
            self.greenlet.throw(greenlet.GreenletExit)


def _given(told: Any) -> tuple[Any, ...]:
    return () if told is None else (told,)
