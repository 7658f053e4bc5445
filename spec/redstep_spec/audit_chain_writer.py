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
and the writer says only since when its append can have been made (AC-7). All modes make the same bytes of the same order.

Time is left out: waits between attempts change nothing, and a deadline is told as the number of resends that it leaves.
"""

from collections.abc import Sequence
from enum import Enum
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


# ---------------------------------------------------------------------------------------------- attempts


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
    fates: tuple[Fate, ...] = ()
    """Of the attempts still to come; those after the last one given are delivered."""
    rivals: tuple[Entry | None, ...] = ()
    resends: int = 0
    conflicts: int = 0
    attempts: tuple[Attempt, ...] = ()
    outcome: Outcome | None = None


def attempted(course: Course, request: Request) -> Course:
    """Make one attempt."""
    chain, fate = course.chain, course.fates[0] if course.fates else Fate.DELIVERED
    rival = course.rivals[0] if course.rivals else None
    if rival is not None:
        event = canonical_text(rival.event)
        came_first = store.linked(chain.end(request.name), request.name, ((rival.append_id, event),))
        chain, _ = store.step(chain, store.Append(name=request.name, records=came_first))
    reply = None
    if fate is not Fate.NOT_SENT:
        chain, reply = store.step(chain, request)
    attempts = (*course.attempts, Attempt(request, fate, reply))
    return evolve(course, chain=chain, fates=course.fates[1:], rivals=course.rivals[1:], attempts=attempts)


def exchanged(course: Course, request: Request, resends: int | None) -> tuple[Course, store.Reply | None, bool]:
    """AC-4, CM-9: the same bytes until there is a reply; or none, and whether the request may have been executed."""
    is_ambiguous = False
    while True:
        course = attempted(course, request)
        attempt = course.attempts[-1]
        if attempt.fate in (Fate.DELIVERED, Fate.FLUSHED):
            return course, attempt.reply, is_ambiguous
        if attempt.fate is Fate.REPLY_LOST:
            is_ambiguous = not isinstance(request, store.Read)
        elif not is_ambiguous:
            return course, None, False
        if resends is not None and course.resends >= resends:
            return course, None, is_ambiguous
        course = evolve(course, resends=course.resends + 1)


# ---------------------------------------------------------------------------------------------- an append


def write(chain: Chain, known: End | None, call: Write, fates: Sequence[Fate] = ()) -> Course:
    """AC-5, AC-6: one append by a writer who was told an end, or none yet; `fates` are of its attempts, reads included."""
    course = Course(chain=chain, known=known, fates=tuple(fates), rivals=call.rivals)
    if wrong := misuse(call):
        return evolve(course, outcome=wrong)
    if known is None and call.mode is not Mode.SERVER_ORDER:
        course, page, _ = exchanged(course, store.Read(name=call.name, from_seq=0, count=1), call.resends)
        if not isinstance(page, store.Page):
            return evolve(course, outcome=_failed(call, "unavailable", is_ambiguous=False))
        course = evolve(course, known=End(page.next_seq, page.head_hash))
    while course.outcome is None:
        request = request_of(call, course.known)
        course, reply, is_ambiguous = exchanged(course, request, call.resends)
        course = concluded(course, call, request, reply, is_ambiguous=is_ambiguous)
    return course


def request_of(call: Write, known: End | None) -> store.Append | store.AppendNext:
    """AC-7: what is sent, given the end that the writer was told last."""
    pairs = tuple((entry.append_id, canonical_text(entry.event)) for entry in call.entries)
    if known is None or call.mode is Mode.SERVER_ORDER:
        [(append_id, event)] = pairs
        return store.AppendNext(name=call.name, append_id=append_id, event=event, since=known.seq if known else 0)
    return store.Append(name=call.name, records=store.linked(known, call.name, pairs))


def concluded(course: Course, call: Write, request: Request, reply: store.Reply | None, *, is_ambiguous: bool) -> Course:
    """What a reply, or none, comes to: an outcome, or that the append is to be linked anew at the end that was told."""
    match reply:
        case store.Appended() | store.Already():
            return evolve(course, known=End(reply.next_seq, reply.head_hash), outcome=_placed(course, call, request, reply))
        case store.Sealed() if is_ambiguous:
            return evolve(course, outcome=_failed(call, "sealed", is_ambiguous=True))
        case store.HashMismatch(continues=False):
            return evolve(course, outcome=_failed(call, "regress", is_ambiguous=False))
        case store.HashMismatch() | store.Sealed():
            course = evolve(course, known=End(reply.next_seq, reply.head_hash), conflicts=course.conflicts + 1)
            exhausted = course.conflicts > call.conflicts
            return evolve(course, outcome=_failed(call, "conflict", is_ambiguous=False) if exhausted else None)
        case store.Corrupt():
            return evolve(course, outcome=_failed(call, "corrupt", is_ambiguous=is_ambiguous))
    return evolve(course, outcome=_failed(call, "unavailable", is_ambiguous=is_ambiguous))


def _placed(course: Course, call: Write, request: Request, reply: store.Appended | store.Already) -> Placed:
    fates = {attempt.fate for attempt in course.attempts}
    tests = {
        "AC-4": isinstance(reply, store.Already),
        "CM-4": Fate.REPLY_LOST in fates,
        "CM-6": Fate.FLUSHED in fates,
        "AC-5": course.conflicts > 0,
        "AC-7": call.mode is not Mode.CAS,
    }
    because = (*(rule for rule, met in tests.items() if met), "AC-3")
    if isinstance(request, store.Append):
        records = request.records
        return Placed(seqs=tuple(r.seq for r in records), hashes=tuple(r.hash for r in records), because=because)
    return Placed(seqs=(reply.seq,), hashes=(reply.hash,), because=because)


def _failed(call: Write, cause: str, *, is_ambiguous: bool) -> NotAppended | AppendUnknown:
    kind = AppendUnknown if is_ambiguous else NotAppended
    because = RULES_OF_CAUSES[cause]
    events = tuple(canonical_text(entry.event) for entry in call.entries)
    return kind(cause=cause, events=events, because=("AC-4", *because) if is_ambiguous and because[0] != "AC-4" else because)


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
