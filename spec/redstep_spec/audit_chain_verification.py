"""
Audit chain, verified: the first position that breaks, and how; a fold over the stored records.

      p = the seq expected next ── each record, from the base on, is asked in this order:

    cannot be read, or its own hash is wrong ──▶ modified      its seq is below p ─────▶ inserted
    its hash is right, for another chain ──────▶ foreign       its seq is p, and its previous hash is wrong:
    its seq is above p, and seq p comes later ─▶ reordered         p = 0 ──────────────▶ wrong genesis
                        and it does not ───────▶ removed           else ───────────────▶ replaced
    none is left, and the head says otherwise ─▶ head mismatch

Two laws. What breaks is told at the first position where the chain is no longer what was appended to it (AC-9). And without an
anchor nothing is called verified: who can write to the store and knows the format can hash a suffix anew, or cut it off and set
the head, and what is left agrees with itself. A checkpoint that was remembered or signed elsewhere tells that too (AC-10):

    the chain ends before the anchor's size ───▶ truncated     the record below it has another hash ──▶ diverged
    that record is sealed, and not exported ───▶ not comparable: it stays internally consistent, and says so

Files of exported records are read before the store. Where they go on beyond its base, their end is one more that is known.

Whether a record whose own hash is wrong was modified or put there cannot be told, nor what was there before.
"""

from enum import StrEnum
from typing import Annotated

from attrs import evolve, field, frozen

from redstep_spec.arguments import Misuse, is_integer, is_name
from redstep_spec.audit_chain import Chain, End
from redstep_spec.audit_chain_encoding import HASH_BYTES, decoded, genesis_hash, record_hash, records_of


class Finding(StrEnum):
    """What a verification comes to."""

    CONSISTENT = "internally consistent"
    VERIFIED = "verified"
    MODIFIED = "modified"
    FOREIGN = "foreign"
    REORDERED = "reordered"
    REMOVED = "removed"
    INSERTED = "inserted"
    WRONG_GENESIS = "wrong genesis"
    REPLACED = "replaced"
    HEAD_MISMATCH = "head mismatch"
    TRUNCATED = "truncated"
    DIVERGED = "diverged"


@frozen(kw_only=True)
class Anchor:
    """AC-10: what is known of a chain from elsewhere, a checkpoint: so many records, and the hash of the last of them."""

    name: str
    size: int
    hash: bytes
    """That of record `size - 1`; of size 0, the genesis hash."""


@frozen(kw_only=True)
class Verify:
    """Is the chain, as it is now, what was appended to it?"""

    name: str
    anchor: Anchor | None = None
    segments: tuple[bytes, ...] = ()
    """Exported files, the oldest first; what they hold from the base on is in the store too, and must be the same."""
    from_seq: int = 0
    """Where the first of them begins; without any, verification begins at the base."""


@frozen(kw_only=True)
class Integrity:
    """The answer."""

    finding: Annotated[str, "AC-9"]
    position: Annotated[int | None, "AC-9"]
    """The first position that breaks; None if none does."""
    comparable: Annotated[bool | None, "AC-10"]
    """Whether the anchor could be held against the chain; None if there was none, or if something broke before."""
    because: tuple[str, ...] = field(eq=False, default=("AC-9",))


# ---------------------------------------------------------------------------------------------- the fold


@frozen
class Sound:
    """Nothing is broken so far."""

    seq: int
    """The one expected next."""
    previous: bytes | None
    """The hash that it must link to; None if what came before is sealed."""
    ends: frozenset[End] = frozenset()
    """Those that the chain has had, as far as it was looked at."""


@frozen
class Missing:
    """A later record came where this seq was expected: what is still to be read decides why."""

    seq: int


@frozen
class Broken:
    """The first position that breaks, and how."""

    finding: Finding
    position: int


State = Sound | Missing | Broken


def begun(name: str, seq: int) -> Sound:
    """Begin at a seq: the base, or the first that was exported."""
    if seq > 0:
        return Sound(seq, None)
    genesis = genesis_hash(name.encode("utf-8"))
    return Sound(0, genesis, frozenset({End(0, genesis)}))


