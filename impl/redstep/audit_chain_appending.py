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
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from attrs import define, frozen

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
from redstep.errors import Misuse
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


@define
class Memory:
    """What a writer remembers of the chain's end. It may be wrong: the store will say so, and a round trip is lost."""

    head: Head | None = None
    next_seq: int = 0
    """The same for events that the engine links."""


@define
class Appending:
    """Events on their way into a chain, all together or none."""

    items: tuple[Item, ...]
    records: tuple[Record, ...] = ()
    """As they are linked now; none before they were, and after a mismatch."""
    since: int | None = None
    """In the place of links when the engine makes them: the next seq that was known at first."""
    ambiguous: bool = False
    """Whether they may have been appended as they are linked now."""
    appended: "tuple[Appended, ...]" = ()
    """Where they are, once that is known."""

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
"""Keeps an append that failed for later."""


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
        by_engine = appending.since is not None or (chain.mode == SERVER_ORDER and not appending.records)
        yield from (_settle_next if by_engine else _settle_linked)(chain, memory, appending, journal)
    return appending.appended


def _settle_linked(chain: Chain, memory: Memory, appending: Appending, journal: Journal) -> Protocol[None]:
    """Append what is linked here: others may come first."""
    patience = Patience(chain.deadline_ms)
    conflicts, pause_ms = 0, CONFLICT_PAUSE_MS
    while True:
        if not appending.records:
            memory.head = memory.head or (yield from _first_head(chain, patience))
            appending.link(chain, memory.head)
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
        memory.head = answer.head
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
        if appending.since is None:
            appending.since = memory.next_seq
            if journal:
                yield RunWork(partial(journal, appending))
        request = append_next(chain, appending.since, item.append_id, item.event, digest_of(item.event))
        was_ambiguous, reply = yield from answered(request, patience, appending)
        answer = understood(read_append_next, reply)
        if answer.kind is Kind.SEALED and was_ambiguous:
            raise GaveUp(Sealed(f"records from {appending.since} on were sealed meanwhile"), exhausted=True)
        appending.ambiguous = False
        if answer.kind is Kind.REGRESS:
            raise GaveUp(Regress(f"the chain has {answer.next_seq} records, and had {appending.since}"), exhausted=True)
        memory.next_seq = answer.next_seq
        if answer.kind is not Kind.SEALED:
            appending.appended = (Appended(answer.seq, answer.hash),)
            return
        appending.since = None


def _first_head(chain: Chain, patience: Patience) -> Protocol[Head]:
    """Read where the chain ends. Whatever fails here, nothing was appended."""
    _, reply = yield from answered(read(chain, 0, 0), patience)
    return understood(read_page, reply).head or Head(0, 0, chain.genesis.hex())


# ---------------------------------------------------------------------------------------------- and what is told of it


def outcomes(chain: Chain, memory: Memory, appending: Appending, keep: Keep = None) -> Protocol[tuple[Outcome, ...]]:
    """Append, and tell of each event what became of it. Raises no error of the store's, but lets interruptions pass."""
    try:
        return (yield from settle(chain, memory, appending))
    except GaveUp as failure:
        level = logging.CRITICAL if failure.exhausted else logging.ERROR
        return (yield from failed(chain, appending, failure.cause, keep, level))


def failed(
    chain: Chain, appending: Appending, cause: BaseException, keep: Keep = None, level: int = logging.CRITICAL
) -> Protocol[tuple[AppendFailed, ...]]:
    """Keep what failed, if there is a spool, and announce it."""
    spooled = False
    if keep is not None:
        try:
            yield RunWork(partial(keep, appending))
            spooled = True
        except Exception as error:  # noqa: BLE001  whatever it is, the caller is told of his event
            yield Announce((partial(tell_of_the_spool, chain.name),), error)
    verdict = AppendUnknown if appending.ambiguous else NotAppended
    errors = tuple(verdict(item.event, item.append_id, cause, spooled=spooled) for item in appending.items)
    for each in errors:
        yield Announce((tell,), Lost(chain.name, each, level))
    return errors


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
        yield from failed(chain, appending, interruption, keep)
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
