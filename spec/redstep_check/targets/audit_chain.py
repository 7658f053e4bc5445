"""The shipped audit chain as a target: its protocols under the checking driver, and its clients, sync and asyncio."""

import asyncio
import json
import tempfile
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import redis

from redstep import audit_chain_protocols
from redstep.audit_chain import BATCH, CAS, MODES, SERVER_ORDER
from redstep.audit_chain_errors import AppendFailed, Conflict, NotAppended, Regress, Sealed, SealRefused
from redstep.audit_chain_verification import Verdict
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable, UnexpectedReply
from redstep.wishes import CallScript
from redstep_check.binding import Answer, Answered, Broke, Misused, Stored, Unsupported, session_prefix
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy, notice_endings
from redstep_check.guards.audit_chain import Asking, AuditChainTarget, Wrote
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.stored_chains import keys_of, put, read
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec.audit_chain import Chain
from redstep_spec.audit_chain_encoding import Record, encoded
from redstep_spec.audit_chain_writer import Entry, Write
from redstep_spec.delivery import Fate

MIXED = "mixed"
MODES_OF = {CAS: {CAS}, BATCH: {BATCH}, SERVER_ORDER: {SERVER_ORDER, CAS}, MIXED: {*MODES}}
"""The modes of the writers that share a chain: nothing conflicts unless somebody links for himself."""
FEATURES = frozenset({"several_writers", "seal", "read", "verify", "misuse", "stored"})
CAUSES: dict[type[BaseException], str] = {
    Unavailable: "unavailable",
    ServiceOverloaded: "unavailable",
    Conflict: "conflict",
    Regress: "regress",
    Sealed: "sealed",
    Corrupt: "corrupt",
}
"""What the specification calls the causes of a failure."""
FAR_AWAY_MS = 3_600_000
FIRST_PAUSE_MS = 8


def answer(run: Callable[[], dict[str, object]]) -> Answer:
    """Tell what a caller of the shipped implementation saw."""
    try:
        return Answered(run())
    except AppendFailed as error:
        return Answered(failure(error)) if type(error.cause) in CAUSES else Broke(repr(error))
    except Misuse as error:
        return Misused("entries" if error.argument == "events" else error.argument)
    except UnexpectedReply as error:
        return Broke(str(error), "CM-8")
    except Corrupt:
        return Answered({"verdict": "corrupt"})
    except Exception as error:  # noqa: BLE001  whatever else is raised, no rule allows it
        return Broke(repr(error))


def failure(error: AppendFailed) -> dict[str, object]:
    """An append that failed, in the specification's terms."""
    outcome = "not appended" if isinstance(error, NotAppended) else "unknown"
    return {"outcome": outcome, "cause": CAUSES[type(error.cause)], "events": tuple(each.event for each in error.together)}


def placed(appended: Sequence[Any]) -> dict[str, object]:
    """One that did not, likewise."""
    hashes = tuple(bytes.fromhex(each.hash) for each in appended)
    return {"outcome": "appended", "seqs": tuple(each.seq for each in appended), "hashes": hashes}


def judged(verdict: Verdict) -> dict[str, object]:
    """What a verification came to."""
    finding = verdict.why or verdict.integrity
    return {"finding": finding.value, "position": verdict.position, "comparable": verdict.compared}


class ShippedAuditChain(AuditChainTarget):
    """What the shipped targets share: which modes their writers have, and how what they store is read."""

    def __init__(self, engine: Engine, mode: str) -> None:
        self.engine = engine
        self.features = FEATURES | MODES_OF[mode]
        self.client = engine.client()
        self.prefix = engine.prefix
        if SERVER_ORDER in self.features and not self.client.eval("return bit and 1 or 0", 0):
            self.client.close()
            raise Unsupported(f"the Lua of {engine.name} lacks `bit`, with which `{SERVER_ORDER}` hashes")

    def begin(self) -> None:
        """Start anew under another prefix."""
        self.prefix = session_prefix(self.engine.prefix)

    def stored(self, *key: Any) -> Stored:
        """Read a chain through the abstraction function."""
        [name] = key
        return read(self.client, *keys_of(self.prefix, name))

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


# ---------------------------------------------------------------------------------------------- protocols