def checked(state: State, stored: bytes, name: str) -> State:
    """AC-9: take in the next stored record."""
    record = decoded(stored)
    if record is None or record.hash != record_hash(record):
        return Broken(Finding.MODIFIED, state.seq) if isinstance(state, Sound) else state
    is_own = record.chain_id == name.encode("utf-8")
    match state:
        case Missing(seq) if is_own and record.seq == seq:
            return Broken(Finding.REORDERED, seq)
        case Sound(seq) if not is_own:
            return Broken(Finding.FOREIGN, seq)
        case Sound(seq) if record.seq > seq:
            return Missing(seq)
        case Sound(seq) if record.seq < seq:
            return Broken(Finding.INSERTED, seq)
        case Sound(seq, previous) if previous not in (None, record.previous):
            return Broken(Finding.REPLACED if seq else Finding.WRONG_GENESIS, seq)
        case Sound(seq, _, ends):
            return Sound(seq + 1, record.hash, ends | {End(seq, record.previous), End(seq + 1, record.hash)})
    return state


def ended(state: State, head: End) -> Sound | Broken:
    """AC-9: nothing is left to be read; a chain that has not begun ends at its genesis."""
    match state:
        case Missing(seq):
            return Broken(Finding.REMOVED, seq)
        case Sound(seq, previous) if (seq, previous) != (head.seq, head.hash):
            return Broken(Finding.HEAD_MISMATCH, seq)
        case _:
            return state


def concluded(state: Sound | Broken, anchor: Anchor | None, known: frozenset[End]) -> Integrity:
    """AC-10: hold what agrees with itself against the ends that are known of it, the anchor's among them."""
    if isinstance(state, Broken):
        return Integrity(finding=state.finding, position=state.position, comparable=None)
    told = Integrity(finding=Finding.CONSISTENT, position=None, comparable=None, because=("AC-10", "AC-9"))
    if anchor is not None:
        told = evolve(told, comparable=anchor.size > state.seq or any(end.seq == anchor.size for end in state.ends))
    if differing := [end.seq for end in state.ends for other in known if end.seq == other.seq and end.hash != other.hash]:
        return evolve(told, finding=Finding.DIVERGED, position=max(0, min(differing) - 1))
    if any(end.seq > state.seq for end in known):
        return evolve(told, finding=Finding.TRUNCATED, position=state.seq)
    return evolve(told, finding=Finding.VERIFIED) if told.comparable else told


# ---------------------------------------------------------------------------------------------- the whole


def verify(chain: Chain, call: Verify) -> Integrity | Misuse:
    """AC-9, AC-10, AC-12: across exported segments and the store, as they are at one instant."""
    if wrong := misuse(call):
        return wrong
    exported = [record for each in call.segments for record in records_of(each)]
    known = frozenset({End(call.anchor.size, call.anchor.hash)} if call.anchor else ())
    state, at_base = _exported(chain.base_seq, exported, call)
    if isinstance(state, Sound) and state.seq > chain.base_seq:
        known |= {End(state.seq, state.previous)} if state.previous else frozenset()
        state = evolve(at_base, ends=state.ends)
    for stored in chain.records:
        state = checked(state, stored, call.name)
    integrity = concluded(ended(state, chain.end(call.name)), call.anchor, known)
    across = chain.base_seq or exported
    return evolve(integrity, because=(*integrity.because, "AC-12")) if across else integrity


def _exported(base_seq: int, exported: list[bytes], call: Verify) -> tuple[State, Sound]:
    """AC-12: how far the files go, and how far they had come where the store begins."""
    state: State = begun(call.name, call.from_seq if exported else base_seq)
    at_base = begun(call.name, base_seq)
    for stored in exported:
        state = checked(state, stored, call.name)
        if isinstance(state, Sound) and state.seq == base_seq:
            at_base = state
    return state, at_base


def misuse(call: Verify) -> Misuse | None:
    """AC-10, CM-7: an anchor is of the same chain, or it says nothing."""
    if not is_name(call.name):
        return Misuse("name", ("CM-7", "CM-9"))
    anchor = call.anchor
    if anchor and not (anchor.name == call.name and is_integer(anchor.size, 0) and len(anchor.hash) == HASH_BYTES):
        return Misuse("anchor", ("AC-10", "CM-9"))
    return None if is_integer(call.from_seq, 0) else Misuse("from_seq", ("CM-8", "CM-9"))
