"""Running work: its response, its errors, refusals and a store that fails; none of them is lost, and none hides another."""

import logging
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from redstep import Corrupt, Misuse, ServiceOverloaded, Unavailable
from redstep.driving import Raised
from redstep.idempotency import Done, Policy, Scope, StaleOwner
from redstep.idempotency_errors import (
    FingerprintMismatch,
    InProgress,
    LeaseLost,
    NoEffect,
    NotReplayable,
    ResponseUnusable,
)
from redstep.idempotency_run import JSON, Codec
from redstep.wishes import Sleep
from redstep_check.engines import Engine
from redstep_spec.delivery import Fate

from .stage import KEY, LEASE_MS, SCOPE, Stage
from .workers import World, calls, runs_work


class OutOfStock(NoEffect):
    """An error of the caller's, which says that nothing has happened."""


def returning(response: Any) -> Any:
    """Work that returns this."""
    return lambda _: response


def failing(error: BaseException) -> Any:
    """Work that raises this."""

    def work(_: object) -> Any:
        raise error

    return work


def noting(leases: list[Any]) -> Any:
    """Work that notes what it is given."""

    def work(lease: Any) -> bytes:
        leases.append(lease)
        return b"done"

    return work


def forbidden(_: object) -> Any:
    """Work that is not to be run."""
    raise AssertionError("the work was run")


# --- responses ------------------------------------------------------------------------------------------------------------


def test_the_first_does_the_work_and_the_others_get_its_response(stage: Stage) -> None:
    """ID-1: whoever they are, for the retention."""
    store, other = stage.store(), stage.store()
    first, second = stage.run(store, returning(b"done")), stage.run(other, forbidden)
    assert (first.response, first.replayed, first.recorded, first.degraded) == (b"done", False, True, False)
    assert (second.response, second.replayed, second.recorded, second.degraded) == (b"done", True, True, False)


def test_the_work_is_given_its_claim(stage: Stage) -> None:
    """ID-5: the fence above all, to be passed on."""
    leases: list[Any] = []
    stage.run(stage.store(), noting(leases))
    [lease] = leases
    assert (lease.scope, lease.fence, lease.lease_until_ms, len(lease.token)) == (SCOPE, 1, stage.now_ms + LEASE_MS, 32)
    assert lease.token.encode() in stage.stored()[b"claim"]


def test_no_two_calls_share_a_token(stage: Stage) -> None:
    """One is drawn for each call."""
    store = stage.store()
    leases: list[Any] = []
    for number in range(20):
        stage.run(store, noting(leases), scope=Scope(operation="charge", key=str(number)))
    assert len({lease.token for lease in leases}) == 20


def test_another_payload_is_a_mismatch(stage: Stage) -> None:
    """ID-2: whatever the state, and the error tells nothing of the response."""
    store = stage.store()
    stage.run(store, returning(b"secret"), fingerprint="its own")
    with pytest.raises(FingerprintMismatch) as caught:
        stage.run(store, forbidden, fingerprint="a guess")
    assert not any(text in repr(caught.value) for text in ("secret", "a guess", "its own"))


def test_a_refused_response_is_not_stored(stage: Stage) -> None:
    """ID-7: it is given to its caller, and the key is released: the work may be tried again."""
    store = stage.store()
    refused = stage.run(store, returning(b"503"), store_if=lambda response: response != b"503")
    assert (refused.response, refused.recorded) == (b"503", False)
    assert stage.state() == "released"
    assert stage.run(store, returning(b"200"), store_if=lambda response: response != b"503").recorded
    assert stage.run(store, forbidden).response == b"200"


