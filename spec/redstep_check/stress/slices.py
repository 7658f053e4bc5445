"""Slices: a stretch of time in which so many clients do what they can, and are killed meanwhile if that is wished."""

import secrets
import time
from collections.abc import Callable
from random import Random
from typing import Any

import redis
from attrs import evolve, frozen

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine
from redstep_check.stress.binding import Stressed, Where
from redstep_check.stress.callers import Plan
from redstep_check.stress.logs import Log

THREADS, TASKS, PROCESSES = "threads", "tasks", "processes"
MODES = (THREADS, TASKS, PROCESSES)
GROUPS = 2
"""How many clients of a process its threads or tasks share."""
CUT_EVERY_S, KILL_EVERY_S = 0.02, 0.06
"""How often connections are cut, and processes killed, about."""
PATIENCE_S = 20
"""How long callers may take to finish what they are at when the time is over."""
SETTINGS = frozenset({"host", "port", "path", "db", "username", "password", "server"})
"""What a pool's connections are made with, as far as others need it; and what begins with `ssl`."""

Kill = Callable[[], bool]


class ClientDied(Exception):
    """A client ended that nobody killed, or did not end when its time was over."""


def where(engine: Engine) -> tuple[Where, str]:
    """How to connect, and by what name the engine then knows these connections; empty if they are not to be cut."""
    name = f"stress-{secrets.token_hex(6)}" if engine.owned and engine.address else ""
    client, own = engine.client(), engine.async_client()
    settings: dict[str, Any] = dict(client.connection_pool.connection_kwargs)
    kept = {key: value for key, value in settings.items() if key in SETTINGS or key.startswith("ssl")}
    client.close()
    kinds = {"kind": client.connection_pool.connection_class, "async_kind": own.connection_pool.connection_class}
    return Where(**kinds, settings={**kept, **({"client_name": name} if name else {})}), name


def require(mode: str, engine: Engine, *, kills: bool) -> None:
    """Raise Unsupported, with the reason, for a mode in which nothing can be run on an engine."""
    if mode == PROCESSES and engine.address is None:
        raise Unsupported(f"{engine.name} lives inside this process, where no other can reach it")
    if mode != PROCESSES and kills and engine.address is None:
        raise Unsupported(f"{engine.name} has no connections that could be cut: leave out --kill")
    if mode != PROCESSES and kills and not engine.owned:
        raise Unsupported(f"{engine.name} is not ours: connections are cut only on an engine that the kit started")


@frozen(kw_only=True)
class Slice:
    """What is run, by how many, and whether they are killed."""

    guard: Stressed
    plan: Plan
    clients: int
    kills: bool
    connections: str
    """The name of the connections that may be cut."""
    seconds: float
    ends_ns: int = 0
    """When it is over, by the monotonic clock; 0 before all have begun."""

    @property
    def chance(self) -> Random:
        """What the moments of kills are drawn with."""
        return Random(f"{self.plan.seed}/kills/{self.plan.directory.name}")  # noqa: S311  no secret

    def begun(self) -> "Slice":
        """The same, of which the time runs from now on."""
        return evolve(self, ends_ns=time.monotonic_ns() + int(self.seconds * 1e9))

    @property
    def left_s(self) -> float:
        """How much of it is left."""
        return (self.ends_ns - time.monotonic_ns()) / 1e9

    @property
    def is_over(self) -> bool:
        """Whether it is time to go home."""
        return self.left_s <= 0

    def pause_s(self, chance: Random, every_s: float) -> float:
        """How long to wait until the next kill, or the end."""
        return max(0.0, min(self.left_s, every_s * chance.uniform(0.5, 1.5)) if self.kills else self.left_s)

    def log(self, name: str) -> Log:
        """A log of this slice."""
        return Log(self.plan.directory / f"{name}.log")


def cutter(admin: redis.Redis, name: str, chance: Random) -> Kill:
    """
    Have the engine cut one of the connections that bear a name, a few, or all; tell whether there was one to cut.

    The more at once, the more requests are among them that were executed in the very turn of the engine in which they are cut:
    their replies were written, and never sent.
    """

    def cut() -> bool:
        listed: Any = admin.client_list()
        ours = [each["id"] for each in listed if each["name"] == name]
        all_of_them: Any = admin.pipeline(transaction=False)
        for one in chance.sample(ours, min(len(ours), chance.choice((1, 2, len(ours))))):
            all_of_them.client_kill_filter(_id=one)
        return 1 in all_of_them.execute(raise_on_error=False)  # one may have gone meanwhile

    return cut
