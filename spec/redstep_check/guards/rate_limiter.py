"""
The rate limiter in lockstep: its moves, and what is compared.

Features of a target beyond an acquire of cost 1 under one limit:

    cost        a call may cost more
    dear        and takes no longer when it costs much more
    request_id  a call may carry an identity
    region      limits may start cold
    several     a call may name several limits
    peek, reset
    misuse      bad arguments are told apart
    stored      what is stored can be read, and removed
"""

import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

from attrs import frozen

from redstep_check.binding import Stored, Target, Unreadable
from redstep_check.guards import telling
from redstep_check.guards.telling import shortened
from redstep_check.guards.ttl import EXPLICIT_CLOCK_TTL_MS, Written
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, Told, compare
from redstep_spec import rate_limiter as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Failed, Fate, Outcome, Replied, Unknown, deliver, rules_met
from redstep_spec.properties.rate_limiter import PROPERTIES, Transition

NAME = "rate-limiter"
START_MS = 1_000
"""The time at which a session starts."""
RESENDS = 1
"""How often a client sends an idempotent call again."""
DECIDED = frozenset({"allowed", "remaining", "reset_after_ms"})
"""The reply fields that every rule of a decision bears upon."""


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

    name: str
    window_ms: int
    now_ms: int


Move = Called | Removed


class RateLimiterSession(Session[Move]):
    """The specification of the rate limiter beside a target."""

    def __init__(self, target: Target[spec.Call]) -> None:
        super().__init__(target)
        self.logs: dict[str, spec.Logs] = {}
        self._limit: dict[tuple[str, int], int] = {}  # under which each log was last written
        self._written: dict[tuple[str, int], Written] = {}
        self._raw: dict[tuple[str, int], object] = {}
        self._removed: set[tuple[str, int]] = set()
        self._ever: Counter[tuple[str, int]] = Counter()
        self._floor_ms = 0

    def _play(self, move: Move) -> None:
        match move:
            case Called(call, fates):
                self._call(call, fates)
            case Removed(name, window_ms, now_ms):
                if spec.life_ms(spec.log_of(self.logs.get(name, spec.INITIAL), window_ms), now_ms) > 0:
                    raise ImpossibleStory("a living log is removed")
                self._floor_ms = max(self._floor_ms, now_ms)
                self.target.remove(name, window_ms)
                self._removed.add((name, window_ms))
                self._raw.pop((name, window_ms), None)
                self.story.append(Told(move, None, None))
            case _:
                raise ImpossibleStory(f"{move!r} is no move")

    def _call(self, call: spec.Call, fates: tuple[Fate, ...]) -> None:
        if call.now_ms < self._floor_ms:
            raise ImpossibleStory("the clock steps back behind a removal")
        before = self.logs.get(call.name, spec.INITIAL)
        after, outcome = expected(before, call, fates)
        started_s = time.monotonic()
        answer = self.ask(call, fates)
        ended_s = time.monotonic()
        self.story.append(Told(Called(call, fates), outcome, answer))
        transition = Transition(
            before=before,
            call=call,
            fates=fates,
            outcome=outcome,
            after=after,
            collected=self._was_removed(call),
            overflowing=self._is_overflowing(call),
        )
        tested = fate_rules(transition)
        because = () if transition.reply is None else (*transition.reply.because, "CM-2", "CM-8")
        self.observe(PROPERTIES, transition, (*tested, *because))
        compare(outcome, answer, tested, DECIDED)
        self.logs[call.name] = after
        self._note_written(transition, started_s, ended_s)
        if "stored" in self.target.features:
            self._compare_stored(transition)

    def _note_written(self, transition: Transition, started_s: float, ended_s: float) -> None:
        if isinstance(transition.reply, Misuse):
            return
        for limit in transition.call.limits:
            key = (transition.call.name, limit.window_ms)
            self._limit.setdefault(key, limit.limit)
            log = spec.log_of(transition.after, limit.window_ms)
            if log != spec.log_of(transition.before, limit.window_ms):
                self._limit[key] = limit.limit
                ttl_ms = spec.life_ms(log, transition.call.now_ms) + EXPLICIT_CLOCK_TTL_MS
                self._written[key] = Written(ttl_ms, started_s, ended_s)
                self._ever[key] += getattr(transition.call, "cost", 0)
                self._removed.discard(key)
                self._raw.pop(key, None)

    def _was_removed(self, call: spec.Call) -> bool:
        return any((call.name, limit.window_ms) in self._removed for limit in call.limits)

    def _is_overflowing(self, call: spec.Call) -> bool:
        keys = ((call.name, limit.window_ms) for limit in call.limits)
        return any(self._ever[key] > spec.stored_most(self._limit[key]) for key in keys if key in self._limit)

    def _compare_stored(self, transition: Transition) -> None:
        name = transition.call.name
        for key in [key for key in self._limit if key[0] == name]:
            self.fired.update(("RL-0", "CM-3"))
            read_s = time.monotonic()
            try:
                stored = self.target.stored(*key)
            except Unreadable as error:
                rule = "RL-0" if transition.after != transition.before else blame(transition)
                raise Mismatch(rule, "what is stored", "the documented form", str(error)) from error
            if stored is not None:
                self._compare_log(key, stored, blame(transition))
                self._compare_ttl(key, stored, read_s)

    def _compare_log(self, key: tuple[str, int], stored: Stored, rule: str) -> None:
        log = spec.log_of(self.logs[key[0]], key[1])
        expected_state: Counter[Any] = Counter() if key in self._removed else spec.tally(log)
        if stored.state != expected_state:
            raise Mismatch(rule, "what is stored", dict(expected_state), dict(stored.state))
        if stored.size > spec.stored_most(self._limit[key]):
            raise Mismatch("RL-8", "the number of entries", f"<= {spec.stored_most(self._limit[key])}", stored.size)
        if self._raw.setdefault(key, stored.raw) != stored.raw:
            raise Mismatch(rule, "what is stored, byte for byte", self._raw[key], stored.raw)

    def _compare_ttl(self, key: tuple[str, int], stored: Stored, read_s: float) -> None:
        if not stored.size:
            return
        written = self._written.get(key, Written(0, read_s, read_s))
        if stored.ttl_ms is None:
            raise Mismatch("RL-8", "the TTL", f"{written.ttl_ms} ms", "none")
        least_ms, most_ms = written.bounds_ms(read_s)
        if stored.ttl_ms < least_ms:
            raise Mismatch("CM-3", "the TTL", f">= {least_ms:.0f} ms", f"{stored.ttl_ms} ms")
        if stored.ttl_ms > most_ms:
            raise Mismatch("RL-8", "the TTL", f"<= {most_ms:.0f} ms", f"{stored.ttl_ms} ms")