def test_responses_may_be_of_any_type(stage: Stage) -> None:
    """A codec turns them into bytes; who did the work gets them as they are, the others as they come back."""
    store = stage.store()
    assert stage.run(store, returning({"id": 7, "tags": ("a", "ü")}), codec=JSON).response == {"id": 7, "tags": ("a", "ü")}
    assert stage.stored()[b"response"] == '{"id":7,"tags":["a","ü"]}'.encode()
    assert stage.run(store, forbidden, codec=JSON).response == {"id": 7, "tags": ["a", "ü"]}
    reverse = Codec(lambda text: text[::-1].encode(), lambda stored: stored.decode()[::-1])
    scope = Scope(operation="greet", key="1")
    assert stage.run(store, returning("hello"), codec=reverse, scope=scope).response == "hello"
    assert stage.run(store, forbidden, codec=reverse, scope=scope).response == "hello"


@pytest.mark.parametrize("response", [None, "text", bytearray(b"x"), 7])
def test_a_response_that_is_no_bytes_is_not_lost(stage: Stage, response: object) -> None:
    """The error carries it; the work was done, so that it is not run again."""
    store = stage.store()
    with pytest.raises(ResponseUnusable) as caught:
        stage.run(store, returning(response))
    assert caught.value.response is response
    with pytest.raises(NotReplayable):
        stage.run(store, forbidden)


def test_a_codec_that_fails_loses_nothing(stage: Stage) -> None:
    """To encode: the error carries the response. To decode: what is stored stays, and another codec can read it."""
    store = stage.store()
    with pytest.raises(ResponseUnusable) as caught:
        stage.run(store, returning(float("nan")), codec=JSON)
    assert caught.value.response != caught.value.response, "it is the very NaN"
    assert isinstance(caught.value.__cause__, ValueError)
    scope = Scope(operation="other", key="1")
    stage.run(store, returning(b"\xff"), scope=scope)
    with pytest.raises(UnicodeDecodeError):
        stage.run(store, forbidden, scope=scope, codec=JSON)
    assert stage.run(store, forbidden, scope=scope).response == b"\xff"


# --- errors of the work -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [NoEffect("nothing"), OutOfStock("nothing")])
def test_an_error_without_effect_frees_the_key(stage: Stage, error: Exception) -> None:
    """ID-7: it is raised on, the very object, and the work may be tried again at once, with the next fence."""
    store = stage.store()
    with pytest.raises(NoEffect, match="nothing") as caught:
        stage.run(store, failing(error))
    assert caught.value is error
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    leases: list[Any] = []
    assert stage.run(store, noting(leases)).response == b"done"
    assert leases[0].fence == 2


def test_the_caller_may_say_which_errors_have_no_effect(stage: Stage) -> None:
    """Where they are somebody else's, and can't derive from NoEffect."""
    store = stage.store()
    with pytest.raises(KeyError):
        stage.run(store, failing(KeyError("x")), had_no_effect=lambda error: isinstance(error, LookupError))
    assert stage.state() == "released"
    with pytest.raises(ValueError, match="y"):
        stage.run(store, failing(ValueError("y")), had_no_effect=lambda error: isinstance(error, LookupError))
    assert stage.state() == "claimed"


@pytest.mark.parametrize("error", [ValueError("mine"), Unavailable("another store", definite=True)])
def test_any_other_error_leaves_the_lease_standing(stage: Stage, error: Exception) -> None:
    """ID-7: the work may have had an effect. The error is raised on, the very object; others wait."""
    store = stage.store()
    with pytest.raises(type(error)) as caught:
        stage.run(store, failing(error))
    assert caught.value is error
    assert caught.value.__cause__ is None
    with pytest.raises(InProgress) as refusal:
        stage.run(store, forbidden)
    assert refusal.value.retry_after_ms == LEASE_MS
    stage.now_ms += LEASE_MS
    assert stage.run(store, returning(b"done")).response == b"done"


@pytest.mark.parametrize(("predicate", "work"), [("store_if", returning(b"done")), ("had_no_effect", failing(ValueError("x")))])
def test_a_predicate_that_fails_hides_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture, predicate: str, work: Any
) -> None:
    """It says nothing then: a response is stored, an error leaves the lease standing; and it is logged."""

    def broken(_: object) -> bool:
        raise ArithmeticError

    store = stage.store()
    if predicate == "store_if":
        assert stage.run(store, work, store_if=broken).recorded
    else:
        with pytest.raises(ValueError, match="x"):
            stage.run(store, work, had_no_effect=broken)
        assert stage.state() == "claimed"
    assert [(each.levelname, "ArithmeticError" in each.getMessage()) for each in caplog.records] == [("ERROR", True)]


