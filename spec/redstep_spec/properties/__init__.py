"""
Properties: named sentences about one step of the specification.

ALWAYS holds in every step, or the specification itself is wrong. SOMETIMES must be reached, or a run has not seen what it is
about; each names the features that a target needs for it, so that a smaller target is judged by what it can do.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import field, frozen

T = TypeVar("T")
Predicate = Callable[[T], bool]


@frozen
class Property(Generic[T]):
    """A sentence, the rule it belongs to, and the predicate that decides it."""

    name: str
    rule: str
    sentence: str
    holds: Predicate[T]
    needs: frozenset[str] = frozenset()


@frozen
class Properties(Generic[T]):
    """The properties of one guard, collected by decorating their predicates."""

    always: list[Property[T]] = field(factory=list)
    sometimes: list[Property[T]] = field(factory=list)

    def holds_always(self, rule: str) -> Callable[[Predicate[T]], Predicate[T]]:
        """Declare that a predicate holds in every step."""
        return lambda predicate: _declared(self.always, predicate, rule, ())

    def holds_sometimes(self, rule: str, *needs: str) -> Callable[[Predicate[T]], Predicate[T]]:
        """Declare that a predicate must hold in some step, given these features of the target."""
        return lambda predicate: _declared(self.sometimes, predicate, rule, needs)


def _declared(properties: list[Property[T]], predicate: Predicate[T], rule: str, needs: tuple[str, ...]) -> Predicate[T]:
    sentence = (predicate.__doc__ or "").partition("\n")[0]
    properties.append(Property(predicate.__name__, rule, sentence, predicate, frozenset(needs)))
    return predicate
