"""
The audit chain in lockstep: its moves, and what is compared.

Features of a target, of which it needs at least one of the three modes:

    cas, batch, server_order   how its writers append
    several_writers            more than one of them at a time, each with an end that it was told last
    rivals                     another append can come first, just before any attempt
    budgets                    no more conflicts than so many, and no more resends before the deadline
    resend                     the store's own steps: records as they are, at any place and again
    seal, read, verify
    misuse                     bad arguments are told apart
    stored                     what is stored can be read
    put                        and can be replaced, by what makes no sense too
"""

from collections import defaultdict

from attrs import frozen

from redstep_check.binding import Answer, Target, Unreadable
from redstep_check.guards.audit_chain_blame import DECISIONS, blamed, compare_chains, compare_decisions, suspect
from redstep_check.guards.audit_chain_tampering import How, tampered
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, SpecificationBroken, Told, compare, rules_of
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec import audit_chain_writer as writer
from redstep_spec.arguments import Misuse, is_name
from redstep_spec.audit_chain import Chain, End, linked
from redstep_spec.audit_chain_encoding import Record, decoded, genesis_hash, segment
from redstep_spec.audit_chain_verification import Anchor
from redstep_spec.audit_chain_writer import Entry, Mode, Write
from redstep_spec.canonical_json import NotCanonical, canonical_text, read
from redstep_spec.delivery import Fate, Replied
from redstep_spec.properties import Properties
from redstep_spec.properties.audit_chain import PROPERTIES, Transition
from redstep_spec.properties.audit_chain_store_seen import PROPERTIES as STORE_SEEN
from redstep_spec.properties.audit_chain_verification_seen import PROPERTIES as VERIFICATION_SEEN
from redstep_spec.properties.audit_chain_writer_seen import PROPERTIES as WRITER_SEEN

NAME = "audit-chain"
SEEN = Properties(PROPERTIES.always, [*WRITER_SEEN.sometimes, *STORE_SEEN.sometimes, *VERIFICATION_SEEN.sometimes])
DECIDED = frozenset({*DECISIONS, "argument"})
"""The reply fields that every rule of a decision bears upon."""
NOWHERE = bytes(32)
"""The hash of nothing."""


class _Timeless:
    """A chain needs no time."""

    now_ms = 0


@frozen
class Wrote(_Timeless):
    """A writer appends, with the fates of its attempts."""

    writer: str
    call: Write
    fates: tuple[Fate, ...] = ()
    as_text: bool = True
    """Whether the events are given as JSON texts, or as the values that they say."""


@frozen
class Linked(_Timeless):
    """Records are sent as they are, linked so far back from the end."""

    name: str
    entries: tuple[Entry, ...]
    back: int = 0
    rightly: bool = True
    """Whether to the hash that belongs there; if not, to the newest one, or at the end to none."""


@frozen
class Resent(_Timeless):
    """What was sent to append something is sent again; 0 is the last of them."""

    name: str
    ago: int


@frozen
class Asked(_Timeless):
    """A page is read, or a chain is sealed."""

    call: store.Read | store.Seal


@frozen
class Verified(_Timeless):
    """A chain is verified, by the end that it had at a size if one is given."""

    name: str
    size: int | None = None
    honest: bool = True
    """Whether the anchor has the hash that the chain had."""
    copied: int | None = None
    """How many records the file of exported records holds beyond those that were sealed, as they were before anybody edited
    them; None leaves out the file."""


@frozen
class Altered(_Timeless):
    """Somebody edits what is stored."""

    name: str
    how: How
    place: int


Move = Wrote | Linked | Resent | Asked | Verified | Altered
KINDS: dict[str, type] = {
    each.__name__: each
    for each in (Wrote, Linked, Resent, Asked, Verified, Altered, Write, Entry, Mode, Fate, How, store.Read, store.Seal)
}
"""The classes that a story is made of."""
Asking = Wrote | store.Append | store.AppendNext | store.Read | store.Seal | verification.Verify
"""What a target is called with."""


