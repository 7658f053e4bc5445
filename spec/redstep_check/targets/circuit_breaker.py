"""The shipped circuit breakers as targets: their protocols under the checking driver, and their clients, sync and asyncio."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import attrs

from redstep import circuit_breaker_local, circuit_breaker_shared
from redstep.clients import circuit_breaker as clients
from redstep.errors import CircuitOpen, Misuse, Unavailable, UnexpectedReply
from redstep_check.binding import Answer, Answered, Broke, Misused, Stored, Target, session_prefix
from redstep_check.engines import Engine
from redstep_check.guards.circuit_breaker import Ask, Handed
from redstep_check.targets.checking_driver import CheckingDriver
from redstep_check.targets.proxied import Proxied
from redstep_check.targets.stored_breakers import read_hash, read_local
from redstep_spec import circuit_breaker as spec
from redstep_spec.delivery import Failed, Fate, Unknown

LOCAL, SHARED = "local", "shared"
MODULES: Mapping[str, ModuleType] = {LOCAL: circuit_breaker_local, SHARED: circuit_breaker_shared}
FEATURES = frozenset({"neutral", "view", "interventions", "jitter", "misuse", "stored"})
INTERVENTIONS = {spec.ForceOpen: "force_open", spec.ForceClose: "force_close", spec.Reset: "reset"}


def answer(run: Callable[[], Mapping[str, object]]) -> Answer:
    """Tell what a caller of the shipped implementation saw."""
    try:
        return Answered(run())
    except CircuitOpen as refusal:
        return Answered({"admitted": False, "why": refusal.why, "retry_after_ms": refusal.retry_after_ms})
    except Misuse as error:
        return Misused(error.argument)
    except Unavailable as error:
        return Failed() if error.definite else Unknown()
    except UnexpectedReply as error:
        return Broke(str(error), "CM-8")
    except Exception as error:  # noqa: BLE001  whatever else is raised, no rule allows it
        return Broke(repr(error))


def change(announced: Sequence[Any]) -> object:
    """What the listeners were told by one call: of one transition, of none, or of several, which no rule allows."""
    told = [spec.Change(each.from_state.value, each.to_state.value, each.epoch) for each in announced]
    return told if len(told) > 1 else told[0] if told else None


def seen(view: Any) -> dict[str, object]:
    """A view in the specification's terms."""
    return {**attrs.asdict(view), "state": view.state.value, "in_flight": view.probes}


class ShippedCircuitBreaker(Target[Ask]):
    """What the shipped targets share: one breaker for each name, and how what it holds or stores is read."""

    def __init__(self, engine: Engine, variant: str) -> None:
        self.engine = engine
        self.variant = variant
        self.features = FEATURES
        self.client = engine.client()
        self.announced: list[Any] = []

    def begin(self) -> None:
        """Start anew, under another prefix."""
        self.prefix = session_prefix(self.engine.prefix)
        self.breakers: dict[str, Any] = {}

    def policy(self, call: spec.Call) -> dict[str, Any]:
        """The policy of a call in the implementation's terms."""
        return attrs.asdict(call.policy)

    def stored(self, *key: Any) -> Stored:
        """Read a breaker through the abstraction function of its kind."""
        [name] = key
        if self.variant == SHARED:
            return read_hash(self.client, f"{self.prefix}circuit-breaker:{{{name}}}")
        return read_local(self.held(name).state) if name in self.breakers else Stored(spec.INITIAL, 0, None, spec.INITIAL)

    @abstractmethod
    def held(self, name: str) -> Any:
        """The breaker of a name, which is there."""

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


