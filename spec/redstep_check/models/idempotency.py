"""The specification of the idempotency store as a target: what its machine must agree with."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from attrs import frozen

from redstep_check.binding import Answer, Answered, Misused, Stored, Target
from redstep_check.guards.idempotency import RESENDS
from redstep_check.guards.ttl import EXPLICIT_CLOCK_TTL_MS
from redstep_spec import idempotency as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Replied, deliver

Step = Callable[[spec.State, spec.Call], tuple[spec.State, spec.Reply]]


@frozen
class Kept:
    """A state as a store would keep it: until when, by a monotonic clock."""

    state: spec.State
    until_s: float


class ModelIdempotency(Target[spec.Call]):
    """The specification of the idempotency store, or a step that differs from it; it stores its states with a TTL."""

    features = frozenset({"fingerprint", "release", "renew", "not_replayable", "tenants", "misuse", "stored"})
    fates = frozenset(Fate)

    def __init__(
        self, step: Step = spec.step, *, key_of: Callable[[spec.Scope], Any] = lambda scope: scope, stored: bool = True
    ) -> None:
        self._step = step
        self._key_of = key_of
        self._kept: dict[Any, Kept] = {}
        if not stored:
            self.features = self.features - {"stored"}

    def begin(self) -> None:
        """Forget everything."""
        self._kept = {}

    def call(self, call: spec.Call, fates: Sequence[Fate]) -> Answer:
        """Take a step."""
        if wrong := spec.misuse(call):
            return Misused(wrong.argument)
        key = self._key_of(call.scope)
        before = self._kept[key].state if key in self._kept else spec.INITIAL
        after, outcome = deliver(lambda state: self._step(state, call), before, tuple(fates), resends=RESENDS)
        if after != before:
            self._kept[key] = self.kept(after, call.now_ms)
        if not isinstance(outcome, Replied):
            return outcome
        if isinstance(outcome.reply, Misuse):
            return Misused(outcome.reply.argument)
        return Answered(attrs.asdict(outcome.reply))

    def kept(self, state: spec.State, now_ms: int) -> Kept:
        """A state as it is kept when it is written."""
        ttl_ms = spec.life_ms(state, now_ms) + EXPLICIT_CLOCK_TTL_MS
        return Kept(state, time.monotonic() + ttl_ms / 1000)

    def stored(self, *key: Any) -> Stored:
        """Read a state, and how long it is kept yet."""
        [scope] = key
        kept = self._kept.get(self._key_of(scope))
        if kept is None:
            return Stored(spec.INITIAL, 0, None, None)
        return Stored(kept.state, 1, int((kept.until_s - time.monotonic()) * 1000), kept.state)

    def remove(self, *key: Any) -> None:
        """Forget a state, as its TTL would."""
        [scope] = key
        self._kept.pop(self._key_of(scope), None)
