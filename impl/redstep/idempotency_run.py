"""
Idempotent work: claim, run, complete; and what becomes of the work's result when one of them fails.

    claim ──acquired──▶ work ──returned──▶ store_if ──▶ complete ──▶ the response
      │                  │                    │            ├─ not the owner any more ──▶ LeaseLost, with the response
      │                  │                    │            └─ the store fails ──▶ the response, not recorded; logged
      │                  │                    └─ refused ──▶ release ──▶ the response, not recorded
      │                  ├─ returned what never began ──▶ release ──▶ Misuse
      │                  ├─ raised, and nothing happened ──▶ release ──▶ raised on, unchanged
      │                  └─ raised or cancelled otherwise ──▶ the lease stands ──▶ raised on, unchanged
      ├─ done before ──▶ the stored response, or NotReplayable
      ├─ in progress ──▶ wait and claim again, or InProgress
      ├─ another payload ──▶ FingerprintMismatch
      └─ the store fails ──▶ fail closed: Unavailable; fail open: work, unprotected

Once the work has returned, its result reaches the caller: returned, or carried by the error. How often the work runs is bounded
by 1 + the leases that ended + the releases.
"""

import json
import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from attrs import field, frozen

from redstep import idempotency_protocols as protocols
from redstep.arguments import checked_integer
from redstep.callables import at_once, checked_function, dropped, is_unfinished
from redstep.errors import Misuse, RedstepError, ServiceOverloaded, Unavailable
from redstep.idempotency import (
    Acquired,
    Claim,
    Done,
    Mismatch,
    Policy,
    Replay,
    Scope,
    Settled,
    Underway,
    checked_response,
)
from redstep.idempotency_errors import (
    FingerprintMismatch,
    InProgress,
    LeaseLost,
    NoEffect,
    NotReplayable,
    ResponseUnusable,
)
from redstep.store_failure import FAIL_CLOSED
from redstep.wishes import Announce, DrawInteger, Protocol, ReadClock, RunWork, Sleep

T = TypeVar("T")
log = logging.getLogger("redstep")

PAUSE_LEAST_MS, PAUSE_MOST_MS = 16, 512
"""How long a waiting caller sleeps before the next claim: twice as long each time, within these."""
CONNECTION_TRIES, CONNECTION_PAUSE_MS = 20, 25
"""How often an owner that finds no connection free asks again, and after how long."""

UNPROTECTED = Acquired("", 0, 0, 0)
"""What work is given that runs without a claim: a fence below every other."""


@frozen
class Codec(Generic[T]):
    """How responses become bytes and come back. Who did the work gets its response as it is, the others a decoded one.

    Raises Misuse unless both are functions that are not to be awaited.
    """

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]

    def __attrs_post_init__(self) -> None:
        checked_function("encode", self.encode)
        checked_function("decode", self.decode)


def _as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


BYTES: Codec[bytes] = Codec(lambda response: response, lambda response: response)
JSON: Codec[Any] = Codec(_as_json, json.loads)
"""A response comes back as JSON has it: a tuple as a list, a key that is no str as one."""


@frozen(kw_only=True)
class Manner:
    """How work is run, whatever its scope. Raises Misuse."""

    wait_ms: int = 0
    """How long to wait for somebody else who is at it; 0 raises InProgress at once."""
    codec: Codec[Any] = field(default=BYTES)
    store_if: Callable[[Any], bool] | None = None
    """Refuses responses, by their value: then the key is released, for the work may be tried again."""
    had_no_effect: Callable[[Exception], bool] | None = None
    """Says of an error of the work, other than a NoEffect, that nothing has happened: then the key is released."""

    def __attrs_post_init__(self) -> None:
        checked_integer("wait_ms", self.wait_ms, 0)
        if not isinstance(self.codec, Codec):
            raise Misuse("codec", f"must be a Codec, not a {type(self.codec).__name__}")
        for name in ("store_if", "had_no_effect"):
            if (predicate := getattr(self, name)) is not None:
                checked_function(name, predicate)


@frozen(kw_only=True)
class Outcome(Generic[T]):
    """What came of idempotent work."""

    response: T
    replayed: bool = False
    """Whether it was done by somebody else, or before."""
    recorded: bool = True
    """Whether later callers get this response. False: it was refused, or the store failed."""
    degraded: bool = False
    """Whether the work ran unprotected, for the store did not answer the claim."""


@frozen
class Trouble:
    """What an operator should know."""

    scope: Scope
    level: int
    problem: str


def tell(event: Trouble) -> None:
    """Log it."""
    log.log(event.level, "idempotency %s: %s", event.scope, event.problem)


