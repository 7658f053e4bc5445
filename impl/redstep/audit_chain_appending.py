"""
Appending: what becomes of an event between its writer and the chain.

    link to the end that is remembered ──▶ send ──▶ appended, now or by an earlier attempt ──▶ Appended
         ▲                                  │ ▲
         │ wait, if retries are left        │ └── wait, while there is time ◀──┐
         └──────────── mismatch ◀───────────┼──▶ outcome unknown ──────────────┘──▶ AppendUnknown
                          │                 ├──▶ definite error, and no attempt before was ambiguous ──▶ NotAppended
                          │                 └──▶ the chain lost what is remembered ──▶ NotAppended, now and always
                          └──▶ no retries left ──▶ NotAppended

One law: an event is linked anew only after a definite mismatch. While it is unknown whether it was appended, the very same
bytes are sent, which find themselves; a refusal to connect changes nothing about the attempt before it. Conflicts and ambiguous
errors have budgets of their own; that the engine forgot its scripts costs none.

An `Appending` holds all that its next step depends on. So whoever finds one that was interrupted may go on with it: another
thread, or a spool's drain in another process.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from attrs import define, field, frozen

from redstep.audit_chain import (
    BATCH,
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    SERVER_ORDER,
    Chain,
    Head,
    Kind,
    append,
    append_next,
    read,
    read_append,
    read_append_next,
    read_page,
)
from redstep.audit_chain_encoding import Record, digest_of, linked
from redstep.audit_chain_errors import AppendFailed, AppendUnknown, Conflict, NotAppended, Regress, Sealed
from redstep.audit_chain_sending import GaveUp, Patience, answered, pause, understood
from redstep.errors import Misuse, Unavailable
from redstep.forks import heed_forks
from redstep.wishes import Announce, Protocol, RunWork

log = logging.getLogger("redstep")
T = TypeVar("T")

CONFLICT_PAUSE_MS, CONFLICT_PAUSE_MAX_MS = 4, 256
"""Waits after a conflict double, from the one to the other, and are drawn as those between attempts."""


@frozen
class Item:
    """One event to be appended."""

    append_id: bytes
    event: bytes
    """Its canonical bytes."""


@frozen
class Appended:
    """Where an event is in the chain."""

    seq: int
    hash: str
    """Of its record, 64 hex digits."""


Outcome = Appended | AppendFailed


@define(eq=False)
class Memory:
    """What a writer remembers of the chain's end. It may be old: the store will say so, and a round trip is lost at most."""

    head: Head | None = None
    _lock: threading.Lock = field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        heed_forks(self)

    def after_fork(self) -> None:
        """Wait for no thread of the parent's."""
        self._lock = threading.Lock()

    def learn(self, told: Head) -> Head:
        """Take in an end that was told; return the newest that is known.

        Threads and tasks read answers in another order than the store gave them, so an older one changes nothing. Nor does
        another hash at the end that is known, which the store will say of the next append.
        """
        with self._lock:
            if self.head is None or told.next_seq > self.head.next_seq or _is_sealed_further(told, self.head):
                self.head = told
            return self.head


def _is_sealed_further(told: Head, known: Head) -> bool:
    """Whether it is the same end, of which less is stored."""
    return (told.next_seq, told.hash) == (known.next_seq, known.hash) and told.base_seq > known.base_seq


@define
class Appending:
    """Events on their way into a chain, all together or none."""

    items: tuple[Item, ...]
    records: tuple[Record, ...] = ()
    """As they are linked now; none before they were, and after a mismatch."""
    since: int | None = None
    """In the place of links when the engine makes them: the next seq of the end that was known at first."""
    previous: str | None = None
    """And the hash of that end, 64 hex digits."""
    ambiguous: bool = False
    """Whether they may have been appended as they are linked now."""
    appended: "tuple[Appended, ...]" = ()
    """Where they are, once that is known."""
    kept: bool = False
    """Whether a spool keeps them: then only a drain sends them again."""

    def link(self, chain: Chain, head: Head) -> None:
        """Link the events to an end, one after the other."""
        seq, previous, records = head.next_seq, head.hash_bytes, []
        for item in self.items:
            records.append(linked(chain.chain_id, seq, previous, item.append_id, item.event))
            seq, previous = seq + 1, records[-1].hash
        self.records = tuple(records)


