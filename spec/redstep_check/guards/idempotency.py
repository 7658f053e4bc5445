"""
The idempotency store in lockstep: its moves, and what is compared.

Features of a target beyond claim and complete:

    fingerprint     another payload is told apart
    release, renew
    not_replayable  a response may be too large to be kept
    tenants         a key has a tenant and an operation beside its name
    misuse          bad arguments are told apart
    stored          what is stored can be read, and removed
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, get_args, get_type_hints

from attrs import evolve, frozen

from redstep_check.binding import Answer, Answered, Stored, Target, Unreadable
from redstep_check.guards import telling
from redstep_check.guards.ttl import EXPLICIT_CLOCK_TTL_MS, Written
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, Told, compare
from redstep_spec import idempotency as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Failed, Fate, Outcome, Replied, Unknown, deliver, rules_met
from redstep_spec.properties import Properties
from redstep_spec.properties.idempotency import PROPERTIES, Transition
from redstep_spec.properties.idempotency_seen import PROPERTIES as SEEN

NAME = "idempotency"
CHECKED = Properties(PROPERTIES.always, SEEN.sometimes)
START_MS = 1_000
"""The time at which a session starts."""
RESENDS = 1
"""How often a client sends a call again."""
DECIDED = frozenset({"verdict", "argument"})
"""The reply fields of which the most specific rule of the decision is to blame."""


@frozen
class Called:
    """A call, and the fates of its attempts."""

    call: spec.Call
    fates: tuple[Fate, ...] = ()

    @property
    def now_ms(self) -> int:
        """The store's time."""
        return self.call.now_ms


@frozen
class Removed:
    """What is logically dead is removed from the store, as its TTL would."""

    scope: spec.Scope
    now_ms: int


Move = Called | Removed


