"""Telling: a story of several clients, a column for each of them."""

from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from redstep_check.binding import Answered, Broke, Misused
from redstep_check.interleavings.binding import Interrupted, Sequential
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Move, Settles
from redstep_check.lockstep import Mismatch
from redstep_spec.delivery import Failed, Unknown


def tell(sequential: Sequential, move: Move) -> str:
    """A move as a person would say it."""
    match move:
        case Begins(client, operation):
            return f"{client} begins to {sequential.tell(operation)}"
        case Goes(client, fate):
            return f"{client} goes on" if fate is Fate.DELIVERED else f"{client}: {fate.value}"
        case Arrives(which):
            return f"late request {which} arrives"
        case Settles():
            return "all go on in turn"


def tell_answer(sequential: Sequential, answer: Any) -> str:
    """What one side says to a move."""
    match answer:
        case None:
            return ""
        case Failed():
            return "fails, definitely"
        case Unknown():
            return "fails, outcome unknown"
        case Interrupted():
            return "is interrupted"
        case Misused(argument):
            return f"misuse of {argument}"
        case Broke(problem):
            return f"error: {problem}"
        case Answered(values):
            return ", ".join(f"{name} {value}" for name, value in values.items() if not name.endswith("_ms")) or "done"
    return sequential.tell_reply(answer)


def timeline(sequential: Sequential, mismatch: Mismatch) -> RenderableType:
    """Draw the moves in order, each in its client's column; the last is the one that differs."""
    moves = [told.move for told in mismatch.story]
    clients = sorted({move.client for move in moves if isinstance(move, Begins | Goes)})
    view = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    view.add_column("")
    view.add_column("at", justify="right", no_wrap=True)
    for client in clients:
        view.add_column(f"client {client}")
    view.add_column("store")
    view.add_column("specification")
    view.add_column("answer")
    for told in mismatch.story:
        is_last = told is mismatch.story[-1]
        cells = [_cell(sequential, told.move, client) for client in clients]
        store = tell(sequential, told.move) if isinstance(told.move, Arrives | Settles) else ""
        both = (_said(sequential, told.expected, is_last=is_last), _said(sequential, told.answer, is_last=is_last))
        style = "bold red" if is_last else ""
        view.add_row("x" if is_last else "", f"{told.move.now_ms} ms", *map(Text, (*cells, store, *both)), style=style)
    return view


def _cell(sequential: Sequential, move: Move, client: int) -> str:
    match move:
        case Begins(own, operation) if own == client:
            return f"┌ {sequential.tell(operation)}"
        case Goes(own, fate) if own == client:
            return "│ goes on" if fate is Fate.DELIVERED else f"│ {fate.value}"
        case _:
            return ""


def _said(sequential: Sequential, answer: Any, *, is_last: bool) -> str:
    text = tell_answer(sequential, answer)
    return text if is_last or len(text) <= 40 else f"{text[:37]}..."
