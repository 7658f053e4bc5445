"""
Keys: what a command is about. All of it must begin with the prefix that the code was given (CK-13).

What lies elsewhere is neither put away between two schedules nor removed in the end. Which of a command's words are keys, the
engine says itself (COMMAND GETKEYS), once for each command; of a script's call they are counted. What a script touches beside
those is not seen.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from redstep_check.interleavings.binding import Refused
from redstep_check.interleavings.foreign.requests import EVALS, EVALSHAS, Unfit, keys_of, word
from redstep_check.interleavings.foreign.wire import Command, Commands

REMEMBERED_MAX = 100_000
"""Commands, of which it is known that they are in order."""


@define
class Keys:
    """Those that begin with a prefix."""

    prefix: bytes
    ask: Callable[..., Sequence[Any]]
    """The engine."""
    _in_order: set[Command] = field(factory=set)

    def require_own(self, commands: Commands) -> None:
        """Before they are executed. Raises Unfit."""
        unknown = []
        for command in commands:
            if word(command) in EVALS | EVALSHAS:
                self._require(command, keys_of(command))
            elif word(command) in (b"KEYS", b"SCAN"):
                self._require(command, (_pattern(command),))
            elif command not in self._in_order:
                unknown.append(command)
        for command, keys in zip(unknown, self.ask(*((b"COMMAND", b"GETKEYS", *each) for each in unknown)), strict=True):
            self._require(command, () if isinstance(keys, Refused) else keys)
        if len(self._in_order) + len(unknown) > REMEMBERED_MAX:
            self._in_order.clear()
        self._in_order.update(unknown)

    def _require(self, command: Command, keys: Sequence[bytes]) -> None:
        for key in keys:
            if not key.startswith(self.prefix):
                of = f"{word(command).decode()} is about {key.decode(errors='replace')!r}"
                raise Unfit(f"{of}, which does not begin with the prefix that it was given, {self.prefix.decode()}")


def _pattern(command: Command) -> bytes:
    """What KEYS or SCAN looks for."""
    if word(command) == b"KEYS":
        return command[1] if len(command) > 1 else b""
    options = [each.upper() for each in command]
    return command[options.index(b"MATCH") + 1] if b"MATCH" in options[:-1] else b"*"
