"""Taste, as far as a machine can check it; each check stands beside something that it must reject."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from redstep_check import documents, measuring
from redstep_check.engines import EngineUnavailable, open_engine
from redstep_check.headers import problems
from redstep_check.registry import GUARDS
from redstep_check.runs import Budget, run
from redstep_spec.rules import RULES

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "lua").glob("*.lua"))
SHIPPED = [*sorted((ROOT / "spec").rglob("*.py")), *sorted((ROOT / "impl").rglob("*.py"))]


@cache
def tracked() -> tuple[Path, ...]:
    """The files of the project, as git knows or will know them; without git, none."""
    command = ("git", "ls-files", "--cached", "--others", "--exclude-standard")
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ()
    return tuple(path for name in listed.stdout.splitlines() if (path := ROOT / name).is_file())


def named(path: Path) -> str:
    """A path as seen from the root."""
    return path.relative_to(ROOT).as_posix()


# ---------------------------------------------------------------------------------------------- directions


MAY_IMPORT: dict[str, set[str]] = {
    "redstep_spec": {"attrs"},
    "redstep": {"attrs", "redis", "redstep_lua"},
    "redstep.audit_chain_checkpoints": {"attrs", "cryptography"},
    "redstep.audit_chain_events": {"attrs", "rfc8785"},
    "redstep_check": {"attrs", "click", "fakeredis", "hypothesis", "redis", "redstep_spec", "rich"},
    "redstep_check.interleavings.foreign.greenlets": {"greenlet", "redis", "redstep_check"},
    "redstep_check.targets": {"attrs", "redis", "redstep", "redstep_spec", "redstep_check"},
}
"""Beside the standard library and itself; the longest name that fits decides."""


def imports(source: str) -> set[str]:
    """The packages that a module imports, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.partition(".")[0] for alias in names}
            case ast.ImportFrom(module=str(module), level=0):
                found.add(module.partition(".")[0])
            case ast.Call(func=ast.Attribute(attr="files" | "import_module"), args=[ast.Constant(value=str(module)), *_]):
                found.add(module.partition(".")[0])
    return found


def forbidden_imports(module: str, source: str) -> set[str]:
    """What a module imports and may not."""
    package = max((name for name in MAY_IMPORT if f"{module}.".startswith(f"{name}.")), key=len)
    return imports(source) - MAY_IMPORT[package] - set(sys.stdlib_module_names) - {package.partition(".")[0], "__future__"}


def module_of(path: Path) -> str:
    """The name that a file is imported by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_imports_go_in_one_direction(path: Path) -> None:
    """The specification knows nobody, the implementation not the specification, the kit the implementation by its targets."""
    assert forbidden_imports(module_of(path), path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    ("module", "source", "forbidden"),
    [
        ("redstep_spec.x", "import redis", "redis"),
        ("redstep_spec.x", "def f():\n    from redstep_check import binding", "redstep_check"),
        ("redstep.x", "from redstep_spec.rules import RULES", "redstep_spec"),
        ("redstep.x", "import redstep_check.runs", "redstep_check"),
        ("redstep_check.x", "from redstep import clients", "redstep"),
        ("redstep_check.x", "import importlib\nimportlib.import_module('redstep.clients')", "redstep"),
        ("redstep_check.targets.x", "from tests import conftest", "tests"),
        ("redstep_check.targets.x", "import hypothesis", "hypothesis"),
    ],
)
def test_an_import_against_the_direction_is_found(module: str, source: str, forbidden: str) -> None:
    """However it is written."""
    assert forbidden_imports(module, source) == {forbidden}


# ---------------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_does_what_its_header_says(path: Path) -> None:
    """Name, specification, keys, arguments, reply, errors, writes, and no write before the last refusal."""
    assert problems(path.name, path.read_text(encoding="utf-8")) == []


GOOD = """\
--[[ some_script: is this one good?

  spec   redstep_spec.rate_limiter.peek
  KEYS   * log          string
  ARGV   1 now_ms       integer >= 0
         2 label        any text, which
                        goes on here
         * window_ms    integer >= 1
         * limit        integer >= 1
  reply  {allowed, now_ms}
  error  EARG <name>    an argument is missing
         ECORRUPT <key> what is stored is no log
  writes SET, then PEXPIRE on every log
  cost   O(1)
]]
local function refuse(name) return redis.error_reply('EARG ' .. name) end
if #ARGV ~= 2 + 2 * #KEYS then return refuse('limits') end
local now = string.match(ARGV[1], '^%d+$')
if not now then return refuse('now_ms') end
for i, key in ipairs(KEYS) do
  if redis.call('GET', key) == 'x' then return redis.error_reply('ECORRUPT ' .. key) end