class IdempotencySession(Session[Move]):
    """The specification of the idempotency store beside a target."""

    def __init__(self, target: Target[spec.Call]) -> None:
        super().__init__(target)
        self.states: dict[spec.Scope, spec.State] = {}
        self._written: dict[spec.Scope, tuple[Written, ...]] = {}
        self._raw: dict[spec.Scope, object] = {}
        self._removed: set[spec.Scope] = set()
        self._floor_ms = 0

    def _play(self, move: Move) -> None:
        match move:
            case Called(call, fates):
                self._call(call, fates)
            case Removed(scope, now_ms):
                if spec.life_ms(self.states.get(scope, spec.INITIAL), now_ms) > 0:
                    raise ImpossibleStory("a living record is removed")
                self._floor_ms = max(self._floor_ms, now_ms)
                self.target.remove(scope)
                self._removed.add(scope)
                self._raw.pop(scope, None)
                self.story.append(Told(move, None, None))
            case _:
                raise ImpossibleStory(f"{move!r} is no move")

    def _call(self, call: spec.Call, fates: tuple[Fate, ...]) -> None:
        if call.now_ms < self._floor_ms:
            raise ImpossibleStory("the clock steps back behind a removal")
        before = self.states.get(call.scope, spec.INITIAL)
        after, outcome = expected(before, call, fates)
        started_s = time.monotonic()
        answer = self.ask(call, fates)
        ended_s = time.monotonic()
        self.story.append(Told(Called(call, fates), outcome, answer))
        others = [scope for scope, state in self.states.items() if scope != call.scope and state != spec.INITIAL]
        transition = Transition(
            before=before,
            call=call,
            fates=fates,
            outcome=outcome,
            after=after,
            collected=call.scope in self._removed,
            alike=spec.misuse(call) is None and joined(call.scope) in map(joined, others),
        )
        tested = fate_rules(transition)
        because = () if transition.reply is None else (*transition.reply.because, "CM-2", "CM-8")
        self.observe(CHECKED, transition, (*tested, *because, *(("ID-9",) if transition.alike else ())))
        self._compare_answer(transition, answer, tested, others)
        if not isinstance(transition.reply, Misuse):
            self.states[call.scope] = after
        self._note_written(transition, started_s, ended_s)
        if "stored" in self.target.features and call.scope in self.states:
            self._compare_stored(transition, others)

    def _compare_answer(
        self, transition: Transition, answer: Answer, tested: tuple[str, ...], others: list[spec.Scope]
    ) -> None:
        outcome, decided = transition.outcome, DECIDED
        if isinstance(outcome, Replied) and (rules := suspects(transition, answer, others)):
            decided = DECIDED | {"fence"}
            outcome = Replied(evolve(outcome.reply, because=(*rules, *outcome.reply.because)))
        compare(outcome, answer, tested, decided)

    def _note_written(self, transition: Transition, started_s: float, ended_s: float) -> None:
        scope, call = transition.call.scope, transition.call
        ttl_ms = spec.life_ms(transition.after, call.now_ms) + EXPLICIT_CLOCK_TTL_MS
        new = Written(ttl_ms, started_s, ended_s)
        if transition.after != transition.before:
            self._written[scope] = (new,)
            self._removed.discard(scope)
            self._raw.pop(scope, None)
        elif not isinstance(transition.outcome, Failed) and isinstance(spec.step(transition.before, call)[1], spec.Renewed):
            self._written[scope] = (*self._written[scope], new)  # the same may be written anew, or not at all

    def _compare_stored(self, transition: Transition, others: list[spec.Scope]) -> None:
        scope = transition.call.scope
        self.fired["CM-3"] += 1
        read_s = time.monotonic()
        try:
            stored = self.target.stored(scope)
        except Unreadable as error:
            raise Mismatch(blame(transition), "what is stored", "the documented form", str(error)) from error
        if stored is None:
            return
        state = spec.INITIAL if scope in self._removed else transition.after
        if stored.state != state:
            raise Mismatch(blame(transition, stored.state), "what is stored", state, stored.state)
        if self._raw.setdefault(scope, stored.raw) != stored.raw:
            raise Mismatch(blame(transition), "what is stored, byte for byte", self._raw[scope], stored.raw)
        if state != spec.INITIAL:
            self._compare_ttl(scope, stored, read_s, "ID-9" if others else "CM-3")

    def _compare_ttl(self, scope: spec.Scope, stored: Stored, read_s: float, rule: str) -> None:
        """A TTL that is wrong only where there are other scopes is one that they wrote."""
        written = self._written[scope]
        if stored.ttl_ms is None:
            raise Mismatch("CM-3", "the TTL", f"{written[-1].ttl_ms} ms", "none")
        bounds = [each.bounds_ms(read_s) for each in written]
        if not any(least_ms <= stored.ttl_ms <= most_ms for least_ms, most_ms in bounds):
            expected_ms = " or ".join(f"{least_ms:.0f} to {most_ms:.0f} ms" for least_ms, most_ms in bounds)
            raise Mismatch(rule, "the TTL", expected_ms, f"{stored.ttl_ms} ms")


def expected(state: spec.State, call: spec.Call, fates: tuple[Fate, ...]) -> tuple[spec.State, Outcome[spec.Reply]]:
    """What the specification makes of a call under these fates; an impossible one is refused before it has any."""
    if wrong := spec.misuse(call):
        return state, Replied(wrong)
    return deliver(partial(_step, call), state, fates, resends=RESENDS)


def _step(call: spec.Call, state: spec.State) -> tuple[spec.State, spec.Reply]:
    return spec.step(state, call)


def joined(scope: spec.Scope) -> str:
    """What must not be taken for the scope: its parts, joined by colons."""
    return f"{scope.tenant}:{scope.operation}:{scope.key}"


# ---------------------------------------------------------------------------------------------- blame


def fate_rules(transition: Transition) -> tuple[str, ...]:
    """The rules that the fates of a call put to the test; an impossible call never gets as far."""
    return () if isinstance(transition.reply, Misuse) else rules_met(transition.fates, resends=RESENDS)


