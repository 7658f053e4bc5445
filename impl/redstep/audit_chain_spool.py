"""
The spool: a journal of the events whose append failed, so that a later `drain` can bring them in, each exactly once.

    keep   append id, event, and how it was linked when it was last sent      an append failed
    link   append id, and how it is linked now                                before it is sent otherwise
    done   append id                                                          it is in the chain, which is known

Each line is written and synced before what it is about may happen, so a process may be killed at any point. An event that may
have been appended is sent again as it was linked last, and finds itself; only after a definite mismatch is it linked anew, and
that is written down first. A line that the end of the process cut off was not yet of any consequence, and is dropped.

The file holds one JSON object a line, after the CRC-32 of its text. It belongs to one chain, and to one process at a time: a
lock on `<file>.lock` sees to that.
"""

import base64
import errno
import fcntl
import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from attrs import frozen

from redstep.audit_chain import Chain
from redstep.audit_chain_appending import Appended, Appending, Item, Memory, failed, settle
from redstep.audit_chain_encoding import linked
from redstep.audit_chain_errors import AppendFailed
from redstep.audit_chain_sending import GaveUp
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable
from redstep.wishes import Protocol, RunWork

Line = dict[str, Any]


class Spool:
    """The journal of one chain. Safe to share between threads. Raises Misuse if another process has it, Corrupt, OSError."""

    def __init__(self, path: str | os.PathLike[str], chain: Chain) -> None:
        self._path = Path(path)
        self._chain = chain
        self._lock = threading.Lock()
        self._draining = threading.Lock()
        self._held = _locked(self._path.with_name(f"{self._path.name}.lock"))
        try:
            self._kept = self._read()
            self._file = self._path.open("ab", buffering=0)
            if not self._path.stat().st_size:
                self._write({"chain": chain.name, "prefix": chain.prefix})
                _sync_directory(self._path)
        except BaseException:
            os.close(self._held)
            raise

    @property
    def kept(self) -> int:
        """How many events are kept."""
        with self._lock:
            return len(self._kept)

    def keep(self, appending: Appending) -> None:
        """Keep the events of an append that failed, each by itself."""
        with self._lock:
            lines = [_keeping(appending, number) for number in range(len(appending.items))]
            self._write(*lines)
            self._kept |= {line["keep"]: line for line in lines}

    def relinked(self, appending: Appending) -> None:
        """Take down how an event is linked now, before it is sent so: from then on, it may have been appended."""
        line = {**_keeping(appending, 0), "unknown": True}
        with self._lock:
            kept = self._kept[line.pop("keep")]
            self._write({"link": kept["keep"], **{name: line[name] for name in ("seq", "previous", "since")}})
            kept |= line

    def done(self, append_id: bytes) -> None:
        """Forget an event that is in the chain, or that somebody has seen to."""
        with self._lock:
            if append_id.hex() not in self._kept:
                raise Misuse("append_id", "is of no event that the spool keeps")
            self._write({"done": append_id.hex()})
            del self._kept[append_id.hex()]

    def begin_drain(self) -> list[Appending]:
        """Return what is kept, in the order in which it was, as it is to be gone on with. Raises Misuse.

        Two drains at a time could link one event twice.
        """
        if not self._draining.acquire(blocking=False):
            raise Misuse("spool", "is being drained already")
        with self._lock:
            return [_appending(self._chain, line) for line in self._kept.values()]

    def end_drain(self) -> int:
        """Write the journal anew, without what is done; return how many events are still kept."""
        self._draining.release()
        with self._lock:
            short = self._path.with_name(f"{self._path.name}.new")
            with short.open("wb") as file:
                lines = [{"chain": self._chain.name, "prefix": self._chain.prefix}, *self._kept.values()]
                file.write(b"".join(map(_encoded, lines)))
                file.flush()
                os.fsync(file.fileno())
            short.replace(self._path)
            _sync_directory(self._path)
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
            return len(self._kept)

    def close(self) -> None:
        """Let another process have it."""
        with self._lock:
            if not self._file.closed:
                self._file.close()
                os.close(self._held)

    def _write(self, *lines: Line) -> None:
        text, file = b"".join(map(_encoded, lines)), self._file.fileno()
        before = os.fstat(file).st_size
        try:
            if self._file.write(text) != len(text):
                raise OSError(errno.ENOSPC, "not written to its end", str(self._path))  # noqa: TRY301  as a write would
            os.fsync(file)
        except BaseException:
            os.ftruncate(file, before)
            raise

    def _read(self) -> dict[str, Line]:
        """Read what is kept; cut off a line that was not written to its end."""
        text = self._path.read_bytes() if self._path.exists() else b""
        kept: dict[str, Line] = {}
        whole = 0
        for number, raw in enumerate(text.splitlines(keepends=True), start=1):
            line = _decoded(raw)
            if line is None:
                if whole + len(raw) < len(text):
                    raise Corrupt(f"line {number} of the spool {self._path} is not as it was written")
                break
            whole += len(raw)
            self._understand(line, kept)
        if whole < len(text):
            os.truncate(self._path, whole)
        return kept

    def _understand(self, line: Line, kept: dict[str, Line]) -> None:
        match line:
            case {"chain": name, "prefix": prefix}:
                if (name, prefix) != (self._chain.name, self._chain.prefix):
                    raise Misuse(
                        "spool", f"holds events of the chain {prefix}{name}, not of {self._chain.prefix}{self._chain.name}"
                    )
            case {"keep": append_id}:
                kept[append_id] = line
            case {"link": append_id}:
                kept[append_id] |= {**{name: line[name] for name in ("seq", "previous", "since")}, "unknown": True}
            case {"done": append_id}:
                del kept[append_id]


