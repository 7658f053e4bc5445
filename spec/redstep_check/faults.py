"""
Faults: a proxy between a client and an engine, which does to real connections what a network does on its bad days.

    client ──▶ proxy ──▶ engine          each attempt to have a script executed meets the fate that is next in line;
           ◀──       ◀──                 whatever else is sent passes

    DELIVERED    the attempt passes, and so does its reply
    REPLY_LOST   the attempt passes; its reply is read whole and thrown away, and the client's connection is closed
    FLUSHED      the engine forgets its scripts, then the attempt passes
    NOT_SENT     the store can't be reached: connects are refused, until `restore` or the next `arm`

An attempt is an EVALSHA or EVAL. One that is answered NOSCRIPT executed nothing: the answer passes, and the attempt's
fate is still to come, for the EVAL that follows.

What NOT_SENT promises is that the client can tell (CM-9). So the proxy refuses before an attempt, not in the middle of
it: once NOT_SENT is next, it stops listening and ends the connections that are idle, and only then lets the client learn
how the attempt before went. A connection that delivers a reply at that moment can't be ended at once: the client might
be writing to it already. There the next attempt is answered LOADING, which is as definite. An asyncio client sees that
a connection has ended only when its event loop has looked: `notice_endings` makes it look.

The proxy flushes scripts, so it belongs before an engine that the kit owns (CK-13), and has its socket in that engine's
directory, so that both go together when the process is killed. It lives on one thread with an event
loop of its own: clients in the same process, sync or asyncio, can use it.
"""

import asyncio
import shutil
import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self
from urllib.parse import quote

import redis
import redis.asyncio

from redstep_check.engines import Address, private_directory
from redstep_spec.delivery import Fate

PATIENCE_MS_MAX = 10_000
"""How long the proxy's thread may take to do what another thread wants of it."""

ATTEMPTS = frozenset({b"EVALSHA", b"EVAL"})
ANSWERED_BY_PUSH = frozenset(way + b"SUBSCRIBE" for way in (b"", b"P", b"S", b"UN", b"PUN", b"SUN"))
"""Commands that have no reply of their own in RESP3."""

LOADING = b"-LOADING no attempt gets through at present\r\n"
PUSH, NOSCRIPT = b">", b"-NOSCRIPT "


class FaultProxy:
    """
    Stands before an engine, for the length of a `with` block.

    Commands of one connection are passed on one after another, so that each reply belongs to a known command. So a
    connection may pipeline and subscribe, but not turn replies off; and a script inside of MULTI isn't told from QUEUED.
    """

    address: str
    """The unix socket to connect to, the same for the proxy's whole life."""

    def __init__(self, upstream: Address) -> None:
        """Take the path of a unix socket, or a host and a port, where an engine answers that the kit owns."""
        self._upstream = upstream
        self._schedule = _Schedule()
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        beside = Path(self._upstream).parent if isinstance(self._upstream, str) else None
        self._directory = Path(mkdtemp(prefix="proxy-", dir=beside)) if beside else private_directory()
        self.address = str(self._directory / "socket")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="redstep-fault-proxy", daemon=True)
        self._follow()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(PATIENCE_MS_MAX / 1000)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def executed(self) -> int:
        """
        How many scripts the engine has executed since the last `arm`.

        An attempt that failed with any error but NOSCRIPT counts. The count is right when its client has the outcome.
        """
        return self._schedule.executed

    def arm(self, fates: Sequence[Fate]) -> None:
        """
        Set the fates of the next attempts, while none is under way; those after the last one are delivered.

        If the first is NOT_SENT, follow with `notice_endings` on the event loop of asyncio clients.
        """
        self._on_loop(lambda: self._schedule.arm(fates))

    def restore(self) -> None:
        """End a NOT_SENT: the store can be reached again, and the fates after it are next."""
        self._on_loop(self._schedule.restore)

    def client(self, **options: Any) -> redis.Redis:
        """A new client, the caller's to close. It resends only if `options`, those of a connection, make it."""
        return redis.Redis.from_pool(redis.ConnectionPool.from_url(self._url, **options))

    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """The same for asyncio."""
        return redis.asyncio.Redis.from_pool(redis.asyncio.ConnectionPool.from_url(self._url, **options))

    @property
    def _url(self) -> str:
        return f"unix://{quote(self.address)}"

    def _on_loop(self, change: Callable[[], None]) -> None:
        async def changed() -> None:
            change()
            self._follow()

        asyncio.run_coroutine_threadsafe(changed(), self._loop).result(PATIENCE_MS_MAX / 1000)

    def _follow(self) -> None:
        """Be reachable or not, as the schedule has it."""
        if self._schedule.refusing:
            self._refuse()
        elif self._listener is None:
            self._listen()

    def _listen(self) -> None:
        with suppress(FileNotFoundError):
            (self._directory / "socket").unlink()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._listener.bind(self.address)
        self._listener.listen()
        self._loop.add_reader(self._listener, self._accept, self._listener)

    def _refuse(self) -> None:
        """The socket's file remains, as that of a dead server does: to connect to it is refused."""
        self._stop_listening()
        for link in self._links:
            if not link.busy:
                link.sever()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except BlockingIOError:  # the client has gone again
            return
        link = _Link(client, self._upstream, self._schedule, self._follow)
        task = self._links[link] = self._loop.create_task(link.run())
        task.add_done_callback(lambda _: self._links.pop(link))

    async def _end(self) -> None:
        self._stop_listening()
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def notice_endings() -> None:
    """
    Let the asyncio clients on the running event loop see which of their idle connections have ended.

    It takes two turns of the loop. Without them, a client writes into the ended connection, and can't tell what became
    of that.
    """
    for _ in range(2):
        await asyncio.sleep(0)


