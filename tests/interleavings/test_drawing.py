"""Drawn schedules: the same choices give the same run, and the shipped guards hold in the schedules that are drawn."""

from typing import Any

import pytest
from attrs import evolve

from redstep_check.binding import Answered, Target, Unsupported
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Concurrent, Heard
from redstep_check.interleavings.executing import Executed, Live
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Settles
from redstep_check.interleavings.registry import SUBJECTS
from redstep_check.interleavings.seen import PROPERTIES
from redstep_check.interleavings.session import InterleavedSession
from redstep_check.interleavings.subjects import Subject
from redstep_check.lockstep import Mismatch
from redstep_check.runs import Budget, Verdict, run

from .toy import Add, Counter, Get, InMemory, Value

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
    ],
)
def test_a_fate_says_what_is_executed_and_what_is_heard(fate: Fate, state: int, heard: Heard) -> None:
    """Each one for itself."""
    before = session(Begins(0, Add(1), 1_000))
    situation, event = before.stage.after(before.situation, Goes(0, fate, 1_000))
    assert situation.state == state
    assert event.course[-1].heard is heard


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
