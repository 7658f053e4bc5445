"""
A small world of the audit chain: one writer, the others, a chain that may be sealed, and a network that loses what it likes.

One step is one attempt of the writer, so that others append before it and between its attempts. It makes one append, in
either mode, after it was told an end or before; it may link anew once, and send again twice before its deadline. The others'
appends and seals always succeed, which is all that the writer can tell of them.
"""

from collections.abc import Iterator

from attrs import evolve, field, frozen

from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_writer as writer
from redstep_spec.audit_chain import Chain, End
from redstep_spec.audit_chain_writer import Course, Entry, Mode, NotAppended, Write
from redstep_spec.delivery import Fate

NAME, EVENT = "a", "1"
OWN = Entry(bytes(16), EVENT)
RECORDS_MAX = 4
"""How long the chain is at most when others append."""
FATES = (Fate.DELIVERED, Fate.NOT_SENT, Fate.REPLY_LOST)


@frozen
class World:
    """One chain, and how far the writer's append has come."""

    chain: Chain = store.INITIAL
    known: End | None = None
    call: Write | None = None
    course: Course | None = None
    attempts: tuple[writer.Attempt, ...] = field(default=(), eq=False)
    """Those of the writer's append, on one way to this state; they make no difference to what comes."""


@frozen
class Look:
    """The writer is told the end of the chain, by an append of long ago."""


@frozen
class Begin:
    """The writer begins its append."""

    mode: Mode


@frozen
class Attempt:
    """The writer makes an attempt."""

    fate: Fate


@frozen
class Other:
    """Another writer appends an equal event."""


@frozen
class Seal:
    """All but the newest record is sealed."""


@frozen
class Came:
    """What came of a step, in a few words."""

    what: str = ""


INITIAL = World()
Call = Look | Begin | Attempt | Other | Seal


def step(world: World, call: Call) -> tuple[World, Came]:
    """One attempt, or what makes a difference to the next one."""
    match call:
        case Look():
            return evolve(world, known=world.chain.end(NAME)), Came()
        case Begin(mode):
            write = Write(name=NAME, entries=(OWN,), mode=mode, conflicts=1, resends=2)
            return evolve(world, call=write, course=_bare(writer.begun(world.chain, world.known, write))), Came("append")
        case Attempt(fate):
            if world.call is None or world.course is None:
                raise ValueError("no append was begun")
            course = writer.attempted(evolve(world.course, chain=world.chain, attempts=world.attempts), world.call, fate)
            after = evolve(world, chain=course.chain, course=_bare(course), attempts=course.attempts)
            return after, Came(_told(course))
        case Other() | Seal():
            chain, _ = store.step(world.chain, asked(world.chain, call))
    return evolve(world, chain=chain), Came()


def asked(chain: Chain, call: Other | Seal) -> store.Append | store.Seal:
    """What others ask of the store."""
    end = chain.end(NAME)
    if isinstance(call, Seal):
        return store.Seal(name=NAME, upto_seq=end.seq - 1, keep=1)
    records = store.linked(end, NAME, (((end.seq + 1).to_bytes(16), EVENT.encode("utf-8")),))
    return store.Append(name=NAME, records=records)


def calls(world: World) -> Iterator[Call]:
    """All that may happen in a world."""
    if world.course is None:
        yield from (Begin(mode) for mode in (Mode.CAS, Mode.SERVER_ORDER))
    elif world.course.outcome is None:
        yield from (Attempt(fate) for fate in FATES)
    if world.course is None and world.known is None:
        yield Look()
    if len(world.chain.records) > 1:
        yield Seal()
    if world.chain.end(NAME).seq < RECORDS_MAX:
        yield Other()


def _bare(course: Course) -> Course:
    """What of a course can make a difference to what comes."""
    return evolve(course, chain=store.INITIAL, attempts=())


def kind(world: World) -> str:
    """How far the writer's append has come."""
    course = world.course
    if course is None:
        return "Idle"
    if course.outcome is not None:
        return type(course.outcome).__name__
    if isinstance(course.request, store.Read):
        return "Reading the head"
    return "Ambiguous" if course.is_ambiguous else "Sending"


def label(_call: Call, reply: Came) -> str:
    """The name of a step of the writer; empty for what others do."""
    return reply.what


def _told(course: Course) -> str:
    attempt = course.attempts[-1]
    if attempt.fate is not Fate.DELIVERED:
        certain = attempt.fate is Fate.NOT_SENT and isinstance(course.outcome, NotAppended)
        return f"{attempt.fate.value}{' at the deadline' if course.outcome is not None and not certain else ''}"
    again = " again" if isinstance(course.outcome, NotAppended) else ""
    match attempt.reply:
        case store.Page():
            return "head"
        case store.Sealed():
            return "sealed" + again
        case store.HashMismatch():
            return "hash mismatch" + again
        case _:
            return "already" if isinstance(attempt.reply, store.Already) else "appended"
