"""
Audit chain, from a writer's side: what one append comes to, whatever becomes of its attempts.

    the end that I was told last ──▶ link and hash ──▶ send ──▶ appended, already ──────────────────▶ Placed
    (none yet: read it)                  ▲              ▲ │
                                         │   no reply:  │ │
                                         │   the same   └─┤ no reply until the deadline ────────────▶ AppendUnknown
                                         │   bytes again  │
                                         │                ├ not sent, and no attempt is ambiguous ──▶ NotAppended
                                         └────────────────┤
                                      hash mismatch,      ├ a retry too many ───────────────────────▶ NotAppended
                                      or sealed and no    ├ the chain lost what I know: regress ────▶ NotAppended
                                      attempt ambiguous   └ sealed, after an ambiguous attempt ─────▶ AppendUnknown

Three laws. Every append ends in exactly one of three ways, and none of its events is lost silently (AC-6). While an attempt is
ambiguous, that is while its record may or may not be in the chain, nothing but the same bytes is sent (AC-4). And retries after
a conflict, resends after an ambiguous error and a forgotten script have budgets of their own (AC-5).

Several events in one append are linked one after the other and go in together or not at all; in `server_order` the store links,
and the writer says only since which end its append can have been made (AC-7). All modes make the same bytes of the same order.

Time is left out: waits between attempts change nothing, and a deadline is told as the number of resends that it leaves.
"""

from collections.abc import Sequence
from enum import Enum
from itertools import zip_longest
from typing import Annotated

from attrs import evolve, field, frozen

from redstep_spec import audit_chain as store
from redstep_spec.arguments import Misuse, is_name
from redstep_spec.audit_chain import Chain, End
from redstep_spec.canonical_json import NotCanonical, canonical_text
from redstep_spec.delivery import Fate

CONFLICTS_MAX = 3
"""AC-5: how often an append that came second is linked anew, by default."""


class Mode(Enum):
    """AC-7: how an append finds its place."""

    CAS = "cas"
    """The writer links one event to the end that it knows."""

    BATCH = "batch"
    """The writer links several events, which go in together."""

    SERVER_ORDER = "server_order"
    """The store links one event to whatever is the end."""


@frozen
class Entry:
    """One event, and the identity of its append."""

    append_id: bytes
    event: str
    """A JSON text."""


@frozen(kw_only=True)
class Write:
    """Append these events."""

    name: str
    entries: tuple[Entry, ...]
    mode: Mode = Mode.CAS
    conflicts: int = CONFLICTS_MAX
    """How often it may be linked anew."""
    resends: int | None = None
    """How often the same bytes can be sent again before the deadline; None if it is far away."""
    rivals: tuple[Entry | None, ...] = ()
    """What another writer appends just before the first attempt, the second, and so on."""


