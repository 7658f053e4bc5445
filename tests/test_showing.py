"""The story of a run in lockstep as a timeline: printed from its file, without an engine."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from redstep_check.binding import Answered
from redstep_check.cli import cli
from redstep_check.guards.audit_chain import Altered, Wrote
from redstep_check.guards.audit_chain_tampering import How
from redstep_check.guards.rate_limiter import Called, Removed
from redstep_check.lockstep import Mismatch, Told
from redstep_check.registry import GUARDS
from redstep_check.showing import timeline
from redstep_check.stories import LOCKSTEP, BadStory, load, save, shown, story_of
from redstep_check.timelines import BadHistory, Sign, text
from redstep_spec import rate_limiter as spec
from redstep_spec.audit_chain_writer import Entry, Write
from redstep_spec.delivery import Failed, Unknown

LIMIT = spec.Limit(limit=2, window_ms=10)


def differing(*story: Told) -> Mismatch:
    """A difference at the end of a story."""
    mismatch = Mismatch("RL-2", "allowed", False, True)
    mismatch.story = story
    return mismatch


def asked(now_ms: int, answer: object, expected: object = None) -> Told:
    """Somebody asks the limiter."""
    return Told(Called(spec.Acquire(name="a", limits=(LIMIT,), now_ms=now_ms)), expected or answer, answer)


def test_a_call_is_a_bar_and_the_store_has_its_clock() -> None:
    """With what the specification says to it; the last one is where both sides differ."""
    mismatch = differing(
        asked(1_000, Answered({"allowed": True})),
        Told(Removed("a", 10, 1_012), None, None),
        asked(1_012, Failed()),
        asked(1_012, Unknown()),
        asked(1_012, Answered({"allowed": True}), Answered({"allowed": False})),
    )
    drawn = timeline(GUARDS["rate-limiter"], mismatch, title="a limiter")
    assert [(each.client, each.sign) for each in drawn.marks] == [
        ("store", Sign.CLOCK),
        ("client", Sign.CALLED),
        ("store", Sign.CLOCK),
        ("store", Sign.NOTED),
        *[("client", Sign.CALLED)] * 3,
    ]
    assert [each.is_wrong for each in drawn.marks] == [False] * 6 + [True]
    said = text(drawn)
    assert said.startswith("a limiter\nRL-2 is broken: allowed: the specification says False, the implementation True\n")
    assert " ┘   client  acquire 'a' under 2 per 10 ms failed" in said
    assert " ✗   client  the specification: denied" in said
    assert said.endswith(" └   client  acquire 'a' under 2 per 10 ms → allowed  ✗\n")


def test_writers_are_clients_and_a_chain_has_no_clock() -> None:
    """A lane for each of them; what somebody does to the store shows in its own."""
    write = Write(name="a", entries=(Entry(bytes(16), "1"),))
    appended = Answered({"outcome": "appended"})
    mismatch = differing(
        Told(Wrote("w1", write), appended, appended),
        Told(Wrote("w2", write), appended, appended),
        Told(Altered("a", How.HASH, 0), None, None),
    )
    drawn = timeline(GUARDS["audit-chain"], mismatch, title="a chain")
    assert {each.client for each in drawn.marks} == {"w1", "w2", "store"}
    assert not [each for each in drawn.marks if each.sign is Sign.CLOCK]
    assert drawn.marks[-1].is_wrong


def test_a_story_brings_its_timeline(tmp_path: Path) -> None:
    """It is in the file, and the same as before; a story without one is played, but cannot be shown."""
    mismatch = differing(asked(1_000, Answered({"allowed": True})))
    guard = GUARDS["rate-limiter"]
    drawn = timeline(guard, mismatch, title="a limiter")
    about = {"guard": guard.name, "engine": "valkey9", "client": "naive"}
    path = save(story_of(mismatch, **about, seed=1, examples=2, timeline=drawn), tmp_path)
    assert text(shown(path)) == text(drawn)
    read = load(path, {guard.name: guard.kinds})
    assert read.kind == LOCKSTEP
    assert read.timeline is not None
    assert text(read.timeline) == text(drawn)
    bare = save(story_of(mismatch, **about, seed=2, examples=2), tmp_path)
    assert load(bare, {guard.name: guard.kinds}).timeline is None
    with pytest.raises(BadStory, match="without a timeline"):
        shown(bare)
    bare.write_text(json.dumps({**json.loads(path.read_text()), "timeline": {"events": [1]}}))
    with pytest.raises(BadHistory, match="not a timeline"):
        shown(bare)


def test_the_story_of_a_failing_check_can_be_shown(tmp_path: Path) -> None:
    """Printed and as a page, from the file that `redstep replay` plays."""
    run = CliRunner().invoke
    found = run(cli, ["check", "rate-limiter", "--naive", "--seed", "1", "--examples", "50", "--save", str(tmp_path / "kept")])
    assert found.exit_code == 1, found.output
    [story] = (tmp_path / "kept").iterdir()
    printed = run(cli, ["timeline", str(story)])
    assert printed.exit_code == 0, printed.output
    assert "RL-2 is broken" in printed.output
    assert "✗   client" in printed.output
    page = tmp_path / "page.html"
    assert run(cli, ["timeline", str(story), "--html", str(page)]).exit_code == 0
    assert 'class="mark wrong"' in page.read_text(encoding="utf-8")
    assert run(cli, ["replay", str(story)]).exit_code == 1
