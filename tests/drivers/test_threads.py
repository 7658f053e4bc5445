"""Threads: Ctrl-C, many threads and a forked process, which only the sync driver meets (CM-10)."""

import multiprocessing
import os
import queue
import signal
import threading
from multiprocessing.connection import Connection
from typing import cast

import pytest

from redstep import Decision, Limit, RateLimiter, Usage
from support.servers import blocked, writes_paused
from support.waiting import eventually

from .clients import client_of
from .stage import Stage, count, guarding, in_use, once, peek


def test_control_c_in_the_midst_of_a_call(sync_stage: Stage) -> None:
    """KeyboardInterrupt reaches the protocol and its caller; the connection with the unread reply is not used again."""
    stage, seen = sync_stage, list[BaseException]()
    client = stage.client(max_connections=1)
    driver = stage.driver(client)

    def press() -> None:
        assert eventually(lambda: blocked(stage.admin))
        signal.pthread_kill(cast("int", threading.main_thread().ident), signal.SIGINT)
        assert eventually(lambda: bool(seen))
        stage.admin.client_unpause()

    thread = threading.Thread(target=press)
    with writes_paused(stage.admin):
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            stage.run(guarding(count("n"), seen, count("compensated")), driver)
        thread.join()
    assert [type(each) for each in seen] == [KeyboardInterrupt]
    assert stage.counted("compensated") == 1
    assert in_use(client.connection_pool) == 0
    assert isinstance(stage.run(peek(), driver), Usage)
    assert stage.run(once(count("after")), driver) == [1]


def test_many_threads_share_a_limiter(sync_stage: Stage) -> None:
    """Together they are admitted to the limit and not beyond, and each gets its own answers."""
    limiter = RateLimiter(sync_stage.client(max_connections=8), Limit(60, 3_600_000), on_store_failure="closed")
    answers: queue.SimpleQueue[Decision] = queue.SimpleQueue()

    def work() -> None:
        for _ in range(10):
            answers.put(limiter.acquire("shared"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    decisions = [answers.get_nowait() for _ in range(80)]
    assert sorted(each.remaining for each in decisions if each.allowed) == list(range(60))
    assert sum(not each.allowed for each in decisions) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
@pytest.mark.parametrize("kind", ["pool", "constructor"])
def test_a_forked_child_uses_the_same_limiter(sync_stage: Stage, kind: str) -> None:
    """It connects anew instead of talking into its parent's connection; both count on one log."""
    client = client_of(sync_stage, kind, cast("str", sync_stage.engine.address))
    with RateLimiter(client, Limit(100, 3_600_000), on_store_failure="closed") as limiter:
        assert limiter.acquire("forked").remaining == 99
        fork = multiprocessing.get_context("fork")
        here, there = fork.Pipe()
        child = fork.Process(target=_spend, args=(limiter, there))
        child.start()
        assert here.recv() == [98, 97, 96]
        child.join()
        assert child.exitcode == 0
        assert limiter.acquire("forked").remaining == 95


def _spend(limiter: RateLimiter, answer: Connection) -> None:
    answer.send([limiter.acquire("forked").remaining for _ in range(3)])
