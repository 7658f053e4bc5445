"""What the commands share: how they end, what they refuse, and where they print."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from redstep_check import engines

BROKEN, MISUSE, VACUOUS, INTERRUPTED = 1, 2, 3, 130
PLAIN_WIDTH = 160
Command = TypeVar("Command", bound=Callable[..., Any])


class Trouble(click.ClickException):
    """What somebody must set right first."""

    exit_code = MISUSE


class Interrupted(click.ClickException):
    """Somebody pressed Ctrl-C."""

    exit_code = INTERRUPTED

    def show(self, file: Any = None) -> None:
        """Say no more than that."""
        click.echo(self.message, file=file, err=True)


def console(*, to_stderr: bool = False) -> Console:
    """Colours and boxes on a terminal, plain text elsewhere."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(stderr=to_stderr, highlight=False, width=None if stream.isatty() else PLAIN_WIDTH)


def engine_name(_context: object, _option: object, name: str | None) -> str | None:
    """Pass on what names an engine, if anything does."""
    try:
        if name is not None:
            engines.label(name)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return name


def engine_names(_context: object, _option: object, names: tuple[str, ...]) -> tuple[str, ...]:
    """Pass on what names engines."""
    for name in names:
        engine_name(None, None, name)
    return names


def finite(_context: object, _option: object, seconds: float | None) -> float | None:
    """Pass on a time that ends."""
    if seconds is not None and not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} seconds never end")
    return seconds


engine_option = click.option(
    "--engine",
    default=engines.DEFAULT,
    show_default=True,
    metavar="NAME|URL",
    callback=engine_name,
    help="An engine (see `redstep engines`) or the URL of a server.",
)
"""Of commands that run on one."""


def save_option(what: str) -> Callable[[Command], Command]:
    """Of commands that leave something behind when a rule is broken."""
    return click.option(
        "--save",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(".redstep"),
        show_default=True,
        help=f"Where {what}.",
    )


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
