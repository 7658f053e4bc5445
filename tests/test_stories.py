"""Stories: what is saved is what is read again, and what is no story is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from redstep_check.guards.rate_limiter import Called, Move, Removed
from redstep_check.registry import GUARDS
from redstep_check.stories import FORMAT, BadStory, Story, load, save
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Fate

KINDS = {name: guard.kinds for name, guard in GUARDS.items()}

odd_texts = st.sampled_from(("\ud800", "\x00{}\n", "bytes"))
texts = st.text(st.characters(exclude_categories=())) | odd_texts | st.sampled_from((0, 10_000)).map("x".__mul__)
numbers = st.integers() | st.floats() | st.booleans()
anything: st.SearchStrategy[Any] = texts | numbers | st.binary() | st.none()
limits = st.lists(st.builds(spec.Limit, limit=anything, window_ms=anything), max_size=3).map(tuple)
regions = st.none() | st.builds(spec.Region, start_ms=st.integers(0), cold_ms=st.integers(0), percent=st.integers(0, 100))
calls = st.one_of(
    st.builds(spec.Acquire, name=anything, limits=limits, now_ms=anything, cost=anything, request_id=anything, region=regions),
    st.builds(spec.Peek, name=anything, limits=limits, now_ms=anything, region=regions),
    st.builds(spec.Reset, name=anything, limits=limits, now_ms=anything),
)
moves: st.SearchStrategy[Move] = st.one_of(
    st.builds(Called, calls, st.lists(st.sampled_from(Fate), max_size=3).map(tuple)),
    st.builds(Removed, texts, st.integers(), st.integers()),
)

STORY = Story(
    guard="rate-limiter",
    engine="unix:///tmp/a b?db=1",
    client="mine:Target",
    seed=2**40,
    examples=200,
    rule="RL-2",
    difference="allowed is 'yes' \u2260 \ud800",
    moves=(Removed("a", 1, 2),),
)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for stories."""
    return tmp_path_factory.mktemp("stories")


@given(moves=st.lists(moves, min_size=1, max_size=4).map(tuple))
def test_a_saved_story_is_read_as_it_was(shelf: Path, moves: tuple[Move, ...]) -> None:
    """Every move comes back with the very types it had: 1, 1.0 and True are three things, and so are "a" and b"a"."""
    story = evolve(STORY, moves=moves)
    read = load(save(story, shelf), KINDS)
    assert repr(read) == repr(story)


def test_a_story_is_ascii_and_its_name_is_a_name_everywhere(shelf: Path) -> None:
    """No engine's URL leads out of the directory, and no byte depends on a locale."""
    path = save(STORY, shelf / "new" / "one")
    assert path.parent == shelf / "new" / "one"
    assert all(c.isalnum() or c in "-." for c in path.name)
    assert path.read_bytes().isascii()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"format": "redstep-story/0"}, FORMAT),
        ({"moves": []}, "moves"),
        ({"moves": "abc"}, "moves"),
        ({"moves": [{"kind": "Path", "name": "/etc/passwd"}]}, "Path"),
        ({"moves": [{"kind": "Removed", "name": "a"}]}, "window_ms"),
        ({"moves": [{"name": "a"}]}, "kind"),
        ({"moves": [{"kind": "bytes", "value": "xyz"}]}, "hexadecimal"),
        ({"moves": [{"kind": ["Removed"]}]}, "Removed"),
        ({"seed": "1"}, "seed"),
        ({"rule": None}, "rule"),
        ({"mood": "sad"}, "mood"),
    ],
)
def test_what_is_no_story_is_refused_for_what_is_wrong(shelf: Path, change: dict[str, Any], complaint: str) -> None:
    """A file that was edited too far, or comes from another version, is never played."""
    path = save(STORY, shelf)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(BadStory, match=complaint) as refused:
        load(path, KINDS)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"[]", b"null", b'"redstep-story/1"', b"{}"])
def test_a_foreign_file_is_refused(shelf: Path, content: bytes) -> None:
    """Whatever is in it."""
    path = shelf / "foreign.json"
    path.write_bytes(content)
    with pytest.raises(BadStory, match=r"not JSON|not of the format"):
        load(path, KINDS)
