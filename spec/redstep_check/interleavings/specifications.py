"""
The specifications' own small worlds, explored breadth first: how many states there are, and what holds in all their steps.

Each step is taken under several fates, and held against the guard's properties: the ALWAYS must hold, and it is told which of
the SOMETIMES were reached. A small world has no misuse in it and no second policy, so the others belong to the machines alone.
The properties of some guards also speak of what changes nothing, as reading and verifying: they are held against each state.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field, frozen

from redstep_check.exploration import STATES_MAX, Explored, Step, World, steps
from redstep_check.guards import audit_chain as chain_guard
from redstep_check.guards import circuit_breaker as breaker_guard
from redstep_check.guards import idempotency as idempotency_guard
from redstep_check.guards import rate_limiter as limiter_guard
from redstep_check.interleavings import specified_chains
from redstep_check.lockstep import SpecificationBroken
from redstep_spec.delivery import Fate
from redstep_spec.properties import Property, idempotency_seen
from redstep_spec.properties import audit_chain as chain_properties
from redstep_spec.properties import circuit_breaker as breaker_properties
from redstep_spec.properties import circuit_breaker_seen as breaker_seen
from redstep_spec.properties import idempotency as idempotency_properties
from redstep_spec.properties import rate_limiter as limiter_properties
from redstep_spec.worlds import audit_chain, circuit_breaker, idempotency, rate_limiter

FATES: tuple[tuple[Fate, ...], ...] = (
    (),
    (Fate.REPLY_LOST,),
    (Fate.NOT_SENT,),
    (Fate.FLUSHED,),
    (Fate.REPLY_LOST, Fate.REPLY_LOST),
)
Transitions = Callable[[Step[Any]], Iterator[Any]]


@frozen(kw_only=True)
class Small:
    """A small world, and the properties of its steps."""

    world: World[Any]
    always: tuple[Property[Any], ...]
    sometimes: tuple[Property[Any], ...]
    transitions: Transitions
    """What the properties speak of, for one step."""
    standing: Callable[[Iterable[Any]], Iterator[Any]] = field(default=lambda _states: iter(()))
    """And for all states, whatever happens next."""


@define
class Known:
    """What an exploration came to."""

    states: int
    steps: int
    depth: int
    exhausted: bool
    kinds: Counter[str]
    """How many states there are of each kind."""
    always: int
    """How many properties held in all steps."""
    reached: list[str]
    missed: list[str]


def known(small: Small) -> Known:
    """Explore a small world. Raises SpecificationBroken."""
    found = Explored[Any](depth={small.world.initial: 0})
    waiting = {each.name: each for each in small.sometimes}
    taken = 0

    def judge(transition: Any) -> None:
        for always in small.always:
            if not always.holds(transition):
                raise SpecificationBroken(f"{always.rule} {always.name}: {always.sentence}\n{transition}")
        for name in [name for name, each in waiting.items() if each.holds(transition)]:
            del waiting[name]

    for step in steps(small.world, found, STATES_MAX):
        taken += 1
        for transition in small.transitions(step):
            judge(transition)
    for transition in small.standing(found.depth):
        judge(transition)
    return Known(
        states=len(found.depth),
        steps=taken,
        depth=max(found.depth.values()),
        exhausted=found.exhausted,
        kinds=Counter(map(small.world.kind, found.depth)),
        always=len(small.always),
        reached=[each.name for each in small.sometimes if each.name not in waiting],
        missed=list(waiting),
    )


def _world(module: Any) -> World[Any]:
    return World(initial=module.INITIAL, calls=module.calls, step=module.step, kind=module.kind, label=module.label)


def _of_limiter(step: Step[Any]) -> Iterator[limiter_properties.Transition]:
    if isinstance(step.call, rate_limiter.Tick):
        return
    for fates in FATES:
        after, outcome = limiter_guard.expected(step.before, step.call, fates)
        yield limiter_properties.Transition(before=step.before, call=step.call, fates=fates, outcome=outcome, after=after)


def _of_breaker(step: Step[Any]) -> Iterator[breaker_properties.Transition]:
    for fates in FATES:
        after, outcome = breaker_guard.expected(step.before, step.call, fates)
        yield breaker_properties.Transition(before=step.before, call=step.call, fates=fates, outcome=outcome, after=after)


def _of_idempotency(step: Step[Any]) -> Iterator[idempotency_properties.Transition]:
    if isinstance(step.call, idempotency.Tick):
        return
    before = step.before.state
    for fates in FATES:
        after, outcome = idempotency_guard.expected(before, step.call, fates)
        yield idempotency_properties.Transition(before=before, call=step.call, fates=fates, outcome=outcome, after=after)


WORLDS: dict[str, Small] = {
    "rate-limiter": Small(
        world=_world(rate_limiter),
        always=tuple(limiter_properties.PROPERTIES.always),
        sometimes=tuple(limiter_properties.PROPERTIES.sometimes),
        transitions=_of_limiter,
    ),
    "circuit-breaker": Small(
        world=_world(circuit_breaker),
        always=tuple(breaker_properties.PROPERTIES.always),
        sometimes=tuple(breaker_seen.PROPERTIES.sometimes),
        transitions=_of_breaker,
    ),
    "audit-chain": Small(
        world=_world(audit_chain),
        always=tuple(chain_properties.PROPERTIES.always),
        sometimes=tuple(chain_guard.SEEN.sometimes),
        transitions=specified_chains.of_step,
        standing=specified_chains.of_states,
    ),
    "idempotency": Small(
        world=_world(idempotency),
        always=tuple(idempotency_properties.PROPERTIES.always),
        sometimes=tuple(idempotency_seen.PROPERTIES.sometimes),
        transitions=_of_idempotency,
    ),
}
