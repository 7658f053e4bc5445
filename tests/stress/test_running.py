"""Short runs of every guard, on threads, tasks and processes: all hold, and something happened."""

import os
import signal
from pathlib import Path
from random import Random

import pytest
from attrs import evolve

from redstep_check.binding import Unsupported
from redstep_check.engines import Engine, open_engine
from redstep_check.stress import processes
from redstep_check.stress.binding import Stressed
from redstep_check.stress.callers import Plan
from redstep_check.stress.histories import entries
from redstep_check.stress.judging import Tally, verdict_of
from redstep_check.stress.logs import Asked, Began, Ended, Heard
from redstep_check.stress.registry import CIRCUIT_BREAKER, RATE_LIMITER, STRESSED
from redstep_check.stress.running import Wish, run
from redstep_check.stress.slices import MODES, PROCESSES, TASKS, THREADS, ClientDied, Slice, cutter, require, where

CLIENTS, SECONDS, TRIES = 5, 0.3, 8
WAYS = [
    pytest.param(guard, variant, mode, id=f"{guard.name}: {variant}, {mode}")
    for guard in STRESSED.values()
    for variant in guard.variants
    for mode in MODES
]


def ran(wish: Wish, engine: Engine) -> Tally:
    """Run it."""
    return run(wish, engine, lambda *_: None)


@pytest.mark.parametrize(("guard", "variant", "mode"), WAYS)
def test_the_shipped_clients_hold(engine: Engine, guard: Stressed, variant: str, mode: str) -> None:
    """Request by request and operation by operation; what a short run did not reach is not judged here."""
    tally = ran(Wish(guard=guard, variant=variant, mode=mode, clients=CLIENTS, seconds=SECONDS), engine)
    assert tally.broken is None, tally.broken
    assert tally.undecided == 0
    assert tally.answered
    assert tally.searched
    assert tally.overlap.most
    assert not tally.lost


@pytest.mark.parametrize("mode", MODES)
def test_what_is_killed_leaves_requests_of_unknown_outcome(engine: Engine, mode: str) -> None:
    """And the others go on, and all holds."""
    tally = Tally()
    for number in range(TRIES):
        wish = Wish(guard=RATE_LIMITER, variant="packed", mode=mode, clients=CLIENTS, seconds=0.6, kills=True, seed=number)
        tally = ran(wish, engine)
        assert tally.broken is None, tally.broken
        if tally.lost:
            break
    assert tally.kills
    assert tally.lost
    assert verdict_of(RATE_LIMITER, "packed", tally, kills=True)[0] == "holds"


@pytest.mark.parametrize("guard", STRESSED.values(), ids=STRESSED)
def test_under_the_clock_of_the_engine_one_sided_laws_hold(engine: Engine, guard: Stressed) -> None:
    """What depends on the time is not searched, for lost requests have none; what does not is."""
    wish = Wish(guard=guard, variant=guard.variants[0], mode=THREADS, clients=CLIENTS, seconds=SECONDS, is_explicit=False)
    tally = ran(wish, engine)
    assert tally.broken is None, tally.broken
    assert tally.answered
    assert bool(tally.searched) is not guard.knows_time


def test_one_client_alone_is_vacuous(engine: Engine) -> None:
    """Nothing overlapped, though it went on for three times its time."""
    tally = ran(Wish(guard=CIRCUIT_BREAKER, variant="shared", mode=THREADS, clients=1, seconds=0.2), engine)
    verdict, missed = verdict_of(CIRCUIT_BREAKER, "shared", tally, kills=False)
    assert verdict == "vacuous"
    assert "requests about one key that overlap" in missed
    assert tally.seconds == pytest.approx(0.6)


def test_it_leaves_no_keys_behind(engine: Engine) -> None:
    """Under its prefix or elsewhere."""
    ran(Wish(guard=RATE_LIMITER, variant="zset", mode=THREADS, clients=2, seconds=0.1), engine)
    with engine.client() as client:
        assert client.dbsize() == 0


# ---------------------------------------------------------------------------------------------- processes


def slice_of(engine: Engine, directory: Path, *, kills: bool, bug: str = "") -> Slice:
    """A slice of a run of the limiter."""
    place, connections = where(engine)
    plan = Plan(
        guard=RATE_LIMITER.name,
        variant="packed",
        bug=bug,
        where=place,
        prefix=engine.prefix,
        directory=directory,
        seed=1,
        is_explicit=True,
        began_ns=0,
    )
    return Slice(guard=RATE_LIMITER, plan=plan, clients=3, kills=kills, connections=connections, seconds=0.4)


def test_a_killed_process_ends_without_a_word_and_another_takes_its_place(engine: Engine, tmp_path: Path) -> None:
    """Its log ends in the middle of an operation; the replacement has a name of its own."""
    kills = processes.run(slice_of(engine, tmp_path, kills=True), engine)
    written = entries(tmp_path)
    began = {each.operation for each in written if isinstance(each, Began)}
    ended = {each.operation for each in written if isinstance(each, Ended)}
    names = {path.stem for path in tmp_path.glob("*.log")}
    assert kills
    assert len(names) > 3
    assert 0 < len({name.partition("/")[0] for name in began - ended}) <= kills
    places = [each.at for each in written]
    assert len(set(places)) == len(places)
    assert sum(isinstance(each, Asked) for each in written) >= sum(isinstance(each, Heard) for each in written)


def test_a_process_that_dies_by_itself_is_told(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no client that was killed: something is wrong with the kit, or with the machine."""
    monkeypatch.setattr(processes, "_await", lambda at_work, _: os.kill(at_work["p2"].pid or 0, signal.SIGKILL))
    with pytest.raises(ClientDied, match="p2"):
        processes.run(slice_of(engine, tmp_path, kills=False), engine)


# ---------------------------------------------------------------------------------------------- engines


def test_connections_of_others_are_not_cut(engine: Engine) -> None:
    """CK-13: only on an engine that the kit started; processes are ours everywhere."""
    foreign = evolve(engine, owned=False)
    for mode in (THREADS, TASKS):
        require(mode, foreign, kills=False)
        with pytest.raises(Unsupported, match="not ours"):
            require(mode, foreign, kills=True)
    require(PROCESSES, foreign, kills=True)
    assert where(foreign)[1] == ""


def test_an_engine_inside_this_process_has_threads_and_tasks_only() -> None:
    """And says why."""
    with open_engine("fakeredis") as fake:
        with pytest.raises(Unsupported, match="inside this process"):
            require(PROCESSES, fake, kills=False)
        with pytest.raises(Unsupported, match="could be cut"):
            require(THREADS, fake, kills=True)
        tally = ran(Wish(guard=RATE_LIMITER, variant="zset", mode=TASKS, clients=3, seconds=0.2), fake)
    assert tally.broken is None
    assert tally.answered


def test_only_what_is_there_is_cut(engine: Engine) -> None:
    """Where no connection bears the name nothing is cut, and nothing is told to have been."""
    with engine.client() as admin, engine.client() as other:
        cut = cutter(admin, "mine", Random(1))  # noqa: S311  no secret
        assert not cut()
        other.client_setname("mine")
        assert cut()
        assert not cut()
