"""
Binding: somebody's own coroutines, or sync functions, on redis-py, as the scheduler needs them.

    class Mine(Coroutines):                               or Calls, for sync code
        async def run(self, client, operation): ...       have the operation done with this client
        def meant(self, commands, now_ms): ...            the call of the specification that this round trip is, or a Glance
        def told(self, call, value): ...                  what its reply says, by the names of the specification
        def answer(self, result): ...                     what the operation returned, in the same terms
        def seen(self): ...                               what is stored, in the specification's terms

`run` is begun afresh each time, so what it uses must be made in it. The rest has defaults.
"""

from abc import abstractmethod
from collections.abc import Callable, Coroutine, Hashable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import redis
import redis.asyncio
from attrs import evolve
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from redstep_check.binding import Answer, Broke, Unsupported, session_prefix
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import (
    Asks,
    Concurrent,
    Ends,
    Fed,
    Glance,
    Interrupted,
    Pauses,
    Raw,
    Sequential,
    Standing,
    Waits,
)
from redstep_check.interleavings.exhaustive import Bounds, World
from redstep_check.interleavings.foreign import coroutines
from redstep_check.interleavings.foreign.exact import Exact
from redstep_check.interleavings.foreign.operations import Lost, Operation, Over, Slumber
from redstep_check.interleavings.foreign.replaying import Nondeterministic, Replay, Reply
from redstep_check.interleavings.foreign.requests import Recipe, Sent, Unfit
from redstep_check.interleavings.foreign.scripts import Scripts, executable, forgotten
from redstep_check.interleavings.foreign.store import Store
from redstep_check.interleavings.foreign.surroundings import Patch, Surroundings, around, patches, sites
from redstep_check.interleavings.foreign.wire import Commands, replies
from redstep_check.interleavings.session import START_MS
from redstep_check.interleavings.subjects import Subject
from redstep_check.lockstep import raised
from redstep_spec.delivery import Unknown

HOUR_MS = 3_600_000
OPTIONS: Mapping[str, Any] = {
    "socket_timeout": None,
    "socket_connect_timeout": None,
    "driver_info": None,
}
"""Of a connection that sends everything once, waits as long as it takes, and has nothing to tell of itself."""


