"""What the kit knows of one guard, and the ways into an implementation of it."""

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from attrs import frozen

from redstep_check.binding import Target
from redstep_check.engines import Engine
from redstep_check.runs import Bench
from redstep_check.targets.planted import Fault

TargetFactory = Callable[[Engine], Target[Any]]
NAIVE = "naive"


@frozen(kw_only=True)
class Naive:
    """The common script that everybody writes first: a target that must fail."""

    target: TargetFactory
    rule: str
    """The rule that it breaks first."""
    story: int
    """How many calls and clock moves show it."""


@frozen(kw_only=True)
class Guard:
    """What the kit knows of one guard."""

    name: str
    bench: Bench
    model: Callable[[], Target[Any]]
    """The specification itself as a target."""
    clients: Mapping[str, TargetFactory]
    """The shipped implementation: `variant/client`, what it is made of and how it is driven."""
    naive: Naive
    faults: Sequence[Fault]
    """Edits of the shipped text that must be caught."""
    faulty: Callable[[Engine, Fault], Target[Any]]
    """The shipped implementation with a fault in it."""
    kinds: Mapping[str, type]
    """The classes of its moves."""
    tell: Callable[[Any], str]
    """A move as a person would say it."""
    tell_answer: Callable[[object], str]

    @property
    def variants(self) -> list[str]:
        """What the shipped implementation comes as."""
        return list(dict.fromkeys(name.partition("/")[0] for name in self.clients))

    def ways(self, variants: Collection[str], clients: Collection[str]) -> list[str]:
        """Choose among the shipped ones; an empty choice is all."""
        split = [(name, *name.split("/")) for name in self.clients]
        return [
            name
            for name, variant, client in split
            if (not variants or variant in variants) and (not clients or client in clients)
        ]

    def target(self, client: str) -> TargetFactory:
        """Find a way in: a client's name, `naive`, or `module:name`. Raises LookupError with what is wrong."""
        if client == NAIVE:
            return self.naive.target
        if client in self.clients:
            return self.clients[client]
        return foreign_target(client)


def kinds(*classes: type) -> dict[str, type]:
    """The classes of a guard's moves, by the names that stories know them by."""
    named = {each.__name__: each for each in classes}
    if len(named) < len(classes):
        raise ValueError(f"two classes of one name among {sorted(each.__name__ for each in classes)}")
    return named


def foreign_target(path: str) -> TargetFactory:
    """Import somebody's own target. Raises LookupError with what is wrong."""
    module, colon, name = path.partition(":")
    if not colon:
        raise LookupError(f"{path!r} is neither a client nor of the form module:name")
    try:
        factory: TargetFactory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{path!r} cannot be imported: {error}") from error
    return factory
