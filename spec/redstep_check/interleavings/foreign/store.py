"""
The store: an engine that executes what foreign code sent, at a time of the schedule.

A millisecond of the schedule is an hour (or whatever `unit_ms` says) of the implementation's, so the engine's own clock, which
goes on meanwhile, matters to nothing. What is left of a key's life is counted in those units: before each execution the engine
is told anew what is left, and what has ended is removed.
"""

import re
from typing import Any

from attrs import frozen

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.foreign.keys import Keys
from redstep_check.interleavings.foreign.requests import EVALS, EVALSHAS, word
from redstep_check.interleavings.foreign.scripts import Engineered
from redstep_check.interleavings.foreign.wire import Command, Commands, Incomplete, bulk, frame_end, packed, replies

GLOB = re.compile(r"([*?\[\]\\])")
SLACK = 60
"""The part of a unit by which a life may differ from a whole number of them: a minute of an hour."""


@frozen
class Saved:
    """A key, what it holds, and when its life ends: at an instant of the schedule, or never."""

    key: bytes
    dumped: bytes
    ends_ms: int | None


class Store:
    """The keys that begin with a prefix, on an engine."""

    def __init__(self, engine: Engine, prefix: str, unit_ms: int, protocol: int | None = None) -> None:
        if engine.address is None:
            raise Unsupported(f"{engine.name} has no socket, through which foreign code is executed")
        self.engine = engine
        self.prefix = prefix
        self.client: Any = engine.client(protocol=protocol)
        self.connection: Any = self.client.connection_pool.get_connection()
        self.pattern = (GLOB.sub(r"\\\1", prefix) + "*").encode()
        self.unit_ms = unit_ms
        self.now_ms = 0
        self._saved: tuple[Saved, ...] | None = None
        self.lives: dict[bytes, int | None] = {}
        """When each key's life ends."""
        self.texts: dict[bytes, bytes] = {}
        """All scripts that were sent, by their SHA."""
        self._engineered: dict[bytes, Engineered] = {}
        self._loaded: set[bytes] = set()
        self.has_forgotten = False
        """Whether, for the next execution, the engine has forgotten all scripts."""
        self.keys = Keys(prefix.encode(), self.ask)

    def execute(self, commands: Commands, now_ms: int) -> bytes:
        """Execute them at a time of the schedule, and give the replies' bytes. Raises Unfit."""
        self.keys.require_own(commands)
        self._age(now_ms)
        self._saved = None
        if word(commands[0]) == b"TIME":
            now_us = self.now_us
            return b"*2\r\n" + bulk(b"%d" % (now_us // 1_000_000)) + bulk(b"%d" % (now_us % 1_000_000))
        data = self.exchange(tuple(map(self._as_engine_has_it, commands)))
        self.has_forgotten = False
        self._note()
        return data

    @property
    def now_us(self) -> int:
        """The implementation's time."""
        return self.now_ms * self.unit_ms * 1000

    def exchange(self, commands: Commands) -> bytes:
        """Send commands as they are, and give the replies' bytes."""
        self.connection.send_packed_command([packed(commands)])
        socket = self.connection._get_socket()  # noqa: SLF001  a reply's bytes are to be had nowhere else
        data, at, left = bytearray(), 0, len(commands)
        while left:
            try:
                at = frame_end(data, at)
                left -= 1
            except Incomplete:
                more = socket.recv(65536)
                if not more:
                    raise ConnectionError(f"{self.engine.name} has closed the connection") from None
                data += more
        return bytes(data)

    def ask(self, *commands: Command) -> list[Any]:
        """What they are answered."""
        return list(replies(self.exchange(commands))) if commands else []

    def _as_engine_has_it(self, command: Command) -> Command:
        name = word(command)
        if name not in EVALS | EVALSHAS:
            return command
        text = command[1] if name in EVALS else self.texts.get(command[1].lower())
        if text is None:
            return command
        script = self._engineered.get(text)
        if script is None:
            script = self._engineered[text] = Engineered(text)
        if name in EVALSHAS and script.sha not in self._loaded and not self.has_forgotten:
            self.ask((b"SCRIPT", b"LOAD", script.text))
            self._loaded.add(script.sha)
        return script.command(command, self.now_us)

    def flush_scripts(self) -> None:
        """Have the engine forget its scripts; after the next execution it knows them again, for whoever else calls them."""
        self.engine.flush_scripts()
        self._loaded.clear()
        self.has_forgotten = True

    # ------------------------------------------------------------------------------------------ lives of keys

    def stored_keys(self) -> list[bytes]:
        """All there are."""
        found, cursor = set[bytes](), b"0"
        while True:
            [[cursor, keys]] = self.ask((b"SCAN", cursor, b"MATCH", self.pattern, b"COUNT", b"1000"))
            found |= set(keys)
            if cursor == b"0":
                return sorted(found)

    def _age(self, now_ms: int) -> None:
        """A key ends after the last instant of its life, as the engines have it."""
        self.now_ms = now_ms
        commands: list[Command] = []
        for key, ends_ms in list(self.lives.items()):
            if ends_ms is not None and now_ms > ends_ms:
                commands.append((b"UNLINK", key))
                del self.lives[key]
            elif ends_ms is not None:
                left_ms = (ends_ms - now_ms) * self.unit_ms + self.unit_ms // SLACK
                commands.append((b"PEXPIRE", key, b"%d" % left_ms))
        self.ask(*commands)

    def _note(self) -> None:
        keys = self.stored_keys()
        lives = self.ask(*((b"PTTL", key) for key in keys))
        units = ((left_ms + self.unit_ms // SLACK) // self.unit_ms for left_ms in lives)
        ends = (None if left_ms < 0 else self.now_ms + left for left_ms, left in zip(lives, units, strict=True))
        self.lives = dict(zip(keys, ends, strict=True))

    def save(self) -> tuple[Saved, ...]:
        """All that is stored."""
        if self._saved is None:
            dumps = self.ask(*((b"DUMP", key) for key in self.lives))
            self._saved = tuple(Saved(key, dumped, ends) for (key, ends), dumped in zip(self.lives.items(), dumps, strict=True))
        return self._saved

    def restore(self, saved: tuple[Saved, ...]) -> None:
        """Put it back, and remove what was not there."""
        self.clear()
        self.ask(*((b"RESTORE", each.key, b"0", each.dumped) for each in saved))
        self.lives = {each.key: each.ends_ms for each in saved}
        self._saved = saved

    def clear(self) -> None:
        """Remove all."""
        keys = self.stored_keys()
        if keys:
            self.ask((b"UNLINK", *keys))
        self.lives = {}
        self._saved = ()

    def close(self) -> None:
        """Leave nothing behind."""
        try:
            self.clear()
        finally:
            self.client.connection_pool.release(self.connection)
            self.client.close()
