"""Faults in the checker's own text: one edit each, executed afresh with everything that imports it."""

import sys
from types import ModuleType
from unittest import mock

from attrs import frozen

from redstep_check.linearizability import checker, histories, points, search, stepping

from .battery import Check

MODULES = {each.__name__.rpartition(".")[2]: each for each in (histories, stepping, points, search, checker)}
"""In the order in which they import one another."""
SHARED = ("Invocation", "Completion", "Operation", "MalformedHistory")
"""What a history is made of stays what it is."""


@frozen(kw_only=True)
class Fault:
    """One edit of the text of a module."""

    name: str
    module: str
    old: str
    new: str


SOUND = Fault(name="none", module="histories", old="def operations(", new="def operations(")
"""An edit that changes nothing."""


def planted(fault: Fault) -> Check:
    """The `check` that comes of it. The edit must apply exactly once."""
    names = list(MODULES)
    with mock.patch.dict(sys.modules):
        for name in names[names.index(fault.module) :]:
            sound = MODULES[name]
            assert sound.__file__
            with open(sound.__file__, encoding="utf-8") as file:  # noqa: PTH123
                text = file.read()
            if name == fault.module:
                assert text.count(fault.old) == 1, f"{fault.name}: stands {text.count(fault.old)} times in {name}, not once"
                text = text.replace(fault.old, fault.new)
            fresh = ModuleType(sound.__name__)
            sys.modules[sound.__name__] = fresh
            exec(compile(text, f"<{fault.name}>", "exec"), vars(fresh))  # noqa: S102  it is our own text, edited
            if name == "histories":
                vars(fresh).update({each: getattr(sound, each) for each in SHARED})
        check: Check = sys.modules[checker.__name__].check
        return check