def run(
    policy: Policy, scope: Scope, fingerprint: str | bytes, work: Callable[[Acquired], Any], manner: Manner
) -> Protocol[Outcome[Any]]:
    """Have work done once for a scope, by this call or another, and give its response.

    The work is given the claim, whose fence it passes on to what it changes. What it raises is raised on, unchanged.

    Raises FingerprintMismatch, InProgress, NotReplayable, LeaseLost, ResponseUnusable, Misuse, Corrupt, ServiceOverloaded,
    and Unavailable when it fails closed.
    """
    checked_function("work", work, awaited=True)
    token = yield from protocols.draw_token()
    claim: Claim | None = None
    try:
        claim = yield from protocols.claim_as(token, policy, scope, fingerprint)
    except Unavailable as error:
        if policy.on_store_failure == FAIL_CLOSED:
            raise
        yield _trouble(scope, logging.WARNING, f"the work is run unprotected: {error}")
    if claim is None:
        response = yield RunWork(partial(work, UNPROTECTED))
        if is_unfinished(response):
            dropped(response)
            raise _misused(response)
        return Outcome(response=response, recorded=False, degraded=True)
    if isinstance(claim, Underway):
        claim = yield from _waited(policy, scope, fingerprint, token, claim, manner.wait_ms)
    match claim:
        case Acquired():
            return (yield from _run(policy, scope, claim, work, manner))
        case Replay(bytes() as response):
            return Outcome(response=manner.codec.decode(response), replayed=True)
        case Replay():
            raise NotReplayable(f"{scope} was done, and its response was not kept")
        case Underway(retry_after_ms):
            raise InProgress(f"somebody else is at {scope}", retry_after_ms=retry_after_ms)
        case Mismatch():
            raise FingerprintMismatch(f"{scope} was used for another payload")


def _waited(policy: Policy, scope: Scope, fingerprint: str | bytes, token: str, claim: Claim, wait_ms: int) -> Protocol[Claim]:
    """Claim again until the other is done, or its lease has ended, or we have waited long enough.

    If the store fails meanwhile, that is raised even when failing open: somebody is known to be at the work.
    """
    if wait_ms == 0:
        return claim
    deadline_ms: int = (yield ReadClock()) + wait_ms
    pause_ms = PAUSE_LEAST_MS
    while isinstance(claim, Underway) and (left_ms := deadline_ms - (yield ReadClock())) > 0:
        drawn_ms: int = yield DrawInteger(pause_ms // 2, pause_ms)
        yield Sleep(min(drawn_ms, claim.retry_after_ms, left_ms))
        pause_ms = min(2 * pause_ms, PAUSE_MOST_MS)
        claim = yield from protocols.claim_as(token, policy, scope, fingerprint)
    return claim


def _run(
    policy: Policy, scope: Scope, claim: Acquired, work: Callable[[Acquired], Any], manner: Manner
) -> Protocol[Outcome[Any]]:
    release = partial(protocols.release, policy, scope, claim.token)
    try:
        response = yield RunWork(partial(work, claim))
    except Exception as error:
        if isinstance(error, NoEffect) or (yield from _says(scope, manner.had_no_effect, error, otherwise=False)):
            yield from _settle(scope, release, NOT_RELEASED)
        raise
    if is_unfinished(response):
        if dropped(response):
            yield from _settle(scope, release, NOT_RELEASED)
        raise _misused(response)
    try:
        is_kept = yield from _says(scope, manner.store_if, response, otherwise=True)
        stored = checked_response(manner.codec.encode(response)) if is_kept else b""
    except GeneratorExit:
        raise
    except BaseException as error:
        yield from _settle(scope, partial(protocols.complete_without_response, policy, scope, claim.token), NOT_RECORDED)
        if not isinstance(error, Exception):
            raise
        raise ResponseUnusable(f"{scope} was done, but its response can't be stored: {error}", response=response) from error
    if not is_kept:
        yield from _settle(scope, release, NOT_RELEASED)
        return Outcome(response=response, recorded=False)
    settled = yield from _settle(scope, partial(protocols.complete, policy, scope, claim.token, stored), NOT_RECORDED)
    if settled is None or isinstance(settled, Done):
        return Outcome(response=response, recorded=settled is not None)
    raise LeaseLost(f"{scope} was done, but not in time: another had taken over by then", response=response)


def _misused(response: object) -> Misuse:
    kind = type(response).__name__
    return Misuse("work", f"returned a {kind}, which is still to be awaited or iterated over: the work was not done")


NOT_RELEASED = "the key is blocked until its lease ends"
NOT_RECORDED = "the work was done and that is not recorded, so that it may be done again when the lease ends"


def _says(scope: Scope, predicate: Callable[[Any], bool] | None, of: object, *, otherwise: bool) -> Protocol[bool]:
    """What a predicate of the caller's says; one that fails says nothing."""
    if predicate is None:
        return otherwise
    try:
        return bool(at_once("predicate", predicate(of)))
    except Exception as error:  # noqa: BLE001  it must not take the place of what the work came to
        yield _trouble(scope, logging.ERROR, f"{predicate!r} failed: {error!r}")
        return otherwise


def _settle(scope: Scope, ask: Callable[[], Protocol[Settled]], problem: str) -> Protocol[Settled | None]:
    """Settle a claim, or tell that it could not be: then None. Interrupted, it is settled by way of compensation."""
    try:
        return (yield from _insist(ask))
    except RedstepError as error:
        yield _trouble(scope, logging.ERROR, f"{problem}: {error}")
        return None
    except (Exception, GeneratorExit):
        raise
    except BaseException:
        try:
            yield from ask()
        except RedstepError as error:
            yield _trouble(scope, logging.ERROR, f"{problem}: {error}")
        raise


def _insist(ask: Callable[[], Protocol[Settled]]) -> Protocol[Settled]:
    """Ask again while no connection is free: the work has begun, and so is not turned away."""
    for _ in range(CONNECTION_TRIES):
        try:
            return (yield from ask())
        except ServiceOverloaded:
            yield Sleep(CONNECTION_PAUSE_MS)
    return (yield from ask())


def _trouble(scope: Scope, level: int, problem: str) -> Announce:
    return Announce((tell,), Trouble(scope, level, problem))
