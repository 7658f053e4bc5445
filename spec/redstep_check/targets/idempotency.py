"""The shipped idempotency store as a target: its protocols under the checking driver, and its clients, sync and asyncio."""

import re
from abc import abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import attrs
import redis

from redstep import idempotency_protocols
from redstep.clients.idempotency import AsyncIdempotencyStore, IdempotencyStore
from redstep_check.binding import Answer, Answered, Broke, Misused, Stored, Target, Unreadable, session_prefix
from redstep_check.engines import Engine
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.proxied import Proxied
from redstep_check.targets.rate_limiter import answer
from redstep_spec import idempotency as spec
from redstep_spec.delivery import Fate

VERDICTS = {
    "Acquired": "acquired",
    "Replay": "replay",
    "Underway": "in_progress",
    "Mismatch": "mismatch",
    "Done": "done",
    "Renewed": "renewed",
    "StaleOwner": "stale_owner",
    "Conflict": "conflict",
}
"""What the specification calls the kinds of reply."""

NO_TOKEN = object()
CLAIM = re.compile(rb"(?P<state>[a-z]+) \{(?P<token>[^{}]+)\} (\d+) (\d+) ([1-9]\d*) (?P<fingerprint>.+)", re.DOTALL)


def read(client: redis.Redis, key: str) -> Stored:
    """Read a record: the abstraction function. Raises Unreadable."""
    both = client.pipeline()
    both.hgetall(key)
    both.pttl(key)
    fields, ttl_ms = both.execute()
    if not fields:
        return Stored(spec.INITIAL, 0, None, None)
    raw = tuple(sorted(fields.items()))
    return Stored(state(fields), 1, None if ttl_ms < 0 else ttl_ms, raw)


def state(fields: dict[bytes, bytes]) -> spec.State:
    """What the fields of a hash say. Raises Unreadable."""
    claim = CLAIM.fullmatch(fields.get(b"claim", b""))
    if claim is None:
        raise Unreadable(f"a hash of {fields!r}")
    dies_at_ms, lease_until_ms, fence = (int(claim[place]) for place in (3, 4, 5))
    common: dict[str, Any] = {
        "fingerprint": claim["fingerprint"],
        "token": claim["token"].decode(),
        "fence": fence,
        "dies_at_ms": dies_at_ms,
    }
    match claim["state"], fields.get(b"response"), len(fields):
        case b"claimed", None, 1:
            return spec.Claimed(**common, lease_until_ms=lease_until_ms)
        case b"released", None, 1:
            return spec.Released(**common)
        case b"completed" | b"unreplayable" as word, bytes() as response, 2:
            return spec.Completed(**common, payload=response, replayable=word == b"completed")
    raise Unreadable(f"{claim['state'].decode()} with the fields {sorted(fields)}")


class ShippedIdempotency(Target[spec.Call]):
    """What the shipped targets share: how their arguments are made, and how what they store is read."""

    features = frozenset({"fingerprint", "release", "renew", "not_replayable", "tenants", "misuse", "stored"})

    def __init__(self, engine: Engine, module: ModuleType = idempotency_protocols) -> None:
        self.engine = engine
        self.module: Any = module
        self.client = engine.client()
        self.prefix = engine.prefix

    def begin(self) -> None:
        """Start anew under another prefix."""
        self.prefix = session_prefix(self.engine.prefix)

    def policy(self, call: spec.Call) -> dict[str, Any]:
        """What a call says of leases, retentions and sizes."""
        names = ("lease_ms", "retention_ms", "response_max_bytes")
        return {"prefix": self.prefix, **{name: getattr(call, name) for name in names if hasattr(call, name)}}

    @staticmethod
    def token(call: spec.Claim) -> Any:
        """The token of a claim. To the implementation None stands for one that it draws: the same misuse needs another word."""
        return NO_TOKEN if call.token is None else call.token

    def scope(self, scope: spec.Scope) -> Any:
        """A scope in the implementation's terms."""
        return self.module.Scope(tenant=scope.tenant, operation=scope.operation, key=scope.key)

    def key(self, scope: spec.Scope) -> str:
        """Where its record is."""
        return str(self.module.Policy(prefix=self.prefix).key(self.scope(scope)))

    def stored(self, *key: Any) -> Stored:
        """Read a record."""
        return read(self.client, self.key(*key))

    def remove(self, *key: Any) -> None:
        """Delete a record, as its TTL would."""
        self.client.delete(self.key(*key))

    def close(self) -> None:
        """Close the connection."""
        self.client.close()

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Make one call, and tell its outcome in the specification's terms."""
        replies: list[Any] = []
        told = answer(lambda: replies.append(self.make(call, fates)))
        if not replies:
            return told
        [reply] = replies
        return Answered({"verdict": VERDICTS[type(reply).__name__], **attrs.asdict(reply)})

    @abstractmethod
    def make(self, call: spec.Call, fates: Sequence[Fate]) -> Any:
        """Make one call."""


