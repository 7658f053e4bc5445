"""The ways to make a client, which redis-py gives different policies of retrying."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from .stage import Stage


def _pooled(stage: Stage, path: str, kind: str = "ConnectionPool", **options: Any) -> Any:
    library = stage.library
    pool = getattr(library, kind)(connection_class=library.UnixDomainSocketConnection, path=path, **options)
    return library.Redis.from_pool(pool)


CLIENTS: dict[str, Callable[[Any, str], Any]] = {
    "constructor": lambda stage, path: stage.library.Redis(unix_socket_path=path),
    "single connection": lambda stage, path: stage.library.Redis(unix_socket_path=path, single_connection_client=True),
    "retry on error": lambda stage, path: stage.library.Redis(unix_socket_path=path, retry_on_error=[redis.ConnectionError]),
    "retry on timeout": lambda stage, path: _pooled(stage, path, retry_on_timeout=True, retry_on_error=[OSError]),
    "pool": _pooled,
    "pool with retries": lambda stage, path: _pooled(stage, path, retry=stage.retry(7)),
    "pool with endless retries": lambda stage, path: _pooled(stage, path, retry=stage.retry(-1)),
    "blocking pool with retries": lambda stage, path: _pooled(
        stage, path, "BlockingConnectionPool", max_connections=3, timeout=2, retry=stage.retry(7)
    ),
    "url": lambda stage, path: stage.library.Redis.from_url(f"unix://{path}"),
    "url with retries": lambda stage, path: stage.library.Redis.from_url(f"unix://{path}", retry=stage.retry(7)),
}

any_client = pytest.mark.parametrize("kind", CLIENTS)


def client_of(stage: Stage, kind: str, path: str | None = None) -> Any:
    """A client of the library's, made in one of these ways; to the proxy, unless it is given a path."""
    return stage.adopt(CLIENTS[kind](stage, path or stage.proxy.address))