async def no(_: object) -> bool:
    """A predicate that has to be awaited."""
    return False


@pytest.mark.parametrize(("predicate", "work"), [("store_if", returning(b"done")), ("had_no_effect", failing(ValueError("x")))])
def test_a_predicate_that_promises_an_answer_says_nothing(
    stage: Stage, caplog: pytest.LogCaptureFixture, predicate: str, work: Any
) -> None:
    """A promise is no yes: else work that had its effect would be run again (ID-7). It is as one that fails."""
    store = stage.store()
    promising = {predicate: lambda of: no(of)}
    if predicate == "store_if":
        assert stage.run(store, work, **promising).recorded
    else:
        with pytest.raises(ValueError, match="x"):
            stage.run(store, work, **promising)
        assert stage.state() == "claimed"
    assert [(each.levelname, "is to be awaited" in each.getMessage()) for each in caplog.records] == [("ERROR", True)]


# --- work that is never begun -------------------------------------------------------------------------------------------------


async def coroutine(_: object) -> bytes:
    """Does nothing unless it is awaited."""
    return forbidden(_)  # type: ignore[no-any-return]


def generator(_: object) -> Iterator[bytes]:
    """Does nothing when it is called."""
    yield forbidden(_)


async def async_generator(_: object) -> AsyncIterator[bytes]:
    """Neither does it."""
    yield forbidden(_)


LATER: dict[str, Callable[[Any], Any]] = {each.__name__: each for each in (coroutine, generator, async_generator)}


@pytest.mark.parametrize("later", LATER)
def test_work_that_would_never_begin_is_misuse(stage: Stage, later: str) -> None:
    """Nothing is sent: a key would be burnt for work that never ran. Under asyncio a coroutine function is as good as any."""
    store = stage.store()
    if stage.is_async and later == "coroutine":
        return
    with pytest.raises(Misuse) as caught:
        stage.wait(store.run(SCOPE, "payload", LATER[later]))
    assert caught.value.argument == "work"
    assert stage.state() == "new"


@pytest.mark.parametrize("later", LATER)
def test_work_that_returns_what_never_began_is_not_done(stage: Stage, later: str) -> None:
    """It is Misuse, and the key is free again (ID-7, ID-10): whoever does the work gets its response stored."""
    store = stage.store()
    with pytest.raises(Misuse, match=f"work: returned a {later}") as caught:
        stage.run(store, lambda lease: LATER[later](lease))
    assert caught.value.argument == "work"
    assert stage.state() == "released"
    assert stage.run(store, returning(b"done")).response == b"done"


@pytest.mark.parametrize("later", LATER)
def test_what_never_began_is_not_done_unprotected_either(stage: Stage, later: str) -> None:
    """When it fails open."""
    store = stage.store(stage.client(proxied=True), on_store_failure="open")
    stage.proxy.arm([Fate.NOT_SENT])
    with pytest.raises(Misuse, match=f"work: returned a {later}"):
        stage.run(store, lambda lease: LATER[later](lease))


def test_work_that_goes_on_after_it_returned_keeps_its_lease(stage: Stage) -> None:
    """Something of it has happened, and nobody knows what."""

    def going_on(_: object) -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    def work(lease: object) -> Iterator[bytes]:
        both = going_on(lease)
        next(both)
        return both

    with pytest.raises(Misuse, match="work: returned a generator"):
        stage.run(stage.store(), work)
    assert stage.state() == "claimed"


# --- others at work ---------------------------------------------------------------------------------------------------------


def test_who_comes_meanwhile_is_told_how_long_at_most(stage: Stage) -> None:
    """ID-4: what is left of the lease."""
    store = stage.store()
    stage.wait(store.claim(SCOPE, "payload"))
    stage.now_ms += 1
    with pytest.raises(InProgress) as caught:
        stage.run(store, forbidden)
    assert caught.value.retry_after_ms == LEASE_MS - 1


