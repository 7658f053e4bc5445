"""The READMEs tell the truth: each block of code in them is executed, and each file and test that they name is there."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio
from attrs import frozen

import redstep  # noqa: F401  before a test puts another client in redis-py's place
from redstep_check.engines import Engine

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "impl/README.md", "lua/README.md", "spec/README.md", "tests/README.md", "benchmarks/README.md")
BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
SECONDS = re.compile(r" +\d+\.\d(?= (?:holds|broken))")
"""All that differs from run to run: the rest of a line is a function of the seed."""


@frozen
class Block:
    """A block of code, and what stands before it."""

    language: str
    text: str
    said_before: str


def read(name: str) -> str:
    """The text of a README."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str = "") -> list[Block]:
    """The blocks of a README, in order."""
    text = read(name)
    found = [Block(each["language"], each["text"], text[: each.start()]) for each in BLOCK.finditer(text)]
    return [block for block in found if block.language in (language, language or block.language)]


@pytest.fixture
def engine(engine_named: Callable[[str], Engine], monkeypatch: pytest.MonkeyPatch) -> Engine:
    """The default engine, which is where a client without an address finds it."""
    engine = engine_named("valkey9")
    for module in (redis, redis.asyncio):
        monkeypatch.setattr(module, "Redis", finding(engine, module.Redis))
    return engine


def finding(engine: Engine, real: type[Any]) -> type[Any]:
    """A client that differs from the real one by its default address alone."""

    class Redis(real):  # type: ignore[misc]
        def __init__(self, **settings: Any) -> None:
            super().__init__(**(settings or {"unix_socket_path": engine.address}))

    return Redis


def ran(block: Block, names: dict[str, object]) -> None:
    """Execute a block of Python."""
    exec(compile(block.text, "README", "exec"), names)  # noqa: S102  it is our own text


def told(command: str, directory: Path) -> str:
    """Run a command in a directory; what it says, its seconds and the blanks at the ends of lines aside."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(  # noqa: S602  it is our own text
        command, shell=True, cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr == ""
    return timeless(done.stdout)


def timeless(text: str) -> str:
    """A text without what differs from run to run."""
    lines = [SECONDS.sub(" S", line).rstrip() for line in text.splitlines()]
    return "\n".join(re.sub(r" +", " ", line) if line.startswith(("guard", "rate-limiter ")) else line for line in lines)


def dialogue(block: Block) -> list[tuple[str, str]]:
    """The commands of a block, and what each is said to tell."""
    return [(part.partition("\n")[0], timeless(part.partition("\n")[2])) for part in block.text.split("$ ")[1:]]


# ---------------------------------------------------------------------------------------------- README.md


def test_the_opening_story_is_real(engine_named: Callable[[str], Engine], tmp_path: Path) -> None:
    """The naive limiter is caught with these very words."""
    engine_named("valkey9")
    [(command, output)] = dialogue(blocks("README.md", "console")[0])
    assert told(command, tmp_path) == output


def test_the_two_commands_are_there() -> None:
    """They are targets of the Makefile."""
    [block] = blocks("README.md", "sh")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert block.text == "make check\nmake test\n"
    assert all(f"\n{line.removeprefix('make ')}: " in makefile for line in block.text.splitlines())


def test_the_examples_of_use_work(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    """Sync and asyncio, on a client made as anybody makes one."""
    sync, asynchronous, others, _ = blocks("README.md", "python")
    ran(sync, {})
    assert capsys.readouterr().out == "go on, 9 left\n"
    for left in range(8, -1, -1):
        ran(sync, {})
        assert capsys.readouterr().out == f"go on, {left} left\n"
    ran(sync, {})
    assert re.fullmatch(r"the same call will be admitted in \d+ ms, and not sooner\n", capsys.readouterr().out)
    engine.forget()
    ran(asynchronous, {})
    assert capsys.readouterr().out == "True 95\n"
    ran(others, {})
    assert capsys.readouterr().out == "b'a receipt' 0\n"


def test_an_implementation_is_bound_in_ten_lines(engine_named: Callable[[str], Engine], tmp_path: Path) -> None:
    """The example holds; with its edge off by one it is told as the README says."""
    engine_named("valkey9")
    block = blocks("README.md", "python")[-1]
    body = [
        line for line in block.text.splitlines() if line.strip() and not line.lstrip().startswith(("def ", "class ", "from "))
    ]
    assert len(body) <= 10
    for console, text in zip(blocks("README.md", "console")[1:], (block.text, block.text.replace(" > ", " >= ")), strict=True):
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
        [(command, output)] = dialogue(console)
        assert told(command, tmp_path) == output


def test_every_bug_has_its_test() -> None:
    """The tests that show them are there."""
    table = read("README.md").partition("## Bugs found")[2]
    tests = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", table)
    assert len(tests) == table.count("\n|") - 2
    for file, test in tests:
        assert re.search(rf"^(?:async )?def {test}\(", read(file), re.MULTILINE), (file, test)


# ---------------------------------------------------------------------------------------------- the other READMEs


def test_the_examples_of_the_implementation_work(engine: Engine) -> None:
    """From top to bottom, as one program."""
    assert engine.owned
    names: dict[str, object] = {}
    for block in blocks("impl/README.md"):
        assert block.language == "python"
        ran(block, names)


@pytest.mark.parametrize(("folder", "pattern"), [("tests", "test_*.py"), ("benchmarks", "bench_*.py")])
def test_every_module_of_a_folder_is_told_of(folder: str, pattern: str) -> None:
    """In the folder's README, with a link."""
    names = [path.name for path in (ROOT / folder).glob(pattern)]
    assert names
    assert [name for name in names if f"]({name})" not in read(f"{folder}/README.md")] == []


