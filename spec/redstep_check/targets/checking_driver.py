"""
The third driver: carries out the wishes of a shipped protocol under a checker's command.

It decides what becomes of each attempt and what time it is. Scripts are executed on a real engine; everything else that a
protocol may wish for comes from the checker too, so that a run is a function of its choices.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import redis
from attrs import define, field
from redis.exceptions import NoScriptError, ResponseError

from redstep.driving import Raised, Returned, Run, command
from redstep.errors import RedstepError, Unavailable
from redstep.redis_errors import replied
from redstep.wishes import Announce, CallScript, DrawBytes, DrawInteger, Protocol, ReadClock, RunWork, Sleep, Store, Wish
from redstep_spec.delivery import Fate

T = TypeVar("T")


@define(kw_only=True)
class CheckingDriver:
    """One client, whose attempts meet the fates it is given."""

    client: redis.Redis
    flush_scripts: Callable[[], None]
    draw_integer: Callable[[int, int], int] = lambda least, _most: least
    draw_bytes: Callable[[int], bytes] = bytes
    store_ms: int = 0
    """The time of the store: what placeholders for now are filled with."""
    client_ms: int = 0
    """The monotonic clock of the client."""
    executions: list[CallScript] = field(factory=list)
    """Every execution of a script, in order."""
    announced: list[object] = field(factory=list)
    elsewhere: "Mapping[Store, CheckingDriver]" = field(factory=dict)
    """The drivers of other stores, each with a clock and fates of its own."""
    _fates: deque[Fate] = field(factory=deque, init=False)

    def meet(self, fates: Sequence[Fate]) -> None:
        """Decide the fates of the next attempts; later ones are delivered."""
        self._fates = deque(fates)

    def run(self, protocol: Protocol[T], fates: Sequence[Fate] = ()) -> T:
        """Carry a protocol through; its attempts meet these fates, and the later ones are delivered."""
        self.meet(fates)
        run = Run(protocol)
        while run.wish is not None:
            run.feed(self.outcome(run.wish))
        return run.result()

    def outcome(self, wish: Wish) -> Returned | Raised:
        """Carry out one wish."""
        try:
            return Returned(self._carry_out(wish))
        except BaseException as error:  # noqa: BLE001  interruptions are outcomes too
            return Raised(error)

    def _carry_out(self, wish: Wish) -> Any:
        match wish:
            case CallScript(store=store):
                return self.elsewhere.get(store, self).attempt(wish)
            case Sleep(ms):
                self.client_ms += ms
            case ReadClock():
                return self.client_ms
            case DrawInteger(least, most):
                return self.draw_integer(least, most)
            case DrawBytes(size):
                return self.draw_bytes(size)
            case RunWork(work):
                return work()
            case Announce(listeners, event):
                self.announced.append(event)
                for listener in listeners:
                    listener(event)
        return None

    def attempt(self, request: CallScript) -> object:
        """Let one attempt meet the next fate."""
        fate = self._fates.popleft() if self._fates else Fate.DELIVERED
        if fate is Fate.NOT_SENT:
            raise Unavailable("no server was reached", definite=True)
        if fate is Fate.FLUSHED:
            self.flush_scripts()
        if fate is Fate.REPLY_LOST:
            with suppress(RedstepError):  # it is lost too
                self._execute(request)
            raise Unavailable("the reply was lost", definite=False)
        return self._execute(request)

    def _execute(self, request: CallScript) -> object:
        self.executions.append(request)
        try:
            try:
                return self.client.execute_command(*command(request, "EVALSHA", self.store_ms))  # type: ignore[no-untyped-call]
            except NoScriptError:
                return self.client.execute_command(*command(request, "EVAL", self.store_ms))  # type: ignore[no-untyped-call]
        except ResponseError as error:
            raise replied(error) from error
