"""Probes: any coroutine or function of somebody's, driven by hand from stop to stop."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import redis
import redis.asyncio

from redstep_check.binding import Answer, Answered, Stored
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Asks, Ends, Fed, Glance, Heard, Standing, Waits
from redstep_check.interleavings.foreign.binding import Calls, Coroutines, Foreign
from redstep_check.interleavings.foreign.rate_limiter import Limits
from redstep_check.interleavings.foreign.wire import Commands

Work = Callable[..., Any]


class _Probing(Foreign):
    """The operation is what is run; nothing is held against a specification."""

    specification = Limits()

    def meant(self, commands: Commands, now_ms: int) -> Any:
        """Nothing."""
        del commands
        return Glance(now_ms)

    def told(self, call: Any, value: Any) -> Answer:
        """As it is."""
        del call
        return Answered({"value": value})

    def answer(self, result: Any) -> Answer:
        """As it is."""
        return Answered({"result": result})

    def seen(self) -> Stored:
        """Nobody looks."""
        return Stored(None, 0, None, None)


class Probe(_Probing, Coroutines):
    """A coroutine."""

    def run(self, client: redis.asyncio.Redis, operation: Work) -> Coroutine[Any, Any, Any]:
        """Run it."""
        return operation(client, self.prefix)  # type: ignore[no-any-return]


class SyncProbe(_Probing, Calls):
    """A function."""

    def run(self, client: redis.Redis, operation: Work) -> Any:
        """Run it."""
        return operation(client, self.prefix)


def option(kind: type[Foreign], **options: Any) -> type[Foreign]:
    """A target whose client is given these."""
    return type(kind.__name__, (kind,), {"options": options})


class Driven:
    """One operation, told one thing after the other."""

    def __init__(self, target: Foreign, work: Any) -> None:
        self.target = target
        self.work = work
        self.fed: tuple[Fed, ...] = ()
        target.begin()

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return self.target.stand(0, 1, self.work, None, self.fed)

    @property
    def asked(self) -> list[bytes]:
        """The names of the commands that it asks for now."""
        standing = self.standing
        assert isinstance(standing, Waits), standing
        assert isinstance(standing.stop, Asks), standing
        return [each[0] for each in standing.stop.request.commands]

    def told(self, heard: Heard, now_ms: int = 1_000, *, flushed: bool = False) -> "Driven":
        """Have its request executed if it is to hear a reply, and tell it."""
        standing = self.standing
        assert isinstance(standing, Waits), standing
        asked = standing.stop if isinstance(standing.stop, Asks) else None
        if heard is Heard.REPLY:
            assert asked is not None, standing
            if flushed:
                self.target.flush()
            raw = self.target.execute(asked.request, now_ms)
        else:
            raw = self.target.unheard(asked, None, now_ms)
        self.fed = (*self.fed, Fed(heard, raw))
        return self

    def to_the_end(self, now_ms: int = 1_000, stops: int = 50) -> Any:
        """Without a fault; what it comes to."""
        for _ in range(stops):
            standing = self.standing
            if isinstance(standing, Ends):
                return standing.answer.values["result"] if isinstance(standing.answer, Answered) else standing.answer
            self.told(Heard.REPLY if isinstance(standing.stop, Asks) else Heard.GOES_ON, now_ms)
        raise AssertionError("it comes to no end")


def ended(kind: type[Foreign], engine: Engine, work: Work, fed: Sequence[Heard] = ()) -> Any:
    """What a piece of work comes to after having heard this, or of itself."""
    target = kind(engine)
    driven = Driven(target, work)
    try:
        for heard in fed:
            driven.told(heard)
        return driven.to_the_end()
    finally:
        target.close()
