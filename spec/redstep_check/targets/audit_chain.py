"""The shipped audit chain as a target: its protocols under the checking driver, and every way into it."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any

from redstep import audit_chain_protocols
from redstep.audit_chain import BATCH, CAS, SERVER_ORDER
from redstep.audit_chain_errors import NotAppended
from redstep.errors import Corrupt
from redstep.wishes import CallScript
from redstep_check.binding import Answer, Broke, Misused
from redstep_check.engines import Engine
from redstep_check.guards.audit_chain import Asking, Wrote
from redstep_check.targets.audit_chain_clients import AsyncTarget, SyncTarget
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.shipped_chains import (
    MIXED,
    ShippedAuditChain,
    answer,
    files_of,
    judged,
    kind_of,
    placed,
    sealed,
    told_of,
)
from redstep_check.targets.stored_chains import keys_of, put
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec.audit_chain import Chain
from redstep_spec.audit_chain_writer import Entry, Write
from redstep_spec.delivery import Fate

FAR_AWAY_MS = 3_600_000
FIRST_PAUSE_MS = 8


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
            previous = call.previous.hex()
            request = module.append_next(self.chain(call.name), call.since, previous, call.append_id, call.event, digest)
            return module.read_append_next((yield from module.send(request)))

        found = self.driver.run(asked())
        return {**kind_of(found.kind, found.seq, bytes.fromhex(found.hash)), "next_seq": found.next_seq}

    def verified(self, call: verification.Verify) -> dict[str, object]:
        """Verify a chain, across files if there are any."""
        anchor = call.anchor and self.module.Checkpoint(call.anchor.name, call.anchor.size, call.anchor.hash.hex())
        with files_of(call) as paths:
            sources = [partial(self.module.SegmentReader, path) for path in paths]
            return judged(self.driver.run(self.module.verify(self.chain(call.name), anchor, sources, page_records=3)))


CLIENTS = {f"{MIXED}/protocol": partial(ProtocolTarget, mode=MIXED)} | {
    f"{mode}/{client}": partial(target, mode=mode)
    for mode in (CAS, BATCH, SERVER_ORDER)
    for client, target in (("sync", SyncTarget), ("asyncio", AsyncTarget))
}
"""Every way into the shipped chain: whose writers share it, and how they are driven."""