class RivalledDriver(CheckingDriver):
    """A checking driver before whose attempts somebody else may append."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.rivals: deque[Callable[[], None] | None] = deque()

    def attempt(self, request: CallScript) -> object:
        """Let a rival come first, then let the attempt meet its fate."""
        if self.rivals and (rival := self.rivals.popleft()):
            rival()
        return super().attempt(request)


class ProtocolTarget(ShippedAuditChain):
    """The shipped protocols under the checking driver."""

    def __init__(self, engine: Engine, mode: str, module: ModuleType = audit_chain_protocols) -> None:
        super().__init__(engine, mode)
        self.features |= {"rivals", "budgets", "resend", "put"}
        self.fates = frozenset(Fate) if engine.owned else frozenset(Fate) - {Fate.FLUSHED}
        self.module: Any = module
        self.driver = RivalledDriver(
            client=self.client, flush_scripts=engine.flush_scripts, draw_integer=lambda _least, most: most
        )

    def begin(self) -> None:
        """Start anew under another prefix, with writers who know nothing."""
        super().begin()
        self.memories: dict[tuple[str, str, str], Any] = {}

    def put(self, name: str, chain: Chain) -> None:
        """Store this head and these records."""
        put(self.client, keys_of(self.prefix, name), chain, name.encode("utf-8"))

    def call(self, call: Asking, fates: Sequence[Fate]) -> Answer:
        """Run one protocol."""
        self.driver.executions.clear()
        self.driver.rivals = deque()
        told = answer(lambda: self.made(call, fates))
        if isinstance(told, Misused) and self.driver.executions:
            return Broke(f"{told.argument} is refused only after a command was sent", "CM-9")
        return told

    def made(self, call: Asking, fates: Sequence[Fate]) -> dict[str, object]:
        """Run one protocol, and tell what came of it."""
        match call:
            case Wrote(who, write):
                return self.written(who, write, fates, as_text=call.as_text)
            case store.Append():
                return self.appended(call)
            case store.AppendNext():
                return self.appended_next(call)
            case store.Read():
                page = self.driver.run(self.module.page_from(self.chain(call.name), call.from_seq, call.count))
                records = tuple(self.module.records_of(page.page))
                return {"records": records} if page.head is None else {"records": records, **told_of(page.head)}
            case store.Seal():
                return sealed(lambda: self.driver.run(self.module.seal(self.chain(call.name), call.upto_seq, call.keep)))
            case verification.Verify():
                return self.verified(call)

    def chain(self, name: str, **options: Any) -> Any:
        """A chain in the implementation's terms."""
        return self.module.Chain(name=name, prefix=self.prefix, **options)

    def written(self, who: str, write: Write, fates: Sequence[Fate], *, as_text: bool) -> dict[str, object]:
        """Append events by a writer."""
        patience = FAR_AWAY_MS if write.resends is None else FIRST_PAUSE_MS * (2**write.resends - 1)
        chain = self.chain(write.name, mode=write.mode.value, conflict_retries=write.conflicts, deadline_ms=patience)
        items = tuple(self.module.Item(each.append_id, self.bytes_of(each, as_text=as_text)) for each in write.entries)
        memory = self.memories.setdefault((who, write.name, write.mode.value), self.module.Memory())
        self.driver.rivals = deque(partial(self.come_first, chain, rival) if rival else None for rival in write.rivals)
        return placed(self.driver.run(self.module.append_items(chain, memory, items), fates))

    def bytes_of(self, entry: Entry, *, as_text: bool) -> bytes:
        """An event as it is stored."""
        given = self.module.canonical_text(entry.event) if as_text else self.module.canonical(json.loads(entry.event))
        return bytes(given)

    def come_first(self, chain: Any, rival: Entry) -> None:
        """Append as somebody else, to whom nothing happens; what is corrupt stays as it is."""
        driver = CheckingDriver(client=self.client, flush_scripts=self.engine.flush_scripts)
        its_chain = self.chain(chain.name, conflict_retries=0)
        item = self.module.Item(rival.append_id, self.module.canonical_text(rival.event))
        try:
            driver.run(self.module.append_items(its_chain, self.module.Memory(), (item,)))
        except NotAppended as error:
            if not isinstance(error.cause, Corrupt):
                raise

    def appended(self, call: store.Append) -> dict[str, object]:
        """Have records appended as they are."""
        module = self.module
        records = [
            module.Record(each.chain_id, each.seq, each.previous, each.append_id, each.hash, each.event)
            for each in call.records
        ]

        def asked() -> Any:
            return module.read_append((yield from module.send(module.append(self.chain(call.name), records))))

        found = self.driver.run(asked())
        last = call.records[-1]
        return {**kind_of(found.kind, last.seq, last.hash), **told_of(found.head)}

    def appended_next(self, call: store.AppendNext) -> dict[str, object]:
        """Have an event appended where the engine puts it."""
        module = self.module

        def asked() -> Any:
            digest = module.digest_of(call.event)
            request = module.append_next(self.chain(call.name), call.since, call.append_id, call.event, digest)
            return module.read_append_next((yield from module.send(request)))

        found = self.driver.run(asked())
        return {**kind_of(found.kind, found.seq, bytes.fromhex(found.hash)), "next_seq": found.next_seq}

    def verified(self, call: verification.Verify) -> dict[str, object]:
        """Verify a chain, across files if there are any."""
        anchor = call.anchor and self.module.Checkpoint(call.anchor.name, call.anchor.size, call.anchor.hash.hex())
        with files_of(call) as paths:
            sources = [partial(self.module.SegmentReader, path) for path in paths]
            return judged(self.driver.run(self.module.verify(self.chain(call.name), anchor, sources, page_records=3)))