class ProtocolTarget(ShippedCircuitBreaker):
    """The shipped protocols under the checking driver. Permits are values, so that they can be forged."""

    def __init__(self, engine: Engine, variant: str, module: ModuleType | None = None) -> None:
        super().__init__(engine, variant)
        self.features |= {"forged"}
        self.module: Any = module or MODULES[variant]
        self.kind: Any = self.module.LocalBreaker if variant == LOCAL else self.module.SharedBreaker
        self.driver = CheckingDriver(client=self.client, flush_scripts=engine.flush_scripts)
        if variant == SHARED:
            self.fates = frozenset(Fate) if engine.owned else frozenset(Fate) - {Fate.FLUSHED}

    def call(self, call: Ask, fates: Sequence[Fate]) -> Answer:
        """Run one protocol."""
        assert not isinstance(call, Handed)  # noqa: S101  it is no feature of this target
        self.driver.store_ms = self.driver.client_ms = call.now_ms
        self.driver.draw_integer = lambda least, _most: getattr(call, "open_ms", least)
        self.driver.executions.clear()
        self.announced.clear()
        told = answer(lambda: self._told(call, fates))
        if isinstance(told, Misused) and self.driver.executions:
            return Broke(f"{told.argument} is refused only after a command was sent", "CM-9")
        return told

    def _told(self, call: spec.Call, fates: Sequence[Fate]) -> dict[str, object]:
        breaker = self.breaker(call)
        reply = self.driver.run(self.step(breaker, call), fates)
        self.driver.run(breaker.announcements.tell())
        if isinstance(call, spec.View):
            return seen(reply)
        told = {**attrs.asdict(reply, recurse=False), "state": reply.state.value, "transition": change(self.announced)}
        if isinstance(call, spec.Acquire):
            admitted = reply.permit is not None
            told |= {"admitted": admitted, **({"number": reply.permit.number} if admitted else {"why": reply.why})}
        return told

    def breaker(self, call: spec.Call) -> Any:
        """The breaker of a call, with the policy of the call."""
        breaker = self.kind(
            name=call.name,
            policy=attrs.fields(self.kind).policy.type(**self.policy(call)),
            listeners=self.announced.append,
            **({"prefix": self.prefix} if self.variant == SHARED else {}),
        )
        self.breakers.setdefault(call.name, breaker).policy = breaker.policy
        return self.breakers[call.name]

    def step(self, breaker: Any, call: spec.Call) -> Any:
        """The step of a call."""
        match call:
            case spec.Acquire():
                return breaker.acquire()
            case spec.Report(permit=permit, outcome=outcome):
                named = self.module.Outcome(outcome.value) if isinstance(outcome, spec.Outcome) else outcome
                return breaker.report(self.module.Permit(permit.epoch, permit.number), named)
            case spec.View():
                return breaker.view()
        return breaker.intervene(self.module.Reason(INTERVENTIONS[type(call)]))

    def held(self, name: str) -> Any:
        """The breaker of a name, which is there."""
        return self.breakers[name]


class ClientTarget(ShippedCircuitBreaker):
    """A client that ships, whose permits are handles. Where the kit owns a real engine, its faults are a proxy's."""

    def __init__(self, engine: Engine, variant: str) -> None:
        super().__init__(engine, variant)
        self.features |= {"handles"}
        self.now_ms = self.open_ms = 0
        self.proxied = Proxied(engine, faulty=variant == SHARED)
        self.fates = self.proxied.fates

    def begin(self) -> None:
        """Start anew, without any permit."""
        super().begin()
        self.permits: list[Any] = []

    def call(self, call: Ask, fates: Sequence[Fate]) -> Answer:
        """Make one call."""
        asked = call.report if isinstance(call, Handed) else call
        self.now_ms, self.open_ms = asked.now_ms, getattr(asked, "open_ms", 0)
        self.announced.clear()
        self.proxied.arm(fates)
        return answer(lambda: self.make(call))

    @abstractmethod
    def make(self, call: Ask) -> dict[str, object]:
        """Make one call through a client."""

    def of(self, call: spec.Call) -> Any:
        """The client of a call's breaker, with the policy of the call."""
        settings: dict[str, Any] = {
            **self.policy(call),
            "listeners": self.announced.append,
            "clock": lambda: self.now_ms,
            "draw": lambda _least, _most: self.open_ms,
            **({"prefix": self.prefix} if self.variant == SHARED else {}),
        }
        client = self.made(call.name, settings)
        its_own = self.breakers.setdefault(call.name, client)
        inside(its_own).policy = inside(client).policy
        return its_own

    @abstractmethod
    def made(self, name: str, settings: dict[str, Any]) -> Any:
        """Make a client."""

    def admitted(self, held: Any) -> dict[str, object]:
        """Keep a permit, and tell of it."""
        self.permits.append(held)
        return {
            "admitted": True,
            "epoch": held.permit.epoch,
            "number": held.permit.number,
            "transition": change(self.announced),
        }

    def reported(self, call: Handed, report: Callable[[Any], bool]) -> dict[str, object]:
        """Report by a handle, which raises nothing: of a report that was lost, the log tells."""
        self.of(call.report)
        with Losses() as losses:
            counted = report(self.permits[call.given])
        if losses.errors:
            raise losses.errors[0]
        return {"counted": counted, "transition": change(self.announced)}

    def held(self, name: str) -> Any:
        """The breaker of a name, which is there."""
        return inside(self.breakers[name])

    def close(self) -> None:
        """Close the connections and the proxy."""
        super().close()
        self.proxied.close()


