"""Logs: every event survives its writer, and a torn line is none."""

from pathlib import Path

import pytest

from redstep_check.stress.logs import (
    ANSWERED,
    LOST,
    REPLIED,
    Asked,
    BadLog,
    Began,
    Ended,
    Entry,
    Heard,
    Log,
    Worked,
    load,
)

ENTRIES: list[Entry] = [
    Began(1, "p1", "p1/1", "0.1", {"do": "append", "event": 2}),
    Asked(2, "p1.1", "p1/1", "5a0f", [b"prefix:{0.1}"], [b"\x00\xff", 7, b""]),
    Heard(3, "p1.1", REPLIED, [1, b"\xc3\x28", [b"x", 2], None]),
    Heard(4, "p1.1", LOST, None),
    Worked(5, "p1", "p1/1", {"fence": 3}),
    Ended(6, "p1", "p1/1", ANSWERED, {"seq": 4, "recorded": True}),
]


def written(path: Path) -> Path:
    """A log of all of them."""
    log = Log(path)
    for each in ENTRIES:
        log.write(each)
    log.close()
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Byte for byte, those that are no text included."""
    assert list(load(written(tmp_path / "log"))) == ENTRIES


@pytest.mark.parametrize("torn", [1, 5, 30])
def test_a_torn_last_line_is_no_event(tmp_path: Path, torn: int) -> None:
    """All before it are there."""
    path = written(tmp_path / "log")
    path.write_bytes(path.read_bytes()[:-torn])
    assert list(load(path)) == ENTRIES[:-1]


def test_a_line_that_nobody_wrote_is_told(tmp_path: Path) -> None:
    """With its place."""
    path = written(tmp_path / "log")
    path.write_bytes(b'["asked", 1]\n' + path.read_bytes())
    with pytest.raises(BadLog, match="line 1"):
        list(load(path))
