"""
The audit chain's machine: it draws the moves that a session makes.

Nothing here is concurrent, and yet writers conflict: each links to the end that it was told last, and that is stale as soon as
another one has appended. What lies between a writer's linking and its sending is told as a rival that comes first.
"""

import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from redstep_check.guards.audit_chain import Altered, Asked, AuditChainSession, Linked, Move, Resent, Verified, Wrote
from redstep_check.guards.audit_chain_tampering import How
from redstep_spec import audit_chain as store
from redstep_spec.arguments import MAX_INTEGER
from redstep_spec.audit_chain_encoding import APPEND_ID_BYTES
from redstep_spec.audit_chain_writer import CONFLICTS_MAX, Entry, Mode, Write
from redstep_spec.canonical_json import DEPTH_MAX
from redstep_spec.delivery import Fate

NAMES = ("a", "a", "a", "b", "\u00e4/7")
LONG = 12
"""How many records a chain has that may be tampered with under way."""
WRITERS = ("w1", "w2", "w3")
EVENTS = (
    *('{"what":"login","who":7}', '{"what":"login","who":7}', '{ "who" : 7.0, "what":"log\\u0069n" }'),
    *("[1e1, 1E+2, -0, 0.1e-6, 1e21, 123456789012345680000.0]", "[5e-324, 1.7976931348623157e308, 4.50, 2e-3]"),
    *("9007199254740991", "-9007199254740991", "1e16", "0.000001", "1e-7", "333333333.33333329"),
    *('"\\u20ac$\\u000F\\nA\'\\u0042\\"\\\\\\/\\u007f\\u2028"', '"\\ud83d\\ude00\\u0000"', '""', "null", "false", "{}", "[]"),
    *('{"\\ufb33":1,"\\ud83d\\ude02":2,"\\u20ac":3,"\\r":4,"1":5,"":6}', '{"b":{"d":[],"c":{}},"a":[[[[]]]]}'),
    "[" * DEPTH_MAX + "]" * DEPTH_MAX,
)
BAD_EVENTS = (
    *('{"a":1,"a":1}', '{"a":[{"b":1,"\\u0062":2}]}', "NaN", "[-Infinity]", "1e999", "9007199254740992", "-9007199254740992"),
    *('"\\ud800"', '{"\\udc00":1}', '["\\udc00\\ud800"]', "", "{", "[1,]", "'a'", "01", "tru", "1 2", '"\n"', "\ufeff1"),
    "[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1),
)
BAD_VALUES = ("NaN", "[-Infinity]", "1e999", "9007199254740992", '"\\ud800"')
"""Those of them that are values in Python."""
BAD_NAMES: tuple[Any, ...] = ("", "x" * 10_000, "a{b", "}", "a\nb", "\ud800", None, b"a")
BAD_NUMBERS: tuple[Any, ...] = (-1, 1.5, "3", None, True, MAX_INTEGER + 1)
LOST, NOT_SENT, FLUSHED, DELIVERED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED, Fate.DELIVERED
FATES: tuple[tuple[Fate, ...], ...] = (
    *((LOST,), (NOT_SENT,), (FLUSHED,), (LOST, NOT_SENT), (LOST, LOST), (LOST, FLUSHED), (FLUSHED, LOST)),
    *((DELIVERED, LOST), (DELIVERED, NOT_SENT), (DELIVERED, LOST, NOT_SENT), (LOST, DELIVERED, LOST)),
    *((LOST, NOT_SENT, NOT_SENT, LOST), (LOST, LOST, NOT_SENT)),
)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
texts = st.builds(json.dumps, values, ensure_ascii=st.booleans())
events = st.sampled_from(EVENTS) | st.sampled_from(EVENTS) | st.sampled_from(EVENTS) | texts
names, writers, fresh = st.sampled_from(NAMES), st.sampled_from(WRITERS), st.sampled_from((True, True, True, False))
faults = st.sampled_from(((),) * 7 + FATES)
modes = st.sampled_from((Mode.CAS, Mode.CAS, Mode.BATCH, Mode.SERVER_ORDER))
places = st.sampled_from((0, 0, 1, 2, 3))
copies = st.sampled_from((None, 0, 0, 1, 3))
backs = st.sampled_from((0, 0, 0, 1, 2, -1, -1))


