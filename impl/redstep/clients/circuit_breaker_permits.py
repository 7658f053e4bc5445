"""
The permits of calls under way, as services hold them; and those that `with breaker:` holds for them.

A `with` statement tells the breaker that a block begins and that one ends, and not which. So the permits that were entered are
kept in the context (of the thread, the task), the innermost last. A block may end in another context than it began in: that
of a generator which several threads resume, as some frameworks do with what a request depends on. Then the permit entered first
is taken, which is as good while the breaker is in the same epoch. `with breaker.acquire():` never has to guess.
"""

from collections.abc import Callable
from contextvars import ContextVar
from threading import Lock
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from redstep.circuit_breaker import Outcome, Permit
from redstep.circuit_breaker_protocols import Breaker, conclude, settle
from redstep.wishes import Protocol


class _Held:
    """The permit of one call. It counts once, whoever reports it first; later reports do nothing."""

    def __init__(self, breaker: Breaker, permit: Permit, run: Callable[[Protocol[Any]], Any]) -> None:
        self.breaker = breaker
        """The one that gave it, and is told."""
        self.permit = permit
        self._run = run
        self._unused = Lock()

    def use(self) -> bool:
        """Take it, unless somebody did."""
        return self._unused.acquire(blocking=False)


class HeldPermit(_Held):
    """The permit of one call, to be reported by `success`, `failure` or `neutral`; once, the first of them counts.

    As a context manager it is reported by how the block ends. Safe to share between threads. Each report returns whether it was
    counted: False if there was one before, if the breaker has moved on meanwhile, or if a shared breaker could not be reached.
    """

    def success(self) -> bool:
        """Report that the call succeeded."""
        return self._settle(Outcome.SUCCESS)

    def failure(self) -> bool:
        """Report that the call failed."""
        return self._settle(Outcome.FAILURE)

    def neutral(self) -> bool:
        """Report that the call tells nothing."""
        return self._settle(Outcome.NEUTRAL)

    def _settle(self, outcome: Outcome) -> bool:
        return self.use() and bool(self._run(settle(self.breaker, self.permit, outcome)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.use():
            self._run(conclude(self.breaker, self.permit, error))


class AsyncHeldPermit(_Held):
    """`HeldPermit` for asyncio."""

    async def success(self) -> bool:
        """Report that the call succeeded."""
        return await self._settle(Outcome.SUCCESS)

    async def failure(self) -> bool:
        """Report that the call failed."""
        return await self._settle(Outcome.FAILURE)

    async def neutral(self) -> bool:
        """Report that the call tells nothing."""
        return await self._settle(Outcome.NEUTRAL)

    async def _settle(self, outcome: Outcome) -> bool:
        return self.use() and bool(await self._run(settle(self.breaker, self.permit, outcome)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.use():
            await self._run(conclude(self.breaker, self.permit, error))


H = TypeVar("H", bound=_Held)
_stack: ContextVar[tuple[tuple[object, _Held], ...]] = ContextVar("redstep_entered", default=())


class Entered(Generic[H]):
    """The permits of blocks that began and have not ended, of one breaker. Safe to share between threads and tasks."""

    def __init__(self, breaker: Breaker) -> None:
        self._open: dict[_Held, H] = {}
        self._breaker = breaker
        """Whose lock is held: it is free again after a fork, and a thread does not wait for itself."""

    def add(self, held: H) -> H:
        """A block begins."""
        with self._breaker.lock:
            self._open[held] = held
            others = tuple(each for each in _stack.get() if each[0] is not self or each[1] in self._open)
        _stack.set((*others, (self, held)))
        return held

    def take(self) -> H:
        """A block ends."""
        stack = _stack.get()
        with self._breaker.lock:
            own = [held for owner, held in stack if owner is self and held in self._open]
            if not self._open:
                raise RuntimeError("a block ends that never began")
            held = self._open.pop(own[-1] if own else next(iter(self._open)))
        _stack.set(tuple(each for each in stack if each[1] is not held))
        return held
