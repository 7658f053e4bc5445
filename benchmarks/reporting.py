"""What was found: rows with the ratio first, as a table on the terminal and as Markdown."""

import os
import platform
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from attrs import frozen
from rich.console import Console
from rich.table import Table

LIBRARIES = ("redis", "limits", "pybreaker", "pyrate-limiter", "throttled-py", "pytest-benchmark")


@frozen
class Row:
    """One finding."""

    rule: str
    """What it belongs to: the rule of the requirements, and the subject of the section."""

    measured: float | None
    """None for what could not be measured; the detail says why."""

    unit: str
    subject: str
    detail: str = ""
    bound: float | None = None
    """What it must not exceed; None for what is only told."""

    @property
    def verdict(self) -> str:
        """Return whether the bound is kept."""
        if self.measured is None:
            return "skipped"
        if self.bound is None:
            return ""
        return "kept" if self.measured <= self.bound else "MISSED"

    @property
    def cells(self) -> tuple[str, ...]:
        """Return what the table shows."""
        measured = "" if self.measured is None else f"{_figures(self.measured)} {self.unit}"
        bound = "" if self.bound is None else f"<= {self.bound:g}"
        return (measured, bound, self.verdict, self.subject, self.detail)


HEADINGS = ("measured", "bound", "", "what", "detail")


def shape(engine: str) -> str:
    """Return date, machine, engine and libraries: without them no number means anything."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    libraries = ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name)))
    return (
        f"{time.strftime('%Y-%m-%d')} · {engine} · {cores} cores of {_processor()}, {platform.system()}, load {load:.1f}"
        f" · Python {platform.python_version()}, {libraries}"
    )


def print_table(rows: Sequence[Row], engine: str) -> None:
    """Write the table to the terminal."""
    console = Console(width=None if Console().is_terminal else 160)
    console.print(shape(engine), highlight=False)
    for rule in _rules(rows):
        table = Table(*HEADINGS, title=rule, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for row in rows:
            if row.rule == rule:
                table.add_row(*row.cells, style="red" if row.verdict == "MISSED" else None)
        console.print()
        console.print(table, highlight=False)


def write_markdown(rows: Sequence[Row], engine: str, path: Path) -> None:
    """Write the table into a file."""
    lines = [shape(engine)]
    for rule in _rules(rows):
        lines += ["", f"**{rule}**", "", _line(HEADINGS), _line("---" for _ in HEADINGS)]
        lines += [_line(row.cells) for row in rows if row.rule == rule]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _figures(value: float) -> str:
    """Write three figures that count, and no fewer."""
    return f"{value:.0f}" if value == 0 else f"{value:.{2 if value >= 1 else 3}f}"


def _rules(rows: Sequence[Row]) -> list[str]:
    return sorted({row.rule for row in rows})


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in told.splitlines() if line.startswith("model name"))
    return next(names, platform.machine())
