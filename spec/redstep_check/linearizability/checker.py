"""
The checker: a history taken apart, its parts searched in turns, and put together again.

Linearizability is local (Herlihy and Wing, 1990): a history is linearizable if it is so for each part of the object alone.
The parts take turns, a slice of steps each, so that one in which the search is lost cannot hide another that is broken for
all to see.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from operator import itemgetter

from redstep_check.linearizability.histories import Event, Operation, operations
from redstep_check.linearizability.models import AnyModel, Model, ModelError
from redstep_check.linearizability.points import Points
from redstep_check.linearizability.search import Blocked, Found, search
from redstep_check.linearizability.stepping import stepper
from redstep_check.linearizability.verdicts import Illegal, Legal, Placed, Undecided, Vacuous, Verdict
from redstep_spec.delivery import Failed, Replied

MAX_STEPS = 2_000_000
"""Some seconds, and some hundreds of megabytes in which the search remembers where it has been."""
SLICE_STEPS = 1_000
"""How far a part goes until it is the next one's turn."""


def check(model: AnyModel, history: Iterable[Event], *, max_steps: int = MAX_STEPS) -> Verdict:
    """
    Decide whether a history is linearizable: whether each operation may have taken effect at one instant of its own between
    its invocation and its completion, such that the model gives all the replies.

    An operation that failed did not happen; one of unknown outcome may have taken effect at any time after its invocation,
    or never. A step of the search is one operation placed; it is given up after `max_steps` of them, all parts together.

    Raises MalformedHistory, ModelError, and what the model raises.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}: a search takes at least one step")
    every = operations(history)
    waiting = deque(Part(model, key, its) for key, its in _parts(model, every).items())
    if not waiting:
        return Vacuous(len(every))
    steps = 0
    done: list[Part] = []
    while waiting:
        if steps >= max_steps:
            return Undecided(steps, tuple(each.key for each in waiting))
        part = waiting.popleft()
        steps += part.go(min(SLICE_STEPS, max_steps - steps))
        if isinstance(part.result, Blocked):
            return part.illegal(part.result, steps)
        (done if part.result else waiting).append(part)
    return Legal(_in_real_time([part.witness() for part in done]), steps)


def _parts(model: AnyModel, every: Iterable[Operation]) -> Mapping[Hashable, Sequence[Operation]]:
    """The operations that may have happened, by part; without those parts of which nothing was heard."""
    happened = [each for each in every if not isinstance(each.outcome, Failed)]
    parts: dict[Hashable, list[Operation]] = {}
    if model.partition is None:
        parts[None] = happened
    else:
        for each in happened:
            key = model.partition(each.call)
            try:
                parts.setdefault(key, []).append(each)
            except TypeError as error:
                raise ModelError(f"the partition of {each.call} cannot be a key ({error}): {key!r}") from error
    return {key: its for key, its in parts.items() if any(each.is_answered for each in its)}


def _reads(model: AnyModel, its: Sequence[Operation]) -> Sequence[bool]:
    """Of each operation, whether it only reads."""
    only_reads = model.only_reads
    if only_reads is None:
        return [False] * len(its)
    return [isinstance(each.outcome, Replied) and only_reads(each.call, each.outcome.reply) for each in its]


class Part:
    """The operations on one part of the object, and the search for their order."""

    def __init__(self, model: AnyModel, key: Hashable, its: Sequence[Operation]) -> None:
        self.key = key
        self.result: Found | Blocked | None = None
        self._model = model
        self._operations = its
        is_read = _reads(model, its)
        points = Points(its, is_read)
        self._stepper = stepper(model, its, is_read, points.width)
        self._search = search(points, self._stepper)
        self._steps = next(self._search)

    def go(self, steps: int) -> int:
        """Search for so many steps, or to the end; return how many it took."""
        before = self._steps
        try:
            self._steps = self._search.send(steps)
        except StopIteration as end:
            self.result = end.value
            self._steps = end.value.steps
        return self._steps - before

    def witness(self) -> Sequence[Placed]:
        """The order that was found."""
        return self._stepper.placed(self.result.order) if isinstance(self.result, Found) else ()

    def illegal(self, blocked: Blocked, steps: int) -> Illegal:
        """The verdict that there is no order."""
        prefix, stuck = self._stepper.placed(blocked.prefix), self._operations[blocked.stuck]
        instead = None
        if isinstance(self._model, Model):
            _, instead = self._model.step(prefix[-1].state if prefix else self._model.init, stuck.call)
        return Illegal(stuck, prefix, steps, partition=self.key, instead=instead)


def _in_real_time(orders: Sequence[Sequence[Placed]]) -> tuple[Placed, ...]:
    """
    Put the orders of all parts together.

    Within its part, each operation takes effect at the latest invocation so far, or a moment later. That is never after its
    own completion, or the order would not be one of its part; so it is in real time among the other parts, too.
    """
    if len(orders) == 1:
        return tuple(orders[0])
    timed: list[tuple[int, Placed]] = []
    for order in orders:
        now = 0
        for placed in order:
            now = max(now, placed.operation.invoked_at)
            timed.append((now, placed))
    return tuple(placed for _, placed in sorted(timed, key=itemgetter(0)))
