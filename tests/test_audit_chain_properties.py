"""
The audit chain's properties are attacked: each ALWAYS can fail, each SOMETIMES tells its story from one that looks like it.

And the specification is explored breadth-first in its small world: nothing goes wrong there, and each way leads where the
diagram says.
"""

import json
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest
from attrs import evolve

from redstep_check.exploration import Explored, World, explore, steps
from redstep_check.guards.audit_chain import (
    KINDS,
    SEEN,
    Altered,
    Asked,
    AuditChainSession,
    Linked,
    Move,
    Resent,
    Verified,
    Wrote,
)
from redstep_check.guards.audit_chain_tampering import How, tampered
from redstep_check.guards.audit_chain_telling import tell
from redstep_check.lockstep import ImpossibleStory
from redstep_check.models.audit_chain import ModelAuditChain
from redstep_check.stories import decoded as decoded_move
from redstep_check.stories import encoded as encoded_move
from redstep_spec import audit_chain as store
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain import INITIAL, Append, AppendNext, Chain, End, Read, Seal, linked, step
from redstep_spec.audit_chain_encoding import Record, decoded, encoded, genesis_hash, hashed
from redstep_spec.audit_chain_verification import Anchor, Finding, Integrity, Verify, verify
from redstep_spec.audit_chain_writer import Attempt, Entry, Mode, NotAppended, Placed, Write, write
from redstep_spec.delivery import Fate
from redstep_spec.properties.audit_chain import PROPERTIES, Transition
from redstep_spec.rules import RULES
from redstep_spec.worlds import audit_chain as small

LOST, NOT_SENT, FLUSHED, DELIVERED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED, Fate.DELIVERED
BATCH, SERVER = Mode.BATCH, Mode.SERVER_ORDER
GENESIS = End(0, genesis_hash(b"a"))
LINKED_BY_THE_STORE = AppendNext(name="a", append_id=(1).to_bytes(16), event=b"1", since=0, previous=GENESIS.hash)
numbers = count(1)


def entry(event: str = "1") -> Entry:
    """An append of its own."""
    return Entry(next(numbers).to_bytes(16), event)


def test_every_property_has_a_rule_a_sentence_and_a_name_of_its_own() -> None:
    """The rule exists, and no two share a name."""
    every = [*PROPERTIES.always, *SEEN.sometimes]
    assert all(each.rule in RULES and each.sentence for each in every)
    assert len({each.name for each in every}) == len(every)


# ---------------------------------------------------------------------------------------------- always


def chain_of(*numbers: int) -> Chain:
    """The chain of these appends."""
    chain, _ = step(INITIAL, Append(name="a", records=records(*numbers)))
    return chain


def records(*numbers: int, end: End = GENESIS) -> tuple[Record, ...]:
    """Records linked to an end."""
    return linked(end, "a", tuple((number.to_bytes(16), b"1") for number in numbers))


def taken(call: store.Call | Verify, before: Chain = INITIAL) -> Transition:
    """The step that the specification takes."""
    after, reply = (before, verify(before, call)) if isinstance(call, Verify) else step(before, call)
    return Transition(before=before, call=call, after=after, reply=reply)


def written(call: Write, fates: Sequence[Fate] = (), before: Chain = INITIAL, known: End | None = GENESIS) -> Transition:
    """The append that the specification makes."""
    course = write(before, known, call, fates)
    assert course.outcome is not None
    return Transition(before=before, call=call, after=course.chain, reply=course.outcome, known=known, attempts=course.attempts)


def with_record(chain: Chain, place: int, **changes: object) -> Chain:
    """A chain with one record changed, and hashed anew."""
    record = decoded(chain.records[place])
    assert record is not None
    changed = encoded(hashed(evolve(record, **changes)))  # type: ignore[arg-type]
    return evolve(chain, records=(*chain.records[:place], changed, *chain.records[place + 1 :]))


