"""Drawn schedules: the same choices give the same run, and the shipped guards hold in the schedules that are drawn."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from redstep_check.binding import Answered, Target, Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings import drawing
from redstep_check.interleavings.binding import Concurrent, Heard, Raw
from redstep_check.interleavings.executing import Executed, Live
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Settles
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.seen import PROPERTIES
from redstep_check.interleavings.sequential.idempotency import Run
from redstep_check.interleavings.session import InterleavedSession
from redstep_check.interleavings.subjects import Subject
from redstep_check.lockstep import Mismatch
from redstep_check.runs import Budget, Verdict, run
from redstep_spec.idempotency import INITIAL, Claimed

from .toy import Add, Counter, Get, InMemory, ReadThenWrite, Value

EXAMPLES = 20
ALL = [pytest.param(each, variant, id=f"{each.name}: {variant}") for each in SUBJECTS.values() for variant in each.variants]


@pytest.mark.parametrize(("subject", "variant"), ALL)
def test_drawn_schedules_hold(engine: Engine, subject: Subject, variant: str) -> None:
    """And most of what they are about was reached."""
    try:
        target = subject.variants[variant](engine)
    except Unsupported as reason:
        pytest.skip(str(reason))
    result = run(subject.bench(), target, Budget(examples=EXAMPLES, seed=5))
    target.close()
    assert result.verdict in (Verdict.HOLDS, Verdict.NOT_JUDGED), result.mismatch
    assert len(result.missed) < len(result.to_reach) / 2, [each.name for each in result.missed]
    assert result.reached["a_request_is_executed_amid_other_operations"]


@pytest.mark.parametrize(("subject", "variant"), ALL)
def test_the_same_choices_give_the_same_run(engine: Engine, subject: Subject, variant: str) -> None:
    """Move for move, reply for reply, twice; and another seed gives another."""
    try:
        target = subject.variants[variant](engine)
    except Unsupported as reason:
        pytest.skip(str(reason))

    def traces(seed: int) -> list[str]:
        sessions: list[InterleavedSession] = []
        bench = subject.bench()

        def remembered(target: Target[Any]) -> InterleavedSession:
            assert isinstance(target, Concurrent)
            sessions.append(InterleavedSession(target, subject.sequential))
            return sessions[-1]

        kept = run(
            type(bench)(
                session=remembered,
                machine=bench.machine,
                sometimes=bench.sometimes,
                simpler=bench.simpler,
            ),
            target,
            Budget(examples=8, seed=seed),
        )
        assert kept.mismatch is None
        return [each.trace for each in sessions]

    first = traces(1)
    assert first == traces(1)
    assert first != traces(2)
    target.close()


# ---------------------------------------------------------------------------------------------- one move at a time


def session(*moves: Begins | Goes | Arrives | Settles) -> InterleavedSession:
    """A session of a counter in memory, in which so much has happened."""
    found = InterleavedSession(InMemory(), Counter(), clients=3)
    for move in moves:
        found.play(move)
    return found


def test_a_held_reply_was_executed_and_not_heard() -> None:
    """The next client sees the change before the first hears of it."""
    found = session(Begins(0, Add(1), 1_000), Begins(1, Get(), 1_000), Goes(0, Fate.HELD, 1_000))
    assert found.situation.state == 1
    assert found.situation.clients[0].course[-1].heard is None
    found.play(Goes(1, Fate.DELIVERED, 1_000))
    assert found.situation.clients[1].is_idle
    found.play(Goes(0, Fate.DELIVERED, 1_001))
    assert found.situation.clients[0].is_idle


def test_a_request_adrift_takes_effect_after_its_client_has_gone_on() -> None:
    """Or never: it stays where it is when all has settled."""
    found = session(Begins(0, Add(1), 1_000), Goes(0, Fate.ADRIFT, 1_000))
    assert found.situation.state == 0
    assert found.situation.clients[0].is_idle
    found.play(Begins(0, Get(), 1_000))
    found.play(Arrives(0, 1_005))
    assert (found.situation.state, found.situation.adrift) == (1, ())
    found.play(Settles(1_010))
    assert found.situation.clients[0].is_idle


@pytest.mark.parametrize(
    ("fate", "state", "heard"),
    [
        (Fate.DELIVERED, 1, Heard.REPLY),
        (Fate.REPLY_LOST, 1, Heard.LOST),
        (Fate.NOT_SENT, 0, Heard.NOT_SENT),
        (Fate.CANCELLED, 0, Heard.CANCELLED),
        (Fate.ABANDONED, 0, Heard.CANCELLED),
    ],
)
def test_a_fate_says_what_is_executed_and_what_is_heard(fate: Fate, state: int, heard: Heard) -> None:
    """Each one for itself."""
    before = session(Begins(0, Add(1), 1_000))
    situation, event = before.stage.after(before.situation, Goes(0, fate, 1_000))
    assert situation.state == state
    assert event.course[-1].heard is heard


def test_what_a_cancelled_client_had_sent_may_arrive_later(engine: Engine) -> None:
    """Also after what the client then did to make up for it: here a claim comes after its release, and holds its lease."""
    subject = SUBJECTS["idempotency"]
    target = subject.variants["hash"](engine)
    found = InterleavedSession(target, subject.sequential)
    for move in (Begins(0, Run(), 1_000), Goes(0, Fate.ABANDONED, 1_000), Goes(0, Fate.DELIVERED, 1_000)):
        found.play(move)
    assert found.situation.clients[0].is_idle
    assert found.situation.state == INITIAL
    found.play(Arrives(0, 1_001))
    found.play(Begins(1, Run(), 1_002))
    found.play(Goes(1, Fate.DELIVERED, 1_002))
    found.play(Settles(1_002))
    assert isinstance(found.situation.state, Claimed)
    target.close()


def test_a_crashed_client_never_comes_back() -> None:
    """What it had executed stays; others go on."""
    found = session(Begins(0, Add(1), 1_000), Goes(0, Fate.HELD, 1_000), Goes(0, Fate.CRASHED, 1_000))
    assert found.situation.clients[0].is_gone
    assert found.situation.state == 1
    found.play(Begins(1, Get(), 1_000))
    found.play(Settles(1_000))
    assert found.situation.clients[1].is_idle


def test_a_hole_in_the_comparison_is_seen_by_the_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is told of an older value: without the comparison at each execution, the end of the session shows it."""
    sound = Live.execute

    def lying(self: Live, state: int, request: object, now_ms: int, *, flushed: bool = False) -> Executed:
        executed = sound(self, state, request, now_ms, flushed=flushed)
        return (
            evolve(executed, raw=(0,), answer=Answered({"value": 0}), reply=Value(0)) if isinstance(request, Get) else executed
        )

    monkeypatch.setattr(Live, "execute", lying)
    found = session(Begins(0, Add(1), 1_000), Goes(0, Fate.DELIVERED, 1_000), Begins(1, Get(), 1_000))
    with pytest.raises(Mismatch, match="CK-5"):
        found.play(Settles(1_000))


