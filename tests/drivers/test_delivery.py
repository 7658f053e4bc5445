"""Delivery: nothing is executed twice without anybody's knowledge, and a script that was forgotten is nobody's problem."""

import threading
from typing import Any
from unittest.mock import patch

import pytest
from redis.exceptions import MaxConnectionsError

from redstep import ServiceOverloaded, Unavailable, rate_limiter
from redstep.rate_limiter import ZSET
from redstep_spec.delivery import Fate
from support.servers import blocked, impatient, writes_paused
from support.waiting import eventually

from .clients import any_client, client_of
from .stage import COUNT, Stage, acquire, count, held_connection, in_use, once, peek, twice

NOT_SENT, REPLY_LOST, FLUSHED = Fate.NOT_SENT, Fate.REPLY_LOST, Fate.FLUSHED


# --- CM-4, CM-5: replies that are lost ----------------------------------------------------------------------------------


@any_client
def test_a_lost_reply_is_not_asked_for_again(stage: Stage, kind: str) -> None:
    """A plain acquire is executed once, whatever client it is given; that it may have been is said (CM-5, CM-9)."""
    driver = stage.driver(client_of(stage, kind))
    stage.proxy.arm([REPLY_LOST])
    assert stage.failure(acquire(), driver).definite is False
    assert (stage.proxy.executed, stage.charged()) == (1, 1)
    assert stage.run(acquire(), driver).remaining == 98


@any_client
def test_an_identity_makes_asking_again_safe(stage: Stage, kind: str) -> None:
    """With a request id the same bytes are sent once more: two executions, one charge, and the decision (CM-4)."""
    driver = stage.driver(client_of(stage, kind))
    stage.proxy.arm([REPLY_LOST])
    decision = stage.run(acquire(request_id="r1"), driver)
    assert (decision.allowed, decision.remaining) == (True, 99)
    assert (stage.proxy.executed, stage.charged()) == (2, 1)


def test_asking_again_has_an_end(stage: Stage) -> None:
    """When the second reply is lost too, the outcome is unknown, and charged once."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.proxy.arm([REPLY_LOST] * 5)
    assert stage.failure(acquire(request_id="r1"), driver).definite is False
    assert (stage.proxy.executed, stage.charged()) == (2, 1)


def test_a_store_gone_after_a_lost_reply_leaves_the_outcome_unknown(stage: Stage) -> None:
    """The second attempt was definitely not executed, but the first may have been."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.proxy.arm([REPLY_LOST, NOT_SENT])
    assert stage.failure(acquire(request_id="r1"), driver).definite is False
    assert (stage.proxy.executed, stage.charged()) == (1, 1)


def test_a_full_pool_after_a_lost_reply_leaves_the_outcome_unknown(stage: Stage) -> None:
    """ServiceOverloaded would say that nothing was sent."""
    client = stage.client(stage.proxy.address, max_connections=1)
    driver, real, taken = stage.driver(client), client.connection_pool.get_connection, list[bool]()

    def only_once() -> Any:
        if taken:
            raise MaxConnectionsError
        taken.append(True)
        return real()

    stage.proxy.arm([REPLY_LOST])
    with patch.object(client.connection_pool, "get_connection", only_once):
        assert stage.failure(acquire(request_id="r1"), driver).definite is False
    assert stage.proxy.executed == 1


def test_the_danger_is_real(stage: Stage) -> None:
    """The same client, used by itself, charges again for each reply that is lost; through a driver it charges once."""
    client = client_of(stage, "constructor")
    stage.proxy.arm([REPLY_LOST] * 3)
    assert stage.wait(client.eval(COUNT.text, 1, "alone")) == [4]
    stage.proxy.arm([REPLY_LOST] * 3)
    assert stage.failure(once(count("driven")), stage.driver(client)).definite is False
    assert (stage.counted("alone"), stage.counted("driven")) == (4, 1)


def test_a_reply_that_does_not_come_in_time_leaves_the_outcome_unknown(stage: Stage) -> None:
    """A timeout says nothing about what the engine did; the connection is given up with it."""
    client = stage.client(max_connections=1)
    driver = stage.driver(client)
    stage.run(acquire(), driver)
    with writes_paused(stage.admin), impatient(client.connection_pool):
        assert stage.failure(acquire(), driver).definite is False
    assert in_use(client.connection_pool) == 0