def kind_of(kind: Any, seq: int, its_hash: bytes) -> dict[str, object]:
    """How the store answered an append."""
    match kind.name:
        case "APPENDED" | "ALREADY":
            return {"verdict": kind.name.lower(), "seq": seq, "hash": its_hash}
        case "SEALED":
            return {"verdict": "sealed"}
    return {"verdict": "hash_mismatch", "continues": kind.name == "MISMATCH"}


def told_of(head: Any) -> dict[str, object]:
    """The head."""
    return {"next_seq": head.next_seq, "base_seq": head.base_seq, "head_hash": bytes.fromhex(head.hash)}


def sealed(seal: Callable[[], int]) -> dict[str, object]:
    """Seal, and tell what came of it."""
    try:
        return {"verdict": "removed", "base_seq": seal()}
    except SealRefused:
        return {"verdict": "refused"}


class files_of:  # noqa: N801  a context manager
    """With the segments of a verification as files."""

    def __init__(self, call: verification.Verify) -> None:
        self._segments = call.segments
        self._directory = tempfile.TemporaryDirectory(prefix="redstep-segments-") if call.segments else None

    def __enter__(self) -> list[Path]:
        if self._directory is None:
            return []
        paths = [Path(self._directory.name) / str(number) for number in range(len(self._segments))]
        for path, content in zip(paths, self._segments, strict=True):
            path.write_bytes(content)
        return paths

    def __exit__(self, *_: object) -> None:
        if self._directory is not None:
            self._directory.cleanup()


# ---------------------------------------------------------------------------------------------- clients


class ClientTarget(ShippedAuditChain):
    """A client that ships. Where the kit owns a real engine, its faults are real: a proxy does them to its connections."""

    def __init__(self, engine: Engine, mode: str) -> None:
        super().__init__(engine, mode)
        self.proxy = FaultProxy(engine.address) if engine.owned and engine.address else None
        self.ids: deque[bytes] = deque()
        if self.proxy:
            self.proxy.__enter__()
            self.fates = frozenset(Fate)

    def begin(self) -> None:
        """Start anew under another prefix, with writers who know nothing."""
        super().begin()
        self.chains: dict[tuple[str, str, str], Any] = {}

    def call(self, call: Asking, fates: Sequence[Fate]) -> Answer:
        """Make one call."""
        if self.proxy:
            self.proxy.arm(fates)
        return answer(lambda: self.made(call))

    def made(self, call: Asking) -> dict[str, object]:
        """Make one call, and tell what came of it."""
        match call:
            case Wrote(who, write):
                return placed(self.written(self.chain(who, write.name, write.mode.value), write, as_text=call.as_text))
            case store.Read():
                records = self.asked(self.chain("", call.name, CAS), "read", call.from_seq, call.count)
                return {"records": tuple(map(stored_as, records))}
            case store.Seal():
                chain = self.chain("", call.name, CAS)
                return sealed(lambda: self.asked(chain, "seal", call.upto_seq, keep=call.keep))
            case verification.Verify():
                anchor = call.anchor and audit_chain_protocols.Checkpoint(
                    call.anchor.name, call.anchor.size, call.anchor.hash.hex()
                )
                with files_of(call) as paths:
                    return judged(self.asked(self.chain("", call.name, CAS), "verify", anchor, paths))
        raise TypeError(call)

    def written(self, chain: Any, write: Write, *, as_text: bool) -> Sequence[Any]:
        """Append events."""
        self.ids = deque(each.append_id for each in write.entries)
        events = [each.event if as_text else json.loads(each.event) for each in write.entries]
        if len(events) == 1:
            return [self.asked(chain, "append_json" if as_text else "append", *events)]
        found: Sequence[Any] = self.asked(chain, "append_all_json" if as_text else "append_all", events)
        return found

    def chain(self, who: str, name: str, mode: str) -> Any:
        """A writer's client, which remembers what it was told."""
        if (who, name, mode) not in self.chains:
            self.chains[who, name, mode] = self.opened(
                name=name,
                mode=mode,
                prefix=self.prefix,
                draw=lambda _least, _most: 0,
                new_id=lambda: self.ids.popleft(),
            )
        return self.chains[who, name, mode]

    def back(self, error: Unavailable) -> None:
        """Once an attempt was refused, the store can be reached again."""
        if self.proxy and error.definite:
            self.proxy.restore()

    @abstractmethod
    def opened(self, **options: Any) -> Any:
        """A new client."""

    @abstractmethod
    def asked(self, chain: Any, what: str, *args: Any, **options: Any) -> Any:
        """What a client returns to a call."""

    def close(self) -> None:
        """Close the connections and the proxy."""
        super().close()
        if self.proxy:
            self.proxy.__exit__(None, None, None)


