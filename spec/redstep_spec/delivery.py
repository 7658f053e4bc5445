"""
Delivery: what becomes of a call between a client and the store, and what the client may then say.

    call ──▶ sent? ──no──▶ Failed: definite, this attempt executed nothing
              │ yes
              ▼
           executed ──▶ reply arrived? ──yes──▶ Replied
                          │ no
                          ▼
               is the call idempotent, and a resend left? ──no──▶ Unknown: it may have been executed
                  │ yes
                  ▼
               the same bytes again, from the top

Two laws. A call that is not idempotent is executed at most once (CM-4, CM-5). An error is definite only when no attempt
can have been executed (CM-9). That the engine forgot its scripts between two calls is never seen (CM-6).
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Generic, TypeVar

from attrs import frozen

State = TypeVar("State")
Reply = TypeVar("Reply")


class Fate(Enum):
    """What becomes of one attempt to have a script executed."""

    DELIVERED = "delivered"
    """Executed, and its reply arrived."""

    NOT_SENT = "not sent"
    """No server was reached: nothing was executed, and the client can tell."""

    REPLY_LOST = "reply lost"
    """Executed, but the connection broke before the reply arrived: the client cannot tell."""

    FLUSHED = "scripts flushed"
    """The engine's script cache was emptied just before the attempt; otherwise delivered."""


@frozen
class Replied(Generic[Reply]):
    """The client has the reply of the last attempt."""

    reply: Reply


@frozen
class Failed:
    """The client has a definite error: nothing was executed."""


@frozen
class Unknown:
    """The client has an ambiguous error: something may have been executed."""


Outcome = Replied[Reply] | Failed | Unknown


def deliver(
    step: Callable[[State], tuple[State, Reply]], state: State, fates: Sequence[Fate], *, resends: int
) -> tuple[State, Outcome[Reply]]:
    """
    Carry one call through the fates of its attempts; after the last one given, attempts are delivered.

    `resends` is how often the call may be sent again after an ambiguous error: 0 unless it is idempotent.
    """
    attempts = [*fates, Fate.DELIVERED][: resends + 1]
    for number, fate in enumerate(attempts):
        if fate is Fate.NOT_SENT:
            return state, Unknown() if number else Failed()
        state, reply = step(state)
        if fate is not Fate.REPLY_LOST:
            return state, Replied(reply)
    return state, Unknown()


def rules_met(fates: Sequence[Fate], *, resends: int) -> tuple[str, ...]:
    """The rules that such a delivery puts to the test, the most specific first."""
    first = fates[0] if fates else Fate.DELIVERED
    if first is Fate.NOT_SENT:
        return ("CM-9",)
    if first is Fate.FLUSHED:
        return ("CM-6",)
    if first is Fate.REPLY_LOST:
        return ("CM-4", "CM-9") if resends else ("CM-4", "CM-5", "CM-9")
    return ()