class Foreign(Concurrent):
    """A foreign implementation on an engine."""

    unit_ms: ClassVar[int] = HOUR_MS
    """What a millisecond of the schedule is to the implementation: much, lest the engine's own clock matter."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Of redis-py's connections, such as `decode_responses`. With a `retry` of redis-py's, requests are sent again."""
    lost: ClassVar[Lost] = Lost.CLOSED
    """How the client learns that no reply will come."""
    modules: ClassVar[Sequence[str]] = ()
    """Modules that import clocks or `sleep` by name, beside redis-py's own."""
    specification: ClassVar[Sequential]
    """Against which it is held."""
    scripts: ClassVar[Sequence[str]] = ()
    """Texts that were loaded when the process began."""
    calls_scripts: ClassVar[bool] = True
    """Whether it calls any. Of one that does not, none can be forgotten, and no run waits for that."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.prefix = session_prefix(engine.prefix)
        """With this all its keys must begin."""
        self.store = Store(engine, self.prefix, self.unit_ms, self.options.get("protocol"))
        self.client: Any = engine.client()
        """For `seen`: it sees what is stored, and nobody schedules it."""
        for text in self.scripts:
            Scripts(self.store.texts).load(text.encode())
        self.sites = sites(("redis.retry", *self.modules))
        self.now_ms = START_MS
        """When the last request was executed."""
        self._resolved: tuple[Any, Commands] | None = None
        self.can_flush = engine.owned and self.calls_scripts
        if self.can_flush:
            self.features = self.features | {"flush"}

    # ------------------------------------------------------------------------------------------ how it is looked at

    @property
    def subject(self) -> Subject:
        """It among concurrent clients: for runs that draw schedules, and to shrink what was found."""
        return Subject(name=self.specification.name, sequential=Exact(self.specification, self.store), variants={})

    def world(self, program: str, bounds: Bounds) -> World:
        """Every schedule of it in a small world."""
        return World(Exact(self.specification, self.store), self, program, bounds)

    # ------------------------------------------------------------------------------------------ what to bind

    @abstractmethod
    def run(self, client: Any, operation: Any) -> Any:
        """Have an operation done with this client, by a fresh instance of the implementation."""

    @abstractmethod
    def meant(self, commands: Commands, now_ms: int) -> Any:
        """The call of the specification that these commands are, executed at once; a Glance if they decide nothing."""

    @abstractmethod
    def told(self, call: Any, value: Any) -> Answer:
        """What the reply says, by the names of the specification's reply fields; of a transaction, EXEC's."""

    @abstractmethod
    def answer(self, result: Any) -> Answer:
        """What an operation returned, in the same terms."""

    def failed(self, error: Exception) -> Answer | None:
        """What it raised, if that is an answer. redis-py's errors of a connection say no more than that nobody knows."""
        return Unknown() if isinstance(error, redis.ConnectionError | redis.TimeoutError) else None

    def is_idempotent(self, commands: Commands) -> bool:
        """Whether the implementation takes these commands for such as may be executed twice."""
        del commands
        return False

    def patched(self, given: Surroundings) -> Iterable[Patch]:
        """What else stands elsewhere while it runs: (object, attribute, value)."""
        del given
        return ()

    # ------------------------------------------------------------------------------------------ how it runs

    @abstractmethod
    def operation(self, operation: Any, given: Surroundings) -> tuple[Operation, Callable[[float], None]]:
        """An operation that is not begun yet, and what its code sleeps by."""

    def _replayed(self, recipe: Recipe, now_ms: int | None) -> Standing:
        """Once more if a script was met for the first time: to all others it is one that the engine knows."""
        scripts = len(self.store.texts)
        standing = self._replayed_once(recipe, now_ms)
        return standing if len(self.store.texts) == scripts else self._replayed(recipe, now_ms)

    def _replayed_once(self, recipe: Recipe, now_ms: int | None) -> Standing:
        given = Surroundings(f"{recipe.client}.{recipe.begun}", self.unit_ms)
        operation, sleep = self.operation(recipe.operation, given)
        replay = Replay(operation, given, Scripts(self.store.texts), self.lost)
        with around(given, (*patches(given, sleep, self.sites), *self.patched(given))):
            try:
                stop, depends = replay.run(recipe.fed, START_MS, now_ms)
                if isinstance(stop, Over):
                    return Ends(self._ended(stop))
            except Unfit as unfit:
                raise type(unfit)(f"{type(self).__name__}, {recipe.operation}: {unfit}") from unfit
            finally:
                operation.discard()
        if isinstance(stop, Slumber):
            return Waits(Pauses("sleep"))
        sent = Sent(stop, recipe if depends else None)
        is_again = bool(recipe.fed) and Reply.of(recipe.fed[-1].raw).was_flushed
        return Waits(Asks(sent, self.is_idempotent(stop), needs_script=bool(forgotten(stop)) and not is_again))

    def _ended(self, over: Over) -> Answer | Interrupted:
        if over.was_interrupted:
            return Interrupted()
        try:
            return self.answer(over.result())
        except Unfit:
            raise
        except SystemExit as error:
            return Broke(raised(error))
        except Exception as error:  # noqa: BLE001  whatever it is, it is how it ended
            return self.failed(error) or Broke(raised(error))

    def stand(self, client: int, begun: int, operation: Any, memory: Hashable, fed: Sequence[Fed]) -> Standing:
        """Run a fresh operation as far as it comes. Raises Unfit."""
        del memory
        return self._replayed(Recipe(client, begun, operation, tuple(fed)), None)

    def commands(self, request: Sent, now_ms: int) -> Commands:
        """What is sent, if it is sent now. Raises Unfit."""
        if request.recipe is None:
            return request.commands
        if self._resolved is None or self._resolved[0] != (request, now_ms):
            standing = self._replayed(request.recipe, now_ms)
            if not isinstance(standing, Waits) or not isinstance(standing.stop, Asks):
                raise Nondeterministic(f"{type(self).__name__} asks at one time, and not at another")
            self._resolved = (request, now_ms), standing.stop.request.commands
        return self._resolved[1]

    def understood(self, request: Sent, now_ms: int) -> Any:
        """The call of the specification that a round trip is; what hears NOSCRIPT is not executed, and none of it."""
        commands = self.commands(request, now_ms)
        if self.store.has_forgotten:
            commands = executable(commands)
        return self.meant(commands, now_ms) if commands else Glance(now_ms)

    def execute(self, request: Sent, now_ms: int) -> Raw:
        """Have the engine execute it."""
        self.now_ms = now_ms
        commands, was_flushed = self.commands(request, now_ms), self.store.has_forgotten
        try:
            return Reply(self.store.execute(commands, now_ms), commands, now_ms, was_flushed).raw
        except Unfit as unfit:
            raise Unfit(f"{type(self).__name__}: {unfit}") from unfit

    def unheard(self, asked: Asks | None, raw: Raw | None, now_ms: int) -> Raw:
        """What was asked, and when that came to something."""
        if raw is not None:
            return evolve(Reply.of(raw), data=b"").raw
        return Reply(b"", () if asked is None else self.commands(asked.request, now_ms), now_ms).raw

    def read(self, call: Any, raw: Raw) -> Answer:
        """Read what the engine answered."""
        *_, value = replies(Reply.of(raw).data)
        return self.told(call, value)

    # ------------------------------------------------------------------------------------------ the store

    def begin(self) -> None:
        """Start anew with an empty store."""
        self.store.clear()

    def flush(self) -> None:
        """Make the engine forget its scripts."""
        self.store.flush_scripts()

    def save(self) -> Hashable:
        """All that is stored."""
        return self.store.save()

    def restore(self, saved: Any) -> None:
        """Put it back."""
        self.store.restore(saved)

    def close(self) -> None:
        """Leave nothing behind."""
        self.store.close()
        self.client.close()