def expected(logs: spec.Logs, call: spec.Call, fates: tuple[Fate, ...]) -> tuple[spec.Logs, Outcome[spec.Reply]]:
    """What the specification makes of a call under these fates; an impossible one is refused before it has any."""
    if wrong := spec.misuse(call):
        return logs, Replied(wrong)
    resends = RESENDS if spec.is_idempotent(call) else 0
    return deliver(partial(_step, call), logs, fates, resends=resends)


def _step(call: spec.Call, logs: spec.Logs) -> tuple[spec.Logs, spec.Reply]:
    return spec.step(logs, call)


def fate_rules(transition: Transition) -> tuple[str, ...]:
    """The rules that the fates of a call put to the test; an impossible call never gets as far."""
    if isinstance(transition.reply, Misuse):
        return ()
    return rules_met(transition.fates, resends=RESENDS if spec.is_idempotent(transition.call) else 0)


def blame(transition: Transition) -> str:
    """The rule that is broken when, after this transition, something else is stored."""
    match transition.outcome:
        case Replied(spec.Decision(allowed=False)):
            return "RL-3"
        case Replied(spec.Usage()):
            return "RL-14"
        case Replied(reply):
            return reply.because[0]
        case Unknown():
            return "CM-4"
        case Failed():
            return "CM-9"


# ---------------------------------------------------------------------------------------------- telling


def tell(move: Move) -> str:
    """A move as a person would say it."""
    if isinstance(move, Removed):
        return f"the dead log of {shortened(move.name)} (window {move.window_ms} ms) is removed"
    call = move.call
    words = [f"{type(call).__name__.lower()} {shortened(call.name)}"]
    if isinstance(call, spec.Acquire) and call.cost != 1:
        words.append(f"cost {call.cost!r}")
    if isinstance(call, spec.Acquire) and call.request_id is not None:
        words.append(f"id {shortened(call.request_id)}")
    words.append("under " + (" and ".join(f"{each.limit!r} per {each.window_ms!r} ms" for each in call.limits) or "no limit"))
    if not isinstance(call, spec.Reset) and call.region:
        words.append(f"(cold until {call.region.warm_at_ms} ms, {call.region.percent} %)")
    return " ".join((*words, *telling.tell_fates(move.fates)))


def tell_answer(answer: object) -> str:
    """What one side says to a move, in a few words."""
    return telling.tell_answer(answer, _tell_values)


def _tell_values(values: Mapping[str, Any]) -> str:
    words = []
    if "allowed" in values:
        words.append("allowed" if values["allowed"] else "denied")
    if "remaining" in values:
        words.append(f"{values['remaining']} left")
    if values.get("retry_after_ms"):
        words.append(f"retry in {values['retry_after_ms']} ms")
    return ", ".join(words) or "done"
