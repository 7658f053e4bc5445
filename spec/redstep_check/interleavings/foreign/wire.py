"""The wire: commands and replies as RESP carries them; only as much of it as it takes to tell one from the next."""

from collections.abc import Iterator, Sequence
from typing import Any

from redstep_check.interleavings.binding import Refused

Command = tuple[bytes, ...]
Commands = tuple[Command, ...]

CRLF = b"\r\n"
LINES = frozenset(b"+-:_#,(")
"""Kinds of frame that are a line."""
BULKS = frozenset(b"$=!")
"""Kinds that carry so many bytes."""
AGGREGATES = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2}
"""Kinds that hold so many others for each one that they count."""


class Incomplete(Exception):
    """More bytes are needed."""


def packed(commands: Sequence[Command]) -> bytes:
    """Commands as bytes."""
    return b"".join(b"*%d\r\n%b" % (len(each), b"".join(map(bulk, each))) for each in commands)


def bulk(text: bytes) -> bytes:
    """A text as bytes."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def error(text: str) -> bytes:
    """An error as bytes."""
    return f"-{text}\r\n".encode()


def unpacked(data: bytes) -> Commands:
    """The commands that were sent."""
    commands, at = [], 0
    while at < len(data):
        end, words = parsed(data, at)
        commands.append(tuple(words))
        at = end
    return tuple(commands)


def frame_end(data: bytes | bytearray, at: int = 0) -> int:
    """Where the frame ends that begins here. Raises Incomplete."""
    kind, head, at = _head(data, at)
    if kind in LINES:
        return at
    count = int(head)
    if kind in BULKS:
        if count < 0:
            return at
        if len(data) < at + count + 2:
            raise Incomplete
        return at + count + 2
    for _ in range(max(0, count) * _members(kind)):
        at = frame_end(data, at)
    return at


def parsed(data: bytes, at: int = 0) -> tuple[int, Any]:
    """Where a frame ends, and what it holds: bytes, numbers, lists, None, or Refused for an error."""
    kind, head, at = _head(data, at)
    match chr(kind):
        case "+":
            return at, head
        case "-":
            return at, Refused(head.decode(errors="replace"))
        case ":" | "(":
            return at, int(head)
        case ",":
            return at, float(head)
        case "#":
            return at, head == b"t"
        case "_":
            return at, None
    count = int(head)
    if kind in BULKS:
        return (at, None) if count < 0 else (at + count + 2, data[at : at + count])
    if count < 0:
        return at, None
    members = []
    for _ in range(count * _members(kind)):
        at, member = parsed(data, at)
        members.append(member)
    return at, members


def replies(data: bytes) -> Iterator[Any]:
    """What each frame holds."""
    at = 0
    while at < len(data):
        at, value = parsed(data, at)
        yield value


def _head(data: bytes | bytearray, at: int) -> tuple[int, bytes, int]:
    end = data.find(CRLF, at)
    if end < 0:
        raise Incomplete
    return data[at], bytes(data[at + 1 : end]), end + 2


def _members(kind: int) -> int:
    if kind not in AGGREGATES:
        raise ValueError(f"{chr(kind)!r} begins no frame")
    return AGGREGATES[kind]
