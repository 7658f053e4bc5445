"""The guards that can be checked, and the ways into each implementation of them."""

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from attrs import frozen

from redstep_check.binding import Target
from redstep_check.engines import Engine
from redstep_check.guards import rate_limiter as rate_limiter_guard
from redstep_check.guards import rate_limiter_simpler
from redstep_check.machines.rate_limiter import RateLimiterMachine
from redstep_check.naive.rate_limiter import NaiveRateLimiter
from redstep_check.runs import Bench
from redstep_check.targets import rate_limiter as rate_limiter_targets
from redstep_spec import rate_limiter
from redstep_spec.delivery import Fate
from redstep_spec.properties.rate_limiter import PROPERTIES as RATE_LIMITER_PROPERTIES

TargetFactory = Callable[[Engine], Target[Any]]
NAIVE = "naive"


@frozen(kw_only=True)
class Guard:
    """What the kit knows of one guard."""

    name: str
    bench: Bench
    clients: Mapping[str, TargetFactory]
    """The shipped implementation: `variant/client`, what it is made of and how it is driven."""
    naive: TargetFactory
    kinds: Mapping[str, type]
    """The classes of its moves."""
    tell: Callable[[Any], str]
    """A move as a person would say it."""
    tell_answer: Callable[[object], str]

    def ways(self, variants: Collection[str], clients: Collection[str]) -> list[str]:
        """Choose among the shipped ones; an empty choice is all."""
        split = [(name, *name.split("/")) for name in self.clients]
        return [
            name
            for name, variant, client in split
            if (not variants or variant in variants) and (not clients or client in clients)
        ]

    def target(self, client: str) -> TargetFactory:
        """Find a way in: a client's name, `naive`, or `module:name`. Raises LookupError with what is wrong."""
        if client == NAIVE:
            return self.naive
        if client in self.clients:
            return self.clients[client]
        return foreign_target(client)


def foreign_target(path: str) -> TargetFactory:
    """Import somebody's own target. Raises LookupError with what is wrong."""
    module, colon, name = path.partition(":")
    if not colon:
        raise LookupError(f"{path!r} is neither a client nor of the form module:name")
    try:
        factory: TargetFactory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"{path!r} cannot be imported: {error}") from error
    return factory


GUARDS = {
    rate_limiter_guard.NAME: Guard(
        name=rate_limiter_guard.NAME,
        bench=Bench(
            session=rate_limiter_guard.RateLimiterSession,
            machine=RateLimiterMachine,
            sometimes=RATE_LIMITER_PROPERTIES.sometimes,
            simpler=rate_limiter_simpler.simpler,
        ),
        clients=rate_limiter_targets.CLIENTS,
        naive=NaiveRateLimiter,
        kinds={
            each.__name__: each
            for each in (
                *(rate_limiter_guard.Called, rate_limiter_guard.Removed, Fate),
                *(rate_limiter.Acquire, rate_limiter.Peek, rate_limiter.Reset, rate_limiter.Limit, rate_limiter.Region),
            )
        },
        tell=rate_limiter_guard.tell,
        tell_answer=rate_limiter_guard.tell_answer,
    )
}
