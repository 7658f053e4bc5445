"""
Replaying: a fresh operation is told what one like it heard before, and stops where that one did, or it is not fit.

A reply tells when it was given, and to what; so each stretch between two stops runs at the time of the round trip after it, and
what is asked again must be what was asked then. Commands that are pipelined, and are no transaction, are executed one after the
other, and others may come between them.
"""

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from redstep_check.interleavings.binding import Fed, Heard
from redstep_check.interleavings.foreign.operations import Lost, NotSent, Operation, Over, Packet, Slumber
from redstep_check.interleavings.foreign.requests import EVALS, EVALSHAS, Unfit, is_transaction, require_fit, word
from redstep_check.interleavings.foreign.scripts import NOSCRIPT, Scripts, sha_of
from redstep_check.interleavings.foreign.surroundings import Surroundings
from redstep_check.interleavings.foreign.wire import Commands, unpacked
from redstep_check.lockstep import Mismatch

STOPS_MAX = 200
"""How many stops an operation may have."""


class Nondeterministic(Unfit):
    """An operation that was told the same did something else."""


@frozen
class Reply:
    """What an execution came to."""

    data: bytes
    to: Commands
    now_ms: int
    was_flushed: bool = False

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
        self.was_split = False

    def run(self, fed: Sequence[Fed], start_ms: int, now_ms: int | None) -> tuple[Stop, bool]:
        """Tell it all; give where it stands then, and whether that depends on the time. Raises Unfit, Mismatch."""
        if len(fed) > STOPS_MAX:
            raise Unfit(f"it has not come to an end after {STOPS_MAX} stops")
        times = _times(fed, start_ms, now_ms)
        last_known = max((at for at, each in enumerate(fed) if each.raw is not None), default=-1)
        for at, each in enumerate(fed):
            self._at(times[at], forget=at <= last_known + 1)
            self._tell(self.stop(), each)
        self._at(times[-1], forget=len(fed) == last_known + 1)
        return self.stop(), self.given.was_read

    def _at(self, now_ms: int, *, forget: bool) -> None:
        self.given.now_ms = now_ms
        if forget:
            self.given.was_read = False

    def stop(self) -> Stop:
        """Go on to where the scheduler decides. Raises Unfit."""
        while not self.parts:
            stopped = self.operation.run()
            if not isinstance(stopped, Packet):
                return stopped
            commands = unpacked(stopped.data)
            require_fit(commands)
            if len(commands) == 1:
                if (answer := self.scripts.answered(commands[0])) is not None:
                    self.operation.tell(answer)
                    continue
            else:
                self._require_known(commands)
            self.parts = [commands] if is_transaction(commands) else [(each,) for each in commands]
            self.was_split = len(commands) > 1
            self.data = b""
        return self.parts[0]

    def _require_known(self, commands: Commands) -> None:
        for command in commands:
            if self.scripts.answered(command) is not None:
                raise Unfit("a pipeline calls a script that was not loaded before it; name it among `scripts`")

    def _tell(self, stop: Stop, fed: Fed) -> None:
        match stop, fed.heard:
            case Over(), _:
                raise Nondeterministic(f"it ends where it was told {fed.heard.value} before")
            case _, Heard.CANCELLED:
                self.parts = []
                self.operation.cancel()
            case Slumber(), Heard.GOES_ON:
                self.operation.wake()
            case tuple() as commands, Heard.REPLY:
                self._deliver(commands, Reply.of(fed.raw))
            case tuple(), Heard.NOT_SENT:
                self._fail(NotSent() if not self.data else self.lost)
            case tuple(), Heard.LOST:
                self._fail(self.lost)
            case _:
                raise Nondeterministic(f"it stops at {_told(stop)} where it was told {fed.heard.value} before")

    def _fail(self, how: NotSent | Lost) -> None:
        self.parts = []
        self.operation.tell(how)

    def _deliver(self, commands: Commands, reply: Reply) -> None:
        if commands != reply.to:
            raise Nondeterministic(f"it asks {_told(commands)} where it asked {_told(reply.to)} before, and heard the same")
        if reply.was_flushed:
            self._deliver_late(commands)
        self.data += reply.data
        self.parts = self.parts[1:]
        if not self.parts:
            self.operation.tell(self.data)

    def _deliver_late(self, commands: Commands) -> None:
        """The engine has forgotten the script: whoever called it must send it anew, and then call it again."""
        if self.was_split or word(commands[0]) not in EVALSHAS:
            return
        self.scripts.known.clear()
        self.parts = []
        self.operation.tell(NOSCRIPT)
        again = self.stop()
        if not isinstance(again, tuple) or _with_sha(again) != _with_sha(commands):
            raise Mismatch("CM-6", "what comes after NOSCRIPT", f"the script, and {_told(commands)} again", _told(again))


def _with_sha(commands: Commands) -> Commands:
    """The same call, whether by SHA or by text."""
    name, *rest = commands[0]
    return ((b"EVALSHA", sha_of(rest[0]), *rest[1:]),) if name.upper() in EVALS else commands


def _told(stop: Stop) -> str:
    if isinstance(stop, tuple):
        return "; ".join(b" ".join(each).decode(errors="replace") for each in stop)
    return "its end" if isinstance(stop, Over) else "a sleep"


def _times(fed: Sequence[Fed], start_ms: int, now_ms: int | None) -> list[int]:
    """When each stretch runs: at the time of the next reply that is known; the last ones now, or at the last reply."""
    known = [None if each.raw is None else Reply.of(each.raw).now_ms for each in fed]
    last = now_ms if now_ms is not None else next((each for each in reversed(known) if each is not None), start_ms)
    times = [last]
    for each in reversed(known):
        times.append(times[-1] if each is None else each)
    return times[::-1]
