"""Properties, attacked: what the tests of every guard's properties assert of them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from redstep_spec.properties import Property
from redstep_spec.rules import RULES

T = TypeVar("T")


def names(properties: Iterable[Property[T]]) -> list[str]:
    """What they are called."""
    return [each.name for each in properties]


def called(name: str, properties: Iterable[Property[T]]) -> Property[T]:
    """The one of that name."""
    [found] = (each for each in properties if each.name == name)
    return found


def assert_well_said(properties: Collection[Property[T]], operations: tuple[str, ...] = ()) -> None:
    """Each has a rule; its sentence begins with a capital or an operation, and ends with a full stop; names are unique."""
    assert len(set(names(properties))) == len(properties)
    for each in properties:
        assert each.rule in RULES, each.name
        assert each.sentence[0].isupper() or each.sentence.startswith(operations), each.name
        assert each.sentence.endswith("."), each.name


def assert_told_apart(found: Property[T], right: T, wrong: T) -> None:
    """It holds of the one, and not of the other."""
    assert found.holds(right)
    assert not found.holds(wrong)


def assert_obeyed(always: Iterable[Property[T]], examples: Mapping[str, Sequence[T]]) -> None:
    """Every step of the examples is one that the specification may take."""
    for each in always:
        for name, steps in examples.items():
            assert all(map(each.holds, steps)), (name, each.name)
