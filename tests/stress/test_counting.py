"""The counter: one order for all, whoever is killed while drawing from it."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from redstep_check.stress.counting import SharedCounter, counter

DRAWS = """
import sys
from pathlib import Path
from redstep_check.stress.counting import SharedCounter
tick = SharedCounter(Path(sys.argv[1]))
print("draws", flush=True)
print(*(tick() for _ in range(int(sys.argv[2]))))
"""
HOLDS = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(file, fcntl.LOCK_EX)
print("holds", flush=True)
time.sleep(300)
"""


def started(program: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603  it is our own text


def test_places_grow() -> None:
    """From 1 on, in threads and tasks as across processes."""
    tick = counter()
    assert [tick(), tick(), tick()] == [1, 2, 3]


def test_processes_share_one_order(tmp_path: Path) -> None:
    """No place is drawn twice, none is left out, and each process sees its own grow."""
    path, draws = tmp_path / "counter", 1_500
    drawn = []
    for each in [started(DRAWS, path, draws) for _ in range(3)]:
        out, _ = each.communicate(timeout=60)
        own = [int(place) for place in out.removeprefix("draws\n").split()]
        assert own == sorted(own)
        drawn += own
    assert sorted(drawn) == list(range(1, 3 * draws + 1))


def test_it_outlives_whoever_is_killed_while_holding_it(tmp_path: Path) -> None:
    """The kernel gives the lock back; and while the holder lives, nobody else draws."""
    path = tmp_path / "counter"
    tick = SharedCounter(path)
    tick()
    holder = started(HOLDS, path)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holds\n"
    waits = started(DRAWS, path, 1)
    assert waits.stdout is not None
    assert waits.stdout.readline() == "draws\n"
    assert not select.select([waits.stdout], [], [], 1.0)[0]
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait(60)
    assert waits.communicate(timeout=60)[0] == "2\n"
    assert tick() == 3
    holder.stdout.close()
    tick.close()


def test_all_who_share_it_see_its_deadline(tmp_path: Path) -> None:
    """It is 0 until somebody sets it, and is no place."""
    mine, other = SharedCounter(tmp_path / "counter"), SharedCounter(tmp_path / "counter")
    assert other.deadline_ns == 0
    mine.deadline_ns = 17
    assert other.deadline_ns == 17
    assert other() == 1
    mine.close()
    other.close()
