"""The shipped clients of the audit chain as targets, sync and asyncio, with real faults on their connections."""

import json
from abc import abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import Any

from redstep import audit_chain_protocols
from redstep.audit_chain import CAS
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Unavailable
from redstep.wishes import CallScript
from redstep_check.binding import Answer
from redstep_check.engines import Engine
from redstep_check.faults import notice_endings
from redstep_check.guards.audit_chain import Asking, Wrote
from redstep_check.targets.proxied import Proxied
from redstep_check.targets.shipped_chains import ShippedAuditChain, answer, files_of, judged, placed, sealed
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec.audit_chain_encoding import Record, encoded
from redstep_spec.audit_chain_writer import Write
from redstep_spec.delivery import Fate


class ClientTarget(ShippedAuditChain):
    """A client that ships. Where the kit owns a real engine, its faults are real: a proxy does them to its connections."""

    def __init__(self, engine: Engine, mode: str) -> None:
        super().__init__(engine, mode)
        self.proxied = Proxied(engine)
        self.fates = self.proxied.fates
        self.ids: deque[bytes] = deque()

    def begin(self) -> None:
        """Start anew under another prefix, with writers who know nothing."""
        super().begin()
        self.chains: dict[tuple[str, str, str], Any] = {}

    def call(self, call: Asking, fates: Sequence[Fate]) -> Answer:
        """Make one call."""
        self.proxied.arm(fates)
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
        if error.definite:
            self.proxied.restore()

    @abstractmethod
    def opened(self, **options: Any) -> Any:
        """A new client."""

    @abstractmethod
    def asked(self, chain: Any, what: str, *args: Any, **options: Any) -> Any:
        """What a client returns to a call."""

    def close(self) -> None:
        """Close the connections and the proxy."""
        super().close()
        self.proxied.close()


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
        self._redis = self.proxied.sync_client()

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


class AsyncTarget(ClientTarget):
    """`redstep.AsyncAuditChain`, on an event loop that lives as long as the target."""

    def __init__(self, engine: Engine, mode: str) -> None:
        super().__init__(engine, mode)
        self._redis = self.proxied.async_client()

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
        return self.proxied.run(lambda: getattr(chain, what)(*args, **options))
