"""
Connections that keep a log of the script calls that pass through them.

They are redis-py's own, with the two methods overridden that every call goes through; the clients above know nothing of it.
Each connection is a lane: on one, a request is over before the next begins. Handshakes and whatever else is no script call
pass unseen.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha1
from itertools import count
from typing import Any

import redis
import redis.asyncio
from redis.exceptions import ResponseError

from redstep_check.stress.counting import Tick
from redstep_check.stress.logs import LOST, REFUSED, REPLIED, Asked, Heard, Log

CURRENT: ContextVar[str] = ContextVar("redstep_stressed", default="")
"""The operation of the caller that is under way in this thread or task."""
CALLS = ("EVALSHA", "EVAL")


class Recorder:
    """Writes what passes through connections of one process into a log."""

    def __init__(self, name: str, tick: Tick, log: Log) -> None:
        self._name, self._tick, self._log = name, tick, log
        self._lanes = count(1)

    def lane(self) -> str:
        """The name of one more connection."""
        return f"{self._name}.{next(self._lanes)}"

    def asked(self, lane: str, words: tuple[Any, ...]) -> None:
        """A script call is about to be sent."""
        how, script, keys, *rest = words
        sha = _text(script) if how == "EVALSHA" else sha1(_text(script).encode(), usedforsecurity=False).hexdigest()
        args = [each.encode() if isinstance(each, str) else each for each in rest]
        self._log.write(Asked(self._tick(), lane, CURRENT.get(), sha, args[: int(keys)], args[int(keys) :]))

    def heard(self, lane: str, outcome: str, reply: Any = None) -> None:
        """It came to this."""
        self._log.write(Heard(self._tick(), lane, outcome, reply))


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


class _Lane:
    """What a connection notes."""

    recorder: Recorder

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._lane = self.recorder.lane()
        self._waits = False
        super().__init__(*args, **kwargs)

    def _ask(self, words: tuple[Any, ...]) -> bool:
        if words[0] not in CALLS:
            return False
        if self._waits:  # nobody has read the reply before, and nobody will
            self._hear(LOST)
        self.recorder.asked(self._lane, words)
        return True

    def _hear(self, outcome: str, reply: Any = None) -> None:
        self._waits = False
        self.recorder.heard(self._lane, outcome, reply)

    @contextmanager
    def _sending(self, words: tuple[Any, ...]) -> Iterator[None]:
        asks = self._ask(words)
        try:
            yield
        except BaseException:
            if asks:
                self._hear(LOST)
            raise
        self._waits = self._waits or asks

    @contextmanager
    def _reading(self) -> Iterator[list[Any]]:
        """While a reply is read; it is to be put into the list."""
        replies: list[Any] = []
        try:
            yield replies
        except ResponseError as error:
            if self._waits:
                self._hear(REFUSED, f"{type(error).__name__}: {error}")
            raise
        except BaseException:
            if self._waits:
                self._hear(LOST)
            raise
        if self._waits:
            self._hear(REPLIED, replies[0])


class _SyncLane(_Lane):
    """A connection of `redis.Redis`."""

    def send_command(self, *words: Any, **options: Any) -> Any:
        with self._sending(words):
            return super().send_command(*words, **options)  # type: ignore[misc]  # pyright: ignore

    def read_response(self, *args: Any, **options: Any) -> Any:
        with self._reading() as replies:
            replies.append(super().read_response(*args, **options))  # type: ignore[misc]  # pyright: ignore
        return replies[0]


class _AsyncLane(_Lane):
    """A connection of `redis.asyncio.Redis`."""

    async def send_command(self, *words: Any, **options: Any) -> Any:
        with self._sending(words):
            return await super().send_command(*words, **options)  # type: ignore[misc]  # pyright: ignore

    async def read_response(self, *args: Any, **options: Any) -> Any:
        with self._reading() as replies:
            replies.append(await super().read_response(*args, **options))  # type: ignore[misc]  # pyright: ignore
        return replies[0]


def recorded(kind: type, settings: Mapping[str, Any], recorder: Recorder) -> redis.Redis:
    """A client on a pool of its own, made of connections of this kind that keep a log."""
    keeps_log: Any = type(f"Recorded{kind.__name__}", (_SyncLane, kind), {"recorder": recorder})
    return redis.Redis.from_pool(redis.ConnectionPool(keeps_log, **settings))


def async_recorded(kind: type, settings: Mapping[str, Any], recorder: Recorder) -> redis.asyncio.Redis:
    """The same for asyncio."""
    keeps_log: Any = type(f"Recorded{kind.__name__}", (_AsyncLane, kind), {"recorder": recorder})
    return redis.asyncio.Redis.from_pool(redis.asyncio.ConnectionPool(keeps_log, **settings))
