"""The imitation inside this process, for where no binary runs."""

from collections.abc import Mapping
from functools import partial
from importlib import metadata
from importlib.util import find_spec

import redis
import redis.asyncio

from redstep_check.engines.engine import Engine, EngineUnavailable

FAKE = "fakeredis"


def imitation(config: Mapping[str, str]) -> Engine:
    """A new one. Raises EngineUnavailable."""
    version = imitation_version()
    if config:
        raise EngineUnavailable(f"{FAKE} has no such settings: {', '.join(config)}")
    from fakeredis import FakeAsyncRedisConnection, FakeRedisConnection, FakeServer

    server = FakeServer(version=(7,))
    return Engine(
        name=FAKE,
        version=version,
        owned=True,
        address=None,
        pid=None,
        pool=partial(redis.ConnectionPool, FakeRedisConnection, server=server),
        async_pool=partial(redis.asyncio.ConnectionPool, FakeAsyncRedisConnection, server=server),
    )


def imitation_version() -> str:
    """What it is. Raises EngineUnavailable."""
    for package in (FAKE, "lupa"):  # without lupa, fakeredis runs no scripts
        if find_spec(package) is None:
            raise EngineUnavailable(f"{package} is not installed: pip install 'redstep[check]'")
    return f"{FAKE} {metadata.version(FAKE)}"