def stored_as(record: Any) -> bytes:
    """A record as it is stored."""
    return encoded(
        Record(
            chain_id=record.chain_id,
            seq=record.seq,
            previous=record.previous,
            append_id=record.append_id,
            hash=record.hash,
            event=record.event,
        )
    )


class SyncTarget(ClientTarget):
    """`redstep.AuditChain`."""

    def __init__(self, engine: Engine, mode: str) -> None:
        super().__init__(engine, mode)
        self._redis: redis.Redis = self.proxy.client() if self.proxy else engine.client()

    def opened(self, **options: Any) -> Any:
        """A new client, which notices when the store refuses."""
        chain = AuditChain(self._redis, **options)
        executed = chain._driver.call_script  # noqa: SLF001  the only place where an attempt is seen to be refused

        def call_script(request: CallScript) -> object:
            try:
                return executed(request)
            except Unavailable as error:
                self.back(error)
                raise

        chain._driver.call_script = call_script  # type: ignore[method-assign]  # noqa: SLF001
        return chain

    def asked(self, chain: Any, what: str, *args: Any, **options: Any) -> Any:
        """Make one call."""
        return getattr(chain, what)(*args, **options)

    def close(self) -> None:
        """Close the connections and the proxy."""
        self._redis.close()
        super().close()


class AsyncTarget(ClientTarget):
    """`redstep.AsyncAuditChain`, on an event loop that lives as long as the target."""

    def __init__(self, engine: Engine, mode: str) -> None:
        super().__init__(engine, mode)
        self._redis = self.proxy.async_client() if self.proxy else engine.async_client()
        self._runner = asyncio.Runner()

    def opened(self, **options: Any) -> Any:
        """A new client, which notices when the store refuses."""
        chain = AsyncAuditChain(self._redis, **options)
        executed = chain._driver.call_script  # noqa: SLF001  the only place where an attempt is seen to be refused

        async def call_script(request: CallScript) -> object:
            await notice_endings()
            try:
                return await executed(request)
            except Unavailable as error:
                self.back(error)
                raise

        chain._driver.call_script = call_script  # type: ignore[method-assign]  # noqa: SLF001
        return chain

    def asked(self, chain: Any, what: str, *args: Any, **options: Any) -> Any:
        """Make one call."""
        return self._runner.run(self._asked(chain, what, *args, **options))

    async def _asked(self, chain: Any, what: str, *args: Any, **options: Any) -> Any:
        await notice_endings()
        return await getattr(chain, what)(*args, **options)

    def close(self) -> None:
        """Close the connections, the event loop and the proxy."""
        self._runner.run(self._redis.aclose())
        self._runner.close()
        super().close()


CLIENTS = {f"{MIXED}/protocol": partial(ProtocolTarget, mode=MIXED)} | {
    f"{mode}/{client}": partial(target, mode=mode)
    for mode in (CAS, BATCH, SERVER_ORDER)
    for client, target in (("sync", SyncTarget), ("asyncio", AsyncTarget))
}
"""Every way into the shipped chain: whose writers share it, and how they are driven."""
