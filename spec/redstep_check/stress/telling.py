"""Telling: what runs came to, as a table for people and as JSON for machines."""

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from redstep_check.stress.judging import BROKEN, HOLDS, UNDECIDED, VACUOUS, Tally
from redstep_check.stress.running import Wish

FOUND, NOT_FOUND, SKIPPED = "found", "not found", "skipped"
EXIT_CODES: Mapping[str, int] = {HOLDS: 0, FOUND: 0, SKIPPED: 0, BROKEN: 1, NOT_FOUND: 1, VACUOUS: 3, UNDECIDED: 3}
STYLES = {HOLDS: "green", FOUND: "green", BROKEN: "bold red", NOT_FOUND: "bold red", SKIPPED: "dim"}


@frozen(kw_only=True)
class Row:
    """A run, or why there was none."""

    wish: Wish
    engine: str
    verdict: str
    tally: Tally | None = None
    missed: tuple[str, ...] = ()
    """What a vacuous run did not reach."""
    reason: str = ""
    """Why it was skipped."""
    saved: str = ""
    """Where the history of a broken rule is."""


def exit_code(rows: Sequence[Row]) -> int:
    """That a rule is broken outweighs all else; then what says nothing."""
    codes = {EXIT_CODES[row.verdict] for row in rows}
    return 1 if 1 in codes else max(codes, default=0)


def table(rows: Sequence[Row]) -> RenderableType:
    """A line for each run, and figures in columns."""
    view = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    planted = any(row.wish.bug for row in rows)
    for heading in (*(["bug"] if planted else []), "variant", "mode"):
        view.add_column(heading)
    for heading in ("s", "operations", "unknown", "requests", "lost", "kills", "overlap", "same key", "keys", "steps"):
        view.add_column(heading, justify="right", no_wrap=True)
    view.add_column("verdict")
    for row in rows:
        names = [*([row.wish.bug] if planted else []), row.wish.variant, row.wish.mode]
        verdict = Text(_verdict(row), style=STYLES.get(row.verdict, "yellow"))
        view.add_row(*names, *_figures(row.tally), verdict)
    return view


def _figures(tally: Tally | None) -> Sequence[str]:
    if tally is None:
        return ("",) * 10
    numbers = (tally.operations, tally.unknown, tally.requests, tally.lost, tally.kills)
    overlap = f"{tally.overlap.mean:.1f}, most {tally.overlap.most}"
    keys = f"{tally.parts:,}"
    told = (f"{each:,}" for each in numbers)
    return (f"{tally.seconds:.1f}", *told, overlap, f"{tally.overlap.share:.0%}", keys, f"{tally.steps:,}")


def _verdict(row: Row) -> str:
    rule = f" {row.tally.broken.rule}" if row.tally and row.tally.broken else ""
    match row.verdict:
        case "skipped":
            return f"skipped: {row.reason}"
        case "vacuous":
            return f"vacuous: not reached: {', '.join(row.missed)}"
        case "undecided":
            return f"undecided: {row.tally.undecided if row.tally else 0} keys"
    return f"{row.verdict}{rule}"


def facts(row: Row) -> str:
    """What contention came to, in a line."""
    counts = row.tally.facts.most_common() if row.tally else []
    return f"  {row.wish.variant}, {row.wish.mode}: {', '.join(f'{count:,} {fact}' for fact, count in counts)}"


def as_json(guard: str, rows: Sequence[Row]) -> dict[str, Any]:
    """All of it."""
    return {"format": "redstep-stress/1", "guard": guard, "runs": [_row(row) for row in rows]}


def _row(row: Row) -> dict[str, Any]:
    wish, tally = row.wish, row.tally
    told: dict[str, Any] = {"variant": wish.variant, "mode": wish.mode, "engine": row.engine, "verdict": row.verdict}
    told |= {"clock": "explicit" if wish.is_explicit else "engine", "seed": wish.seed, "clients": wish.clients}
    told |= {"bug": wish.bug} if wish.bug else {}
    if tally is None:
        return {**told, "reason": row.reason}
    names = ("operations", "answered", "failed", "unknown", "requests", "lost", "kills", "searched", "steps", "undecided")
    told |= {"seconds": round(tally.seconds, 3), **{name: getattr(tally, name) for name in names}, "keys": tally.parts}
    mean, share = round(tally.overlap.mean, 3), round(tally.overlap.share, 4)
    told |= {"overlap": {"mean": mean, "most": tally.overlap.most, "same_key": share}}
    told |= {"facts": dict(sorted(tally.facts.items())), "missed": list(row.missed)}
    if tally.broken is not None:
        told |= {"rule": tally.broken.rule, "problem": tally.broken.problem, "saved": row.saved}
    return told
