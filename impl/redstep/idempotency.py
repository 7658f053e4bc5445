"""
The idempotency store: of many calls for the same work one is told to do it, and the others what came of it.

                     renew;  takeover after the lease, fence + 1
                    ┌────┐
           claim    │    ▼   complete
      new ───────▶ claimed ──────────▶ completed ─ ─ retention ─ ─▶ new
                    │    ▲
            release │    │ claim, fence + 1
                    ▼    │
                   released ─ ─ retention ─ ─▶ new

An owner is a token: that of whoever claims first. Its lease bounds how long it may keep others waiting if it dies. After the
lease anybody may take over; until somebody does, it is still the owner. Each takeover raises the fence: pass it on to whatever
the work changes, and refuse a lower one there, for no lease can stop an owner that is merely slow.

Another payload under the same key is a mismatch in every state, so a record holds the payload's fingerprint. The engine's clock
is the only clock. The terms (idempotency key, fingerprint, in progress) are those of the IETF's draft of the Idempotency-Key
header field; the fence is Kleppmann's fencing token.
"""

import hashlib

from attrs import field, frozen

from redstep.arguments import PREFIX, as_prefix, checked_integer, checked_name
from redstep.errors import Misuse
from redstep.store_failure import FAIL_CLOSED, as_policy

COMMANDS = frozenset({"evalsha", "eval", "script|load", "time", "hget", "hgetall", "hset", "hdel", "pexpire", "pexpireat"})
"""The commands that an ACL user needs, on keys that start with the prefix.

    ACL SETUSER service on >password ~redstep:* +evalsha +eval +script|load +time +hget +hgetall +hset +hdel ...

All of them, as for a rate limiter: an engine keeps what a script wrote before it was refused a command. `script|load` is for
`load` alone, `pexpire` for an explicit clock.
"""

FINGERPRINT_BYTES_MAX = 512
RESPONSE_BYTES_MAX = 262_144
"""The default of what is kept of a response."""


def fingerprint(*parts: str | bytes | int | None) -> str:
    """Tell a payload from every other: the SHA-256, in hex, of its parts, each with its type and length.

    So ("ab", "c") and ("a", "bc") differ, and so do 1, "1" and b"1". A value of a derived type, such as an enumeration's, is
    taken as the str, bytes or int that it is. Raises Misuse for a part of another type, and for an int too long to be printed.
    """
    digest = hashlib.sha256()
    for part in parts:
        kind, text = _typed(part)
        digest.update(b"%s:%d:" % (kind, len(text)) + text)
    return digest.hexdigest()


def _typed(part: object) -> tuple[bytes, bytes]:
    match part:
        case None | bool():
            return type(part).__name__.encode(), str(part).encode()
        case str():
            return b"str", _encoded("parts", str.__str__(part))
        case bytes():
            return b"bytes", bytes.__bytes__(part)
        case int():
            try:
                return b"int", int.__repr__(part).encode()
            except ValueError:
                raise Misuse("parts", f"holds an int of {part.bit_length()} bits, which Python doesn't print") from None
        case _:
            raise Misuse("parts", f"must be str, bytes, int or None, not {type(part).__name__}")


def _encoded(argument: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Misuse(argument, "holds a lone surrogate, which UTF-8 cannot encode") from None


def checked_fingerprint(value: object) -> bytes:
    """Take a fingerprint, of 1 to 512 bytes; a str is taken as its UTF-8. Raises Misuse."""
    if not isinstance(value, str | bytes):
        raise Misuse("fingerprint", f"must be a str or bytes, not {type(value).__name__}")
    text = value if isinstance(value, bytes) else _encoded("fingerprint", value)
    if not 1 <= len(text) <= FINGERPRINT_BYTES_MAX:
        raise Misuse("fingerprint", f"must have 1 to {FINGERPRINT_BYTES_MAX} bytes, has {len(text)}: see `fingerprint()`")
    return text


def checked_response(value: object) -> bytes:
    """Take a response. Raises Misuse."""
    if not isinstance(value, bytes):
        raise Misuse("response", f"must be bytes, not {type(value).__name__}")
    return value


def _operation(value: str) -> str:
    return checked_name("operation", value)


def _key(value: str) -> str:
    return checked_name("key", value)


def _tenant(value: str) -> str:
    return checked_name("tenant", value)


@frozen(kw_only=True)
class Scope:
    """What a key belongs to: the same key of another tenant or operation is another one. Raises Misuse for what is no name."""

    operation: str = field(converter=_operation)
    key: str = field(converter=_key)
    tenant: str = field(default="default", converter=_tenant)

    def __str__(self) -> str:
        return f"{self.tenant}/{self.operation}/{self.key}"

    @property
    def tag(self) -> str:
        """All three, in one text that no other scope has: the lengths, in bytes, tell where the first two end."""
        tenant, operation = (f"{len(name.encode())}:{name}" for name in (self.tenant, self.operation))
        return f"{tenant}:{operation}:{self.key}"


@frozen(kw_only=True)
class Policy:
    """How long a claim lasts, how long its outcome is remembered, how much of a response is kept. Raises Misuse."""

    lease_ms: int = 30_000
    """How long an owner that died blocks its key. Work that takes longer renews."""
    retention_ms: int = 86_400_000
    """How long a response is replayed, from completion; a claim that was abandoned is remembered as long after its lease."""
    response_max_bytes: int = RESPONSE_BYTES_MAX
    """A longer response is not kept: the work counts as done, and is not replayable."""
    prefix: str = field(default=PREFIX, converter=as_prefix)
    on_store_failure: str = field(default=FAIL_CLOSED, converter=as_policy)
    """What `run` does when the store does not answer a claim: "closed" raises, "open" runs the work unprotected."""

    def __attrs_post_init__(self) -> None:
        checked_integer("lease_ms", self.lease_ms, 1)
        checked_integer("retention_ms", self.retention_ms, 1)
        checked_integer("response_max_bytes", self.response_max_bytes, 0)

    def key(self, scope: Scope) -> str:
        """Where the record of a scope is. Raises Misuse."""
        if not isinstance(scope, Scope):
            raise Misuse("scope", f"must be a Scope, not a {type(scope).__name__}")
        return f"{self.prefix}idempotency:{{{scope.tag}}}"


@frozen
class Acquired:
    """The key is the caller's, who is to do the work, and then to complete it or to release the key."""

    token: str
    """What the owner is known by."""
    fence: int
    """How often the key was acquired, by now, since it was new."""
    lease_until_ms: int
    now_ms: int


@frozen
class Replay:
    """The work was done."""

    response: bytes | None
    """As it was stored, byte for byte; None if it was not kept."""
    replayable: bool
    """Whether it was kept."""
    now_ms: int


@frozen
class Underway:
    """Somebody else owns the key."""

    retry_after_ms: int
    """What is left of the lease."""
    now_ms: int


@frozen
class Mismatch:
    """The key was claimed with another fingerprint."""

    now_ms: int


@frozen
class Done:
    """It is as the caller wished: by this call, or already."""

    now_ms: int


@frozen
class Renewed:
    """The lease is extended."""

    lease_until_ms: int
    now_ms: int


@frozen
class StaleOwner:
    """The key is not the caller's, or not any more; nothing was changed."""

    now_ms: int


@frozen
class Conflict:
    """The caller has completed the key already, otherwise than he now wishes; nothing was changed."""

    now_ms: int


Claim = Acquired | Replay | Underway | Mismatch
Settled = Done | StaleOwner | Conflict