ONE = Write(name="a", entries=(Entry((1).to_bytes(16), "1"),))
TWO = Write(name="a", entries=(Entry((1).to_bytes(16), "1"), Entry((2).to_bytes(16), "1")), mode=BATCH)
STALE = written(ONE, before=chain_of(8))
"""Whoever made it came second."""
DEFINITE = written(ONE, (NOT_SENT,))
MISMATCH = taken(Append(name="a", records=records(9)), chain_of(1))
SEALED = taken(Seal(name="a", upto_seq=1, keep=1), chain_of(1, 2, 3))
ANCHOR = Anchor(name="a", size=2, hash=chain_of(1, 2).end("a").hash)
RELINKED = records(1, end=chain_of(8).end("a"))


def integrity(transition: Transition, finding: Finding) -> Transition:
    """The same with another finding."""
    return evolve(transition, reply=Integrity(finding=finding, position=None, comparable=None))


def telling(transition: Transition, **changes: object) -> Transition:
    """The same, with another head told."""
    assert isinstance(transition.reply, store.HashMismatch | store.Removed)
    return evolve(transition, reply=evolve(transition.reply, **changes))  # type: ignore[arg-type]


WRONG: list[tuple[str, Transition, Transition]] = [
    ("records_never_change", STALE, evolve(STALE, after=evolve(STALE.after, records=(b"x", STALE.after.records[1])))),
    ("records_never_change", STALE, evolve(STALE, after=INITIAL)),
    ("records_never_change", SEALED, evolve(SEALED, after=evolve(SEALED.after, records=chain_of(1, 2, 3).records[:2]))),
    ("a_new_record_links_to_the_one_before", STALE, evolve(STALE, after=with_record(STALE.after, 1, seq=2))),
    ("a_new_record_links_to_the_one_before", STALE, evolve(STALE, after=with_record(STALE.after, 1, previous=bytes(32)))),
    ("a_new_record_links_to_the_one_before", STALE, evolve(STALE, after=with_record(STALE.after, 1, chain_id=b"b"))),
    ("a_new_record_links_to_the_one_before", STALE, evolve(STALE, after=tampered("a", STALE.after, How.HASH, 1))),
    ("a_new_record_links_to_the_one_before", STALE, evolve(STALE, after=tampered("a", STALE.after, How.CUT_RECORD, 1))),
    ("what_is_refused_changes_nothing", MISMATCH, evolve(MISMATCH, after=chain_of(1, 9))),
    ("what_is_refused_changes_nothing", DEFINITE, evolve(DEFINITE, after=chain_of(9))),
    (
        "what_is_refused_changes_nothing",
        taken(Read(name="a", from_seq=0, count=1), chain_of(1)),
        evolve(taken(Read(name="a", from_seq=0, count=1), chain_of(1)), after=chain_of(1, 2)),
    ),
    (
        "what_is_refused_changes_nothing",
        taken(Verify(name="a"), chain_of(1)),
        evolve(taken(Verify(name="a"), chain_of(1)), after=chain_of(1, 2)),
    ),
    (
        "what_is_refused_changes_nothing",
        taken(Append(name="}", records=records(1))),
        evolve(taken(Append(name="}", records=records(1))), after=chain_of(1)),
    ),
    ("the_head_is_told_as_it_is", MISMATCH, telling(MISMATCH, next_seq=2)),
    ("the_head_is_told_as_it_is", SEALED, telling(SEALED, base_seq=0)),
    ("the_head_is_told_as_it_is", MISMATCH, telling(MISMATCH, head_hash=bytes(32))),
    ("what_is_sound_stays_sound", STALE, evolve(STALE, after=evolve(STALE.after, head=STALE.before.head))),
    ("what_is_sound_stays_sound", SEALED, evolve(SEALED, after=INITIAL)),
    (
        "what_is_corrupt_is_left_alone",
        taken(Append(name="a", records=records(1)), evolve(chain_of(8), head=None)),
        evolve(taken(Append(name="a", records=records(1)), evolve(chain_of(8), head=None)), after=chain_of(1)),
    ),
    (
        "what_is_corrupt_is_left_alone",
        taken(Append(name="a", records=records(1)), evolve(chain_of(8), head=None)),
        evolve(
            taken(Append(name="a", records=records(1)), evolve(chain_of(8), head=None)),
            reply=store.Already(seq=0, hash=bytes(32), next_seq=0, base_seq=0, head_hash=bytes(32)),
        ),
    ),
    ("only_seals_remove", SEALED, evolve(SEALED, call=Read(name="a", from_seq=0, count=1))),
    ("only_seals_remove", SEALED, evolve(SEALED, call=Seal(name="a", upto_seq=0, keep=1))),
    ("only_seals_remove", SEALED, evolve(SEALED, call=Seal(name="a", upto_seq=1, keep=3))),
    ("only_seals_remove", SEALED, evolve(SEALED, before=SEALED.after, after=SEALED.before)),
    (
        "the_same_append_again_changes_nothing",
        taken(Append(name="a", records=records(1))),
        evolve(taken(Append(name="a", records=records(1))), after=chain_of(2)),
    ),
    (
        "the_same_append_again_changes_nothing",
        taken(LINKED_BY_THE_STORE),
        evolve(
            taken(LINKED_BY_THE_STORE),
            after=chain_of(2),
        ),
    ),
    ("at_most_once", STALE, evolve(STALE, after=chain_of(8, 1, 1))),
    ("the_outcome_is_true", STALE, evolve(STALE, after=chain_of(8))),
    ("the_outcome_is_true", STALE, evolve(STALE, reply=Placed(seqs=(0,), hashes=(bytes(32),), because=()))),
    ("the_outcome_is_true", STALE, evolve(STALE, reply=NotAppended(cause="conflict", events=(b"1",), because=()))),
    ("all_or_none", written(TWO), evolve(written(TWO), after=chain_of(1))),
    ("all_or_none", written(TWO), evolve(written(TWO), after=chain_of(2, 1))),
    ("all_or_none", written(TWO), evolve(written(TWO), after=chain_of(1, 8, 2))),
    (
        "nothing_is_linked_anew_while_ambiguous",
        STALE,
        evolve(STALE, attempts=(evolve(STALE.attempts[0], fate=LOST), *STALE.attempts[1:])),
    ),
    (
        "nothing_is_linked_anew_while_ambiguous",
        STALE,
        evolve(STALE, attempts=(STALE.attempts[0], evolve(STALE.attempts[0], fate=NOT_SENT), STALE.attempts[1])),
    ),
    ("the_budgets_are_kept", STALE, evolve(STALE, call=evolve(ONE, conflicts=0))),
    (
        "the_budgets_are_kept",
        STALE,
        evolve(STALE, after=chain_of(8), reply=NotAppended(cause="conflict", events=(b"1",), because=())),
    ),
    (
        "definite_means_that_nothing_was_executed",
        DEFINITE,
        evolve(DEFINITE, attempts=(Attempt(DEFINITE.attempts[0].request, LOST), *DEFINITE.attempts)),
    ),
    (
        "every_mode_makes_the_same_bytes",
        written(TWO),
        evolve(written(TWO), after=with_record(written(TWO).after, 1, event=b"1.0")),
    ),
    ("no_false_alarm", taken(Verify(name="a"), chain_of(1)), integrity(taken(Verify(name="a"), chain_of(1)), Finding.REMOVED)),
    (
        "no_false_alarm",
        evolve(taken(Verify(name="a", anchor=ANCHOR), chain_of(1, 2)), honest=True),
        evolve(integrity(taken(Verify(name="a", anchor=ANCHOR), chain_of(1, 2)), Finding.DIVERGED), honest=True),
    ),
    (
        "verified_by_an_anchor_alone",
        taken(Verify(name="a"), chain_of(1)),
        integrity(taken(Verify(name="a"), chain_of(1)), Finding.VERIFIED),
    ),
]
"""Steps that the specification takes, and beside each one that it must never take."""