def test_every_property_says_what_it_is() -> None:
    """A sentence, a rule, and no name twice."""
    names = [each.name for each in (*PROPERTIES.always, *PROPERTIES.sometimes)]
    assert len(set(names)) == len(names)
    assert all(each.sentence and each.rule for each in (*PROPERTIES.always, *PROPERTIES.sometimes))


# ---------------------------------------------------------------------------------------------- what a run is told of


class Noisy(InMemory):
    """What its scripts answer depends on how often they were ever run."""

    runs = 0

    def execute(self, request: object, now_ms: int) -> Raw:
        """Answer something more."""
        Noisy.runs += 1
        raw = super().execute(request, now_ms)
        assert isinstance(raw, tuple)
        return (*raw, Noisy.runs)


def counters(make: Callable[[], Concurrent]) -> Subject:
    """Counters of a kind, as a guard."""
    return Subject(name="counter", sequential=Counter(), variants={"plain": lambda _engine: make()}, operations=(Add, Get))


def test_a_run_tells_what_it_met(engine: Engine) -> None:
    """Overlap, faults, unknown outcomes; and the same seed gives the same trace, another one another."""
    subject = SUBJECTS["rate-limiter"]

    def row(seed: int) -> drawing.Row:
        return drawing.drawn(subject, "zset", engine, Budget(examples=EXAMPLES, seed=seed), bool).row

    first = row(5)
    assert 0 < first["schedules_overlapping"] <= first["schedules"]
    assert first["overlapping"] > 0
    assert first["faults"]
    assert set(first["faults"]) | set(first["not_hit"]) >= {"reply lost", "not sent", "adrift", "cancelled", "crashed"}
    assert not set(first["faults"]) & set(first["not_hit"])
    assert first["unknown_outcomes"]["took_effect"] + first["unknown_outcomes"]["took_none"] > 0
    assert (first["made_again"], first["came_out_otherwise"]) == (10, 0)
    assert row(5)["trace"] == first["trace"] != row(6)["trace"]


def test_a_run_in_which_nothing_overlaps_is_vacuous(engine: Engine) -> None:
    """However small its budget."""
    row = drawing.drawn(counters(InMemory), "plain", engine, Budget(examples=1, seed=0), bool).row
    assert (row["verdict"], row["schedules_overlapping"]) == ("vacuous", 0)
    assert any("nothing overlapped" in each for each in drawing.notes(row))
    assert drawing.exit_code([row]) == 3
    assert drawing.exit_code([row, {"verdict": "broken"}]) == 1


def test_a_run_that_something_else_decides_is_found_out(engine: Engine) -> None:
    """The same moves come to something else when they are made once more."""
    budget = Budget(examples=20, seed=3)
    steady, noisy = (drawing.drawn(counters(make), "plain", engine, budget, bool).row for make in (InMemory, Noisy))
    assert steady["verdict"] in ("holds", "not judged")
    assert (steady["made_again"], steady["came_out_otherwise"]) == (10, 0)
    assert noisy["verdict"] == "flaky"
    assert noisy["came_out_otherwise"] > 0
    assert any("came out otherwise" in each for each in drawing.notes(noisy))
    assert drawing.exit_code([noisy]) == 1


def test_a_difference_ends_the_counting(engine: Engine) -> None:
    """The schedules that shrink it are none of the run's; and it comes with a timeline and a story."""
    told = drawing.drawn(counters(ReadThenWrite), "plain", engine, Budget(examples=50, seed=3), bool)
    assert told.row["verdict"] == "broken"
    assert told.row["schedules_overlapping"] <= told.row["schedules"]
    assert told.failure is not None
    assert told.failure.mismatch.rule == "RL-2"
    assert told.failure.story.seed == told.row["seed"]
    assert sum(each.is_wrong for each in told.failure.timeline.marks) == 1


class Interrupted(InMemory):
    """Somebody presses Ctrl-C in the midst of the tenth addition: it is made, and nobody hears of it."""

    additions = 0

    def execute(self, request: object, now_ms: int) -> Raw:
        """Add, and be interrupted."""
        raw = super().execute(request, now_ms)
        Interrupted.additions += isinstance(request, Add)
        if Interrupted.additions == 10:
            raise KeyboardInterrupt
        return raw


def test_an_interruption_is_no_difference(engine: Engine) -> None:
    """What was half done then is not held against the target."""
    with pytest.raises(KeyboardInterrupt):
        drawing.drawn(counters(Interrupted), "plain", engine, Budget(examples=50, seed=3), bool)
