"""The guards that can be put under stress."""

from collections.abc import Iterator

from redstep_check.interleavings.sequential import audit_chain, circuit_breaker, idempotency, rate_limiter
from redstep_check.stress.binding import Request, Said, Stressed
from redstep_check.stress.laws import audit_chain as chain_laws
from redstep_check.stress.laws import circuit_breaker as breaker_laws
from redstep_check.stress.laws import idempotency as idempotency_laws
from redstep_check.stress.laws import rate_limiter as limiter_laws
from redstep_check.stress.laws.clients import definite_errors, sent_once, told_as_answered
from redstep_check.targets.stressed import audit_chain as shipped_chain
from redstep_check.targets.stressed import circuit_breaker as shipped_breaker
from redstep_check.targets.stressed import idempotency as shipped_idempotency
from redstep_check.targets.stressed import rate_limiter as shipped_limiter
from redstep_spec import audit_chain as chain_spec
from redstep_spec import circuit_breaker as breaker_spec
from redstep_spec import rate_limiter as limiter_spec

# ---------------------------------------------------------------------------------------------- rate limiter


def limiter_only_reads(call: object, said: Said) -> bool:
    """A look, and a denial."""
    return isinstance(call, limiter_spec.Peek) or said.values.get("allowed") is False


def limiter_facts(request: Request) -> Iterator[str]:
    """What was asked was admitted or denied."""
    if "allowed" in request.says:
        yield "admitted" if request.says["allowed"] else "denied"


RATE_LIMITER = Stressed(
    name="rate-limiter",
    variants=shipped_limiter.VARIANTS,
    clients=shipped_limiter.RateLimiterClients,
    tongue=shipped_limiter.RateLimiterTongue,
    sequential=rate_limiter.Sequential(),
    only_reads=limiter_only_reads,
    laws=(),
    one_sided=(sent_once(limiter_spec.is_idempotent), definite_errors, told_as_answered, *limiter_laws.LAWS),
    facts=limiter_facts,
    must=dict.fromkeys(shipped_limiter.VARIANTS, ("admitted", "denied")),
    bugs=tuple(each.planted for each in shipped_limiter.BUGS),
)

# ---------------------------------------------------------------------------------------------- circuit breaker


def breaker_only_reads(call: object, said: Said) -> bool:
    """A look; a stale report; a permit of a closed breaker, which stores nothing."""
    is_closed = said.values.get("number") == 0 and said.values.get("transition") is None
    return isinstance(call, breaker_spec.View) or said.values.get("counted") is False or is_closed


def breaker_facts(request: Request) -> Iterator[str]:
    """It opened, turned half-open, closed; a call was refused; a report was stale."""
    says = request.says
    if (change := says.get("transition")) is not None:
        yield {"open": "opened", "half_open": "probed", "closed": "closed"}[change.new]
    if says.get("admitted") is False:
        yield "refused"
    if says.get("counted") is False:
        yield "stale"


CIRCUIT_BREAKER = Stressed(
    name="circuit-breaker",
    variants=("shared",),
    clients=shipped_breaker.CircuitBreakerClients,
    tongue=shipped_breaker.CircuitBreakerTongue,
    sequential=circuit_breaker.Sequential(),
    only_reads=breaker_only_reads,
    laws=(),
    one_sided=(sent_once(breaker_spec.is_idempotent), definite_errors, *breaker_laws.LAWS),
    facts=breaker_facts,
    must={"shared": ("opened", "probed", "refused")},
    bugs=tuple(each.planted for each in shipped_breaker.BUGS),
    per_key=80,
)

# ---------------------------------------------------------------------------------------------- audit chain


def chain_only_reads(call: object, said: Said) -> bool:
    """Whatever appended nothing."""
    return isinstance(call, chain_spec.Read) or said.values.get("verdict") in ("already", "hash_mismatch", "sealed")


def chain_agrees(before: chain_spec.Chain, after: chain_spec.Chain, stored: chain_spec.Chain) -> bool:
    """Records never change and none was sealed, so what is appended is what stands there in the end."""
    return after.records[len(before.records) :] == stored.records[len(before.records) : len(after.records)]


def chain_facts(request: Request) -> Iterator[str]:
    """It was appended; another had come first; it had been appended before."""
    names = {"appended": "appended", "hash_mismatch": "conflicts", "already": "already"}
    if request.says.get("verdict") in names:
        yield names[request.says["verdict"]]


AUDIT_CHAIN = Stressed(
    name="audit-chain",
    variants=shipped_chain.VARIANTS,
    clients=shipped_chain.AuditChainClients,
    tongue=shipped_chain.AuditChainTongue,
    sequential=audit_chain.Sequential(),
    only_reads=chain_only_reads,
    laws=chain_laws.LAWS,
    agrees=chain_agrees,
    facts=chain_facts,
    must={"cas": ("appended", "conflicts"), "batch": ("appended",), "server_order": ("appended",)},
    knows_time=False,
    bugs=tuple(each.planted for each in shipped_chain.BUGS),
    per_key=50,
)

# ---------------------------------------------------------------------------------------------- idempotency store


def idempotency_only_reads(call: object, said: Said) -> bool:
    """Whatever was turned away, or came too late."""
    del call
    return said.values.get("verdict") in ("replay", "in_progress", "mismatch", "stale_owner", "conflict")


def idempotency_facts(request: Request) -> Iterator[str]:
    """Claims that were acquired, taken over, answered by a response or a wait; completions that came too late."""
    names = {"replay": "replays", "in_progress": "in progress", "mismatch": "mismatches", "stale_owner": "late owners"}
    verdict = request.says.get("verdict")
    if verdict in names:
        yield names[verdict]
    if verdict == "acquired":
        yield "acquired"
        if request.says["fence"] > 1:
            yield "taken over"


IDEMPOTENCY = Stressed(
    name="idempotency",
    variants=("hash",),
    clients=shipped_idempotency.IdempotencyClients,
    tongue=shipped_idempotency.IdempotencyTongue,
    sequential=idempotency.Sequential(),
    only_reads=idempotency_only_reads,
    laws=(),
    one_sided=(definite_errors, *idempotency_laws.LAWS),
    facts=idempotency_facts,
    must={"hash": ("acquired", "replays", "in progress")},
    bugs=tuple(each.planted for each in shipped_idempotency.BUGS),
    keys=4,
    per_key=12,
)

STRESSED = {each.name: each for each in (RATE_LIMITER, CIRCUIT_BREAKER, AUDIT_CHAIN, IDEMPOTENCY)}
