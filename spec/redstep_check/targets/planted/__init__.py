"""
Planted faults: the checker is checked by what it must catch.

Each is one edit of the text that ships, which must apply exactly once. What is edited, and every module between it and the
protocols under check, is executed afresh; nothing that is imported elsewhere changes.
"""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from types import ModuleType
from unittest import mock

from attrs import frozen

from redstep import scripts
from redstep.scripts import Script, load

PACKAGE = "redstep"


@frozen(kw_only=True)
class Fault:
    """One edit of the shipped text, and the rule that it breaks."""

    name: str
    rule: str
    file: str
    """A script (`name.lua`) or a module of `redstep`."""
    old: str
    new: str
    variant: str = ""
    """What of the implementation it is planted in."""

    @property
    def script(self) -> str | None:
        """The script that is edited, if it is one."""
        return self.file.removesuffix(".lua") if self.file.endswith(".lua") else None


class NotPlanted(AssertionError):
    """An edit does not apply exactly once: the shipped text has changed, and the fault must follow it."""


def edited(fault: Fault, text: str) -> str:
    """Apply the edit. Raises NotPlanted."""
    if text.count(fault.old) != 1:
        raise NotPlanted(f"{fault.name}: {fault.old!r} stands {text.count(fault.old)} times in {fault.file}, not once")
    return text.replace(fault.old, fault.new)


def planted(fault: Fault, protocols: str) -> ModuleType:
    """Return a guard's protocol module with the fault in it, wherever its text lies. Raises NotPlanted."""
    afresh = [name for name in _in_order(protocols) if _leads_to(fault, name)]
    if protocols not in afresh:
        raise NotPlanted(f"{fault.name}: {protocols} does not use {fault.file}")
    with ExitStack() as stack:
        if fault.script:
            sound = load(fault.script)
            faulty = Script(fault.script, edited(fault, sound.text))
            stack.enter_context(mock.patch.object(scripts, "load", lambda name: faulty if name == fault.script else load(name)))
        texts = {name: edited(fault, _source(name)) if name == fault.file else _source(name) for name in afresh}
        executed = {name: _executed(stack, name, text) for name, text in texts.items()}
    return executed[protocols]


def _executed(stack: ExitStack, name: str, text: str) -> ModuleType:
    """Execute a module's text; until the stack unwinds, it is what an import of that name finds."""
    parent, _, own = name.rpartition(".")
    module = ModuleType(name)
    module.__package__ = parent
    stack.enter_context(mock.patch.dict(sys.modules, {name: module}))
    stack.enter_context(mock.patch.object(importlib.import_module(parent), own, module))
    exec(compile(text, f"<planted {name}>", "exec"), vars(module))  # noqa: S102  it is our own text, edited
    return module


def _leads_to(fault: Fault, module: str) -> bool:
    """Is the edit in this module, or in one that it imports?"""
    reached = _in_order(module)
    if fault.script is None:
        return fault.file in reached
    return any(f'"{fault.script}"' in _source(each) for each in reached)


@cache
def _in_order(module: str) -> tuple[str, ...]:
    """The package's modules that one imports, each after those that it imports itself; the one itself is the last."""
    found: dict[str, None] = {}
    for each in _imports(module):
        found |= dict.fromkeys(_in_order(each))
    return (*found, module)


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(_source(module))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == PACKAGE:
            for alias in node.names:
                if (inner := f"{node.module}.{alias.name}") in sys.modules:
                    yield inner
                elif node.module != PACKAGE:
                    yield node.module


@cache
def _source(module: str) -> str:
    return inspect.getsource(importlib.import_module(module))
