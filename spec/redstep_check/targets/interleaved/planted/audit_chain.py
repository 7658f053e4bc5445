"""Bugs of an audit chain that only interleavings show."""

from typing import Any

from redstep.audit_chain import BATCH, CAS, SERVER_ORDER
from redstep.audit_chain_encoding import APPEND_ID_BYTES, linked, stored
from redstep.protocols import send
from redstep.scripts import Script
from redstep.wishes import CallScript, DrawBytes, Protocol
from redstep_check.engines import Engine
from redstep_check.interleavings.sequential.audit_chain import EVENT, Append, Operation
from redstep_check.interleavings.subjects import Bug
from redstep_check.targets.interleaved.audit_chain import InterleavedAuditChain
from redstep_check.targets.planted import Fault, planted

WRITE = Script(
    "audit_chain_append",
    """
redis.call('RPUSH', KEYS[1], ARGV[8])
local next_seq = tonumber(ARGV[3]) + 1
redis.call('SET', KEYS[2], string.format('%d %d %s', next_seq, ARGV[6], ARGV[5]))
return {1, next_seq, tonumber(ARGV[6]), ARGV[5]}
""",
)


class ReadThenWrite(InterleavedAuditChain):
    """Reads where the chain ends, and appends there: right as long as nobody comes between."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, CAS)

    def append(self, events: int, memory: Any) -> Protocol[Any]:
        """In two round trips, without compare."""
        del events, memory
        append_id: bytes = yield DrawBytes(APPEND_ID_BYTES)
        end = yield from self.module.head(self.chain)
        record = linked(self.chain.chain_id, end.next_seq, end.hash_bytes, append_id, EVENT)
        its_hash = record.hash.hex()
        link: tuple[Any, ...] = (record.seq, end.hash, its_hash, end.base_seq, 1, stored(record))
        args = (self.chain.opening, self.chain.genesis.hex(), *link)
        yield from send(CallScript(script=WRITE, keys=self.keys[:2], args=args, idempotent=True))
        return (self.module.Appended(record.seq, its_hash),)


class OneByOne(InterleavedAuditChain):
    """Appends several events one after the other, and tells of them as one."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine, BATCH)

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """Each in a call of its own."""
        is_several = isinstance(operation, Append) and operation.events > 1
        return self._each(memory) if is_several else super().protocol(operation, memory)

    def _each(self, memory: Any) -> Protocol[Any]:
        one = yield from self.append(1, memory)
        return (*one, *(yield from self.append(1, memory)))


def _faulty(name: str, rule: str, mode: str, file: str, old: str, new: str, faults: int = 1) -> Bug:
    fault = Fault(name=name, rule=rule, file=file, old=old, new=new)

    def make(engine: Engine) -> InterleavedAuditChain:
        return InterleavedAuditChain(engine, mode, planted(fault, "redstep.audit_chain_protocols"))

    return Bug(name=name, rule=rule, variant=mode, make=make, faults=faults)


BUGS = (
    Bug(
        name="read, then write",
        rule="AC-3",
        variant=CAS,
        make=ReadThenWrite,
        faults=0,
        also=frozenset({"AC-4", "AC-6"}),
    ),
    _faulty(
        "linked anew after an ambiguous error",
        "AC-4",
        CAS,
        "redstep.audit_chain_appending",
        old="        request = append(chain, appending.records, base_seq)\n"
        "        was_ambiguous, reply = yield from answered(request, patience, appending)\n",
        new="""        was_ambiguous = False
        try:
            reply = yield append(chain, appending.records, base_seq)
        except Exception as error:
            if getattr(error, "definite", True):
                raise GaveUp(error, exhausted=False) from error
            memory.head, appending.records = None, ()
            continue
""",
    ),
    _faulty(
        "a refusal after a lost reply called definite",
        "AC-6",
        CAS,
        "redstep.audit_chain_sending",
        old="            if definite and not in_doubt:\n",
        new="            if definite:\n                if what:\n                    what.ambiguous = False\n",
        faults=2,
    ),
    Bug(name="several events one by one", rule="AC-7", variant=BATCH, make=OneByOne, faults=1),
    _faulty(
        "only the first of several records",
        "AC-7",
        BATCH,
        "audit_chain_append.lua",
        old="else call('RPUSH', records, unpack(ARGV, 8)) end",
        new="else call('RPUSH', records, ARGV[8]) end",
    ),
    _faulty(
        "append ids forgotten",
        "AC-4",
        SERVER_ORDER,
        "audit_chain_append_next.lua",
        old="redis.call('HSET', KEYS[3], append_id, format('%.0f', next_seq))\n",
        new="",
    ),
)