def inside(client: Any) -> Any:
    """The breaker that a client drives."""
    return client._breaker  # noqa: SLF001  no service needs it; what it holds is compared here


class Losses(logging.Handler):
    """The errors of reports that were lost, as they are logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.errors: list[Exception] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Note an error."""
        self.errors += [each for each in record.args or () if isinstance(each, Exception)]

    def __enter__(self) -> "Losses":
        logging.getLogger("redstep").addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger("redstep").removeHandler(self)


class SyncTarget(ClientTarget):
    """`CircuitBreaker` and `SharedCircuitBreaker`."""

    def __init__(self, engine: Engine, variant: str) -> None:
        super().__init__(engine, variant)
        self._redis = self.proxied.sync_client()

    def made(self, name: str, settings: dict[str, Any]) -> Any:
        """Make a client."""
        if self.variant == LOCAL:
            return clients.CircuitBreaker(name, **settings)
        return clients.SharedCircuitBreaker(self._redis, name, **settings)

    def make(self, call: Ask) -> dict[str, object]:
        """Make one call."""
        match call:
            case Handed(_, report):
                return self.reported(call, lambda held: bool(getattr(held, report.outcome.value)()))
            case spec.Acquire():
                return self.admitted(self.of(call).acquire())
            case spec.View():
                return seen(self.of(call).view())
        getattr(self.of(call), INTERVENTIONS[type(call)])()
        return {"transition": change(self.announced)}


class AsyncTarget(ClientTarget):
    """`AsyncCircuitBreaker` and `AsyncSharedCircuitBreaker`, on an event loop that lives as long as the target."""

    def __init__(self, engine: Engine, variant: str) -> None:
        super().__init__(engine, variant)
        self._redis = self.proxied.async_client()

    def made(self, name: str, settings: dict[str, Any]) -> Any:
        """Make a client."""
        if self.variant == LOCAL:
            return clients.AsyncCircuitBreaker(name, **settings)
        return clients.AsyncSharedCircuitBreaker(self._redis, name, **settings)

    def make(self, call: Ask) -> dict[str, object]:
        """Make one call."""
        match call:
            case Handed(_, report):
                return self.reported(call, lambda held: bool(self.proxied.run(getattr(held, report.outcome.value))))
            case spec.Acquire():
                return self.admitted(self.proxied.run(self.of(call).acquire))
            case spec.View():
                return seen(self.proxied.run(self.of(call).view))
        self.proxied.run(getattr(self.of(call), INTERVENTIONS[type(call)]))
        return {"transition": change(self.announced)}


CLIENTS = {
    f"{variant}/{client}": partial(target, variant=variant)
    for variant in MODULES
    for client, target in (("protocol", ProtocolTarget), ("sync", SyncTarget), ("asyncio", AsyncTarget))
}
"""Every way into the shipped breakers: which of the two, and how it is driven."""
