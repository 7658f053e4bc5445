"""A counter in memory, with clients in plain generators: an implementation of somebody's own, bound to the scheduler."""

from collections.abc import Collection, Generator, Hashable, Mapping, Sequence
from typing import Annotated, Any

from attrs import field, frozen

from redstep_check.binding import Answer, Answered, Stored
from redstep_check.interleavings.binding import (
    Asks,
    Concurrent,
    Course,
    Ends,
    Fed,
    Glance,
    Heard,
    Interrupted,
    Raw,
    Sequential,
    Standing,
    Waits,
)
from redstep_check.interleavings.judging import compare_answer
from redstep_spec.delivery import Failed, Unknown


@frozen
class Add:
    """Add to the counter."""

    amount: int
    now_ms: int = 0


@frozen
class Get:
    """Read it."""

    now_ms: int = 0


@frozen
class Value:
    """What it is, after the call."""

    value: Annotated[int, "RL-2"]
    because: tuple[str, ...] = field(eq=False, default=("RL-2",))


class Counter(Sequential):
    """The specification."""

    name = "counter"
    initial = 0

    def step(self, state: int, call: Add | Get) -> tuple[int, Value]:
        """Add, or read."""
        state += call.amount if isinstance(call, Add) else 0
        return state, Value(state)

    def is_idempotent(self, call: Add | Get) -> bool:
        """Who reads twice does no harm."""
        return isinstance(call, Get)

    def abstracted(self, state: int) -> int:
        """All of it."""
        return state

    def blame(self, before: int, call: Any, reply: Any) -> str:
        """The one rule there is."""
        del before, call, reply
        return "RL-2"

    def instants_ms(self, state: int) -> set[int]:
        """As if it would end."""
        return {2_000} if state else set()

    def menu(self, features: Collection[str]) -> Sequence[Any]:
        """Small numbers."""
        del features
        return (Add(1), Add(2), Get())

    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Any]]:
        """Additions, and who reads them."""
        del features
        return {"adds": (Add(1), Add(2)), "reads": (Add(1), Get())}

    def ended(self, ledger: Any, who: Any, course: Course, answer: Answer | Interrupted, state: int, now_ms: int) -> Hashable:
        """It tells what it heard last."""
        del who, state, now_ms
        compare_answer(course, answer, frozenset())
        return ledger  # type: ignore[no-any-return]

    def tell(self, operation: Any) -> str:
        """In a word."""
        return type(operation).__name__.lower()


class InMemory(Concurrent):
    """The implementation: one request an operation."""

    features = frozenset({"toy"})

    def __init__(self) -> None:
        self.value = 0

    def program(self, operation: Add | Get) -> Generator[Any, int | None, int | None]:
        """Ask once; None means that nobody knows."""
        return (yield operation)

    def begin(self) -> None:
        """At nought."""
        self.value = 0

    def stand(self, client: int, begun: int, operation: Any, memory: Hashable, fed: Sequence[Fed]) -> Standing:
        """Run the program as far as it comes."""
        del client, begun
        if any(each.heard in (Heard.CANCELLED, Heard.OVERTAKEN) for each in fed):
            return Ends(Interrupted(), memory)
        if fed and fed[-1].heard is Heard.NOT_SENT:
            return Ends(Unknown() if any(each.heard is Heard.LOST for each in fed) else Failed(), memory)
        program = self.program(operation)
        request = next(program)
        try:
            for each in fed:
                request = program.send(each.raw[0] if isinstance(each.raw, tuple) else None)
        except StopIteration as end:
            return Ends(Unknown() if end.value is None else Answered({"value": end.value}), memory)
        program.close()
        return Waits(Asks(request, isinstance(request, Get)))

    def understood(self, request: Any, now_ms: int) -> Add | Get:
        """A request is a call."""
        return Add(request.amount, now_ms) if isinstance(request, Add) else Get(now_ms)

    def execute(self, request: Any, now_ms: int) -> Raw:
        """Do it."""
        del now_ms
        self.value += request.amount if isinstance(request, Add) else 0
        return (self.value,)

    def read(self, call: Any, raw: Raw) -> Answer:
        """Name it."""
        del call
        assert isinstance(raw, tuple)
        return Answered({"value": raw[0]})

    def seen(self) -> Stored:
        """All of it."""
        return Stored(self.value, 1, None, self.value)

    def save(self) -> Hashable:
        """The number."""
        return self.value

    def restore(self, saved: Any) -> None:
        """The number."""
        self.value = saved


class Retries(InMemory):
    """Adds again when nobody knows whether it has: at once, or after something else."""

    def __init__(self, *meanwhile: Any) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def program(self, operation: Add | Get) -> Generator[Any, int | None, int | None]:
        """At most twice."""
        value = yield operation
        for each in (*self.meanwhile, operation) if value is None else ():
            value = yield each
        return value


@frozen
class Stamped:
    """An addition, by a clock that was read before."""

    at_ms: int


class ReadsTheClockThenAdds(InMemory):
    """Asks what time it is, and then adds: right as long as no time passes in between."""

    def program(self, operation: Add | Get) -> Generator[Any, int | None, int | None]:
        """In two round trips."""
        del operation
        now_ms = yield Glance(0)
        return None if now_ms is None else (yield Stamped(now_ms))

    def understood(self, request: Any, now_ms: int) -> Any:
        """To ask for the time is no step; the addition is of one."""
        return Glance(now_ms) if isinstance(request, Glance) else Add(1, now_ms)

    def execute(self, request: Any, now_ms: int) -> Raw:
        """What was read late counts for nothing."""
        if isinstance(request, Glance):
            return (now_ms,)
        self.value += request.at_ms == now_ms
        return (self.value,)


@frozen
class Set:
    """Write what one has computed: no step of the specification, but taken for an addition."""

    value: int
    amount: int


class ReadThenWrite(InMemory):
    """Reads, adds by itself, and writes."""

    def program(self, operation: Add | Get) -> Generator[Any, int | None, int | None]:
        """In two round trips."""
        value = yield Get()
        if value is None or isinstance(operation, Get):
            return value
        return (yield Set(value + operation.amount, operation.amount))

    def understood(self, request: Any, now_ms: int) -> Add | Get:
        """To write is meant as an addition."""
        return Add(request.amount, now_ms) if isinstance(request, Set) else super().understood(request, now_ms)

    def execute(self, request: Any, now_ms: int) -> Raw:
        """Overwrite."""
        if not isinstance(request, Set):
            return super().execute(request, now_ms)
        self.value = request.value
        return (self.value,)
