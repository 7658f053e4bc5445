"""
The circuit breaker in lockstep: its moves, and what is compared.

A story names a permit by a number of its own choice, its grant: so it can be told before anybody knows what will be granted,
and it survives that moves are left out. A report of a grant that nobody was given is no move, and not told.

Features of a target beyond acquire, and reports of success and failure:

    neutral        outcomes may be neutral
    view
    interventions  force_open, force_close, reset
    jitter         how long it opens can be given; without it T is below 5, where there is nothing to draw
    handles        a permit is a handle, and its second report is none; such a target is told `Handed`
    forged         a report may carry a permit that was never given
    misuse         bad arguments are told apart
    stored         what is stored can be read
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve, frozen

from redstep_check.binding import Target, Unreadable
from redstep_check.guards import telling
from redstep_check.guards.telling import shortened
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, Told, compare, rules_of
from redstep_spec import circuit_breaker as spec
from redstep_spec.arguments import Misuse
from redstep_spec.delivery import Fate, Outcome, Replied, Unknown, deliver, rules_met
from redstep_spec.properties import Properties
from redstep_spec.properties.circuit_breaker import PROPERTIES, Transition
from redstep_spec.properties.circuit_breaker_seen import PROPERTIES as SEEN

NAME = "circuit-breaker"
CHECKED = Properties(PROPERTIES.always, SEEN.sometimes)
START_MS = 1_000
"""The time at which a session starts."""
RESENDS = 1
"""How often a client sends an idempotent call again."""
NARROW = frozenset({"CB-7", "CB-8", "CB-10", "CB-13", "CB-15", "CM-7", "CM-9"})
"""The rules of one branch alone: when one of them decides, it is to blame for whatever differs."""


@frozen
class Called:
    """A call, and the fates of its attempts."""

    call: spec.Call
    fates: tuple[Fate, ...] = ()
    grant: int | None = None
    """How the story names the permit of an acquire, if one is given."""

    @property
    def now_ms(self) -> int:
        """The breaker's time."""
        return self.call.now_ms


@frozen(kw_only=True)
class Reported:
    """Whoever was given a permit reports what came of the call."""

    grant: int
    policy: spec.Policy
    now_ms: int
    outcome: spec.Outcome
    open_ms: int = 0
    fates: tuple[Fate, ...] = ()


@frozen(kw_only=True)
class Forged:
    """Somebody reports under a permit that was never given, or not to him."""

    name: str
    policy: spec.Policy
    now_ms: int
    outcome: spec.Outcome
    open_ms: int = 0
    later: int = 0
    """How many epochs after the present one; an earlier one, when negative."""
    number: int = 0
    fates: tuple[Fate, ...] = ()


Move = Called | Reported | Forged


@frozen
class Handed:
    """A report as it is asked of a target whose permits are handles."""

    given: int
    """How many acquires of this session were answered by a permit before the one that gave the handle."""
    report: spec.Report


Ask = spec.Call | Handed
Step = Callable[[spec.State, spec.Call], tuple[spec.State, spec.Reply]]


@frozen
class Grant:
    """A permit, as the session remembers it."""

    name: str
    permit: spec.Permit
    given: int