def test_each_always_property_has_a_step_that_breaks_it() -> None:
    """None is forgotten."""
    assert {name for name, _, _ in WRONG} == {each.name for each in PROPERTIES.always}


@pytest.mark.parametrize(("name", "right", "wrong"), WRONG)
def test_an_always_property_can_fail(name: str, right: Transition, wrong: Transition) -> None:
    """A step that breaks it is told from the one that the specification takes."""
    [each] = [each for each in PROPERTIES.always if each.name == name]
    assert each.holds(right)
    assert not each.holds(wrong)


# ---------------------------------------------------------------------------------------------- sometimes


def w(
    who: str = "x",
    *fates: Fate,
    events: tuple[str, ...] = ("1",),
    mode: Mode = Mode.CAS,
    name: str = "a",
    conflicts: int = 3,
    resends: int | None = None,
    rivals: Sequence[int] = (),
) -> Wrote:
    """A writer appends."""
    entries = tuple(entry(event) for event in events)
    others = tuple(entry("0") if comes else None for comes in rivals)
    call = Write(name=name, entries=entries, mode=mode, conflicts=conflicts, resends=resends, rivals=others)
    return Wrote(who, call, fates)


def two(who: str = "x", *fates: Fate, rivals: Sequence[int] = ()) -> Wrote:
    """A writer appends two events at once."""
    return w(who, *fates, events=("1", "2"), mode=BATCH, rivals=rivals)


