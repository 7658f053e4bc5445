"""
Runs: a machine against a target, in batches, until everything it is about was reached.

A batch is a function of its seed. At the default budget a run goes on for up to ten batches while some SOMETIMES property is
not reached yet, and is vacuous if that does not help; below it, what was reached is told and not judged. A run that is given
a time goes on until that is over, in the middle of a batch if need be.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from enum import Enum
from typing import Any
from unittest import mock

from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import Flaky
from hypothesis.internal.conjecture.providers import HypothesisProvider
from hypothesis.reporting import with_reporter
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from redstep_check.binding import Target
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, applicable
from redstep_check.shrinking import Moves, Simpler, shortest
from redstep_spec.properties import Property

EXAMPLES = 100
"""The default budget of a batch."""
BATCHES_MAX = 10
STEPS_MAX = 40
"""How many rules one example takes at most."""


class Verdict(Enum):
    """What a run found."""

    HOLDS = "holds"
    BROKEN = "broken"
    VACUOUS = "vacuous"
    FLAKY = "flaky"
    """A difference was seen that the same choices did not show again: broken too, but the story may not replay."""
    NOT_JUDGED = "not judged"
    """No difference, but the budget was too small to ask whether everything was reached."""
    UNFINISHED = "unfinished"
    """Stopped before its end."""


@frozen(kw_only=True)
class Budget:
    """How much a run may cost."""

    examples: int = EXAMPLES
    seconds: float | None = None
    """How long a run goes on, whatever it has reached."""
    seed: int = field(factory=lambda: random.SystemRandom().randrange(2**32))


@frozen(kw_only=True)
class Bench:
    """What is to be run: a session and a machine for one guard, and its properties."""

    session: Callable[[Target[Any]], Session[Any]]
    machine: Callable[[Callable[[], Any]], RuleBasedStateMachine]
    sometimes: list[Property[Any]]
    simpler: Simpler
    """Simpler variants of a story, for shrinking."""


@define
class Result:
    """What a run came to, and on the way what it has come to so far."""

    seed: int
    """Of the batch that found a difference; as long as there is none, of the first batch."""
    batch: int
    """How many examples a batch tries."""
    to_reach: Sequence[Property[Any]]
    batches: int = 0
    """How many were begun."""
    examples: int = 0
    """How many sessions were begun, those that Hypothesis gave up included."""
    steps: int = 0
    """How many moves they made."""
    reached: Counter[str] = field(factory=Counter)
    """In how many examples each property held."""
    fired: Counter[str] = field(factory=Counter)
    """How often each rule was put to the test."""
    mismatch: Mismatch | None = None
    verdict: Verdict = Verdict.UNFINISHED
    seconds: float = 0.0

    @property
    def missed(self) -> tuple[Property[Any], ...]:
        """What is to be reached, and was not."""
        return tuple(each for each in self.to_reach if not self.reached[each.name])


class _TimeIsUp(BaseException):
    """Ends a batch; no Exception, which Hypothesis would take for a failure of the example."""


def run(bench: Bench, target: Target[Any], budget: Budget, on_example: Callable[[Result], object] = bool) -> Result:
    """Run a machine against a target. `on_example` is told the result so far after every example."""
    result = Result(budget.seed, budget.examples, applicable(bench.sometimes, target))
    started_s = time.monotonic()

    def on_session(session: Session[Any]) -> Mismatch | None:
        if result.mismatch is None:
            _add(result, session)
            result.seconds = time.monotonic() - started_s
            on_example(result)
        if result.mismatch is None and budget.seconds is not None and result.seconds >= budget.seconds:
            raise _TimeIsUp
        return result.mismatch

    with suppress(_TimeIsUp):
        while _goes_on(result, budget):
            result.batches += 1
            _run_batch(bench, target, budget.examples, budget.seed + result.batches - 1, on_session)
    if result.mismatch is None:
        result.verdict = _verdict(result)
    else:
        result.seed = budget.seed + result.batches - 1
        _shrink(bench, target, result, result.mismatch)
    result.seconds = time.monotonic() - started_s
    return result


def replayed(bench: Bench, target: Target[Any], moves: Moves) -> Mismatch | None:
    """Play the moves of a story on a target; return the difference if there is one. Raises ImpossibleStory."""
    session = bench.session(target)
    try:
        for move in moves:
            session.play(move)
    except Mismatch as mismatch:
        return mismatch
    return None


def _shrink(bench: Bench, target: Target[Any], result: Result, found: Mismatch) -> None:
    def play(moves: Moves) -> Mismatch | None:
        try:
            return replayed(bench, target, moves)
        except ImpossibleStory:
            return None

    shrunk = shortest(found, play, bench.simpler)
    result.verdict = Verdict.BROKEN if shrunk else Verdict.FLAKY
    result.mismatch = shrunk or found


def _goes_on(result: Result, budget: Budget) -> bool:
    """Is there to be another batch?"""
    if result.mismatch is not None:
        return False
    if budget.seconds is not None or not result.batches:
        return True
    return bool(result.missed) and budget.examples >= EXAMPLES and result.batches < BATCHES_MAX


def _verdict(result: Result) -> Verdict:
    """What a run without a difference came to; it is judged by the examples that were really run."""
    if not result.missed:
        return Verdict.HOLDS
    return Verdict.VACUOUS if result.examples >= BATCHES_MAX * EXAMPLES else Verdict.NOT_JUDGED


def _run_batch(
    bench: Bench, target: Target[Any], examples: int, batch_seed: int, on_session: Callable[[Session[Any]], Mismatch | None]
) -> None:
    """Run the machine once. `on_session` is told of every session that has ended, and tells the difference, if one was seen."""
    sessions: list[Session[Any]] = []

    def begin() -> Session[Any]:
        if sessions and (found := on_session(sessions[-1])):
            raise found  # Hypothesis would play it again, and swallow a Ctrl-C: the shrinker makes sure of it instead
        sessions[:] = [bench.session(target)]
        return sessions[-1]

    def machine() -> RuleBasedStateMachine:
        return bench.machine(begin)

    seed(batch_seed)(machine)
    with with_reporter(_silent), _by_its_seed_alone():
        try:
            run_state_machine_as_test(machine, settings=_settings(examples))  # type: ignore[arg-type]  # a factory will do
        except (Mismatch, Flaky):
            if not on_session(sessions[-1]):
                raise
        else:
            on_session(sessions[-1])


def _by_its_seed_alone() -> AbstractContextManager[object]:
    """Hypothesis also tries constants that stand in the code around it: after any edit a seed would mean something else."""
    if not hasattr(HypothesisProvider, "_maybe_draw_constant"):
        return nullcontext()
    return mock.patch.object(HypothesisProvider, "_maybe_draw_constant", return_value=None)


def _add(result: Result, session: Session[Any]) -> None:
    result.examples += 1
    result.steps += len(session.story)
    result.reached.update(session.reached)
    result.fired.update(session.fired)
    result.mismatch = session.mismatch


def _silent(_: object) -> None:
    """Hypothesis would print the machine's steps; the report tells the story better."""


def _settings(examples: int) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=STEPS_MAX,
        deadline=None,
        database=None,
        derandomize=False,
        phases=(Phase.generate,),
        verbosity=Verbosity.quiet,
        suppress_health_check=(HealthCheck.too_slow,),
        print_blob=False,
        report_multiple_bugs=False,
    )
