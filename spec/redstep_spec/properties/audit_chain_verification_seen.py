"""What a run of the audit chain must have seen of its verification: every finding, with and without an anchor."""

from redstep_spec.audit_chain_encoding import records_of
from redstep_spec.audit_chain_verification import Anchor, Finding, Integrity
from redstep_spec.properties import Properties
from redstep_spec.properties.audit_chain import Transition

PROPERTIES: Properties[Transition] = Properties()
sometimes = PROPERTIES.holds_sometimes


def found(t: Transition, finding: Finding) -> bool:
    """Whether a verification came to this."""
    return isinstance(t.reply, Integrity) and t.reply.finding == finding


def verified_by(t: Transition) -> Anchor | None:
    """The anchor by which a chain was verified."""
    return t.verify.anchor if t.verify and found(t, Finding.VERIFIED) else None


def overlaps(t: Transition) -> bool:
    """Whether a chain was verified by files, too, that go on beyond its base."""
    segments = t.verify.segments if t.verify else ()
    return sum(1 for each in segments for _ in records_of(each)) > t.before.base_seq


# ---------------------------------------------------------------------------------------------- in order


@sometimes("AC-10", "verify")
def consistent_without_an_anchor(t: Transition) -> bool:
    """A chain agrees with itself, and nothing more is known of it."""
    return found(t, Finding.CONSISTENT) and t.verify is not None and t.verify.anchor is None and bool(t.before.records)


@sometimes("AC-10", "verify")
def verified_by_an_older_checkpoint(t: Transition) -> bool:
    """A chain has grown since the checkpoint that it is held against."""
    anchor = verified_by(t)
    return anchor is not None and 0 < anchor.size < t.end.seq


@sometimes("AC-10", "verify")
def verified_by_the_newest_checkpoint(t: Transition) -> bool:
    """A chain is just as long as the checkpoint says."""
    anchor = verified_by(t)
    return anchor is not None and anchor.size == t.end.seq > 0


@sometimes("AC-12", "verify", "seal")
def the_checkpoint_is_sealed(t: Transition) -> bool:
    """A checkpoint is of what is sealed, and cannot be compared."""
    return isinstance(t.reply, Integrity) and t.reply.comparable is False


@sometimes("AC-12", "verify", "seal")
def verified_just_at_the_base(t: Transition) -> bool:
    """A checkpoint is of all that is sealed: the oldest record that is left links to it."""
    anchor = verified_by(t)
    return anchor is not None and t.verify is not None and not t.verify.segments and anchor.size == t.before.base_seq > 0


@sometimes("AC-12", "verify", "seal")
def verified_across_the_seal(t: Transition) -> bool:
    """A checkpoint of what is sealed is compared by what was exported."""
    anchor = verified_by(t)
    return anchor is not None and t.verify is not None and bool(t.verify.segments) and anchor.size < t.before.base_seq


@sometimes("AC-12", "verify")
def files_and_store_agree(t: Transition) -> bool:
    """What was exported is in the store too, and is the same."""
    return overlaps(t) and (found(t, Finding.CONSISTENT) or found(t, Finding.VERIFIED))


@sometimes("AC-10", "verify", "put")
def altered_and_consistent(t: Transition) -> bool:
    """Who altered a chain knew the format: it agrees with itself."""
    return found(t, Finding.CONSISTENT) and t.altered


# ---------------------------------------------------------------------------------------------- broken


@sometimes("AC-9", "verify", "put")
def found_modified(t: Transition) -> bool:
    """A record's own hash is wrong."""
    return found(t, Finding.MODIFIED)


@sometimes("AC-9", "verify", "put")
def found_foreign(t: Transition) -> bool:
    """A record is of another chain."""
    return found(t, Finding.FOREIGN)


@sometimes("AC-9", "verify", "put")
def found_reordered(t: Transition) -> bool:
    """A record comes later than it should."""
    return found(t, Finding.REORDERED)


@sometimes("AC-9", "verify", "put")
def found_removed(t: Transition) -> bool:
    """A record is missing, and later ones are there."""
    return found(t, Finding.REMOVED)


@sometimes("AC-9", "verify", "put")
def found_inserted(t: Transition) -> bool:
    """A record is of a seq that came before."""
    return found(t, Finding.INSERTED)


@sometimes("AC-9", "verify", "put")
def found_replaced(t: Transition) -> bool:
    """A record of the right seq links to another one than that before it."""
    return found(t, Finding.REPLACED)


@sometimes("AC-9", "verify", "put")
def found_wrong_genesis(t: Transition) -> bool:
    """The first record does not link to the genesis hash of its chain."""
    return found(t, Finding.WRONG_GENESIS)


@sometimes("AC-9", "verify", "put")
def found_a_head_mismatch(t: Transition) -> bool:
    """The records end elsewhere than the head says."""
    return found(t, Finding.HEAD_MISMATCH)


@sometimes("AC-10", "verify", "put")
def found_truncated(t: Transition) -> bool:
    """A chain is shorter than the checkpoint says."""
    return found(t, Finding.TRUNCATED)


@sometimes("AC-10", "verify", "put")
def found_diverged(t: Transition) -> bool:
    """A chain has another hash than the checkpoint says."""
    return found(t, Finding.DIVERGED)


@sometimes("AC-12", "verify", "put")
def files_and_store_differ(t: Transition) -> bool:
    """The store has something else in the place of what was exported, and no checkpoint says so."""
    return overlaps(t) and found(t, Finding.DIVERGED) and t.verify is not None and t.verify.anchor is None


@sometimes("AC-12", "verify", "put")
def files_go_beyond_the_end(t: Transition) -> bool:
    """The store has lost what was exported, and no checkpoint says so."""
    return overlaps(t) and found(t, Finding.TRUNCATED) and t.verify is not None and t.verify.anchor is None
