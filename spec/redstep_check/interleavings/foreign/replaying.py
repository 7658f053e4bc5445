"""
Replaying: a fresh operation is told what one like it heard before, and stops where that one did, or it is not fit.

Of each stop it is known when it came to something, and what was asked; so each stretch between two stops runs at the time of
the stop after it, and what is asked again must be what was asked then. NOSCRIPT alone is void: nothing was executed, so no time
has passed when the script is called again. Commands that are pipelined, and are no transaction, are executed one after the
other, and others may come between them.
"""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from redstep_check.interleavings.binding import Fed, Heard
from redstep_check.interleavings.foreign.operations import Lost, NotSent, Operation, Over, Packet, Slumber
from redstep_check.interleavings.foreign.requests import Unfit, is_transaction, require_fit
from redstep_check.interleavings.foreign.scripts import Scripts, called, executable, forgotten
from redstep_check.interleavings.foreign.surroundings import Surroundings
from redstep_check.interleavings.foreign.wire import Commands, unpacked
from redstep_check.lockstep import Mismatch

STOPS_MAX = 200
"""How many stops an operation may have."""
UNGOVERNED = "does it ask a clock, or chance, that is not given? `patched` can give one"


class Nondeterministic(Unfit):
    """An operation that was told the same did something else."""


@frozen
class Reply:
    """What a stop came to."""

    data: bytes
    """Nothing if nobody heard it."""
    to: Commands
    """None for a sleep."""
    now_ms: int
    was_flushed: bool = False

    @property
    def is_void(self) -> bool:
        """Whether none of it was executed, as the engine had forgotten the scripts."""
        return self.was_flushed and not executable(self.to)

    @classmethod
    def of(cls, raw: Any) -> "Reply":
        """From the form in which the scheduler passes it on."""
        return cls(*raw)

    @property
    def raw(self) -> tuple[Any, ...]:
        """The form in which the scheduler passes it on."""
        return (self.data, self.to, self.now_ms, self.was_flushed)


Stop = Commands | Slumber | Over


class Replay:
    """One operation, begun afresh."""

    def __init__(self, operation: Operation, given: Surroundings, scripts: Scripts, lost: Lost) -> None:
        self.operation = operation
        self.given = given
        self.scripts = scripts
        self.lost = lost
        self.parts: list[Commands] = []
        """What of a packet is still to be executed."""
        self.data = b""
        """The replies to those that were."""
        self.forgotten: Commands = ()
        """The calls to which it heard NOSCRIPT, until it makes them again."""

    def run(self, fed: Sequence[Fed], start_ms: int, now_ms: int | None) -> tuple[Stop, bool]:
        """Tell it all; give where it stands then, and whether that depends on the time. Raises Unfit, Mismatch."""
        if len(fed) > STOPS_MAX:
            raise Unfit(f"it has not come to an end after {STOPS_MAX} stops")
        replies = [Reply.of(each.raw) for each in fed]
        times = _times(replies, start_ms, now_ms)
        for each, reply, then_ms in zip(fed, replies, times, strict=False):
            self._tell(self._stop(then_ms), each.heard, reply)
            self.given.was_read &= reply.is_void
        return self._stop(times[-1]), self.given.was_read

    def _stop(self, now_ms: int) -> Stop:
        """Go on at this time, to where the scheduler decides. Raises Unfit, Mismatch."""
        self.given.now_ms = now_ms
        for _ in range(STOPS_MAX):
            if self.parts:
                return self.parts[0]
            stopped = self.operation.run()
            if not isinstance(stopped, Packet):
                self._require_called_again(stopped, ())
                return stopped
            commands = unpacked(stopped.data)
            require_fit(commands)
            if len(commands) == 1 and (answer := self.scripts.answered(commands[0])) is not None:
                self.operation.tell(answer)
            else:
                self._begin(commands)
        raise Unfit(f"it loads scripts, or calls such as are not loaded, {STOPS_MAX} times in a row")

    def _begin(self, commands: Commands) -> None:
        """A packet has been sent."""
        if len(commands) > 1 and any(self.scripts.answered(each) is not None for each in commands):
            self._require_called_again(commands, ())
            raise Unfit("a pipeline calls a script that was not loaded before it; name it among `scripts`")
        self._require_called_again(commands, commands)
        self.parts = [commands] if is_transaction(commands) else [(each,) for each in commands]
        self.data = b""

    def _require_called_again(self, stop: Stop, commands: Commands) -> None:
        """CM-6: who has heard NOSCRIPT loads the script, and calls it again about the same keys, and does nothing before."""
        if {*map(called, self.forgotten)} - {*map(called, commands)}:
            raise Mismatch("CM-6", "what comes after NOSCRIPT", f"the script, and {_told(self.forgotten)} again", _told(stop))
        self.forgotten = ()

    def _tell(self, stop: Stop, heard: Heard, reply: Reply) -> None:
        if isinstance(stop, Over):
            raise Nondeterministic(f"it ends where it was told {heard.value} before; {UNGOVERNED}")
        asked = stop if isinstance(stop, tuple) else ()
        if asked != reply.to and not (reply.is_void and [*map(called, asked)] == [*map(called, reply.to)]):
            before = _told(reply.to or Slumber())
            raise Nondeterministic(f"it asks {_told(stop)} where it asked {before} before, and heard the same; {UNGOVERNED}")
        match stop, heard:
            case _, Heard.CANCELLED:
                self.parts = []
                self.operation.cancel()
            case Slumber(), Heard.GOES_ON:
                self.operation.wake()
            case tuple() as commands, Heard.REPLY:
                self._deliver(commands, reply)
            case tuple(), Heard.NOT_SENT:
                self._fail(NotSent() if not self.data else self.lost)
            case tuple(), Heard.LOST:
                self._fail(self.lost)
            case _:
                raise Nondeterministic(f"it stops at {_told(stop)} where it was told {heard.value} before; {UNGOVERNED}")

    def _fail(self, how: NotSent | Lost) -> None:
        self.parts = []
        self.operation.tell(how)

    def _deliver(self, commands: Commands, reply: Reply) -> None:
        self.data += reply.data
        self.parts = self.parts[1:]
        if reply.was_flushed:
            self.forgotten += forgotten(commands)
            self.scripts.known.clear()
        while self.parts and (answer := self.scripts.answered(self.parts[0][0])) is not None:
            self.data += answer
            self.forgotten += self.parts.pop(0)
        if not self.parts:
            self.operation.tell(self.data)


def _told(stop: Stop) -> str:
    if isinstance(stop, tuple):
        return "; ".join(b" ".join(each).decode(errors="replace") for each in stop)
    return "its end" if isinstance(stop, Over) else "a sleep"


def _times(replies: Sequence[Reply], start_ms: int, now_ms: int | None) -> list[int]:
    """When each stretch runs: at the time of the stop after it, unless that was void; the last one now, or at the last stop."""
    times = [now_ms if now_ms is not None else replies[-1].now_ms if replies else start_ms]
    for reply in reversed(replies):
        times.append(times[-1] if reply.is_void else reply.now_ms)
    return times[::-1]
