"""
Coroutines: an operation on an event loop of its own, on which nothing happens but what it is told.

The loop has tasks, futures and timers, so locks, `gather`, task groups and timeouts work within one operation. What several of
its tasks send waits in the order in which they sent it; timers come when nothing waits for a reply. There are no sockets, no
threads and no signals on it: to ask for one is refused.
"""

import asyncio
import heapq
from asyncio.events import _get_running_loop, _set_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from typing import Any

import redis.asyncio

from redstep_check.interleavings.foreign.operations import (
    ROUNDS_MAX,
    Lost,
    Operation,
    Outcome,
    Over,
    Packet,
    Slumber,
    Stopped,
    raising,
)
from redstep_check.interleavings.foreign.requests import Unfit
from redstep_check.interleavings.foreign.surroundings import Surroundings, refuse

REFUSED = (
    "call_soon_threadsafe",
    "run_in_executor",
    "create_connection",
    "create_unix_connection",
    "create_server",
    "create_datagram_endpoint",
    "getaddrinfo",
    "add_reader",
    "add_writer",
    "add_signal_handler",
    "subprocess_exec",
    "subprocess_shell",
)


class Loop(asyncio.AbstractEventLoop):
    """An event loop without a world outside."""

    def __init__(self, given: Surroundings) -> None:
        self.given = given
        self.tasks: list[asyncio.Task[Any]] = []
        self.sent: list[tuple[asyncio.Future[Outcome], bytes]] = []
        """What waits for a reply, in the order in which it was sent."""
        self.exit: SystemExit | None = None
        """What has ended the whole process."""
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbered = 0
        for name in REFUSED:
            setattr(self, name, self._refusing(name))

    def _refusing(self, name: str) -> Callable[..., Any]:
        def leads_out(*args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            refuse(f"{name} leads out of the operation's own event loop")

        return leads_out

    async def exchange(self, data: bytes) -> Outcome:
        """Send something, and wait for what comes of it."""
        future: asyncio.Future[Outcome] = self.create_future()
        self.sent.append((future, data))
        return await future

    def turn(self, between: Callable[[], object] = bool) -> None:
        """Run whatever can be run; before each callback, `between` may still change what comes."""
        before = _get_running_loop()
        _set_running_loop(self)
        try:
            while self._ready:
                between()
                handle = self._ready.popleft()
                if not handle.cancelled():
                    self._run(handle)
        finally:
            _set_running_loop(before)
        self.sent = [each for each in self.sent if not each[0].done()]
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)

    def _run(self, handle: asyncio.Handle) -> None:
        try:
            handle._run()  # noqa: SLF001  it is what loops do
        except SystemExit as error:
            self.exit = self.exit or error

    def discard(self) -> None:
        """Cancel all tasks until none is left, whatever they still want to do."""
        for _ in range(ROUNDS_MAX):
            pending = [each for each in self.tasks if not each.done()]
            if not pending:
                break
            for task in pending:
                task.cancel()
            self.turn()
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.exception()

    @property
    def sleeps(self) -> bool:
        """Whether a timer is left."""
        return bool(self._timers)

    def wake(self) -> None:
        """The next timer's time has come."""
        at_s, _, handle = heapq.heappop(self._timers)
        self.given.slept_s = max(self.given.slept_s, at_s)
        self._ready.append(handle)

    # ------------------------------------------------------------------------------------------ what tasks ask of a loop

    def time(self) -> float:
        """The process's own clock."""
        return self.given.slept_s

    def get_debug(self) -> bool:
        """It is not in debug mode."""
        return False

    def is_running(self) -> bool:
        """Whoever asks is run by it."""
        return True

    def is_closed(self) -> bool:
        """It never is."""
        return False

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **kwargs: Any
    ) -> asyncio.Task[Any]:
        """A task of this loop."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name, context=context, **kwargs)
        self.tasks.append(task)
        return task

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        """Run something in this turn."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run something after a sleep."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Run something at a time of its own clock."""
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._numbered += 1
        heapq.heappush(self._timers, (when, self._numbered, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is left out when it comes."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody waits for is nobody's news: the operation has its own end."""


class _Writer:
    """The half of a connection that sends; the other is redis-py's own reader, fed with what comes."""

    def __init__(self, loop: Loop, reader: asyncio.StreamReader) -> None:
        self.loop = loop
        self.reader = reader
        self.buffer = bytearray()

    def writelines(self, data: Iterable[bytes]) -> None:
        """Keep it until it is sent."""
        for each in data:
            self.buffer += each

    async def drain(self) -> None:
        """Send it, and wait for the scheduler."""
        data, self.buffer = bytes(self.buffer), bytearray()
        match await self.loop.exchange(data):
            case bytes() as replies:
                self.reader.feed_data(replies)
            case Lost.CLOSED:
                self.reader.feed_eof()
            case Lost.TIMEOUT:
                self.reader.set_exception(TimeoutError())
            case _:
                raise ConnectionRefusedError(111, "Connection refused")

    def close(self) -> None:
        """There is nothing to close."""

    async def wait_closed(self) -> None:
        """Nor to wait for."""


class Connection(redis.asyncio.Connection):
    """A connection of redis-py's that ends in the scheduler."""

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, Loop):
            refuse("the client belongs to an operation under the scheduler, and works nowhere else")
        self._reader = asyncio.StreamReader(loop=loop)
        self._writer: Any = _Writer(loop, self._reader)

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Nobody greets."""
        del check_health
        self._parser.on_connect(self)  # type: ignore[no-untyped-call]

    async def check_health(self) -> None:
        """Nobody asks after it."""

    async def can_read(self) -> bool:
        """Nothing comes unasked."""
        return False

    def __del__(self, _warnings: Any = None) -> None:
        """There is nothing to close."""


class CoroutineOperation(Operation):
    """A coroutine under way."""

    def __init__(self, begin: Callable[[], Coroutine[Any, Any, Any]], given: Surroundings) -> None:
        self.loop = Loop(given)  # type: ignore[abstract]  # what it leaves out leads out of it
        self.begin = begin
        self.main: asyncio.Task[Any] | None = None
        self.was_cancelled = False

    def run(self) -> Stopped:
        """To the next packet, else to the next timer, else to the end."""
        if self.main is None:
            self.main = self.loop.create_task(self._begun())
        self.loop.turn()
        self.loop.given.require_fit()
        if self.loop.exit is not None:
            return raising(self.loop.exit)
        if self.main.done():
            return Over(self.main.result, self.was_cancelled and self.main.cancelled())
        if self.loop.sent:
            return Packet(self.loop.sent[0][1])
        if self.loop.sleeps:
            return Slumber()
        raise Unfit("it waits for something that is neither a reply nor a sleep, and that nobody will give it")

    async def _begun(self) -> Any:
        return await self.begin()

    def tell(self, outcome: Outcome) -> None:
        """Give it to whoever sent first."""
        self.loop.sent[0][0].set_result(outcome)

    def wake(self) -> None:
        """The next timer's time has come."""
        self.loop.wake()

    def cancel(self) -> None:
        """Cancel its task, as asyncio does."""
        self.was_cancelled = True
        if self.main is not None:
            self.main.cancel()

    def discard(self) -> None:
        """Cancel all of its tasks until none is left."""
        self.loop.discard()


def no_sleep(seconds: float) -> None:
    """Stands in the place of `time.sleep`, with which a coroutine would hold up all others."""
    refuse(f"a coroutine calls time.sleep({seconds}), and holds up its whole process")
