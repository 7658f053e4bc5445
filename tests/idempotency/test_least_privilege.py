"""Least privilege: a user who may run `COMMANDS` on the prefix, and nothing else, may do all that the store does (CM-12).

The list is part of the contract, not advice. An engine refuses a command when a script comes to it, and does not undo what the
script wrote before: a user who lacks PEXPIREAT leaves records that never expire.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from importlib import resources
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep import Unavailable
from redstep.clients.idempotency import AsyncIdempotencyStore, IdempotencyStore
from redstep.idempotency import COMMANDS, Acquired, Conflict, Done, Mismatch, Replay, Scope, StaleOwner, Underway
from redstep.idempotency_protocols import SCRIPTS
from redstep_check import headers
from redstep_check.engines import Engine

BY_DRIVERS = {"evalsha", "eval", "script|load"}


def use(make: Callable[..., Any], wait: Callable[[Any], Any]) -> None:
    """All that a store does: by the engine's clock, and by the caller's, where a response can be seen to die."""
    clock_ms = [1_000]
    for tenant, settings in {"engine": {}, "caller": {"clock": lambda: clock_ms[0]}}.items():
        first, second = (Scope(tenant=tenant, operation="charge", key=key) for key in "12")
        store = make(lease_ms=5_000, retention_ms=30_000, **settings)
        claim = wait(store.claim(first, "payload"))
        assert isinstance(wait(store.claim(first, "payload")), Underway)
        wait(store.renew(first, claim.token))
        assert isinstance(wait(store.complete(first, claim.token, b"done")), Done)
        assert isinstance(wait(store.complete(first, claim.token, b"other")), Conflict)
        assert isinstance(wait(store.claim(first, "payload")), Replay)
        assert isinstance(wait(store.release(second, "nobody")), StaleOwner)
        assert isinstance(wait(store.release(second, wait(store.claim(second, "payload")).token)), Done)
        wait(store.load())
        clock_ms[0] += 30_000
        assert isinstance(wait(store.claim(first, "another payload")), Acquired if settings else Mismatch)
        wait(store.close())


def use_sync(login: dict[str, Any]) -> None:
    """With `IdempotencyStore`."""
    with redis.Redis(**login) as client:
        use(partial(IdempotencyStore, client), lambda value: value)
        client.connection_pool.disconnect()


def use_asyncio(login: dict[str, Any]) -> None:
    """With `AsyncIdempotencyStore`."""
    with asyncio.Runner() as runner:

        def wait(value: Any) -> Any:
            async def awaited() -> Any:
                return await value

            return runner.run(awaited())

        client = redis.asyncio.Redis(**login)
        use(partial(AsyncIdempotencyStore, client), wait)
        wait(client.aclose())


@pytest.mark.parametrize("used", [use_sync, use_asyncio])
def test_the_list_is_enough(user: Callable[..., Any], used: Callable[[dict[str, Any]], None]) -> None:
    """Every kind of call works, and so does redis-py's handshake."""
    with user(COMMANDS) as login:
        used(login)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_no_command_of_the_list_can_be_left_out(user: Callable[..., Any], command: str) -> None:
    """Without it a call fails, definitely, by the engine's refusal."""
    with user(COMMANDS - {command}) as login:
        with pytest.raises(Unavailable, match=r"NOPERM|ACL|can't run this command") as caught:
            use_sync(login)
        assert caught.value.definite is True


def test_the_list_is_that_of_the_scripts() -> None:
    """What the scripts call, what the drivers send, and nothing else."""
    called = {command for script in SCRIPTS for _, command in headers._calls(headers.parse(script.text))}
    assert None not in called
    assert {str(command).lower() for command in called} | BY_DRIVERS == COMMANDS


def test_every_script_of_the_store_is_counted() -> None:
    """None lies in the folder that the store calls and the list leaves out."""
    files = {file.name.removesuffix(".lua") for file in resources.files("redstep_lua").iterdir() if file.name.endswith(".lua")}
    assert {each.name for each in SCRIPTS} == {name for name in files if name.startswith("idempotency_")}


def test_half_a_list_leaves_half_a_write(acl_engine: Engine, user: Callable[..., Any]) -> None:
    """The danger that makes the list a contract: without PEXPIREAT a refused claim blocks its key, and never expires."""
    with user(COMMANDS - {"pexpireat"}) as login, redis.Redis(**login) as client:
        store = IdempotencyStore(client)
        with pytest.raises(Unavailable):
            store.claim(Scope(operation="charge", key="1"), "payload")
        assert isinstance(store.claim(Scope(operation="charge", key="1"), "payload"), Underway)
        store.close()
    with acl_engine.client() as admin:
        assert [admin.pttl(key) for key in admin.scan_iter()] == [-1]
