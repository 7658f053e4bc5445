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

from redstep.arguments import checked_integer
from redstep.audit_chain import (
    BATCH,
    BATCH_BYTES_MAX,
    BATCH_RECORDS_MAX,
    PAGE_RECORDS_MAX,
    SERVER_ORDER,
    Chain,
    Head,
    Kind,
    Page,
    append,
    append_next,
    read,
    read_append,
    read_append_next,
    read_page,
)
from redstep.audit_chain_encoding import Record, Unparsable, digest_of, linked, parsed, records_of
from redstep.audit_chain_errors import AppendFailed, AppendUnknown, Conflict, NotAppended, Regress, Sealed
from redstep.errors import Corrupt, Misuse, RedstepError, ServiceOverloaded, Unavailable, UnexpectedReply
from redstep.protocols import send
from redstep.wishes import Announce, CallScript, DrawInteger, Protocol, ReadClock, RunWork, Sleep

log = logging.getLogger("redstep")
T = TypeVar("T")

CONFLICT_PAUSE_MS, CONFLICT_PAUSE_MAX_MS = 4, 256
RESEND_PAUSE_MS, RESEND_PAUSE_MAX_MS = 8, 512
"""Waits double, from the one to the other; each is drawn between half of itself and all of it."""


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


class GaveUp(Exception):
    """An append came to its end without success."""

    def __init__(self, cause: Exception, *, exhausted: bool) -> None:
        super().__init__(cause)
        self.cause = cause
        self.exhausted = exhausted
        """Whether a budget ran out, or the outcome is unknown: somebody must hear of it."""


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
        was_ambiguous, reply = yield from _answered(request, patience, appending)
        answer = _understood(read_append, reply)
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
        yield from _pause(pause_ms)
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
        was_ambiguous, reply = yield from _answered(request, patience, appending)
        answer = _understood(read_append_next, reply)
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


def _first_head(chain: Chain, patience: "Patience") -> Protocol[Head]:
    """Read where the chain ends. Whatever fails here, nothing was appended."""
    _, reply = yield from _answered(read(chain, 0, 0), patience)
    return _understood(read_page, reply).head or Head(0, 0, chain.genesis.hex())


@define
class Patience:
    """For how long one append may be sent again; time spent otherwise, on conflicts, is not counted."""

    left_ms: int
    pause_ms: int = RESEND_PAUSE_MS
    since_ms: int | None = None
    """When the request failed first that is waited for now."""

    def wait(self, now_ms: int) -> int | None:
        """How long to wait before the next attempt; None when there is no time left."""
        self.since_ms = now_ms if self.since_ms is None else self.since_ms
        left_ms = self.since_ms + self.left_ms - now_ms
        pause_ms, self.pause_ms = min(self.pause_ms, left_ms), min(2 * self.pause_ms, RESEND_PAUSE_MAX_MS)
        return pause_ms if left_ms > 0 else None

    def end(self, now_ms: int) -> None:
        """There is an answer."""
        if self.since_ms is not None:
            self.left_ms -= now_ms - self.since_ms
            self.since_ms = None


def _answered(
    request: CallScript, patience: Patience, appending: Appending | None = None
) -> Protocol[tuple[bool, list[int | bytes]]]:
    """Have a request answered; say whether any attempt before the answer may have been executed. Raises GaveUp."""
    while True:
        in_doubt = appending is not None and appending.ambiguous
        if appending is not None:
            appending.ambiguous = True  # it is, as long as we wait: a cancellation may be thrown in here
        try:
            reply: list[int | bytes] = yield request
        except RedstepError as error:
            definite = not isinstance(error, UnexpectedReply) and getattr(error, "definite", True)
            if appending is not None:
                appending.ambiguous = in_doubt or not definite
            if definite and not in_doubt:
                raise GaveUp(error, exhausted=False) from error
            most_ms = patience.wait((yield ReadClock()))
            if most_ms is None or not isinstance(error, Unavailable | ServiceOverloaded):
                raise GaveUp(error, exhausted=True) from error
        else:
            if patience.since_ms is not None:
                patience.end((yield ReadClock()))
            return in_doubt, reply
        yield from _pause(most_ms)


def _pause(most_ms: int) -> Protocol[None]:
    ms: int = yield DrawInteger((most_ms + 1) // 2, most_ms)
    yield Sleep(ms)


def _understood(reader: Callable[[list[int | bytes]], T], reply: list[int | bytes]) -> T:
    try:
        return reader(reply)
    except UnexpectedReply as error:  # what answers is not our script, and nobody knows what it did
        raise GaveUp(error, exhausted=True) from error


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


def head(chain: Chain) -> Protocol[Head]:
    """Ask where the chain ends. Raises Unavailable, Corrupt, ServiceOverloaded."""
    page = read_page((yield from send(read(chain, 0, 0))))
    return page.head or Head(0, 0, chain.genesis.hex())


def page_from(chain: Chain, from_seq: int, count: int) -> Protocol[Page]:
    """Read what is stored from a seq or the base on, and the head at that moment. Raises as `head`, and Misuse."""
    checked_integer("from_seq", from_seq, 0)
    checked_integer("count", count, 1, PAGE_RECORDS_MAX)
    return read_page((yield from send(read(chain, from_seq, count))))


def records_from(chain: Chain, from_seq: int, count: int) -> Protocol[tuple[Record, ...]]:
    """Read records. They are not verified, but one that can't be read is Corrupt. Raises as `page_from`."""
    page = yield from page_from(chain, from_seq, count)
    try:
        return tuple(parsed(text) for text in records_of(page.page))
    except Unparsable as error:
        raise Corrupt(f"{chain.keys[0]} holds what is no record: {error}") from error
