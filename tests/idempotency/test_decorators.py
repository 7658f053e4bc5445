"""Decorators: a function whose calls are idempotent looks like the function itself."""

import asyncio
import inspect
from typing import Any

import pytest

from redstep import Misuse
from redstep.clients.idempotency import AsyncLease, Lease
from redstep.idempotency import Scope, fingerprint
from redstep.idempotency_errors import FingerprintMismatch, InProgress, NoEffect, NotReplayable
from redstep.idempotency_run import JSON

from .stage import LEASE_MS, AsyncStage, Stage, SyncStage


def about(**settings: Any) -> dict[str, Any]:
    """What a charge is decorated with."""
    return {
        "operation": "charge",
        "key": lambda order, amount: order,
        "fingerprint": lambda order, amount: fingerprint(amount),
        **settings,
    }


def decorated(stage: Stage, calls: list[Any], **settings: Any) -> Any:
    """A charge that notes its calls; gives a function that waits for what it returns."""
    store = stage.store()

    def charge(order: str, amount: int) -> bytes:
        """Charge an order."""
        calls.append((order, amount))
        return b"%s: %d" % (order.encode(), amount)

    async def charge_async(order: str, amount: int) -> bytes:
        """Charge an order."""
        await asyncio.sleep(0)
        return charge(order, amount)

    function = charge_async if isinstance(stage, AsyncStage) else charge
    idempotent = store.idempotent(**about(**settings))(function)
    assert (idempotent.__doc__, idempotent.__wrapped__) == ("Charge an order.", function)
    return lambda *args, **options: stage.wait(idempotent(*args, **options))


def test_a_call_is_made_once(stage: Stage) -> None:
    """However it is spelled; another key is another call, another amount a mismatch."""
    calls: list[Any] = []
    charge = decorated(stage, calls)
    assert charge("o-1", 5) == charge("o-1", amount=5) == charge(amount=5, order="o-1") == b"o-1: 5"
    assert charge("o-2", 5) == b"o-2: 5"
    with pytest.raises(FingerprintMismatch):
        charge("o-1", 6)
    assert calls == [("o-1", 5), ("o-2", 5)]


def test_tenants_are_apart(stage: Stage) -> None:
    """A tenant may be fixed, or come from the call."""
    calls: list[Any] = []
    for charge in (decorated(stage, calls), decorated(stage, calls, tenant="acme"), decorated(stage, calls, tenant="bolt")):
        charge("o-1", 5)
    by_amount = decorated(stage, calls, tenant=lambda order, amount: f"tier {amount}")
    by_amount("o-1", 1)
    by_amount("o-1", 2)
    assert len(calls) == 5


def test_manners_reach_the_call(stage: Stage) -> None:
    """Codec and refusal."""
    calls: list[Any] = []
    store = stage.store()

    def charge(order: str, amount: int) -> dict[str, int]:
        calls.append(order)
        return {"amount": amount}

    async def charge_async(order: str, amount: int) -> dict[str, int]:
        return charge(order, amount)

    function: Any = charge_async if isinstance(stage, AsyncStage) else charge
    idempotent = store.idempotent(**about(codec=JSON, store_if=lambda response: response["amount"] > 0))(function)
    for _ in range(2):
        assert stage.wait(idempotent("o-1", 7)) == {"amount": 7}
        assert stage.wait(idempotent("o-2", 0)) == {"amount": 0}
    assert calls == ["o-1", "o-2", "o-2"]


def test_errors_reach_the_caller(stage: Stage) -> None:
    """The function's own, and those of the store."""
    store = stage.store(response_max_bytes=3)
    errors: list[Exception] = [NoEffect("none"), ValueError("some")]

    def charge(order: str, amount: int) -> bytes:
        if errors:
            raise errors.pop(0)
        return b"long response"

    async def charge_async(order: str, amount: int) -> bytes:
        return charge(order, amount)

    function: Any = charge_async if isinstance(stage, AsyncStage) else charge
    idempotent = store.idempotent(**about())(function)
    with pytest.raises(NoEffect, match="none"):
        stage.wait(idempotent("o-1", 5))
    with pytest.raises(ValueError, match="some"):
        stage.wait(idempotent("o-1", 5))
    with pytest.raises(InProgress):
        stage.wait(idempotent("o-1", 5))
    stage.now_ms += LEASE_MS
    assert stage.wait(idempotent("o-1", 5)) == b"long response"
    with pytest.raises(NotReplayable):
        stage.wait(idempotent("o-1", 5))


def test_a_function_may_ask_for_its_lease(sync_stage: SyncStage) -> None:
    """ID-5: as an argument that its callers leave out, and that key and fingerprint don't see."""
    leases: list[Lease] = []

    @sync_stage.store().idempotent(**about(lease_as="lease"))
    def charge(order: str, amount: int, lease: Lease) -> bytes:
        leases.append(lease)
        assert lease.renew() == sync_stage.now_ms + LEASE_MS
        return b"done"

    charge("o-1", 5)  # type: ignore[call-arg]  # the decorator gives the rest
    assert (leases[0].fence, leases[0].scope) == (1, Scope(operation="charge", key="o-1"))


def test_a_coroutine_function_may_ask_for_its_lease(async_stage: AsyncStage) -> None:
    """The same for asyncio."""
    leases: list[AsyncLease] = []

    @async_stage.store().idempotent(**about(lease_as="lease"))
    async def charge(order: str, amount: int, lease: AsyncLease) -> bytes:
        leases.append(lease)
        assert await lease.renew() == async_stage.now_ms + LEASE_MS
        return b"done"

    assert inspect.iscoroutinefunction(charge)
    async_stage.wait(charge("o-1", 5))  # type: ignore[call-arg]  # the decorator gives the rest
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


def test_misuse_of_a_call_is_told_before_it_is_made(stage: Stage) -> None:
    """A key or a fingerprint that is none."""
    calls: list[Any] = []
    for argument, settings in {
        "key": {"key": lambda order, amount: 7},
        "fingerprint": {"fingerprint": lambda *_: None},
    }.items():
        with pytest.raises(Misuse) as caught:
            decorated(stage, calls, **settings)("o-1", 5)
        assert caught.value.argument == argument
    assert calls == []


def test_a_coroutine_function_needs_the_other_store(sync_stage: SyncStage) -> None:
    """It would never be awaited."""

    async def charge(order: str, amount: int) -> bytes:
        return b"done"

    with pytest.raises(Misuse) as caught:
        sync_stage.store().idempotent(**about())(charge)
    assert caught.value.argument == "function"
    with pytest.raises(Misuse) as caught:
        sync_stage.store().idempotent(**about())("no function")  # type: ignore[arg-type]
    assert caught.value.argument == "function"