def tell_of_the_spool(name: str, error: Exception) -> None:
    """Log that it could not keep what failed."""
    log.critical("audit chain %r: the spool failed: %r", name, error)


Journal = Callable[[Appending], Any] | None
"""Writes down how an append is linked now, before it is sent."""
Keep = Callable[[Appending], Any] | None
"""Keeps an append that failed for later, and says so in it."""


@frozen
class Lost:
    """What is announced of an append that failed."""

    name: str
    error: AppendFailed
    level: int


def tell(event: Lost) -> None:
    """Log it; not the event itself, which may be nobody's business."""
    log.log(event.level, "audit chain %r: %s", event.name, event.error)


# ---------------------------------------------------------------------------------------------- to an end


def settle(chain: Chain, memory: Memory, appending: Appending, journal: Journal = None) -> Protocol[tuple[Appended, ...]]:
    """Append, or go on with it. Raises GaveUp; what is known of the outcome then is in the appending."""
    if not appending.appended:
        one = len(appending.items) == 1  # the engine links no more at a time; a spool may keep a batch of another writer's
        by_engine = appending.since is not None or (chain.mode == SERVER_ORDER and one and not appending.records)
        yield from (_settle_next if by_engine else _settle_linked)(chain, memory, appending, journal)
    return appending.appended


def _settle_linked(chain: Chain, memory: Memory, appending: Appending, journal: Journal) -> Protocol[None]:
    """Append what is linked here: others may come first."""
    patience = Patience(chain.deadline_ms)
    conflicts, pause_ms = 0, CONFLICT_PAUSE_MS
    while True:
        if not appending.records:
            appending.link(chain, (yield from _known_end(chain, memory, patience)))
            if journal:
                yield RunWork(partial(journal, appending))
        base_seq = memory.head.base_seq if memory.head else 0
        request = append(chain, appending.records, base_seq)
        was_ambiguous, reply = yield from answered(request, patience, appending)
        answer = understood(read_append, reply)
        if answer.kind is Kind.SEALED and was_ambiguous:
            raise GaveUp(Sealed(f"the chain begins at {answer.head.base_seq} by now"), exhausted=True)
        appending.ambiguous = False
        if answer.kind is Kind.REGRESS:
            raise GaveUp(
                Regress(f"the chain has {answer.head.next_seq} records, and not those that were known"), exhausted=True
            )
        memory.learn(answer.head)
        if answer.kind in (Kind.APPENDED, Kind.ALREADY):
            appending.appended = tuple(Appended(record.seq, record.hash.hex()) for record in appending.records)
            return
        appending.records = ()
        conflicts += 1
        if conflicts > chain.conflict_retries:
            raise GaveUp(Conflict(f"others appended first, {conflicts} times in a row"), exhausted=True)
        yield from pause(pause_ms)
        pause_ms = min(2 * pause_ms, CONFLICT_PAUSE_MAX_MS)


def _settle_next(chain: Chain, memory: Memory, appending: Appending, journal: Journal) -> Protocol[None]:
    """Append where the engine puts it: only a seal can come between."""
    [item] = appending.items
    patience = Patience(chain.deadline_ms)
    while True:
        if appending.since is None or appending.previous is None:
            end = yield from _known_end(chain, memory, patience)
            appending.since, appending.previous = end.next_seq, end.hash
            if journal:
                yield RunWork(partial(journal, appending))
        digest = digest_of(item.event)
        request = append_next(chain, appending.since, appending.previous, item.append_id, item.event, digest)
        was_ambiguous, reply = yield from answered(request, patience, appending)
        answer = understood(read_append_next, reply)
        if answer.kind is Kind.SEALED and was_ambiguous:
            raise GaveUp(Sealed(f"records from {appending.since} on were sealed meanwhile"), exhausted=True)
        appending.ambiguous = False
        if answer.kind is Kind.REGRESS:
            told = f"the chain has {answer.next_seq} records, and not the {appending.since} that were known"
            raise GaveUp(Regress(told), exhausted=True)
        memory.learn(answer.end)
        if answer.kind is not Kind.SEALED:
            appending.appended = (Appended(answer.seq, answer.hash),)
            return
        appending.since = appending.previous = None


