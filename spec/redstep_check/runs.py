"""
Runs: a machine against a target, in batches, until everything it is about was reached.

A run is a function of its seed. At the default budget it goes on for up to ten batches while some SOMETIMES property is not
reached yet, and is vacuous if that does not help; below it, what was reached is told and not judged.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from enum import Enum
from typing import Any

from attrs import define, field, frozen
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis.errors import Flaky
from hypothesis.reporting import with_reporter
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from redstep_check.binding import Target
from redstep_check.lockstep import ImpossibleStory, Mismatch, Session, applicable
from redstep_check.shrinking import Moves, Simpler, shortest
from redstep_spec.properties import Property

EXAMPLES = 200
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


@frozen(kw_only=True)
class Budget:
    """How much a run may cost."""

    examples: int = EXAMPLES
    seconds: float | None = None
    """A time after which no new batch starts; within it batches go on."""
    seed: int = field(factory=lambda: random.SystemRandom().randrange(2**32))

    @property
    def judged(self) -> bool:
        """Whether a run of this budget must have reached everything."""
        return self.examples >= EXAMPLES


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
    to_reach: int
    examples: int = 0
    steps: int = 0
    reached: Counter[str] = field(factory=Counter)
    """In how many examples each property held."""
    fired: Counter[str] = field(factory=Counter)
    missed: tuple[Property[Any], ...] = ()
    mismatch: Mismatch | None = None
    verdict: Verdict = Verdict.NOT_JUDGED
    seconds: float = 0.0


def run(bench: Bench, target: Target[Any], budget: Budget, on_example: Callable[[Result], object] = bool) -> Result:
    """Run a machine against a target. `on_example` is told the result so far after every example."""
    to_reach = applicable(bench.sometimes, target)
    result = Result(budget.seed, len(to_reach))
    started_s = time.monotonic()
    for batch in range(BATCHES_MAX if budget.seconds is None else 2**31):
        _run_batch(bench, target, budget.examples, budget.seed + batch, result, on_example)
        result.seconds = time.monotonic() - started_s
        result.missed = tuple(each for each in to_reach if not result.reached[each.name])
        if result.mismatch is not None:
            break
        if budget.seconds is not None:
            if result.seconds >= budget.seconds:
                break
        elif not (budget.judged and result.missed):
            break
    result.verdict = _verdict(result, budget)
    if result.mismatch is not None:
        _shrink(bench, target, result)
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


def _shrink(bench: Bench, target: Target[Any], result: Result) -> None:
    def play(moves: Moves) -> Mismatch | None:
        try:
            return replayed(bench, target, moves)
        except ImpossibleStory:
            return None

    assert result.mismatch is not None  # noqa: S101  there is something to shrink
    shrunk = shortest(result.mismatch, play, bench.simpler)
    result.verdict = Verdict.BROKEN if shrunk else Verdict.FLAKY
    result.mismatch = shrunk or result.mismatch


def _verdict(result: Result, budget: Budget) -> Verdict:
    if result.mismatch is not None:
        return Verdict.BROKEN
    if not result.missed:
        return Verdict.HOLDS
    return Verdict.VACUOUS if budget.judged else Verdict.NOT_JUDGED


def _run_batch(
    bench: Bench,
    target: Target[Any],
    examples: int,
    batch_seed: int,
    result: Result,
    on_example: Callable[[Result], object],
) -> None:
    sessions: list[Session[Any]] = []

    def begin() -> Session[Any]:
        if sessions:
            _add(result, sessions.pop())
            on_example(result)
        sessions.append(bench.session(target))
        return sessions[-1]

    def machine() -> RuleBasedStateMachine:
        return bench.machine(begin)

    seed(batch_seed)(machine)
    with with_reporter(_silent):
        try:
            run_state_machine_as_test(machine, settings=_settings(examples))  # type: ignore[arg-type]  # a factory will do
        except Mismatch as mismatch:
            result.mismatch = mismatch
        except Flaky as flaky:
            result.mismatch = _first_mismatch(flaky)
    if sessions:
        _add(result, sessions.pop())
    on_example(result)


def _add(result: Result, session: Session[Any]) -> None:
    result.examples += 1
    result.steps += len(session.story)
    result.reached.update(session.reached)
    result.fired.update(session.fired)


def _first_mismatch(error: BaseException) -> Mismatch:
    """Find the difference that was seen but did not show again. Raises the error if there was none."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mismatch):
            return each
        if each is not None:
            waiting += [*getattr(each, "exceptions", ()), each.__cause__, each.__context__]
    raise error


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
