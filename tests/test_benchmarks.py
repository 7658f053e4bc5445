"""The benchmarks still measure: a short run of them, whose figures nobody looks at."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from redstep_check.engines import DEFAULT, survey

CHECKOUT = Path(__file__).parent.parent
COMMAND = ("-m", "pytest", "benchmarks", "--quick", "--benchmark-enable", "--benchmark-quiet", "-q", "-p", "no:cacheprovider")


def test_every_benchmark_finds_something_in_a_short_run(tmp_path: Path) -> None:
    """Each ends, each but the peers' leaves its findings where pytest-benchmark keeps them, and the table shows them."""
    [engine] = (each for each in survey() if each.name == DEFAULT)
    if not engine.available:
        pytest.skip(engine.detail)
    found, table = tmp_path / "found.json", tmp_path / "table.md"
    options = ("--engine", DEFAULT, "--benchmark-json", str(found), "--markdown", str(table))
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    ran = subprocess.run(  # noqa: S603
        (sys.executable, *COMMAND, *options), cwd=CHECKOUT, env=alone, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr

    benchmarks = json.loads(found.read_text(encoding="utf-8"))["benchmarks"]
    rows = [row for benchmark in benchmarks for row in benchmark["extra_info"]["rows"]]
    assert {benchmark["fullname"].partition("::")[0] for benchmark in benchmarks} == {
        f"benchmarks/{path.name}" for path in (CHECKOUT / "benchmarks").glob("bench_*.py") if path.name != "bench_peers.py"
    }
    assert {row["rule"][:4] for row in rows} >= {"PF-1", "PF-2", "PF-3", "PF-4", "PF-7"}
    assert all(row["measured"] >= 0 for row in rows)
    shown = table.read_text(encoding="utf-8")
    assert all(row["subject"] in shown for row in rows)
