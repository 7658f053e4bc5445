"""Limits across regions, as the kit knows them."""

from redstep_check.engines import Engine
from redstep_check.guards import regions as guard
from redstep_check.machines.regions import RegionsMachine
from redstep_check.models.regions import ModelRegions
from redstep_check.naive.regions import NaiveRegions
from redstep_check.registry.guard import Guard, Naive, kinds
from redstep_check.runs import Bench
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.planted.regions import FAULTS
from redstep_check.targets.regions import CLIENTS, RegionsTarget
from redstep_spec import rate_limiter as rl
from redstep_spec import regions as spec
from redstep_spec.delivery import Fate
from redstep_spec.properties.regions import PROPERTIES


def faulty(engine: Engine, fault: Fault) -> RegionsTarget:
    """The protocols with a fault in them."""
    return RegionsTarget(engine, engine, fault.variant, planted(fault, "redstep.regions"))


GUARD = Guard(
    name=guard.NAME,
    bench=Bench(session=guard.RegionsSession, machine=RegionsMachine, sometimes=PROPERTIES.sometimes, simpler=guard.simpler),
    model=ModelRegions,
    clients=CLIENTS,
    naive=Naive(target=NaiveRegions, rule="RL-10", story=2),
    faults=FAULTS,
    faulty=faulty,
    kinds=kinds(guard.Asked, Fate, spec.RegionalAcquire, rl.Acquire, rl.Limit),
    tell=guard.tell,
    tell_answer=guard.tell_answer,
)
