"""Refusals: what the engine answers is definite; what it means is said, and nothing is changed by it (CM-9)."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast
from unittest.mock import patch

import pytest
import redis

from redstep import Corrupt, Limit, Misuse, Unavailable, rate_limiter
from redstep.rate_limiter import REPRESENTATIONS, Policy
from redstep.scripts import Script
from redstep_check.engines import DEFAULT, open_engine
from support.servers import listening
from support.waiting import eventually

from .stage import KEY, Stage, acquire, in_use, peek, settings

# --- conditions that a server can be in ---------------------------------------------------------------------------------


@contextmanager
def replica_of_nobody(admin: redis.Redis) -> Iterator[None]:
    """As a replica whose primary can't be reached."""
    admin.replicaof("127.0.0.1", "1")
    try:
        yield
    finally:
        admin.replicaof("NO", "ONE")


@contextmanager
def cut_off_replica(admin: redis.Redis) -> Iterator[None]:
    """As such a replica that was told not to answer with stale data."""
    with settings(admin, replica_serve_stale_data="no"), replica_of_nobody(admin):
        yield


@contextmanager
def busy(admin: redis.Redis) -> Iterator[None]:
    """While a script of somebody else's runs on and on."""
    with settings(admin, busy_reply_threshold=1), socket.socket(socket.AF_UNIX) as other:
        other.connect(admin.connection_pool.connection_kwargs["path"])
        other.sendall(b"EVAL 'while true do end' 0\r\n")
        assert eventually(lambda: _refuses(admin.ping))
        try:
            yield
        finally:
            admin.script_kill()
            other.recv(1)


def _refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except redis.ResponseError:
        return True
    return False


def full_server(admin: redis.Redis) -> AbstractContextManager[None]:
    """When the server takes no further connection."""
    return settings(admin, maxclients=admin.info("clients")["connected_clients"])


def password_wanted(admin: redis.Redis) -> AbstractContextManager[None]:
    """When the server wants a password."""
    return settings(admin, requirepass="secret")


NO_HANDSHAKE = {"protocol": 2, "driver_info": None}
WARM = True

REFUSALS: dict[str, tuple[str, Callable[[redis.Redis], AbstractContextManager[None]], dict[str, Any], bool]] = {
    "a read-only replica": ("READONLY", replica_of_nobody, {}, WARM),
    "a replica cut off": ("MASTERDOWN", cut_off_replica, {}, WARM),
    "too few replicas": ("NOREPLICAS", lambda admin: settings(admin, min_replicas_to_write=1), {}, WARM),
    "a full memory": ("OOM", lambda admin: settings(admin, maxmemory=1), {}, WARM),
    "a busy script": ("BUSY", busy, {}, WARM),
    "a busy script, connecting": ("BUSY", busy, {}, not WARM),
    "a wrong password": ("invalid username-password pair", password_wanted, {"password": "wrong"}, not WARM),
    "no password": ("", password_wanted, {}, not WARM),
    "no password, without a handshake": ("unauthenticated", password_wanted, NO_HANDSHAKE, not WARM),
    "a full server": ("", full_server, {}, not WARM),
}
"""What the error says, the condition, how the client is made, and whether it has a connection by then."""


@pytest.mark.parametrize("reason", REFUSALS)
def test_a_refusal_is_definite(stage: Stage, reason: str) -> None:
    """What the engine answers, or that it can't be reached, is certain: nothing was executed, and a retry is free."""
    code, condition, options, warm = REFUSALS[reason]
    driver = stage.driver(stage.client(**options))
    if warm:
        stage.run(acquire(), driver)
    charged = stage.charged()
    for request_id in (None, "r1"):
        with condition(stage.admin):
            error = stage.failure(acquire(request_id=request_id), driver)
        assert error.definite is True
        assert code in str(error)
        assert not code.isupper() or error.code == code
        assert "nothing was executed" in str(error)
        assert stage.charged() == charged
    assert stage.run(acquire(), driver).remaining == 99 - charged
    assert in_use(driver._pool) == 0


def test_a_forbidden_command_is_definite(stage: Stage) -> None:
    """An ACL user who may not run scripts has not run one (NOPERM)."""
    stage.admin.acl_setuser("weak", enabled=True, passwords=["+weak"], keys="*", categories=["+@all"], commands=["-evalsha"])
    try:
        error = stage.failure(acquire(), stage.driver(stage.client(username="weak", password="weak")))  # noqa: S106
    finally:
        stage.admin.acl_deluser("weak")
    assert error.definite is True
    assert "NOPERM" in str(error)
    assert stage.charged() == 0


