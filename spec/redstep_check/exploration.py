"""
Exploration: every state that a specification can reach in a small world, breadth first.

A world is a pure description: where it starts, what may be called in a state, how a state and a step are called by name. What
comes of it are figures, and the state diagram of a guard, drawn from the steps that its specification really takes.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen

State = TypeVar("State", bound=Hashable)

STATES_MAX = 100_000
"""How many states are looked at before an exploration is cut."""


@frozen(kw_only=True)
class World(Generic[State]):
    """A small world: all that may happen in it."""

    initial: State
    calls: Callable[[State], Iterable[Any]]
    step: Callable[[State, Any], tuple[State, Any]]
    kind: Callable[[State], str]
    """The name of a state, as a diagram shows it."""
    label: Callable[[Any, Any], str]
    """The name of a step, by its call and its reply; empty for one that a diagram leaves out."""


@frozen
class Step(Generic[State]):
    """One step that the specification takes."""

    before: State
    call: Any
    after: State
    reply: Any


@define
class Explored(Generic[State]):
    """What an exploration came to."""

    depth: dict[State, int] = field(factory=dict)
    """The states that were reached, and in how many steps."""
    steps: int = 0
    exhausted: bool = False
    """Whether there is no state left to look at: all of them were, or it was cut."""
    edges: dict[tuple[str, str], dict[str, None]] = field(factory=dict)
    """Between which kinds of states steps lead, and how they are called."""


def explore(world: World[State], *, states_max: int = STATES_MAX) -> Explored[State]:
    """Look at every state that can be reached, each once."""
    found = Explored[State](depth={world.initial: 0})
    for step in steps(world, found, states_max):
        found.steps += 1
        if name := world.label(step.call, step.reply):
            found.edges.setdefault((world.kind(step.before), world.kind(step.after)), {})[name] = None
    return found


def steps(world: World[State], found: Explored[State], states_max: int) -> Iterator[Step[State]]:
    """Take every step there is, breadth first; the states are noted on the way."""
    waiting = deque(found.depth)
    while waiting:
        before = waiting.popleft()
        for call in world.calls(before):
            after, reply = world.step(before, call)
            if after not in found.depth:
                if len(found.depth) >= states_max:
                    return
                found.depth[after] = found.depth[before] + 1
                waiting.append(after)
            yield Step(before, call, after, reply)
    found.exhausted = True


def diagram(edges: Mapping[tuple[str, str], Iterable[str]], initial: str) -> str:
    """Draw the kinds of states and the steps between them, for Mermaid."""
    lines = ["stateDiagram-v2", f"    [*] --> {_id(initial)}"]
    kinds = dict.fromkeys(kind for edge in edges for kind in edge)
    lines += [f'    state "{kind}" as {_id(kind)}' for kind in kinds if _id(kind) != kind]
    lines += [f"    {_id(before)} --> {_id(after)}: {'<br/>'.join(names)}" for (before, after), names in edges.items()]
    return "```mermaid\n" + "\n".join(lines) + "\n```\n"


def _id(kind: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in kind)
