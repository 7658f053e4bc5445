"""
The audit chain's machine is checked: each of these mistakes is one edit of the specification, and the report names its rule.

The mutants are the modules of the specification with one text replaced by another. What they are told and what they answer goes
through JSON, as for a foreign implementation, so that the classes of the two sides are never mistaken for each other.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import count, product
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs
import pytest

import redstep_spec
from redstep_check import runs
from redstep_check.binding import Answer, Answered, Misused, Stored
from redstep_check.engines import DEFAULT, Engine
from redstep_check.guards.audit_chain import SEEN, Altered, Asked, Asking, AuditChainSession, AuditChainTarget, Wrote
from redstep_check.guards.audit_chain_simpler import simpler
from redstep_check.guards.audit_chain_tampering import How
from redstep_check.guards.audit_chain_telling import tell, tell_answer
from redstep_check.machines.audit_chain import AuditChainMachine
from redstep_check.models.audit_chain import ModelAuditChain
from redstep_check.naive.audit_chain import NaiveAuditChain
from redstep_check.registry import GUARDS
from redstep_check.runs import Bench, Budget, Verdict
from redstep_check.stories import decoded, encoded
from redstep_spec import audit_chain
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain import Seal
from redstep_spec.audit_chain_writer import Entry, Mode, Write
from redstep_spec.delivery import Fate

BENCH = Bench(session=AuditChainSession, machine=AuditChainMachine, sometimes=SEEN.sometimes, simpler=simpler)
BUDGET = Budget(seed=20_250)
MODULES = ("canonical_json", "audit_chain_encoding", "audit_chain", "audit_chain_writer", "audit_chain_verification")
SHORT = 8
"""How many moves the story of a mistake has at most."""

ENCODING, STORE, WRITER, VERIFICATION, JSON = (
    "audit_chain_encoding",
    "audit_chain",
    "audit_chain_writer",
    "audit_chain_verification",
    "canonical_json",
)

MISTAKES: dict[str, tuple[str, str, str, str]] = {
    # name: rule (two, where it breaks both), module, what stands there, what is put in its place
    "mismatch answered as appended": (
        *("AC-3 AC-11", STORE, "return chain, HashMismatch(continues=continues, **"),
        "return chain, Appended(seq=last.seq, hash=last.hash, **",
    ),
    "previous hash not compared": (
        "AC-3 AC-11",
        STORE,
        "(first.seq, first.previous) == (end.seq, end.hash)",
        "first.seq == end.seq",
    ),
    "seq not compared": ("AC-3", STORE, "(first.seq, first.previous) == (end.seq, end.hash)", "first.previous == end.hash"),
    "head not moved": ("AC-3", STORE, "after = Chain(head, chain.records", "after = Chain(chain.head or head, chain.records"),
    "next seq off by one": ("AC-3", STORE, "head = Head(next_seq=end.seq,", "head = Head(next_seq=end.seq + 1,"),
    "another's record taken for one's own": (
        *("AC-3", STORE, "if stored is not None and stored.hash == last.hash:"),
        "if stored is not None:",
    ),
    "already not recognised": ("AC-4", STORE, "if stored is not None and stored.hash == last.hash:", "if False:"),
    "sealed treated as mismatch": ("AC-4", STORE, "if first.seq < chain.base_seq:", "if False:"),
    "append id not looked up": ("AC-4", STORE, "    if stored is not None:\n        return", "    if False:\n        return"),
    "since not looked at": ("AC-4", STORE, "if call.since < chain.base_seq:", "if False:"),
    "batch half applied": ("AC-7", STORE, "tuple(map(encoded, records))", "tuple(map(encoded, records[:1]))"),
    "corrupt not noticed": ("AC-8", STORE, "return not agree", "return False"),
    "length not compared": ("AC-8", STORE, " and len(chain.records) == head.next_seq - head.base_seq", ""),
    "last hash not compared": ("AC-8", STORE, " and last.hash == head.hash", ""),
    "missing head not noticed": ("AC-8", STORE, "return head is not None or bool(chain.records)", "return False"),
    "page from the first record on": ("AC-9", STORE, "max(0, call.from_seq - chain.base_seq)", "call.from_seq"),
    "page one too long": ("AC-9", STORE, "place : place + call.count]", "place : place + call.count + 1]"),
    "regress not told": (
        "AC-11",
        STORE,
        "continues = chain.previous_at(first.seq, call.name) == first.previous",
        "continues = True",
    ),
    "regress not told in server order": (
        "AC-11",
        STORE,
        "if chain.previous_at(call.since, call.name) != call.previous:",
        "if call.since > end.seq:",
    ),
    "base forgotten by an append": (
        "AC-12",
        STORE,
        "head = Head(next_seq=end.seq, base_seq=chain.base_seq",
        "head = Head(next_seq=end.seq, base_seq=0",
    ),
    "one kept too few": (
        "AC-12",
        STORE,
        "head.next_seq - call.upto_seq < call.keep:",
        "head.next_seq - call.upto_seq < call.keep - 1:",
    ),
    "one removed too many": (
        "AC-12",
        STORE,
        "chain.records[base_seq - head.base_seq :])",
        "chain.records[base_seq - head.base_seq + 1 :])",
    ),
    "base not moved": ("AC-12", STORE, "left = Chain(evolve(head, base_seq=base_seq),", "left = Chain(head,"),
    "seal refused again": ("AC-12", STORE, "if call.upto_seq <= chain.base_seq:", "if call.upto_seq < chain.base_seq:"),
    "name not looked at": ("CM-7", WRITER, "if not is_name(call.name):", "if False:"),
    "hash without seq": (
        "AC-2",
        ENCODING,
        "bytes([RECORD]) + header(record)",
        "bytes([RECORD]) + header(evolve(record, seq=0))",
    ),
    "hash without append id": (
        *("AC-2", ENCODING, "bytes([RECORD]) + header(record)"),
        "bytes([RECORD]) + header(evolve(record, append_id=bytes(16)))",
    ),
    "hash without previous hash": (
        *("AC-2", ENCODING, "bytes([RECORD]) + header(record)"),
        "bytes([RECORD]) + header(evolve(record, previous=bytes(32)))",
    ),
    "hash without chain id": (
        *("AC-2", ENCODING, "bytes([RECORD]) + header(record)"),
        "bytes([RECORD]) + header(evolve(record, chain_id=b''))",
    ),
    "hash of the event itself": ("AC-2", ENCODING, "sha256(record.event).digest()).digest()", "record.event).digest()"),
    "one genesis for all": ("AC-2", ENCODING, "+ START.pack(VERSION, len(chain_id)) + chain_id).digest()", ").digest()"),
    "length in characters": (
        *("AC-2", ENCODING, "start = START.pack(VERSION, len(record.chain_id))"),
        "start = START.pack(VERSION, len(record.chain_id.decode()))",
    ),
    "little-endian seq": ("AC-3", ENCODING, 'f">Q{HASH_BYTES}s', 'f"<Q{HASH_BYTES}s'),
    "event as it was given": (
        *("AC-1", WRITER, "pairs = tuple((entry.append_id, canonical_text(entry.event)) for"),
        "pairs = tuple((entry.append_id, entry.event.encode()) for",
    ),
    "re-linked after an ambiguous error": (
        *("AC-4", WRITER, "    return evolve(course, resends=course.resends + 1)"),
        "    return _linked(course, call, course.chain.end(call.name))",
    ),
    "definite after all, for it was not sent": (
        *("AC-4", WRITER, "    if fate is Fate.NOT_SENT and not course.is_ambiguous:"),
        "    if fate is Fate.NOT_SENT:\n        course = evolve(course, is_ambiguous=False)",
    ),
    "given up with the first lost reply": (
        *("AC-4", WRITER, "if call.resends is not None and course.resends >= call.resends:"),
        "if may_append or (call.resends is not None and course.resends >= call.resends):",
    ),
    "linked anew though it may be sealed": (
        "AC-4",
        WRITER,
        "case store.Sealed() if course.is_ambiguous:",
        "case store.Sealed() if False:",
    ),
    "unknown called definite": (
        *("CM-9", WRITER, "kind = AppendUnknown if course.is_ambiguous else NotAppended"),
        'kind = AppendUnknown if course.is_ambiguous and cause != "unavailable" else NotAppended',
    ),
    "one conflict too many": ("AC-5", WRITER, "course.conflicts > call.conflicts", "course.conflicts > call.conflicts + 1"),
    "one conflict too few": ("AC-5", WRITER, "course.conflicts > call.conflicts", "course.conflicts >= call.conflicts"),
    "deadline not kept": ("AC-5", WRITER, "if call.resends is not None and course.resends >= call.resends:", "if False:"),
    "conflict taken for a lost reply": (
        *("AC-5", WRITER, "known = End(reply.next_seq, reply.head_hash)\n            exhausted"),
        "known = course.known\n            exhausted",
    ),
    "an empty batch": ("AC-7", WRITER, "if not 1 <= len(call.entries) <= most:", "if len(call.entries) > most:"),
    "corrupt taken for a conflict": (
        "AC-8",
        WRITER,
        'return _failed(course, call, "corrupt")',
        'return _failed(course, call, "conflict")',
    ),
    "linked on in spite of a regress": (
        "AC-11",
        WRITER,
        "case store.HashMismatch(continues=False):",
        "case store.HashMismatch(continues=None):",
    ),
    "batch linked to one end": (
        *("AC-7", WRITER, "records=store.linked(known, call.name, pairs))\n\n\n"),
        "records=tuple(store.linked(known, call.name, (pair,))[0] for pair in pairs))\n\n\n",
    ),
    "names sorted by code points": ("AC-1", JSON, 'sorted(names, key=lambda name: name.encode("utf-16-be"))', "sorted(names)"),
    "integers up to 2^53": ("AC-1", JSON, "INTEGER_MAX = 2**53 - 1", "INTEGER_MAX = 2**53"),
    "duplicate names": ("AC-1", JSON, "if len(value) < len(members):", "if False:"),
    "numbers as Python writes them": ("AC-1", JSON, "return _number(value)", "return repr(value)"),
    "everything escaped": (
        "AC-1",
        JSON,
        "ESCAPED.get(character, character) for",
        "ESCAPED.get(character, ascii(character)[1:-1]) for",
    ),
    "one layer more": ("AC-1", JSON, "DEPTH_MAX = 100", "DEPTH_MAX = 101"),
    "lone surrogates replaced": ("AC-1", JSON, '.encode("utf-8")', '.encode("utf-8", "replace")'),
    "own hash not looked at": ("AC-9", VERIFICATION, "or record.hash != record_hash(record):", ":"),
    "chain id not looked at": ("AC-9", VERIFICATION, "case Sound(seq) if not is_own:", "case Sound(seq) if False:"),
    "previous hash not looked at": ("AC-9", VERIFICATION, "if previous not in (None, record.previous):", "if False:"),
    "genesis not looked at": (
        "AC-9",
        VERIFICATION,
        "return Sound(0, genesis, frozenset({End(0, genesis)}))",
        "return Sound(0, None, frozenset({End(0, genesis)}))",
    ),
    "head not looked at": ("AC-9", VERIFICATION, "if (seq, previous) != (head.seq, head.hash):", "if seq != head.seq:"),
    "reordered taken for removed": (
        "AC-9",
        VERIFICATION,
        "case Missing(seq) if is_own and record.seq == seq:",
        "case Missing(seq) if False:",
    ),
    "position of the one that came": ("AC-9", VERIFICATION, "return Missing(seq)", "return Missing(record.seq)"),
    "verified without an anchor": (
        "AC-10",
        VERIFICATION,
        "return evolve(told, finding=Finding.VERIFIED) if told.comparable else told",
        "return evolve(told, finding=Finding.VERIFIED)",
    ),
    "anchor not compared": (
        *("AC-10", VERIFICATION, "if end.seq == other.seq and end.hash != other.hash]:"),
        "if False]:",
    ),
    "truncation not noticed": ("AC-10", VERIFICATION, "if any(end.seq > state.seq for end in known):", "if False:"),
    "anchor of what is sealed believed": (
        "AC-10",
        VERIFICATION,
        "comparable=anchor.size > state.seq or any(end.seq == anchor.size for end in state.ends)",
        "comparable=True",
    ),
    "exported files not read": ("AC-10", VERIFICATION, "for record in records_of(each)]", "for record in ()]"),
    "files that overlap the store believed": ("AC-10", VERIFICATION, "known |= {", "known &= {"),
    "a store that overlaps files not read from its base": (
        *("AC-9 AC-10", VERIFICATION, "state = evolve(at_base, ends=state.ends)"),
        "state = evolve(state, ends=state.ends | at_base.ends)",
    ),
}

numbers = count()


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str, str, str], dict[str, ModuleType]]]:
    """Loads the modules of the specification with one edit, under a name of their own."""
    package = f"mutant_{next(numbers)}"
    sys.path.insert(0, str(tmp_path))

    def loaded(edited: str, old: str, new: str) -> dict[str, ModuleType]:
        directory = tmp_path / package
        directory.mkdir()
        for module in MODULES:
            text = Path(redstep_spec.__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
            if module == edited:
                assert text.count(old) == 1, f"{text.count(old)} times {old!r}"
                text = text.replace(old, new)
            for each in MODULES:
                text = text.replace(f"from redstep_spec.{each} import", f"from {package}.{each} import")
                text = text.replace(f"from redstep_spec import {each} as", f"from {package} import {each} as")
            (directory / f"{module}.py").write_text(text, encoding="utf-8")
        return {module: importlib.import_module(f"{package}.{module}") for module in MODULES}

    yield loaded
    sys.path.remove(str(tmp_path))
    for module in [name for name in sys.modules if name.startswith(f"{package}.") or name == package]:
        del sys.modules[module]


def classes(*modules: ModuleType) -> dict[str, type]:
    """The classes of modules, by name."""
    return {name: each for module in modules for name, each in vars(module).items() if isinstance(each, type)}


class Mutant(AuditChainTarget):
    """A mutated specification as a target."""

    features = ModelAuditChain.features
    fates = frozenset(Fate)

    def __init__(self, modules: dict[str, ModuleType]) -> None:
        self.modules: Any = modules
        self.kinds = classes(*modules.values())

    def begin(self) -> None:
        """Forget everything."""
        self.chains: dict[str, Any] = {}
        self.known: dict[object, Any] = {}

    def call(self, call: Asking, fates: Sequence[Fate]) -> Answer:
        """Take a step."""
        reply = self.reply(call, fates)
        return Misused(reply.argument) if isinstance(reply, Misuse) else Answered(attrs.asdict(reply, recurse=False))

    def reply(self, call: Asking, fates: Sequence[Fate]) -> Any:
        """What the mutant says."""
        own: Any = decoded(encoded(call.call if isinstance(call, Wrote) else call), self.kinds)
        chain = self.chains.get(own.name, self.modules[STORE].INITIAL)
        if isinstance(call, Wrote):
            key = (own.name, call.writer, own.mode)
            course = self.modules[WRITER].write(chain, self.known.get(key), own, fates)
            self.chains[own.name], self.known[key] = course.chain, course.known
            return course.outcome
        if type(own).__name__ == "Verify":
            return self.modules[VERIFICATION].verify(chain, own)
        self.chains[own.name], reply = self.modules[STORE].step(chain, own)
        return reply

    def stored(self, *key: Any) -> Stored:
        """Show a chain."""
        [name] = key
        chain = self.chains.get(name, self.modules[STORE].INITIAL)
        shown = decoded(encoded(chain), classes(audit_chain))
        return Stored(shown, len(shown.records), None, shown)

    def put(self, name: str, chain: audit_chain.Chain) -> None:
        """Take this for what is stored."""
        self.chains[name] = decoded(encoded(chain), self.kinds)


Load = Callable[[str, str, str], dict[str, ModuleType]]


def test_a_mutant_without_a_mistake_is_none(load: Load) -> None:
    """What the mutants are caught by is their mistake, not the way that they are bound."""
    result = runs.run(BENCH, Mutant(load("", "", "")), Budget(seed=20_250, examples=60))
    assert result.verdict is not Verdict.BROKEN, result.mismatch


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_caught_under_its_rule(load: Load, name: str) -> None:
    """And told in a few moves."""
    rule, module, old, new = MISTAKES[name]
    result = runs.run(BENCH, Mutant(load(module, old, new)), BUDGET)
    assert result.verdict is Verdict.BROKEN
    assert result.mismatch is not None
    story = [f"{tell(each.move)}: {tell_answer(each.expected)} | {tell_answer(each.answer)}" for each in result.mismatch.story]
    assert result.mismatch.rule in rule.split(), "\n".join([str(result.mismatch), *story])
    assert len(story) <= SHORT, "\n".join([str(result.mismatch), *story])


def test_the_model_agrees_with_itself() -> None:
    """The machine finds no difference between the specification and itself, and reaches all there is to reach."""
    result = runs.run(BENCH, ModelAuditChain(), BUDGET)
    assert result.verdict is Verdict.HOLDS, result.mismatch or [each.name for each in result.missed]
    assert result.batches <= 2


def test_the_naive_chain_is_caught(engine_named: Callable[[str], Engine]) -> None:
    """Whoever appends between its reading and its writing is overtaken: two records of one seq."""
    target = NaiveAuditChain(engine_named(DEFAULT))
    result = runs.run(BENCH, target, BUDGET)
    target.close()
    assert result.mismatch is not None
    assert (result.mismatch.rule, len(result.mismatch.story)) == ("AC-3", 1)


@pytest.mark.parametrize("how", How)
def test_what_was_edited_is_met_as_it_is(engine_named: Callable[[str], Engine], how: How) -> None:
    """Wherever it stands, both sides say the same to a writer who comes back, to one who is new, and to a seal."""
    target = GUARDS["audit-chain"].target("mixed/protocol")(engine_named(DEFAULT))
    for place, mode in product(range(5), Mode):
        session = AuditChainSession(target)
        entries = [Entry(append_id=bytes([number]) * 16, event="1") for number in range(9)]

        def write(writer: str, mode: Mode, count: int = 1, session: Any = session, entries: Any = entries) -> None:
            session.play(Wrote(writer, Write(name="a", entries=tuple(entries.pop() for _ in range(count)), mode=mode)))

        write("w1", mode)
        write("w2", Mode.BATCH, 3)
        write("w2", Mode.SERVER_ORDER)
        session.play(Altered("a", how, place))
        write("w1", mode)
        write("w3", mode)
        session.play(Asked(Seal(name="a", upto_seq=2, keep=1)))
        write("w1", mode)
        assert len(session.story) == 8
    target.close()
