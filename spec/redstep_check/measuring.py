"""
Measuring: how often each rule was put to the test, how often each property held, and which planted faults were caught.

It is measured in runs of a fixed seed on the default engine, so anybody can measure it again. The figures are kept in a file
beside the specification, from which the tables of its README are made.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from redstep_check import engines
from redstep_check.engines import Engine
from redstep_check.registry import GUARDS
from redstep_check.registry.guard import Guard
from redstep_check.runs import Budget, Result, run
from redstep_check.targets.planted import Fault

SEED = 7


@frozen(kw_only=True)
class Run:
    """What one run of a guard came to."""

    guard: str
    client: str
    examples: int
    steps: int
    fired: Mapping[str, int]
    """How often each rule was put to the test."""
    reached: Mapping[str, int]
    """In how many examples each property held."""


@frozen(kw_only=True)
class Measured:
    """All figures."""

    seed: int
    engine: str
    runs: tuple[Run, ...]
    caught: Mapping[str, str]
    """The rule that was named, for each planted fault by `guard: name`; empty for one that was not caught."""

    @property
    def fired(self) -> Counter[str]:
        """How often each rule was put to the test in all runs."""
        return sum((Counter(each.fired) for each in self.runs), Counter[str]())

    @property
    def reached(self) -> Counter[str]:
        """In how many examples of all runs each property held."""
        return sum((Counter(each.reached) for each in self.runs), Counter[str]())


def faults() -> dict[str, tuple[Guard, Fault]]:
    """All faults that lockstep must catch, by `guard: name`."""
    return {f"{guard.name}: {fault.name}": (guard, fault) for guard in GUARDS.values() for fault in guard.faults}


def measure() -> Measured:
    """Run it all; it takes a few minutes."""
    with engines.open_engine(engines.DEFAULT) as engine:
        runs = tuple(_run(engine, guard, way) for guard in GUARDS.values() for way in guard.ways((), ("protocol",)))
        caught = {name: _rule_named(engine, guard, fault) for name, (guard, fault) in faults().items()}
        return Measured(seed=SEED, engine=engine.version, runs=runs, caught=caught)


def _run(engine: Engine, guard: Guard, way: str) -> Run:
    target = guard.target(way)(engine)
    try:
        result = run(guard.bench, target, Budget(seed=SEED))
    finally:
        target.close()
    return Run(
        guard=guard.name,
        client=way,
        examples=result.examples,
        steps=result.steps,
        fired=dict(sorted(result.fired.items())),
        reached=dict(sorted(result.reached.items())),
    )


def _rule_named(engine: Engine, guard: Guard, fault: Fault) -> str:
    target = guard.faulty(engine, fault)
    try:
        result: Result = run(guard.bench, target, Budget(seed=SEED))
    finally:
        target.close()
    return result.mismatch.rule if result.mismatch else ""


def save(measured: Measured, path: Path) -> None:
    """Write the figures."""
    path.write_text(json.dumps(asdict(measured), indent=1) + "\n", encoding="ascii")


def load(path: Path) -> Measured:
    """Read the figures."""
    content: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    return Measured(runs=tuple(Run(**each) for each in content.pop("runs")), **content)
