"""
The circuit breaker's machine: it draws the moves that a session makes.

Plain random moves hardly ever close a breaker again, so there are rules for whole stretches of its life: a row of failures,
a round of probes, one success after the other however slowly, probes that fall silent. And the clock jumps: to open_until and
to the probe deadline, one millisecond early, exactly, or one late.
"""

from collections.abc import Callable
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from redstep_check.guards.circuit_breaker import START_MS, Called, CircuitBreakerSession, Forged, Reported
from redstep_spec import circuit_breaker as spec
from redstep_spec.arguments import MAX_INTEGER
from redstep_spec.circuit_breaker import Closed, HalfOpen, Open, Outcome
from redstep_spec.delivery import Fate, Replied

LATEST_MS = MAX_INTEGER // 2
ROW_MAX = 6
"""How many failures a macro rule reports at most."""

names = st.sampled_from(("a", "a", "a", "b", "a:7"))
thresholds = st.sampled_from((1, 2, 2, 2, 3))
any_thresholds = thresholds | st.sampled_from((5, MAX_INTEGER))
small_ms = st.integers(1, 4)
any_ms = st.sampled_from((5, 7, 10, 10, 23, 30_000, 86_400_001, MAX_INTEGER))
near = st.sampled_from((0, -1, 1))
outcomes = st.sampled_from((Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE, Outcome.FAILURE, Outcome.NEUTRAL))
jitters = st.sampled_from(("T", "least", "most"))
interventions = st.sampled_from((spec.ForceOpen, spec.ForceClose, spec.Reset))
FATES: tuple[tuple[Fate, ...], ...] = (
    (),
    (Fate.REPLY_LOST,),
    (Fate.NOT_SENT,),
    (Fate.FLUSHED,),
    (Fate.REPLY_LOST, Fate.NOT_SENT),
    (Fate.REPLY_LOST, Fate.REPLY_LOST),
)
BAD_NAMES: tuple[Any, ...] = ("", "x" * 10_000, "a{b", "}", "a\nb", "\ud800", None, b"a")
BAD_NUMBERS: tuple[Any, ...] = (0, -1, 1.5, "3", True, None, MAX_INTEGER + 1)


