"""A limiter behind a breaker, as the kit knows it."""

from redstep_check.engines import Engine
from redstep_check.guards import store_failure as guard
from redstep_check.machines.store_failure import StoreFailureMachine
from redstep_check.models.store_failure import ModelStoreFailure
from redstep_check.naive.store_failure import NaiveFailure
from redstep_check.registry.guard import Guard, Naive, kinds
from redstep_check.runs import Bench
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.planted.store_failure import FAULTS
from redstep_check.targets.store_failure import CLIENTS, StoreFailureTarget
from redstep_spec import circuit_breaker as cb
from redstep_spec import rate_limiter as rl
from redstep_spec import store_failure as spec
from redstep_spec.properties.store_failure import PROPERTIES


def faulty(engine: Engine, fault: Fault) -> StoreFailureTarget:
    """The protocols with a fault in them."""
    return StoreFailureTarget(engine, fault.variant, planted(fault, "redstep.regions"))


GUARD = Guard(
    name=guard.NAME,
    bench=Bench(
        session=guard.StoreFailureSession,
        machine=StoreFailureMachine,
        sometimes=PROPERTIES.sometimes,
        simpler=guard.simpler,
    ),
    model=ModelStoreFailure,
    clients=CLIENTS,
    naive=Naive(target=NaiveFailure, rule="RL-12", story=2),
    faults=FAULTS,
    faulty=faulty,
    kinds=kinds(guard.Asked, spec.GuardedAcquire, spec.OnFailure, spec.Store, rl.Acquire, rl.Limit, cb.Policy),
    tell=guard.tell,
    tell_answer=guard.tell_answer,
)
