"""
Counting: the one order of events, whoever takes part.

A place is drawn before a call is sent and after its reply is read. So the operation lies between its two places, and whoever
was over before another began has smaller ones.
"""

import fcntl
import mmap
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Lock

Tick = Callable[[], int]
"""Draws the next place, from 1 on."""


def counter() -> Tick:
    """A counter for the threads and tasks of one process: one call of a C function, which nothing interrupts."""
    return count(1).__next__


class SharedCounter:
    """
    A counter for all who open the same file. It outlives whoever is killed, at whatever moment.

    The lock is `flock`'s, which the kernel gives back when its holder dies; a semaphore in shared memory would stay taken. It
    belongs to the open file, so each process opens its own and does not inherit one. The number is changed by one aligned
    store: who is killed before it has drawn nothing, and who is killed after it has drawn a place that nobody uses.
    """

    def __init__(self, path: Path) -> None:
        """Open it; the first to come begins with 0. Raises OSError."""
        self._lock = Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(self._file, mmap.PAGESIZE)
        self._map = mmap.mmap(self._file, mmap.PAGESIZE)
        self._words = memoryview(self._map).cast("Q")

    def __call__(self) -> int:
        """Draw the next place."""
        with self._lock:
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                place = self._words[0] + 1
                self._words[0] = place
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        return place

    @property
    def deadline_ns(self) -> int:
        """When all who share it are to stop, by the monotonic clock of the machine; 0 while that is not settled."""
        return self._words[1]

    @deadline_ns.setter
    def deadline_ns(self, at_ns: int) -> None:
        """Settle it, once."""
        self._words[1] = at_ns

    def close(self) -> None:
        """Give back the memory and the file."""
        self._words.release()
        self._map.close()
        os.close(self._file)