def test_who_waits_gets_the_response(engine: Engine) -> None:
    """As soon as it is there; how long it sleeps between its claims grows."""
    world = World(engine)
    first, second = world.worker(), world.worker(wait_ms=LEASE_MS)
    first.to(calls("complete"))
    slept_ms: list[int] = []
    while second.driver.client_ms < 300:
        if isinstance(second.run.wish, Sleep):
            slept_ms.append(second.run.wish.ms)
        second.step()
    first.finish()
    outcome = second.finish()
    assert (outcome.response, outcome.replayed) == (b"done", True)
    assert slept_ms == sorted(slept_ms)
    assert (slept_ms[0], slept_ms[-1] > 100) == (8, True)
    world.close()


@pytest.mark.parametrize("wait_ms", [0, 1, 40, LEASE_MS - 1])
def test_waiting_has_an_end(engine: Engine, wait_ms: int) -> None:
    """InProgress comes after just so long, if the other is still at work."""
    world = World(engine)
    world.worker().to(runs_work)
    second = world.worker(wait_ms=wait_ms)
    with pytest.raises(InProgress):
        second.finish()
    assert second.driver.client_ms == wait_ms
    world.close()


def test_who_waits_takes_over_when_the_lease_ends(engine: Engine) -> None:
    """And does the work itself."""
    world = World(engine)
    world.worker(returning(b"first")).to(calls("complete"))
    second = world.worker(returning(b"second"), wait_ms=10 * LEASE_MS)
    while second.run.wish is not None:
        second.step()
        world.now_ms = 5_000 + second.driver.client_ms
    assert second.run.result().response == b"second"
    assert second.driver.client_ms <= LEASE_MS + 512
    assert world.fences == [1, 2]
    world.close()


# --- a store that fails -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fates", [[Fate.NOT_SENT], [Fate.REPLY_LOST] * 3])
def test_when_the_store_is_down_the_work_is_not_run(stage: Stage, fates: list[Fate]) -> None:
    """ID-11: it fails closed, unless it is told otherwise."""
    store = stage.store(stage.client(proxied=True))
    stage.proxy.arm(fates)
    with pytest.raises(Unavailable) as caught:
        stage.run(store, forbidden)
    assert caught.value.definite is (fates == [Fate.NOT_SENT])


@pytest.mark.parametrize("fates", [[Fate.NOT_SENT], [Fate.REPLY_LOST] * 3])
def test_it_may_be_told_to_fail_open(stage: Stage, caplog: pytest.LogCaptureFixture, fates: list[Fate]) -> None:
    """ID-11: then the work runs unprotected, with a fence below any other; that is marked, and logged."""
    store = stage.store(stage.client(proxied=True), on_store_failure="open")
    stage.proxy.arm(fates)
    leases: list[Any] = []
    with caplog.at_level(logging.WARNING, "redstep"):
        outcome = stage.run(store, noting(leases))
    assert (outcome.response, outcome.degraded, outcome.recorded, outcome.replayed) == (b"done", True, False, False)
    assert (leases[0].fence, leases[0].token) == (0, "")
    assert stage.wait(leases[0].renew()) == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(SCOPE) in caplog.text


def test_work_that_fails_unprotected_raises_its_own_error(stage: Stage) -> None:
    """Without a trace of the store's."""
    store = stage.store(stage.client(proxied=True), on_store_failure="open")
    stage.proxy.arm([Fate.NOT_SENT])
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as caught:
        stage.run(store, failing(error))
    assert caught.value is error
    assert caught.value.__context__ is None


def test_a_claim_that_nobody_heard_of_is_released(stage: Stage) -> None:
    """CM-4: when both replies were lost, the key is not blocked for a lease."""
    store = stage.store(stage.client(proxied=True))
    stage.proxy.arm([Fate.REPLY_LOST] * 2)
    with pytest.raises(Unavailable) as caught:
        stage.run(store, forbidden)
    assert caught.value.definite is False
    assert stage.state() == "released"
    assert stage.run(store, returning(b"done")).response == b"done"


