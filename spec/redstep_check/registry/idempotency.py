"""The idempotency store, as the kit knows it."""

from redstep_check.engines import Engine
from redstep_check.guards import idempotency as guard
from redstep_check.guards.idempotency_simpler import simpler
from redstep_check.machines.idempotency import IdempotencyMachine
from redstep_check.models.idempotency import ModelIdempotency
from redstep_check.naive.idempotency import NaiveIdempotency
from redstep_check.registry.guard import Guard, Naive, kinds
from redstep_check.runs import Bench
from redstep_check.targets.idempotency import CLIENTS, ProtocolTarget
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.planted.idempotency import FAULTS
from redstep_spec import idempotency as spec
from redstep_spec.delivery import Fate
from redstep_spec.properties.idempotency_seen import PROPERTIES


def faulty(engine: Engine, fault: Fault) -> ProtocolTarget:
    """The protocols with a fault in them, under the checking driver."""
    return ProtocolTarget(engine, planted(fault, "redstep.idempotency_protocols"))


GUARD = Guard(
    name=guard.NAME,
    bench=Bench(
        session=guard.IdempotencySession,
        machine=IdempotencyMachine,
        sometimes=PROPERTIES.sometimes,
        simpler=simpler,
    ),
    model=ModelIdempotency,
    clients=CLIENTS,
    naive=Naive(target=NaiveIdempotency, rule="ID-1", story=2),
    faults=FAULTS,
    faulty=faulty,
    kinds=kinds(
        *(guard.Called, guard.Removed, Fate, spec.Scope, spec.Claim, spec.Complete, spec.Release, spec.Renew),
    ),
    tell=guard.tell,
    tell_answer=guard.tell_answer,
)
