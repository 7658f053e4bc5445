"""
Moves: what a schedule is made of.

    begin ──▶ asks ──┬─ delivered ─────────────▶ goes on          ──▶ ... ──▶ ends
                     ├─ held ─▶ executed ─┬─ delivered ─▶ goes on
                     │                    ├─ reply lost, cancelled, overtaken ─▶ goes on, otherwise
                     │                    └─ crashed
                     ├─ reply lost, not sent, adrift, twice, flushed ─▶ goes on, otherwise
                     ├─ cancelled, abandoned ─▶ compensates
                     └─ crashed
                                 adrift, abandoned ─ ─ ─▶ arrives: it is executed after all

Every move carries the store's time, so the clock is one more actor: it goes on whenever a later move says so.
"""

from enum import Enum
from typing import Any

from attrs import field, frozen
from attrs.validators import and_, ge, instance_of, lt

CLIENTS_MAX = 64
"""Far more than can be explored."""
INSTANTS_MAX_MS = 2**53
"""As far as a script can count exactly."""


class Fate(Enum):
    """What becomes of what a client waits for."""

    DELIVERED = "delivered"
    """Executed if it was not yet, and the reply arrives. Of a pause: it is over."""

    HELD = "held"
    """Executed; its reply is on its way."""

    REPLY_LOST = "reply lost"
    """Executed, but the client hears that nobody knows."""

    NOT_SENT = "not sent"
    """Not executed, and the client can tell."""

    ADRIFT = "adrift"
    """Not executed yet: the client hears that nobody knows, and the request may arrive later."""

    TWICE = "twice"
    """Executed, and once more; the second reply arrives."""

    FLUSHED = "scripts flushed"
    """The engine has forgotten its scripts just before; otherwise delivered."""

    CANCELLED = "cancelled"
    """The client is interrupted; what was executed has a reply that nobody reads."""

    ABANDONED = "abandoned"
    """Not executed yet: the client is interrupted, and the request may arrive later, even after what makes up for it."""

    OVERTAKEN = "overtaken"
    """The client is interrupted, and hears of it after the reply."""

    CRASHED = "crashed"
    """The client is gone for good."""


HARMLESS = frozenset({Fate.DELIVERED, Fate.HELD})
"""The fates that are no faults."""


a_client = and_(instance_of(int), ge(0), lt(CLIENTS_MAX))
an_instant = and_(instance_of(int), ge(0), lt(INSTANTS_MAX_MS))
a_place = and_(instance_of(int), ge(0))


@frozen
class Begins:
    """A client begins an operation, and goes as far as it can alone."""

    client: int = field(validator=a_client)
    operation: Any
    now_ms: int = field(validator=an_instant)


@frozen
class Goes:
    """Something becomes of what a client waits for, and it goes on."""

    client: int = field(validator=a_client)
    fate: Fate = field(validator=instance_of(Fate))
    now_ms: int = field(validator=an_instant)


@frozen
class Arrives:
    """A request that its client has given up is executed."""

    which: int = field(validator=a_place)
    """In the order in which they went adrift."""
    now_ms: int = field(validator=an_instant)


@frozen
class Settles:
    """All clients go on to their ends, one after the other and without a fault; then the history is judged."""

    now_ms: int = field(validator=an_instant)


Move = Begins | Goes | Arrives | Settles
KINDS = (Begins, Goes, Arrives, Settles, Fate)
"""Classes that occur in a story."""