def test_a_connection_killed_on_the_way_leaves_the_outcome_unknown(stage: Stage) -> None:
    """The engine closed it with the request taken and the reply not given."""
    driver = stage.driver(stage.client(client_name="victim"))
    stage.run(acquire(), driver)

    def kill() -> None:
        assert eventually(lambda: blocked(stage.admin))
        [victim] = [each for each in stage.admin.client_list() if each["name"] == "victim"]
        stage.admin.client_kill_filter(_id=victim["id"])

    with writes_paused(stage.admin):
        killer = threading.Thread(target=kill)
        killer.start()
        assert stage.failure(acquire(), driver).definite is False
        killer.join()


# --- CM-5: a store that can't be reached ---------------------------------------------------------------------------------


@any_client
def test_a_refused_connection_fails_at_once(stage: Stage, kind: str) -> None:
    """One attempt to connect, and the certainty that nothing was executed."""
    client = client_of(stage, kind)
    attempts = counting_attempts(client.connection_pool)
    driver = stage.driver(client)
    stage.proxy.arm([NOT_SENT])
    for request_id in (None, "r1"):
        attempts.clear()
        assert stage.failure(acquire(request_id=request_id), driver).definite is True
        assert len(attempts) == 1
    stage.proxy.restore()
    assert stage.run(acquire(), driver).remaining == 99


def counting_attempts(pool: Any) -> list[None]:
    """Have the pool's future connections note each attempt to connect."""
    attempts: list[None] = []
    plain = pool.connection_class

    class Counting(plain):  # type: ignore[valid-type, misc]  # of either library
        def _connect(self) -> Any:
            attempts.append(None)
            return super()._connect()

    pool.connection_class = Counting
    return attempts


# --- CM-6: scripts that the engine forgot -----------------------------------------------------------------------------


def test_a_flush_between_any_two_calls_is_not_noticed(stage: Stage) -> None:
    """NOSCRIPT reaches nobody, and no call is executed more than once for it."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.proxy.arm([FLUSHED] * 4)
    assert stage.run(acquire(), driver).remaining == 99
    assert stage.run(acquire(request_id="r1"), driver).remaining == 98
    assert stage.run(peek(), driver).remaining == 98
    assert stage.run(twice(count("n")), driver) == [[1], [2]]
    assert stage.proxy.executed == 5


def test_a_flush_uses_no_resend_up(stage: Stage) -> None:
    """A reply that is lost after a flush may still be asked for again, and the second attempt may find a flush too."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.engine.flush_scripts()
    stage.proxy.arm([REPLY_LOST, FLUSHED])
    assert stage.run(acquire(request_id="r1"), driver).remaining == 99
    assert (stage.proxy.executed, stage.charged()) == (2, 1)


def test_a_reply_lost_after_a_flush_is_unknown(stage: Stage) -> None:
    """The EVAL that follows NOSCRIPT is as much at most once as EVALSHA."""
    driver = stage.driver(stage.client(stage.proxy.address))
    stage.engine.flush_scripts()
    stage.proxy.arm([REPLY_LOST])
    assert stage.failure(acquire(), driver).definite is False
    assert (stage.proxy.executed, stage.charged()) == (1, 1)


def test_scripts_can_be_loaded_ahead(stage: Stage) -> None:
    """After `load` the first call of each is EVALSHA alone; without, EVAL follows it."""
    driver = stage.driver()
    stage.wait(driver.load(rate_limiter.scripts_of(ZSET)))
    stage.forget_commands()
    stage.run(acquire(), driver)
    stage.run(peek(), driver)
    assert stage.scripts_sent() == {"evalsha": 2}
    stage.engine.flush_scripts()
    stage.run(acquire(), driver)
    assert stage.scripts_sent() == {"evalsha": 3, "eval": 1}


def test_loading_ahead_says_whose_fault_it_is(stage: Stage) -> None:
    """It raises what a call would raise."""
    driver = stage.driver(stage.client(stage.proxy.address, max_connections=1))
    with held_connection(stage, driver._pool), pytest.raises(ServiceOverloaded):
        stage.wait(driver.load(rate_limiter.scripts_of(ZSET)))
    stage.proxy.arm([NOT_SENT])
    with pytest.raises(Unavailable) as caught:
        stage.wait(driver.load(rate_limiter.scripts_of(ZSET)))
    assert caught.value.definite
