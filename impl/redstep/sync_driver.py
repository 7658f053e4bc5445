"""
The synchronous driver: carries out the wishes of a protocol on a thread of the caller's, against a `redis.Redis`.

A protocol that never asks a store, such as the local circuit breaker's, needs no more than a `SyncRunner`.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import redis
from redis.exceptions import NoScriptError

from redstep.driving import (
    COMPENSATION_MAX_MS,
    Clock,
    Draw,
    Raised,
    Returned,
    Run,
    Words,
    checked_clock,
    command,
    sources,
    within,
)
from redstep.errors import RedstepError, Unavailable
from redstep.redis_clients import checked_client, never_retrying
from redstep.redis_errors import after_sending, before_sending
from redstep.scripts import Script
from redstep.wishes import (
    Announce,
    CallScript,
    Protocol,
    RunWork,
    Sleep,
    Store,
    Wish,
)

T = TypeVar("T")
log = logging.getLogger("redstep")


class SyncRunner:
    """Runs protocols that need no store; safe to share between threads.

    `clock` is this process's, monotonic, in ms; `draw` draws an integer from the least to the most. Both are for tests.
    """

    def __init__(self, *, clock: Clock | None = None, draw: Draw | None = None) -> None:
        self._sources = sources(clock, draw)

    def run(self, protocol: Protocol[T]) -> T:
        """Carry a protocol through to its result, or raise what it raises."""
        run = Run(protocol)
        while run.wish is not None and run.interruption is None:
            run.feed(self._outcome(run.wish))
        self._compensate(run)
        return run.result()

    def _compensate(self, run: Run[Any]) -> None:
        deadline = time.monotonic() + COMPENSATION_MAX_MS / 1000
        while run.wish is not None:
            left_ms = int((deadline - time.monotonic()) * 1000)
            if left_ms <= 0:
                run.abandon()
            else:
                run.feed(self._outcome(within(run.wish, left_ms)))

    def _outcome(self, wish: Wish) -> Returned | Raised:
        try:
            return Returned(self._carry_out(wish))
        except BaseException as error:  # noqa: BLE001  interruptions are outcomes too
            return Raised(error)

    def _carry_out(self, wish: Wish) -> object:
        match wish:
            case CallScript():
                return self._execute(wish)
            case Sleep(ms):
                time.sleep(ms / 1000)
            case RunWork(work):
                return work()
            case Announce(listeners, event):
                self._announce(listeners, event)
            case _:
                return self._sources.at_once(wish)
        return None

    def _announce(self, listeners: tuple[Callable[[Any], Any], ...], event: object) -> None:
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %r", event)

    def _execute(self, request: CallScript) -> object:
        raise Unavailable(f"there is no store to run {request.script.name}", definite=True)


class SyncDriver(SyncRunner):
    """Runs protocols against a store; safe to share between threads.

    `clock` is what placeholders for now are filled with, in ms; None leaves it to the engine, which is what services want.
    `draw` is for tests, as of a SyncRunner.
    `elsewhere` are the clients of other stores that requests may be for; a store without one is where the first client is.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        clock: Clock | None = None,
        draw: Draw | None = None,
        elsewhere: Mapping[Store, redis.Redis] | None = None,
    ) -> None:
        super().__init__(draw=draw)
        checked_client("client", client, redis.Redis)
        self._elsewhere = {
            store: SyncDriver(checked_client(f"{store.value}_client", other, redis.Redis), clock=clock)
            for store, other in (elsewhere or {}).items()
        }
        self._clock = checked_clock(clock)
        self._pool = never_retrying(client.connection_pool)
        self._owns_pool = self._pool is not client.connection_pool

    def close(self) -> None:
        """Close the connections that this driver opened; the caller's stay."""
        if self._owns_pool:
            self._pool.disconnect()
        for driver in self._elsewhere.values():
            driver.close()

    def load(self, scripts: Sequence[Script]) -> None:
        """Put scripts into the engine ahead of time, and elsewhere if that can be. Raises Unavailable, ServiceOverloaded."""
        for script in scripts:
            connection = self._connection()
            try:
                self._exchange(connection, ("SCRIPT LOAD", script.text.encode()))
            finally:
                self._pool.release(connection)
        for store, driver in self._elsewhere.items():
            try:
                driver.load(scripts)
            except RedstepError as error:
                log.warning("the %s store has no scripts yet: %s", store.value, error)

    def _execute(self, request: CallScript) -> object:
        return self._elsewhere.get(request.store, self).call_script(request)

    def call_script(self, request: CallScript) -> object:
        """Have a script executed here. Raises Unavailable, Corrupt, ServiceOverloaded."""
        connection = self._connection()
        try:
            now_ms = self._clock() if self._clock else None
            try:
                return self._exchange(connection, command(request, "EVALSHA", now_ms))
            except NoScriptError:
                return self._exchange(connection, command(request, "EVAL", now_ms))
        finally:
            self._pool.release(connection)

    def _connection(self) -> Any:
        try:
            return self._pool.get_connection()
        except Exception as error:
            raise before_sending(error) from error

    def _exchange(self, connection: Any, words: Words) -> object:
        try:
            connection.send_command(*words, check_health=False)
            return connection.read_response(disable_decoding=True)
        except NoScriptError:
            raise
        except Exception as error:
            raise after_sending(error) from error
        except BaseException:
            connection.disconnect()
            raise
