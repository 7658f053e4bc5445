"""The wheel: what is in it, and that it works where there is no checkout."""

import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Mapping
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from zipfile import ZipFile

import pytest

CHECKOUT = Path(__file__).parent.parent
PACKAGES = {
    "redstep": "impl/redstep",
    "redstep_spec": "spec/redstep_spec",
    "redstep_check": "spec/redstep_check",
    "redstep_lua": "lua",
}
SHIPPED = {".py", ".html", ".lua", ".json", ".typed"}
CONSTRAINTS = {"PIP_CONSTRAINT": "constraints.txt", "PIP_BUILD_CONSTRAINT": "constraints.txt"}

pytestmark = pytest.mark.timeout(900)


class Environment:
    """A fresh environment without a pip of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        venv.create(directory, with_pip=False, symlinks=True)

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, somewhere else than in a checkout."""
        return run(str(self.directory / "bin" / program), *arguments, cwd=self.directory)

    def install(self, *requirements: str, cwd: Path) -> None:
        """Have the pip of the Python that made it install into it."""
        pip("--python", str(self.directory / "bin" / "python"), "install", *requirements, cwd=cwd)

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        [directory] = self.directory.glob("lib/python*/site-packages")
        return directory

    @property
    def distributions(self) -> set[str]:
        """The names of what is installed."""
        return {each.name for each in metadata.distributions(path=[str(self.packages)])}


def run(*command: str, cwd: Path, environment: Mapping[str, str] = MappingProxyType({})) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, knowing nothing of this checkout."""
    env = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(command, cwd=cwd, env={**env, **environment}, capture_output=True, text=True, check=False)  # noqa: S603 - our own


def pip(*arguments: str, cwd: Path) -> None:
    """Run the pip of the Python that made this environment, or skip the test where no index can be reached."""
    maker = getattr(sys, "_base_executable", sys.executable)
    ran = run(maker, "-m", "pip", "--disable-pip-version-check", "--retries", "1", *arguments, cwd=cwd, environment=CONSTRAINTS)
    if "from versions: none" in ran.stderr:
        pytest.skip(f"no package index can be reached: {ran.stderr.strip().splitlines()[-1]}")
    assert ran.returncode == 0, ran.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tree without what a build leaves behind."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / name, copy)
    for name in ("spec", "impl", "lua"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    """The wheel, built from nothing but the source."""
    pip("wheel", "--no-deps", "--wheel-dir", "dist", ".", cwd=source)
    [built] = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def with_kit(wheel: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel and its kit."""
    environment = Environment(tmp_path_factory.mktemp("with_kit"))
    environment.install(f"{wheel}[check]", cwd=source)
    return environment


@pytest.fixture(scope="module")
def alone(wheel: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the wheel alone."""
    environment = Environment(tmp_path_factory.mktemp("alone"))
    environment.install(str(wheel), cwd=source)
    return environment


def test_the_wheel_has_every_file_of_its_packages_and_no_other(source: Path, wheel: Path) -> None:
    """A package that pyproject.toml forgets is missed here, and so is a script or a marker of types."""
    expected = {
        f"{package}/{path.relative_to(source / directory)}"
        for package, directory in PACKAGES.items()
        for path in (source / directory).rglob("*")
        if path.suffix in SHIPPED
    }
    with ZipFile(wheel) as content:
        found = {name for name in content.namelist() if ".dist-info/" not in name}
    assert found == expected
    assert {"redstep/py.typed", "redstep_spec/py.typed", "redstep_check/py.typed"} < found
    assert {"redstep_check/naive/rate_limiter.lua", "redstep_lua/rate_limiter_reset.lua"} < found


def test_the_wheel_names_what_it_needs(wheel: Path) -> None:
    """The implementation needs redis-py and attrs; whatever else there is comes with an extra."""
    with ZipFile(wheel) as content:
        [name] = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        head = HeaderParser().parsestr(content.read(name).decode())
    needed = [each for each in head.get_all("Requires-Dist", ()) if "extra ==" not in each]
    assert sorted(re.split(r"\W", each)[0] for each in needed) == ["attrs", "redis"]
    assert head["License-Expression"] == "MIT"


def test_the_kit_works_outside_the_checkout(with_kit: Environment) -> None:
    """The main job, and the naive scripts that ship with it."""
    checked = with_kit.run("redstep", "check", "rate-limiter", "--examples", "20", "--seed", "1")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "valkey9" in checked.stdout
    told = with_kit.run("redstep", "check", "rate-limiter", "--naive", "--examples", "20")
    assert (told.returncode, told.stderr) == (1, "")


def test_site_packages_gain_no_generic_name(with_kit: Environment) -> None:
    """A checkout's rooms are not packages of anybody's environment."""
    assert set(PACKAGES) <= {path.name for path in with_kit.packages.iterdir()}
    assert not {path.name for path in with_kit.packages.iterdir()} & {"spec", "impl", "lua", "tests", "benchmarks", "demo"}


def test_without_the_kit_the_implementation_imports_and_the_command_says_what_is_missing(alone: Environment) -> None:
    """With redis-py and attrs alone, but for what redis-py itself wants of an old Python."""
    assert {"redstep", "redis", "attrs"} <= alone.distributions <= {"redstep", "redis", "attrs", "async-timeout"}
    imported = alone.run("python", "-I", "-W", "error", "-c", "import redstep; print(*redstep.__all__)")
    assert (imported.returncode, imported.stderr) == (0, "")
    ran = alone.run("redstep", "check")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert re.fullmatch(r"redstep: the kit is not installed \(\w+ is missing\): pip install 'redstep\[check\]'\n", ran.stderr)


def test_what_is_pinned_is_pinned_exactly_and_names_no_host() -> None:
    """One version a line, and nothing about where it comes from."""
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+==[0-9][a-z0-9.]*", line) for line in lines)
    assert lines == sorted(lines, key=str.lower)
