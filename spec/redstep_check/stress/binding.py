"""
Binding: what a stress run needs of an implementation, for its clients and for judging what they leave behind.

`Clients` is made anew in every process, one for all its threads or tasks. It calls the implementation's public methods, and
tells what they came to by names. `Tongue` is used afterwards: it knows what a script call means and what its reply says.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from attrs import field, frozen

from redstep_check.binding import Answer
from redstep_check.engines import Engine
from redstep_check.stress.counting import Tick
from redstep_check.stress.logs import Log
from redstep_spec.delivery import Outcome

Values = dict[str, Any]
"""What is asked or told, by name: numbers, texts, truth values and bytes."""

# ---------------------------------------------------------------------------------------------- while it runs


@frozen(kw_only=True)
class Where:
    """How connections to an engine are made; another process may make them too."""

    kind: type
    async_kind: type
    settings: Mapping[str, Any]


@frozen(kw_only=True)
class Surroundings:
    """What clients are made in."""

    variant: str
    bug: str
    """The name of the bug that is planted in them; empty for none."""
    is_async: bool
    name: str
    """Of the process; others have other names."""
    where: Where
    prefix: str
    clock: Callable[[], int] | None
    """Explicit, in ms; None for the engine's own."""
    tick: Tick
    log: Log


class Clients(ABC):
    """The clients of one process. Safe to share between its threads, or its tasks."""

    @abstractmethod
    def draw(self, chance: Random, key: str) -> Values:
        """Draw what a caller asks for next, about a key."""

    @abstractmethod
    def begin(self, name: str, key: str, call: Values) -> Any:
        """Call a public method; return what it returns: under asyncio an awaitable. `name` is that of this operation."""

    @abstractmethod
    def told(self, result: Any) -> Values:
        """What a method returned, by name."""

    @abstractmethod
    def raised(self, error: Exception) -> tuple[str, Values]:
        """What a method raised: the outcome, and what it says by name."""

    @abstractmethod
    def close(self) -> Any:
        """Close all connections; under asyncio to be awaited."""


# ---------------------------------------------------------------------------------------------- afterwards


class Tongue(ABC):
    """What goes over the wire, in the terms of the specification."""

    @abstractmethod
    def understood(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> Any:
        """The call of the specification that a script call is; its script is named by its SHA-1. Raises ValueError."""

    @abstractmethod
    def read(self, call: Any, reply: Any) -> Answer:
        """What a reply says, by the names of the specification's reply fields."""

    @abstractmethod
    def key(self, redis_key: bytes) -> str:
        """The part of the object that a key of the engine belongs to."""

    def stored(self, key: str) -> Any:
        """What is stored in the end, if laws ask for it. Raises Unreadable."""
        del key
        return None

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""


@frozen(eq=False)
class Said:
    """What an implementation said; equal to every reply of the specification that says the same, and may say more."""

    values: Mapping[str, Any]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Said):
            return dict(self.values) == dict(other.values)
        return all(getattr(other, name, _NOTHING) == value for name, value in self.values.items())

    __hash__ = None  # type: ignore[assignment]


_NOTHING = object()


@frozen(kw_only=True)
class Request:
    """One script call, and what its client heard."""

    lane: str
    operation: str
    key: str
    call: Any
    """Of the specification."""
    asked_at: int
    heard_at: int | None
    """None if its client never went on."""
    outcome: Outcome[Said]

    @property
    def says(self) -> Mapping[str, Any]:
        """What it was answered, by name; nothing if it was not."""
        said = getattr(self.outcome, "reply", None)
        return said.values if isinstance(said, Said) else {}


@frozen(kw_only=True)
class Operation:
    """One call of a public method."""

    name: str
    client: str
    key: str
    call: Values
    began_at: int
    ended_at: int | None
    """None if its process was killed."""
    outcome: str
    """`answered`, `failed`, `unknown` or `broke`; of one that was killed, `unknown`."""
    values: Values
    requests: tuple[Request, ...] = field(default=(), repr=False)
    """Those that were sent on its behalf, in order."""
    works: tuple[tuple[int, Values], ...] = ()
    """What its work did, with the places."""


@frozen(kw_only=True)
class Part:
    """All that happened to one key."""

    key: str
    requests: tuple[Request, ...]
    operations: tuple[Operation, ...]
    stored: Any = None


@frozen(kw_only=True)
class Finding:
    """A rule that is broken."""

    rule: str
    problem: str
    part: Part
    about: frozenset[str] = frozenset()
    """The names of the operations that it is about."""


Law = Callable[[Part], Iterator[Finding]]
"""What must hold of all that happened to one key."""


@frozen(kw_only=True)
class Planted:
    """A known bug: clients that have it must be found out."""

    name: str
    rules: frozenset[str]
    """Those that it breaks, in one schedule or another."""
    variant: str
    needs_kills: bool = False


@frozen(kw_only=True)
class Stressed:
    """A guard under stress."""

    name: str
    variants: tuple[str, ...]
    clients: Callable[[Surroundings], Clients]
    tongue: Callable[[Engine, str, str, str], Tongue]
    """Of an engine, a variant, a bug or nothing, and the prefix of the run. Raises Unsupported."""
    sequential: Any
    """The specification, as `redstep_check.interleavings.binding.Sequential`."""
    only_reads: Callable[[Any, Said], bool]
    """As in `linearizability.Model`."""
    laws: tuple[Law, ...]
    one_sided: tuple[Law, ...] = ()
    """Those that hold under the engine's own clock too, where `laws` would need the time of requests of unknown outcome."""
    facts: Callable[[Request], Iterator[str]]
    """What contention came to, request by request."""
    must: Mapping[str, tuple[str, ...]]
    """Of each variant, the facts without which a run says nothing."""
    agrees: Callable[[Any, Any, Any], bool] = field(default=lambda _before, _after, _stored: True)
    """
    Whether a step from one state to another may have led to what was stored in the end: a last observation, which spares the
    search the orders that it excludes.
    """
    knows_time: bool = True
    """Whether its steps depend on the time; if not, it is judged in full under any clock."""
    bugs: tuple[Planted, ...] = ()
    keys: int = 2
    """How many are in use at once."""
    per_key: int = 60
    """How many operations a key sees, about."""