class Coroutines(Foreign):
    """An implementation in coroutines, on a `redis.asyncio.Redis`."""

    @abstractmethod
    def run(self, client: "redis.asyncio.Redis", operation: Any) -> Coroutine[Any, Any, Any]:
        """Have an operation done with this client."""

    def operation(self, operation: Any, given: Surroundings) -> tuple[Operation, Callable[[float], None]]:
        """On an event loop of its own."""

        def begin() -> Coroutine[Any, Any, Any]:
            options = {**OPTIONS, "retry": AsyncRetry(NoBackoff(), 0), **self.options}
            pool = redis.asyncio.ConnectionPool(connection_class=coroutines.Connection, **options)
            return self.run(redis.asyncio.Redis(connection_pool=pool), operation)

        return coroutines.CoroutineOperation(begin, given), coroutines.no_sleep


class Calls(Foreign):
    """An implementation in plain functions, on a `redis.Redis`; with the extra `greenlets`."""

    def __init__(self, engine: Engine) -> None:
        try:
            from redstep_check.interleavings.foreign import greenlets
        except ModuleNotFoundError as missing:
            if missing.name != "greenlet":
                raise
            raise Unsupported("sync code stops in greenlets: install redstep[greenlets]") from missing
        self._greenlets = greenlets
        super().__init__(engine)

    @abstractmethod
    def run(self, client: "redis.Redis", operation: Any) -> Any:
        """Have an operation done with this client."""

    def operation(self, operation: Any, given: Surroundings) -> tuple[Operation, Callable[[float], None]]:
        """In a greenlet."""

        def begin() -> Any:
            options = {**OPTIONS, "retry": Retry(NoBackoff(), 0), **self.options}
            pool = redis.ConnectionPool(connection_class=self._greenlets.Connection, **options)
            return self.run(redis.Redis(connection_pool=pool), operation)

        under_way = self._greenlets.GreenletOperation(begin, given)
        return under_way, under_way.sleep
