"""The audit chain, as the kit knows it."""

from redstep_check.engines import Engine
from redstep_check.guards import audit_chain as guard
from redstep_check.guards.audit_chain_simpler import simpler
from redstep_check.guards.audit_chain_telling import tell, tell_answer
from redstep_check.machines.audit_chain import AuditChainMachine
from redstep_check.models.audit_chain import ModelAuditChain
from redstep_check.naive.audit_chain import NaiveAuditChain
from redstep_check.registry.guard import Guard, Naive
from redstep_check.runs import Bench
from redstep_check.targets.audit_chain import CLIENTS, ProtocolTarget
from redstep_check.targets.planted import Fault, planted
from redstep_check.targets.planted.audit_chain import FAULTS


def faulty(engine: Engine, fault: Fault) -> ProtocolTarget:
    """The protocols with a fault in them, under the checking driver."""
    return ProtocolTarget(engine, fault.variant, planted(fault, "redstep.audit_chain_protocols"))


GUARD = Guard(
    name=guard.NAME,
    bench=Bench(
        session=guard.AuditChainSession,
        machine=AuditChainMachine,
        sometimes=guard.SEEN.sometimes,
        simpler=simpler,
    ),
    model=ModelAuditChain,
    clients=CLIENTS,
    naive=Naive(target=NaiveAuditChain, rule="AC-3", story=1),
    faults=FAULTS,
    faulty=faulty,
    kinds=guard.KINDS,
    tell=tell,
    tell_answer=tell_answer,
)