@frozen
class Drained:
    """What a drain came to."""

    appended: tuple[tuple[bytes, Appended], ...]
    """Append ids, and where their events are in the chain."""
    failed: tuple[AppendFailed, ...]
    """What was tried in vain, and is kept. One whose place is sealed or lost stays until somebody looks, and discards it."""
    left: int
    """How many events are still kept."""


def drain(chain: Chain, memory: Memory, spool: Any) -> Protocol[Drained]:
    """Append what a spool keeps, in order, until all was tried or the store fails. Raises Misuse, OSError.

    `spool` may be one whose methods are awaited.
    """
    kept: list[Appending] = yield RunWork(spool.begin_drain)
    appended: list[tuple[bytes, Appended]] = []
    errors: list[AppendFailed] = []
    try:
        for appending in kept:
            append_id = appending.items[0].append_id
            try:
                [where] = yield from settle(chain, memory, appending, spool.relinked)
            except GaveUp as failure:
                errors += _kept((yield from failed(chain, appending, failure.cause)))
                if isinstance(failure.cause, Unavailable | ServiceOverloaded):
                    break
                continue
            yield RunWork(partial(spool.done, append_id))
            appended.append((append_id, where))
    finally:
        left: int = yield RunWork(spool.end_drain)
    return Drained(tuple(appended), tuple(errors), left)


def _kept(errors: Iterable[AppendFailed]) -> Iterator[AppendFailed]:
    return (type(each)(each.event, each.append_id, each.cause, spooled=True) for each in errors)


def _locked(path: Path) -> int:
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise Misuse("spool", f"{path} is locked: another client has this spool") from None
    return held


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _keeping(appending: Appending, number: int) -> Line:
    item = appending.items[number]
    record = appending.records[number] if appending.records else None
    return {
        "keep": item.append_id.hex(),
        "event": base64.b64encode(item.event).decode(),
        "seq": record.seq if record else None,
        "previous": record.previous.hex() if record else None,
        "since": appending.since,
        "unknown": appending.ambiguous,
    }


def _appending(chain: Chain, line: Line) -> Appending:
    item = Item(bytes.fromhex(line["keep"]), base64.b64decode(line["event"]))
    if not line["unknown"]:
        return Appending((item,))
    if line["since"] is not None:
        return Appending((item,), since=line["since"], ambiguous=True)
    record = linked(chain.chain_id, line["seq"], bytes.fromhex(line["previous"]), item.append_id, item.event)
    return Appending((item,), (record,), ambiguous=True)


def _encoded(line: Line) -> bytes:
    text = json.dumps(line).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _decoded(raw: bytes) -> Line | None:
    """Read a line; None if it is not as it was written."""
    checksum, _, text = raw.removesuffix(b"\n").partition(b" ")
    if not raw.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
        return None
    line: Line = json.loads(text)
    return line
