"""`redstep explore`: what it prints, and how it ends."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from redstep_check.binding import Unsupported
from redstep_check.cli import cli
from redstep_check.commands.explore import explore
from redstep_check.interleavings import drawing, exhaustive
from redstep_check.interleavings.binding import Concurrent
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.specifications import WORLDS
from redstep_spec.properties import Property


def explored(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(explore, arguments)


def run(*arguments: str) -> Result:
    """Run another one."""
    return CliRunner().invoke(cli, arguments)


def test_a_world_that_holds_is_told_with_its_figures() -> None:
    """Exit code 0, and it says that the world was exhausted."""
    result = explored("rate-limiter", "--variant", "zset", "--program", "plain")
    assert result.exit_code == 0, result.output
    assert "exhausted" in result.output
    assert "states" in result.output


def test_figures_are_for_machines_too() -> None:
    """One JSON object."""
    result = explored("rate-limiter", "--clients", "2", "--faults", "0", "--variant", "packed", "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["bounds"]["faults"] == 0
    assert {each["program"] for each in told["worlds"]} == {"plain", "costs", "reset"}
    assert all(each["verdict"] == "exhausted" and each["schedules"] > 0 for each in told["worlds"])


def test_a_world_may_be_cut() -> None:
    """It says so, and that is no failure."""
    arguments = ("--clients", "3", "--operations", "3", "--faults", "2", "--program", "wait", "--seconds", "0.2")
    result = explored("idempotency", *arguments)
    assert result.exit_code == 0, result.output
    assert "cut" in result.output


@pytest.mark.parametrize("guard", ["rate-limiter", "circuit-breaker", "audit-chain", "idempotency"])
def test_the_specification_alone_is_explored(guard: str) -> None:
    """All of its small world, with counts; every ALWAYS is judged there, and some SOMETIMES are reached."""
    told = json.loads(explored(guard, "--spec", "--json").stdout)
    assert told["verdict"] == "exhausted"
    assert told["states"] == sum(told["kinds"].values())
    assert told["always"] >= 7
    assert len(told["reached"]) >= 12
    assert not set(told["reached"]) & set(told["missed"])


def test_the_specification_is_told_in_words() -> None:
    """States, what holds, and what is reached elsewhere."""
    said = explored("rate-limiter", "--spec").output
    assert "13 states" in said
    assert "exhausted" in said
    assert "ALWAYS     7 hold" in said
    assert "not here: two windows of one name" in said


def test_a_wrong_specification_and_what_is_not_reached_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ALWAYS that does not hold ends with 1, by rule and sentence; a SOMETIMES that is nowhere is named."""
    small = WORLDS["audit-chain"]
    false = Property[Any]("no_chain_grows", "AC-3", "No chain ever grows.", lambda step: step.after == step.before)
    nowhere = Property[Any]("a_pig_flies", "AC-3", "A pig flies.", lambda _step: False)
    monkeypatch.setitem(WORLDS, "audit-chain", evolve(small, always=(*small.always, false)))
    result = explored("audit-chain", "--spec")
    assert result.exit_code == 1
    assert "AC-3 no_chain_grows: No chain ever grows." in result.stderr
    monkeypatch.setitem(WORLDS, "audit-chain", evolve(small, sometimes=(nowhere,)))
    result = explored("audit-chain", "--spec")
    assert result.exit_code == 0
    assert "SOMETIMES  0 of 1 are reached" in result.output
    assert "not here: a pig flies" in result.output


def test_schedules_can_be_drawn() -> None:
    """A few, without judging what they reached."""
    result = explored("rate-limiter", "--variant", "zset", "--schedules", "10", "--json")
    assert result.exit_code == 0, result.output
    [told] = json.loads(result.stdout)["runs"]
    assert told["verdict"] in ("holds", "not judged")
    assert told["schedules"] >= 10


