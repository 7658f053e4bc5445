"""`redstep explore`: what it prints, and how it ends."""

import json
from pathlib import Path

import pytest
from attrs import evolve
from click.testing import CliRunner, Result

from redstep_check.explore_command import explore_command
from redstep_check.interleavings import drawing, exhaustive
from redstep_check.interleavings.registry import SUBJECTS


def explored(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(explore_command, arguments)


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
    """All of its small world, with counts."""
    told = json.loads(explored(guard, "--spec", "--json").stdout)
    assert told["verdict"] == "exhausted"
    assert told["states"] == sum(told["kinds"].values())
    assert "exhausted" in explored(guard, "--spec").output


def test_schedules_can_be_drawn() -> None:
    """A few, without judging what they reached."""
    result = explored("rate-limiter", "--variant", "zset", "--schedules", "10", "--json")
    assert result.exit_code == 0, result.output
    [told] = json.loads(result.stdout)["runs"]
    assert told["verdict"] in ("holds", "not judged")
    assert told["schedules"] >= 10


def test_planted_bugs_are_hunted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1 if one is not found."""
    subject = SUBJECTS["rate-limiter"]
    monkeypatch.setattr("redstep_check.explore_command.SUBJECTS", {"rate-limiter": evolve(subject, bugs=subject.bugs[:2])})
    result = explored("rate-limiter", "--planted", "--json")
    assert result.exit_code == 0, result.output
    assert {each["verdict"] for each in json.loads(result.stdout)["runs"]} == {drawing.FOUND}
    result = explored("rate-limiter", "--planted", "--schedules", "1", "--seed", "4")
    assert result.exit_code == 1, result.output
    assert drawing.NOT_FOUND in result.output


def test_a_difference_is_told_saved_and_replayed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Exit code 1, the rule, the clients side by side, and a story that the sound guard no longer shows."""
    subject = SUBJECTS["rate-limiter"]
    [bug] = [each for each in subject.bugs if each.name == "read, then write"]
    faulty = evolve(subject, variants={"zset": bug.make})
    monkeypatch.setattr("redstep_check.explore_command.SUBJECTS", {"rate-limiter": faulty})
    result = explored("rate-limiter", "--program", "plain", "--save", str(tmp_path))
    assert result.exit_code == 1, result.output
    assert "broken RL-2" in result.output
    assert "client 1" in result.output
    [story] = tmp_path.iterdir()
    result = explored("rate-limiter", "--replay", str(story))
    assert result.exit_code == 1, result.output
    assert "RL-2" in result.output
    monkeypatch.undo()
    result = explored("rate-limiter", "--replay", str(story))
    assert result.exit_code == 0, result.output
    assert "nothing differs" in result.output
    story.write_text("{}")
    assert explored("rate-limiter", "--replay", str(story)).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("nobody",),
        ("rate-limiter", "--variant", "nothing"),
        ("rate-limiter", "--program", "nothing"),
        ("rate-limiter", "--engine", "nothing"),
        ("rate-limiter", "--spec", "--planted"),
        ("rate-limiter", "--clients", "0"),
    ],
)
def test_misuse_ends_with_2(arguments: tuple[str, ...]) -> None:
    """And says what is wrong."""
    result = explored(*arguments)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_an_interruption_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells what was found so far."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exhaustive.World, "explore", interrupted)
    result = explored("rate-limiter", "--variant", "zset")
    assert result.exit_code == 130
    assert "interrupted" in result.output
    assert "cut" in result.output
