"""
A program that is killed: events are kept in a spool and drained by processes that end with SIGKILL at every point in turn.

    python killed.py SOCKET DIRECTORY MODE

A point is the moment before or after a script call, and before or after a sync of a file. For each point of keeping, and for
each point of draining, a chain and a spool of their own are made, and a process is forked that kills itself there; then
another drains to the end. Prints a line of JSON for each: what was promised, and what the chain then holds.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import redis

from redstep.audit_chain import BATCH
from redstep.audit_chain_errors import AppendFailed
from redstep.clients.audit_chain import AuditChain
from redstep.errors import Unavailable

FATES = ("lost", "refused", "never arrived", "lost", "delivered")
"""What becomes of the first attempts; later ones are delivered. What never arrived is as ambiguous as what was lost."""


def events(mode: str, number: int) -> list[str]:
    """What is appended together: a batch of two, where batches may be."""
    return [f"{number}a", f"{number}b"][: 2 if mode == BATCH else 1]


class Killer:
    """Counts points, and kills at one."""

    def __init__(self, at: int) -> None:
        self.at, self.passed = at, 0

    def point(self) -> None:
        """Pass a point, or don't."""
        self.passed += 1
        if self.passed == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A point before and one after."""

        def called(*args: Any) -> Any:
            self.point()
            result = function(*args)
            self.point()
            return result

        return called


class Run:
    """A chain and a spool."""

    def __init__(self, client: redis.Redis, directory: Path, mode: str, name: str) -> None:
        self.client, self.mode, self.name = client, mode, name
        self.spool = directory / f"{name}.spool"
        self.told = directory / f"{name}.told"
        self.told.touch()

    def chain(self, **options: Any) -> AuditChain:
        """The chain, on connections of this process's own."""
        pool = self.client.connection_pool
        own = redis.Redis.from_pool(redis.ConnectionPool(pool.connection_class, **pool.connection_kwargs))
        return AuditChain(own, self.name, mode=self.mode, **options)

    def keep(self, killer: Killer) -> None:
        """Append under faults; tell of each event what was promised."""
        self.chain().append("before")
        chain = self.chain(spool=self.spool, deadline_ms=0)
        chain.head()
        executed, fates = chain._driver.call_script, iter(FATES)

        def call_script(request: Any) -> object:
            if request.script.name == "audit_chain_read":
                return executed(request)
            fate = next(fates, "delivered")
            if fate == "refused":
                raise Unavailable("refused", definite=True)
            reply = executed(request) if fate != "never arrived" else None
            if fate != "delivered":
                raise Unavailable("lost", definite=False)
            return reply

        chain._driver.call_script = killer.around(call_script)  # type: ignore[method-assign]
        os.fsync = killer.around(os.fsync)
        for number in range(len(FATES)):
            try:
                chain.append_all(events(self.mode, number))
            except AppendFailed as error:
                if not error.spooled:
                    continue
            with self.told.open("a") as told:
                told.writelines(f"{event}\n" for event in events(self.mode, number))
            self.chain().append(f"between {number}")  # somebody else, so that what is drained must be linked anew

    def drain(self, killer: Killer) -> None:
        """Drain to the end."""
        with self.chain(spool=self.spool) as chain:
            chain._driver.call_script = killer.around(chain._driver.call_script)  # type: ignore[method-assign]
            os.fsync = killer.around(os.fsync)
            chain.drain()
            assert chain.spooled == 0

    def found(self) -> dict[str, Any]:
        """What was promised, and what is there."""
        with self.chain() as chain:
            found = [record.event.decode().strip('"') for record in chain.read(count=500)]
        promised = self.told.read_text().split()
        with self.chain() as chain:
            broken = chain.verify().why is not None
        times = {event: found.count(event) for number in range(len(FATES)) for event in events(self.mode, number)}
        return {"promised": promised, "times": times, "broken": broken}


def forked(work: Callable[[Killer], None], at: int) -> bool:
    """Do something in a process that is killed at a point; say whether it ended by itself."""
    child = os.fork()
    if not child:
        try:
            work(Killer(at))
        except BaseException as error:  # noqa: BLE001  told by the exit code
            print(repr(error), file=sys.stderr)  # noqa: T201
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return False
    assert os.WEXITSTATUS(status) == 0
    return True


def main(socket: str, directory: str, mode: str) -> None:
    """Kill at every point."""
    with redis.Redis(unix_socket_path=socket) as client:
        for phase in ("keep", "drain"):
            at, ended = 0, False
            while not ended:
                at += 1
                run = Run(client, Path(directory), mode, f"{mode}-{phase}-{at}")
                if phase == "drain":
                    assert forked(run.keep, 0)
                ended = forked(getattr(run, phase), at)
                assert forked(run.drain, 0)
                print(json.dumps({"phase": phase, "at": at, "ended": ended, **run.found()}))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