end
-- A comment, with redis.call('DEL') and EVIL in it.
for i, key in ipairs(KEYS) do
  redis.call('SET', key, ARGV[2] .. ARGV[2 * i + 1])
  redis.pcall("PEXPIRE", key, ARGV[2 * i + 2])
end
return {math.max(1, 0), tonumber(now)}
"""


def test_a_script_made_for_it_has_no_problem() -> None:
    """The rejections below are for one edit each."""
    assert problems("some_script.lua", GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("--[[ some_script", "-- some_script", "no header"),
        ("  cost   O(1)\n", "", "its fields are"),
        ("  reply  {allowed, now_ms}\n", "  reply  allowed\n", "reply is not of the form"),
        ("KEYS   * log          string", "KEYS   every log", "is neither a place"),
        ("some_script:", "other_script:", "some_script.lua is called other_script"),
        ("rate_limiter.peek", "rate_limiter.poke", "spec redstep_spec.rate_limiter.poke does not exist"),
        ("redstep_spec.rate_limiter", "redstep_spec.no_such_guard", "does not exist"),
        ("KEYS   * log          string", "KEYS   none", "KEYS are declared and not used, or used and not declared"),
        ("KEYS   * log          string", "KEYS   1 log          string", "KEYS [] are used, ['1'] declared"),
        ("ARGV[2] .. ", "ARGV[3] .. ", "ARGV ['3'] used and not declared, ['2'] declared and not used"),
        ("ARGV[2 * i + 2]", "ARGV[2 * i + 3]", "ARGV ['2 * i + 3'] used and not declared"),
        ("         * limit        integer >= 1\n", "", "#ARGV is not held against 2 + 1 * #KEYS"),
        ("if #ARGV ~= 2 + 2 * #KEYS then return refuse('limits') end\n", "", "#ARGV is not held against 2 + 2"),
        ("ARGV   1 now_ms ", "ARGV   3 now_ms ", "the places of ARGV are ['2', '3']"),
        ("string.match(ARGV[1], '^%d+$')", "tonumber(ARGV[1])", "its integers are neither matched"),
        ("return {math.max(1, 0), tonumber(now)}", "return {1, 2, now}", "the reply has 2 elements, what is returned [3]"),
        ("return {math.max(1, 0), tonumber(now)}", "return {{1, 2}}", "the reply has 2 elements, what is returned [1]"),
        ("return {math.max(1, 0), tonumber(now)}", "return {}", "the reply has 2 elements, what is returned [0]"),
        ("return {math.max(1, 0), tonumber(now)}", "return 1", "the reply has 2 elements, what is returned []"),
        ("'ECORRUPT ' .. key", "'EVIL ' .. key", "its errors are ['EARG', 'EVIL'], the header says ['EARG', 'ECORRUPT']"),
        ("         ECORRUPT <key> what is stored is no log\n", "", "the header says ['EARG']"),
        ("redis.call('SET'", "redis.call('DEL', key) redis.call('SET'", "it writes with ['DEL', 'PEXPIRE', 'SET']"),
        (
            'redis.pcall("PEXPIRE", key, ARGV[2 * i + 2])',
            "local _ = ARGV[2 * i + 2]",
            "it writes with ['SET'], the header says",
        ),
        ("redis.call('GET', key)", "redis.call(ARGV[2], key)", "a command is not a literal"),
        ("local now =", "local run = redis.call\nlocal now =", "a command is not a literal"),
        ("local now =", "redis.call('SET', KEYS[1], 1)\nlocal now =", "something is written before the last refusal"),
        ("local now =", "local now = require('x') or", "it includes by ['require']"),
        ("'x' then", "'\u00e9' then", "its body is not ASCII"),
    ],
)
def test_a_script_that_its_header_does_not_tell_is_found(old: str, new: str, problem: str) -> None:
    """Every check can fail."""
    assert GOOD.count(old) == 1
    found = problems("some_script.lua", GOOD.replace(old, new))
    assert any(problem in each for each in found), found


def test_an_alias_of_a_call_is_seen_through() -> None:
    """`local call = redis.call` hides no write."""
    aliased = GOOD.replace("local now =", "local call = redis.call\ncall('DEL', KEYS[1])\nlocal now =")
    found = problems("some_script.lua", aliased)
    assert "something is written before the last refusal" in found
    assert any("it writes with ['DEL'" in each for each in found)


def test_a_script_that_says_it_writes_nothing_does_not() -> None:
    """In both directions."""
    silent = GOOD.replace("writes SET, then PEXPIRE on every log", "writes nothing")
    assert any("the header says []" in each for each in problems("some_script.lua", silent))


# ---------------------------------------------------------------------------------------------- Python


LINES_MAX = 400


def undocumented(source: str) -> list[str]:
    """Public functions, classes and methods without a docstring; what is nested in a function is nobody's interface."""
    tree = ast.parse(source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    nodes = [*tree.body, *(node for each in classes for node in each.body)]
    public = [node for node in nodes if isinstance(node, DEFINITIONS) and not node.name.startswith("_")]
    return [node.name for node in public if not ast.get_docstring(node)]


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IS_ITS_OWN_SENTENCE = "spec/redstep_check/machines/"
"""A rule's name says what it does."""


@pytest.mark.parametrize("path", [path for path in SHIPPED if IS_ITS_OWN_SENTENCE not in named(path)], ids=named)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    """Every public function, class and method of the specification, the kit and the implementation has a docstring."""
    source = path.read_text(encoding="utf-8")
    assert not source or ast.get_docstring(ast.parse(source))
    assert undocumented(source) == []


def test_what_is_public_and_silent_is_found() -> None:
    """A function, a class, and a method; not a private one."""
    source = "def f(): pass\nclass C:\n  def m(self): pass\n  def _p(self): pass\ndef _g(): pass\ndef h():\n  '''Say.'''\n"
    assert undocumented(source) == ["f", "C", "m"]


@pytest.mark.parametrize("path", SHIPPED, ids=named)
def test_a_module_can_be_read_in_one_go(path: Path) -> None:
    """At most so many lines, blank ones aside."""
    assert sum(bool(line.strip()) for line in path.read_text(encoding="utf-8").splitlines()) <= LINES_MAX


# ---------------------------------------------------------------------------------------------- text


UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b")
OF_A_MACHINE = re.compile(
    r"(?<![\w.:{}/-])/(?:home|root|Users|work|workspace|build|opt|mnt|srv)/[\w.]"  # an absolute path
    r"|\b(?:index-url|extra-index-url|find-links|trusted-host)\b"
    r"|\b(?:pypi|files|pythonhosted|artifactory|nexus|mirror)[\w-]*(?:\.[\w-]+)*\.(?:org|com|net|io|example|internal|local)\b"
)


def lines_with(pattern: re.Pattern[str], text: str) -> Iterator[str]:
    """The lines in which a pattern occurs."""
    return (line for line in text.splitlines() if pattern.search(line))


def text_files() -> list[Path]:
    """The files of the project that are text."""
    return [path for path in tracked() if b"\0" not in path.read_bytes()]


@pytest.mark.parametrize("pattern", [UNFINISHED, OF_A_MACHINE], ids=["unfinished", "of a machine"])
def test_no_file_holds_what_belongs_elsewhere(pattern: re.Pattern[str]) -> None:
    """No notes to oneself; no path of one machine, and no name of an index of packages."""
    found = {named(path): list(lines_with(pattern, path.read_text(encoding="utf-8"))) for path in text_files() if path != SELF}
    assert {name: lines for name, lines in found.items() if lines} == {}


SELF = Path(__file__)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (UNFINISHED, "# FIXME later"),
        (OF_A_MACHINE, "see /home/somebody/x"),
        (OF_A_MACHINE, 'path = "/root/.cache"'),
        (OF_A_MACHINE, "--index-url x"),
        (OF_A_MACHINE, "https://pypi.example.com/simple"),
        (OF_A_MACHINE, "files.pythonhosted.org/packages"),
    ],
)
def test_what_belongs_elsewhere_is_found(pattern: re.Pattern[str], line: str) -> None:
    """One of each."""
    assert list(lines_with(pattern, f"good\n{line}\ngood")) == [line]


