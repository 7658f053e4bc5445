"""Laws of linear time: each stands beside a history that it accepts and one, spoilt in one place, that it rejects."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve

from redstep_check.stress.binding import Law, Operation, Part
from redstep_check.stress.laws import audit_chain, circuit_breaker, idempotency, rate_limiter
from redstep_check.stress.laws.audit_chain import append_id_of
from redstep_check.stress.laws.clients import definite_errors, sent_once, told_as_answered
from redstep_check.stress.laws.order import out_of_time
from redstep_check.stress.logs import BROKE, FAILED, UNKNOWN
from redstep_spec import audit_chain as chain_spec
from redstep_spec import circuit_breaker as breaker_spec
from redstep_spec import idempotency as idempotency_spec
from redstep_spec import rate_limiter as limiter_spec
from redstep_spec.audit_chain_encoding import encoded

from .support import operation, part, request


def rules(laws: tuple[Law, ...], of: Part) -> set[str]:
    """The rules that are broken."""
    return {each.rule for law in laws for each in law(of)}


# ---------------------------------------------------------------------------------------------- order


def test_order_is_that_of_time_where_time_tells() -> None:
    """Those that overlap may stand either way; who began after a later one had ended stands wrong."""
    first, second, third = operation("a/1", 1, 4), operation("b/1", 2, 6), operation("c/1", 5, 7)
    assert list(out_of_time([second, first, third])) == []
    assert list(out_of_time([third, second, first])) == [(third, first)]
    unknown = evolve(first, ended_at=None)
    assert list(out_of_time([third, second, unknown])) == []


# ---------------------------------------------------------------------------------------------- clients

LIMITS = (limiter_spec.Limit(limit=2, window_ms=10),)


def acquire(now_ms: int, request_id: str | None = None, cost: int = 1) -> limiter_spec.Acquire:
    """A call of the limiter."""
    return limiter_spec.Acquire(name="a", limits=LIMITS, now_ms=now_ms, cost=cost, request_id=request_id)


def sent(of: Operation, *calls: tuple[Any, dict[str, Any]]) -> Part:
    """An operation and its requests, one after the other."""
    requests = tuple(request(call, 10 * at, 10 * at + 1, of.name, **says) for at, (call, says) in enumerate(calls, 1))
    return part(*requests, operations=(evolve(of, requests=requests),))


def test_what_carries_no_identity_is_sent_once() -> None:
    """With one, it may be sent again; and after a refusal so may anything."""
    law = (sent_once(limiter_spec.is_idempotent),)
    answered = {"allowed": True}
    assert rules(law, sent(operation("a/1", 1, 99), (acquire(5, "x"), {}), (acquire(6, "x"), answered))) == set()
    assert rules(law, sent(operation("a/1", 1, 99), (acquire(5), answered), (acquire(6), {}))) == set()
    assert rules(law, sent(operation("a/1", 1, 99), (acquire(5), {}), (acquire(6), answered))) == {"CM-4"}


def test_an_error_is_definite_only_if_nothing_was_executed() -> None:
    """What was answered before is settled; what was lost since is not."""
    law = (definite_errors,)
    failed = operation("a/1", 1, 99, FAILED)
    assert rules(law, sent(failed, (acquire(5), {}), (acquire(6), {"allowed": True}))) == set()
    assert rules(law, sent(failed, (acquire(5), {"allowed": True}), (acquire(6), {}))) == {"CM-9"}
    assert rules(law, sent(evolve(failed, outcome=UNKNOWN), (acquire(6), {}))) == set()
    assert rules(law, part(operations=(operation("a/1", 1, 2, BROKE, problem="KeyError()"),))) == {"CM-9"}


def test_an_operation_tells_what_it_was_answered() -> None:
    """Number for number."""
    law = (told_as_answered,)
    says: dict[str, Any] = {"allowed": True, "remaining": 1}
    assert rules(law, sent(operation("a/1", 1, 99, **says), (acquire(5), says))) == set()
    assert rules(law, sent(operation("a/1", 1, 99, **{**says, "remaining": 2}), (acquire(5), says))) == {"CM-1"}
    assert rules(law, sent(operation("a/1", 1, 99, **says), (acquire(5), {}))) == {"CM-1"}


# ---------------------------------------------------------------------------------------------- rate limiter


def admitted(at: int, now_ms: int, reset_after_ms: int = 10, **more: Any) -> Any:
    """An admission that was answered; its stamp is the newest."""
    call = acquire(now_ms, more.pop("request_id", None), more.pop("cost", 1))
    return request(call, at, at + 1, allowed=True, now_ms=now_ms, reset_after_ms=reset_after_ms)


def test_no_window_holds_more_than_the_limit() -> None:
    """An admission that is a window old has just stopped counting; a stamp is the log's time, not the clock's."""
    laws = rate_limiter.LAWS
    assert rules(laws, part(admitted(1, 100), admitted(3, 105), admitted(5, 110))) == set()
    assert rules(laws, part(admitted(1, 100), admitted(3, 105), admitted(5, 109))) == {"RL-2"}
    assert rules(laws, part(admitted(1, 100), admitted(3, 105, cost=2))) == {"RL-2"}
    behind = admitted(5, 107, reset_after_ms=13)  # a clock that is behind: stamped 110
    assert rules(laws, part(admitted(1, 100), admitted(3, 110), behind)) == set()


def test_a_repeated_identity_is_charged_once() -> None:
    """Nobody knows by which call, so it is left out."""
    twice = (admitted(3, 105, request_id="x"), admitted(5, 106, request_id="x"))
    assert rules(rate_limiter.LAWS, part(admitted(1, 100), *twice)) == set()
    unheard = (request(acquire(100, "x"), 1, None), admitted(3, 105, request_id="x"))
    assert rules(rate_limiter.LAWS, part(*unheard, admitted(5, 110), admitted(7, 111))) == set()
    others = (admitted(3, 105, request_id="x"), admitted(5, 106, request_id="y"))
    assert rules(rate_limiter.LAWS, part(admitted(1, 100), *others)) == {"RL-2"}


# ---------------------------------------------------------------------------------------------- circuit breaker


def breaker_acquire() -> breaker_spec.Acquire:
    """A call of the breaker."""
    return breaker_spec.Acquire(name="a", policy=breaker_spec.Policy(), now_ms=0)


def test_epochs_begin_once_and_only_grow() -> None:
    """A call that began after another was answered is told no older one; those that overlap may be."""
    change = breaker_spec.Change("open", "half_open", 2)
    begins = request(breaker_acquire(), 1, 4, epoch=2, number=1, transition=change)
    sound = part(begins, request(breaker_acquire(), 3, 5, epoch=1), request(breaker_acquire(), 6, 7, epoch=2, number=2))
    assert rules(circuit_breaker.LAWS, sound) == set()
    again = request(breaker_acquire(), 8, 9, epoch=2, number=3, transition=change)
    assert rules(circuit_breaker.LAWS, part(begins, again)) == {"CB-9"}
    assert rules(circuit_breaker.LAWS, part(begins, request(breaker_acquire(), 5, 6, epoch=1))) == {"CB-1"}
    same = request(breaker_acquire(), 8, 9, epoch=2, number=1)
    assert rules(circuit_breaker.LAWS, part(begins, same)) == {"CB-5"}


# ---------------------------------------------------------------------------------------------- audit chain


def chain_of(*names: str) -> chain_spec.Chain:
    """The chain of these appends, one after the other."""
    chain = chain_spec.INITIAL
    for each in names:
        records = chain_spec.linked(chain.end("a"), "a", ((append_id_of(each), b"1"),))
        chain, _ = chain_spec.append(chain, chain_spec.Append(name="a", records=records))
    return chain


def appends(chain: chain_spec.Chain, *places: tuple[str, int, int | None]) -> tuple[Operation, ...]:
    """Appends that were told where they are."""
    records = {record.append_id: record for at in range(len(chain.records)) if (record := chain.at(at))}
    found = []
    for name, began_at, ended_at in places:
        record = records[append_id_of(name)]
        found.append(operation(name, began_at, ended_at, seq=record.seq, hash=record.hash.hex()))
    return tuple(found)


CHAIN = chain_of("a/1", "b/1", "c/1")
APPENDS = appends(CHAIN, ("a/1", 1, 4), ("b/1", 2, 6), ("c/1", 5, 7))


def spoilt_chains() -> Iterator[tuple[str, str, Part]]:
    """What went wrong, the rule, and what was left behind."""
    a, b, c = APPENDS

    def left(chain: chain_spec.Chain, *operations: Operation) -> Part:
        return part(operations=operations, stored=chain)

    first, _, third = CHAIN.records
    yield "a record is no record", "AC-1", left(evolve(CHAIN, records=(first, b"?", third)), a, b, c)
    record = CHAIN.at(1)
    assert record is not None
    altered = evolve(CHAIN, records=(first, encoded(evolve(record, event=b"2")), third))
    yield "an event was altered", "AC-2", left(altered, a, b, c)
    yield "a link is missing", "AC-3", left(evolve(CHAIN, records=(first, third)), a, evolve(b, outcome=FAILED), c)
    yield "told elsewhere", "AC-6", left(CHAIN, a, evolve(b, values={**b.values, "seq": 0}), c)
    yield "told, and nowhere", "AC-6", left(chain_of("a/1"), a, b)
    yield "told as not appended, and there", "AC-6", left(CHAIN, a, evolve(b, outcome=FAILED), c)
    yield "there twice", "AC-4", left(chain_of("a/1", "a/1"), a)
    yield "nobody's", "AC-4", left(CHAIN, a, b)
    yield "against time", "AC-3", left(CHAIN, evolve(a, began_at=9, ended_at=10), b, c)
    killed = evolve(a, began_at=9, ended_at=None, outcome=UNKNOWN)
    yield "against time, by one who was killed", "AC-3", left(CHAIN, killed, b, c)
    yield "what no rule allows", "CM-9", left(CHAIN, a, b, evolve(c, outcome=BROKE))


def test_a_chain_that_is_what_was_told_is_accepted() -> None:
    """So is one with appends that nobody heard of, in it or not, and that failed, and are not."""
    a, b, c = APPENDS
    assert rules(audit_chain.LAWS, part(operations=APPENDS, stored=CHAIN)) == set()
    killed = evolve(b, ended_at=None, outcome=UNKNOWN)
    lost = operation("d/1", 8, None, UNKNOWN)
    refused = operation("e/1", 8, 9, FAILED)
    assert rules(audit_chain.LAWS, part(operations=(a, killed, c, lost, refused), stored=CHAIN)) == set()


@pytest.mark.parametrize(("rule", "spoilt"), [pytest.param(*rest, id=name) for name, *rest in spoilt_chains()])
def test_a_spoilt_chain_is_rejected(rule: str, spoilt: Part) -> None:
    """Under the rule that it breaks."""
    assert rule in rules(audit_chain.LAWS, spoilt)


# ---------------------------------------------------------------------------------------------- idempotency store

SCOPE = idempotency_spec.Scope("tenant", "operation", "a")


def claim(token: str) -> idempotency_spec.Claim:
    """A claim of the key."""
    return idempotency_spec.Claim(scope=SCOPE, fingerprint="f", token=token, lease_ms=10, retention_ms=10, now_ms=0)


def complete(token: str, response: bytes) -> idempotency_spec.Complete:
    """A completion by a token."""
    return idempotency_spec.Complete(scope=SCOPE, token=token, response=response, retention_ms=10, now_ms=0)


def worked(name: str, token: str, fence: int, began_at: int, ended_at: int | None, **values: Any) -> Operation:
    """A run that worked."""
    work = (began_at + 3, {"token": token, "fence": fence, "response": values.get("response", "r")})
    return evolve(operation(name, began_at, ended_at, **values), works=(work,))


CLAIMS = (request(claim("t"), 2, 3, "a/1", verdict="acquired", fence=1),)
COMPLETES = (request(complete("t", b"r"), 6, 7, "a/1", verdict="done"),)
DONE = worked("a/1", "t", 1, 1, 8, outcome="done", response="r", recorded=True)
REPLAYED = operation("b/1", 9, 12, outcome="replayed", response="r")


def spoilt_runs() -> Iterator[tuple[str, str, Part]]:
    """What went wrong, the rule, and what was left behind."""
    other = request(claim("u"), 4, 5, "b/1", verdict="acquired", fence=2)
    both = (*CLAIMS, *COMPLETES)
    yield "one fence, two owners", "ID-5", part(*both, request(claim("u"), 4, 5, verdict="acquired", fence=1))
    yield "one token, two fences", "ID-5", part(*both, request(claim("t"), 4, 5, verdict="acquired", fence=2))
    early = request(claim("u"), 0, 1, verdict="acquired", fence=2)
    yield "a smaller fence later", "ID-5", part(early, *both)
    yield "completed twice", "ID-6", part(*both, other, request(complete("u", b"s"), 8, 9, verdict="done"))
    late = request(claim("u"), 9, 10, "b/1", verdict="acquired", fence=2)
    yield "told to do what was done", "ID-1", part(*both, late, operations=(DONE,))
    yield "work by nobody", "ID-3", part(*COMPLETES, operations=(DONE,))
    yield "work under another fence", "ID-3", part(*both, operations=(worked("a/1", "t", 3, 1, 8),))
    yield "work twice", "ID-3", part(*both, operations=(evolve(DONE, works=DONE.works * 2),))
    yield "done without work", "ID-3", part(*both, operations=(evolve(DONE, works=()),))
    yield "recorded without a completion", "ID-6", part(*CLAIMS, operations=(DONE,))
    changed = evolve(REPLAYED, values={"outcome": "replayed", "response": "s"})
    yield "another response", "ID-10", part(*both, operations=(DONE, changed))
    lost = (*CLAIMS, request(complete("t", b"r"), 6, None))
    yield "a reply from nowhere", "ID-10", part(*lost, operations=(evolve(DONE, ended_at=None, outcome=UNKNOWN), changed))
    before = evolve(REPLAYED, began_at=4, ended_at=5)
    yield "a replay before its time", "ID-10", part(*both, operations=(DONE, before))


def test_work_that_was_done_once_is_accepted() -> None:
    """With replays, a takeover before the completion, and a completion that was lost."""
    assert rules(idempotency.LAWS, part(*CLAIMS, *COMPLETES, operations=(DONE, REPLAYED))) == set()
    taken = request(claim("u"), 4, 9, "b/1", verdict="acquired", fence=2)
    late = request(complete("t", b"r"), 10, 11, "a/1", verdict="stale_owner")
    first = worked("a/1", "t", 1, 1, 12, outcome="lease lost", response="r")
    assert rules(idempotency.LAWS, part(*CLAIMS, taken, late, operations=(first,))) == set()
    lost = request(complete("t", b"r"), 6, None)
    killed = evolve(DONE, ended_at=None, outcome=UNKNOWN)
    assert rules(idempotency.LAWS, part(*CLAIMS, lost, operations=(killed, REPLAYED))) == set()


@pytest.mark.parametrize(("rule", "spoilt"), [pytest.param(*rest, id=name) for name, *rest in spoilt_runs()])
def test_work_that_was_not_done_once_is_rejected(rule: str, spoilt: Part) -> None:
    """Under the rule that is broken."""
    assert rule in rules(idempotency.LAWS, spoilt)