class _Schedule:
    """The fates still to come, and how many attempts executed something."""

    def __init__(self) -> None:
        self._fates: deque[Fate] = deque()
        self.executed = 0

    @property
    def refusing(self) -> bool:
        return bool(self._fates) and self._fates[0] is Fate.NOT_SENT

    def arm(self, fates: Sequence[Fate]) -> None:
        self._fates = deque(fates)
        self.executed = 0

    def restore(self) -> None:
        if self.refusing:
            self._fates.popleft()

    def take(self) -> Fate:
        """The fate of an attempt that arrives; NOT_SENT stays until it is ended."""
        if self.refusing:
            return Fate.NOT_SENT
        return self._fates.popleft() if self._fates else Fate.DELIVERED

    def conclude(self, fate: Fate, reply: bytes) -> bool:
        """An attempt got its reply from the engine: does the client get it too?"""
        if reply.startswith(NOSCRIPT):
            self._fates.appendleft(Fate.DELIVERED if fate is Fate.FLUSHED else fate)
            return True
        self.executed += 1
        return fate is not Fate.REPLY_LOST


class _Link:
    """One connection of a client, and the connection to the engine that goes with it."""

    def __init__(self, client: socket.socket, upstream: Address, schedule: _Schedule, follow: Callable[[], None]) -> None:
        self.busy = False
        self._socket = client
        self._upstream = upstream
        self._schedule = schedule
        self._follow = follow
        self._fate: Fate | None = None
        self._answered = asyncio.Event()

    def sever(self) -> None:
        """Both ends learn at once that this connection is over."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    async def run(self) -> None:
        """Pass on what comes, until either side ends or the client's connection is to break."""
        commands, client = await asyncio.open_connection(sock=self._socket)
        try:
            replies, server = await _connect(self._upstream)
            try:
                async with asyncio.TaskGroup() as both_ways:
                    both_ways.create_task(self._pass_commands(commands, client, server))
                    both_ways.create_task(self._pass_replies(replies, client))
            finally:
                await _close(server)
        except* (EOFError, OSError):
            pass
        finally:
            self.sever()
            await _close(client)

    async def _pass_commands(
        self, commands: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        while True:
            command = await read_value(commands)
            self.busy = True
            await self._pass_command(command, client, server)
            self.busy = False

    async def _pass_command(self, command: bytes, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        name = command_name(command)
        fate = self._schedule.take() if name in ATTEMPTS else None
        if fate is Fate.NOT_SENT:
            client.write(LOADING)
            return
        if fate is Fate.FLUSHED:
            await _flush_scripts(self._upstream)
        self._fate = fate
        self._answered.clear()
        server.write(command)
        if name not in ANSWERED_BY_PUSH:
            await self._answered.wait()

    async def _pass_replies(self, replies: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        while True:
            reply = await read_value(replies)
            if not reply.startswith(PUSH):
                self._conclude(reply)
                self._answered.set()
            client.write(reply)

    def _conclude(self, reply: bytes) -> None:
        """If the reply is that to an attempt, see to its fate; raises ConnectionAbortedError if it is lost."""
        fate, self._fate = self._fate, None
        if fate is None:
            return
        passes = self._schedule.conclude(fate, reply)
        self._follow()
        if not passes:
            raise ConnectionAbortedError


async def read_value(stream: asyncio.StreamReader) -> bytes:
    """
    The next whole value of the Redis protocol, version 2 or 3, as it was sent; an inline command counts as one.

    Raises IncompleteReadError at the end of the stream.
    """
    line = await stream.readuntil(b"\r\n")
    kind, size = line[:1], line[1:-2]
    if kind in b"$=!" and size != b"-1":
        return line + await stream.readexactly(int(size) + 2)
    return line + b"".join([await read_value(stream) for _ in range(_parts(kind, size))])


def _parts(kind: bytes, size: bytes) -> int:
    """Of how many further values does a value consist? An attribute (|) belongs to the value that it precedes."""
    match kind:
        case b"*" | b"~" | b">":
            return int(size)
        case b"%":
            return 2 * int(size)
        case b"|":
            return 2 * int(size) + 1
    return 0


def command_name(command: bytes) -> bytes:
    """The first word of a command, in capitals."""
    words = command.split(b"\r\n", 3)
    name = words[2] if command.startswith(b"*") else words[0].partition(b" ")[0]
    return name.upper()


async def _connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(address, str):
        return await asyncio.open_unix_connection(address)
    return await asyncio.open_connection(*address)


async def _flush_scripts(address: Address) -> None:
    replies, server = await _connect(address)
    server.write(b"*2\r\n$6\r\nSCRIPT\r\n$5\r\nFLUSH\r\n")
    await read_value(replies)
    await _close(server)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
