"""Bugs of a shared breaker that only interleavings show."""

from functools import partial
from typing import Any

from redstep.circuit_breaker import Permit
from redstep.errors import CircuitOpen
from redstep.protocols import send
from redstep.scripts import Script
from redstep.wishes import NOW, CallScript, Protocol, RunWork
from redstep_check.engines import Engine
from redstep_check.interleavings.sequential.circuit_breaker import NAME, Call, Operation
from redstep_check.interleavings.subjects import Bug
from redstep_check.targets.interleaved.circuit_breaker import InterleavedCircuitBreaker
from redstep_check.targets.planted import Fault, planted

WRITE = Script(
    "circuit_breaker_acquire",
    """
local now, open_ms = tonumber(ARGV[1]), tonumber(ARGV[3])
local epoch, number, probes = unpack(redis.call('HMGET', KEYS[1], 'epoch', 'next', 'probes'))
probes = probes == '' and number or probes .. ',' .. number
redis.call('HSET', KEYS[1], 'next', number + 1, 'probes', probes, 'until_ms', now + open_ms)
return {1, 'half_open', tonumber(epoch), tonumber(number), 0, '', now}
""",
)


class ReadThenWrite(InterleavedCircuitBreaker):
    """Looks whether there is room for a probe, and then takes it: right as long as nobody comes between."""

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """In two round trips."""
        return self.call_through(operation.work) if isinstance(operation, Call) else super().protocol(operation, memory)

    def call_through(self, work: str) -> Protocol[Any]:
        """Read, then write."""
        breaker = self.breaker()
        view = yield from breaker.view()
        if view.state.value != "half_open" or view.retry_after_ms:
            admission = yield from breaker.acquire()
            if admission.permit is None:
                raise CircuitOpen(NAME, admission.why, admission.retry_after_ms)
            permit = admission.permit
        else:
            args = (NOW, self.policy.success_threshold, self.policy.open_ms)
            reply: Any = yield from send(CallScript(script=WRITE, keys=self.keys, args=args, idempotent=False, finishes=True))
            permit = Permit(reply[2], reply[3])
        try:
            result = yield RunWork(partial(self.work, work))
        except GeneratorExit:
            raise
        except BaseException as error:
            yield from self.module.protocols.conclude(breaker, permit, error)
            raise
        yield from self.module.protocols.conclude(breaker, permit, None)
        return result


def _faulty(name: str, rule: str, file: str, old: str, new: str, faults: int = 1, ticks: int = 1) -> Bug:
    fault = Fault(name=name, rule=rule, file=file, old=old, new=new)

    def make(engine: Engine) -> InterleavedCircuitBreaker:
        return InterleavedCircuitBreaker(engine, planted(fault, "redstep.clients.circuit_breaker"))

    return Bug(name=name, rule=rule, variant="shared", make=make, faults=faults, ticks=ticks)


PROTOCOLS = "redstep.circuit_breaker_protocols"
REPORT = "circuit_breaker_report.lua"

BUGS = (
    Bug(
        name="read, then write",
        rule="CB-5",
        variant="shared",
        make=ReadThenWrite,
        faults=0,
        also=frozenset({"CB-1", "CB-4", "CB-8"}),
    ),
    _faulty(
        "a report credited to a later epoch",
        "CB-7",
        REPORT,
        old="if permit_epoch ~= epoch or permit_number ~= 0 then return",
        new="if permit_number ~= 0 then return",
        faults=0,
    ),
    _faulty(
        "a probe's report credited to a later epoch",
        "CB-7",
        REPORT,
        old="if not place or permit_epoch ~= epoch then",
        new="if not place then",
        faults=0,
        ticks=2,
    ),
    _faulty(
        "a permit lost on cancel at the acquire",
        "CB-10",
        PROTOCOLS,
        old="    except BaseException:\n        yield from free(breaker, admission.permit)\n        raise",
        new="    except BaseException:\n        raise",
    ),
    _faulty(
        "a permit lost on cancel at work",
        "CB-10",
        PROTOCOLS,
        old="        yield from free(breaker, permit)\n    else:",
        new="        pass\n    else:",
    ),
    _faulty(
        "a permit lost on cancel at the report",
        "CB-10",
        PROTOCOLS,
        old="        if permit.number:\n            yield from _reported(breaker, permit, Outcome.NEUTRAL)\n        raise",
        new="        raise",
    ),
    _faulty(
        "a permit lost on cancel at a neutral report",
        "CB-10",
        PROTOCOLS,
        old="        if permit.number:\n            yield from _reported(",
        new="        if permit.number and outcome is not Outcome.NEUTRAL:\n            yield from _reported(",
    ),
)
