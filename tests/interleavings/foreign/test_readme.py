"""What the README shows is what happens."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from redstep_check.engines import Engine
from redstep_check.interleavings.exhaustive import Bounds
from redstep_check.interleavings.foreign.rate_limiter import Glance, Look, Take, call_of

from . import bound
from .limiters import ScriptLimiter

README = Path(__file__).parents[3] / "spec" / "README.md"
LINES_MAX = 40


def blocks() -> list[str]:
    """The blocks of code in the section about one's own code."""
    section = README.read_text(encoding="utf-8").split("## Your own code under the scheduler\n")[1].split("\n## ")[0]
    return re.findall(r"```(?:python|text)\n(.*?)```", section, re.DOTALL)


def test_the_example_prints_what_is_said(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a limiter of one script; and it is short."""
    del engine  # there is one
    yours = ModuleType("yours")
    vars(yours)["SlidingWindow"] = ScriptLimiter
    monkeypatch.setitem(sys.modules, "yours", yours)
    code, printed, _ = blocks()
    assert len(code.splitlines()) < LINES_MAX
    exec(compile(code, str(README), "exec"), {"__name__": "readme"})  # noqa: S102  it is our own
    assert capsys.readouterr().out == printed


def test_the_meaning_of_commands_is_as_shown(engine: Engine) -> None:
    """The binding of the naive limiter says the same, and is found as soon as it is said to be."""
    *_, code = blocks()
    target = bound.Naive(engine)
    given = {"call_of": call_of, "Take": Take, "Look": Look, "Glance": Glance, "Answered": None, "Acquire": None}
    exec(compile("class Shown:\n" + code, str(README), "exec"), given)  # noqa: S102  it is our own
    shown = given["Shown"]
    for name in (b"ZREMRANGEBYSCORE", b"ZCARD", b"ZADD"):
        commands = ((name,),)
        assert vars(shown)["meant"](target, commands, 1_000) == target.meant(commands, 1_000)
    found = target.world("plain", Bounds(clients=2, operations=2, faults=0, ticks=0)).explore()
    target.close()
    assert str(found.mismatch) == "RL-2: allowed is True where the specification says False"
    assert f"{found.executions} executions" in README.read_text(encoding="utf-8")
