"""What an engine is, to those who use one."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import redis
import redis.asyncio
from attrs import Factory, field, frozen

Address = str | tuple[str, int]
"""The path of a unix socket, or a host and a port."""


class EngineUnavailable(Exception):
    """An engine can't be had here; the text says why, in plain English."""


@frozen(kw_only=True, eq=False)
class Engine:
    """
    An engine that answers. It may be used from any thread.

    A client is the caller's to close. It has a pool of its own, made explicitly, and so it doesn't resend (CM-5); options
    are those of redis-py's connections.
    """

    name: str
    """As in `NAMES`, or the URL without its password."""

    version: str
    """Product and version, such as "Valkey 9.1.2"."""

    owned: bool
    """Whether the kit started it, so that script flush, settings, pauses and kills are allowed."""

    address: Address | None
    """None for fakeredis, which has no socket."""

    pid: int | None
    """The process of a server that the kit started."""

    prefix: str = field(factory=lambda: f"redstep-check:{secrets.token_hex(8)}:")
    """What the names of all keys of this run begin with."""

    _pool: Callable[..., redis.ConnectionPool] = field(alias="pool", repr=False)
    _async_pool: Callable[..., redis.asyncio.ConnectionPool] = field(alias="async_pool", repr=False)
    _own: redis.Redis = field(init=False, repr=False, default=Factory(lambda self: self.client(), takes_self=True))

    def client(self, **options: Any) -> redis.Redis:
        """A new client."""
        return redis.Redis.from_pool(self._pool(**options))

    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """A new asyncio client."""
        return redis.asyncio.Redis.from_pool(self._async_pool(**options))

    def flush_scripts(self) -> None:
        """Make the engine forget its scripts. PermissionError unless it is owned."""
        if not self.owned:
            raise PermissionError(f"{self.name} is not ours: its scripts are not flushed")
        self._own.script_flush()

    def forget(self) -> None:
        """Remove this run's keys; of an engine that is owned, all keys."""
        if self.owned:
            self._own.flushall()
            return
        cursor: int | None = None
        while cursor != 0:
            cursor, keys = self._own.scan(cursor or 0, match=f"{self.prefix}*", count=1000)
            if keys:
                self._own.unlink(*keys)

    def close(self) -> None:
        """Leave nothing behind on a server of somebody else, and close the connection; `open_engine` ends with this."""
        if not self.owned:
            with suppress(redis.RedisError):  # it may have gone away
                self.forget()
        self._own.close()
