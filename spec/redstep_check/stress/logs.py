"""
Logs: what clients did, event by event, in a file to which a line is added by one system call.

    ["asked", 17, "p3.1", "p3/4", "5a0f…", ["…key"], ["1700", 1]]      a request is about to be sent
    ["heard", 19, "p3.1", "replied", [1, 0, 8, 7, 0, 50, 1700]]        and answered, refused or lost

Bytes stand as text of one character each (Latin-1), for nothing in a log is text otherwise. What a killed process wrote is
there; of a last line that is torn, the event counts as not written: then its request was not sent, or its reply is not known.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

REPLIED, REFUSED, LOST = "replied", "refused", "lost"
ANSWERED, FAILED, UNKNOWN, BROKE = "answered", "failed", "unknown", "broke"


@frozen
class Asked:
    """A script call is about to be sent."""

    at: int
    lane: str
    """The connection."""
    operation: str
    """That of the caller on whose behalf it is sent; of several that go in together, one."""
    script: str
    """Its SHA-1."""
    keys: list[bytes]
    args: list[Any]
    """As they are sent: bytes and integers."""


@frozen
class Heard:
    """Its reply was read, or will never be."""

    at: int
    lane: str
    outcome: str
    """`replied`, `refused` by an error reply, or `lost`."""
    reply: Any
    """Of integers, bytes and lists; of an error reply, the class and the text of what redis-py raises."""


@frozen
class Began:
    """A caller calls a public operation."""

    at: int
    client: str
    operation: str
    key: str
    call: dict[str, Any]
    """What is asked for, by name."""


@frozen
class Ended:
    """It returned or raised."""

    at: int
    client: str
    operation: str
    outcome: str
    """`answered`, `failed` for certain, `unknown`, or `broke`: no rule allows it."""
    values: dict[str, Any]
    """What it was told, by name."""


@frozen
class Worked:
    """The caller's own work took effect."""

    at: int
    client: str
    operation: str
    values: dict[str, Any]


Entry = Asked | Heard | Began | Ended | Worked
KINDS: dict[str, type[Entry]] = {each.__name__.lower(): each for each in (Asked, Heard, Began, Ended, Worked)}


class BadLog(ValueError):
    """A line that no client can have written."""


class Log:
    """A file to which events are added. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it. Raises OSError."""
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, entry: Entry) -> None:
        """Add an event."""
        fields = [getattr(entry, each.name) for each in attrs.fields(type(entry))]
        line = json.dumps([type(entry).__name__.lower(), *map(_plain, fields)], separators=(",", ":"))
        os.write(self._file, f"{line}\n".encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def load(path: Path) -> Iterator[Entry]:
    """Read a log, without a last line that is torn. Raises BadLog, OSError."""
    *lines, _torn = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            kind, *fields = json.loads(line)
            yield _entry(KINDS[kind], fields)
        except (ValueError, LookupError, TypeError) as error:
            raise BadLog(f"{path}, line {number}: {error}") from error


def _entry(kind: type[Entry], fields: list[Any]) -> Entry:
    if kind is Asked:
        at, lane, operation, script, keys, args = fields
        return Asked(at, lane, operation, script, wire(keys), wire(args))
    if kind is Heard:
        at, lane, outcome, reply = fields
        return Heard(at, lane, outcome, wire(reply) if outcome == REPLIED else reply)
    return kind(*fields)


def wire(value: Any) -> Any:
    """What went over the wire, of what stands in a log: texts are bytes."""
    match value:
        case str():
            return value.encode("latin-1")
        case list():
            return [wire(each) for each in value]
    return value


def _plain(value: Any) -> Any:
    match value:
        case bytes():
            return value.decode("latin-1")
        case list() | tuple():
            return [_plain(each) for each in value]
        case dict():
            return {name: _plain(each) for name, each in value.items()}
    return value