class ProtocolTarget(ShippedIdempotency):
    """The shipped protocols under the checking driver."""

    def __init__(self, engine: Engine, module: ModuleType = idempotency_protocols) -> None:
        super().__init__(engine, module)
        self.fates = frozenset(Fate) if engine.owned else frozenset(Fate) - {Fate.FLUSHED}
        self.driver = CheckingDriver(client=self.client, flush_scripts=engine.flush_scripts)

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Run one protocol."""
        self.driver.executions.clear()
        told = super().call(call, fates)
        if isinstance(told, Misused) and self.driver.executions:
            return Broke(f"{told.argument} is refused only after a command was sent", "CM-9")
        return told

    def make(self, call: spec.Call, fates: Sequence[Fate]) -> Any:
        """Run one protocol."""
        self.driver.store_ms = call.now_ms
        return self.driver.run(self.protocol(call), fates)

    def protocol(self, call: spec.Call) -> Any:
        """The protocol of a call."""
        policy, scope = self.module.Policy(**self.policy(call)), self.scope(call.scope)
        match call:
            case spec.Claim():
                return self.module.claim(policy, scope, call.fingerprint, self.token(call))
            case spec.Complete():
                return self.module.complete(policy, scope, call.token, call.response)
            case spec.Release():
                return self.module.release(policy, scope, call.token)
            case spec.Renew():
                return self.module.renew(policy, scope, call.token)


class ClientTarget(ShippedIdempotency):
    """A client that ships. Where the kit owns a real engine, its faults are real: a proxy does them to its connections."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.now_ms = 0
        self.proxied = Proxied(engine)
        self.fates = self.proxied.fates

    def make(self, call: spec.Call, fates: Sequence[Fate]) -> Any:
        """Make one call through a client."""
        self.now_ms = call.now_ms
        self.proxied.arm(fates)
        return self.through(call, {**self.policy(call), "clock": lambda: self.now_ms})

    @abstractmethod
    def through(self, call: spec.Call, settings: dict[str, Any]) -> Any:
        """Make one call through a client of these settings."""

    def asked(self, store: Any, call: spec.Call) -> Any:
        """What a store returns to a call."""
        scope = self.scope(call.scope)
        match call:
            case spec.Claim():
                return store.claim(scope, call.fingerprint, token=self.token(call))
            case spec.Complete():
                return store.complete(scope, call.token, call.response)
            case spec.Release():
                return store.release(scope, call.token)
            case spec.Renew():
                return store.renew(scope, call.token)

    def close(self) -> None:
        """Close the connections and the proxy."""
        super().close()
        self.proxied.close()


class SyncTarget(ClientTarget):
    """`redstep.IdempotencyStore`."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._redis = self.proxied.sync_client()

    def through(self, call: spec.Call, settings: dict[str, Any]) -> Any:
        """Make one call."""
        return self.asked(IdempotencyStore(self._redis, **settings), call)


class AsyncTarget(ClientTarget):
    """`redstep.AsyncIdempotencyStore`, on an event loop that lives as long as the target."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._redis = self.proxied.async_client()

    def through(self, call: spec.Call, settings: dict[str, Any]) -> Any:
        """Make one call."""
        return self.proxied.run(lambda: self.asked(AsyncIdempotencyStore(self._redis, **settings), call))


CLIENTS = {"hash/protocol": ProtocolTarget, "hash/sync": SyncTarget, "hash/asyncio": AsyncTarget}
"""Every way into the shipped store: a hash for each scope, and how it is driven."""