def _known_end(chain: Chain, memory: Memory, patience: Patience) -> Protocol[Head]:
    """Recall where the chain ends, or read it if nobody told. Whatever fails here, nothing was appended."""
    if memory.head is not None:
        return memory.head
    _, reply = yield from answered(read(chain, 0, 0), patience)
    return memory.learn(understood(read_page, reply).head or Head(0, 0, chain.genesis.hex()))


# ---------------------------------------------------------------------------------------------- and what is told of it


def outcomes(chain: Chain, memory: Memory, appending: Appending, keep: Keep = None) -> Protocol[tuple[Outcome, ...]]:
    """Append, and tell of each event what became of it. Raises no error of the store's, but lets interruptions pass."""
    if appending.kept:  # and whoever sent it was interrupted before he could tell
        cause = Unavailable("it had been given up when its sender was interrupted", definite=not appending.ambiguous)
        return (yield from failed(chain, appending, cause, keep))
    try:
        return (yield from settle(chain, memory, appending))
    except GaveUp as failure:
        level = logging.CRITICAL if failure.exhausted else logging.ERROR
        return (yield from failed(chain, appending, failure.cause, keep, level))


def abandoned(
    chain: Chain, appending: Appending, interruption: BaseException, keep: Keep = None
) -> Protocol[tuple[Outcome, ...]]:
    """Keep and announce what nobody is left to append, unless it is known to be in the chain."""
    if appending.appended:
        return appending.appended
    return (yield from failed(chain, appending, interruption, keep))


def failed(
    chain: Chain, appending: Appending, cause: BaseException, keep: Keep = None, level: int = logging.CRITICAL
) -> Protocol[tuple[AppendFailed, ...]]:
    """Keep what failed, if there is a spool, and announce it.

    After an interruption it is announced first, when it is not yet kept: time is short then, and a disk may be slow.
    """
    is_interrupted = not isinstance(cause, Exception)
    if is_interrupted:
        yield from _announced(chain, _errors(appending, cause), level)
    if keep is not None:
        try:
            yield RunWork(partial(keep, appending))
        except Exception as error:  # noqa: BLE001  whatever it is, the caller is told of his event
            yield Announce((partial(tell_of_the_spool, chain.name),), error)
    errors = _errors(appending, cause)
    if not is_interrupted:
        yield from _announced(chain, errors, level)
    return errors


def _errors(appending: Appending, cause: BaseException) -> tuple[AppendFailed, ...]:
    verdict = AppendUnknown if appending.ambiguous else NotAppended
    return tuple(verdict(item.event, item.append_id, cause, spooled=appending.kept) for item in appending.items)


def _announced(chain: Chain, errors: tuple[AppendFailed, ...], level: int) -> Protocol[None]:
    for each in errors:
        yield Announce((tell,), Lost(chain.name, each, level))


def append_items(chain: Chain, memory: Memory, items: tuple[Item, ...], keep: Keep = None) -> Protocol[tuple[Appended, ...]]:
    """Append events together, all or none. Raises NotAppended or AppendUnknown, which carries the first of them.

    Interrupted, they are kept and told of like any others that failed; then the interruption goes on.
    """
    check_items(chain, items)
    appending = Appending(items)
    try:
        found = yield from outcomes(chain, memory, appending, keep)
    except (Exception, GeneratorExit):
        raise
    except BaseException as interruption:
        yield from abandoned(chain, appending, interruption, keep)
        raise
    errors = tuple(each for each in found if isinstance(each, AppendFailed))
    if errors:
        errors[0].together = errors
        raise errors[0]
    return tuple(each for each in found if isinstance(each, Appended))


def check_items(chain: Chain, items: tuple[Item, ...]) -> None:
    """Raise Misuse for what does not go in together."""
    most = BATCH_RECORDS_MAX if chain.mode == BATCH else 1
    if not 1 <= len(items) <= most:
        raise Misuse("events", f"must be 1 to {most} in the mode {chain.mode}, not {len(items)}")
    size = sum(len(item.event) for item in items)
    if size > BATCH_BYTES_MAX:
        raise Misuse("events", f"have {size} bytes together, more than {BATCH_BYTES_MAX}")
