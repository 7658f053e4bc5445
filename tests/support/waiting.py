"""Waiting for what happens elsewhere: until it has happened, and not for a while."""

import os
import time
from collections.abc import Callable

PATIENCE_S = 30
"""Longer than a busy machine takes; who waits in vain has failed anyway."""


def eventually(fact: Callable[[], bool], within_s: float = PATIENCE_S) -> bool:
    """Does the fact come true before the deadline?"""
    deadline = time.monotonic() + within_s
    while not fact():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def is_gone(pid: int) -> bool:
    """Is there no such process, not even one that has ended and waits to be reaped?"""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False
