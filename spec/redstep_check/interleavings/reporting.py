"""Reporting: what the exploration of worlds came to, for people and for machines."""

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import asdict, define
from rich.console import Console
from rich.table import Table
from rich.text import Text

from redstep_check.interleavings.exhaustive import Bounds, Found
from redstep_check.interleavings.failures import Failure, print_failure
from redstep_check.interleavings.tallies import tell_unknown


@define
class Row:
    """A world, or a variant that was skipped."""

    variant: str
    found: Found | None = None
    reason: str = ""
    """Why it was skipped."""
    failure: Failure | None = None

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.found is None:
            return "skipped"
        return "broken" if self.found.mismatch is not None else "exhausted" if self.found.exhausted else "cut"

    @property
    def not_met(self) -> list[str]:
        """What the world did not meet at all; nothing is said of one that ended early."""
        if self.found is None or not self.found.exhausted:
            return []
        return list(self.found.tally.missing(self.found.features, faults_allowed=self.found.bounds.faults > 0))


STYLES = {"broken": "bold red", "exhausted": "green", "cut": "yellow", "skipped": "dim"}
FIGURES = ("states", "moves", "executions", "schedules", "depth")


def print_worlds(out: Console, guard: str, rows: Sequence[Row]) -> None:
    """All worlds at a glance, what they did not meet, and their differences."""
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    for heading in ("guard", "variant", "program"):
        view.add_column(heading)
    for heading in (*FIGURES, "overlap", "faults hit", "unknown outcomes", "seconds"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("verdict")
    for row in rows:
        view.add_row(guard, row.variant, *_cells(row), _verdict(row))
    out.print(view)
    for note in _notes(rows):
        out.print(Text(note, style="dim"), soft_wrap=True)
    for row in rows:
        if row.failure is not None:
            print_failure(out, row.failure)


def _cells(row: Row) -> Iterator[str]:
    found = row.found
    if found is None:
        yield from ("",) * 10
        return
    tally = found.tally
    yield found.program
    yield from (f"{getattr(found, each):,}" for each in FIGURES)
    yield f"{100 * tally.overlapping // (found.moves or 1)} %"
    yield f"{len(tally.faults)} of {len(tally.faults) + len(tally.not_hit(found.features))}"
    yield tell_unknown(tally.as_json()["unknown_outcomes"])
    yield f"{found.seconds:.1f}"


def _verdict(row: Row) -> Text:
    broken = row.found.mismatch if row.found else None
    words = [row.verdict, *([broken.rule] if broken else []), *([f": {row.reason}"] if row.reason else [])]
    return Text(" ".join(words).replace(" :", ":"), style=STYLES[row.verdict])


def _notes(rows: Sequence[Row]) -> Iterator[str]:
    """Each thing that was not met, and in which worlds."""
    worlds: dict[str, list[str]] = {}
    for row in rows:
        for each in row.not_met:
            worlds.setdefault(each, []).append(f"{row.variant}, {row.found.program if row.found else ''}")
    for what, where in worlds.items():
        yield f"{what} ({'in all worlds' if len(where) == len(rows) > 1 else '; '.join(where)})"


def as_json(guard: str, engine: str, bounds: Bounds, rows: Sequence[Row]) -> dict[str, Any]:
    """All worlds for a machine."""
    worlds = [_world(row) for row in rows]
    return {"format": "redstep-explore/1", "guard": guard, "engine": engine, "bounds": asdict(bounds), "worlds": worlds}


def _world(row: Row) -> dict[str, Any]:
    found = row.found
    if found is None:
        return {"variant": row.variant, "verdict": row.verdict, "reason": row.reason}
    return {
        "variant": row.variant,
        "program": found.program,
        "verdict": row.verdict,
        **{name: getattr(found, name) for name in FIGURES},
        **found.tally.as_json(),
        "not_hit": found.tally.not_hit(found.features),
        "not_met": row.not_met,
        "seconds": round(found.seconds, 3),
        **(row.failure.as_json() if row.failure else {}),
    }