def next_(who: str = "x", *fates: Fate, rivals: Sequence[int] = ()) -> Wrote:
    """A writer has the store link."""
    return w(who, *fates, mode=SERVER, rivals=rivals)


def link(back: int = 0, *, events: int = 1, rightly: bool = True) -> Linked:
    """Records as they are."""
    return Linked("a", tuple(entry() for _ in range(events)), back, rightly)


def again(ago: int = 0) -> Resent:
    """What was sent is sent again."""
    return Resent("a", ago)


def seal(upto_seq: int, keep: int = 1) -> Asked:
    """A seal."""
    return Asked(Seal(name="a", upto_seq=upto_seq, keep=keep))


def read(from_seq: int, count: int = 1) -> Asked:
    """A page."""
    return Asked(Read(name="a", from_seq=from_seq, count=count))


def edit(how: How, place: int = 0) -> Altered:
    """Somebody edits what is stored."""
    return Altered("a", how, place)


def check(size: int | None = None, *, honest: bool = True, copied: int | None = None) -> Verified:
    """A verification."""
    return Verified("a", size, honest, copied)


Story = Sequence[Move]
THREE = (w(), w(), w())
STALE_X = (w("x"), w("y"), w("y"), w("y"))
"""Afterwards x knows an end of long ago."""

STALE_LINKED = (next_("x"), next_("y"), next_("y"), next_("y"))
"""The same, where the store links."""