def test_planted_bugs_are_hunted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1 if one is not found."""
    subject = SUBJECTS["rate-limiter"]
    monkeypatch.setitem(SUBJECTS, "rate-limiter", evolve(subject, bugs=subject.bugs[:2]))
    result = explored("rate-limiter", "--planted", "--json", "--save", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert {each["verdict"] for each in json.loads(result.stdout)["runs"]} == {drawing.FOUND}
    result = explored("rate-limiter", "--planted", "--schedules", "1", "--seed", "4", "--save", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert drawing.NOT_FOUND in result.output


def test_a_difference_is_told_saved_and_replayed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1, the rule, the clients side by side, and a story that the sound guard no longer shows."""
    subject = SUBJECTS["rate-limiter"]
    [bug] = [each for each in subject.bugs if each.name == "read, then write"]
    faulty = evolve(subject, variants={"zset": bug.make})
    monkeypatch.setitem(SUBJECTS, "rate-limiter", faulty)
    result = explored("rate-limiter", "--program", "plain", "--save", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "broken RL-2" in result.output
    assert "RL-2 is broken: allowed: the specification says False, the implementation True" in result.output
    assert "find it again: redstep explore rate-limiter --engine valkey9 --variant zset --program plain" in result.output
    [story] = tmp_path.iterdir()
    assert f"redstep replay {story}" in result.output
    result = run("replay", str(story))
    assert result.exit_code == 1, result.output
    assert "RL-2 is broken" in result.output
    monkeypatch.undo()
    result = run("replay", str(story))
    assert result.exit_code == 0, result.output
    assert "nothing differs" in result.output


def test_a_planted_bug_is_handed_over(tmp_path: Path) -> None:
    """From one command to the next: printed as a timeline, saved, played again, drawn again, and drawn as a page."""
    found = run("explore", "idempotency", "--planted", "--schedules", "300", "--seed", "3", "--save", str(tmp_path / "kept"))
    [story] = (tmp_path / "kept").glob("*a-claim-kept-on-cancel*")
    shown = [
        "idempotency on valkey9, planted: a claim kept on cancel",
        "CM-10 is broken: what a cancelled caller leaves",
        "client 0  claim",
        "!   client 0  cancelled",
        "✗   client 0  CM-10",
    ]
    replayed, drawn = run("replay", str(story)), run("timeline", str(story))
    assert replayed.exit_code == 1, replayed.output
    assert drawn.exit_code == 0, drawn.output
    for output in (found.output, replayed.output, drawn.output):
        assert [each for each in shown if each not in output] == []
    page = tmp_path / "page.html"
    written = run("timeline", str(story), "--html", str(page))
    assert written.exit_code == 0, written.output
    assert 'class="mark wrong"' in page.read_text(encoding="utf-8")
    [line] = [each for each in found.output.splitlines() if "find it again" in each and "idempotency" in each][:1]
    assert line.strip() == "find it again: redstep explore idempotency --engine valkey9 --planted --variant hash --seed 3"


def test_a_story_that_cannot_be_saved_is_still_told(tmp_path: Path) -> None:
    """With the reason."""
    (tmp_path / "file").write_text("")
    result = explored(
        "audit-chain", "--planted", "--variant", "batch", "--schedules", "1", "--save", str(tmp_path / "file" / "x")
    )
    assert "the story could not be saved" in result.output
    assert "AC-7 is broken" in result.output


def saved(directory: Path, moves: list[dict[str, object]], **change: object) -> Path:
    """A story of the limiter, written by hand."""
    about = {"guard": "rate-limiter", "engine": "valkey9", "client": "zset", "kind": "schedule", "rule": "RL-2"}
    story = {"format": "redstep-story/1", **about, "difference": "", "seed": 0, "examples": 0, "moves": moves}
    path = directory / "story.json"
    path.write_text(json.dumps({**story, **change}))
    return path


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"client": "planted: nothing"}, "no planted bug 'nothing'"),
        ({"client": "nothing, plain"}, "no variant 'nothing'"),
        ({"guard": "nobody"}, "no guard is called 'nobody'"),
        ({"kind": "opera"}, "no kind of story is called 'opera'"),
        ({"kind": "lockstep"}, "KeyError"),
        ({"timeline": {"events": 1}}, "not a story"),
        ({"engine": "nowhere"}, "nowhere"),
    ],
)
def test_a_story_that_means_nothing_is_refused(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    """Exit code 2, and what is wrong with it."""
    moves: list[dict[str, object]] = [{"kind": "Begins", "client": 0, "operation": {"kind": "Look"}, "now_ms": 1_000}]
    path = saved(tmp_path, moves, **change)
    result = run("replay", str(path))
    assert result.exit_code == 2, result.output
    assert complaint in result.output


def test_a_story_that_other_clients_take_otherwise_differs_no_more(tmp_path: Path) -> None:
    """A move that cannot be made any more is told; a story without a timeline says how to have one."""
    moves: list[dict[str, object]] = [
        {"kind": "Goes", "client": 0, "fate": {"kind": "Fate", "value": "delivered"}, "now_ms": 1_000}
    ]
    path = saved(tmp_path, moves)
    result = run("replay", str(path))
    assert result.exit_code == 0, result.output
    assert "other steps" in result.output
    result = run("timeline", str(path))
    assert result.exit_code == 2
    assert "without a timeline" in result.output
    assert f"redstep replay {path}" in result.output


def test_figures_tell_what_was_met(tmp_path: Path) -> None:
    """Overlap, faults and unknown outcomes, in the table and in JSON; and what was not met at all."""
    arguments = ("rate-limiter", "--variant", "zset", "--program", "plain", "--save", str(tmp_path))
    [world] = json.loads(explored(*arguments, "--json").stdout)["worlds"]
    assert 0 < world["overlapping"] < world["moves"]
    assert world["faults"]["reply lost"] > 0
    assert world["unknown_outcomes"]["took_effect"] > 0
    assert world["not_hit"] == ["twice"]
    assert "never hit: twice (zset, plain)" in explored(*arguments).output
    alone = explored(*arguments, "--clients", "1", "--faults", "0")
    assert alone.exit_code == 0
    assert "nothing overlapped" in alone.output
    assert "no fault was allowed" in alone.output


def test_a_drawn_run_of_nothing_is_vacuous(tmp_path: Path) -> None:
    """Exit code 3, and what was not met."""
    result = explored("rate-limiter", "--variant", "zset", "--schedules", "1", "--save", str(tmp_path))
    assert result.exit_code == 3, result.output
    assert "vacuous" in result.output
    assert "nothing overlapped" in result.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nobody",), "nobody"),
        (("rate-limiter", "--variant", "nothing"), "no variant 'nothing', but zset, packed"),
        (("rate-limiter", "--variant", "nothing", "--schedules", "1"), "no variant 'nothing'"),
        (("rate-limiter", "--program", "nothing"), "no program 'nothing' here, but plain"),
        (("rate-limiter", "--variant", "packed", "--program", "ids"), "no program 'ids' here"),
        (("rate-limiter", "--variant", "zset", "--program", "plain", "--program", "nothing"), "no program 'nothing' here"),
        (("rate-limiter", "--engine", "nothing"), "nothing"),
        (("rate-limiter", "--spec", "--planted"), "exclude one another"),
        (("rate-limiter", "--spec", "--schedules", "1"), "exclude one another"),
        (("rate-limiter", "--spec", "--engine", "valkey9"), "--engine means nothing with --spec"),
        (("rate-limiter", "--spec", "--clients", "2"), "--clients means nothing with --spec"),
        (("audit-chain", "--spec", "--save", "x"), "--save means nothing with --spec"),
        (("rate-limiter", "--planted", "--faults", "2"), "--faults means nothing with --planted"),
        (("rate-limiter", "--planted", "--variant", "packed"), "no bug is planted in rate-limiter, packed"),
        (("rate-limiter", "--schedules", "9", "--clients", "4"), "--clients means nothing with --schedules"),
        (("rate-limiter", "--schedules", "9", "--seconds", "4"), "--seconds means nothing with --schedules"),
        (("rate-limiter", "--schedules", "9", "--program", "plain"), "--program means nothing with --schedules"),
        (("rate-limiter", "--schedules", "0"), "--schedules"),
        (("rate-limiter", "--seed", "1"), "add --schedules or --planted"),
        (("rate-limiter", "--seconds", "nan"), "never end"),
        (("rate-limiter", "--seconds", "inf"), "never end"),
        (("rate-limiter", "--clients", "0"), "--clients"),
    ],
)
def test_misuse_ends_with_2(arguments: tuple[str, ...], complaint: str) -> None:
    """And says what is wrong, before anything is explored."""
    result = explored(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert complaint in result.stderr
    assert result.stdout.strip() == ""


def test_help_tells_every_option_and_every_exit_code() -> None:
    """None without a word."""
    shown = explored("--help").output
    for option in explore.params:
        if isinstance(option, click.Option):
            assert option.help
            assert option.opts[0] in shown
    assert [code for code in (0, 1, 2, 3, 130) if f"{code} " not in shown.partition("Exit codes:")[2]] == []


def test_a_variant_that_is_named_twice_is_explored_once() -> None:
    """Nothing is counted twice."""
    result = explored("rate-limiter", *("--variant", "packed") * 2, *("--program", "reset") * 2, "--json")
    assert len(json.loads(result.stdout)["worlds"]) == 1


@pytest.mark.parametrize("way", [(), ("--schedules", "5")])
def test_an_interruption_before_anything_is_found_is_told_in_its_own_format(
    monkeypatch: pytest.MonkeyPatch, way: tuple[str, ...]
) -> None:
    """JSON stays JSON, and says which kind of run it was."""

    def interrupted(_engine: object) -> Concurrent:
        raise KeyboardInterrupt

    monkeypatch.setitem(SUBJECTS, "rate-limiter", evolve(SUBJECTS["rate-limiter"], variants={"zset": interrupted}))
    result = explored("rate-limiter", *way, "--json")
    assert result.exit_code == 130
    told = json.loads(result.stdout)
    assert told["format"] == ("redstep-explore-drawn/1" if way else "redstep-explore/1")
    assert told["runs" if way else "worlds"] == []


def test_nothing_explored_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every variant is skipped, for a reason, nothing holds."""

    def unsupported(_engine: object) -> Concurrent:
        raise Unsupported("not here")

    monkeypatch.setitem(SUBJECTS, "rate-limiter", evolve(SUBJECTS["rate-limiter"], variants={"zset": unsupported}))
    for arguments in ((), ("--schedules", "5")):
        result = explored("rate-limiter", *arguments)
        assert result.exit_code == 2, result.output
        assert "not here" in result.output
        assert "nothing was explored" in result.output


def test_an_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells what was found so far."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exhaustive.World, "explore", interrupted)
    result = explored("rate-limiter", "--variant", "zset")
    assert result.exit_code == 130
    assert "interrupted" in result.output
    assert "cut" in result.output