class CircuitBreakerSession(Session[Move]):
    """The specification of the circuit breaker beside a target."""

    def __init__(self, target: Target[Ask]) -> None:
        super().__init__(target)
        self.states: dict[str, spec.State] = {}
        self.grants: dict[int, Grant] = {}
        self._given = 0
        self._spent: set[int] = set()
        self._raw: dict[str, object] = {}

    def state(self, name: str) -> spec.State:
        """What the specification says of a name."""
        return self.states.get(name, spec.INITIAL)

    def _play(self, move: Move) -> None:
        match move:
            case Called(call, fates, grant):
                outcome = self._call(move, call, fates, call)
                if isinstance(outcome, Replied) and isinstance(outcome.reply, spec.Admitted):
                    if grant is not None:
                        self._spent.discard(grant)
                        self.grants[grant] = Grant(call.name, outcome.reply.permit, self._given)
                    self._given += 1
            case Reported(grant=grant):
                if grant in self.grants:
                    self._report(move, self.grants[grant])
            case Forged(name=name, later=later, number=number):
                permit = spec.Permit(max(0, self.state(name).epoch + later), number)
                report = report_of(move, name, permit)
                self._call(move, report, move.fates, report)
            case _:
                raise ImpossibleStory(f"{move!r} is no move")

    def _report(self, move: Reported, of: Grant) -> None:
        report = report_of(move, of.name, of.permit)
        if "handles" not in self.target.features:
            self._call(move, report, move.fates, report)
            return
        outcome = self._call(move, report, move.fates, Handed(of.given, report), again=move.grant in self._spent)
        if not isinstance(outcome, Replied) or not isinstance(outcome.reply, Misuse):
            self._spent.add(move.grant)

    def _call(
        self, move: Move, call: spec.Call, fates: tuple[Fate, ...], ask: Ask, *, again: bool = False
    ) -> Outcome[spec.Reply]:
        if call.now_ms < 0:
            raise ImpossibleStory("no clock shows a time before its first")
        before = self.state(call.name)
        after, outcome = expected(before, call, fates, again=again)
        answer = self.ask(ask, fates)
        self.story.append(Told(move, outcome, answer))
        transition = Transition(before=before, call=call, fates=fates, outcome=outcome, after=after, again=again)
        tested = fate_rules(transition)
        self._observe(transition, tested)
        compare(outcome, answer, tested, decided(transition))
        self.states[call.name] = after
        if "stored" in self.target.features and not isinstance(transition.reply, Misuse):
            self._compare_stored(transition)
        return outcome

    def _observe(self, transition: Transition, tested: tuple[str, ...]) -> None:
        self.observe(CHECKED, transition, tested)
        if transition.reply is not None:
            self.fired.update((*transition.reply.because, "CM-2", "CM-8"))
        if transition.after.epoch != transition.before.epoch:
            self.fired.update(("CB-1", "CB-9"))

    def _compare_stored(self, transition: Transition) -> None:
        name = transition.call.name
        self.fired.update(("CM-1", "CM-3"))
        try:
            stored = self.target.stored(name)
        except Unreadable as error:
            raise Mismatch(blame(transition), "what is stored", "the documented form", str(error)) from error
        state = spec.INITIAL if stored is None else stored.state
        if spec.essence(state) != spec.essence(transition.after):
            raise Mismatch(blame(transition, state), "what is stored", transition.after, state)
        if stored is not None and stored.ttl_ms is not None:
            raise Mismatch("CM-3", "the TTL", "none", f"{stored.ttl_ms} ms")
        raw = None if stored is None else stored.raw
        if transition.after != transition.before:
            self._raw.pop(name, None)
        if self._raw.setdefault(name, raw) != raw:
            raise Mismatch(blame(transition), "what is stored, byte for byte", self._raw[name], raw)


def report_of(move: Reported | Forged, name: str, permit: spec.Permit) -> spec.Report:
    """A report in the specification's terms."""
    return spec.Report(
        name=name,
        policy=move.policy,
        now_ms=move.now_ms,
        permit=permit,
        outcome=move.outcome,
        open_ms=move.open_ms,
    )


def expected(
    state: spec.State, call: spec.Call, fates: tuple[Fate, ...], *, again: bool = False, step: Step = spec.step
) -> tuple[spec.State, Outcome[spec.Reply]]:
    """What the specification makes of a call under these fates; an impossible one is refused before it has any.

    `again` says that this is a second report by one handle: nothing is sent, nothing changes, and it does not count (CB-7).
    """
    if wrong := spec.misuse(call):
        return state, Replied(wrong)
    if again:
        counted = spec.Counted(
            counted=False,
            state=spec.kind(state),
            epoch=state.epoch,
            transition=None,
            now_ms=call.now_ms,
            because=("CB-7",),
        )
        return state, Replied(counted)
    resends = RESENDS if spec.is_idempotent(call) else 0
    return deliver(lambda before: step(before, call), state, fates, resends=resends)


def fate_rules(transition: Transition) -> tuple[str, ...]:
    """The rules that the fates of a call put to the test; one that is never sent does not get as far."""
    if isinstance(transition.reply, Misuse) or transition.again:
        return ()
    return rules_met(transition.fates, resends=RESENDS if spec.is_idempotent(transition.call) else 0)


