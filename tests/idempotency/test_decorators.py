"""Decorators: a function whose calls are idempotent looks like the function itself."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from attrs import frozen

from redstep import Misuse
from redstep.clients.idempotency import AsyncLease, Lease
from redstep.idempotency import Scope, fingerprint
from redstep.idempotency_errors import FingerprintMismatch, InProgress, NoEffect, NotReplayable
from redstep.idempotency_run import JSON

from .stage import LEASE_MS, AsyncStage, Stage, SyncStage


@frozen
class Order:
    """What is charged."""

    id: str
    amount: int = 5


ORDER = Order("o-1")


def about(**settings: Any) -> dict[str, Any]:
    """What a charge is decorated with."""
    return {
        "operation": "charge",
        "key": lambda order: order.id,
        "fingerprint": lambda order: fingerprint(order.amount),
        **settings,
    }


def decorated(stage: Stage, charge: Callable[..., Any], store: Any = None, **settings: Any) -> Callable[..., Any]:
    """A function of this stage's kind, idempotent; gives one that waits for what it returns."""

    async def charge_async(order: Order) -> Any:
        await asyncio.sleep(0)
        return charge(order)

    function = charge_async if isinstance(stage, AsyncStage) else charge
    idempotent = (store or stage.store()).idempotent(**about(**settings))(function)
    assert idempotent.__wrapped__ is function
    return lambda *args, **options: stage.wait(idempotent(*args, **options))


def noting(calls: list[Order]) -> Callable[[Order], bytes]:
    """A charge that notes its calls."""

    def charge(order: Order) -> bytes:
        calls.append(order)
        return f"{order.id}: {order.amount}".encode()

    return charge


def test_a_call_is_made_once(stage: Stage) -> None:
    """However it is spelled; another key is another call, another amount a mismatch."""
    calls: list[Order] = []
    charge = decorated(stage, noting(calls))
    assert charge(ORDER) == charge(order=ORDER) == charge(Order("o-1", 5)) == b"o-1: 5"
    assert charge(Order("o-2")) == b"o-2: 5"
    with pytest.raises(FingerprintMismatch):
        charge(Order("o-1", 6))
    assert calls == [ORDER, Order("o-2")]


def test_tenants_are_apart(stage: Stage) -> None:
    """A tenant may be fixed, or come from the call."""
    calls: list[Order] = []
    for tenant in ("default", "acme", "bolt", lambda order: f"tier {order.amount}"):
        decorated(stage, noting(calls), tenant=tenant)(ORDER)
    decorated(stage, noting(calls), tenant="tier 5")(ORDER)
    assert len(calls) == 4


def test_manners_reach_the_call(stage: Stage) -> None:
    """Codec and refusal."""
    calls: list[Order] = []

    def charge(order: Order) -> dict[str, int]:
        calls.append(order)
        return {"amount": order.amount}

    idempotent = decorated(stage, charge, codec=JSON, store_if=lambda response: response["amount"] > 0)
    for _ in range(2):
        assert idempotent(ORDER) == {"amount": 5}
        assert idempotent(Order("o-2", 0)) == {"amount": 0}
    assert calls == [ORDER, Order("o-2", 0), Order("o-2", 0)]


def test_errors_reach_the_caller(stage: Stage) -> None:
    """The function's own, and those of the store."""
    errors: list[Exception] = [NoEffect("none"), ValueError("some")]

    def charge(_: Order) -> bytes:
        if errors:
            raise errors.pop(0)
        return b"long response"

    idempotent = decorated(stage, charge, stage.store(response_max_bytes=3))
    with pytest.raises(NoEffect, match="none"):
        idempotent(ORDER)
    with pytest.raises(ValueError, match="some"):
        idempotent(ORDER)
    with pytest.raises(InProgress):
        idempotent(ORDER)
    stage.now_ms += LEASE_MS
    assert idempotent(ORDER) == b"long response"
    with pytest.raises(NotReplayable):
        idempotent(ORDER)


def test_a_function_may_ask_for_its_lease(sync_stage: SyncStage) -> None:
    """ID-5: as an argument that its callers leave out, and that key and fingerprint don't see."""
    leases: list[Lease] = []

    def charge(order: Order, lease: Lease) -> bytes:
        leases.append(lease)
        assert lease.renew() == sync_stage.now_ms + LEASE_MS
        return order.id.encode()

    idempotent: Any = sync_stage.store().idempotent(**about(lease_as="lease"))(charge)
    assert idempotent(ORDER) == b"o-1"
    assert (leases[0].fence, leases[0].scope) == (1, Scope(operation="charge", key="o-1"))


def test_a_coroutine_function_may_ask_for_its_lease(async_stage: AsyncStage) -> None:
    """The same for asyncio."""
    leases: list[AsyncLease] = []

    async def charge(order: Order, lease: AsyncLease) -> bytes:
        leases.append(lease)
        assert await lease.renew() == async_stage.now_ms + LEASE_MS
        return order.id.encode()

    idempotent: Any = async_stage.store().idempotent(**about(lease_as="lease"))(charge)
    assert inspect.iscoroutinefunction(idempotent)
    assert async_stage.wait(idempotent(ORDER)) == b"o-1"
    assert leases[0].fence == 1


@pytest.mark.parametrize(
    ("argument", "settings"),
    [
        ("operation", {"operation": ""}),
        ("key", {"key": "o-1"}),
        ("fingerprint", {"fingerprint": "same"}),
        ("tenant", {"tenant": "a{b"}),
        ("wait_ms", {"wait_ms": -1}),
        ("codec", {"codec": None}),
    ],
)
def test_misuse_is_told_when_a_function_is_decorated(stage: Stage, argument: str, settings: dict[str, Any]) -> None:
    """Not when it is first called."""
    with pytest.raises(Misuse) as caught:
        stage.store().idempotent(**about(**settings))
    assert caught.value.argument == argument


@pytest.mark.parametrize(("argument", "bad"), [("key", 7), ("fingerprint", None), ("tenant", "")])
def test_misuse_of_a_call_is_told_before_it_is_made(stage: Stage, argument: str, bad: object) -> None:
    """A key, a fingerprint or a tenant that is none."""
    calls: list[Order] = []
    with pytest.raises(Misuse) as caught:
        decorated(stage, noting(calls), **{argument: lambda _: bad})(ORDER)
    assert caught.value.argument == argument
    assert calls == []


async def coroutine(order: Order) -> bytes:
    """Needs the asyncio store."""
    return order.id.encode()


def generator(order: Order) -> Iterator[bytes]:
    """Does nothing when it is called."""
    yield order.id.encode()


async def async_generator(order: Order) -> AsyncIterator[bytes]:
    """Neither does it."""
    yield order.id.encode()


def test_what_does_its_work_later_is_not_decorated(stage: Stage) -> None:
    """It would never be done. A coroutine function needs the asyncio store, however it is given."""
    decorate: Any = stage.store().idempotent(**about())
    later = (coroutine, staticmethod(coroutine), functools.partial(coroutine))
    wrong: list[Any] = [generator, async_generator, "no function", *(() if stage.is_async else later)]
    for function in wrong:
        with pytest.raises(Misuse) as caught:
            decorate(function)
        assert caught.value.argument == "function"


@pytest.mark.parametrize("argument", ["key", "fingerprint", "tenant"])
def test_what_a_call_is_about_is_not_awaited(stage: Stage, argument: str) -> None:
    """A coroutine function in its place is told at the decoration."""
    with pytest.raises(Misuse) as caught:
        stage.store().idempotent(**about(**{argument: coroutine}))
    assert caught.value.argument == argument
