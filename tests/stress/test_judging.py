"""Judging: what is stored in the end is one more observation."""

from typing import Any

from attrs import evolve

from redstep_check.linearizability import Illegal, Legal, Undecided
from redstep_check.stress.binding import Part, Request
from redstep_check.stress.judging import searched
from redstep_check.stress.laws.audit_chain import append_id_of
from redstep_check.stress.registry import AUDIT_CHAIN
from redstep_spec import audit_chain as spec
from redstep_spec.audit_chain_encoding import genesis_hash

from .support import part, request

LOST = tuple(f"lost/{number}" for number in range(9))


def append(name: str) -> spec.AppendNext:
    """An append that the engine links."""
    return spec.AppendNext(name="a", append_id=append_id_of(name), event=b"1", since=0, previous=genesis_hash(b"a"))


def chain_of(*names: str) -> spec.Chain:
    """The chain of these appends."""
    chain = spec.INITIAL
    for each in names:
        chain, _ = spec.append_next(chain, append(each))
    return chain


def answered(name: str, chain: spec.Chain, at: int) -> Request:
    """An append that was told to be the last of a chain."""
    head = chain.head
    assert head is not None
    says: dict[str, Any] = {"verdict": "appended", "seq": head.next_seq - 1, "hash": head.hash}
    return request(append(name), at, at + 1, **says)


def lost_before(chain: spec.Chain) -> Part:
    """Nine appends were lost at once; one is told to come after those of them that are in the chain."""
    lost = [request(append(name), at, None) for at, name in enumerate(LOST, 1)]
    return part(*lost, answered("a/1", chain, 50))


STORED = chain_of(*LOST[8:2:-1], "a/1")


def test_the_chain_that_is_stored_spares_the_search_the_orders_that_it_excludes() -> None:
    """Without it they are too many; with it there is one."""
    history = lost_before(STORED)
    assert isinstance(searched(AUDIT_CHAIN, history, max_steps=5_000), Undecided)
    verdict = searched(AUDIT_CHAIN, evolve(history, stored=STORED), max_steps=100)
    assert isinstance(verdict, Legal)
    assert [each.operation.call.append_id for each in verdict.witness] == [
        *map(append_id_of, LOST[8:2:-1]),
        append_id_of("a/1"),
    ]


def test_an_answer_that_the_stored_chain_contradicts_is_illegal() -> None:
    """However right it looks."""
    history = lost_before(chain_of(LOST[0], "a/1"))
    assert isinstance(searched(AUDIT_CHAIN, history), Legal)
    for stored in (chain_of(LOST[1], "a/1"), chain_of("a/1"), spec.INITIAL):
        assert isinstance(searched(AUDIT_CHAIN, evolve(history, stored=stored)), Illegal)


def test_a_lost_append_may_have_taken_effect_after_all_answers() -> None:
    """Or never."""
    history = lost_before(chain_of("a/1"))
    for stored in (chain_of("a/1"), chain_of("a/1", LOST[4], LOST[2])):
        assert isinstance(searched(AUDIT_CHAIN, evolve(history, stored=stored)), Legal)
