"""Running: slices one after the other until the time is over, each judged before the next begins."""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from redstep_check.engines import Engine
from redstep_check.stress import processes, tasks, threads
from redstep_check.stress.binding import Stressed
from redstep_check.stress.callers import Plan
from redstep_check.stress.histories import entries, parts
from redstep_check.stress.judging import Tally, judge, missed_by
from redstep_check.stress.slices import PROCESSES, TASKS, THREADS, Slice, require, where

SLICE_S = 2.0
TIMES_MAX = 3
"""How many times its time a run goes on at most, until it has reached what it is about (CK-7)."""
RUNS: Mapping[str, Callable[[Slice, Engine], int]] = {THREADS: threads.run, TASKS: tasks.run, PROCESSES: processes.run}


@frozen(kw_only=True)
class Wish:
    """What is to be run."""

    guard: Stressed
    variant: str
    mode: str
    clients: int
    seconds: float
    kills: bool = False
    is_explicit: bool = True
    seed: int = 0
    bug: str = ""
    slice_s: float = SLICE_S
    """How long a slice is at most: a longer one would leave more to be judged at once."""


def run(wish: Wish, engine: Engine, on_progress: Callable[[str, Tally], object]) -> Tally:
    """
    Run until the time is over or a rule is broken; `on_progress` is told what is being done.

    What was not reached by then gets more time, but not for ever. The time is that of running, to which that of judging is
    added. Raises Unsupported, ClientDied, OSError, and what redis-py
    raises when the engine has gone away.
    """
    require(wish.mode, engine, kills=wish.kills)
    if wish.mode == PROCESSES:
        processes.warm()
    tongue = wish.guard.tongue(engine, wish.variant, wish.bug, engine.prefix)
    tally, began_ns, number = Tally(), time.monotonic_ns(), 0
    place, connections = where(engine)
    try:
        while tally.broken is None and (left_s := _left_s(wish, tally)) > 0:
            seconds, number = min(wish.slice_s, left_s), number + 1
            on_progress("running", tally)
            directory = Path(tempfile.mkdtemp(prefix="redstep-stress-"))
            try:
                plan = Plan(
                    guard=wish.guard.name,
                    variant=wish.variant,
                    bug=wish.bug,
                    where=place,
                    prefix=engine.prefix,
                    directory=directory,
                    seed=wish.seed + number,
                    is_explicit=wish.is_explicit,
                    began_ns=began_ns,
                )
                piece = Slice(
                    guard=wish.guard,
                    plan=plan,
                    clients=wish.clients,
                    kills=wish.kills,
                    connections=connections,
                    seconds=seconds,
                )
                tally.kills += RUNS[wish.mode](piece, engine)
                happened = parts(entries(directory), tongue)
            finally:
                shutil.rmtree(directory, ignore_errors=True)
            tally.seconds += seconds
            tally.note(wish.guard, happened)
            on_progress("judging", tally)
            judge(wish.guard, happened, tongue, tally, in_full=wish.is_explicit or not wish.guard.knows_time)
            engine.forget()
    finally:
        tongue.close()
    return tally


def _left_s(wish: Wish, tally: Tally) -> float:
    """How long to go on: to the end of the time; then as long again while something was not reached, unless a bug is hunted."""
    left_s = wish.seconds - tally.seconds
    if left_s > 0 or wish.bug or not missed_by(wish.guard, wish.variant, tally, kills=wish.kills):
        return left_s
    return wish.seconds * TIMES_MAX - tally.seconds
