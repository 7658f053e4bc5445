"""Decorated functions: which scope and payload each call is about, and the lease that it holds while it runs."""

from collections.abc import Callable
from typing import Any, TypeVar

from attrs import frozen

from redstep.arguments import checked_name
from redstep.callables import checked_function
from redstep.idempotency import Conflict, Renewed, Scope, StaleOwner
from redstep.idempotency_errors import LeaseLost

T = TypeVar("T")


@frozen
class LeaseOf:
    """What work holds while it runs."""

    scope: Scope
    token: str
    """Who holds it; empty if nobody does, for the store failed and the work runs unprotected."""
    fence: int
    """Grows with every takeover: pass it on, and refuse a lower one downstream. 0 if the work runs unprotected."""
    lease_until_ms: int
    """When others may take over, as of the claim, on the engine's clock."""


def renewed(scope: Scope, answer: Renewed | StaleOwner | Conflict) -> int:
    """When a renewed lease ends. Raises LeaseLost if there is none."""
    if isinstance(answer, Renewed):
        return answer.lease_until_ms
    raise LeaseLost(f"the lease of {scope} can't be renewed: the key is not ours any more", response=None)


@frozen(kw_only=True)
class Calls:
    """Which scope and payload a call of a decorated function is about; each given the call's own arguments."""

    operation: str
    key: Callable[..., str]
    fingerprint: Callable[..., str | bytes]
    tenant: str | Callable[..., str]
    lease_as: str | None

    def __attrs_post_init__(self) -> None:
        checked_name("operation", self.operation)
        checked_function("key", self.key)
        checked_function("fingerprint", self.fingerprint)
        if callable(self.tenant):
            checked_function("tenant", self.tenant)
        else:
            checked_name("tenant", self.tenant)

    def scope(self, *args: Any, **options: Any) -> Scope:
        """The scope of a call. Raises Misuse."""
        tenant = self.tenant(*args, **options) if callable(self.tenant) else self.tenant
        return Scope(operation=self.operation, key=self.key(*args, **options), tenant=tenant)

    def work(self, function: Callable[..., T], *args: Any, **options: Any) -> Callable[[LeaseOf], T]:
        """The call itself, to be made with a lease if the function wants it."""
        return lambda lease: function(*args, **options, **({self.lease_as: lease} if self.lease_as else {}))
