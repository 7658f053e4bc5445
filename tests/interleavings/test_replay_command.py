"""`redstep replay` and `redstep timeline` on files that nobody should trust: one line says what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from redstep_check.cli import cli
from redstep_check.interleavings.moves import CLIENTS_MAX, INSTANTS_MAX_MS
from redstep_check.targets.interleaved.rate_limiter import InterleavedRateLimiter

TAKE = {"kind": "Take", "cost": 1, "request_id": None}
BEGINS = {"kind": "Begins", "client": 0, "operation": TAKE, "now_ms": 1_000}
DELIVERED = {"kind": "Fate", "value": "delivered"}
GOES = {"kind": "Goes", "client": 0, "fate": DELIVERED, "now_ms": 1_000}
EVENTS = [{"at": 2, "client": "client 0", "call": "take 1"}]


def run(*arguments: str) -> Result:
    """Run a command."""
    return CliRunner().invoke(cli, arguments)


def saved(directory: Path, *moves: Any, **change: Any) -> Path:
    """A story of the limiter's clients."""
    about = {"guard": "rate-limiter", "engine": "valkey9", "client": "zset", "kind": "schedule", "rule": "RL-2"}
    story = {"format": "redstep-story/1", **about, "difference": "", "seed": 0, "examples": 0, "moves": moves, **change}
    path = directory / "story.json"
    path.write_text(json.dumps(story))
    return path


@pytest.mark.parametrize(
    ("move", "complaint"),
    [
        ("<script>", "'<script>' is no move"),
        ({"kind": "Take"}, "is no move"),
        (DELIVERED, "is no move"),
        ({**BEGINS, "operation": "<script>"}, "is no move"),
        ({**BEGINS, "operation": DELIVERED}, "is no move"),
        ({**BEGINS, "operation": {**TAKE, "cost": []}}, "'cost' must be"),
        ({**BEGINS, "operation": {**TAKE, "cost": 0}}, "'cost' must be >= 1"),
        ({**BEGINS, "operation": {**TAKE, "request_id": 1}}, "'request_id' must be"),
        ({**BEGINS, "client": 1_000_000_000}, "'client' must be < 64"),
        ({**BEGINS, "client": CLIENTS_MAX}, "'client' must be < 64"),
        ({**BEGINS, "client": -1}, "'client' must be >= 0"),
        ({**GOES, "client": "\u202e"}, "'client' must be"),
        ({**GOES, "fate": "delivered"}, "'fate' must be"),
        ({**GOES, "now_ms": "soon"}, "'now_ms' must be"),
        ({**GOES, "now_ms": float("nan")}, "'now_ms' must be"),
        ({**GOES, "now_ms": INSTANTS_MAX_MS}, "'now_ms' must be <"),
        ({"kind": "Arrives", "which": -1, "now_ms": 1_000}, "'which' must be >= 0"),
        ({"kind": "Arrives", "which": "0", "now_ms": 1_000}, "'which' must be"),
        ({"kind": "Settles", "now_ms": None}, "'now_ms' must be"),
    ],
)
def test_a_move_that_is_none_is_refused(tmp_path: Path, move: Any, complaint: str) -> None:
    """Exit code 2, in one line, wherever it stands."""
    path = saved(tmp_path, BEGINS, GOES, move, {"kind": "Settles", "now_ms": 1_000})
    result = run("replay", str(path))
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert complaint in result.stderr
    assert result.stderr.startswith(f"Error: {path}: ")
    assert result.stderr.count("\n") == 1


def test_a_story_that_cannot_be_played_breaks_no_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised on the way."""

    def gone(*_: object) -> None:
        raise ConnectionError("the engine went away")

    monkeypatch.setattr(InterleavedRateLimiter, "execute", gone)
    result = run("replay", str(saved(tmp_path, BEGINS, GOES)))
    assert result.exit_code == 2, result.output
    assert "story.json: the story can't be played: ConnectionError: the engine went away" in result.stderr
    assert "Traceback" not in result.output


def test_what_a_story_says_gives_a_terminal_no_orders(tmp_path: Path) -> None:
    """Whether it holds, is refused, or cannot be played any more."""
    nasty = "\x1b[2J\ud800"
    held = run("replay", str(saved(tmp_path, BEGINS, GOES, rule=nasty)))
    assert held.exit_code == 0, held.output
    assert "2 moves on valkey9, no difference: \\x1b[2J\\ud800 holds here." in held.output
    for change in ({"client": nasty}, {"engine": nasty}, {"guard": nasty}, {"kind": nasty}):
        refused = run("replay", str(saved(tmp_path, BEGINS, GOES, **change)))
        assert refused.exit_code == 2, refused.output
        assert "\x1b" not in refused.output


def test_a_page_is_written_whatever_the_title(tmp_path: Path) -> None:
    """What can't be written is escaped; a story without a timeline leaves a page as it was."""
    page = tmp_path / "page.html"
    drawn = {"format": "redstep-history/1", "title": "\ud800<b>", "notes": ["\ud800"], "events": EVENTS, "verdict": None}
    result = run("timeline", str(saved(tmp_path, BEGINS, timeline=drawn)), "--html", str(page))
    assert result.exit_code == 0, result.output
    assert "<title>\\ud800&lt;b&gt;</title>" in page.read_text(encoding="utf-8")
    before = page.read_bytes()
    for refused in (None, {**drawn, "events": [{"at": 1, "client": {}, "call": 1}]}):
        result = run("timeline", str(saved(tmp_path, BEGINS, timeline=refused)), "--html", str(page))
        assert result.exit_code == 2, result.output
        assert page.read_bytes() == before


def test_the_help_says_whom_a_story_is_to_be_trusted_by() -> None:
    """It names a server, and perhaps a module."""
    assert "as you would trust a program" in " ".join(run("replay", "--help").output.split())
