"""
`redstep verify-chain`: is somebody's audit chain what its writers made?

Exit codes: 0 consistent, or verified against an anchor; 1 broken, and it says where and how; 2 misuse; 3 it could not be read;
130 interrupted.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from redstep_check.commands.common import BROKEN, Interrupted, console, engine_name
from redstep_check.targets.chain_verification import PREFIX, SENTENCES, BadRequest, Found, NotRead, verified

NOT_READ = 3


class Unread(click.ClickException):
    """The chain could not be read, so nothing can be said of it."""

    exit_code = NOT_READ


def server_url(_context: click.Context, _parameter: click.Parameter, url: str) -> str:
    """Take the URL of a server."""
    if "://" not in url:
        raise click.BadParameter("not a URL: it should read redis://[user:password@]host[:port][/db], or rediss, or unix")
    engine_name(_context, _parameter, url)
    return url


@click.command("verify-chain")
@click.argument("url", callback=server_url)
@click.argument("name")
@click.option("--prefix", default=PREFIX, show_default=True, help="What the keys of the chain start with.")
@click.option(
    "--anchor",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A signed checkpoint that was remembered elsewhere. Without one, nothing is called verified.",
)
@click.option("--key", metavar="VKEY", help="The key that the checkpoint is signed with, as name+id+base64.")
@click.option(
    "--segment",
    "segments",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of exported records, the oldest first; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a sentence.")
def verify_chain(
    url: str, name: str, prefix: str, anchor: Path | None, key: str | None, segments: tuple[Path, ...], as_json: bool
) -> None:
    """Recompute the audit chain NAME at URL, and tell the first record that breaks it.

    It reads a page at a time, locks nothing, and may run while others append.

    Exit codes: 0 internally consistent, or verified against an anchor; 1 broken; 2 misuse; 3 it could not be read;
    130 interrupted.
    """
    if (anchor is None) != (key is None):
        raise click.UsageError("--anchor and --key go together.")
    started_s = time.monotonic()
    try:
        with progress(name) as show:
            found = verified(url, name, prefix=prefix, anchor=anchor, key=key, segments=segments, on_progress=show)
    except BadRequest as error:
        raise click.UsageError(str(error)) from error
    except NotRead as error:
        raise Unread(f"{name} could not be read: {error}") from error
    except KeyboardInterrupt:
        raise Interrupted("interrupted") from None
    seconds = time.monotonic() - started_s
    click.echo(
        json.dumps({"chain": name, **attrs.asdict(found), "seconds": round(seconds, 3)}) if as_json else told(name, found)
    )
    if found.is_broken:
        sys.exit(BROKEN)


def told(name: str, found: Found) -> str:
    """A finding as a person would say it."""
    if found.is_broken:
        where = "" if found.position is None else f" at seq {found.position}"
        return f"{name}: broken{where}: {found.why} ({SENTENCES[str(found.why)]})"
    looked_at = f"{(found.next_seq or 0) - (found.first_seq or 0):,} records from seq {found.first_seq}"
    if found.compared is None:
        return f"{name}: {found.integrity}, {looked_at}; only an anchor tells whether its end was rewritten"
    if not found.compared:
        return f"{name}: {found.integrity}, {looked_at}; what the anchor is about is sealed, and in no segment"
    return f"{name}: {found.integrity}, {looked_at}"


@contextmanager
def progress(name: str) -> Iterator[Callable[[int, int], object]]:
    """Show a bar on a terminal, nothing elsewhere."""
    stderr = console(to_stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda records, of: bar.update(task, completed=records, total=of)