# ---------------------------------------------------------------------------------------------- rules


ID = re.compile(r"\b(?:" + "|".join(sorted({rule.partition("-")[0] for rule in RULES})) + r")-\d+\b")


def test_every_rule_that_is_named_exists() -> None:
    """Wherever an ID stands, its sentence can be looked up."""
    found = {named(path): set(ID.findall(path.read_text(encoding="utf-8"))) - set(RULES) for path in text_files()}
    assert {name: ids for name, ids in found.items() if ids} == {}


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_used(rule: str) -> None:
    """By the specification, the kit or a test, beside the list of them."""
    sources = [path for path in (*SHIPPED, *sorted((ROOT / "tests").rglob("*.py"))) if path.name != "rules.py"]
    assert any(re.search(rf"\b{rule}\b", path.read_text(encoding="utf-8")) for path in sources)


@cache
def fired() -> Counter[str]:
    """How often each rule is put to the test in short runs of every guard, on the default engine."""
    counts = Counter[str]()
    with open_engine("valkey9") as engine:
        for guard in GUARDS.values():
            for way in guard.ways((), ("protocol",)):
                target = guard.target(way)(engine)
                counts += run(guard.bench, target, Budget(examples=60, seed=measuring.SEED)).fired
                target.close()
    return counts


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_fires_in_a_run(rule: str) -> None:
    """In lockstep, or in a test that plants a fault against it, for what no sequence of calls can show."""
    try:
        counts = fired()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    assert counts[rule] or documents.planted_in_tests()[rule]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_catches_a_planted_fault(rule: str) -> None:
    """Each of these faults is planted by a test, which sees it caught under this rule."""
    assert [name for name, (_, fault) in measuring.faults().items() if fault.rule == rule] or documents.planted_in_tests()[rule]


