"""
The spool: a journal of the appends that failed, so that a later `drain` can bring their events in, each exactly once.

    keep   append ids and events, and how they were linked when they were last sent      an append failed
    link   append id of the first, and how they are linked now                           before they are sent otherwise
    done   append ids                                                                    they are in the chain, which is known

Each line is written and synced before what it is about may happen, so a process may be killed at any point. What may have been
appended is sent again as it was linked last, and finds itself; only after a definite mismatch is it linked anew, and that is
written down first. What went together goes together: the links of a batch are told from its first, and hold for all of it or
for none. A line that the end of the process cut off was not yet of any consequence, and is dropped.

The file holds one JSON object a line, after the CRC-32 of its text. It belongs to one chain, and to one process at a time: a
lock on `<file>.lock` sees to that, and a process that is forked from that one has no part in it.
"""

import base64
import errno
import fcntl
import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from attrs import define, frozen

from redstep.audit_chain import Chain, Head
from redstep.audit_chain_appending import Appended, Appending, Item, Memory, failed, settle
from redstep.audit_chain_errors import AppendFailed
from redstep.audit_chain_sending import GaveUp
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable
from redstep.forks import heed_forks
from redstep.wishes import Protocol, RunWork

Line = dict[str, Any]


@define(eq=False)
class Turn:
    """One drain of a spool. It may be over before it began, when whoever asked for it on a thread was cancelled."""

    is_over: bool = False


