"""
Forks: a forked process has the memory of its parent, but of its threads only the one that forked.

So it must not wait for a lock or an answer that another thread was to give, nor go on with what is its parent's alone. Whatever
has such things is told of it in the new process, before anything else runs there.
"""

import os
from typing import Protocol
from weakref import WeakSet


class HeedsForks(Protocol):
    """Something that can't be shared with a forked process as it is."""

    def after_fork(self) -> None:
        """Become fit for this new process, without waiting for any lock."""
        raise NotImplementedError


_heeding = WeakSet[HeedsForks]()


def heed_forks(this: HeedsForks) -> None:
    """Have its `after_fork` called in each process that is forked from this one, for as long as it is in use."""
    _heeding.add(this)


def _tell() -> None:
    for each in tuple(_heeding):
        each.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_tell)
