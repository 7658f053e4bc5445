"""The guards whose interleavings can be explored."""

from functools import partial

from redstep_check.interleavings.sequential import audit_chain, circuit_breaker, idempotency, rate_limiter
from redstep_check.interleavings.subjects import Subject
from redstep_check.targets.interleaved.audit_chain import InterleavedAuditChain
from redstep_check.targets.interleaved.circuit_breaker import InterleavedCircuitBreaker
from redstep_check.targets.interleaved.idempotency import InterleavedIdempotency
from redstep_check.targets.interleaved.planted.audit_chain import BUGS as AUDIT_CHAIN_BUGS
from redstep_check.targets.interleaved.planted.circuit_breaker import BUGS as CIRCUIT_BREAKER_BUGS
from redstep_check.targets.interleaved.planted.idempotency import BUGS as IDEMPOTENCY_BUGS
from redstep_check.targets.interleaved.planted.rate_limiter import BUGS as RATE_LIMITER_BUGS
from redstep_check.targets.interleaved.rate_limiter import InterleavedRateLimiter

RATE_LIMITER = Subject(
    name="rate-limiter",
    sequential=rate_limiter.Sequential(),
    variants={name: partial(InterleavedRateLimiter, representation=name) for name in ("zset", "packed")},
    bugs=RATE_LIMITER_BUGS,
    operations=(rate_limiter.Take, rate_limiter.Look, rate_limiter.Forget),
)

IDEMPOTENCY = Subject(
    name="idempotency",
    sequential=idempotency.Sequential(),
    variants={"hash": InterleavedIdempotency},
    bugs=IDEMPOTENCY_BUGS,
    operations=(idempotency.Run,),
)

CIRCUIT_BREAKER = Subject(
    name="circuit-breaker",
    sequential=circuit_breaker.Sequential(),
    variants={"shared": InterleavedCircuitBreaker},
    bugs=CIRCUIT_BREAKER_BUGS,
    operations=(circuit_breaker.Call, circuit_breaker.Intervene, circuit_breaker.Look),
)

AUDIT_CHAIN = Subject(
    name="audit-chain",
    sequential=audit_chain.Sequential(),
    variants={mode: partial(InterleavedAuditChain, mode=mode) for mode in ("cas", "batch", "server_order")},
    bugs=AUDIT_CHAIN_BUGS,
    operations=(audit_chain.Append, audit_chain.Seal),
)

SUBJECTS = {each.name: each for each in (RATE_LIMITER, CIRCUIT_BREAKER, AUDIT_CHAIN, IDEMPOTENCY)}
