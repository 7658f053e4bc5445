"""Tasks of one process that share a local breaker, or a batch, in every order, and cancelled at every callback of the loop."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import ModuleType
from typing import Any

import pytest
import redis.asyncio

from redstep.audit_chain import BATCH
from redstep.clients import audit_chain, circuit_breaker
from redstep.sync_driver import SyncRunner
from redstep_check.binding import session_prefix
from redstep_check.engines import Engine
from redstep_check.interleavings.foreign.coroutines import Connection
from redstep_check.interleavings.foreign.operations import Outcome
from redstep_check.interleavings.foreign.processes import Cancels, Process, explore, pause
from redstep_check.interleavings.foreign.scripts import Scripts
from redstep_check.interleavings.foreign.store import Store
from redstep_check.interleavings.foreign.wire import unpacked
from redstep_check.lockstep import Mismatch
from redstep_check.targets.planted import Fault, planted
from redstep_spec import audit_chain_encoding as encoding

BREAKER, BATCHING = "redstep.circuit_breaker_protocols", "redstep.audit_chain_batching"


def _fault(name: str, rule: str, file: str, old: str, new: str) -> Fault:
    return Fault(name=name, rule=rule, file=file, old=old, new=new)


KEPT = _fault(
    "a cancelled call keeps its permit",
    "CB-10",
    BREAKER,
    "    if outcome is Outcome.NEUTRAL:\n        yield from free(breaker, permit)\n    else:\n        yield",
    "    if outcome is not Outcome.NEUTRAL:\n        yield",
)
OF_SHARED = [
    KEPT,
    _fault(
        "a permit that came before the cancellation is kept",
        "CB-10",
        BREAKER,
        "    except BaseException:\n        yield from free(breaker, admission.permit)\n        raise",
        "    except ArithmeticError:\n        raise",
    ),
    _fault("an acquire is broken off", "CB-10", "redstep.circuit_breaker_shared", "finishes=True", "finishes=False"),
]
OF_BATCHES = [
    _fault(
        "a batch is sent by whoever comes first",
        "AC-6",
        BATCHING,
        "            self._sender = asyncio.create_task(self._send_all())\n        return await own.outcome",
        "            self._sender = asyncio.current_task()\n"
        "            await self._send_all()\n        return await own.outcome",
    ),
    _fault(
        "a cancelled task is told, and nobody after it",
        "CM-10",
        BATCHING,
        "        if waiting.outcome.done():  # its task was cancelled\n            continue\n",
        "",
    ),
]


class Probing(Process):
    """A local breaker that is half open, and tasks that call through it."""

    def __init__(self, module: ModuleType, calls: int) -> None:
        self.module, self.calls = module, calls
        self.now_ms, self.at_work = 0, 0
        self.breaker: Any = None

    def tasks(self) -> Sequence[Coroutine[Any, Any, Any]]:
        """Each makes a call, which waits once."""
        self.breaker = self.module.AsyncCircuitBreaker(
            "b", failure_threshold=1, success_threshold=10, open_ms=10, clock=lambda: self.now_ms, draw=lambda least, _: least
        )
        runner = SyncRunner(clock=lambda: self.now_ms, draw=lambda least, _: least)
        runner.run(self.module.protocols.intervene(self.breaker._breaker, self.module.Reason.FORCE_OPEN))
        self.now_ms = 100
        return [self.breaker.call(self.work) for _ in range(self.calls)]

    async def work(self) -> str:
        """A call's own."""
        self.at_work += 1
        try:
            await pause("work")
        finally:
            self.at_work -= 1
        return "done"

    def probes(self) -> int:
        """How many permits are out."""
        return int(SyncRunner(clock=lambda: self.now_ms).run(self.breaker._breaker.view()).probes)

    def check(self) -> None:
        """As many permits are out as calls are at work."""
        if self.probes() != self.at_work:
            raise Mismatch("CB-10", "permits in flight", self.at_work, self.probes())

    def ended(self, outcomes: Sequence[object]) -> None:
        """Each is done or cancelled, and no permit is out."""
        if not all(each == "done" or isinstance(each, asyncio.CancelledError) for each in outcomes):
            raise Mismatch("CM-10", "what the calls come to", "done, or a cancellation", outcomes)
        self.check()


class Stored(Process):
    """Tasks whose client ends in the scheduler; what they send is executed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.scripts = Scripts(store.texts)
        self.scripts.known.clear()
        store.clear()

    def client(self) -> Any:
        """A client of redis-py's."""
        pool = redis.asyncio.ConnectionPool(connection_class=Connection, socket_timeout=None, driver_info=None)
        return redis.asyncio.Redis(connection_pool=pool)

    def outcome(self, data: bytes) -> Outcome:
        """A pause is over, a command is executed."""
        if not data.startswith(b"*"):
            return b""
        commands = unpacked(data)
        answered = self.scripts.answered(commands[0])
        return self.store.execute(commands, 1_000) if answered is None else answered