def test_open_or_closed_what_is_corrupt_runs_nothing(stage: Stage) -> None:
    """CM-9: nor does a pool that has run out: neither is the store's failure."""
    stage.admin.set(KEY, "something else")
    for policy in ("open", "closed"):
        with pytest.raises(Corrupt):
            stage.run(stage.store(on_store_failure=policy), forbidden)
    client = stage.client(max_connections=1)
    store = stage.store(client, on_store_failure="open")
    held = stage.wait(client.connection_pool.get_connection())
    with pytest.raises(ServiceOverloaded):
        stage.run(store, forbidden)
    stage.wait(client.connection_pool.release(held))


@pytest.mark.parametrize(
    "fates", [[Fate.DELIVERED, Fate.NOT_SENT], [Fate.DELIVERED, Fate.REPLY_LOST, Fate.REPLY_LOST]], ids=["definite", "unknown"]
)
def test_a_completion_that_fails_costs_nobody_the_response(
    stage: Stage, caplog: pytest.LogCaptureFixture, fates: list[Fate]
) -> None:
    """The work is done: its caller gets the response, marked as not recorded, and an operator is told."""
    store = stage.store(stage.client(proxied=True))
    stage.proxy.arm(fates)
    with caplog.at_level(logging.ERROR, "redstep"):
        outcome = stage.run(store, returning(b"done"))
    assert (outcome.response, outcome.recorded) == (b"done", False)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert str(SCOPE) in caplog.text


def test_a_lost_reply_to_a_completion_is_asked_for_again(stage: Stage) -> None:
    """CM-4: the second time it is done already."""
    store = stage.store(stage.client(proxied=True))
    stage.proxy.arm([Fate.DELIVERED, Fate.REPLY_LOST])
    assert stage.run(store, returning(b"done")).recorded
    assert stage.proxy.executed == 3


@pytest.mark.parametrize(("work", "settled"), [(returning(b"done"), "complete"), (failing(NoEffect()), "release")])
@pytest.mark.parametrize("tries", [1, 20])
def test_work_that_has_begun_waits_for_a_connection(engine: Engine, work: Any, settled: str, tries: int) -> None:
    """BP-5: its claim is settled when one is free again."""
    world = World(engine)
    worker = world.worker(work)
    for _ in range(tries):
        worker.to(calls(settled))
        worker.run.feed(Raised(ServiceOverloaded("none is free")))
    if settled == "complete":
        assert worker.finish().recorded
    else:
        with pytest.raises(NoEffect):
            worker.finish()
    assert worker.driver.client_ms == 25 * tries
    assert worker.driver.announced == []
    world.close()


def test_a_connection_is_not_waited_for_for_ever(engine: Engine) -> None:
    """After half a second the response is given, and not recorded."""
    world = World(engine)
    worker = world.worker()
    for _ in range(21):
        worker.to(calls("complete"))
        worker.run.feed(Raised(ServiceOverloaded("none is free")))
    outcome = worker.finish()
    assert (outcome.response, outcome.recorded, len(worker.driver.announced)) == (b"done", False, 1)
    world.close()


def test_a_step_of_ones_own_does_not_wait_for_a_connection(stage: Stage) -> None:
    """BP-2: it is told at once that none is free; asked again later, it is done."""
    client = stage.client(max_connections=1)
    store = stage.store(client)
    token = stage.wait(store.claim(SCOPE, "payload")).token
    held = stage.wait(client.connection_pool.get_connection())
    for step in (store.renew, store.release):
        with pytest.raises(ServiceOverloaded):
            stage.wait(step(SCOPE, token))
    with pytest.raises(ServiceOverloaded):
        stage.wait(store.complete(SCOPE, token, b"done"))
    stage.wait(client.connection_pool.release(held))
    assert stage.state() == "claimed"
    stage.wait(store.complete(SCOPE, token, b"done"))
    assert stage.state() == "completed"