class CircuitBreakerMachine(RuleBasedStateMachine):
    """Draws moves; the session makes them on both sides and compares."""

    def __init__(self, begin: Callable[[], CircuitBreakerSession]) -> None:
        super().__init__()
        self.session = begin()
        self.can = self.session.target.features
        self.now_ms = START_MS
        self.policy = spec.Policy()
        self.held: list[int] = []  # grants that were not reported yet
        self.told: list[int] = []  # and those that were

    # ------------------------------------------------------------------------------------------ the policy

    @initialize(failures=thresholds, successes=thresholds, short_ms=small_ms, open_ms=small_ms | any_ms)
    def adopt_a_policy(self, failures: int, successes: int, short_ms: int, open_ms: int) -> None:
        self.policy = spec.Policy(
            failure_threshold=failures,
            success_threshold=successes,
            open_ms=open_ms if "jitter" in self.can else short_ms,
        )

    @rule(failures=any_thresholds)
    def change_the_failure_threshold(self, failures: int) -> None:
        self.policy = evolve(self.policy, failure_threshold=failures)

    @rule(successes=any_thresholds)
    def change_the_success_threshold(self, successes: int) -> None:
        self.policy = evolve(self.policy, success_threshold=successes)

    @rule(short_ms=small_ms, open_ms=small_ms | any_ms)
    def change_the_timeout(self, short_ms: int, open_ms: int) -> None:
        self.policy = evolve(self.policy, open_ms=open_ms if "jitter" in self.can else short_ms)

    @rule(name=names)
    def fewer_failures_are_allowed_than_there_were(self, name: str) -> None:
        """And whatever comes next is a failure."""
        self.policy = evolve(self.policy, failure_threshold=4)
        self._fail_in_a_row(name, 3)
        self.policy = evolve(self.policy, failure_threshold=2)
        self._whole_call(name, Outcome.FAILURE)

    @rule(name=names)
    def fewer_successes_are_needed_than_there_were(self, name: str) -> None:
        self.policy = evolve(self.policy, success_threshold=3)
        self._be_half_open(name)
        self._whole_call(name, Outcome.SUCCESS)
        self.policy = evolve(self.policy, success_threshold=1)
        self._whole_call(name, Outcome.SUCCESS)

    # ------------------------------------------------------------------------------------------ the clock

    @rule(ms=st.integers(1, 15))
    def time_passes(self, ms: int) -> None:
        self._jump(self.now_ms + ms)

    @rule(name=names, off_ms=near)
    def a_deadline_comes(self, name: str, off_ms: int) -> None:
        self._jump_to_the_deadline(name, off_ms)
        self._acquire(name)

    @rule(name=names, times=st.integers(1, 3))
    def the_clock_steps_back(self, name: str, times: int) -> None:
        self._jump(self.now_ms - times * self.policy.open_ms)
        self._acquire(name)

    def _jump(self, to_ms: int) -> None:
        self.now_ms = min(max(0, to_ms), LATEST_MS)

    def _jump_to_the_deadline(self, name: str, off_ms: int = 0) -> None:
        self._jump(self._deadline_ms(name) + off_ms)

    def _deadline_ms(self, name: str) -> int:
        match self.session.state(name):
            case Open(open_until_ms=deadline_ms) | HalfOpen(deadline_ms=deadline_ms):
                return deadline_ms
        return self.now_ms

    # ------------------------------------------------------------------------------------------ single calls

    @rule(name=names, count=st.integers(1, 3), fates=st.sampled_from(FATES))
    def acquire(self, name: str, count: int, fates: tuple[Fate, ...]) -> None:
        for _ in range(count):
            self._acquire(name, fates)

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 9), outcome=outcomes, drawn=jitters, fates=st.sampled_from(FATES))
    def report(self, which: int, outcome: Outcome, drawn: str, fates: tuple[Fate, ...]) -> None:
        self._report(self.held[which % len(self.held)], outcome, drawn, fates)

    @precondition(lambda self: "handles" in self.can and self.told)
    @rule(which=st.integers(0, 9), outcome=outcomes)
    def report_again(self, which: int, outcome: Outcome) -> None:
        self._report(self.told[-1 - which % len(self.told)], outcome)

    @precondition(lambda self: "forged" in self.can)
    @rule(name=names, later=st.sampled_from((0, 0, -1, 1)), number=st.integers(0, 4), outcome=outcomes, probing=st.booleans())
    def report_what_was_never_granted(self, name: str, later: int, number: int, outcome: Outcome, probing: bool) -> None:
        if probing:
            self._be_half_open(name)
        outcome = self._outcome(outcome)
        open_ms = self.policy.open_ms if outcome is Outcome.FAILURE else 0
        self.session.play(Forged(**self._at(name), later=later, number=number, outcome=outcome, open_ms=open_ms))

    @precondition(lambda self: "view" in self.can)
    @rule(name=names, fates=st.sampled_from(FATES), late=st.booleans())
    def view(self, name: str, fates: tuple[Fate, ...], late: bool) -> None:
        if late:
            self._be_open(name)
            self._jump_to_the_deadline(name)
        self._play(spec.View(**self._at(name)), fates)

    @precondition(lambda self: "interventions" in self.can)
    @rule(name=names, kind=interventions, drawn=jitters, fates=st.sampled_from(FATES))
    def intervene(self, name: str, kind: type, drawn: str, fates: tuple[Fate, ...]) -> None:
        self._intervene(name, kind, drawn, fates)

    @precondition(lambda self: "interventions" in self.can)
    @rule(name=names, kind=interventions, prepared=st.sampled_from(("failing", "open", "half-open")))
    def intervene_whatever_it_is(self, name: str, kind: type, prepared: str) -> None:
        """And see whether it is as it was said to be, when its time comes."""
        self.policy = evolve(self.policy, failure_threshold=2)
        match prepared:
            case "failing":
                self._be_closed(name)
                self.policy = evolve(self.policy, failure_threshold=4)
                self._whole_call(name, Outcome.FAILURE)
            case "open":
                self._be_open(name, "least")
            case _:
                self._be_half_open(name)
        deadline_ms = self._deadline_ms(name)
        self._intervene(name, kind, "most")
        self._jump(deadline_ms)
        self._acquire(name)

    # ------------------------------------------------------------------------------------------ stretches of its life

    @rule(name=names, outcome=outcomes, ms=st.integers(0, 3))
    def a_whole_call(self, name: str, outcome: Outcome, ms: int) -> None:
        self._whole_call(name, outcome, ms)

    @rule(name=names, drawn=jitters)
    def a_row_of_failures(self, name: str, drawn: str) -> None:
        self._be_open(name, drawn)
        self._acquire(name)

    @rule(name=names, later=st.integers(1, 4))
    def a_row_that_a_neutral_result_does_not_end(self, name: str, later: int) -> None:
        """And a success does, and another row begins."""
        self._be_closed(name)
        self.policy = evolve(self.policy, failure_threshold=3)
        for outcome in (Outcome.FAILURE, Outcome.FAILURE, Outcome.NEUTRAL, Outcome.SUCCESS, *[Outcome.FAILURE] * later):
            self._whole_call(name, outcome)

    @rule(name=names, when=st.integers(0, 2), outcome=outcomes, ms=st.integers(0, 3))
    def a_result_that_comes_late(self, name: str, when: int, outcome: Outcome, ms: int) -> None:
        """Of a call that was admitted while closed, or as a probe: it is open by then, or half-open, or closed again."""
        self._small()
        if when < 1:
            self._be_closed(name)
        late = [self._acquire(name), self._acquire(name)]
        self._be_open(name, "least")
        if when > 0:
            self._be_half_open(name)
            self._acquire(name)
        if when > 1:
            self._be_closed(name)
        deadline_ms = self._deadline_ms(name)
        self._jump(self.now_ms + ms)
        for grant in late:
            if grant is not None:
                self._report(grant, outcome, "most")
        self._jump(deadline_ms)
        self._acquire(name)

    @precondition(lambda self: "handles" in self.can)
    @rule(name=names, first=outcomes, second=outcomes, probing=st.booleans())
    def a_result_told_twice(self, name: str, first: Outcome, second: Outcome, probing: bool) -> None:
        if probing:
            self._small()
            self._be_half_open(name)
        grant = self._acquire(name)
        if grant is not None:
            self._report(grant, first)
            self._report(grant, second)

    @rule(name=names, off_ms=near)
    def half_open_by_and_by(self, name: str, off_ms: int) -> None:
        self._be_open(name)
        self._jump_to_the_deadline(name, off_ms)
        self._acquire(name)

    @rule(name=names, outcome=outcomes, last_first=st.booleans(), stay=st.booleans())
    def a_round_of_probes(self, name: str, outcome: Outcome, last_first: bool, stay: bool) -> None:
        """As many at once as there may be, and one too many; then all of them come back, or all but one."""
        self._small()
        self._be_half_open(name)
        probes = [self._acquire(name) for _ in range(self.policy.success_threshold + 1)]
        admitted = [probe for probe in probes if probe is not None][stay:]
        for probe in reversed(admitted) if last_first else admitted:
            self._report(probe, outcome)
        self._acquire(name)

    @rule(name=names, slow=st.booleans(), last=st.sampled_from((Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE)))
    def one_success_after_the_other(self, name: str, slow: bool, last: Outcome) -> None:
        """However slowly."""
        self._small()
        self._be_half_open(name)
        for place in range(self.policy.success_threshold):
            is_last = place == self.policy.success_threshold - 1
            self._whole_call(name, last if is_last else Outcome.SUCCESS, 2 * self.policy.open_ms if slow else 0)
            self._jump(self.now_ms + (2 * self.policy.open_ms if slow else 0))

    @rule(name=names, successes=st.integers(0, 2), probes=st.integers(1, 3), off_ms=near)
    def probes_fall_silent(self, name: str, successes: int, probes: int, off_ms: int) -> None:
        """After some that succeeded; what they have to say comes later, or never."""
        self._small()
        self._be_half_open(name)
        for _ in range(successes):
            self._whole_call(name, Outcome.SUCCESS)
        for _ in range(probes):
            self._acquire(name)
        self._jump_to_the_deadline(name, off_ms)
        self._acquire(name)

    @rule(name=names, back=st.booleans())
    def full_while_the_clock_steps_back(self, name: str, back: bool) -> None:
        """Or while T is lowered."""
        self._small()
        self._be_half_open(name)
        for _ in range(self.policy.success_threshold):
            self._acquire(name)
        if back:
            self._jump(self.now_ms - 2 * self.policy.open_ms)
        else:
            self.policy = evolve(self.policy, open_ms=1)
        self._acquire(name)

    @precondition(lambda self: "misuse" in self.can)
    @rule(data=st.data())
    def ask_the_impossible(self, data: st.DataObject) -> None:
        good = spec.Acquire(**self._at("a"))
        calls: list[spec.Call] = [good]
        if "view" in self.can:
            calls.append(spec.View(**self._at("a")))
        if "interventions" in self.can:
            calls += [spec.ForceClose(**self._at("a")), spec.Reset(**self._at("a"))]
        fields = ("failure_threshold", "success_threshold", "open_ms")
        asked: Any = data.draw(
            st.sampled_from(
                (
                    *(evolve(good, policy=evolve(self.policy, **{field: bad})) for field in fields for bad in BAD_NUMBERS),
                    *(evolve(call, name=name) for call in calls for name in BAD_NAMES),
                )
            )
        )
        self.session.play(Called(asked))

    @precondition(lambda self: {"misuse", "interventions", "jitter"} <= self.can)
    @rule(bad=st.sampled_from(BAD_NUMBERS), off_ms=st.sampled_from((None, None, -1, 1)))
    def force_open_for_a_time_that_nobody_draws(self, bad: Any, off_ms: int | None) -> None:
        self.session.play(Called(spec.ForceOpen(**self._at("a"), open_ms=self._out_of_range(bad, off_ms))))

    @precondition(lambda self: {"misuse", "forged", "jitter"} <= self.can)
    @rule(bad=st.sampled_from(BAD_NUMBERS), off_ms=st.sampled_from((None, None, -1, 1)), which=st.integers(0, 3))
    def report_the_impossible(self, bad: Any, off_ms: int | None, which: int) -> None:
        """An open_ms out of range, an outcome that is none, or a permit that is none."""
        good = spec.Report(**self._at("a"), permit=spec.Permit(0), outcome=Outcome.FAILURE, open_ms=self.policy.open_ms)
        bad = None if type(bad) is int and bad == 0 else bad  # which is a good epoch, and a good number
        wrong = (
            evolve(good, open_ms=self._out_of_range(bad, off_ms)),
            evolve(good, outcome=bad),
            evolve(good, permit=spec.Permit(bad)),
            evolve(good, permit=spec.Permit(0, bad)),
        )
        self.session.play(Called(wrong[which]))

    def _out_of_range(self, bad: Any, off_ms: int | None) -> Any:
        if off_ms is None:
            return bad if bad != MAX_INTEGER + 1 else self.policy.open_most_ms + MAX_INTEGER
        return (self.policy.open_most_ms if off_ms > 0 else self.policy.open_least_ms) + off_ms

    # ------------------------------------------------------------------------------------------ helpers

    def _at(self, name: str) -> dict[str, Any]:
        return {"name": name, "policy": self.policy, "now_ms": self.now_ms}

    def _play(self, call: spec.Call, fates: tuple[Fate, ...] = (), grant: int | None = None) -> bool:
        """Whether a permit was given."""
        fates = fates if set(fates) <= self.session.target.fates else ()
        self.session.play(Called(call, fates, grant))
        match self.session.story[-1].expected:
            case Replied(spec.Admitted()):
                return True
        return False

    def _acquire(self, name: str, fates: tuple[Fate, ...] = ()) -> int | None:
        grant = len(self.session.story) + 1
        if not self._play(spec.Acquire(**self._at(name)), fates, grant):
            return None
        self.held.append(grant)
        return grant

    def _report(self, grant: int, outcome: Outcome, drawn: str = "T", fates: tuple[Fate, ...] = ()) -> None:
        fates = fates if set(fates) <= self.session.target.fates else ()
        outcome = self._outcome(outcome)
        open_ms = self._drawn(drawn) if outcome is Outcome.FAILURE else 0
        move = Reported(grant=grant, policy=self.policy, now_ms=self.now_ms, outcome=outcome, open_ms=open_ms, fates=fates)
        self.session.play(move)
        if grant in self.held:
            self.held.remove(grant)
            self.told.append(grant)

    def _outcome(self, outcome: Outcome) -> Outcome:
        return Outcome.SUCCESS if outcome is Outcome.NEUTRAL and "neutral" not in self.can else outcome

    def _drawn(self, which: str) -> int:
        return {"T": self.policy.open_ms, "least": self.policy.open_least_ms, "most": self.policy.open_most_ms}[which]

    def _intervene(self, name: str, kind: type, drawn: str = "T", fates: tuple[Fate, ...] = ()) -> None:
        at = self._at(name)
        call = spec.ForceOpen(**at, open_ms=self._drawn(drawn)) if kind is spec.ForceOpen else kind(**at)
        self._play(call, fates)

    def _whole_call(self, name: str, outcome: Outcome, ms: int = 0) -> None:
        grant = self._acquire(name)
        self._jump(self.now_ms + ms)
        if grant is not None:
            self._report(grant, outcome)

    def _fail_in_a_row(self, name: str, count: int, drawn: str = "T") -> None:
        for _ in range(count):
            if not isinstance(self.session.state(name), Open) and (grant := self._acquire(name)):
                self._report(grant, Outcome.FAILURE, drawn)

    def _small(self) -> None:
        if self.policy.success_threshold > ROW_MAX:
            self.policy = evolve(self.policy, success_threshold=3)
        if self.policy.open_ms > LATEST_MS // 100:
            self.policy = evolve(self.policy, open_ms=4)

    def _be_open(self, name: str, drawn: str = "T") -> None:
        if self.policy.failure_threshold > ROW_MAX:
            self.policy = evolve(self.policy, failure_threshold=2)
        self._fail_in_a_row(name, self.policy.failure_threshold, drawn)

    def _be_closed(self, name: str) -> None:
        """As far as successes alone lead there."""
        for _ in range(ROW_MAX):
            if not isinstance(self.session.state(name), Closed):
                self._jump_to_the_deadline(name)
                self._whole_call(name, Outcome.SUCCESS)

    def _be_half_open(self, name: str) -> None:
        """With a probe that succeeded, or is in flight where its success would close it."""
        if not isinstance(self.session.state(name), HalfOpen):
            self._be_open(name)
            self._jump_to_the_deadline(name)
            grant = self._acquire(name)
            if grant is not None and self.policy.success_threshold > 1:
                self._report(grant, Outcome.SUCCESS)
