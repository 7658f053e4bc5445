"""Histories made by hand."""

from typing import Any

from redstep_check.stress.binding import Operation, Part, Request, Said
from redstep_check.stress.logs import ANSWERED
from redstep_spec.delivery import Outcome, Replied, Unknown


def request(call: Any, asked_at: int, heard_at: int | None, operation: str = "", **says: Any) -> Request:
    """A request; without `says` nobody heard what it came to."""
    outcome: Outcome[Said] = Replied(Said(says)) if says else Unknown()
    return Request(
        lane=f"lane{asked_at}",
        operation=operation,
        key="a",
        call=call,
        asked_at=asked_at,
        heard_at=heard_at,
        outcome=outcome,
    )


def operation(name: str, began_at: int, ended_at: int | None, fate: str = ANSWERED, **values: Any) -> Operation:
    """A public operation."""
    return Operation(
        name=name,
        client=name.partition("/")[0],
        key="a",
        call={"do": "it"},
        began_at=began_at,
        ended_at=ended_at,
        outcome=fate,
        values=values,
    )


def part(*requests: Request, operations: tuple[Operation, ...] = (), stored: Any = None) -> Part:
    """What happened to one key."""
    return Part(key="a", requests=requests, operations=operations, stored=stored)