def append_id(number: int) -> bytes:
    """The identity of the append of this number: always the same, and any bytes."""
    return sha256(number.to_bytes(8)).digest()[:APPEND_ID_BYTES]


class AuditChainMachine(RuleBasedStateMachine):
    """Draws moves; the session makes them on both sides and compares."""

    def __init__(self, begin: Callable[[], AuditChainSession]) -> None:
        super().__init__()
        self.session = begin()
        self.can = self.session.target.features
        self.modes = [mode for mode in Mode if mode.value in self.can]
        self.ids = self.edited = 0

    # ------------------------------------------------------------------------------------------ writers

    @rule(name=names, writer=writers, event=events, mode=modes, fates=faults, as_text=st.booleans())
    def append(self, name: str, writer: str, event: str, mode: Mode, fates: tuple[Fate, ...], as_text: bool) -> None:
        self._write(name, writer, (event,), mode, fates, as_text=as_text)

    @precondition(lambda self: "batch" in self.can)
    @rule(name=names, writer=writers, batch=st.lists(events, min_size=2, max_size=4), fates=faults, again=st.booleans())
    def append_a_batch(self, name: str, writer: str, batch: list[str], fates: tuple[Fate, ...], again: bool) -> None:
        self._write(name, writer, tuple(batch), Mode.BATCH, fates)
        if again and "resend" in self.can:
            self._resend(name, 0)

    @rule(name=names, event=events, fates=faults, mode=modes)
    def two_writers_at_one_head(self, name: str, event: str, fates: tuple[Fate, ...], mode: Mode) -> None:
        """Both are told the same end; then both append the same event, and again."""
        for writer in ("w1", "w2", "w1"):
            self._write(name, writer, (event,), mode)
        for writer in ("w1", "w2"):
            self._write(name, writer, (event,), mode, fates if writer == "w2" else ())

    @precondition(lambda self: "rivals" in self.can)
    @rule(
        name=names,
        writer=writers,
        times=st.sampled_from((4, 3, 4, 1, 2)),
        first=st.sampled_from((0, 0, 1)),
        fates=faults,
        mode=modes,
    )
    def others_come_first(self, name: str, writer: str, times: int, first: int, fates: tuple[Fate, ...], mode: Mode) -> None:
        self._write(name, writer, (EVENTS[0],), mode)
        rivals = (*(None,) * first, *self._entries(*EVENTS[:1] * times))
        self._write(name, writer, (EVENTS[0],), mode, fates, rivals=rivals)

    @precondition(lambda self: "budgets" in self.can)
    @rule(name=names, stale=st.booleans(), resends=st.integers(0, 2), fates=st.sampled_from(FATES), mode=modes)
    def the_deadline_passes(self, name: str, stale: bool, resends: int, fates: tuple[Fate, ...], mode: Mode) -> None:
        for writer in ("w1", "w2") if stale else ("w1",):
            self._write(name, writer, (EVENTS[0],), mode)
        self._write(name, "w1", (EVENTS[0],), mode, (*fates, LOST, LOST), resends=resends)

    @precondition(lambda self: "budgets" in self.can)
    @rule(name=names, conflicts=st.integers(0, 1), event=events)
    def no_conflict_is_borne(self, name: str, conflicts: int, event: str) -> None:
        for writer in ("w1", "w2"):
            self._write(name, writer, (event,), Mode.CAS)
        self._write(name, "w1", (event,), Mode.CAS, conflicts=conflicts)

    @precondition(lambda self: "seal" in self.can)
    @rule(name=names, fates=faults, keep=st.integers(1, 2), mode=modes)
    def sealed_behind_a_writer(self, name: str, fates: tuple[Fate, ...], keep: int, mode: Mode) -> None:
        """What a writer was told last is sealed before it appends again."""
        for writer in ("w1", "w2", "w2", "w2"):
            self._write(name, writer, (EVENTS[0],), mode)
        end = self._end(name)
        self._play(Asked(store.Seal(name=name, upto_seq=max(0, end - keep), keep=keep)))
        self._write(name, "w1", (EVENTS[0],), mode, fates)
        if "verify" in self.can:
            self._verify(name, keep + 2, copied=0)

    # ------------------------------------------------------------------------------------------ the store's own steps

    @precondition(lambda self: "resend" in self.can)
    @rule(name=names, linked=st.lists(events, min_size=1, max_size=4), back=backs, rightly=st.sampled_from((True, True, False)))
    def link_records(self, name: str, linked: list[str], back: int, rightly: bool) -> None:
        chain = self.session.chain(name)
        seq = self._end(name) - back
        if seq >= 0 and (not rightly or chain.previous_at(seq, name) is not None):
            self._play(Linked(name, self._entries(*linked[: 4 if "batch" in self.can else 1]), back, rightly))

    @precondition(lambda self: "resend" in self.can)
    @rule(name=names, ago=st.integers(0, 5))
    def send_again(self, name: str, ago: int) -> None:
        self._resend(name, ago)

    @precondition(lambda self: "read" in self.can)
    @rule(name=names, from_seq=st.integers(0, 9), count=st.integers(1, 5))
    def read_a_page(self, name: str, from_seq: int, count: int) -> None:
        self._play(Asked(store.Read(name=name, from_seq=from_seq, count=count)))

    @precondition(lambda self: "seal" in self.can)
    @rule(name=names, left=st.integers(-1, 6), keep=st.integers(1, 4), again=st.booleans())
    def seal(self, name: str, left: int, keep: int, again: bool) -> None:
        call = store.Seal(name=name, upto_seq=max(0, self._end(name) - left), keep=keep)
        for _ in range(2 if again else 1):
            self._play(Asked(call))

    # ------------------------------------------------------------------------------------------ verification, tampering

    @precondition(lambda self: "verify" in self.can)
    @rule(name=names, ago=st.integers(0, 6), honest=st.sampled_from((True, True, False)), copied=copies)
    def verify(self, name: str, ago: int, honest: bool, copied: int | None) -> None:
        self._verify(name, ago, honest=honest, copied=copied)

    @precondition(lambda self: {"seal", "verify"} <= self.can)
    @rule(name=names, off=st.sampled_from((0, 0, 1, 1, -1)), copied=copies)
    def verify_around_the_base(self, name: str, off: int, copied: int | None) -> None:
        self._verify(name, self._end(name) - self.session.chain(name).base_seq + off, copied=copied)

    @precondition(lambda self: "put" in self.can)
    @rule(afresh=fresh, how=st.sampled_from(How), place=places, fates=faults, mode=modes)
    def tamper_and_append(self, afresh: bool, how: How, place: int, fates: tuple[Fate, ...], mode: Mode) -> None:
        """With a chain of its own, or with one that was tampered with before."""
        name = self._begun(mode) if afresh else f"edited {self.edited}"
        self._play(Altered(name, how, place))
        for writer in ("w1", "w2"):
            self._write(name, writer, (EVENTS[0],), mode, fates)

    @precondition(lambda self: "put" in self.can)
    @rule(how=st.sampled_from((How.CUT_WITH_HEAD, How.FORKED)), place=st.integers(0, 3), mode=st.sampled_from(Mode))
    def the_chain_loses_its_end(self, how: How, place: int, mode: Mode) -> None:
        """As when a replica takes over that had not been told all."""
        name = self._begun(mode)
        self._play(Altered(name, how, place))
        for writer in ("w2", "w1"):
            self._write(name, writer, (EVENTS[0],), mode)

    @precondition(lambda self: {"put", "verify"} <= self.can)
    @rule(
        edits=st.lists(st.tuples(st.sampled_from(How), places), min_size=2, max_size=4), ago=st.integers(-1, 2), copied=copies
    )
    def tamper_and_verify(self, edits: list[tuple[How, int]], ago: int, copied: int | None) -> None:
        """Each with a chain of its own."""
        for how, place in edits:
            name = self._begun(Mode.BATCH)
            self._play(Altered(name, how, place))
            self._verify(name, ago, copied=copied)

    @precondition(lambda self: "put" in self.can)
    @rule(name=names, how=st.sampled_from(How), place=st.integers(0, 9))
    def tamper_with_what_is_there(self, name: str, how: How, place: int) -> None:
        """Rarely: afterwards hardly anything can be appended."""
        if len(self.session.chain(name).records) > LONG:
            self._play(Altered(name, how, place))

    # ------------------------------------------------------------------------------------------ misuse

    @precondition(lambda self: "misuse" in self.can)
    @rule(bad=st.lists(st.sampled_from(BAD_EVENTS), min_size=2, max_size=5, unique=True), as_text=st.booleans(), mode=modes)
    def append_what_has_no_canonical_form(self, bad: list[str], as_text: bool, mode: Mode) -> None:
        mode = self._mode(mode)
        for event in bad:
            entries = self._entries(EVENTS[0], event)[0 if mode is Mode.BATCH else 1 :]
            self._play(Wrote("w1", Write(name="a", entries=entries, mode=mode), (), as_text or event not in BAD_VALUES))

    @precondition(lambda self: "misuse" in self.can)
    @rule(name=st.sampled_from(("a", "a", "a", *BAD_NAMES)), mode=st.sampled_from(Mode))
    def append_the_impossible(self, name: str, mode: Mode) -> None:
        """To what is no chain; or nothing."""
        mode = self._mode(mode)
        if mode is Mode.BATCH or name != "a":
            self._play(Wrote("w1", Write(name=name, entries=() if name == "a" else self._entries(EVENTS[0]), mode=mode)))

    @precondition(lambda self: "misuse" in self.can)
    @rule(data=st.data(), number=st.sampled_from(BAD_NUMBERS), name=st.sampled_from(BAD_NAMES))
    def ask_the_impossible(self, data: st.DataObject, number: Any, name: Any) -> None:
        asked: list[store.Read | store.Seal] = []
        if "read" in self.can:
            asked += [store.Read(name=name, from_seq=0, count=1), store.Read(name="a", from_seq=number, count=1)]
            asked += [store.Read(name="a", from_seq=0, count=each) for each in (number, 0, store.RECORDS_MAX + 1)]
        if "seal" in self.can:
            asked += [store.Seal(name=name, upto_seq=0), store.Seal(name="a", upto_seq=number)]
            asked += [store.Seal(name="a", upto_seq=1, keep=each) for each in (number, 0)]
        if asked:
            self._play(Asked(data.draw(st.sampled_from(asked))))

    # ------------------------------------------------------------------------------------------ helpers

    def _entries(self, *events: str) -> tuple[Entry, ...]:
        numbers = range(self.ids, self.ids + len(events))
        self.ids += len(events)
        return tuple(Entry(append_id(number), event) for number, event in zip(numbers, events, strict=True))

    def _begun(self, mode: Mode) -> str:
        """A chain of its own, to be tampered with; two writers know an end of it."""
        self.edited += 1
        name = f"edited {self.edited}"
        at_once = 2 if self._mode(mode) is Mode.BATCH else 1
        for writer in ("w1", "w2"):
            for _ in range(2 // at_once):
                self._write(name, writer, EVENTS[:1] * at_once, mode)
        return name

    def _mode(self, mode: Mode) -> Mode:
        return mode if mode in self.modes else self.modes[0]

    def _end(self, name: str) -> int:
        return self.session.chain(name).end(name).seq

    def _write(
        self,
        name: str,
        writer: str,
        events: tuple[str, ...],
        mode: Mode,
        fates: tuple[Fate, ...] = (),
        *,
        as_text: bool = True,
        conflicts: int = CONFLICTS_MAX,
        resends: int | None = None,
        rivals: tuple[Entry | None, ...] = (),
    ) -> None:
        call = Write(
            name=name,
            entries=self._entries(*events),
            mode=self._mode(mode),
            conflicts=conflicts,
            resends=resends,
            rivals=rivals,
        )
        fates = fates if set(fates) <= self.session.target.fates else ()
        self._play(Wrote(writer if "several_writers" in self.can else "w1", call, fates, as_text))

    def _resend(self, name: str, ago: int) -> None:
        if requests := len(self.session.requests[name]):
            self._play(Resent(name, min(ago, requests - 1)))

    def _verify(self, name: str, ago: int, *, copied: int | None, honest: bool = True) -> None:
        size = max(self.session.ends[name], default=0) - ago
        anchored = ago >= 0 and size in self.session.ends[name]
        self._play(Verified(name, size if anchored else None, honest, copied))

    def _play(self, move: Move) -> None:
        self.session.play(move)
