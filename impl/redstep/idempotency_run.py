"""
Idempotent work: claim, run, complete; and what becomes of the work's result when one of them fails.

    claim ──acquired──▶ work ──returned──▶ store_if ──▶ complete ──▶ the response
      │                  │                    │            ├─ not the owner any more ──▶ LeaseLost, with the response
      │                  │                    │            └─ the store fails ──▶ the response, not recorded; logged
      │                  │                    └─ refused ──▶ release ──▶ the response, not recorded
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
from redstep.errors import Misuse, RedstepError, ServiceOverloaded, Unavailable
from redstep.idempotency import Acquired, Claim, Done, Mismatch, Policy, Replay, Scope, Settled, Underway
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
"""How long a waiting caller sleeps before he claims again: twice as long each time, within these."""
CONNECTION_TRIES, CONNECTION_PAUSE_MS = 20, 25
"""How often an owner who finds no connection free asks again, and after how long."""

UNPROTECTED = Acquired("", 0, 0, 0)
"""What work is given that runs without a claim: a fence below every other."""


@frozen
class Codec(Generic[T]):
    """How responses become bytes and come back."""

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]


def _as_json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


BYTES: Codec[bytes] = Codec(bytes.__call__, bytes) if False else Codec(lambda value: value, lambda value: value)
JSON: Codec[Any] = Codec(_as_json, json.loads)
"""A response comes back as JSON has it: a tuple as a list, a key that is no str as one."""