class Spool:
    """The journal of one chain. Safe to share between threads. Raises Misuse if another process has it, Corrupt, OSError.

    In a process that was forked from the one that made it, its methods raise Misuse.
    """

    def __init__(self, path: str | os.PathLike[str], chain: Chain) -> None:
        self._path = Path(path)
        self._chain = chain
        self._lock = threading.Lock()
        self._turn: Turn | None = None
        self._process = os.getpid()
        self._held = _locked(self._path.with_name(f"{self._path.name}.lock"))
        try:
            self._kept = self._read()
            self._file: IO[bytes] = self._path.open("ab", buffering=0)
            self._is_named = bool(self._path.stat().st_size)
            if not self._is_named:
                self._write(self._first_line())
        except BaseException:
            os.close(self._held)
            raise
        heed_forks(self)

    @property
    def kept(self) -> int:
        """How many events are kept."""
        with self._ours():
            return len(self._kept)

    def keep(self, appending: Appending) -> None:
        """Keep the events of an append that failed. To do it again changes nothing, whatever became of them since."""
        with self._ours():
            if not appending.kept:
                line = _keeping(appending)
                self._write(line)
                self._kept |= dict.fromkeys(line["keep"], line)
                appending.kept = True

    def relinked(self, appending: Appending) -> None:
        """Take down how an append is linked now, before it is sent so: from then on, it may have been appended."""
        first, link = appending.items[0].append_id.hex(), _link(appending)
        with self._ours():
            self._write({"link": first, **link})
            self._kept[first] |= {**link, "unknown": True}

    def done(self, appending: Appending) -> None:
        """Forget an append whose events are in the chain."""
        with self._ours():
            self._forget([item.append_id.hex() for item in appending.items])

    def discard(self, append_ids: Iterable[bytes]) -> None:
        """Forget events that somebody has seen to. Raises Misuse.

        A part of a batch that may be in the chain can't go: without it, nobody could find out about the others.
        """
        these = {each.hex(): None for each in append_ids}
        with self._ours():
            self._check_turn()
            for each in these:
                line = self._kept.get(each)
                if line is None:
                    raise Misuse("append_id", "is of no event that the spool keeps")
                if line["unknown"] and line["keep"].keys() - these:
                    raise Misuse("append_id", f"is of {len(line['keep'])} events that were sent together: discard all of them")
            self._forget(list(these))

    def begin_drain(self, turn: Turn) -> list[Appending]:
        """Return what is kept, in the order in which it was, as it is to be gone on with. Raises Misuse.

        Two drains at a time could link one event twice. Nothing is left to one that is over.
        """
        with self._ours():
            if turn.is_over:
                return []
            self._check_turn()
            self._turn = turn
            return [_appending(self._chain, line) for line in self._lines()]

    def end_drain(self, turn: Turn) -> int:
        """Let others drain, and write the journal anew, without what is done; return how many events are still kept."""
        turn.is_over = True
        with self._ours():
            if self._turn is turn:
                self._turn = None
                self._write_anew()
            return len(self._kept)

    def close(self) -> None:
        """Let another process have it. In one that was forked it was closed from the first."""
        if os.getpid() == self._process:
            with self._lock:
                if not self._file.closed:
                    fcntl.flock(self._held, fcntl.LOCK_UN)
                    self._let_go()

    def after_fork(self) -> None:
        """Let go of the descriptors, lest the lock outlive the process that has it. That unlocks nothing."""
        self._let_go()

    def _let_go(self) -> None:
        if not self._file.closed:
            self._file.close()
            os.close(self._held)

    @contextmanager
    def _ours(self) -> Iterator[None]:
        """Hold what threads share. Raises Misuse."""
        if os.getpid() != self._process:
            raise Misuse("spool", "belongs to the process that this one was forked from: give each process a file of its own")
        with self._lock:
            if self._file.closed:
                raise Misuse("spool", "is closed")
            yield

    def _check_turn(self) -> None:
        if self._turn is not None:
            raise Misuse("spool", "is being drained")

    def _lines(self) -> list[Line]:
        """What is kept, an append each."""
        return list({id(line): line for line in self._kept.values()}.values())

    def _forget(self, append_ids: list[str]) -> None:
        line = {"done": append_ids}
        self._write(line)
        self._understand(line, self._kept)

    def _first_line(self) -> Line:
        return {"chain": self._chain.name, "prefix": self._chain.prefix}

    def _write_anew(self) -> None:
        """Put a file with what is kept in the place of this one. One of the two has the name, and it is the one written to."""
        short = self._path.with_name(f"{self._path.name}.new")
        short.unlink(missing_ok=True)
        file: IO[bytes] = short.open("ab", buffering=0)
        try:
            _append(file, self._first_line(), *self._lines())
            short.replace(self._path)
        finally:
            if os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                self._file, file, self._is_named = file, self._file, False
            file.close()
        self._sync_name()

    def _write(self, *lines: Line) -> None:
        """Write to the disk, or not at all. A file whose name is not safe there holds nothing for certain."""
        before = os.fstat(self._file.fileno()).st_size
        try:
            _append(self._file, *lines)
            self._sync_name()
        except BaseException:
            os.ftruncate(self._file.fileno(), before)
            raise

    def _sync_name(self) -> None:
        if not self._is_named:
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
            self._is_named = True

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
            case {"keep": events}:
                kept |= dict.fromkeys(events, line)
            case {"link": append_id, **link}:
                kept[append_id] |= {**link, "unknown": True}
            case {"done": append_ids}:
                for append_id in append_ids:
                    if append_id in kept:
                        kept.pop(append_id)["keep"].pop(append_id)


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
    appended: list[tuple[bytes, Appended]] = []
    errors: list[AppendFailed] = []
    turn = Turn()
    try:
        kept: list[Appending] = yield RunWork(partial(spool.begin_drain, turn))
        for appending in kept:
            try:
                found = yield from settle(chain, memory, appending, spool.relinked)
            except GaveUp as failure:
                errors += yield from failed(chain, appending, failure.cause)
                if isinstance(failure.cause, Unavailable | ServiceOverloaded):
                    break
                continue
            yield RunWork(partial(spool.done, appending))
            appended += [(item.append_id, where) for item, where in zip(appending.items, found, strict=True)]
    finally:
        left: int = yield RunWork(partial(spool.end_drain, turn))
    return Drained(tuple(appended), tuple(errors), left)


def _locked(path: Path) -> int:
    held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise Misuse("spool", f"{path} is locked: another client has this spool") from None
    return held


def _append(file: IO[bytes], *lines: Line) -> None:
    text = b"".join(map(_encoded, lines))
    if file.write(text) != len(text):
        raise OSError(errno.ENOSPC, "not written to its end", file.name)
    os.fsync(file.fileno())


def _keeping(appending: Appending) -> Line:
    return {
        "keep": {item.append_id.hex(): base64.b64encode(item.event).decode() for item in appending.items},
        **_link(appending),
        "unknown": appending.ambiguous,
    }


def _link(appending: Appending) -> Line:
    """How it is linked: as a record of a seq after a previous one, or by the engine, since an end that was known."""
    if appending.records:
        first = appending.records[0]
        return {"seq": first.seq, "since": None, "previous": first.previous.hex()}
    return {"seq": None, "since": appending.since, "previous": appending.previous}


def _appending(chain: Chain, line: Line) -> Appending:
    items = tuple(Item(bytes.fromhex(each), base64.b64decode(event)) for each, event in line["keep"].items())
    appending = Appending(items, kept=True)
    if line["unknown"]:
        appending.ambiguous = True
        if line["since"] is not None:
            appending.since, appending.previous = line["since"], line["previous"]
        else:
            appending.link(chain, Head(line["seq"], 0, line["previous"]))
    return appending


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
