"""Least privilege: a user who may run `COMMANDS` on the prefix, and nothing else, may do all of a shared breaker (CM-12)."""

import asyncio
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep.circuit_breaker import State
from redstep.circuit_breaker_shared import COMMANDS, SCRIPTS
from redstep.clients.circuit_breaker import AsyncSharedCircuitBreaker, SharedCircuitBreaker
from redstep.errors import CircuitOpen, Unavailable
from redstep_check import headers
from redstep_check.engines import Engine

BY_DRIVERS = {"evalsha", "eval", "script|load"}
CLOCKS: tuple[Callable[[], int] | None, ...] = (None, lambda: 5_000)
SETTINGS: dict[str, Any] = {"failure_threshold": 2, "success_threshold": 1, "open_ms": 60_000}


def failing() -> None:
    """Work that fails."""
    raise ConnectionResetError


def use_sync(login: dict[str, Any]) -> None:
    """All that a breaker does, by the engine's clock and by the caller's."""
    with redis.Redis(**login) as client:
        for clock in CLOCKS:
            breaker = SharedCircuitBreaker(client, "payments", clock=clock, **SETTINGS)
            breaker.reset()
            breaker.call(lambda: None)
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    breaker.call(failing)
            with pytest.raises(CircuitOpen):
                breaker.acquire()
            assert breaker.view().state is State.OPEN
            breaker.force_close()
            breaker.force_open()
            breaker.load()
            assert breaker.reports_lost == 0
            breaker.close()


async def use_async(login: dict[str, Any]) -> None:
    """Likewise."""
    async with redis.asyncio.Redis(**login) as client:
        for clock in CLOCKS:
            breaker = AsyncSharedCircuitBreaker(client, "payments", clock=clock, **SETTINGS)
            await breaker.reset()
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    await breaker.call(failing)
            with pytest.raises(CircuitOpen):
                await breaker.acquire()
            assert (await breaker.view()).state is State.OPEN
            await breaker.load()
            assert breaker.reports_lost == 0
            await breaker.close()


def test_the_list_is_enough(user: Callable[..., Any]) -> None:
    """For all that both clients do."""
    with user(COMMANDS) as login:
        use_sync(login)
    with user(COMMANDS) as login:
        asyncio.run(use_async(login))


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_command_of_the_list_can_be_left_out(user: Callable[..., Any], command: str) -> None:
    """Without it something fails, definitely, by the engine's refusal."""
    errors: list[Unavailable] = []
    with user(COMMANDS - {command}) as login, redis.Redis(**login) as client:
        breaker = SharedCircuitBreaker(client, "payments", **SETTINGS)
        for step in (breaker.acquire, breaker.force_open, breaker.load):
            try:
                step()
            except Unavailable as error:
                errors.append(error)
        breaker.close()
    assert errors
    for each in errors:
        assert each.definite is True
        assert any(word in str(each) for word in ("NOPERM", "ACL", "can't run this command"))


def test_the_list_is_that_of_the_scripts() -> None:
    """What the scripts call, what the drivers send, and nothing else; and no script is forgotten."""
    called = {command for script in SCRIPTS for _, command in headers._calls(headers.parse(script.text))}
    assert None not in called
    assert {command.lower() for command in called if command} | BY_DRIVERS == COMMANDS
    files = {file.name.removesuffix(".lua") for file in resources.files("redstep_lua").iterdir()}
    assert {script.name for script in SCRIPTS} == {name for name in files if name.startswith("circuit_breaker_")}


def test_half_a_list_leaves_no_half_write(acl_engine: Engine, user: Callable[..., Any]) -> None:
    """A breaker's scripts write with one command, once: a user who lacks it changes nothing, and is told."""
    for script in SCRIPTS:
        writes = headers.parse(script.text).header.writes
        assert writes == "nothing" or writes.startswith("HSET")
    with user(COMMANDS - {"hset"}) as login, redis.Redis(**login) as client:
        breaker = SharedCircuitBreaker(client, "payments", **SETTINGS)
        with pytest.raises(Unavailable):
            breaker.force_open()
        breaker.close()
    with acl_engine.client() as admin:
        assert admin.keys() == []
