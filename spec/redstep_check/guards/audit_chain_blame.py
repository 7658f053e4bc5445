"""Which rule is broken when an audit chain's target says or stores something else than it should."""

from itertools import zip_longest

from redstep_check.binding import Answer, Answered, Misused
from redstep_check.lockstep import Mismatch, rules_of
from redstep_spec import audit_chain as store
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain import Chain
from redstep_spec.audit_chain_encoding import decoded
from redstep_spec.audit_chain_verification import Finding
from redstep_spec.audit_chain_writer import Mode
from redstep_spec.delivery import Fate
from redstep_spec.properties.audit_chain import Reply, Transition

BY_ANCHOR = {Finding.VERIFIED, Finding.TRUNCATED, Finding.DIVERGED}
DECISIONS = ("verdict", "outcome", "cause")
"""The reply fields that say what was decided."""
FIELDS = ("chain_id", "seq", "previous", "append_id", "event", "hash")
"""Of a record, in the order in which one that is wrong explains the next."""


def blamed(mismatch: Mismatch, transition: Transition) -> str:
    """
    The rule that is broken by a reply.

    A wrong place is a second record if an earlier attempt may have been executed; to call records nonsense that link as they
    should is to hash otherwise; to call definite what is unknown, or the other way round, is more
    than a budget that was not kept; and what only an anchor tells is the anchor's rule.
    """
    outcomes = {mismatch.expected, mismatch.actual} if mismatch.what == "outcome" else set()
    if outcomes == {"unknown", "not appended"}:
        return "CM-9" if getattr(transition.reply, "cause", "") == "unavailable" else "AC-6"
    if mismatch.what == "seqs" and (transition.reply.because[0] == "AC-4" or Fate.REPLY_LOST in transition.fates):
        return "AC-4"
    if mismatch.actual == Misused("records") and not isinstance(transition.reply, Misuse):
        return "AC-2"
    if mismatch.what == "finding" and {mismatch.expected, mismatch.actual} & BY_ANCHOR:
        return "AC-10"
    return mismatch.rule


def compare_decisions(reply: Reply, answer: Answer) -> None:
    """Hold what was decided against what should have been, before anything that follows from it. Raises Mismatch."""
    values = answer.values if isinstance(answer, Answered) else {}
    for name in DECISIONS:
        expected = getattr(reply, name, None)
        if expected is not None and values.get(name, expected) != expected:
            raise Mismatch(reply.because[0], name, expected, values[name])


def suspect(transition: Transition) -> str:
    """The rule that is broken when nothing should have changed and something did, or when it cannot be read any more."""
    if transition.after != transition.before and not isinstance(transition.reply, Misuse):
        return "AC-1"
    return transition.reply.because[0]


def compare_chains(transition: Transition, actual: Chain) -> None:
    """Hold what is stored against what should be. Raises Mismatch."""
    expected = transition.after
    if actual == expected:
        return
    if transition.before == transition.after:
        raise Mismatch(suspect(transition), "what is stored", expected, actual)
    for number, (right, wrong) in enumerate(zip_longest(expected.records, actual.records)):
        if right is None or wrong is None:
            place = f"record {number} of {len(expected.records)}"
            raise Mismatch(_rule_of_number(transition, missing=wrong is None), place, _told(right), _told(wrong))
        if right != wrong:
            _compare_records(number, right, wrong)
    for name, rule in rules_of(store.Head(next_seq=0, base_seq=0, hash=b"")).items():
        right_value, wrong_value = getattr(expected.head, name, None), getattr(actual.head, name, None)
        if right_value != wrong_value:
            raise Mismatch(rule, f"the {name} of the head", right_value, wrong_value)


def _compare_records(number: int, expected: bytes, actual: bytes) -> None:
    right, wrong = decoded(expected), decoded(actual)
    if right is None or wrong is None:
        raise Mismatch("AC-1", f"record {number}", expected, actual)
    rules = rules_of(right)
    for name in FIELDS:
        if getattr(right, name) != getattr(wrong, name):
            raise Mismatch(rules[name], f"the {name} of record {number}", getattr(right, name), getattr(wrong, name))


def _rule_of_number(transition: Transition, *, missing: bool) -> str:
    """Too few records, or too many."""
    if isinstance(transition.call, store.Seal):
        return "AC-12"
    if transition.write is not None and Fate.REPLY_LOST in transition.fates and not missing:
        return "AC-4"
    batch = transition.append is not None and len(transition.append.records) > 1
    return "AC-7" if batch or (transition.write is not None and transition.write.mode is Mode.BATCH) else "AC-3"


def _told(record: bytes | None) -> object:
    return "nothing" if record is None else decoded(record) or record
