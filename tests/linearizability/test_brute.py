"""The checker against the definition."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redstep_check.linearizability import check

from .battery import census, failure, wrong
from .brute import is_legal
from .drawing import KINDS, Kind, history


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@given(random=st.randoms(use_true_random=False))
@settings(max_examples=150, deadline=None)
def test_the_checker_agrees_with_the_definition(kind: Kind, random: Random) -> None:
    """On small histories with unknown outcomes, failures and ties; witness and prefix are what they are said to be."""
    events = history(kind, random)
    assert not wrong(check, kind, events, legal=is_legal(kind.model, events))


def test_the_battery_finds_nothing_in_the_sound_checker() -> None:
    """And it has what a fault could show on: legal and illegal histories of every kind, overlaps, ties, unknown outcomes."""
    assert not failure(check)
    seen = census()
    assert min(seen[f"{kind.name} {verdict}"] for kind in KINDS for verdict in ("legal", "illegal")) >= 8, seen
    assert min(seen[each] for each in ("vacuous", "unknown", "failed", "ties", "overlap")) >= 50, seen
