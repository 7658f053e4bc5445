"""
Exact: the specification's state, and beside it all that is stored, byte for byte.

What a foreign implementation stores may hold more than the specification knows: a lock, a name that it drew, a counter.
Two situations are the same only if that is the same, too; else a search that merges equal ones would take one for the other.
"""

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Any

from attrs import frozen

from redstep_check.binding import Answer
from redstep_check.interleavings.binding import Course, Interrupted, Sequential, Who
from redstep_check.interleavings.foreign.store import Saved, Store


@frozen(cache_hash=True)
class Both:
    """A state, and what is stored."""

    state: Any
    stored: tuple[Saved, ...] = ()


class Exact(Sequential):
    """A specification beside a store; it says what the specification says."""

    def __init__(self, specification: Sequential, store: Store) -> None:
        self.specification = specification
        self.store = store
        self.name = specification.name
        self.initial = Both(specification.initial)
        self.ledger = specification.ledger
        self.decided = specification.decided

    def step(self, state: Both, call: Any) -> tuple[Both, Any]:
        """One step, which the store has just made."""
        return self.stepped(state, call)

    def stepped(self, state: Both, call: Any) -> tuple[Both, Any]:
        """One step, which the store has just made."""
        after, reply = self.specification.stepped(state.state, call)
        return Both(after, self.store.save()), reply

    def is_idempotent(self, call: Any) -> bool:
        """As the specification has it."""
        return self.specification.is_idempotent(call)

    def abstracted(self, state: Both) -> Any:
        """As the specification has it."""
        return self.specification.abstracted(state.state)

    def blame(self, before: Both, call: Any, reply: Any) -> str:
        """As the specification has it."""
        return self.specification.blame(before.state, call, reply)

    def instants_ms(self, state: Both) -> Collection[int]:
        """When time changes something, or something stored is gone."""
        ends = {each.ends_ms + 1 for each in state.stored if each.ends_ms is not None}
        return {*self.specification.instants_ms(state.state), *ends}

    def menu(self, features: Collection[str]) -> Sequence[Any]:
        """As the specification has it."""
        return self.specification.menu(features)

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Any]]:
        """As the specification has it."""
        return self.specification.programs(features)

    def decided_of(self, reply: Any) -> frozenset[str]:
        """As the specification has it."""
        return self.specification.decided_of(reply)

    def executed(self, ledger: Any, who: Who, call: Any, before: Both, reply: Any, after: Both) -> Hashable:
        """As the specification has it."""
        return self.specification.executed(ledger, who, call, before.state, reply, after.state)

    def worked(self, ledger: Any, who: Who, course: Course, state: Both, now_ms: int) -> Hashable:
        """As the specification has it."""
        return self.specification.worked(ledger, who, course, state.state, now_ms)

    def ended(self, ledger: Any, who: Who, course: Course, answer: Answer | Interrupted, state: Both, now_ms: int) -> Hashable:
        """As the specification has it."""
        return self.specification.ended(ledger, who, course, answer, state.state, now_ms)

    def tell(self, operation: Any) -> str:
        """As the specification has it."""
        return self.specification.tell(operation)

    def tell_reply(self, reply: Any) -> str:
        """As the specification has it."""
        return self.specification.tell_reply(reply)
