"""The shipped audit chain under stress: two writers a process, each shared by threads or tasks, and all at the same chains."""

from collections.abc import Sequence
from random import Random
from typing import Any

from redstep.audit_chain import BATCH, CAS, SERVER_ORDER
from redstep.audit_chain_errors import AppendUnknown, NotAppended
from redstep_check.binding import Answer
from redstep_check.engines import Engine
from redstep_check.stress.binding import Surroundings, Values
from redstep_check.stress.laws.audit_chain import append_id_of
from redstep_check.stress.logs import FAILED, UNKNOWN
from redstep_check.targets.interleaved.audit_chain import InterleavedAuditChain, append_next_of, record_of
from redstep_check.targets.stored_chains import keys_of, read
from redstep_check.targets.stressed.clients import ShippedClients, WireTongue, client_module, number
from redstep_check.targets.stressed.connections import CURRENT
from redstep_check.targets.stressed.planted.audit_chain import BUGS as BUGS
from redstep_spec import audit_chain as spec

VARIANTS = (CAS, BATCH, SERVER_ORDER)
CONFLICTS, DEADLINE_MS = 6, 2_000
WRITERS = 2


def append_id() -> bytes:
    """That of the operation under way, so that whoever reads its name knows it."""
    return append_id_of(CURRENT.get())


class AuditChainClients(ShippedClients):
    """A few writers for each chain, made when they are first used."""

    def __init__(self, own: Surroundings) -> None:
        super().__init__(own, client_module("redstep.clients.audit_chain", BUGS, own.bug))
        self._writers: dict[tuple[str, int], Any] = {}

    def writer(self, key: str, number: int) -> Any:
        """One of them; of two that are made at the same time one is kept."""
        if (key, number) not in self._writers:
            options = {"mode": self.own.variant, "prefix": self.own.prefix, "new_id": append_id}
            options |= {"conflict_retries": CONFLICTS, "deadline_ms": DEADLINE_MS}
            self._writers.setdefault((key, number), self.kind("AuditChain")(self.redis, key, **options))
        return self._writers[key, number]

    def draw(self, chance: Random, key: str) -> Values:
        """An append; equal events are to be two records."""
        del key
        return {"do": "append", "event": chance.randrange(3), "writer": chance.randrange(WRITERS)}

    def ask(self, key: str, call: Values) -> Any:
        """Append."""
        return self.writer(key, call["writer"]).append(call["event"])

    def told(self, result: Any) -> Values:
        """Where the event is."""
        return {"seq": result.seq, "hash": result.hash}

    def raised(self, error: Exception) -> tuple[str, Values]:
        """A failed append says whether anybody knows, and why."""
        match error:
            case NotAppended():
                return FAILED, {"cause": type(error.cause).__name__}
            case AppendUnknown():
                return UNKNOWN, {"cause": type(error.cause).__name__}
        return super().raised(error)


class AuditChainTongue(WireTongue):
    """Each script is one call."""

    names = tuple(f"audit_chain_{what}" for what in ("append", "append_next", "read"))

    def __init__(self, engine: Engine, variant: str, bug: str, prefix: str) -> None:
        super().__init__(BUGS, bug)
        self._prefix = prefix
        self._interleaved = InterleavedAuditChain(engine, variant)

    def understood(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> spec.Call:
        """Records, ids and events are arguments, byte for byte."""
        name = self.key(keys[0])
        match self.name(script).removeprefix("audit_chain_"):
            case "append":
                return spec.Append(name=name, records=tuple(map(record_of, args[7:])))
            case "append_next":
                return append_next_of(name, args[2], args[3], *args[4::2])
            case _:
                return spec.Read(name=name, from_seq=number(args[0]), count=max(1, number(args[1])))

    def read(self, call: spec.Call, reply: Any) -> Answer:
        """As the interleaved target reads them."""
        return self._interleaved.read(call, tuple(reply))

    def stored(self, key: str) -> spec.Chain:
        """The whole chain, for nothing is sealed. Raises Unreadable."""
        chain: spec.Chain = read(self._interleaved.client, *keys_of(self._prefix, key)).state
        return chain

    def close(self) -> None:
        """Close the connection."""
        self._interleaved.close()
