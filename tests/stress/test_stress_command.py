"""`redstep stress`: what it prints, what it saves, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from attrs import evolve
from click.testing import CliRunner, Result

from redstep_check import timelines
from redstep_check.binding import Unsupported
from redstep_check.commands import stress as command
from redstep_check.stress.binding import Stressed
from redstep_check.stress.judging import Tally
from redstep_check.stress.registry import AUDIT_CHAIN, RATE_LIMITER, STRESSED
from redstep_check.stress.running import Wish
from redstep_check.stress.slices import MODES, ClientDied


def stressed(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(command.stress, arguments)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is saved is saved there."""
    monkeypatch.chdir(tmp_path)


def with_bug(guard: Stressed, bug: str) -> Stressed:
    """The same guard, shipped with a bug."""
    return evolve(
        guard,
        clients=lambda own: guard.clients(evolve(own, bug=bug)),
        tongue=lambda engine, variant, _bug, prefix: guard.tongue(engine, variant, bug, prefix),
    )


SHORT = ("rate-limiter", "--variant", "zset", "--mode", "threads", "--clients", "6")


def test_what_holds_is_told_with_its_figures() -> None:
    """Exit code 0; how much happened at the same time, and what contention came to."""
    result = stressed(*SHORT, "--seconds", "0.4")
    assert result.exit_code == 0, result.output
    assert "holds" in result.output
    assert "denied" in result.output
    assert "overlap" in result.output


def test_figures_are_for_machines_too() -> None:
    """One JSON object, with a run for each variant and mode, among which the time is shared."""
    result = stressed("rate-limiter", "--mode", "tasks", "--clients", "6", "--seconds", "0.6", "--json", "--seed", "3")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["format"] == "redstep-stress/1"
    assert [each["variant"] for each in told["runs"]] == ["zset", "packed"]
    for each in told["runs"]:
        assert each["verdict"] == "holds"
        assert each["seconds"] == pytest.approx(0.3)
        assert each["overlap"]["same_key"] > 0
        assert each["operations"] == each["answered"] + each["failed"] + each["unknown"]
        assert {"seed": 3, "clock": "explicit", "engine": "valkey9"}.items() <= each.items()


@pytest.mark.parametrize("guard", [RATE_LIMITER, AUDIT_CHAIN], ids=["by the search", "by a law too"])
def test_what_is_broken_is_told_as_a_timeline_and_saved(monkeypatch: pytest.MonkeyPatch, guard: Stressed) -> None:
    """Exit code 1; the rule, what led up to it, and a file that `redstep timeline` shows."""
    [variant] = {bug.variant for bug in guard.bugs if bug.name == "read, then write"}
    monkeypatch.setitem(STRESSED, guard.name, with_bug(guard, "read, then write"))
    result = stressed(guard.name, "--variant", variant, "--mode", "threads", "--clients", "8", "--seconds", "3")
    assert result.exit_code == 1, result.output
    [bug] = [each for each in guard.bugs if each.name == "read, then write"]
    [rule] = {rule for rule in bug.rules if f"broken {rule}" in result.output}
    path = Path(".redstep") / f"stress-{guard.name}-{variant}-threads-0.json"
    assert f"redstep timeline {path}" in result.output
    saved = timelines.load(path)
    assert saved.history
    assert any(rule in note for note in saved.notes)
    assert "✗" in timelines.text(saved, width=160) or saved.verdict is None


def test_planted_bugs_are_found() -> None:
    """Exit code 0, and each is named with the rule that it was found by."""
    result = stressed("rate-limiter", "--planted", "--clients", "8", "--json")
    assert result.exit_code == 0, result.output
    runs = json.loads(result.stdout)["runs"]
    assert [each["bug"] for each in runs] == [bug.name for bug in RATE_LIMITER.bugs]
    assert all(each["verdict"] == "found" and each["rule"] for each in runs)


def test_a_planted_bug_that_is_not_found_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1; and so it is if it is found by another rule than it breaks."""
    monkeypatch.setattr(command, "run", lambda wish, *_: Tally(seconds=wish.seconds))
    result = stressed("rate-limiter", "--planted")
    assert result.exit_code == 1
    assert "not found" in result.output


def test_a_run_that_says_nothing_is_vacuous(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 3, and what was not reached."""
    monkeypatch.setattr(command, "run", lambda *_: Tally())
    result = stressed(*SHORT)
    assert result.exit_code == 3
    assert "vacuous" in result.output
    assert "overlap" in result.output


def test_nothing_to_run_is_misuse() -> None:
    """Exit code 2, with the reason of each that was skipped; one that is skipped among others is told."""
    result = stressed("rate-limiter", "--engine", "fakeredis", "--mode", "processes")
    assert result.exit_code == 2
    assert "inside this process" in result.output
    both = ("--mode", "threads", "--mode", "processes", "--seconds", "0.6", "--clients", "4")
    result = stressed("rate-limiter", "--engine", "fakeredis", "--variant", "zset", *both)
    assert result.exit_code in (0, 3), result.output
    assert "skipped" in result.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rate-limiter", "--variant", "cas"), "no variant 'cas'"),
        (("rate-limiter", "--planted", "--variant", "packed"), "no bug of rate-limiter"),
        (("rate-limiter", "--planted", "--kill"), "leave out --kill"),
        (("rate-limiter", "--clients", "1"), "1 is not in the range"),
        (("rate-limiter", "--seconds", "0"), "0.0 is not in the range"),
        (("rate-limiter", "--seconds", "inf"), "never end"),
        (("rate-limiter", "--engine", "nosuch"), "no engine is called"),
        (("regions",), "'regions' is not one of"),
    ],
)
def test_misuse_is_told_before_anything_is_run(arguments: tuple[str, ...], says: str) -> None:
    """Exit code 2."""
    result = stressed(*arguments)
    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize("error", [ClientDied("the client p1 ended"), redis.ConnectionError("gone")])
def test_a_run_that_goes_wrong_breaks_no_rule(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Exit code 2."""

    def fails(*_: object) -> Tally:
        raise error

    monkeypatch.setattr(command, "run", fails)
    result = stressed(*SHORT)
    assert result.exit_code == 2
    assert f"Error: {error}" in result.output


def test_an_interruption_leaves_what_was_told_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 130, with the rows of the runs before it."""

    def interrupted(wish: Wish, *_: object) -> Tally:
        if wish.variant == "zset":
            raise Unsupported("not here")
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    result = stressed("rate-limiter", "--mode", "threads")
    assert result.exit_code == 130
    assert "not here" in result.output
    assert "interrupted" in result.output


@pytest.mark.parametrize("mode", MODES)
def test_ctrl_c_ends_it(tmp_path: Path, mode: str) -> None:
    """Exit code 130, without a traceback; no process and no log is left behind."""
    arguments = (*SHORT[:3], "--mode", mode, "--clients", "3", "--seconds", "60")
    command = [sys.executable, "-m", "redstep_check", "stress", *arguments]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(  # noqa: S603  it is our own
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment
    ) as running:
        until(lambda: any(log.stat().st_size for log in tmp_path.glob("redstep-stress-*/*.log")))
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does
        out, err = running.communicate(timeout=60)
    assert running.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert not list(tmp_path.glob("redstep-stress-*"))
    until(lambda: not is_there(running.pid))


def until(holds: Callable[[], bool]) -> None:
    """Wait for it, and not for ever."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_there(group: int) -> bool:
    """Whether any process of a group is."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