def test_an_engine_that_loads_its_data_is_definite(stage: Stage) -> None:
    """LOADING comes as a connection's error from redis-py, but it is an answer."""
    with open_engine(DEFAULT, config={"enable-debug-command": "yes"}) as slow, slow.client(socket_timeout=None) as admin:
        for number in range(100):
            admin.set(f"key {number}", "x" * 2_000)
        admin.config_set("loading-process-events-interval-bytes", 1024)
        driver = stage.driver(stage.client(cast("str", slow.address)))
        stage.run(acquire(), driver)
        admin.config_set("key-load-delay", 10_000)  # microseconds
        reloading = threading.Thread(target=admin.execute_command, args=("DEBUG", "RELOAD"))
        reloading.start()
        errors: list[Unavailable] = []

        def refused() -> bool:
            try:
                stage.run(acquire(), driver)
            except Unavailable as error:
                errors.append(error)
            return bool(errors)

        assert eventually(refused)
        with slow.client() as other:
            other.config_set("key-load-delay", 0)
        reloading.join()
    assert "LOADING" in str(errors[0])
    assert errors[0].definite is True


def test_a_cluster_without_its_slots_is_definite(stage: Stage) -> None:
    """CLUSTERDOWN executed nothing."""
    with listening(DEFAULT, "port", "cluster-port", config={"cluster-enabled": "yes"}) as (broken, _):
        error = stage.failure(acquire(), stage.driver(stage.client(cast("str", broken.address))))
    assert error.definite is True
    assert "CLUSTERDOWN" in str(error)


@pytest.mark.parametrize("representation", REPRESENTATIONS)
def test_a_full_memory_still_denies(stage: Stage, representation: str) -> None:
    """Denials are answered, admissions fail, and not a byte is added (RL-17)."""
    policy = Policy(limits=Limit(3, 3_600_000), representation=representation)
    driver = stage.driver()
    for _ in range(3):
        assert stage.run(rate_limiter.acquire(policy, "full"), driver).allowed
    stage.run(rate_limiter.acquire(policy, "other"), driver)
    keys = [*policy.keys("full"), *policy.keys("other")]
    with settings(stage.admin, maxmemory=1):
        before = [stage.admin.dump(key) for key in keys]
        for _ in range(20):
            decision = stage.run(rate_limiter.acquire(policy, "full"), driver)
            assert (decision.allowed, decision.remaining) == (False, 0)
            error = stage.failure(rate_limiter.acquire(policy, "other"), driver)
            assert error.definite is True
            assert "OOM" in str(error)
        assert [stage.admin.dump(key) for key in keys] == before
        assert stage.admin.dbsize() == 2
    assert stage.run(rate_limiter.acquire(policy, "other"), driver).remaining == 1


# --- answers that are nobody's outage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("planted", ["another type", "a score that is no integer", "a score below zero"])
def test_what_is_no_log_is_corrupt_and_stays(stage: Stage, planted: str) -> None:
    """Nothing is changed, neither by acquire nor by peek, and nobody takes it for a denial or an outage."""
    if planted == "another type":
        stage.admin.set(KEY, "something else")
    else:
        stage.admin.zadd(KEY, {"x": 10.0**15 + 0.5 if "integer" in planted else -5})
    before = stage.admin.dump(KEY)
    for protocol in (acquire(), acquire(request_id="r1"), peek()):
        with pytest.raises(Corrupt, match="user"):
            stage.run(protocol)
    assert stage.admin.dump(KEY) == before
    assert stage.admin.pttl(KEY) == -1
    assert stage.run(acquire("another")).allowed


def test_a_script_of_another_shape_is_corrupt(stage: Stage) -> None:
    """A reply that no redstep script gives is not guessed at."""
    with patch.object(rate_limiter, "ZSET_ACQUIRE", Script("other", "return {1, 2}")), pytest.raises(Corrupt):
        stage.run(acquire())


def test_what_the_script_refuses_is_misuse(stage: Stage) -> None:
    """A clock of the caller's that gives nonsense is named."""
    with pytest.raises(Misuse) as caught:
        stage.run(acquire(), stage.driver(clock=lambda: -5))
    assert caught.value.argument == "now_ms"
    assert stage.charged() == 0
