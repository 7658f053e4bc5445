"""
The idempotency store's protocols: claim, complete, release and renew, each one script call.

All four carry an identity, the owner's token, so that the same bytes may be sent again after a lost reply: to repeat a claim, a
completion or a release changes nothing, and to repeat a renewal does no harm.
"""

import hashlib
from contextlib import suppress
from typing import Any

from redstep import scripts
from redstep.arguments import checked_name
from redstep.errors import RedstepError, Unavailable, UnexpectedReply
from redstep.idempotency import (
    Acquired,
    Claim,
    Conflict,
    Done,
    Mismatch,
    Policy,
    Renewed,
    Replay,
    Scope,
    Settled,
    StaleOwner,
    Underway,
    checked_fingerprint,
    checked_response,
)
from redstep.protocols import send
from redstep.scripts import Script
from redstep.wishes import NOW, Argument, CallScript, DrawBytes, GoOn, Protocol

CLAIM = scripts.load("idempotency_claim")
COMPLETE = scripts.load("idempotency_complete")
RELEASE = scripts.load("idempotency_release")
RENEW = scripts.load("idempotency_renew")
SCRIPTS = (CLAIM, COMPLETE, RELEASE, RENEW)
"""What `load` puts into an engine ahead of time."""

TOKEN_BYTES = 16


def claim(policy: Policy, scope: Scope, fingerprint: str | bytes, token: str | None = None) -> Protocol[Claim]:
    """Ask to do the work of a scope, for a payload with this fingerprint.

    Without a token one is drawn, and a claim of which nobody will hear is released again. With a token of their own, callers
    can go on with a claim that they made before; then it is their business to release it.

    Raises Misuse, Unavailable, Corrupt, ServiceOverloaded.
    """
    key, payload = policy.key(scope), checked_fingerprint(fingerprint)
    if token is not None:
        return (yield from _claim(policy, key, checked_name("token", token), payload))
    return (yield from claim_as((yield from draw_token()), policy, scope, fingerprint))


def draw_token() -> Protocol[str]:
    """Draw what nobody else is known by."""
    drawn: bytes = yield DrawBytes(TOKEN_BYTES)
    return drawn.hex()


def claim_as(token: str, policy: Policy, scope: Scope, fingerprint: str | bytes) -> Protocol[Claim]:
    """Claim by a token that was drawn for this call.

    If it is cancelled, or its outcome stays unknown, the key is released: else it might be blocked for a lease by nobody.
    """
    try:
        answer = yield from _claim(policy, policy.key(scope), token, checked_fingerprint(fingerprint))
        yield GoOn()
    except GeneratorExit:
        raise  # nobody carries out wishes any more
    except BaseException as error:
        if not isinstance(error, Exception) or (isinstance(error, Unavailable) and not error.definite):
            with suppress(RedstepError):
                yield _releasing(policy, scope, token)
        raise
    return answer


def _claim(policy: Policy, key: str, token: str, payload: bytes) -> Protocol[Claim]:
    args = (NOW, token, payload, policy.lease_ms, policy.retention_ms)
    request = CallScript(script=CLAIM, keys=(key,), args=args, idempotent=True, finishes=True)
    reply = yield from send(request)
    verdict, fence, lease_until_ms, retry_after_ms, response, now_ms = _read(reply, bytes, int, int, int, bytes, int)
    match verdict:
        case b"ACQUIRED":
            return Acquired(token, fence, lease_until_ms, now_ms)
        case b"REPLAY":
            return Replay(response, True, now_ms)
        case b"UNREPLAYABLE":
            return Replay(None, False, now_ms)
        case b"IN_PROGRESS":
            return Underway(retry_after_ms, now_ms)
        case b"MISMATCH":
            return Mismatch(now_ms)
        case _:
            raise UnexpectedReply(f"a claim was answered {verdict!r}")


def complete(policy: Policy, scope: Scope, token: str, response: bytes) -> Protocol[Settled]:
    """Store what the work came to, for the owner. Again with the same response it is Done, and nothing is changed.

    A response above the policy's limit is not kept, but for a digest. Raises as `claim`.
    """
    owner = checked_name("token", token)
    if len(checked_response(response)) > policy.response_max_bytes:
        return (yield from _complete(policy, scope, owner, hashlib.sha256(response).digest(), replayable=False))
    return (yield from _complete(policy, scope, owner, response, replayable=True))


def complete_without_response(policy: Policy, scope: Scope, token: str) -> Protocol[Settled]:
    """Store that the work was done, and nothing to replay, for the owner. Raises as `claim`."""
    return (yield from _complete(policy, scope, checked_name("token", token), b"", replayable=False))


def _complete(policy: Policy, scope: Scope, token: str, response: bytes, *, replayable: bool) -> Protocol[Settled]:
    args = (token, response, int(replayable), policy.retention_ms)
    return _settled((yield from send(_for_the_owner(COMPLETE, policy, scope, *args))))


def release(policy: Policy, scope: Scope, token: str) -> Protocol[Settled]:
    """Give the key up, for the owner whose work has had no effect: the next claim acquires it. Raises as `claim`."""
    return _settled((yield from send(_releasing(policy, scope, checked_name("token", token)))))


def _releasing(policy: Policy, scope: Scope, token: str) -> CallScript:
    return _for_the_owner(RELEASE, policy, scope, token, policy.retention_ms)


def renew(policy: Policy, scope: Scope, token: str) -> Protocol[Renewed | StaleOwner | Conflict]:
    """Have the lease last for another `lease_ms` from now, for the owner; it never becomes shorter. Raises as `claim`."""
    args = (checked_name("token", token), policy.lease_ms, policy.retention_ms)
    reply = yield from send(_for_the_owner(RENEW, policy, scope, *args))
    verdict, lease_until_ms, now_ms = _read(reply, bytes, int, int)
    match verdict:
        case b"RENEWED":
            return Renewed(lease_until_ms, now_ms)
        case b"STALE_OWNER":
            return StaleOwner(now_ms)
        case b"CONFLICT":
            return Conflict(now_ms)
        case _:
            raise UnexpectedReply(f"a renewal was answered {verdict!r}")


def _for_the_owner(script: Script, policy: Policy, scope: Scope, *args: Argument) -> CallScript:
    return CallScript(script=script, keys=(policy.key(scope),), args=(NOW, *args), idempotent=True, finishes=True)


def _settled(reply: list[int | bytes]) -> Settled:
    verdict, now_ms = _read(reply, bytes, int)
    match verdict:
        case b"DONE":
            return Done(now_ms)
        case b"STALE_OWNER":
            return StaleOwner(now_ms)
        case b"CONFLICT":
            return Conflict(now_ms)
        case _:
            raise UnexpectedReply(f"an owner was answered {verdict!r}")


def _read(reply: list[int | bytes], *kinds: type) -> list[Any]:
    if not isinstance(reply, list) or tuple(map(type, reply)) != kinds:
        raise UnexpectedReply(f"a script answered {reply!r} where {', '.join(kind.__name__ for kind in kinds)} belong")
    return reply
