"""
Protocols without I/O, and what they may wish for.

An operation of a guard is a generator. It yields a wish, and is sent what the wish came to, or has the error thrown in:

        protocol ──wish──▶ driver ──▶ Redis, clocks, randomness, the caller's own code
                 ◀─outcome─

No protocol reads a clock, draws a number or touches a socket itself. So the same protocol runs under a thread, under asyncio,
and under a checker that decides who goes next, whether a reply is lost, and what time it is.

A cancellation (any BaseException that is no Exception) is thrown in at the wish that is waited for. What the protocol wishes
after that is compensation: drivers carry it out shielded, within a bounded time, and then the cancellation goes on, whatever
the protocol returned.
"""

from collections.abc import Callable, Generator
from enum import Enum
from typing import Any, TypeVar

from attrs import frozen

from redstep.scripts import Script


class Now(Enum):
    """A placeholder that is filled when the request is executed, not when it is made."""

    NOW = "now"


NOW = Now.NOW
Argument = str | bytes | int | Now


class Store(Enum):
    """Which deployment a request is for."""

    HOME = "home"
    """The one that the client was made for."""
    GLOBAL = "global"
    """The one that all regions share."""


@frozen(kw_only=True)
class CallScript:
    """Have a script executed. Comes to its reply, a list of int and bytes.

    Errors: Unavailable, Corrupt, ServiceOverloaded.
    """

    script: Script
    keys: tuple[str, ...]
    args: tuple[Argument, ...]
    idempotent: bool
    """Whether the same request may be sent again when it is unknown whether it was executed."""
    finishes: bool = False
    """Whether a cancellation waits for its reply, within a bounded time, and is thrown in at the wish after it: for what gives
    something that must be given back. A thread can't wait so: there, the reply is lost."""
    store: Store = Store.HOME


@frozen
class Sleep:
    """Let time pass. Comes to None."""

    ms: int


@frozen
class ReadClock:
    """Read this process's monotonic clock. Comes to an int, in ms."""


@frozen
class DrawInteger:
    """Draw an integer, each in [least, most] alike likely. Comes to an int."""

    least: int
    most: int


@frozen
class DrawBytes:
    """Draw bytes that nobody can guess. Comes to bytes."""

    size: int


@frozen
class RunWork:
    """Run the caller's own function; under asyncio, await what it returns. Comes to its result or its exception."""

    work: Callable[[], Any]


@frozen
class Announce:
    """Tell listeners, in order; what they raise is logged and goes no further. Comes to None."""

    listeners: tuple[Callable[[Any], Any], ...]
    event: object


@frozen
class GoOn:
    """Go on, unless cancelled meanwhile. Comes to None."""


Wish = CallScript | Sleep | ReadClock | DrawInteger | DrawBytes | RunWork | Announce | GoOn

T = TypeVar("T")
Protocol = Generator[Wish, Any, T]