class SharedProbing(Stored):
    """A shared breaker that is half open, and tasks that call through it."""

    def __init__(self, module: ModuleType, store: Store, calls: int) -> None:
        super().__init__(store)
        self.module, self.calls = module, calls
        self.now_ms = 0
        self.options: dict[str, Any] = {"failure_threshold": 1, "success_threshold": 10, "open_ms": 10, "prefix": store.prefix}
        self.beside = circuit_breaker.SharedCircuitBreaker(store.client, "b", clock=lambda: self.now_ms, **self.options)
        self.beside.force_open()
        self.now_ms = 100

    def tasks(self) -> Sequence[Coroutine[Any, Any, Any]]:
        """Each makes a call, which waits once."""
        breaker = self.module.AsyncSharedCircuitBreaker(self.client(), "b", clock=lambda: self.now_ms, **self.options)
        return [breaker.call(pause, "work") for _ in range(self.calls)]

    def ended(self, outcomes: Sequence[object]) -> None:
        """Each is done or cancelled, and no permit is out."""
        if not all(each is None or isinstance(each, asyncio.CancelledError) for each in outcomes):
            raise Mismatch("CM-10", "what the calls come to", "done, or a cancellation", outcomes)
        if self.beside.view().probes:
            raise Mismatch("CB-10", "permits in flight", 0, self.beside.view().probes)


@pytest.fixture
def store(engine: Engine) -> Iterator[Store]:
    """Keys of its own."""
    opened = Store(engine, session_prefix(engine.prefix), 1_000)
    yield opened
    opened.close()


def test_no_cancellation_costs_a_permit() -> None:
    """Three calls, two cancellations: before each callback of the loop, in every order."""
    found = explore(lambda: Probing(circuit_breaker, 3), cancellations=2)
    assert found.mismatch is None, found.mismatch.story
    assert found.exhausted
    assert found.schedules > 100
    assert found.cancellations > found.schedules


def test_no_cancellation_costs_a_permit_of_a_shared_breaker(store: Store) -> None:
    """One call, two cancellations: also while the permit is on its way, and while it is given back."""
    found = explore(lambda: SharedProbing(circuit_breaker, store, 1), cancellations=2)
    assert found.mismatch is None, found.mismatch.story
    assert found.exhausted


def require_found(make: Callable[[], Process], rule: str) -> None:
    """By one cancellation, and by none at all without it."""
    found = explore(make, cancellations=1)
    assert found.mismatch is not None
    assert found.mismatch.rule == rule
    moves = [told.move for told in found.mismatch.story]
    assert sum(isinstance(move, Cancels) for move in moves) == 1


def test_a_permit_that_a_cancellation_costs_is_found() -> None:
    """With the choices that lead there; without a cancellation it is not."""
    module = planted(KEPT, "redstep.clients.circuit_breaker")
    require_found(lambda: Probing(module, 2), KEPT.rule)
    assert explore(lambda: Probing(module, 2), cancellations=0).exhausted


@pytest.mark.parametrize("fault", OF_SHARED, ids=lambda fault: fault.name)
def test_a_shared_permit_that_a_cancellation_costs_is_found(store: Store, fault: Fault) -> None:
    """Wherever the cancellation must come."""
    module = planted(fault, "redstep.clients.circuit_breaker")
    require_found(lambda: SharedProbing(module, store, 1), fault.rule)


class Appending(Stored):
    """A chain in batches, and tasks that append to it."""

    def __init__(self, module: ModuleType, store: Store, events: int) -> None:
        super().__init__(store)
        self.module, self.events = module, events
        self.appended: list[str] = []

    def tasks(self) -> Sequence[Coroutine[Any, Any, Any]]:
        """Each appends an event."""
        chain = self.module.AsyncAuditChain(self.client(), "orders", mode=BATCH, prefix=self.store.prefix)
        return [self.append(chain, f"event {number}") for number in range(self.events)]

    async def append(self, chain: Any, event: str) -> Any:
        """Wait once before it, so that others may be ahead."""
        await pause("before")
        self.appended.append(event)
        return event, (await chain.append(event)).seq

    def ended(self, outcomes: Sequence[object]) -> None:
        """Whatever was cancelled, each event that was given to the chain is in it, once, where its task was told."""
        stored = self.stored()
        if sorted(stored) != sorted(self.appended):
            raise Mismatch("AC-4", "the events in the chain", self.appended, stored)
        for outcome in outcomes:
            match outcome:
                case (str() as event, int() as seq) if stored[seq] == event:
                    continue
                case asyncio.CancelledError():
                    continue
            raise Mismatch("AC-6", "what a task is told", "where its event is, or its cancellation", outcome)

    def stored(self) -> list[str]:
        """The events, in the order of the chain."""
        [records] = self.store.ask((b"LRANGE", (self.store.prefix + "audit-chain:{orders}:records").encode(), b"0", b"-1"))
        decoded = [encoding.decoded(each) for each in records]
        return [json.loads(each.event) for each in decoded if each]


def test_no_cancellation_costs_an_event(store: Store) -> None:
    """Two tasks, a cancellation at each callback of the loop, in every order."""
    found = explore(lambda: Appending(audit_chain, store, 2), cancellations=1)
    assert found.mismatch is None, (found.mismatch, found.mismatch.story)
    assert found.exhausted


@pytest.mark.parametrize("fault", OF_BATCHES, ids=lambda fault: fault.name)
def test_an_event_that_a_cancellation_costs_is_found(store: Store, fault: Fault) -> None:
    """Or a task that is never told."""
    module = planted(fault, "redstep.clients.audit_chain")
    require_found(lambda: Appending(module, store, 2), fault.rule)
