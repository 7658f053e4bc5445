"""
Binding: what the kit needs of an implementation in order to check it.

A target is told a call of the specification, carries it out on the implementation, and answers what the caller of that
implementation would have seen. It may answer less than the specification says (only `allowed`, say): what it leaves out is not
compared. What it cannot do at all it leaves out of its features, and is then neither asked for it nor judged by it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from redstep_spec.delivery import Failed, Fate, Unknown

Call = TypeVar("Call")
_sessions = count(1)


def session_prefix(prefix: str) -> str:
    """Extend a key prefix to one that no other session of this process uses."""
    return f"{prefix}{next(_sessions)}:"


@frozen
class Answered:
    """The implementation answered; by the names of the specification's reply fields."""

    values: Mapping[str, object]


@frozen
class Misused:
    """The implementation blames the caller, before it sent anything."""

    argument: str


@frozen
class Broke:
    """The implementation failed in a way that no rule allows."""

    problem: str
    rule: str | None = None
    """The rule that it breaks; None if that of the step as a whole."""


Answer = Answered | Misused | Failed | Unknown | Broke


class Unsupported(Exception):
    """A target cannot run on an engine; the text is the reason."""


class Unreadable(Exception):
    """What is stored is not of the form that the abstraction function reads."""


@frozen
class Stored:
    """What is stored for one key, as the specification sees it."""

    state: Any
    """The abstract state, in the specification's terms."""
    size: int
    """How many entries there are, dead ones included."""
    ttl_ms: int | None
    """The time to live; None for none, or when nothing is stored."""
    raw: object = field(repr=False)
    """All of it, so that *not a byte* can be told."""


class Target(ABC, Generic[Call]):
    """An implementation bound to the kit. Subclass it; only `call` is a must."""

    features: frozenset[str] = frozenset()
    """What it can do beyond the least; each guard lists its own."""
    fates: frozenset[Fate] = frozenset({Fate.DELIVERED})
    """What it can let become of an attempt."""

    @abstractmethod
    def call(self, call: Call, fates: Sequence[Fate]) -> Answer:
        """Carry a call out; `fates` are those of its attempts, the later ones delivered."""

    def begin(self) -> None:
        """Start anew with an empty store. The least way is another key prefix."""

    def stored(self, *key: Any) -> Stored | None:
        """Read what is stored, with the feature `stored`. Raises Unreadable."""
        raise NotImplementedError

    def remove(self, *key: Any) -> None:
        """Remove what is stored as if its TTL had run out, with the feature `stored`."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what the target holds."""