def test_a_script_runs_by_itself(engine_named: Callable[[str], Engine]) -> None:
    """By `redis-cli --eval`, where there is one."""
    if not shutil.which("redis-cli", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"):
        pytest.skip("no redis-cli on the PATH")
    engine = engine_named("valkey9")
    [block] = blocks("lua/README.md", "console")
    for command, output in dialogue(block):
        here = command.replace("redis-cli", f"redis-cli --no-raw -s {engine.address}")
        assert told(here, ROOT / "lua") == output


def test_the_diagrams_are_those_of_the_specification() -> None:
    """They stand in the docstrings, word for word."""
    modules = [path.read_text(encoding="utf-8") for path in (ROOT / "spec" / "redstep_spec").glob("*.py")]
    drawn = [block for block in blocks("spec/README.md", "text") if "## Linearizability" not in block.said_before]
    assert len(drawn) >= 2
    assert [block.text for block in drawn if not any(block.text in module for module in modules)] == []


def test_the_example_of_a_history_is_illegal() -> None:
    """The page on linearizability is executed, too; that on one's own code is by `interleavings/foreign/test_readme.py`."""
    names: dict[str, Any] = {}
    for block in blocks("spec/README.md", "python"):
        if "## Your own code under the scheduler" not in block.said_before:
            ran(block, names)
    assert not names["verdict"]


@pytest.mark.parametrize("name", READMES)
def test_every_block_says_what_it_is(name: str) -> None:
    """So that none escapes being executed."""
    assert {block.language for block in blocks(name)} <= {"console", "mermaid", "python", "sh", "text"}
    assert read(name).count("```") == 2 * len(blocks(name))


@pytest.mark.parametrize("name", READMES)
def test_every_link_leads_somewhere(name: str) -> None:
    """To a file, and to a heading or a line of it."""
    links = re.findall(r"\]\((?!https://)([^)#]*)(?:#([^)]+))?\)", read(name))
    for file, anchor in links:
        path = (ROOT / name).parent / file if file else ROOT / name
        assert path.exists(), file
        if anchor.startswith("L"):
            assert int(anchor[1:]) <= len(path.read_text(encoding="utf-8").splitlines())
        elif anchor:
            heading = anchor.replace("-", " ").capitalize()
            assert re.search(f"^##+ {heading}$", path.read_text(encoding="utf-8"), re.MULTILINE), anchor


@pytest.mark.parametrize("name", READMES)
def test_every_file_that_is_named_is_there(name: str) -> None:
    """A path or a module in backquotes."""
    for file in re.findall(r"(?<!\[)`((?:\w+/)*\w+\.(?:py|lua|json))(?:::\w+)?`", read(name)):
        places = (ROOT / file, (ROOT / name).parent / file, ROOT / "tests" / file)
        assert any(place.exists() for place in places) or file == "mine.py", file