def test_a_marked_fault_names_a_rule() -> None:
    """A fault that a test plants is caught under a rule that exists, where its guard is specified already."""
    families = {rule.partition("-")[0] for rule in RULES}
    marked = {rule for rule in documents.planted_in_tests() if rule.partition("-")[0] in families}
    assert marked <= set(RULES)


# ---------------------------------------------------------------------------------------------- documents


def test_the_generated_parts_of_the_documents_are_up_to_date() -> None:
    """If this fails: python -m redstep_check.documents."""
    assert sorted(documents.out_of_date()) == []


def test_the_measured_figures_are_of_the_faults_and_rules_that_there_are() -> None:
    """If this fails: python -m redstep_check.documents --measure. Every fault was caught, and under its own rule."""
    measured = documents.measured()
    assert measured.caught == {name: fault.rule for name, (_, fault) in measuring.faults().items()}
    assert set(measured.fired) <= set(RULES)
    assert {each.client for each in measured.runs} == {way for each in GUARDS.values() for way in each.ways((), ("protocol",))}


def test_a_generated_part_that_is_missing_or_stale_is_found() -> None:
    """One that is not there, one that nobody makes, one that says something else."""
    blocks: dict[str, Callable[[], str]] = {"x": lambda: "new\n"}
    stale = "a\n<!-- generated: x -->\nold\n<!-- end -->\nb\n"
    assert documents.made(stale, blocks) == stale.replace("old", "new")
    for wrong in ("", stale + stale, stale.replace(": x", ": y")):
        with pytest.raises(LookupError):
            documents.made(wrong, blocks)