STORIES: dict[str, tuple[Story, Story]] = {
    # a writer
    "a_chain_begins": ([w()], [w("x", NOT_SENT)]),
    "appended_at_once": ([w(), w()], [w()]),
    "an_event_is_written_another_way": ([w(events=("1.0",))], [w(events=("1",))]),
    "an_event_has_no_canonical_form": ([w(events=("NaN",))], [w(events=("null",))]),
    "a_chain_cannot_be_called_that": ([w(name="}")], [w(events=("NaN",))]),
    "nothing_to_append": ([w(events=(), mode=BATCH)], [two()]),
    "the_head_is_read_first": ([w("x"), w("y")], [w("x"), w("x")]),
    "a_conflict_and_then_appended": ([w("x"), w("y"), w("x")], [w("x"), w("y"), w("y")]),
    "equal_events_at_one_head_are_two_records": (
        [w("x"), w("y"), w("x")],
        [w("x"), w("y", events=("2",)), w("x")],
    ),
    "the_budget_of_conflicts_is_exhausted": ([w("x"), w("y"), w("x", conflicts=0)], [w("x"), w("y"), w("x", conflicts=1)]),
    "placed_with_the_last_retry": ([w(), w(rivals=(1, 1, 1))], [w(), w(rivals=(1, 1))]),
    "given_up_after_four_conflicts": ([w(), w(rivals=(1, 1, 1, 1))], [w(), w(rivals=(1, 1, 1), conflicts=2)]),
    # a writer under faults
    "an_append_is_not_sent": ([w(), w("x", NOT_SENT)], [w("x", NOT_SENT)]),
    "a_read_of_the_head_is_not_sent": ([w("x", NOT_SENT)], [w(), w("x", NOT_SENT)]),
    "a_read_of_the_head_is_sent_again": ([w("x", LOST)], [w(), w("x", LOST)]),
    "a_lost_reply_and_then_already": ([w(), w("x", LOST)], [w("x", LOST)]),
    "already_before_others": ([w(), w("x", LOST, rivals=(0, 1))], [w(), w("x", LOST)]),
    "lost_and_not_sent_and_then_already": ([w(), w("x", LOST, NOT_SENT)], [w(), w("x", LOST, LOST)]),
    "a_lost_refusal": ([w("x"), w("y"), w("x", LOST)], [w("x"), w("y"), w("x", DELIVERED, LOST)]),
    "unknown_and_in_the_chain": ([w(), w("x", LOST, resends=0)], [w("x"), w("y"), w("x", LOST, resends=0)]),
    "unknown_and_not_in_the_chain": ([w("x"), w("y"), w("x", LOST, resends=0)], [w(), w("x", LOST, resends=0)]),
    "unknown_though_last_not_sent": (
        [w(), w("x", LOST, NOT_SENT, resends=1)],
        [w(), w("x", LOST, LOST, resends=1)],
    ),
    "the_scripts_were_forgotten": ([w(), w("x", FLUSHED)], [w("x", FLUSHED)]),
    "unknown_for_it_is_sealed": ([*STALE_X, seal(3), w("x", LOST)], [*STALE_X, seal(3), w("x")]),
    "linked_anew_after_a_seal": ([*STALE_X, seal(3), w("x")], [*STALE_X, seal(3), w("y")]),
    "the_chain_lost_what_was_known": ([w(), w(), edit(How.CUT_WITH_HEAD, 1), w()], [w(), w(), edit(How.HEADLESS), w()]),
    "the_chain_lost_what_was_known_and_went_on": (
        [w(), w(), edit(How.FORKED, 1), w()],
        [w(), w(), edit(How.CUT_WITH_HEAD, 1), w()],
    ),
    "the_chain_is_shorter_than_it_was": (
        [next_(), next_(), edit(How.CUT_WITH_HEAD, 1), next_()],
        [w(), w(), edit(How.CUT_WITH_HEAD, 1), w()],
    ),
    "the_chain_is_another_one": (
        [next_(), next_(), edit(How.FORKED, 1), next_()],
        [next_(), next_(), edit(How.CUT_WITH_HEAD, 1), next_()],
    ),
    "an_append_to_a_corrupt_chain": ([w(), edit(How.HEADLESS), w()], [w(), edit(How.HEADLESS), w("x", LOST)]),
    "ambiguous_and_corrupt": ([w(), edit(How.HEADLESS), w("x", LOST)], [w(), edit(How.HEADLESS), w()]),
    # modes
    "a_batch_is_appended": ([two()], [w(mode=BATCH)]),
    "a_batch_is_linked_anew": ([two(), two(rivals=(1,))], [two(), two()]),
    "a_lost_batch_and_then_already": ([two(), two("x", LOST)], [two("x", LOST)]),
    "linked_by_the_store": ([next_()], [next_("x", DELIVERED, LOST)]),
    "linked_by_the_store_and_then_already": ([next_("x", DELIVERED, LOST)], [next_("x", LOST)]),
    "sealed_since_the_append_began": ([*STALE_LINKED, seal(3), next_()], [*THREE, seal(2), next_()]),
    "unknown_for_it_may_be_sealed": (
        [*STALE_LINKED, seal(3), next_("x", LOST)],
        [*STALE_X, seal(3), w("x", LOST)],
    ),
    # the store's own steps
    "bare_records_are_appended": ([link()], [w()]),
    "the_right_seq_with_a_wrong_hash": ([w(), link(rightly=False)], [w(), link(1, rightly=False)]),
    "beyond_the_end": ([w(), link(-1, rightly=False)], [w(), link(rightly=False)]),
    "an_end_that_was": ([w(), link(1)], [w(), link(1, rightly=False)]),
    "an_old_append_comes_again": ([w(), w(), again(1)], [w(), w(), again()]),
    "an_old_batch_comes_again": ([two(), again()], [w(), again()]),
    "an_old_append_comes_again_after_a_seal": ([*THREE, seal(2), again(2)], [*THREE, seal(2), again()]),
    "an_old_append_id_comes_again": ([next_(), again()], [w(), again()]),
    "a_seal_removes": ([*THREE, seal(1)], [*THREE, seal(0)]),
    "a_seal_finds_nothing_to_remove": ([*THREE, seal(1), seal(1)], [*THREE, seal(0)]),
    "a_seal_is_refused_by_one": ([*THREE, seal(2, keep=2)], [*THREE, seal(2, keep=3)]),
    "a_seal_leaves_just_enough": ([*THREE, seal(1, keep=2)], [*THREE, seal(1, keep=1)]),
    "a_page_in_the_middle": ([*THREE, read(0, 2)], [*THREE, read(0, 3)]),
    "a_page_beyond_the_end": ([w(), read(1)], [read(0)]),
    "a_page_from_the_base": ([*THREE, seal(1), read(0)], [*THREE, seal(1), read(1)]),
    # verification
    "consistent_without_an_anchor": ([w(), check()], [check()]),
    "verified_by_an_older_checkpoint": ([w(), w(), check(1)], [w(), check(1)]),
    "verified_by_the_newest_checkpoint": ([w(), check(1)], [w(), w(), check(1)]),
    "the_checkpoint_is_sealed": ([*THREE, seal(2), check(1)], [*THREE, seal(1), check(1)]),
    "verified_just_at_the_base": ([*THREE, seal(2), check(2)], [*THREE, seal(2), check(3)]),
    "verified_across_the_seal": ([*THREE, seal(2), check(1, copied=0)], [*THREE, seal(2), check(2, copied=0)]),
    "altered_and_consistent": ([w(), edit(How.REHASHED), check()], [w(), edit(How.REHASHED), check(1)]),
    "found_modified": ([w(), edit(How.EVENT), check()], [w(), edit(How.FOREIGN), check()]),
    "found_foreign": ([w(), edit(How.FOREIGN), check()], [w(), edit(How.EVENT), check()]),
    "found_reordered": ([*THREE, edit(How.SWAPPED), check()], [*THREE, edit(How.DELETED), check()]),
    "found_removed": ([*THREE, edit(How.DELETED), check()], [*THREE, edit(How.DELETED, 2), check()]),
    "found_inserted": ([*THREE, edit(How.REPEATED), check()], [*THREE, edit(How.DELETED), check()]),
    "found_replaced": ([*THREE, edit(How.RELINKED, 1), check()], [*THREE, edit(How.RELINKED), check()]),
    "found_wrong_genesis": ([*THREE, edit(How.RELINKED), check()], [*THREE, edit(How.RELINKED, 1), check()]),
    "found_a_head_mismatch": ([*THREE, edit(How.CUT, 1), check()], [*THREE, edit(How.CUT_WITH_HEAD, 1), check()]),
    "found_truncated": ([*THREE, edit(How.CUT_WITH_HEAD, 1), check(3)], [*THREE, edit(How.CUT_WITH_HEAD, 1), check(1)]),
    "found_diverged": ([w(), check(1, honest=False)], [w(), check(1)]),
    "files_and_store_agree": ([w(), check(copied=1)], [*THREE, seal(1), check(copied=0)]),
    "files_and_store_differ": (
        [*THREE, edit(How.FORKED, 2), check(copied=3)],
        [*THREE, edit(How.FORKED, 2), check(3, copied=3)],
    ),
    "files_go_beyond_the_end": (
        [*THREE, edit(How.CUT_WITH_HEAD, 1), check(copied=3)],
        [*THREE, edit(How.CUT_WITH_HEAD, 1), check(copied=1)],
    ),
}
"""For each SOMETIMES a story that reaches it with its last move, and one that looks like it."""