# --- misuse ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("scope", {"scope": "order-1"}),
        ("fingerprint", {"fingerprint": 7}),
        ("fingerprint", {"fingerprint": ""}),
        ("fingerprint", {"fingerprint": b"x" * 513}),
        ("fingerprint", {"fingerprint": "\ud800"}),
        ("wait_ms", {"wait_ms": -1}),
        ("wait_ms", {"wait_ms": 1.0}),
        ("codec", {"codec": "json"}),
        ("store_if", {"store_if": True}),
        ("store_if", {"store_if": no}),
        ("had_no_effect", {"had_no_effect": "ValueError"}),
        ("had_no_effect", {"had_no_effect": no}),
    ],
)
def test_misuse_is_named_before_anything_is_sent(stage: Stage, argument: str, settings: dict[str, Any]) -> None:
    """CM-9: the work isn't run either."""
    store = stage.store()
    stage.admin.config_resetstat()
    with pytest.raises(Misuse) as caught:
        stage.run(store, forbidden, **settings)
    assert caught.value.argument == argument
    assert "cmdstat_evalsha" not in stage.admin.info("commandstats")


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("lease_ms", {"lease_ms": 0}),
        ("lease_ms", {"lease_ms": 2**51 + 1}),
        ("retention_ms", {"retention_ms": True}),
        ("response_max_bytes", {"response_max_bytes": -1}),
        ("on_store_failure", {"on_store_failure": "ajar"}),
        ("prefix", {"prefix": "a{b"}),
    ],
)
def test_a_store_is_not_made_of_nonsense(stage: Stage, argument: str, settings: dict[str, Any]) -> None:
    """CM-9: what can never be right is told at once."""
    with pytest.raises(Misuse) as caught:
        stage.store(**settings)
    assert caught.value.argument == argument


def test_a_codec_is_of_functions() -> None:
    """What encodes is asked when the work is done: it would be too late to find out then."""
    for argument, functions in {"encode": (no, bytes), "decode": (bytes, no)}.items():
        with pytest.raises(Misuse) as caught:
            Codec(*functions)  # type: ignore[arg-type]
        assert caught.value.argument == argument


def test_work_must_be_a_function(stage: Stage) -> None:
    """Of every kind."""
    store = stage.store()
    with pytest.raises(Misuse) as caught:
        stage.wait(store.run(SCOPE, "payload", b"done"))
    assert caught.value.argument == "work"
    assert stage.state() == "new"


def test_tokens_and_responses_are_checked(stage: Stage) -> None:
    """CM-7: a token is a name, a response is bytes."""
    store = stage.store()
    for bad in ("", "a{b", "a\nb", 7, "x" * 513):
        for name, args in {"claim": ("payload",), "complete": (bad, b""), "release": (bad,), "renew": (bad,)}.items():
            with pytest.raises(Misuse) as caught:
                stage.wait(getattr(store, name)(SCOPE, *args, **({"token": bad} if name == "claim" else {})))
            assert caught.value.argument == "token"
    with pytest.raises(Misuse) as caught:
        stage.wait(store.complete(SCOPE, "token", "text"))
    assert caught.value.argument == "response"
    assert stage.state() == "new"


@pytest.mark.parametrize(
    "error",
    [
        FingerprintMismatch("x"),
        InProgress("x", retry_after_ms=7),
        NotReplayable("x"),
        LeaseLost("x", response=b"y"),
        ResponseUnusable("x", response={"y": 1}),
    ],
)
def test_errors_reach_another_process_whole(error: Exception) -> None:
    """They can be pickled."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))


def test_primitives_answer_what_they_are_asked(stage: Stage) -> None:
    """The same, one call at a time."""
    store = stage.store()
    claim = stage.wait(store.claim(SCOPE, "payload"))
    assert stage.wait(store.release(SCOPE, claim.token)) == Done(stage.now_ms)
    assert stage.wait(store.complete(SCOPE, claim.token, b"")) == StaleOwner(stage.now_ms)
    assert Policy().key(SCOPE) == KEY
