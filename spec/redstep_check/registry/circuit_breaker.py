"""The circuit breaker, as the kit knows it."""

from redstep_check.engines import Engine
from redstep_check.guards import circuit_breaker as guard
from redstep_check.guards.circuit_breaker_simpler import simpler
from redstep_check.machines.circuit_breaker import CircuitBreakerMachine
from redstep_check.models.circuit_breaker import ModelCircuitBreaker
from redstep_check.naive.circuit_breaker import NaiveCircuitBreaker
from redstep_check.registry.guard import Guard, Naive, kinds
from redstep_check.runs import Bench
from redstep_check.targets.circuit_breaker import CLIENTS, MODULES, ProtocolTarget
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.planted.circuit_breaker import FAULTS
from redstep_spec import circuit_breaker as spec
from redstep_spec.delivery import Fate
from redstep_spec.properties.circuit_breaker_seen import PROPERTIES


def faulty(engine: Engine, fault: Fault) -> ProtocolTarget:
    """The protocols with a fault in them, under the checking driver."""
    return ProtocolTarget(engine, fault.variant, planted(fault, MODULES[fault.variant].__name__))


GUARD = Guard(
    name=guard.NAME,
    bench=Bench(
        session=guard.CircuitBreakerSession,
        machine=CircuitBreakerMachine,
        sometimes=PROPERTIES.sometimes,
        simpler=simpler,
    ),
    model=ModelCircuitBreaker,
    clients=CLIENTS,
    naive=Naive(target=NaiveCircuitBreaker, rule="CB-5", story=5),
    faults=FAULTS,
    faulty=faulty,
    kinds=kinds(
        *(guard.Called, guard.Reported, guard.Forged, Fate, spec.Outcome, spec.Permit, spec.Policy),
        *(spec.Acquire, spec.Report, spec.View, spec.ForceOpen, spec.ForceClose, spec.Reset),
    ),
    tell=guard.tell,
    tell_answer=guard.tell_answer,
)
