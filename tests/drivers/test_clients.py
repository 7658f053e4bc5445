"""Clients: any of redis-py's will do, whatever it decodes, retries or shares, and it is left as it was."""

from typing import Any
from unittest.mock import patch

import pytest
import redis
import redis.asyncio.sentinel
import redis.sentinel

from redstep import (
    AsyncRateLimiter,
    Corrupt,
    Limit,
    RateLimiter,
    Unavailable,
    async_start_region,
    rate_limiter,
    start_region,
)
from redstep.rate_limiter import ZSET
from redstep_check.engines import open_engine
from redstep_spec.delivery import Fate
from support.waiting import eventually

from .clients import any_client, client_of
from .stage import KEY, POLICY, Stage, acquire, peek

OPTIONS: dict[str, dict[str, Any]] = {
    "decoded": {"decode_responses": True},
    "protocol 2": {"protocol": 2},
    "protocol 2, decoded": {"protocol": 2, "decode_responses": True},
    "protocol 3": {"protocol": 3},
    "health checks": {"health_check_interval": 1},
    "another encoding": {"encoding": "utf-16"},
    "another encoding, decoded": {"encoding": "latin-1", "decode_responses": True},
    "a lossy encoding": {"encoding": "ascii", "encoding_errors": "replace"},
    "no timeouts": {"socket_timeout": None, "socket_connect_timeout": None},
    "one connection": {"single_connection_client": True},
    "a name": {"client_name": "limiter"},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_the_settings_of_a_client_do_not_matter(stage: Stage, options: str) -> None:
    """Replies, errors and keys are the same, whatever it decodes, encodes or checks; no two names become one key."""
    client = stage.library.Redis(unix_socket_path=stage.engine.address, **OPTIONS[options])
    driver = stage.driver(stage.adopt(client))
    names = ("user", "ключ", "キー", "é", "è", "e?", "🔑")
    for name in names:
        assert stage.run(acquire(name), driver).remaining == 99
        assert stage.run(acquire(name, request_id="идентификатор"), driver).remaining == 98
        assert stage.run(acquire(name, request_id="идентификатор"), driver).remaining == 98
        assert stage.run(peek(name)).remaining == 98
    assert stage.admin.dbsize() == len(names)
    stage.engine.flush_scripts()
    stage.wait(driver.load(rate_limiter.scripts_of(ZSET)))
    stage.forget_commands()
    for name in names:
        assert stage.run(rate_limiter.reset(POLICY, name), driver) is None
    assert stage.scripts_sent() == {"evalsha": len(names)}
    assert stage.admin.dbsize() == 0
    stage.admin.set(KEY, "something else")
    with pytest.raises(Corrupt):
        stage.run(acquire(), driver)


def test_fakeredis_will_do(stage: Stage) -> None:
    """For tests of services: the same answers, and a flush is not noticed."""
    with open_engine("fakeredis") as fake:
        client = stage.adopt(fake.client() if stage.library is redis else fake.async_client())
        driver = stage.driver(client)
        assert stage.run(acquire(), driver).remaining == 99
        fake.flush_scripts()
        assert stage.run(acquire(request_id="r1"), driver).remaining == 98
        assert stage.run(acquire(request_id="r1"), driver).remaining == 98
        assert stage.run(peek(), driver).remaining == 98
        stage.wait(driver.load(rate_limiter.scripts_of(ZSET)))
        assert stage.run(rate_limiter.reset(POLICY, "user"), driver) is None
        assert stage.run(peek(), driver).remaining == 100
        with fake.client() as admin:
            admin.set(KEY, "something else")
        with pytest.raises(Corrupt):
            stage.run(acquire(), driver)


def test_a_sentinels_client_is_driven_too(stage: Stage, tcp_address: tuple[str, int]) -> None:
    """Its pool is made with more than the settings of connections; with retries, the driver makes another such pool."""

    def primary(_name: str) -> Any:
        return found() if stage.library is redis.asyncio else tcp_address

    async def found() -> tuple[str, int]:
        return tcp_address

    sentinel = (redis.sentinel if stage.library is redis else redis.asyncio.sentinel).Sentinel([])
    with patch.object(sentinel, "discover_master", primary):
        for remaining, options in ((99, {}), (98, {"retry": stage.retry(3)})):
            client = stage.adopt(sentinel.master_for("primary", **options))
            driver = stage.driver(client)
            assert stage.run(acquire(), driver).remaining == remaining
            assert (driver._pool is client.connection_pool) is not bool(options)


# --- what belongs to whom -----------------------------------------------------------------------------------------------


@any_client
def test_the_callers_client_is_not_altered(stage: Stage, kind: str) -> None:
    """Its settings, its retries and its connections are what they were, and it works on after the driver is closed."""
    client = client_of(stage, kind)
    stage.wait(client.ping())
    before = portrait(client)
    driver = stage.driver_type(client)
    stage.run(acquire(), driver)
    stage.proxy.arm([Fate.REPLY_LOST])
    with pytest.raises(Unavailable):
        stage.run(acquire(), driver)
    stage.wait(driver.close())
    assert portrait(client) == before
    assert stage.wait(client.ping())
    assert portrait(client) == before


def portrait(client: Any) -> object:
    """All of a client that a driver might have altered."""
    pool = client.connection_pool
    settings = {name: setting for name, setting in pool.connection_kwargs.items() if name != "retry"}
    connections = sorted((*pool._get_free_connections(), *pool._get_in_use_connections()), key=id)
    retries = [client.get_retry(), *(each.retry for each in connections)]
    policies = [each and (each.get_retries(), each._supported_errors) for each in retries]
    return settings, policies, [id(each) for each in connections], pool.max_connections


def test_a_pool_of_the_drivers_own_is_like_the_callers(stage: Stage) -> None:
    """It is as large, and it waits as long."""
    retry = stage.retry(3)
    client = stage.client(blocking=True, max_connections=2, timeout=0.07, retry=retry, socket_timeout=3)
    pool = stage.driver(client)._pool
    assert pool is not client.connection_pool
    assert (type(pool), pool.max_connections, pool.timeout) == (type(client.connection_pool), 2, 0.07)
    connection = stage.wait(pool.get_connection())
    assert (connection.socket_timeout, connection.retry.get_retries()) == (3, 0)
    assert isinstance(connection.retry, type(retry))
    stage.wait(pool.release(connection))


@pytest.mark.parametrize("retries", [0, 3])
def test_closing_a_driver_closes_its_own_connections_alone(stage: Stage, retries: int) -> None:
    """Those that it opened beside the caller's are gone from the server; the caller's stay, and both can be used again."""
    client = stage.client(client_name="mine", retry=stage.retry(retries))
    stage.wait(client.ping())
    driver = stage.driver(client)
    for _ in range(2):
        stage.run(acquire(), driver)
        assert connections_named(stage, "mine") == (2 if retries else 1)
        stage.wait(driver.close())
        assert eventually(lambda: connections_named(stage, "mine") == 1)


def test_a_limiter_closes_its_own_connections_at_the_end_of_its_block(stage: Stage) -> None:
    """`with` and `async with` do what `close` does."""

    def use() -> None:
        with RateLimiter(client, Limit(5, 1_000), on_store_failure="closed") as limiter:
            assert limiter.acquire("user").allowed
            assert connections_named(stage, "mine") == 1

    async def use_async() -> None:
        async with AsyncRateLimiter(client, Limit(5, 1_000), on_store_failure="closed") as limiter:
            assert (await limiter.acquire("user")).allowed
            assert connections_named(stage, "mine") == 1

    client = stage.client(client_name="mine", retry=stage.retry(3))
    if stage.library is redis:
        use()
    else:
        stage.wait(use_async())
    assert eventually(lambda: connections_named(stage, "mine") == 0)


def test_starting_a_region_leaves_no_connection_behind(stage: Stage) -> None:
    """Neither when it comes to a region nor when it fails."""
    start = start_region if stage.library is redis else async_start_region
    client = stage.client(stage.proxy.address, client_name="mine", retry=stage.retry(3))
    assert stage.wait(start(client, "eu")).name == "eu"
    assert eventually(lambda: connections_named(stage, "mine") == 0)
    stage.proxy.arm([Fate.REPLY_LOST] * 2)
    with pytest.raises(Unavailable):
        stage.wait(start(client, "eu"))
    assert eventually(lambda: connections_named(stage, "mine") == 0)


def connections_named(stage: Stage, name: str) -> int:
    """How many connections of this name the server has."""
    return sum(each["name"] == name for each in stage.admin.client_list())
