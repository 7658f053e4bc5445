"""
Models: what a sequential object answers, one call after the other.

A model is a pure step from state to state. The specification of a guard is one as it stands:

    Model(init=rate_limiter.INITIAL, step=rate_limiter.step)

Where several answers are right, or where a step needs the reply to be taken (it tells the time of the operation), a
nondeterministic model says which states a call with *this* outcome may lead to: several, one, or none when that cannot be.

States are hashable, and equal states are the same state. Calls and replies may be anything; replies are compared with `==`.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, Generic, TypeVar

from attrs import field, frozen
from attrs.validators import is_callable, min_len, optional

from redstep_spec.delivery import Outcome

State = TypeVar("State", bound=Hashable)
Call = TypeVar("Call")
Reply = TypeVar("Reply")


class ModelError(TypeError):
    """A model does not keep to what it has to be."""


@frozen(kw_only=True)
class Model(Generic[State, Call, Reply]):
    """A deterministic object: one state, one call, one reply."""

    init: State
    step: Callable[[State, Call], tuple[State, Reply]] = field(validator=is_callable())
    """Takes any call in any state, changes nothing that it is given, and returns the next state and the reply."""
    partition: Callable[[Call], Hashable] | None = field(default=None, validator=optional(is_callable()))
    """
    The key of the part that a call is about, when an object consists of parts that know nothing of one another: each
    begins with `init` and is checked on its own, which is far faster and decides the same (Herlihy and Wing's locality).
    """
    only_reads: Callable[[Call, Reply], bool] | None = field(default=None, validator=optional(is_callable()))
    """
    Whether a call that got this reply left the state alone, *whatever* the state was: a read, a failed compare-and-set,
    a denial. The search then need not try it anywhere else than where it fits first. Without it the verdict is the same.
    """


@frozen(kw_only=True)
class NondeterministicModel(Generic[State, Call, Reply]):
    """An object that may do one thing or another, or whose reply holds what decides."""

    inits: Collection[State] = field(validator=min_len(1))
    steps: Callable[[State, Call, Outcome[Reply]], Iterable[State]] = field(validator=is_callable())
    """
    All states that a call may lead to from this one. Its outcome is Replied, with the reply that came, or Unknown, when it
    may have got any. None if in this state it cannot have had that outcome.
    """
    partition: Callable[[Call], Hashable] | None = field(default=None, validator=optional(is_callable()))
    """As in Model."""
    only_reads: Callable[[Call, Reply], bool] | None = field(default=None, validator=optional(is_callable()))
    """As in Model: every step that a call with this reply can take leads to the state that it is taken from."""


AnyModel = Model[Any, Any, Any] | NondeterministicModel[Any, Any, Any]
