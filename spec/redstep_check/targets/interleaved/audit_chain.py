"""The shipped audit chain among concurrent writers, each with a memory of where the chain ends."""

from types import ModuleType
from typing import Any

from redstep import audit_chain_protocols
from redstep.audit_chain import BATCH, SERVER_ORDER
from redstep.audit_chain_encoding import APPEND_ID_BYTES
from redstep.wishes import CallScript, DrawBytes, Protocol
from redstep_check.binding import Answer, Answered, Broke, Stored, Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Raw, Refused
from redstep_check.interleavings.sequential.audit_chain import CONFLICTS, DEADLINE_MS, EVENT, NAME, Append, Operation, Seal
from redstep_check.targets.interleaved.protocols import ProtocolsOf
from redstep_check.targets.stored_chains import read
from redstep_spec import audit_chain as spec
from redstep_spec.audit_chain_encoding import Record, decoded

VERDICTS = {1: "appended", 2: "already", 3: "sealed", 4: "hash_mismatch", 5: "hash_mismatch"}
SEALED = {1: "removed", 2: "removed", 3: "refused"}
FAILURES = {"NotAppended": "not appended", "AppendUnknown": "unknown"}


class InterleavedAuditChain(ProtocolsOf):
    """One shipped chain."""

    features = frozenset({"idempotent"})

    def __init__(self, engine: Engine, mode: str, module: ModuleType = audit_chain_protocols) -> None:
        super().__init__(engine, module)
        if mode == SERVER_ORDER and not self.client.eval("return bit and 1 or 0", 0):
            self.client.close()
            raise Unsupported(f"the Lua of {engine.name} lacks `bit`, with which `{SERVER_ORDER}` hashes")
        if mode == BATCH:
            self.features = self.features | {"several"}
        options = {"conflict_retries": CONFLICTS, "deadline_ms": DEADLINE_MS}
        self.chain = self.module.Chain(name=NAME, prefix=self.prefix, mode=mode, **options)

    @property
    def keys(self) -> tuple[str, ...]:
        """Records, head and ids."""
        keys: tuple[str, ...] = self.chain.keys
        return keys

    def recalled(self, memory: Any) -> Any:
        """What a writer remembers of the chain's end."""
        return self.module.Memory(memory)

    def remembered(self, memory: Any) -> Any:
        """The same as a value."""
        return memory.head

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """Append, or seal."""
        match operation:
            case Append(events):
                return self.append(events, memory)
            case Seal():
                return self._seal()

    def append(self, events: int, memory: Any) -> Protocol[Any]:
        """Draw append ids, and append."""
        items = []
        for _ in range(events):
            append_id: bytes = yield DrawBytes(APPEND_ID_BYTES)
            items.append(self.module.Item(append_id, EVENT))
        return (yield from self.module.append_items(self.chain, memory, tuple(items)))

    def _seal(self) -> Protocol[Any]:
        head = yield from self.module.head(self.chain)
        yield from self.module.seal(self.chain, max(0, head.next_seq - 1), 1)
        return ()

    def answer(self, result: Any) -> Answer:
        """Where the events are."""
        hashes = tuple(bytes.fromhex(each.hash) for each in result)
        return Answered({"outcome": "appended", "seqs": tuple(each.seq for each in result), "hashes": hashes})

    def error(self, error: Exception) -> Answer | None:
        """A failed append says whether anybody knows."""
        name = type(error).__name__
        return Answered({"outcome": FAILURES[name]}) if name in FAILURES else None

    def understood(self, request: CallScript, now_ms: int) -> spec.Call:
        """Each script is one call."""
        del now_ms
        args: list[Any] = list(request.args)
        match request.script.name.removeprefix("audit_chain_"):
            case "append":
                return spec.Append(name=NAME, records=tuple(map(record_of, args[7:])))
            case "append_next":
                return append_next_of(NAME, args[2], args[3], *args[4::2])
            case "read":
                return spec.Read(name=NAME, from_seq=int(args[0]), count=max(1, int(args[1])))
        return spec.Seal(name=NAME, upto_seq=int(args[1]), keep=int(args[2]))

    def read(self, call: spec.Call, raw: Raw) -> Answer:
        """Name what a reply holds."""
        if isinstance(raw, Refused):
            return Broke(f"the script answers {raw}", "CM-8")
        match call, raw:
            case spec.Append(), (int() as kind, next_seq, base_seq, head_hash):
                told = {"verdict": VERDICTS[kind], **head(next_seq, base_seq, head_hash)}
                return Answered(told if kind < 4 else {**told, "continues": kind == 4})
            case spec.AppendNext(), ((1 | 2) as kind, seq, next_seq, base_seq, its_hash):
                told = {"verdict": VERDICTS[kind], "seq": seq, "hash": bytes.fromhex(its_hash.decode())}
                return Answered({**told, "next_seq": next_seq, "base_seq": base_seq})
            case spec.AppendNext(), (int() as kind, _, next_seq, base_seq, head_hash):
                return Answered({"verdict": VERDICTS[kind], **head(next_seq, base_seq, head_hash)})
            case spec.Read(), (next_seq, base_seq, head_hash, _, _, _):
                return Answered(head(next_seq, base_seq, head_hash))
            case spec.Seal(), (int() as kind, next_seq, base_seq, head_hash):
                return Answered({"verdict": SEALED[kind], **head(next_seq, base_seq, head_hash)})
        return Broke(f"the script answers {raw}", "CM-8")

    def seen(self) -> Stored:
        """Read the chain."""
        records, its_head, ids = self.keys
        return read(self.client, records, its_head, ids)


def head(next_seq: Any, base_seq: Any, its_hash: Any) -> dict[str, object]:
    """Where a chain ends, as replies tell it."""
    told = {"next_seq": next_seq, "base_seq": base_seq}
    return {**told, "head_hash": bytes.fromhex(its_hash.decode())} if its_hash else told


def append_next_of(name: str, since: Any, previous: Any, append_id: bytes, event: bytes) -> spec.AppendNext:
    """A call, from arguments in the implementation's types or as they are sent."""
    its_hash = previous if isinstance(previous, str) else previous.decode()
    return spec.AppendNext(name=name, append_id=append_id, event=event, since=int(since), previous=bytes.fromhex(its_hash))


def record_of(stored: Any) -> Record:
    """A record, from its bytes."""
    record = decoded(stored)
    if record is None:
        raise ValueError(f"{stored!r} is no record")
    return record
