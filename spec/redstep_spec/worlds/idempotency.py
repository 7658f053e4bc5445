"""
A small world of the idempotency store: two callers, one key, a clock that only goes forward.

The clock is part of the state here, and `Tick` is a call like the others, so that a lease ends and a record dies by steps of
their own. The fence is the one thing that could grow for ever: claims are left out where it would leave this world.
"""

from collections.abc import Iterator

from attrs import evolve, frozen

from redstep_spec import idempotency as spec
from redstep_spec.arguments import Misuse

SCOPE = spec.Scope("tenant", "operation", "key")
TOKENS = ("x", "y")
FINGERPRINTS = (b"f", b"g")
RESPONSES = (b"", b"r", b"long")
RESPONSE_MAX_BYTES = 1
LEASE_MS, RETENTION_MS, LAST_MS, LAST_FENCE = 2, 2, 7, 2


@frozen
class World:
    """One scope, and what time it is."""

    state: spec.State = spec.INITIAL
    now_ms: int = 0


@frozen
class Tick:
    """A millisecond passes."""


@frozen
class Passed:
    """It has passed, and this is what came of it; mostly nothing."""

    event: str


INITIAL = World()
Call = spec.Call | Tick
Reply = spec.Reply | Passed


def step(world: World, call: Call) -> tuple[World, Reply]:
    """One step of the specification, or of the clock; what is dead is forgotten with the step that it dies by."""
    if isinstance(call, Tick):
        later = World(spec.known(world.state, world.now_ms + 1), world.now_ms + 1)
        if later.state != world.state:
            return later, Passed("dies")
        return later, Passed("the lease ends" if kind(later) != kind(world) else "")
    state, reply = spec.step(world.state, call)
    return evolve(world, state=state), reply


def calls(world: World) -> Iterator[Call]:
    """All that may be called in a world."""
    now_ms = world.now_ms
    if now_ms < LAST_MS:
        yield Tick()
    for token in TOKENS:
        for fingerprint in FINGERPRINTS:
            claim = spec.Claim(
                scope=SCOPE,
                fingerprint=fingerprint,
                token=token,
                lease_ms=LEASE_MS,
                retention_ms=RETENTION_MS,
                now_ms=now_ms,
            )
            if fence_of(step(world, claim)[0]) <= LAST_FENCE:
                yield claim
        for response in RESPONSES:
            yield spec.Complete(
                scope=SCOPE,
                token=token,
                response=response,
                retention_ms=RETENTION_MS,
                now_ms=now_ms,
                response_max_bytes=RESPONSE_MAX_BYTES,
            )
        yield spec.Release(scope=SCOPE, token=token, retention_ms=RETENTION_MS, now_ms=now_ms)
        for lease_ms in (1, LEASE_MS):
            yield spec.Renew(scope=SCOPE, token=token, lease_ms=lease_ms, retention_ms=RETENTION_MS, now_ms=now_ms)


def fence_of(world: World) -> int:
    """The fence, 0 of what nothing is known of."""
    return 0 if isinstance(world.state, spec.Absent) else world.state.fence


def kind(world: World) -> str:
    """The name of a state: an ended lease and a response too large to be kept are kinds of their own."""
    match world.state:
        case spec.Claimed(lease_until_ms=until_ms) if until_ms <= world.now_ms:
            return "Lease ended"
        case spec.Completed(replayable=False):
            return "Completed, not replayable"
        case state:
            return type(state).__name__


def label(call: Call, reply: Reply) -> str:
    """The name of a step; empty for time that changes nothing, and for the refusals that may come in any state."""
    match reply:
        case Passed(event):
            return event
        case spec.StaleOwner() | spec.Mismatch() | Misuse():
            return ""
        case _:
            return f"{type(call).__name__.lower()}: {reply.verdict.replace('_', ' ')}"
