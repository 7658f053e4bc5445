"""
The audit chain as services use it, sync and asyncio.

    chain = AuditChain(redis.Redis(), "orders")
    appended = chain.append({"order": 17, "state": "paid"})
    assert chain.verify().integrity is not Integrity.BROKEN

The two differ by `await` alone: what they do is one protocol.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Self, TypeVar

import redis
import redis.asyncio

from redstep import audit_chain_protocols as protocols
from redstep.arguments import PREFIX
from redstep.asyncio_driver import AsyncDriver
from redstep.audit_chain import BATCH, CAS, KEEP, Chain, Checkpoint, Head
from redstep.audit_chain_appending import Appended, Item, Memory
from redstep.audit_chain_batching import TaskBatches, ThreadBatches
from redstep.audit_chain_encoding import Record, new_append_id
from redstep.audit_chain_export import Exported, SegmentReader, SegmentWriter
from redstep.audit_chain_spool import Drained, Spool
from redstep.audit_chain_verification import Listener, Verdict
from redstep.driving import Draw
from redstep.errors import Misuse
from redstep.sync_driver import SyncDriver

Path = str | os.PathLike[str]
T = TypeVar("T")


class AuditChain:
    """A hash-linked list of events, to which all processes that share a Redis append. Safe to share between threads.

    `mode`  `cas` (the default): each event is linked here, and linked anew when somebody else came first. `batch`: concurrent
            appends of this process go in together. `server_order`: the engine links, so that nobody ever comes first; it costs
            the engine a SHA-256 in Lua.
    `conflict_retries`  how often an append is linked anew after others came first.
    `deadline_ms`  for how long an append whose outcome is unknown is sent again.
    `spool`  a file that keeps events whose append failed, for `drain`; see `redstep.audit_chain_spool`.
    `prefix`  what all keys start with.
    `draw`, `new_id`  what waits are drawn with, from the least to the most ms, and append ids, of 16 bytes; for tests.

    As a context manager it closes itself at the end. Raises Misuse for a bad argument, ImportError without `redstep[audit]`.
    """

    def __init__(
        self,
        client: redis.Redis,
        name: str,
        *,
        mode: str = CAS,
        conflict_retries: int = 3,
        deadline_ms: int = 5_000,
        spool: Path | None = None,
        prefix: str = PREFIX,
        draw: Draw | None = None,
        new_id: Callable[[], bytes] = new_append_id,
    ) -> None:
        protocols.encoder()
        self._chain = Chain(name=name, prefix=prefix, mode=mode, conflict_retries=conflict_retries, deadline_ms=deadline_ms)
        self._driver = SyncDriver(client, draw=draw)
        self._memory = Memory()
        self._new_id = new_id
        self._spool = Spool(spool, self._chain) if spool is not None else None
        self._keep = self._spool.keep if self._spool is not None else None
        self._batches = ThreadBatches(
            lambda these: self._driver.run(protocols.outcomes(self._chain, self._memory, these, self._keep)),
            lambda these, cause: self._driver.run(protocols.abandoned(self._chain, these, cause, self._keep)),
        )

    def append(self, event: object) -> Appended:
        """Append a JSON value: dict, list, str, int, float, bool or None.

        Raises Misuse before anything is sent; then NotAppended or AppendUnknown, which carry the event and tell the cause.
        """
        return self._append(protocols.canonical(event))

    def append_json(self, text: str | bytes) -> Appended:
        """Append the value of a JSON text. Raises as `append`, and Misuse for a key that is given twice."""
        return self._append(protocols.canonical_text(text))

    def append_all(self, values: Iterable[object]) -> tuple[Appended, ...]:
        """Append JSON values one after the other, all or none: in the mode `batch` up to 500, of 1 MiB together, else one.

        Raises as `append`; the error tells of all of them in `together`.
        """
        return self._append_all([protocols.canonical(value) for value in values])

    def append_all_json(self, texts: Iterable[str | bytes]) -> tuple[Appended, ...]:
        """Append the values of JSON texts, all or none. Raises as `append_all`."""
        return self._append_all([protocols.canonical_text(text) for text in texts])

    def _append(self, event: bytes) -> Appended:
        if self._chain.mode == BATCH:
            return self._batches.append(Item(self._new_id(), event))
        [appended] = self._append_all([event])
        return appended

    def _append_all(self, encoded: Sequence[bytes]) -> tuple[Appended, ...]:
        items = tuple(Item(self._new_id(), event) for event in encoded)
        return self._driver.run(protocols.append_items(self._chain, self._memory, items, self._keep))

    def head(self) -> Head:
        """Ask where the chain ends. Raises Unavailable, ServiceOverloaded, Corrupt."""
        return self._driver.run(protocols.head(self._chain))

    def read(self, from_seq: int = 0, count: int = 100) -> tuple[Record, ...]:
        """Read up to so many records, 500 at most, from a seq on or from the first that is not sealed; they are not verified.

        Raises Unavailable, ServiceOverloaded, Corrupt, Misuse.
        """
        return self._driver.run(protocols.records_from(self._chain, from_seq, count))

    def checkpoint(self) -> Checkpoint:
        """Ask where the chain ends, as a checkpoint to remember or to sign. Raises as `head`."""
        return _checkpoint(self._chain, self.head())

    def verify(
        self,
        anchor: Checkpoint | None = None,
        segments: Sequence[Path] = (),
        *,
        progress: Listener | None = None,
    ) -> Verdict:
        """Recompute the chain, from files that were exported and then from the store; see `redstep.audit_chain_verification`.

        Without an anchor it is at best internally consistent. Raises Unavailable, ServiceOverloaded, Corrupt, OSError, Misuse.
        """
        readers = [partial(SegmentReader, path) for path in segments]
        return self._driver.run(protocols.verify(self._chain, anchor, readers, progress=progress))

    def export(self, path: Path, upto_seq: int | None = None) -> Exported:
        """Write the records below a seq into a file, by default all but the newest 1,024. See `redstep.audit_chain_export`."""
        return self._driver.run(protocols.export(self._chain, partial(SegmentWriter, path), upto_seq))

    def seal(self, upto_seq: int | Exported, *, keep: int = KEEP) -> int:
        """Remove the records that were exported; return the seq that the store begins with now. Raises SealRefused."""
        return self._driver.run(protocols.seal(self._chain, upto_seq, keep))

    @property
    def spooled(self) -> int:
        """How many events the spool keeps; 0 without one."""
        return self._spool.kept if self._spool is not None else 0

    def drain(self) -> Drained:
        """Append what the spool keeps, each exactly once. Raises Misuse without a spool, OSError."""
        return self._driver.run(protocols.drain(self._chain, self._memory, _given(self._spool)))

    def discard(self, *append_ids: bytes) -> None:
        """Take events out of the spool, for somebody has looked and settled what became of them.

        Those that went together and may be in the chain go together, or none does. Raises Misuse, OSError.
        """
        _given(self._spool).discard(append_ids)

    def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        self._driver.load(protocols.scripts_of(self._chain.mode))

    def close(self) -> None:
        """Close the connections that this chain opened, and its spool; the client's own stay."""
        self._driver.close()
        if self._spool is not None:
            self._spool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncAuditChain:
    """`AuditChain` for asyncio. Safe to share between the tasks of one event loop. Files are read and written on threads."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        name: str,
        *,
        mode: str = CAS,
        conflict_retries: int = 3,
        deadline_ms: int = 5_000,
        spool: Path | None = None,
        prefix: str = PREFIX,
        draw: Draw | None = None,
        new_id: Callable[[], bytes] = new_append_id,
    ) -> None:
        protocols.encoder()
        self._chain = Chain(name=name, prefix=prefix, mode=mode, conflict_retries=conflict_retries, deadline_ms=deadline_ms)
        self._driver = AsyncDriver(client, draw=draw)
        self._memory = Memory()
        self._new_id = new_id
        self._spool = Spool(spool, self._chain) if spool is not None else None
        self._keep = OnThreads(self._spool).keep if self._spool is not None else None
        self._batches = TaskBatches(
            lambda these: self._driver.run(protocols.outcomes(self._chain, self._memory, these, self._keep)),
            lambda these, cause: self._driver.run(protocols.abandoned(self._chain, these, cause, self._keep)),
        )

    async def append(self, event: object) -> Appended:
        """Append a JSON value: dict, list, str, int, float, bool or None.

        Raises Misuse before anything is sent; then NotAppended or AppendUnknown, which carry the event and tell the cause.
        """
        return await self._append(protocols.canonical(event))

    async def append_json(self, text: str | bytes) -> Appended:
        """Append the value of a JSON text. Raises as `append`, and Misuse for a key that is given twice."""
        return await self._append(protocols.canonical_text(text))

    async def append_all(self, values: Iterable[object]) -> tuple[Appended, ...]:
        """Append JSON values one after the other, all or none: in the mode `batch` up to 500, of 1 MiB together, else one.

        Raises as `append`; the error tells of all of them in `together`.
        """
        return await self._append_all([protocols.canonical(value) for value in values])

    async def append_all_json(self, texts: Iterable[str | bytes]) -> tuple[Appended, ...]:
        """Append the values of JSON texts, all or none. Raises as `append_all`."""
        return await self._append_all([protocols.canonical_text(text) for text in texts])

    async def _append(self, event: bytes) -> Appended:
        if self._chain.mode == BATCH:
            return await self._batches.append(Item(self._new_id(), event))
        [appended] = await self._append_all([event])
        return appended

    async def _append_all(self, encoded: Sequence[bytes]) -> tuple[Appended, ...]:
        items = tuple(Item(self._new_id(), event) for event in encoded)
        return await self._driver.run(protocols.append_items(self._chain, self._memory, items, self._keep))

    async def head(self) -> Head:
        """Ask where the chain ends. Raises Unavailable, ServiceOverloaded, Corrupt."""
        return await self._driver.run(protocols.head(self._chain))

    async def read(self, from_seq: int = 0, count: int = 100) -> tuple[Record, ...]:
        """Read up to so many records, 500 at most, from a seq on or from the first that is not sealed; they are not verified.

        Raises Unavailable, ServiceOverloaded, Corrupt, Misuse.
        """
        return await self._driver.run(protocols.records_from(self._chain, from_seq, count))

    async def checkpoint(self) -> Checkpoint:
        """Ask where the chain ends, as a checkpoint to remember or to sign. Raises as `head`."""
        return _checkpoint(self._chain, await self.head())

    async def verify(
        self,
        anchor: Checkpoint | None = None,
        segments: Sequence[Path] = (),
        *,
        progress: Listener | None = None,
    ) -> Verdict:
        """Recompute the chain, from files that were exported and then from the store; see `redstep.audit_chain_verification`.

        Without an anchor it is at best internally consistent. Raises Unavailable, ServiceOverloaded, Corrupt, OSError, Misuse.
        """
        readers = [partial(_opened, SegmentReader, path) for path in segments]
        return await self._driver.run(protocols.verify(self._chain, anchor, readers, progress=progress))

    async def export(self, path: Path, upto_seq: int | None = None) -> Exported:
        """Write the records below a seq into a file, by default all but the newest 1,024. See `redstep.audit_chain_export`."""
        return await self._driver.run(protocols.export(self._chain, partial(_opened, SegmentWriter, path), upto_seq))

    async def seal(self, upto_seq: int | Exported, *, keep: int = KEEP) -> int:
        """Remove the records that were exported; return the seq that the store begins with now. Raises SealRefused."""
        return await self._driver.run(protocols.seal(self._chain, upto_seq, keep))

    @property
    def spooled(self) -> int:
        """How many events the spool keeps; 0 without one."""
        return self._spool.kept if self._spool is not None else 0

    async def drain(self) -> Drained:
        """Append what the spool keeps, each exactly once. Raises Misuse without a spool, OSError."""
        return await self._driver.run(protocols.drain(self._chain, self._memory, OnThreads(_given(self._spool))))

    async def discard(self, *append_ids: bytes) -> None:
        """Take events out of the spool, for somebody has looked and settled what became of them.

        Those that went together and may be in the chain go together, or none does. Raises Misuse, OSError.
        """
        await _on_thread(_given(self._spool).discard, append_ids)

    async def load(self) -> None:
        """Put the scripts into the engine ahead of the first call; they are found again by themselves if it forgets them."""
        await self._driver.load(protocols.scripts_of(self._chain.mode))

    async def close(self) -> None:
        """Close the connections that this chain opened, and its spool; the client's own stay."""
        await self._driver.close()
        if self._spool is not None:
            self._spool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class OnThreads:
    """Something whose methods touch files: here they are awaited, and run on threads."""

    def __init__(self, of: object) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(_on_thread, getattr(self._of, name))


async def _on_thread(work: Callable[..., T], *args: object) -> T:
    """Run something on a thread. It comes to its end, though who awaits it be cancelled before it begins."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, partial(work, *args)))


def _opened(kind: Callable[[Path], object], path: Path) -> OnThreads:
    return OnThreads(kind(path))


def _checkpoint(chain: Chain, head: Head) -> Checkpoint:
    return Checkpoint(chain.name, head.next_seq, head.hash)


def _given(spool: Spool | None) -> Spool:
    if spool is None:
        raise Misuse("spool", "there is none to drain: give a file when the chain is made")
    return spool
