"""
Local denials: do not ask again while the answer is known.

A denial says how long it holds. Until then the same call, and every dearer one, would be denied again: capacity only comes
back with time. So a client may repeat the denial without asking, by its own monotonic clock, counted from the moment the
denied call was sent, which is before the engine decided.

That is sound while the engine's clock takes no step forward and nobody resets the log or raises the limit; otherwise a call
is denied for as long as the denial still holds, and never admitted wrongly. Both clocks are read in whole milliseconds, which
may differ by a part of one: a denial is given up one millisecond early.
"""

from collections import OrderedDict
from threading import Lock

from attrs import evolve, frozen

from redstep.forks import heed_forks
from redstep.rate_limiter import Decision

NAMES_MAX = 10_000
"""How many names a cache remembers; the one denied longest ago is forgotten first."""


@frozen
class Denial:
    """A denial, the cost it was for, and the stretch of the monotonic clock for which it is repeated."""

    decision: Decision
    cost: int
    from_ms: int
    until_ms: int


class Denials:
    """The denials of one limiter that still hold. Safe to share between threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._denials: OrderedDict[str, Denial] = OrderedDict()
        heed_forks(self)

    def after_fork(self) -> None:
        """Wait for no thread of the parent's."""
        self._lock = Lock()

    def remember(self, name: str, cost: int, decision: Decision, sent_ms: int, warm_at_ms: int) -> None:
        """Take note of a denial; of one in a cold start no longer than the cold start lasts."""
        hold_ms = decision.retry_after_ms
        if decision.now_ms < warm_at_ms:
            hold_ms = min(hold_ms, warm_at_ms - decision.now_ms)
        with self._lock:
            self._denials[name] = Denial(decision, cost, sent_ms, sent_ms + hold_ms - 1)
            self._denials.move_to_end(name)
            while len(self._denials) > NAMES_MAX:
                self._denials.popitem(last=False)

    def recall(self, name: str, cost: int, now_ms: int) -> Decision | None:
        """Repeat a denial that still holds for this cost; its durations and its time go on by the monotonic clock.

        For a dearer call than the one denied, the wait is a lower bound: until then it would be denied too.
        """
        with self._lock:
            denial = self._denials.get(name)
            if denial is not None and now_ms >= denial.until_ms:
                del self._denials[name]
        if denial is None or now_ms >= denial.until_ms or cost < denial.cost:
            return None
        passed_ms = now_ms - denial.from_ms
        return evolve(
            denial.decision,
            retry_after_ms=denial.decision.retry_after_ms - passed_ms,
            reset_after_ms=max(0, denial.decision.reset_after_ms - passed_ms),
            now_ms=denial.decision.now_ms + passed_ms,
            cached=True,
        )

    def forget(self, name: str) -> None:
        """Drop what is known of a name, for it was reset."""
        with self._lock:
            self._denials.pop(name, None)
