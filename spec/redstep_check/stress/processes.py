"""
Processes: each caller is one. Kills are SIGKILL, and another caller of a new name takes the place of the one that was killed.

They are forked off a server that has imported all it takes and has no threads, so that the next one is there within
milliseconds.
"""

import multiprocessing
import os
import signal
import time
from itertools import count
from multiprocessing.process import BaseProcess

from redstep_check.engines import Engine
from redstep_check.stress.callers import Caller, Plan
from redstep_check.stress.counting import SharedCounter
from redstep_check.stress.logs import Log
from redstep_check.stress.slices import KILL_EVERY_S, PATIENCE_S, ClientDied, Slice

COUNTER = "counter"
STEP_S = 0.05
"""How often somebody looks whether a client has died by itself."""

_context = multiprocessing.get_context("forkserver")


def warm() -> None:
    """Start the server that processes are forked off, so that it takes nothing from the time of a slice."""
    _context.set_forkserver_preload(["redstep_check.stress.registry"])
    first = _context.Process(target=int)
    first.start()
    first.join()


def run(piece: Slice, engine: Engine) -> int:
    """Run a slice; return how many processes were killed. Raises ClientDied."""
    del engine
    chance, kills, numbers = piece.chance, 0, count(1)
    at_work: dict[str, BaseProcess] = {}
    shared = SharedCounter(piece.plan.directory / COUNTER)

    def begin() -> None:
        name = f"p{next(numbers)}"
        at_work[name] = _context.Process(target=caller, args=(piece.guard.name, piece.plan, name), daemon=True)
        at_work[name].start()

    try:
        for _ in range(piece.clients):
            begin()
        _await(at_work, piece)
        piece = piece.begun()
        shared.deadline_ns = piece.ends_ns
        while not piece.is_over:
            time.sleep(piece.pause_s(chance, KILL_EVERY_S) if piece.kills else min(STEP_S, piece.pause_s(chance, STEP_S)))
            _check(at_work)
            if piece.kills and not piece.is_over:
                kill(at_work.pop(chance.choice(sorted(at_work))))
                kills += 1
                begin()
        for each in at_work.values():
            each.join(PATIENCE_S)
        _check(at_work)
        if any(each.is_alive() for each in at_work.values()):
            raise ClientDied(f"a process did not finish its call within {PATIENCE_S} s")
    finally:
        for each in at_work.values():
            if each.pid is not None:  # it was started, before somebody pressed Ctrl-C
                kill(each)
        shared.close()
    return kills


def kill(process: BaseProcess) -> None:
    """End it at once, whatever it is at, and wait until it is gone."""
    process.kill()
    process.join()


def _await(at_work: dict[str, BaseProcess], piece: Slice) -> None:
    """Wait until all have begun, which they show by their logs; who comes first does not wait for the others."""
    patience = time.monotonic() + PATIENCE_S
    while len(list(piece.plan.directory.glob("*.log"))) < len(at_work):
        _check(at_work)
        if time.monotonic() > patience:
            raise ClientDied(f"a process did not begin within {PATIENCE_S} s")
        time.sleep(STEP_S / 10)


def _check(at_work: dict[str, BaseProcess]) -> None:
    for name, each in at_work.items():
        if each.exitcode:
            raise ClientDied(f"the client {name} ended by itself with the code {each.exitcode}")


def caller(guard: str, plan: Plan, name: str) -> None:
    """What a process does, until its time is over or those who started it are gone."""
    from redstep_check.stress.registry import STRESSED

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it sees to its end
    tick, log = SharedCounter(plan.directory / COUNTER), Log(plan.directory / f"{name}.log")
    clients = plan.clients(STRESSED[guard], name, tick, log, is_async=False)
    parent = os.getppid()

    def is_over() -> bool:
        return 0 < tick.deadline_ns <= time.monotonic_ns() or os.getppid() != parent

    Caller(STRESSED[guard], clients, plan, name, tick, log).go_on(is_over)
    clients.close()
