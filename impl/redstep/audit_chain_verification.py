"""
Verification: is what is stored the chain that its writers made?

Every record is hashed again and must link to the one before it, the first to the genesis, and the last must be the one that the
head names. The first position p that breaks, and why:

    modified        its own hash is wrong, or it cannot be read        inserted       its seq is below p
    foreign         it is a record of another chain                    replaced       it does not link to the one before it
    reordered       its seq is above p, and p comes later              wrong genesis  likewise, but it is the first of all
    removed         its seq is above p, and p does not come            head mismatch  the list does not end where the head says
    truncated       the chain is shorter than its anchor               diverged       its record is another than the anchor's,
                                                                                      or than that of a file which overlaps

Who knows the format can make a tail anew that is sound in itself. So without an anchor a chain is at best *internally
consistent*; it is *verified* against a checkpoint that was remembered where the writer of the chain cannot reach.

Nothing is locked meanwhile. The head is read at the start, and records appended later are not looked at; if a seal removes
records that were still to be read, verification starts again. Pages are of bounded size, and one is held at a time.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

from attrs import define, field, frozen

from redstep.arguments import checked_integer
from redstep.audit_chain import PAGE_RECORDS_MAX, Chain, Checkpoint, Head, Page, read, read_page
from redstep.audit_chain_encoding import Record, Unparsable, parsed, records_of, true_hash
from redstep.errors import Misuse
from redstep.protocols import send
from redstep.wishes import Announce, Protocol, RunWork


class Integrity(Enum):
    """What a verification came to."""

    VERIFIED = "verified"
    CONSISTENT = "internally consistent"
    BROKEN = "broken"


class Break(Enum):
    """Why a chain breaks, as told above."""

    MODIFIED = "modified"
    FOREIGN = "foreign"
    REORDERED = "reordered"
    REMOVED = "removed"
    INSERTED = "inserted"
    REPLACED = "replaced"
    WRONG_GENESIS = "wrong genesis"
    HEAD_MISMATCH = "head mismatch"
    TRUNCATED = "truncated"
    DIVERGED = "diverged"


@frozen(kw_only=True)
class Verdict:
    """What a verification found."""

    integrity: Integrity
    position: int | None
    """The first seq that breaks; None when none does."""
    why: Break | None
    first_seq: int
    """From which seq on the chain was looked at: 0, unless records below are sealed and were not given."""
    next_seq: int
    """How far it was found in order."""
    compared: bool | None
    """Whether the anchor could be compared: not if what it is about has been sealed, and was not given. None if there was none,
    or if the chain broke before it came to that."""


@frozen
class Progress:
    """How far a verification is."""

    records: int
    of: int


Listener = Callable[[Progress], Any]
Source = Callable[[], Any]
"""Opens a file of exported records. What it gives has a method `records`: it returns a few at a time, and none at the end."""


@define
class Fold:
    """A chain that is looked at record by record; nothing is held but what the next must link to."""

    chain_id: bytes
    seq: int
    """The position that comes next."""
    previous: bytes | None
    """What its record must link to; None if that is not known."""
    known: dict[int, bytes] = field(factory=dict)
    """By size, hashes that the chain should have had then."""
    met: dict[int, bytes] = field(factory=dict)
    """Those that it had; once one differs, it stays."""
    position: int | None = None
    why: Break | None = None

    @property
    def is_decided(self) -> bool:
        """Whether no record to come can change the verdict: one that is missing may come later."""
        return self.why is not None and self.why is not Break.REMOVED

    def look(self, text: bytes) -> None:
        """Look at the next record."""
        if self.is_decided:
            return
        try:
            record = parsed(text)
        except Unparsable:
            self._break(Break.MODIFIED)
            return
        if why := self._what_is_wrong(record):
            self._break(why)
            return
        if self.why is None:
            self._meet(record.seq, record.previous)
            self._meet(record.seq + 1, record.hash)
            self.seq, self.previous = record.seq + 1, record.hash

    def end(self, head: Head) -> None:
        """Hold the end of the list against the head, and what agrees with itself against what is known of it."""
        if self.previous is not None:
            self._meet(self.seq, self.previous)
        if (self.seq, self.previous) != (head.next_seq, head.hash_bytes):
            self._break(Break.HEAD_MISMATCH)
        for size in sorted(self.known):
            if size > self.seq:
                self._break(Break.TRUNCATED)
            elif self.met.get(size, self.known[size]) != self.known[size] and self.why is None:
                self.position, self.why = max(0, size - 1), Break.DIVERGED

    def _meet(self, size: int, its_hash: bytes) -> None:
        """Take down a hash that the chain should have; of files and store, which may both have it, the one that differs."""
        if size in self.known and self.met.get(size, self.known[size]) == self.known[size]:
            self.met[size] = its_hash

    def _what_is_wrong(self, record: Record) -> Break | None:
        if record.hash != true_hash(record):
            return Break.MODIFIED
        if record.chain_id != self.chain_id:
            return Break.FOREIGN
        if self.why is Break.REMOVED:
            return Break.REORDERED if record.seq == self.position else None
        if record.seq != self.seq:
            return Break.REMOVED if record.seq > self.seq else Break.INSERTED
        if self.previous not in (None, record.previous):
            return Break.REPLACED if record.seq else Break.WRONG_GENESIS
        return None

    def _break(self, why: Break) -> None:
        if self.why is None:
            self.position, self.why = self.seq, why
        elif why is Break.REORDERED:
            self.why = why


class _Moved(Exception):
    """A seal removed records that were still to be read."""


def verify(
    chain: Chain,
    anchor: Checkpoint | None = None,
    segments: Sequence[Source] = (),
    *,
    page_records: int = PAGE_RECORDS_MAX,
    progress: Listener | None = None,
) -> Protocol[Verdict]:
    """Recompute a chain, from files of exported records first if they are given, then from the store.

    Raises Unavailable, ServiceOverloaded, Corrupt when the head cannot be read, OSError when a file cannot, Misuse.
    """
    if anchor is not None and anchor.name != chain.name:
        raise Misuse("anchor", f"is of the chain {anchor.name!r}, not of {chain.name!r}")
    checked_integer("page_records", page_records, 1, PAGE_RECORDS_MAX)
    began_at: int | None = None
    while True:
        start: Page = read_page((yield from send(read(chain, 0, 0))))
        head = start.head or Head(0, 0, chain.genesis.hex())
        began_at = head.base_seq if began_at is None else began_at
        run = Run(chain, head, start.length, began_at, page_records, progress)
        if anchor is not None:
            run.known[anchor.size] = bytes.fromhex(anchor.hash)
        try:
            fold, first_seq = yield from run.through(segments)
        except _Moved:
            continue
        return judged(fold, first_seq, anchor)


def judged(fold: Fold, first_seq: int, anchor: Checkpoint | None) -> Verdict:
    """Say what a fold that was carried through comes to."""
    compared = None
    if anchor is not None and fold.why in (None, Break.TRUNCATED, Break.DIVERGED):
        compared = anchor.size in fold.met or anchor.size > fold.seq
    sound = Integrity.VERIFIED if compared else Integrity.CONSISTENT
    return Verdict(
        integrity=Integrity.BROKEN if fold.why else sound,
        position=fold.position,
        why=fold.why,
        first_seq=first_seq,
        next_seq=fold.seq,
        compared=compared,
    )


@define
class Run:
    """One reading of a chain, from the snapshot of its head."""

    chain: Chain
    head: Head
    length: int
    began_at: int
    """The base before any seal that came between; what is missing up to the base now was sealed meanwhile."""
    page_records: int
    progress: Listener | None
    known: dict[int, bytes] = field(factory=dict)
    """By size, hashes that the chain should have had then."""
    met: dict[int, bytes] = field(factory=dict)
    """Those that it had."""

    def through(self, segments: Sequence[Source]) -> Protocol[tuple[Fold, int]]:
        """Look at the files, then at the store; return the fold, and from which seq on it looked. Raises _Moved."""
        base_seq = self.head.base_seq
        fold, first_seq, joint = None, base_seq, None
        for source in segments:
            reader = yield RunWork(source)
            while records := (yield RunWork(reader.records)):
                for text in records:
                    if fold is None:
                        first_seq = _stated_seq(text)
                        fold = self._begun(first_seq, None)
                    fold.look(text)
                    if fold.seq == base_seq:
                        joint = fold.previous
        if fold is not None and (fold.is_decided or fold.seq == base_seq or fold.why or fold.seq < self.began_at):
            yield from self._look_at_the_store(fold)  # it goes on where the files end, or should have
            return fold, first_seq
        if fold is not None and fold.seq > base_seq and fold.previous:  # they overlap, and must agree
            self.known.setdefault(fold.seq, fold.previous)
        if joint is None:
            first_seq = base_seq
        fold = self._begun(base_seq, joint)
        yield from self._look_at_the_store(fold)
        return fold, first_seq

    def _begun(self, seq: int, previous: bytes | None) -> Fold:
        return Fold(self.chain.chain_id, seq, previous or (None if seq else self.chain.genesis), self.known, self.met)

    def _look_at_the_store(self, fold: Fold) -> Protocol[None]:
        cursor, end = self.head.base_seq, self.head.base_seq + self.length
        while cursor < end and not fold.is_decided:
            page = read_page((yield from send(read(self.chain, cursor, min(self.page_records, end - cursor)))))
            if page.first > cursor:
                raise _Moved
            before = cursor
            for text in records_of(page.page):
                fold.look(text)
                cursor += 1
            if cursor == before:
                break  # the list has become shorter, which the head will tell
            if self.progress:
                yield Announce((self.progress,), Progress(cursor - self.head.base_seq, self.length))
        fold.end(self.head)


def _stated_seq(text: bytes) -> int:
    """Where the first file begins, by its own account."""
    try:
        return parsed(text).seq
    except Unparsable:
        return 0
