"""
What callers give to be called: it does its work when it is called or, under asyncio, when what it returns is awaited.

A coroutine that nobody awaits does nothing, and neither does a generator over which nobody iterates; both would pass for work
that was done. So functions that can be told to return one are refused before they are called. What others return is looked at:
a wrapper's own wrapped function tells nothing, for a wrapper may well await it.
"""

import functools
import inspect
from types import FunctionType, MethodType
from typing import Any, TypeVar

from redstep.errors import Misuse

T = TypeVar("T")


def checked_function(argument: str, value: object, *, awaited: bool = False) -> None:
    """Raise Misuse for what can't be called, for a generator, and for a coroutine function unless its result is awaited."""
    if not callable(value):
        raise Misuse(argument, f"must be a function, not a {type(value).__name__}")
    called = _called(value)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise Misuse(argument, "is a generator, which does nothing when it is called")
    if inspect.iscoroutinefunction(called) and not awaited:
        raise Misuse(argument, "is a coroutine function, which does nothing when it is called, and is not awaited here")


def _called(function: Any) -> Any:
    """What is called in the end: behind partials, methods, static methods, and objects that can be called."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, MethodType | staticmethod):
            function = function.__func__
        elif isinstance(call := type(function).__call__, FunctionType | staticmethod):
            function = call
        else:
            return function


def at_once(argument: str, returned: T) -> T:
    """Give what a function returned. Raises Misuse if it is to be awaited, and drops it, for nobody will."""
    if inspect.isawaitable(returned):
        dropped(returned)
        raise Misuse(argument, "returned what is to be awaited, and is not awaited here")
    return returned


def is_unfinished(returned: object) -> bool:
    """Whether what a function returned is still to be awaited, or to be iterated over."""
    return inspect.isawaitable(returned) or inspect.isgenerator(returned) or inspect.isasyncgen(returned)


def dropped(returned: object) -> bool:
    """Close a coroutine or a generator that has not begun; returns whether it was one, so that nothing of it has happened."""
    if inspect.isasyncgen(returned):
        return not getattr(returned, "ag_suspended", False)  # Python 3.11 does not tell; nothing is to be closed
    if inspect.iscoroutine(returned) and inspect.getcoroutinestate(returned) == inspect.CORO_CREATED:
        returned.close()
        return True
    if inspect.isgenerator(returned) and inspect.getgeneratorstate(returned) == inspect.GEN_CREATED:
        returned.close()
        return True
    return False
