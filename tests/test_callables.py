"""Callables: what does its work later is told from what does it at once, before it is called or by what it returns."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from types import MethodType
from typing import Any

import pytest

from redstep import Misuse
from redstep.callables import at_once, checked_function, dropped, is_unfinished


def plain(*_: object) -> bytes:
    """Does its work when it is called."""
    return b"done"


async def coroutine(*_: object) -> bytes:
    """Does it when it is awaited."""
    return b"done"


def generator(*_: object) -> Iterator[bytes]:
    """Does it when somebody iterates."""
    yield b"done"


async def async_generator(*_: object) -> AsyncIterator[bytes]:
    """Does it then, too."""
    yield b"done"


def called_as(function: Callable[..., Any]) -> Any:
    """An object whose class can be called as a function."""
    return type("Called", (), {"__call__": function})()


def wrapping(function: Callable[..., Any], wrapper: Callable[..., Any]) -> Callable[..., Any]:
    """What a decorator makes of a function."""
    return functools.wraps(function)(wrapper)


FORMS: dict[str, Callable[[Callable[..., Any]], Any]] = {
    "itself": lambda function: function,
    "a partial": lambda function: functools.partial(function, 1),
    "a static method": staticmethod,
    "a bound method": lambda function: MethodType(function, 1),
    "an object": called_as,
    "an object's static method": lambda function: called_as(staticmethod(function)),
    "a partial of an object": lambda function: functools.partial(called_as(function), 1),
    "a static method of a partial": lambda function: staticmethod(functools.partial(function, 1)),
}


def refused(value: Any, *, awaited: bool) -> bool:
    """Is it Misuse?"""
    try:
        checked_function("work", value, awaited=awaited)
    except Misuse:
        return True
    return False


@pytest.mark.parametrize("form", FORMS)
def test_what_does_its_work_later_is_told_in_every_form(form: str) -> None:
    """A generator never does it when it is called; a coroutine function does if it is awaited."""
    make = FORMS[form]
    assert [refused(make(function), awaited=False) for function in (plain, coroutine, generator, async_generator)] == [
        *(False, True),
        *(True, True),
    ]
    assert [refused(make(function), awaited=True) for function in (plain, coroutine, generator, async_generator)] == [
        *(False, False),
        *(True, True),
    ]


@pytest.mark.parametrize("value", [None, 5, "work", [print]])
def test_what_can_not_be_called_is_no_function(value: object) -> None:
    """And is named by its type."""
    with pytest.raises(Misuse, match=f"work: must be a function, not a {type(value).__name__}"):
        checked_function("work", value)


@pytest.mark.parametrize("value", [print, len, dict, functools.cache(plain), functools.partial(print), "".join])
def test_what_python_is_made_of_is_a_function(value: object) -> None:
    """Built-in functions, classes, and what is made of them."""
    checked_function("work", value)


def test_a_wrapper_is_judged_by_what_it_returns() -> None:
    """What it wraps tells nothing: it may well run it to its end."""
    runs = wrapping(coroutine, lambda: asyncio.run(coroutine()))
    checked_function("work", runs)
    assert at_once("work", runs()) == b"done"
    passes = wrapping(coroutine, lambda: coroutine())
    checked_function("work", passes)
    with pytest.raises(Misuse, match="work: returned what is to be awaited"):
        at_once("work", passes())


def begun(iterator: Generator[object, None, None]) -> Generator[object, None, None]:
    """A generator of which something has happened."""
    next(iterator)
    return iterator


class Promise:
    """What can be awaited, of somebody else's making."""

    def __await__(self) -> Generator[Any, None, bytes]:
        yield
        return b"done"


def test_what_has_not_begun_is_dropped() -> None:
    """Then nothing of it has happened. What was begun, and what is somebody else's, is let be."""
    assert dropped(coroutine())
    assert dropped(generator())
    assert dropped(async_generator())
    going_on: Any = begun(generator())  # type: ignore[arg-type]
    assert not dropped(going_on)
    assert list(going_on) == []
    assert not dropped(Promise())
    assert not dropped(b"done")


def test_a_dropped_coroutine_is_never_begun() -> None:
    """It is closed, so that nobody can run it by mistake, and Python does not complain that nobody awaited it."""
    unbegun = coroutine()
    assert dropped(unbegun)
    with pytest.raises(RuntimeError, match="cannot reuse already awaited"):
        unbegun.send(None)


def test_what_is_unfinished_is_told() -> None:
    """Whatever is still to be awaited or iterated over; a list is not."""
    own: list[Awaitable[bytes]] = [coroutine(), Promise()]
    assert [is_unfinished(each) for each in (*own, generator(), async_generator())] == [True] * 4
    assert [is_unfinished(each) for each in (b"done", [b"done"], None, iter([b"done"]))] == [False] * 4
    dropped(own[0])
