"""Ways into an implementation: the shipped one, the naive one, or somebody's own."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from attrs import frozen

from redstep_check.binding import Target, Unsupported
from redstep_check.commands.common import Trouble
from redstep_check.engines import Engine
from redstep_check.lockstep import raised
from redstep_check.registry.guard import Guard, TargetFactory


@frozen
class Way:
    """A guard, and a way into an implementation of it."""

    guard: Guard
    client: str
    make: TargetFactory

    @contextmanager
    def opened(self, engine: Engine) -> Iterator[Target[Any]]:
        """Have a target on an engine, and close it whatever happens."""
        try:
            target = self.make(engine)
        except Unsupported:
            raise
        except Exception as error:
            raise Trouble(f"{self.client} could not be made: {raised(error)}") from error
        if not isinstance(target, Target):
            raise Trouble(f"{self.client} made a {type(target).__name__}, which is no redstep_check.binding.Target")
        try:
            yield target
        finally:
            target.close()


def way_into(guard: Guard, client: str) -> Way:
    """Find a way into an implementation; somebody's own may lie in the working directory."""
    if ":" in client and "" not in sys.path:
        sys.path.insert(0, "")
        importlib.invalidate_caches()
    try:
        return Way(guard, client, guard.target(client))
    except LookupError as error:
        raise Trouble(str(error)) from error
    except Exception as error:
        raise Trouble(f"{client} cannot be imported: {raised(error)}") from error


def answers(engine: Engine) -> None:
    """Make sure that an engine is still there: that it went away breaks no rule."""
    try:
        with engine.client() as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        raise Trouble(f"{engine.name} went away in the middle of a run: {error}") from error
