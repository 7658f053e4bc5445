"""
The shared breaker: one for all processes that share a Redis. Its state is a hash, and each transition of it a script.

The hash has no TTL, ever: to forget its epoch would revive old permits. Time is the engine's. Acquire and report are at most
once: a lost reply costs a count, or a probe until its deadline, and is never made good by sending again.
"""

from collections.abc import Mapping
from types import MappingProxyType

from attrs import Factory, define, field

from redstep import scripts
from redstep.arguments import PREFIX, as_prefix
from redstep.circuit_breaker import (
    INTERVENTIONS,
    Admission,
    Intervention,
    Outcome,
    Permit,
    Reason,
    Report,
    State,
    View,
)
from redstep.circuit_breaker_protocols import Breaker
from redstep.errors import UnexpectedReply
from redstep.protocols import send, words
from redstep.scripts import Script
from redstep.wishes import NOW, Argument, CallScript, Protocol

ACQUIRE = scripts.load("circuit_breaker_acquire")
REPORT = scripts.load("circuit_breaker_report")
VIEW = scripts.load("circuit_breaker_view")
INTERVENE = scripts.load("circuit_breaker_intervene")
SCRIPTS = (ACQUIRE, REPORT, VIEW, INTERVENE)
"""The scripts that a shared breaker may call: what `load` puts into an engine ahead of time."""

COMMANDS = frozenset({"evalsha", "eval", "script|load", "time", "hlen", "hmget", "hset"})
"""The commands that an ACL user needs, on keys that start with the prefix.

    ACL SETUSER breaker on >password ~redstep:* +evalsha +eval +script|load +time +hlen +hmget +hset

`script|load` is for `load` alone. redis-py itself asks for `select` if the client is made with a database other than 0, and for
`client|setname` if it is made with a name.
"""

STATES: Mapping[str, State | None] = MappingProxyType({"": None, **{state.value: state for state in State}})


@define(kw_only=True, eq=False)
class SharedBreaker(Breaker):
    """A breaker that many processes share."""

    asks_a_store = True
    prefix: str = field(default=PREFIX, converter=as_prefix)

    identity: str = field(init=False, repr=False, default=Factory(lambda self: self.key, takes_self=True))
    """Its key: all that have it are one breaker."""

    @property
    def key(self) -> str:
        """The hash."""
        return f"{self.prefix}circuit-breaker:{{{self.name}}}"

    def acquire(self) -> Protocol[Admission]:
        """Ask whether a call may be made."""
        request = self._step(ACQUIRE, NOW, self.policy.success_threshold, self.policy.open_ms)
        reply = words((yield from send(request)), int, str, int, int, int, str, int)
        admitted, state, epoch, number, retry_after_ms, left, now_ms = reply
        answer = Admission(
            state=_state(state),
            epoch=epoch,
            left=STATES.get(left),
            now_ms=now_ms,
            permit=Permit(epoch, number) if admitted else None,
            retry_after_ms=retry_after_ms,
        )
        return self.noted(answer)

    def report(self, permit: Permit, outcome: Outcome) -> Protocol[Report]:
        """Tell what a call came to."""
        self.checked(permit, outcome)
        open_ms = (yield from self.draw_open_ms()) if outcome is Outcome.FAILURE else 0
        policy = (self.policy.failure_threshold, self.policy.success_threshold, open_ms)
        request = self._step(REPORT, NOW, *policy, permit.epoch, permit.number, outcome.value)
        counted, state, epoch, left, now_ms = words((yield from send(request)), int, str, int, str, int)
        answer = Report(state=_state(state), epoch=epoch, left=STATES.get(left), now_ms=now_ms, counted=bool(counted))
        return self.noted(answer)

    def intervene(self, reason: Reason) -> Protocol[Intervention]:
        """Open or close the breaker by hand. Not idempotent: each begins an epoch."""
        wanted = INTERVENTIONS[reason]
        open_ms = (yield from self.draw_open_ms()) if wanted is State.OPEN else 0
        request = self._step(INTERVENE, NOW, open_ms, wanted.value)
        state, epoch, left, now_ms = words((yield from send(request)), str, int, str, int)
        answer = Intervention(state=_state(state), epoch=epoch, left=STATES.get(left), now_ms=now_ms, reason=reason)
        return self.noted(answer)

    def view(self) -> Protocol[View]:
        """Look at the breaker, which changes nothing."""
        args = (NOW, self.policy.success_threshold, self.policy.open_ms)
        request = CallScript(script=VIEW, keys=(self.key,), args=args, idempotent=True)
        reply = words((yield from send(request)), str, int, int, int, int, int, int)
        state, epoch, failures, successes, probes, retry_after_ms, now_ms = reply
        return View(
            state=_state(state),
            epoch=epoch,
            failures=failures,
            successes=successes,
            probes=probes,
            retry_after_ms=retry_after_ms,
            now_ms=now_ms,
        )

    def _step(self, script: Script, *args: Argument) -> CallScript:
        return CallScript(script=script, keys=(self.key,), args=args, idempotent=False, finishes=True)


def _state(text: str) -> State:
    state = STATES.get(text)
    if state is None:
        raise UnexpectedReply(f"a script answered {text!r} where a state belongs")
    return state