class AuditChainTarget(Target[Asking]):
    """What the kit needs beyond calls: to put something else in the place of what is stored."""

    def put(self, name: str, chain: Chain) -> None:
        """Store this head, or none, and these records, with the feature `put`; the append ids kept beside are theirs."""
        raise NotImplementedError


class AuditChainSession(Session[Move]):
    """The specification of the audit chain beside a target."""

    def __init__(self, target: Target[Asking]) -> None:
        super().__init__(target)
        self.chains: dict[str, Chain] = {}
        self.known: dict[tuple[str, str, Mode], End] = {}
        """What each writer was told last; it has a client of its own for each mode."""
        self.requests: dict[str, list[store.Append | store.AppendNext]] = defaultdict(list)
        self.ends: dict[str, dict[int, bytes]] = defaultdict(dict)
        """The hash that each chain had at each size, before anybody edited it."""
        self.exported: dict[str, list[bytes]] = defaultdict(list)
        self.unedited: dict[str, Chain] = {}
        """What was stored before anybody edited it."""
        self._ids: set[bytes] = set()
        self._raw: dict[str, object] = {}

    def chain(self, name: str) -> Chain:
        """A chain, as it should be stored."""
        return self.chains.get(name, store.INITIAL)

    def _play(self, move: Move) -> None:
        match move:
            case Wrote():
                self._write(move)
            case Linked(name, entries, back, rightly):
                self._step(move, store.Append(name=name, records=self._linked(name, entries, back, rightly=rightly)))
            case Resent(name, ago):
                if not 0 <= ago < len(self.requests[name]):
                    raise ImpossibleStory("nothing to be sent again")
                self._step(move, self.requests[name][-1 - ago])
            case Asked(call):
                self._step(move, call)
            case Verified():
                self._verify(move)
            case Altered(name, how, place):
                self._alter(move, name, how, place)
            case _:
                raise ImpossibleStory(f"{move!r} is no move")

    # ------------------------------------------------------------------------------------------ the moves

    def _write(self, move: Wrote) -> None:
        call, key = move.call, (move.call.name, move.writer, move.call.mode)
        self._use(*call.entries, *(rival for rival in call.rivals if rival))
        if not move.as_text:
            self._read(*call.entries)
        before = self.chain(call.name)
        course = writer.write(before, self.known.get(key), call, move.fates)
        if course.outcome is None:
            raise SpecificationBroken(f"{call} has no outcome")
        transition = Transition(
            before=before,
            call=call,
            after=course.chain,
            reply=course.outcome,
            known=self.known.get(key),
            attempts=course.attempts,
            altered=call.name in self.unedited,
        )
        self._both(move, move, transition, move.fates)
        if course.known is not None:
            self.known[key] = course.known
        self.requests[call.name] += [each.request for each in transition.appends if not isinstance(each.request, store.Read)]

    def _linked(self, name: str, entries: tuple[Entry, ...], back: int, *, rightly: bool) -> tuple[Record, ...]:
        self._use(*entries)
        chain = self.chain(name)
        end = chain.end(name)
        seq = end.seq - back
        previous = chain.previous_at(seq, name) if rightly else end.hash if back else NOWHERE
        if seq < 0 or previous is None:
            raise ImpossibleStory("nothing to link to")
        try:
            pairs = tuple((entry.append_id, canonical_text(entry.event)) for entry in entries)
        except NotCanonical as error:
            raise ImpossibleStory("a record is made of what has a canonical form") from error
        return linked(End(seq, previous), name, pairs)

    def _read(self, *entries: Entry) -> None:
        try:
            for entry in entries:
                read(entry.event)
        except NotCanonical as error:
            raise ImpossibleStory("a text that says no value, or says one twice") from error

    def _step(self, move: Move, call: store.Call) -> None:
        before = self.chain(call.name)
        after, reply = store.step(before, call)
        transition = Transition(before=before, call=call, after=after, reply=reply, altered=call.name in self.unedited)
        self._both(move, call, transition, ())
        self.exported[call.name] += before.records[: after.base_seq - before.base_seq]
        if isinstance(call, store.Append | store.AppendNext) and not isinstance(reply, Misuse):
            self.requests[call.name].append(call)

    def _verify(self, move: Verified) -> None:
        anchor, chain, ends = None, self.chain(move.name), self.ends[move.name]
        ends.setdefault(0, genesis_hash(move.name.encode("utf-8")))
        if move.size is not None:
            if move.size not in ends:
                raise ImpossibleStory("the chain was never that long")
            anchor = Anchor(name=move.name, size=move.size, hash=ends[move.size] if move.honest else NOWHERE)
        exported = self._exported(move.name, move.copied)
        segments = (segment(exported),) if exported else ()
        call = verification.Verify(name=move.name, anchor=anchor, segments=segments)
        altered = move.name in self.unedited
        transition = Transition(
            before=chain,
            call=call,
            after=chain,
            reply=verification.verify(chain, call),
            altered=altered,
            honest=anchor is not None and move.honest and not altered,
        )
        self._both(move, call, transition, ())

    def _exported(self, name: str, copied: int | None) -> list[bytes]:
        if copied is None:
            return []
        unedited = self.unedited.get(name, self.chain(name))
        sealed = self.exported[name]
        return sealed + list(unedited.records[max(0, len(sealed) - unedited.base_seq) :][:copied])

    def _alter(self, move: Altered, name: str, how: How, place: int) -> None:
        if not isinstance(self.target, AuditChainTarget):
            raise ImpossibleStory("what this target stores cannot be edited")
        after = tampered(name, self.chain(name), how, place)
        self.target.put(name, after)
        self.unedited.setdefault(name, self.chain(name))
        self.chains[name] = after
        self._raw.pop(name, None)
        self.story.append(Told(move, None, None))

    def _use(self, *entries: Entry) -> None:
        ids = [entry.append_id for entry in entries]
        if len(set(ids)) < len(ids) or self._ids & set(ids):
            raise ImpossibleStory("an append id is drawn once")
        self._ids |= set(ids)

    # ------------------------------------------------------------------------------------------ both sides

    def _both(self, move: Move, asking: Asking, transition: Transition, fates: tuple[Fate, ...]) -> None:
        if isinstance(transition.reply, Misuse) and "misuse" not in self.target.features:
            raise ImpossibleStory("a target that tells no misuse is asked nothing impossible")
        answer = self.ask(asking, fates)
        self.story.append(Told(move, Replied(transition.reply), answer))
        tested = {*transition.reply.because, *rules_of(transition.reply).values(), "CM-8"}
        self.observe(SEEN, transition, tested)
        self._compare(transition, answer)
        self._note(transition)
        if "stored" in self.target.features and is_name(transition.name):
            self._compare_stored(transition)

    def _note(self, transition: Transition) -> None:
        name, ends = transition.name, self.ends[transition.name]
        self.chains[name] = transition.after
        if transition.after != transition.before:
            self._raw.pop(name, None)
        for stored in transition.added if name not in self.unedited else ():
            if record := decoded(stored):
                ends.setdefault(record.seq + 1, record.hash)

    def _compare(self, transition: Transition, answer: Answer) -> None:
        try:
            compare_decisions(transition.reply, answer)
            compare(Replied(transition.reply), answer, (), DECIDED)
        except Mismatch as mismatch:
            if mismatch.what in ("hash", "hashes", "head_hash", "next_seq") and "stored" in self.target.features:
                self._note(transition)
                self._compare_stored(transition)
            raise Mismatch(blamed(mismatch, transition), mismatch.what, mismatch.expected, mismatch.actual) from mismatch

    def _compare_stored(self, transition: Transition) -> None:
        name = transition.name
        self.fired.update(("AC-1", "AC-2", "AC-3", "CM-3"))
        try:
            stored = self.target.stored(name)
        except Unreadable as error:
            raise Mismatch(suspect(transition), "what is stored", "the documented form", str(error)) from error
        if stored is None:
            return
        compare_chains(transition, stored.state)
        if stored.ttl_ms is not None:
            raise Mismatch("CM-3", "the TTL", "none", f"{stored.ttl_ms} ms")
        if self._raw.setdefault(name, stored.raw) != stored.raw:
            raise Mismatch(suspect(transition), "what is stored, byte for byte", self._raw[name], stored.raw)
