"""What a shared breaker stores: a hash of a documented form, without a TTL; anything else is left alone (CM-3, CM-9)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from redstep.circuit_breaker import Outcome, Permit, Policy, Reason, State
from redstep.circuit_breaker_shared import SharedBreaker
from redstep.errors import Corrupt, Misuse, UnexpectedReply
from redstep.protocols import send
from redstep.wishes import CallScript, Protocol
from redstep_check.engines import NAMES, Engine
from redstep_check.targets.checking_driver import CheckingDriver

from .plays import LONGEST_MS, Play

KEY = "redstep:circuit-breaker:{payments}"
POLICY = Policy(failure_threshold=2, success_threshold=3, open_ms=1_000)
CLOSED: dict[Any, Any] = {"state": "closed", "epoch": 4, "failures": 1, "until_ms": 0, "successes": 0, "next": 0, "probes": ""}
OPEN: dict[Any, Any] = {**CLOSED, "state": "open", "failures": 0, "until_ms": 60_000}
HALF_OPEN: dict[Any, Any] = {**OPEN, "state": "half_open", "successes": 1, "next": 4, "probes": "2,3"}


def stored(play: Play) -> dict[str, str]:
    """The hash."""
    found: Any = play.admin.hgetall(KEY)
    return {key.decode(): value.decode() for key, value in found.items()}


def test_the_hash_is_as_it_is_documented(shared_play: Play) -> None:
    """Every field is there in every state, and there is never a TTL."""
    play = shared_play
    breaker = play.breaker(success_threshold=4)
    play.call(breaker)
    assert stored(play) == {}
    zeroes = {"failures": "0", "until_ms": "0", "successes": "0", "next": "0", "probes": ""}
    seen = []
    play.fail(breaker)
    seen.append(stored(play) == {**zeroes, "state": "closed", "epoch": "0", "failures": "1"})
    play.call(breaker)
    seen.append(stored(play) == {**zeroes, "state": "closed", "epoch": "0"})
    play.fail(breaker)
    play.fail(breaker)
    seen.append(stored(play) == {**zeroes, "state": "open", "epoch": "1", "until_ms": "51000"})
    play.now_ms = 51_000
    permits = [play.wait(breaker.acquire()) for _ in range(3)]
    probing = {"state": "half_open", "epoch": "2", "until_ms": "52000", "next": "4"}
    seen.append(stored(play) == {**zeroes, **probing, "probes": "1,2,3"})
    play.wait(permits[1].success())
    seen.append(stored(play) == {**zeroes, **probing, "probes": "1,3", "successes": "1"})
    play.wait(breaker.force_close())
    seen.append(stored(play) == {**zeroes, "state": "closed", "epoch": "3"})
    assert seen == [True] * len(seen)
    assert play.admin.ttl(KEY) == -1


def test_a_breaker_that_has_not_moved_is_not_written(shared_play: Play) -> None:
    """Calls through a closed breaker without failures change not a byte; nor do refusals, views and stale reports."""
    play = shared_play
    breaker = play.opened()
    play.wait(breaker.reset())
    held = play.wait(breaker.acquire())
    play.wait(breaker.force_open())
    play.admin.config_resetstat()
    for _ in range(3):
        with pytest.raises(Exception, match="is open"):
            play.call(breaker)
        play.view(breaker)
    play.wait(held.failure())
    assert "cmdstat_hset" not in play.admin.info("commandstats")
    play.wait(breaker.force_close())
    play.admin.config_resetstat()
    for _ in range(3):
        play.call(breaker)
    play.wait(play.wait(breaker.acquire()).neutral())
    assert "cmdstat_hset" not in play.admin.info("commandstats")


def test_names_do_not_collide(shared_play: Play) -> None:
    """A breaker is its name, under its prefix."""
    one, other, prefixed = (
        shared_play.breaker("a", failure_threshold=1),
        shared_play.breaker("a:b", failure_threshold=1),
        shared_play.breaker("a", failure_threshold=1, prefix="mine:"),
    )
    shared_play.fail(one)
    assert [shared_play.state(each) for each in (one, other, prefixed)] == [State.OPEN, State.CLOSED, State.CLOSED]
    shared_play.fail(prefixed)
    assert sorted(shared_play.admin.keys()) == [b"mine:circuit-breaker:{a}", b"redstep:circuit-breaker:{a}"]


# --- nonsense -----------------------------------------------------------------------------------------------------------

FORMS: dict[str, dict[Any, Any]] = {"closed": CLOSED, "open": OPEN, "half_open": HALF_OPEN}
READ = {"closed": ("state", "epoch", "failures", "until_ms"), "open": ("state", "epoch", "failures", "until_ms")}
"""The fields that tell what a breaker is, of a half-open one all; views and interventions look at the others too."""
NO_NUMBERS = ("x", "-1", "1.5", "nan", "inf", "99999999999999999999")
NO_STATES = ("Closed", "", "broken")
NO_PROBES = ("3,2", "2,2", "0,2", "2,4", "2,,3", ",2", "2,", "2 3", "1,2,3,3")
NO_BREAKERS: list[tuple[str, dict[Any, Any]]] = [
    *(("half_open", {"successes": 2}), ("half_open", {"next": 1}), ("half_open", {"next": 3}), ("half_open", {"failures": 1})),
    *(("closed", {"until_ms": 5}), ("closed", {"successes": 1}), ("closed", {"next": 2}), ("closed", {"probes": "1"})),
    *(("open", {"failures": 1}), ("open", {"successes": 1}), ("open", {"next": 2, "probes": "1"})),
]
"""Of each field alone it could be, of all together it could not."""


def broken() -> Iterator[tuple[dict[Any, Any], bool]]:
    """Hashes that no breaker leaves behind, and whether every step sees it or only those that look at all of it."""
    for state, form in FORMS.items():
        for name in form:
            yield {key: form[key] for key in form if key != name}, name in READ.get(state, form)
        for name in list(form)[1:]:
            for bad in (*NO_NUMBERS, *([""] if name != "probes" else [])):
                yield {**form, name: bad}, name in READ.get(state, form)
    for bad in NO_STATES:
        yield {**CLOSED, "state": bad}, True
    for bad in NO_PROBES:
        yield {**HALF_OPEN, "probes": bad}, True
    for state, change in NO_BREAKERS:
        yield {**FORMS[state], **change}, any(name in READ.get(state, HALF_OPEN) for name in change)
    yield {"something": "else"}, True


@pytest.fixture(params=NAMES)
def driver(request: pytest.FixtureRequest, engine_named: Callable[[str], Engine]) -> Iterator[CheckingDriver]:
    """Carries steps out on every engine."""
    engine = engine_named(request.param)
    with engine.client() as client:
        yield CheckingDriver(client=client, flush_scripts=engine.flush_scripts, store_ms=50_000)


def test_nonsense_is_corrupt_and_left_as_it_is(driver: CheckingDriver) -> None:
    """By every step, where it reads what is wrong; never taken for a refusal, and never mended."""
    breaker = SharedBreaker(name="payments", policy=POLICY)
    seen = 0
    for form, is_seen in broken():
        driver.client.delete(KEY)
        driver.client.hset(KEY, mapping=form)
        steps: list[Protocol[Any]] = [breaker.view(), breaker.intervene(Reason.RESET), breaker.intervene(Reason.FORCE_OPEN)]
        if is_seen:
            permits = [Permit(4, 0), Permit(4, 2), Permit(9, 9)]
            steps += [breaker.acquire(), *(breaker.report(permit, outcome) for permit in permits for outcome in Outcome)]
        before = driver.client.dump(KEY)
        for step in steps:
            with pytest.raises(Corrupt) as caught:
                driver.run(step)
            assert not isinstance(caught.value, UnexpectedReply), form
            assert KEY in str(caught.value), form
        assert driver.client.dump(KEY) == before, form
        seen += is_seen
    assert seen > 100


@pytest.mark.parametrize("state", FORMS)
def test_what_is_not_nonsense_is_read(driver: CheckingDriver, state: str) -> None:
    """The forms that the others were made from by one change are whole."""
    form = FORMS[state]
    driver.client.hset(KEY, mapping=form)
    breaker = SharedBreaker(name="payments", policy=POLICY)
    view = driver.run(breaker.view())
    assert (view.state.value, view.epoch, view.failures) == (form["state"], 4, form["failures"])
    assert (view.successes, view.probes) == (form["successes"], len([each for each in form["probes"].split(",") if each]))
    driver.run(breaker.acquire())
    assert driver.run(breaker.intervene(Reason.RESET)).epoch == 5


@pytest.mark.parametrize("kind", ["string", "list", "zset"])
def test_another_type_is_corrupt_and_left_as_it_is(driver: CheckingDriver, kind: str) -> None:
    """Somebody else's key under the breaker's name."""
    client: Any = driver.client
    {
        "string": lambda: client.set(KEY, "x"),
        "list": lambda: client.rpush(KEY, "x"),
        "zset": lambda: client.zadd(KEY, {"x": 1}),
    }[kind]()
    before = client.dump(KEY)
    breaker = SharedBreaker(name="payments", policy=POLICY)
    steps: list[Protocol[Any]] = [
        breaker.acquire(),
        breaker.report(Permit(0, 0), Outcome.FAILURE),
        breaker.view(),
        breaker.intervene(Reason.RESET),
    ]
    for step in steps:
        with pytest.raises(Corrupt, match="does not hold"):
            driver.run(step)
    assert client.dump(KEY) == before


def test_a_corrupt_breaker_does_not_swallow_a_call(shared_play: Play) -> None:
    """An acquire raises; a report that finds nonsense is lost, and the call comes to what it came to."""
    breaker = shared_play.breaker()

    def work() -> str:
        shared_play.admin.set(KEY, "nonsense")
        return "done"

    assert shared_play.call(breaker, work) == "done"
    assert breaker.reports_lost == 1
    with pytest.raises(Corrupt):
        shared_play.call(breaker)


# --- arguments ----------------------------------------------------------------------------------------------------------

GOOD: dict[str, dict[str, Any]] = {
    "acquire": {"now_ms": 1, "success_threshold": 3, "open_ms": 1_000},
    "report": {
        "now_ms": 1,
        "failure_threshold": 5,
        "success_threshold": 3,
        "open_ms": 900,
        "epoch": 0,
        "number": 0,
        "outcome": "failure",
    },
    "view": {"now_ms": 1, "success_threshold": 3, "open_ms": 1_000},
    "intervene": {"now_ms": 1, "open_ms": 1_000, "state": "open"},
}


@pytest.mark.parametrize("name", GOOD)
def test_a_bad_argument_is_named_and_nothing_is_written(driver: CheckingDriver, name: str) -> None:
    """Each of them in turn: missing, no number, negative, a fraction, too large; with a full set, the script answers."""
    from redstep import circuit_breaker_shared as shared

    script = getattr(shared, name.upper())

    def request(arguments: dict[str, Any]) -> CallScript:
        return CallScript(script=script, keys=(KEY,), args=tuple(arguments.values()), idempotent=False)

    for argument in GOOD[name]:
        for bad in ("x", "-1", "1.5", "1e999", "nan", str(2**53)) + (() if argument == "now_ms" else ("",)):
            with pytest.raises(Misuse) as caught:
                driver.run(send(request({**GOOD[name], argument: bad})))
            assert caught.value.argument == argument, bad
        short = dict(list(GOOD[name].items())[: list(GOOD[name]).index(argument)])
        with pytest.raises(Misuse):
            driver.run(send(request(short)))
    assert driver.client.exists(KEY) == 0
    assert driver.run(send(request(GOOD[name])))


def test_a_deadline_that_a_clock_left_behind_is_brought_near(shared_play: Play) -> None:
    """One that is farther off than the longest timeout is stored anew by an acquire, and by nothing else (CB-13)."""
    play = shared_play
    breaker = play.opened()
    play.now_ms -= 40_000
    assert play.view(breaker).retry_after_ms == LONGEST_MS
    assert stored(play)["until_ms"] == "51000"
    with pytest.raises(Exception, match="retry in 1200 ms"):
        play.call(breaker)
    assert stored(play)["until_ms"] == "11200"
    assert stored(play)["epoch"] == "1"