def reached(story: Sequence[Any]) -> set[str]:
    """What the last move of a story reaches."""
    session = AuditChainSession(ModelAuditChain())
    for move in story:
        session.reached = set()
        session.play(move)
    return session.reached


def test_each_sometimes_property_has_its_stories() -> None:
    """None is forgotten."""
    assert set(STORIES) == {each.name for each in SEEN.sometimes}


@pytest.mark.parametrize("name", STORIES)
def test_a_sometimes_property_is_told_from_its_lookalike(name: str) -> None:
    """One story reaches it, the other does not."""
    story, lookalike = STORIES[name]
    assert name in reached(story)
    assert name not in reached(lookalike)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_can_be_written_down_and_told(name: str) -> None:
    """As JSON, from which it comes back as it was; and in words, one line a move."""
    for move in (*STORIES[name][0], *STORIES[name][1]):
        assert decoded_move(json.loads(json.dumps(encoded_move(move))), KINDS) == move
        assert tell(move)
        assert "\n" not in tell(move)


@pytest.mark.parametrize(
    "story",
    [
        [again()],
        [w(), again(1)],
        [link(-1)],
        [link(1, rightly=False)],
        [check(1)],
        [w(), evolve(w(), call=ONE), evolve(w(), call=ONE)],
        [w(), Linked("a", (entry("NaN"),))],
        [evolve(w(events=('{"a":1,"a":1}',)), as_text=False)],
        ["nonsense"],
    ],
)
def test_a_story_that_no_store_could_take_part_in_is_none(story: Sequence[Any]) -> None:
    """Such as come up when moves are left out of one."""
    with pytest.raises(ImpossibleStory):
        reached(story)


