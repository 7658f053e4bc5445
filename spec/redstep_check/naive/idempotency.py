"""
The idempotency store of the tutorials. Do not use it: `redstep check idempotency --naive` tells why.

    SET key "" NX PX lease       whoever gets OK does the work
    SET key response PX retention
    GET key                      for all others

It knows no owner. So a caller whose reply was lost is locked out of its own work; and anybody completes anything: who was
taken over writes over what another is at, and a key that is forgotten comes back.
"""

from collections.abc import Sequence

from redstep_check.binding import Answer, Answered, Target, session_prefix
from redstep_check.engines import Engine
from redstep_check.guards.ttl import EXPLICIT_CLOCK_TTL_MS
from redstep_spec import idempotency as spec
from redstep_spec.delivery import Fate

AT_IT = b"..."
"""What is stored while somebody is at it."""


class NaiveIdempotency(Target[spec.Call]):
    """Set if it does not exist; set; get. Keys expire by the calls' own time, for that is the time of a session."""

    def __init__(self, engine: Engine) -> None:
        self._client = engine.client()
        self._engine = engine

    def begin(self) -> None:
        """Start anew under another prefix."""
        self._prefix = session_prefix(self._engine.prefix)
        self._expires_ms: dict[str, int] = {}

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  it has none but the default
        """Carry out a claim or a complete; it can do nothing else."""
        key = f"{self._prefix}{call.scope.key}"
        if call.now_ms >= self._expires_ms.get(key, call.now_ms):
            self._client.delete(key)
        if isinstance(call, spec.Complete):
            self._set(key, call.response, call.retention_ms, call.now_ms)
            return Answered({})
        assert isinstance(call, spec.Claim)  # noqa: S101  the others are features that it doesn't have
        if self._set(key, AT_IT, call.lease_ms, call.now_ms, if_absent=True):
            return Answered({"verdict": "acquired"})
        response = self._client.get(key)
        return Answered({"verdict": "in_progress"} if response == AT_IT else {"verdict": "replay", "response": response})

    def _set(self, key: str, value: bytes, life_ms: int, now_ms: int, *, if_absent: bool = False) -> bool:
        was_set = bool(self._client.set(key, value, px=life_ms + EXPLICIT_CLOCK_TTL_MS, nx=if_absent))
        if was_set:
            self._expires_ms[key] = now_ms + life_ms
        return was_set

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