def decided(transition: Transition) -> frozenset[str]:
    """The reply fields that the most specific rule of the decision bears upon; of the others their own rule is to blame."""
    fields = {"admitted", "why", "state", "argument"}
    reply = transition.reply
    if reply is not None and reply.because[0] in NARROW:
        fields |= {"epoch", "number", "retry_after_ms", "counted"}
    if transition.refused and transition.refused.why == "full":
        fields |= {"retry_after_ms"}
    return frozenset(fields)


def blame(transition: Transition, stored: spec.State | None = None) -> str:
    """The rule that is broken when, after this transition, something else is stored."""
    if not isinstance(transition.outcome, Replied):
        return "CM-4" if isinstance(transition.outcome, Unknown) else "CM-9"
    before, after, first = transition.before, transition.after, transition.outcome.reply.because[0]
    if isinstance(before, spec.Open) and isinstance(after, spec.Open) and isinstance(stored, spec.Open) and first != "CB-13":
        if isinstance(transition.call, spec.Acquire):
            return "CB-3"
        by_hand = isinstance(transition.call, spec.ForceOpen) and stored.epoch == after.epoch
        if by_hand or stored.open_until_ms > before.open_until_ms:
            return "CB-9"
    if (
        isinstance(after, spec.Open)
        and not isinstance(before, spec.Open)
        and stored == evolve(after, open_until_ms=_until(stored))
    ):
        return "CB-3"
    if stored is None or first in NARROW or type(stored) is not type(after) or after == before:
        return first
    fields = rules_of(after)
    return next((rule for name, rule in fields.items() if getattr(stored, name) != getattr(after, name)), first)


def _until(state: spec.State | None) -> int:
    return state.open_until_ms if isinstance(state, spec.Open) else 0


# ---------------------------------------------------------------------------------------------- telling


def tell(move: Move) -> str:
    """A move as a person would say it."""
    if isinstance(move, Called):
        call, policy, drawn_ms = move.call, move.call.policy, getattr(move.call, "open_ms", 0)
        words = [f"{VERBS[type(call)]} {shortened(call.name)}"]
        if isinstance(call, spec.Report):
            words.append(f"as {call.permit!r}: {call.outcome!r}")
        if move.grant is not None:
            words.append(f"for call {move.grant}")
    else:
        policy, drawn_ms = move.policy, move.open_ms
        words = [f"report {move.outcome.value} of"]
        words.append(f"call {move.grant}" if isinstance(move, Reported) else f"{shortened(move.name)} {_forgery(move)}")
    words.append(f"(F={policy.failure_threshold!r} S={policy.success_threshold!r} T={policy.open_ms!r}")
    words[-1] += f", open for {drawn_ms!r} ms)" if drawn_ms else ")"
    return " ".join((*words, *telling.tell_fates(move.fates)))


def _forgery(move: Forged) -> str:
    epoch = f"{abs(move.later)} {'earlier' if move.later < 0 else 'later'}" if move.later else "now"
    return f"by a made-up permit: number {move.number}, epoch {epoch}"


VERBS = {
    spec.Acquire: "acquire",
    spec.Report: "report of",
    spec.View: "view",
    spec.ForceOpen: "force open",
    spec.ForceClose: "force close",
    spec.Reset: "reset",
}


def tell_answer(answer: object) -> str:
    """What one side says to a move, in a few words."""
    return telling.tell_answer(answer, _tell_values)


def _tell_values(values: Mapping[str, Any]) -> str:
    words = []
    if "admitted" in values:
        words.append("admitted" if values["admitted"] else f"refused, {values.get('why', 'open')}")
    if values.get("number"):
        words.append(f"probe {values['number']}")
    if values.get("counted") is False:
        words.append("not counted")
    if "state" in values:
        words.append(str(values["state"]))
    if "epoch" in values:
        words.append(f"epoch {values['epoch']}")
    if values.get("retry_after_ms"):
        words.append(f"retry in {values['retry_after_ms']} ms")
    return ", ".join(words) or "done"
