"""
Least privilege: a user who may run `COMMANDS` on the prefix, and nothing else, may do all that the limiter does.

The list is part of the contract, not advice. An engine refuses a command when a script comes to it, and does not undo what the
script wrote before: a user who lacks a later write, say PEXPIREAT, is charged for a call that he is told was refused, in a log
that never expires. A whole list is either granted or not; there is no half of it that fails cleanly.
"""

import asyncio
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest
import redis
import redis.asyncio
from attrs import frozen

from redstep import AsyncRateLimiter, Limit, RateLimiter, Unavailable, async_start_region, rate_limiter, start_region
from redstep.rate_limiter import COMMANDS, REPRESENTATIONS, ZSET
from redstep.scripts import Script
from redstep_check import headers
from redstep_check.engines import Engine

LIMIT = Limit(6, 3_600_000)
CLOCKS: tuple[Callable[[], int] | None, ...] = (None, lambda: 5_000)
BY_DRIVERS = {"evalsha", "eval", "script|load"}
EACH = [(representation, command) for representation in REPRESENTATIONS for command in sorted(COMMANDS[representation])]


def use(limiter: Any, representation: str) -> None:
    """All that a limiter does, under a limit of six that a cold start halves."""
    assert limiter.acquire("user", request_id="r1" if representation == ZSET else None).allowed
    assert limiter.acquire("user").allowed
    assert not limiter.acquire("user", 2).allowed
    assert limiter.peek("user").remaining == 1
    limiter.reset("user")
    limiter.load()
    assert limiter.acquire("user", 3).allowed
    limiter.reset("user")


def use_sync(login: dict[str, Any], representation: str) -> None:
    """By the engine's clock and by the caller's."""
    with redis.Redis(**login) as client:
        region = start_region(client, "eu")
        for clock in CLOCKS:
            with RateLimiter(
                client, LIMIT, region=region, representation=representation, clock=clock, on_store_failure="closed"
            ) as limiter:
                use(limiter, representation)


def use_asyncio(login: dict[str, Any], representation: str) -> None:
    """The same for asyncio."""
    with asyncio.Runner() as runner:
        client = redis.asyncio.Redis(**login)
        region = runner.run(async_start_region(client, "eu"))
        for clock in CLOCKS:
            limiter = AsyncRateLimiter(
                client, LIMIT, region=region, representation=representation, clock=clock, on_store_failure="closed"
            )
            use(Awaited(limiter, runner), representation)
            runner.run(limiter.close())
        runner.run(client.aclose())


@frozen
class Awaited:
    """An asyncio limiter whose calls are waited for."""

    limiter: AsyncRateLimiter
    runner: asyncio.Runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: self.runner.run(getattr(self.limiter, name)(*args, **options))


@pytest.mark.parametrize("representation", REPRESENTATIONS)
@pytest.mark.parametrize("used", [use_sync, use_asyncio])
def test_the_list_is_enough(user: Callable[..., Any], representation: str, used: Callable[[dict[str, Any], str], None]) -> None:
    """Admissions, denials, peeks, resets, loading and regions work, and so does redis-py's handshake."""
    with user(COMMANDS[representation]) as login:
        used(login, representation)


@pytest.mark.catches("CM-12", "a command left out of the list")
@pytest.mark.parametrize(("representation", "command"), EACH)
def test_no_command_of_the_list_can_be_left_out(user: Callable[..., Any], representation: str, command: str) -> None:
    """Without it a call fails, definitely, by the engine's refusal."""
    with user(COMMANDS[representation] - {command}) as login:
        with pytest.raises(Unavailable, match=r"NOPERM|ACL|can't run this command") as caught:
            use_sync(login, representation)
        assert caught.value.definite is True


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_the_list_is_that_of_the_scripts(representation: str) -> None:
    """What the scripts call, what the drivers send, and nothing else."""
    called = {command for script in (*rate_limiter.scripts_of(representation), rate_limiter.CLOCK) for command in calls(script)}
    assert COMMANDS[representation] == {command.lower() for command in called} | BY_DRIVERS


def calls(script: Script) -> Iterator[str]:
    """The commands of a script's calls, all of which are literals."""
    for _, command in headers._calls(headers.parse(script.text)):
        assert command is not None, script.name
        yield command


def test_every_script_of_the_limiter_is_counted() -> None:
    """None lies in the folder that the limiter calls and the list leaves out."""
    known = {rate_limiter.CLOCK.name} | {each.name for kind in REPRESENTATIONS for each in rate_limiter.scripts_of(kind)}
    files = {file.name.removesuffix(".lua") for file in resources.files("redstep_lua").iterdir() if file.name.endswith(".lua")}
    assert known == {name for name in files if name.startswith(("rate_limiter_", "engine_"))}


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_half_a_list_leaves_half_a_write(acl_engine: Engine, user: Callable[..., Any], representation: str) -> None:
    """The danger that makes the list a contract: without PEXPIREAT a call that is refused is charged, for ever."""
    with user(COMMANDS[representation] - {"pexpireat"}) as login, redis.Redis(**login) as client:
        limiter = RateLimiter(client, LIMIT, representation=representation, on_store_failure="closed")
        with pytest.raises(Unavailable):
            limiter.acquire("user")
        assert limiter.peek("user").remaining == 5
        limiter.close()
    with acl_engine.client() as admin:
        assert [admin.pttl(key) for key in admin.scan_iter()] == [-1]