def suspects(transition: Transition, answer: Answer, others: list[spec.Scope]) -> tuple[str, ...]:
    """The rules that this very answer points to, if it differs: it may tell more than the reply that was expected."""
    if not isinstance(answer, Answered):
        return ()
    values = answer.values if answer.values.get("verdict") == "acquired" else {}
    fence, until_ms = values.get("fence"), values.get("lease_until_ms")
    match transition.reply, transition.before:
        case _, spec.Absent() if others:
            return ("ID-9",)  # nothing is known of this scope: what is known must be of another
        case spec.Acquired(), _ if transition.dead:
            return spec.of_death(transition.before)
        case spec.Acquired(fence=its), _ if fence == its + 1 and (transition.fates or not transition.fresh):
            return ("ID-4",)  # its own lease was taken for ended
        case spec.Acquired(), spec.Claimed(fence=its, lease_until_ms=its_end_ms) if (fence, until_ms) == (its, its_end_ms):
            return ("ID-4",)  # its own lease was taken for running
        case spec.InProgress(), spec.Claimed(fence=its) if fence == its + 1:
            return ("ID-4",)  # another's was
        case spec.Replay(replayable=True), _ if fence == 1:
            return ("ID-8",)  # it was forgotten too early
    return ()


def blame(transition: Transition, stored: object = None) -> str:
    """The rule that is broken when, after this transition, this is stored."""
    before, after = transition.before, transition.after
    match transition.outcome:
        case Unknown():
            return "CM-4"
        case Failed():
            return "CM-9"
        case Replied(spec.Replay()):
            return "ID-8"
        case Replied() if after != before and isinstance(after, spec.Released) and stored == spec.INITIAL:
            return "ID-5"
        case Replied() if after != before and type(stored) is type(after):
            return _rule_of_difference(after, stored)
        case Replied(reply):
            return reply.because[0]


def _rule_of_difference(state: Any, stored: Any) -> str:
    """The rule of the first field that differs."""
    hints = get_type_hints(type(state), include_extras=True)
    differing = (name for name in hints if getattr(state, name) != getattr(stored, name))
    return str(get_args(hints[next(differing)])[1])


# ---------------------------------------------------------------------------------------------- telling


def tell(move: Move) -> str:
    """A move as a person would say it."""
    if isinstance(move, Removed):
        return f"the dead record of {_scope(move.scope)} is removed"
    call = move.call
    words = [f"{type(call).__name__.lower()} {_scope(call.scope)} as {_text(call.token)}"]
    match call:
        case spec.Claim(fingerprint=fingerprint, lease_ms=lease_ms):
            words.append(f"payload {_text(fingerprint)} lease {lease_ms!r} ms")
        case spec.Complete(response=response, response_max_bytes=most):
            words.append(f"with {_text(response)}" + (f" (at most {most!r} bytes)" if most != spec.RESPONSE_MAX_BYTES else ""))
        case spec.Renew(lease_ms=lease_ms):
            words.append(f"for {lease_ms!r} ms")
    words.append(f"retention {call.retention_ms!r} ms")
    return " ".join((*words, *telling.tell_fates(move.fates)))


def _scope(scope: spec.Scope) -> str:
    return "/".join(map(_text, (scope.tenant, scope.operation, scope.key)))


def _text(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 24 or not isinstance(value, str | bytes) else f"{text[:16]}... ({len(value)})"


def tell_answer(answer: object) -> str:
    """What one side says to a move, in a few words."""
    return telling.tell_answer(answer, _tell_values)


def _tell_values(values: Mapping[str, Any]) -> str:
    words = [str(values.get("verdict", "done")).replace("_", " ")]
    if "fence" in values:
        words.append(f"fence {values['fence']}")
    if "lease_until_ms" in values:
        words.append(f"until {values['lease_until_ms']}")
    if "retry_after_ms" in values:
        words.append(f"retry in {values['retry_after_ms']} ms")
    if "response" in values:
        words.append(_text(values["response"]) if values.get("replayable", True) else "not replayable")
    return ", ".join(words)
