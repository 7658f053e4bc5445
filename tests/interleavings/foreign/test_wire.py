"""Frames of RESP: where each ends, and what it holds."""

import pytest

from redstep_check.interleavings.binding import Refused
from redstep_check.interleavings.foreign.wire import Incomplete, frame_end, packed, parsed, replies, unpacked

FRAMES = [
    (b"+OK\r\n", b"OK"),
    (b"-ERR no\r\n", Refused("ERR no")),
    (b":-3\r\n", -3),
    (b"(12345678901234567890\r\n", 12345678901234567890),
    (b",1.5\r\n", 1.5),
    (b"#t\r\n", True),
    (b"_\r\n", None),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"$4\r\na\r\nb\r\n", b"a\r\nb"),
    (b"=5\r\ntxt:a\r\n", b"txt:a"),
    (b"*2\r\n:1\r\n*1\r\n$1\r\na\r\n", [1, [b"a"]]),
    (b"%1\r\n+k\r\n:1\r\n", [b"k", 1]),
    (b"~1\r\n:1\r\n", [1]),
]


@pytest.mark.parametrize(("data", "value"), FRAMES)
def test_a_frame_ends_where_it_ends(data: bytes, value: object) -> None:
    """And not before; what follows is not looked at."""
    assert parsed(data + b"+more\r\n") == (len(data), value)
    assert frame_end(data + b"+more\r\n") == len(data)
    for size in range(len(data)):
        with pytest.raises(Incomplete):
            frame_end(data[:size])


def test_what_is_no_frame_is_not_taken_for_one() -> None:
    """By its first byte."""
    with pytest.raises(ValueError, match="'x' begins no frame"):
        frame_end(b"x1\r\n")


def test_commands_are_packed_and_unpacked() -> None:
    """In order, whatever bytes are in them."""
    commands = ((b"SET", b"k\r\n", b""), (b"GET", b"\x00"))
    assert unpacked(packed(commands)) == commands
    assert list(replies(b"+OK\r\n:1\r\n")) == [b"OK", 1]
