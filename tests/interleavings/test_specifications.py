"""The audit chain's small world: its properties are judged there, and a specification that is wrong breaks one."""

from typing import Any

import pytest
from attrs import evolve

from redstep_check.exploration import Explored, Step, steps
from redstep_check.interleavings import specified_chains
from redstep_check.interleavings.specifications import WORLDS, known
from redstep_check.lockstep import SpecificationBroken
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_writer as writer
from redstep_spec.properties.audit_chain import Transition
from redstep_spec.worlds import audit_chain as small

sound = store.step


def keeping_none(chain: store.Chain, call: store.Call) -> tuple[store.Chain, store.Reply]:
    """A seal removes everything."""
    after, reply = sound(chain, call)
    return (evolve(after, records=()), reply) if isinstance(reply, store.Removed) else (after, reply)


def taking_all(chain: store.Chain, call: store.Call) -> tuple[store.Chain, store.Reply]:
    """What does not link to the end is stored all the same."""
    after, reply = sound(chain, call)
    if isinstance(reply, store.HashMismatch) and isinstance(call, store.Append):
        return evolve(chain, records=(*chain.records, b"x")), reply
    return after, reply


@pytest.mark.parametrize(("wrong", "rule"), [(keeping_none, r"AC-(8|12)"), (taking_all, "AC-")])
def test_a_store_that_is_wrong_breaks_a_property(monkeypatch: pytest.MonkeyPatch, wrong: Any, rule: str) -> None:
    """And the rule is named."""
    monkeypatch.setattr(store, "step", wrong)
    with pytest.raises(SpecificationBroken, match=rule):
        known(WORLDS["audit-chain"])


def test_a_writer_that_is_wrong_breaks_a_property(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that calls an unknown outcome definite."""
    monkeypatch.setattr(writer, "AppendUnknown", writer.NotAppended)
    with pytest.raises(SpecificationBroken, match=r"AC-6|CM-9"):
        known(WORLDS["audit-chain"])


def test_the_last_attempt_of_an_append_is_told_with_all_that_led_to_it() -> None:
    """Others come between them, and so does the seal; each of the three outcomes is among them."""
    world = WORLDS["audit-chain"].world
    outcomes: dict[str, int] = {}
    longest = 0
    for step in steps(world, Explored[Any](depth={world.initial: 0}), 100_000):
        if isinstance(step.call, small.Attempt):
            for each in specified_chains.of_step(step):
                if each.write is not None:
                    outcomes[type(each.reply).__name__] = outcomes.get(type(each.reply).__name__, 0) + 1
                    longest = max(longest, len(each.attempts))
    assert set(outcomes) == {"Placed", "NotAppended", "AppendUnknown"}
    assert longest >= 4


def test_the_steps_of_others_and_of_nobody_are_told() -> None:
    """What others ask of the store, and what changes nothing."""
    chain, _ = sound(store.INITIAL, small.asked(store.INITIAL, small.Other()))
    before = small.World(chain=chain)
    [told] = specified_chains.of_step(Step(before, small.Other(), small.step(before, small.Other())[0], small.Came()))
    assert isinstance(told.reply, store.Appended)
    assert told.after == small.step(before, small.Other())[0].chain
    still: list[Transition] = list(specified_chains.of_states([before, before]))
    assert len(still) == len(list(specified_chains.of_states([before])))
    assert any(each.verify is not None and each.honest for each in still)
