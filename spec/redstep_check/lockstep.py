"""
Lockstep: the specification and a target take the same step, and must come to the same.

Every move is made on both sides. The replies are compared field by field, and then what is stored, read back through the
target's abstraction function. The first difference ends the session, and names the rule that it breaks.
"""

import sysconfig
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints

import attrs
from attrs import AttrsInstance, frozen

from redstep_check.binding import Answer, Broke, Misused, Target
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Failed, Fate, Outcome, Replied, Unknown
from redstep_spec.properties import Properties, Property

Move = TypeVar("Move")
KIT, LIBRARY = str(Path(__file__).parent), sysconfig.get_path("stdlib")


@frozen
class Told:
    """One line of a story: a move, what the specification expects and what came."""

    move: Any
    expected: object
    answer: object


class Mismatch(AssertionError):
    """A target and the specification differ."""

    def __init__(self, rule: str, what: str, expected: object, actual: object) -> None:
        super().__init__(f"{rule}: {what} is {actual!r} where the specification says {expected!r}")
        self.rule = rule
        self.what = what
        self.expected = expected
        self.actual = actual
        self.story: tuple[Told, ...] = ()


class ImpossibleStory(Exception):
    """A move that no store could make at this point of the story."""


class SpecificationBroken(AssertionError):
    """A step of the specification breaks one of its own properties."""


class Session(ABC, Generic[Move]):
    """The specification of one guard beside one target."""

    def __init__(self, target: Target[Any]) -> None:
        self.target = target
        self.story: list[Told] = []
        self.mismatch: Mismatch | None = None
        """The difference that ended it."""
        self.reached: set[str] = set()
        """The names of the SOMETIMES properties that held."""
        self.fired: Counter[str] = Counter()
        """How often each rule was put to the test."""
        target.begin()

    def play(self, move: Move) -> None:
        """Make a move on both sides. Raises Mismatch, with the story so far."""
        try:
            self._play(move)
        except Mismatch as mismatch:
            mismatch.story = tuple(self.story)
            self.mismatch = mismatch
            raise

    def ask(self, call: Any, fates: Sequence[Fate]) -> Answer:
        """Have the target make a call. That it raises is an answer too, which no rule allows."""
        try:
            return self.target.call(call, fates)
        except Exception as error:  # noqa: BLE001  whatever it is
            return Broke(raised(error))

    def observe(self, properties: Properties[Any], transition: Any, tested: Iterable[str]) -> None:
        """Hold a step of the specification against its properties, and note what it reached and which rules it put to the test.

        Raises SpecificationBroken.
        """
        for always in properties.always:
            if not always.holds(transition):
                raise SpecificationBroken(f"{always.rule} {always.name}: {always.sentence}\n{transition}")
        not_yet = (each for each in properties.sometimes if each.name not in self.reached)
        self.reached |= {each.name for each in not_yet if each.holds(transition)}
        self.fired.update(tested)

    @abstractmethod
    def _play(self, move: Move) -> None:
        """Make a move, append it to the story, and compare."""


def raised(error: BaseException) -> str:
    """An exception in a line: what it says, and the last line of somebody's own that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if not each.filename.startswith(("<", KIT, LIBRARY))]
    place = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{place}"


def applicable(properties: Sequence[Property[Any]], target: Target[Any]) -> list[Property[Any]]:
    """The SOMETIMES properties that a target can reach."""
    can = target.features | {fate.value for fate in target.fates}
    return [each for each in properties if each.needs <= can]


def rules_of(reply: AttrsInstance) -> dict[str, str]:
    """The rule of each observable field of a reply."""
    hints = get_type_hints(type(reply), include_extras=True)
    fields = [each.name for each in attrs.fields(type(reply)) if each.eq]
    return {name: get_args(hints[name])[1] for name in fields if get_origin(hints[name]) is Annotated}


def compare(outcome: Outcome[Any], answer: Answer, fate_rules: tuple[str, ...], decided: frozenset[str]) -> None:
    """Hold an answer against the outcome that the specification gives. Raises Mismatch.

    `fate_rules` are what the fates put to the test: they are to blame when the kinds of outcome differ. `decided` are the
    fields of which the most specific rule of the decision is to blame, not the rule of the field.
    """
    if isinstance(answer, Broke):
        whole = outcome.reply.because[0] if isinstance(outcome, Replied) and not fate_rules else (*fate_rules, "CM-9")[0]
        raise Mismatch(answer.rule or whole, "the answer", outcome, answer)
    if isinstance(outcome, Replied):
        _compare_reply(outcome, answer, fate_rules, decided)
    elif answer != outcome:
        said_too_much = isinstance(outcome, Unknown) and not isinstance(answer, Failed)
        raise Mismatch(fate_rules[0] if said_too_much else "CM-9", "the outcome", outcome, answer)


def _compare_reply(outcome: Replied[Any], answer: Answer, fate_rules: tuple[str, ...], decided: frozenset[str]) -> None:
    reply = outcome.reply
    values: Any = {"argument": answer.argument} if isinstance(answer, Misused) else getattr(answer, "values", None)
    is_misuse = isinstance(reply, Misuse)
    if values is None or is_misuse != isinstance(answer, Misused):
        blamed = reply.because if is_misuse or isinstance(answer, Misused) else (*fate_rules, *reply.because)
        raise Mismatch(blamed[0], "the outcome", reply, answer)
    for name, rule in rules_of(reply).items():
        expected = getattr(reply, name)
        if name in values and values[name] != expected:
            raise Mismatch(reply.because[0] if name in decided else rule, name, expected, values[name])
