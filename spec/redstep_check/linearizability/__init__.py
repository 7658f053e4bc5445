"""
Linearizability: could all this have happened one call after the other?

Concurrent clients call an object; what they asked and what they heard is a history. It is linearizable if each operation
may have taken effect at one instant between its invocation and its completion, such that a sequential model of the object
gives every reply (Herlihy and Wing, *Linearizability: a correctness condition for concurrent objects*, 1990).

    A  ├──────── write 1 ────────┤        B read 1, so that the write had taken effect by then; C began later, and
    B     ├─ read 1 ─┤                    read 0: no order explains that.
    C                  ├─ read 0 ─┤

    >>> from redstep_check.linearizability import Completion, Invocation, Model, Replied, check
    >>> def step(value, call):
    ...     return (value, value) if call == "read" else (call, None)
    >>> register = Model(init=0, step=step)
    >>> verdict = check(register, [
    ...     Invocation(1, "A", 1),
    ...     Invocation(2, "B", "read"),
    ...     Completion(3, "B", Replied(1)),
    ...     Invocation(4, "C", "read"),
    ...     Completion(5, "C", Replied(0)),
    ...     Completion(6, "A", Replied(None)),
    ... ])
    >>> print(verdict)
    illegal: no order explains that client C heard 0 (at 5); before that, one explains 2 operations
    >>> bool(verdict), verdict.stuck.call, verdict.instead
    (False, 'read', 1)

There are four verdicts. `Legal` has the order as its witness, `Illegal` the longest order of what came before and the
operation that fits nowhere, `Undecided` the steps that were spent in vain, and `Vacuous` says that nothing was answered, so
that nothing could have been wrong. Only the first is true.

Any object will do: give a `Model` its state and its step, or a `NondeterministicModel` the states that it may come to.
`redstep_check.linearizability.examples` has six to copy from. Make an object's model a partition where it has parts
that know nothing of one another, and tell it what only reads: both are worth orders of magnitude.
"""

from redstep_check.linearizability.checker import MAX_STEPS, check
from redstep_check.linearizability.histories import (
    Completion,
    Event,
    History,
    Invocation,
    MalformedHistory,
    Operation,
    Recorder,
    operations,
)
from redstep_check.linearizability.models import AnyModel, Model, ModelError, NondeterministicModel
from redstep_check.linearizability.verdicts import Illegal, Legal, Placed, Undecided, Vacuous, Verdict
from redstep_check.linearizability.witnesses import flaw
from redstep_spec.delivery import Failed, Outcome, Replied, Unknown

__all__ = [
    "MAX_STEPS",
    "AnyModel",
    "Completion",
    "Event",
    "Failed",
    "History",
    "Illegal",
    "Invocation",
    "Legal",
    "MalformedHistory",
    "Model",
    "ModelError",
    "NondeterministicModel",
    "Operation",
    "Outcome",
    "Placed",
    "Recorder",
    "Replied",
    "Undecided",
    "Unknown",
    "Vacuous",
    "Verdict",
    "check",
    "flaw",
    "operations",
]
