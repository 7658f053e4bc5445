"""Servers by their URL, which are somebody else's."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

import redis
import redis.asyncio

from redstep_check.engines.engine import Address, Engine, EngineUnavailable

CONNECT_MS_MAX = 2_000


def server_at(url: str, name: str, config: Mapping[str, str]) -> Engine:
    """Somebody's server, and what it is called. Raises EngineUnavailable."""
    if config:
        raise EngineUnavailable(f"{name} is not ours: it is not given settings ({', '.join(config)})")
    address = _address(redis.ConnectionPool.from_url(url).connection_kwargs)
    return engine_at(url, name=name, version=_version_at(url, name), owned=False, address=address, pid=None)


def engine_at(url: str, *, name: str, version: str, owned: bool, address: Address, pid: int | None) -> Engine:
    """An engine whose clients connect to a URL."""
    return Engine(
        name=name,
        version=version,
        owned=owned,
        address=address,
        pid=pid,
        pool=partial(redis.ConnectionPool.from_url, url),
        async_pool=partial(redis.asyncio.ConnectionPool.from_url, url),
    )


def label_of(url: str) -> str:
    """What a server is called in reports. Raises ValueError for what is no URL."""
    return _without_password(_parsed(url))


def _parsed(url: str) -> SplitResult:
    """
    Take a URL apart; raises ValueError, which doesn't quote it, if redis-py can't.

    A raw "/", "?" or "#" in a password ends the host early, and so shows in an "@" that comes too late.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        redis.ConnectionPool.from_url(url)
        if "@" not in parts.path + parts.query + parts.fragment:
            return parts
    raise ValueError(
        "not the URL of an engine: it should read redis://[user:password@]host[:port][/db], rediss:// likewise,"
        " or unix://[user:password@]/path; what is special in a password is percent-encoded"
    )


def _without_password(parts: SplitResult) -> str:
    """The URL with its password masked, wherever redis-py would read one."""
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    masked = f"{parts.scheme}://{user}{colon and ':***'}{at}{host}{parts.path}"
    options = [(key, "***" if "password" in key else value) for key, value in parse_qsl(parts.query)]
    return f"{masked}?{urlencode(options, safe='*/')}" if options else masked


def _version_at(url: str, name: str) -> str:
    """Ask a server for its version, and for it to answer at all; raises EngineUnavailable."""
    patience_s = CONNECT_MS_MAX / 1000
    pool = redis.ConnectionPool.from_url(url, socket_connect_timeout=patience_s, socket_timeout=patience_s)
    with redis.Redis.from_pool(pool) as client:
        try:
            info = client.info("server")
        except (redis.RedisError, OSError) as error:
            raise EngineUnavailable(f"{name} can't be used: {error}") from error
    product = str(info.get("server_name", "redis"))
    return f"{product.capitalize()} {info.get(f'{product}_version', info.get('redis_version'))}"


def _address(connection: Mapping[str, Any]) -> Address:
    if "path" in connection:
        return str(connection["path"])
    return connection.get("host", "localhost"), connection.get("port", 6379)
