"""
The steps of the audit chain's small world, as its properties speak of them.

An attempt of the writer is a step of the store, and the last one is an append, with all attempts that led to it; others come
between them. When the writer begins, its whole append is also made at once, in each mode, under several fates and with others
coming first. Of each state it is asked what changes nothing: pages, verification by the ends that the chain has had, and
without; and what is refused.
"""

from collections.abc import Iterable, Iterator
from itertools import product

from attrs import evolve

from redstep_check.exploration import Step
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec import audit_chain_writer as writer
from redstep_spec.audit_chain import Chain, End
from redstep_spec.audit_chain_verification import Anchor
from redstep_spec.audit_chain_writer import Entry, Mode, Write
from redstep_spec.delivery import Fate
from redstep_spec.properties.audit_chain import Transition
from redstep_spec.worlds import audit_chain as small
from redstep_spec.worlds.audit_chain import EVENT, NAME, OWN, World

LOST, NOT_SENT, FLUSHED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED
FATES = ((), (LOST,), (NOT_SENT,), (FLUSHED,), (LOST, LOST), (LOST, NOT_SENT), (LOST, LOST, LOST))
SECOND = Entry(b"\x01" + bytes(15), '{"b": 1, "a": 2}')
RIVALS = tuple(Entry(b"\x02" + bytes([number]) + bytes(14), EVENT) for number in range(writer.CONFLICTS_MAX + 1))
COMING_FIRST: tuple[tuple[Entry | None, ...], ...] = ((), *(RIVALS[:count] for count in range(1, 5)), (None, RIVALS[0]))
WRITES = (
    Write(name=NAME, entries=(OWN,), mode=Mode.CAS),
    Write(name=NAME, entries=(OWN, SECOND), mode=Mode.BATCH),
    Write(name=NAME, entries=(OWN,), mode=Mode.SERVER_ORDER),
)


def of_step(step: Step[World]) -> Iterator[Transition]:
    """What the properties speak of, for one step of the world."""
    before, after = step.before, step.after
    match step.call:
        case small.Other() | small.Seal():
            yield _asked(before.chain, small.asked(before.chain, step.call))
        case small.Attempt():
            yield from _attempted(before, after)
        case small.Begin(Mode.CAS):
            yield from _written(before.chain, before.known)


def of_states(states: Iterable[World]) -> Iterator[Transition]:
    """What the properties speak of in each state, whatever happens next: of each chain once."""
    for chain in dict.fromkeys(state.chain for state in states):
        yield from _of_chain(chain)


def _of_chain(chain: Chain) -> Iterator[Transition]:
    end = chain.end(NAME)
    for from_seq, count in product(range(end.seq + 2), (1, store.RECORDS_MAX)):
        yield _asked(chain, store.Read(name=NAME, from_seq=from_seq, count=count))
    for upto_seq, keep in product(range(end.seq + 1), (1, 2)):
        yield _asked(chain, store.Seal(name=NAME, upto_seq=upto_seq, keep=keep))
    yield from _linked(chain, end)
    yield from _verified(chain, end)


def _asked(chain: Chain, call: store.Call) -> Transition:
    after, reply = store.step(chain, call)
    return Transition(before=chain, call=call, after=after, reply=reply)


def _attempted(before: World, after: World) -> Iterator[Transition]:
    last = after.attempts[-1]
    if last.reply is not None:
        yield _asked(before.chain, last.request)
    if before.call is not None and after.course is not None and after.course.outcome is not None:
        yield Transition(
            before=before.chain,
            call=before.call,
            after=after.chain,
            reply=after.course.outcome,
            known=before.known,
            attempts=after.attempts,
        )


def _written(chain: Chain, known: End | None) -> Iterator[Transition]:
    for write, fates, rivals, resends in product(WRITES, FATES, COMING_FIRST, (None, 1)):
        call = evolve(write, rivals=rivals, resends=resends)
        course = writer.write(chain, known, call, fates)
        if course.outcome is not None:
            yield Transition(
                before=chain, call=call, after=course.chain, reply=course.outcome, known=known, attempts=course.attempts
            )


def _linked(chain: Chain, end: End) -> Iterator[Transition]:
    """Records that are sent as they are: to the end, to what was the end, to a wrong hash, to beyond; and each once more."""
    pairs = ((SECOND.append_id, EVENT.encode()), (RIVALS[0].append_id, EVENT.encode()))
    ends = [End(seq, previous) for seq in range(end.seq + 1) if (previous := chain.previous_at(seq, NAME)) is not None]
    for where, count in product((*ends, End(end.seq, bytes(32)), End(end.seq + 1, bytes(32))), (1, 2)):
        yield _asked(chain, store.Append(name=NAME, records=store.linked(where, NAME, pairs[:count])))
    for place, count in product(range(len(chain.records)), (1, 2)):
        there = [record for seq in range(chain.base_seq + place, end.seq)[:count] if (record := chain.at(seq)) is not None]
        yield _asked(chain, store.Append(name=NAME, records=tuple(there)))


def _verified(chain: Chain, end: End) -> Iterator[Transition]:
    """By each end that the chain is known to have had, and by some that it had not."""
    anchors = [
        (Anchor(name=NAME, size=seq, hash=previous), True)
        for seq in range(end.seq + 1)
        if (previous := chain.previous_at(seq, NAME)) is not None
    ]
    strange = [(Anchor(name=NAME, size=size, hash=bytes(32)), False) for size in range(end.seq + 2)]
    for anchor, honest in [(None, False), *anchors, *strange]:
        call = verification.Verify(name=NAME, anchor=anchor)
        yield Transition(before=chain, call=call, after=chain, reply=verification.verify(chain, call), honest=honest)
