"""
Batches: concurrent appends of one process go in together.

    append ──▶ queue ──▶ frozen ──▶ one script call, resent whole until its outcome is known ──▶ to each its own
                 ▲                     │
                 └── the next gather ──┘

While one batch is in flight the next gathers, so nobody waits for a batch to fill, and the writers of one process never
conflict with each other. Each append returns when its own outcome is known.

A caller that is interrupted takes nothing with it. Its event stays where it is, and is appended with the others; if that fails
it is logged and kept in the spool like any other. Under threads, whoever has to wait leads a batch when his turn comes; if a
leader is interrupted, another goes on with the very same batch, for it can be sent again. An event stays in the queue until its
outcome is known, and each step may be done again, so that at no point an interruption loses any. A forked process begins with
an empty queue: what gathers is its parent's.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, Protocol, TypeVar

from attrs import define, field

from redstep.audit_chain import BATCH_BYTES_MAX, BATCH_RECORDS_MAX
from redstep.audit_chain_appending import Appended, Appending, Item, Outcome
from redstep.audit_chain_errors import AppendFailed
from redstep.forks import heed_forks


class HasItem(Protocol):
    """Somebody who waits for an event to be appended."""

    @property
    def item(self) -> Item:
        """The event."""
        raise NotImplementedError


Waiting = TypeVar("Waiting", bound=HasItem)


@define
class Batch(Generic[Waiting]):
    """What goes in together, and who waits for it."""

    waiting: list[Waiting]
    appending: Appending


def freeze(queue: Iterable[Waiting]) -> Batch[Waiting]:
    """Make a batch of as many as one call may hold, in the order in which they came; at least one. They stay where they are."""
    waiting: list[Waiting] = []
    size = 0
    for each in queue:
        size += len(each.item.event)
        if waiting and (len(waiting) == BATCH_RECORDS_MAX or size > BATCH_BYTES_MAX):
            break
        waiting.append(each)
    return Batch(waiting, Appending(tuple(each.item for each in waiting)))


def result(outcome: Outcome) -> Appended:
    """Return or raise what became of an event."""
    if isinstance(outcome, AppendFailed):
        raise outcome
    return outcome


# ---------------------------------------------------------------------------------------------- threads


@define(eq=False)
class Waiter:
    """A thread that waits for an event to be appended."""

    item: Item
    outcome: Outcome | None = None
    gone: bool = False
    """Whether it was interrupted, and waits no more."""
    woken: threading.Event = field(factory=threading.Event)
    """Set when there is an outcome, or when it is its turn to lead."""


class ThreadBatches:
    """Batches of threads. `send` appends what was frozen; `abandon` keeps what nobody is left to append."""

    def __init__(
        self,
        send: Callable[[Appending], tuple[Outcome, ...]],
        abandon: Callable[[Appending, BaseException], tuple[Outcome, ...]],
    ) -> None:
        self._send = send
        self._abandon = abandon
        self._lock = threading.Lock()
        self._queue: deque[Waiter] = deque()
        """Whose outcome is not known, those of the frozen batch first."""
        self._frozen: Batch[Waiter] | None = None
        self._leader: Waiter | None = None
        heed_forks(self)

    def after_fork(self) -> None:
        """Begin anew: who waits, and who leads, are threads of the parent's."""
        self._lock = threading.Lock()
        self._queue = deque()
        self._frozen = self._leader = None

    def append(self, item: Item) -> Appended:
        """Have an event appended, and wait for it."""
        own = Waiter(item)
        try:
            with self._lock:
                self._queue.append(own)
                leads = self._leader is None
                if leads:
                    self._leader = own
            if not leads:
                own.woken.wait()
            if own.outcome is None:
                self._lead(own)
        except BaseException as interruption:
            self._leave(own, interruption)
            raise
        assert own.outcome is not None  # noqa: S101  who leads goes on until he has one
        return result(own.outcome)

    def _lead(self, own: Waiter) -> None:
        """Send batches until one's own event went in, and somebody who waits can lead on."""
        done = False
        while not done:
            with self._lock:
                batch = self._frozen = self._frozen or freeze(self._queue)
            for waiter, outcome in zip(batch.waiting, self._send(batch.appending), strict=True):
                waiter.outcome = outcome
            with self._lock:
                self._part()
                done = own.outcome is not None and (self._appoint() or not self._queue)
                if not self._queue:
                    self._leader = None

    def _leave(self, own: Waiter, interruption: BaseException) -> None:
        """Go, and let another go on; if there is none, keep what is left."""
        left = []
        with self._lock:
            own.gone = True
            self._part()
            if self._leader not in (own, None) or self._appoint():
                return
            while self._queue:
                batch = self._frozen or freeze(self._queue)
                left.append(batch)
                taken = set(batch.waiting)
                self._queue = deque(each for each in self._queue if each not in taken)
                self._frozen = None
            self._leader = None
        for batch in left:
            self._abandon(batch.appending, interruption)

    def _part(self) -> None:
        """Let those go whose outcome is known."""
        while self._queue and self._queue[0].outcome is not None:
            self._queue[0].woken.set()
            self._queue.popleft()
        if self._frozen and self._frozen.waiting[-1].outcome is not None:
            self._frozen = None

    def _appoint(self) -> bool:
        """Let the first who still waits lead, if there is one."""
        for each in self._queue:
            if each.outcome is None and not each.gone:
                each.woken.set()
                self._leader = each
                return True
        return False


# ---------------------------------------------------------------------------------------------- tasks


@define(eq=False)
class Future:
    """A task that waits for an event to be appended."""

    item: Item
    outcome: "asyncio.Future[Appended]"


class TaskBatches:
    """Batches of the tasks of one event loop; a task of their own sends them, which no cancellation of theirs reaches."""

    def __init__(
        self,
        send: Callable[[Appending], Awaitable[tuple[Outcome, ...]]],
        abandon: Callable[[Appending, BaseException], Awaitable[tuple[Outcome, ...]]],
    ) -> None:
        self._send = send
        self._abandon = abandon
        self._queue: deque[Future] = deque()
        self._sender: asyncio.Task[None] | None = None

    async def append(self, item: Item) -> Appended:
        """Have an event appended, and wait for it."""
        own = Future(item, asyncio.get_running_loop().create_future())
        self._queue.append(own)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        return await own.outcome

    async def _send_all(self) -> None:
        batch: Batch[Future] | None = None
        try:
            while self._queue:
                batch = self._taken()
                _tell(batch, await self._send(batch.appending))
                batch = None
        except GeneratorExit:
            raise
        except BaseException as interruption:
            left = [batch] if batch else []
            while self._queue:
                left.append(self._taken())
            for each in left:
                _tell(each, await self._abandon(each.appending, interruption))
            raise

    def _taken(self) -> Batch[Future]:
        batch = freeze(self._queue)
        for _ in batch.waiting:
            self._queue.popleft()
        return batch


def _tell(batch: Batch[Future], outcomes: tuple[Outcome, ...]) -> None:
    for waiting, outcome in zip(batch.waiting, outcomes, strict=True):
        if waiting.outcome.done():  # its task was cancelled
            continue
        if isinstance(outcome, AppendFailed):
            waiting.outcome.set_exception(outcome)
        else:
            waiting.outcome.set_result(outcome)
