"""
Export: records go into a file, and may then be sealed, so that the memory of a long chain stays bounded.

    export(file) ──▶ every record checked, the file synced and given its name ──▶ seal(exported) ──▶ the store lets go of them

A file is a page as `audit_chain_encoding` tells it: of each record a u32 length and the stored record, from the first to the
last. It needs nothing else, for every record states its chain and its seq; files one after the other are a file. A verification
that is given the files runs across them and the store.

A seal that is given what was exported first sees that the last of these records is still stored as it was: its hash covers all
before it, so that nothing is removed that is in no file.
"""

import os
import secrets
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, Any

from attrs import frozen

from redstep.arguments import checked_integer
from redstep.audit_chain import KEEP, PAGE_BYTES, PAGE_RECORDS_MAX, Chain, Head, SealKind, read, read_page, read_seal
from redstep.audit_chain import seal as seal_request
from redstep.audit_chain_encoding import records_of
from redstep.audit_chain_errors import ChainBroken, Sealed, SealRefused
from redstep.audit_chain_verification import Fold
from redstep.errors import Misuse
from redstep.protocols import send
from redstep.wishes import Protocol, RunWork

_LENGTH_BYTES = 4
_RECORD_BYTES_MAX = 2 * 1024 * 1024
"""More than the longest event and the longest name take."""


@frozen
class Exported:
    """What a file holds: the records of a chain from `first_seq` to below `next_seq`."""

    name: str
    prefix: str
    """Of the keys where the chain is stored."""
    first_seq: int
    next_seq: int
    hash: str
    """Of the last one, 64 hex digits; empty when there was nothing to export."""


class SegmentWriter:
    """Writes a file that has its name only when it is whole, and safe on the disk; until then, one that nobody else uses.

    Its methods may run on threads, where a cancelled one goes on beside the next: after `discard`, none does anything.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(f"{self._path.name}.{secrets.token_hex(8)}.partial")
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._is_over = False

    def write(self, page: bytes) -> None:
        """Add a page."""
        with self._lock:
            if not self._is_over:
                self._file = self._file or self._partial.open("xb")
                self._file.write(page)

    def commit(self) -> None:
        """Give the file its name."""
        with self._lock:
            if self._is_over or self._file is None:
                return
            self._file.flush()
            os.fsync(self._file.fileno())
            self._partial.replace(self._path)
            directory = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def discard(self) -> None:
        """Leave no file behind, unless it was given its name."""
        with self._lock:
            self._is_over = True
            if self._file is not None:
                self._file.close()
                self._partial.unlink(missing_ok=True)


class SegmentReader:
    """Reads a file a few records at a time. What is cut off at its end is given as it is: no record, which will be noticed."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._at = 0

    def records(self) -> list[bytes]:
        """Return the next records, about 1 MiB of them; none at the end. Raises OSError."""
        found: list[bytes] = []
        size = 0
        with self._path.open("rb") as file:
            file.seek(self._at)
            while size < PAGE_BYTES and (prefix := file.read(_LENGTH_BYTES)):
                length = int.from_bytes(prefix)
                record = file.read(min(length, _RECORD_BYTES_MAX)) if len(prefix) == _LENGTH_BYTES else b""
                found.append(record if len(record) == length else b"")
                size += len(record) + 1
            self._at = file.tell()
        return found


def export(chain: Chain, opened: Callable[[], Any], upto_seq: int | None = None) -> Protocol[Exported]:
    """Write the records below `upto_seq` to the writer that `opened` gives; by default all but those that a seal keeps.

    Each is checked first. When there is nothing to export, no writer is opened. Raises ChainBroken, Sealed when somebody else
    seals meanwhile, Unavailable, ServiceOverloaded, Corrupt, OSError, Misuse.
    """
    if upto_seq is not None:
        checked_integer("upto_seq", upto_seq, 0)
    start = read_page((yield from send(read(chain, 0, 0))))
    head = start.head or Head(0, 0, chain.genesis.hex())
    end = min(head.next_seq - KEEP if upto_seq is None else upto_seq, head.next_seq)
    fold = Fold(chain.chain_id, head.base_seq, None if head.base_seq else chain.genesis)
    if end <= head.base_seq:
        return Exported(chain.name, chain.prefix, head.base_seq, head.base_seq, "")
    writer = yield RunWork(opened)
    try:
        while fold.seq < end:
            page = read_page((yield from send(read(chain, fold.seq, min(PAGE_RECORDS_MAX, end - fold.seq)))))
            if page.first > fold.seq:
                raise Sealed(f"somebody else sealed the records from {fold.seq} on while they were exported")
            if not page.page:
                raise ChainBroken(f"the record {fold.seq} is missing")
            for record in records_of(page.page):
                fold.look(record)
            if fold.why is not None:
                raise ChainBroken(f"the chain breaks at {fold.position}: {fold.why.value}")
            yield RunWork(partial(writer.write, page.page))
        yield RunWork(writer.commit)
    finally:
        yield RunWork(writer.discard)
    return Exported(chain.name, chain.prefix, head.base_seq, fold.seq, (fold.previous or b"").hex())


def seal(chain: Chain, upto_seq: int | Exported, keep: int = KEEP) -> Protocol[int]:
    """Remove the records below a seq, or those that were exported; return the seq that the store begins with now.

    Raises SealRefused when fewer than `keep` would stay, or when others are stored than were exported, Unavailable,
    ServiceOverloaded, Corrupt, Misuse when it was another chain that was exported.
    """
    checked_integer("keep", keep, 1)
    if isinstance(upto_seq, Exported):
        end = upto_seq.next_seq
        yield from _check_stored(chain, upto_seq)
    else:
        end = checked_integer("upto_seq", upto_seq, 0)
    while True:
        kind, base_seq = read_seal((yield from send(seal_request(chain, end, keep))))
        if kind is SealKind.REFUSED:
            raise SealRefused(f"fewer than {keep} records would stay if those below {end} went")
        if kind is SealKind.DONE:
            return base_seq


def _check_stored(chain: Chain, exported: Exported) -> Protocol[None]:
    """Raise SealRefused unless the last record that was exported is stored as it was, or is gone already."""
    if (exported.name, exported.prefix) != (chain.name, chain.prefix):
        its_chain = f"{exported.prefix}{exported.name}"
        raise Misuse("upto_seq", f"was exported from the chain {its_chain}, not from {chain.prefix}{chain.name}")
    if exported.next_seq == 0:
        return
    last = exported.next_seq - 1
    page = read_page((yield from send(read(chain, last, 1))))
    fold = Fold(chain.chain_id, last, None)
    for record in records_of(page.page):
        fold.look(record)
    if page.first <= last and (fold.previous is None or fold.previous.hex() != exported.hash):
        raise SealRefused(f"the record {last} is not the one that was exported")
