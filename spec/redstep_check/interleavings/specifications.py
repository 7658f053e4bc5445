"""The specifications' own small worlds, to be explored breadth first."""

from typing import Any

from redstep_check.exploration import World
from redstep_spec.worlds import audit_chain, circuit_breaker, idempotency, rate_limiter

WORLDS: dict[str, World[Any]] = {
    name: World(initial=each.INITIAL, calls=each.calls, step=each.step, kind=each.kind, label=each.label)
    for name, each in (
        ("rate-limiter", rate_limiter),
        ("circuit-breaker", circuit_breaker),
        ("audit-chain", audit_chain),
        ("idempotency", idempotency),
    )
}