@frozen(kw_only=True)
class Placed:
    """The events are in the chain, each just once."""

    outcome: Annotated[str, "AC-6"] = field(default="appended", init=False)
    seqs: Annotated[tuple[int, ...], "AC-3"]
    hashes: Annotated[tuple[bytes, ...], "AC-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class NotAppended:
    """None of the events is in the chain, nor will it be by this append."""

    outcome: Annotated[str, "AC-6"] = field(default="not appended", init=False)
    cause: Annotated[str, "AC-6"]
    """`unavailable`, `conflict`, `regress` or `corrupt`."""
    events: Annotated[tuple[bytes, ...], "AC-6"]
    """The events, in canonical form."""
    because: tuple[str, ...] = field(eq=False)


@frozen(kw_only=True)
class AppendUnknown:
    """The events are in the chain, each once, or none of them is: it cannot be told."""

    outcome: Annotated[str, "AC-6"] = field(default="unknown", init=False)
    cause: Annotated[str, "AC-6"]
    """`unavailable`, `sealed` or `corrupt`."""
    events: Annotated[tuple[bytes, ...], "AC-6"]
    because: tuple[str, ...] = field(eq=False)


Outcome = Placed | NotAppended | AppendUnknown | Misuse
Request = store.Append | store.AppendNext | store.Read

RULES_OF_CAUSES = {
    "unavailable": ("CM-9", "AC-6"),
    "conflict": ("AC-5", "AC-6"),
    "regress": ("AC-11", "AC-6"),
    "sealed": ("AC-4", "AC-12", "AC-6"),
    "corrupt": ("AC-8", "AC-6"),
}


# ---------------------------------------------------------------------------------------------- an append


@frozen
class Attempt:
    """One attempt to have a script executed, and what it was answered, whether or not the answer arrived."""

    request: Request
    fate: Fate
    reply: store.Reply | None = None


@frozen(kw_only=True)
class Course:
    """How far an append has come."""

    chain: Chain
    known: End | None
    """The end that the writer was told last."""
    request: Request | None = None
    """What it sends until there is an answer; None before anything is sent."""
    is_ambiguous: bool = False
    """Whether what it sends may have been executed already."""
    resends: int = 0
    conflicts: int = 0
    attempts: tuple[Attempt, ...] = ()
    outcome: Outcome | None = None
    """None as long as there is more to be done."""


def write(chain: Chain, known: End | None, call: Write, fates: Sequence[Fate] = ()) -> Course:
    """AC-6: one append by a writer who was told an end, or none yet; `fates` are of its attempts, later ones delivered."""
    course = begun(chain, known, call)
    for fate, rival in zip_longest(fates, call.rivals):
        if course.outcome is not None:
            break
        course = attempted(course, call, fate or Fate.DELIVERED, rival)
    while course.outcome is None:
        course = attempted(course, call, Fate.DELIVERED)
    return course


def begun(chain: Chain, known: End | None, call: Write) -> Course:
    """AC-1, AC-7: before the first attempt; a writer that was told no end reads the head."""
    course = Course(chain=chain, known=known)
    if wrong := misuse(call):
        return evolve(course, outcome=wrong)
    if known is None:
        return evolve(course, request=store.Read(name=call.name, from_seq=0, count=1))
    return evolve(course, request=request_of(call, known))


def attempted(course: Course, call: Write, fate: Fate, rival: Entry | None = None) -> Course:
    """AC-4, AC-5: one attempt, and what it comes to; a rival comes just before it."""
    request = course.request
    if request is None or course.outcome is not None:
        raise ValueError("there is nothing to be attempted")
    chain = _overtaken(course.chain, call.name, rival) if rival else course.chain
    chain, reply = (chain, None) if fate is Fate.NOT_SENT else store.step(chain, request)
    course = evolve(course, chain=chain, attempts=(*course.attempts, Attempt(request, fate, reply)))
    if fate in (Fate.DELIVERED, Fate.FLUSHED):
        return answered(course, call, reply)
    may_append = fate is Fate.REPLY_LOST and not isinstance(request, store.Read)
    course = evolve(course, is_ambiguous=course.is_ambiguous or may_append)
    if fate is Fate.NOT_SENT and not course.is_ambiguous:
        return _failed(course, call, "unavailable")
    if call.resends is not None and course.resends >= call.resends:
        return _failed(course, call, "unavailable", ("AC-5", "CM-9", "AC-6"))
    return evolve(course, resends=course.resends + 1)


def answered(course: Course, call: Write, reply: store.Reply | None) -> Course:
    """AC-4, AC-5, AC-11: an answer decides; or something else is linked, and sent."""
    match reply:
        case store.Appended() | store.Already():
            return evolve(course, known=_end_told(call, reply), outcome=_placed(course, call, reply))
        case store.Corrupt():
            return _failed(course, call, "corrupt")
        case store.Sealed() if course.is_ambiguous:
            return _failed(course, call, "sealed")
        case store.HashMismatch(continues=False):
            return _failed(evolve(course, is_ambiguous=False), call, "regress")
        case store.HashMismatch() | store.Sealed():
            course = evolve(course, conflicts=course.conflicts + 1, is_ambiguous=False)
            known = End(reply.next_seq, reply.head_hash)
            exhausted = course.conflicts > call.conflicts
            return _failed(evolve(course, known=known), call, "conflict") if exhausted else _linked(course, call, known)
        case store.Page():
            return _linked(course, call, End(reply.next_seq, reply.head_hash))
    raise ValueError(f"{reply} answers no append")


def _end_told(call: Write, reply: store.Appended | store.Already) -> End:
    """AC-7: where the store links, it tells of the record alone, and so of the end after it."""
    if call.mode is Mode.SERVER_ORDER:
        return End(reply.seq + 1, reply.hash)
    return End(reply.next_seq, reply.head_hash)


def _linked(course: Course, call: Write, known: End) -> Course:
    return evolve(course, known=known, request=request_of(call, known))


def request_of(call: Write, known: End) -> store.Append | store.AppendNext:
    """AC-7: what is sent, given the end that the writer was told last."""
    pairs = tuple((entry.append_id, canonical_text(entry.event)) for entry in call.entries)
    if call.mode is Mode.SERVER_ORDER:
        [(append_id, event)] = pairs
        return store.AppendNext(name=call.name, append_id=append_id, event=event, since=known.seq, previous=known.hash)
    return store.Append(name=call.name, records=store.linked(known, call.name, pairs))


def _overtaken(chain: Chain, name: str, rival: Entry) -> Chain:
    records = store.linked(chain.end(name), name, ((rival.append_id, canonical_text(rival.event)),))
    chain, _ = store.step(chain, store.Append(name=name, records=records))
    return chain


def _placed(course: Course, call: Write, reply: store.Appended | store.Already) -> Placed:
    fates = {attempt.fate for attempt in course.attempts}
    tests = {
        "AC-4": _was_sealed(course) or isinstance(reply, store.Already),
        "CM-4": Fate.REPLY_LOST in fates,
        "CM-6": Fate.FLUSHED in fates,
        "AC-5": course.conflicts > 0,
        "AC-7": call.mode is not Mode.CAS,
    }
    because = (*(rule for rule, met in tests.items() if met), "AC-3")
    if isinstance(course.request, store.Append):
        records = course.request.records
        return Placed(seqs=tuple(r.seq for r in records), hashes=tuple(r.hash for r in records), because=because)
    return Placed(seqs=(reply.seq,), hashes=(reply.hash,), because=because)


def _failed(course: Course, call: Write, cause: str, because: tuple[str, ...] = ()) -> Course:
    kind = AppendUnknown if course.is_ambiguous else NotAppended
    events = tuple(canonical_text(entry.event) for entry in call.entries)
    because = because or RULES_OF_CAUSES[cause]
    if cause == "unavailable" and course.conflicts:
        because = ("AC-4" if _was_sealed(course) else "AC-3", *because)
    return evolve(course, outcome=kind(cause=cause, events=events, because=because))


def _was_sealed(course: Course) -> bool:
    return any(isinstance(attempt.reply, store.Sealed) for attempt in course.attempts)


def misuse(call: Write) -> Misuse | None:
    """AC-1, AC-7, CM-7: what is wrong with an append, before anything is sent."""
    if not is_name(call.name):
        return Misuse("name", ("CM-7", "CM-9"))
    most = store.RECORDS_MAX if call.mode is Mode.BATCH else 1
    if not 1 <= len(call.entries) <= most:
        return Misuse("entries", ("AC-7", "CM-9"))
    try:
        sizes = [len(canonical_text(entry.event)) for entry in call.entries]
    except NotCanonical:
        return Misuse("event", ("AC-1", "CM-9"))
    if max(sizes) > store.EVENT_BYTES_MAX:
        return Misuse("event", ("AC-1", "CM-9"))
    return Misuse("entries", ("AC-7", "CM-9")) if sum(sizes) > store.EVENT_BYTES_MAX else None
