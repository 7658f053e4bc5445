"""The scripts, as they lie in the package `redstep_lua`: one file each, known to an engine by the SHA-1 of its text."""

import hashlib
from functools import cached_property
from importlib import resources

from attrs import field, frozen


@frozen(slots=False)
class Script:
    """A script and its name, which is that of its file."""

    name: str
    text: str = field(repr=False)

    @cached_property
    def sha1(self) -> str:
        """What EVALSHA calls it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def load(name: str) -> Script:
    """Read a script of the package."""
    return Script(name, resources.files("redstep_lua").joinpath(f"{name}.lua").read_text(encoding="utf-8"))