# ---------------------------------------------------------------------------------------------- the small world


WORLD = World(initial=small.INITIAL, calls=small.calls, step=small.step, kind=small.kind, label=small.label)
EDGES = {
    ("Idle", "Reading the head"): ["append"],
    ("Idle", "Sending"): ["append"],
    ("Reading the head", "Sending"): ["head"],
    ("Reading the head", "Reading the head"): ["reply lost"],
    ("Reading the head", "NotAppended"): ["not sent", "reply lost at the deadline"],
    ("Sending", "Placed"): ["appended"],
    ("Sending", "Sending"): ["hash mismatch", "sealed"],
    ("Sending", "Ambiguous"): ["reply lost"],
    ("Sending", "NotAppended"): ["not sent", "hash mismatch again", "sealed again"],
    ("Sending", "AppendUnknown"): ["reply lost at the deadline"],
    ("Ambiguous", "Placed"): ["already"],
    ("Ambiguous", "Ambiguous"): ["not sent", "reply lost"],
    ("Ambiguous", "Sending"): ["hash mismatch"],
    ("Ambiguous", "NotAppended"): ["hash mismatch again"],
    ("Ambiguous", "AppendUnknown"): ["not sent at the deadline", "reply lost at the deadline", "sealed"],
}
"""Where each step of a writer leads."""


def test_the_small_world_has_the_diagrams_ways() -> None:
    """All of them, and no others."""
    found = explore(WORLD)
    assert found.exhausted
    assert {way: set(names) for way, names in found.edges.items()} == {way: set(names) for way, names in EDGES.items()}


def test_nothing_goes_wrong_in_the_small_world() -> None:
    """In each of its states: at most once, the outcome is true, and what was appended is found to be in order."""
    found = Explored[small.World](depth={WORLD.initial: 0})
    for taken_ in steps(WORLD, found, 100_000):
        after, outcome = taken_.after, taken_.after.course and taken_.after.course.outcome
        ids = [record.append_id for stored in after.chain.records if (record := decoded(stored))]
        assert ids.count(small.OWN.append_id) <= 1
        assert len(set(ids)) == len(ids)
        if isinstance(outcome, NotAppended):
            assert small.OWN.append_id not in ids
        if isinstance(outcome, Placed) and outcome.seqs[0] >= after.chain.base_seq:
            record = after.chain.at(outcome.seqs[0])
            assert record is not None
            assert (record.append_id, record.hash) == (small.OWN.append_id, outcome.hashes[0])
        kept = taken_.before.chain.records[after.chain.base_seq - taken_.before.chain.base_seq :]
        assert after.chain.records[: len(kept)] == kept
        got = verify(after.chain, Verify(name=small.NAME))
        assert not isinstance(got, Misuse)
        assert got.finding == Finding.CONSISTENT
    assert found.exhausted
    assert len(found.depth) > 1_000
