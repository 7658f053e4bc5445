"""The rate limiter, as the kit knows it."""

from redstep_check.engines import Engine
from redstep_check.guards import rate_limiter as guard
from redstep_check.guards.rate_limiter_simpler import simpler
from redstep_check.machines.rate_limiter import RateLimiterMachine
from redstep_check.models.rate_limiter import ModelRateLimiter
from redstep_check.naive.rate_limiter import NaiveRateLimiter
from redstep_check.registry.guard import Guard, Naive, kinds
from redstep_check.runs import Bench
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.planted.rate_limiter import FAULTS
from redstep_check.targets.rate_limiter import CLIENTS, ProtocolTarget
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Fate
from redstep_spec.properties.rate_limiter import PROPERTIES


def faulty(engine: Engine, fault: Fault) -> ProtocolTarget:
    """The protocols with a fault in them, under the checking driver."""
    return ProtocolTarget(engine, fault.variant, planted(fault, "redstep.rate_limiter"))


GUARD = Guard(
    name=guard.NAME,
    bench=Bench(
        session=guard.RateLimiterSession,
        machine=RateLimiterMachine,
        sometimes=PROPERTIES.sometimes,
        simpler=simpler,
    ),
    model=ModelRateLimiter,
    clients=CLIENTS,
    naive=Naive(target=NaiveRateLimiter, rule="RL-2", story=3),
    faults=FAULTS,
    faulty=faulty,
    kinds=kinds(guard.Called, guard.Removed, Fate, spec.Acquire, spec.Peek, spec.Reset, spec.Limit, spec.Region),
    tell=guard.tell,
    tell_answer=guard.tell_answer,
)
