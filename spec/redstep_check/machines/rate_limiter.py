"""
The rate limiter's machine: it draws the moves that a session makes.

Plain random moves hardly ever meet an edge, so the clock jumps: to the instant at which an admission ends, to the end of the
cold start, to the end of a denial's wait, each one millisecond early, exactly, or one late.
"""

from collections.abc import Callable
from typing import Any

from attrs import evolve
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from redstep_check.guards.rate_limiter import START_MS, Called, RateLimiterSession, Removed
from redstep_spec import rate_limiter as spec
from redstep_spec.arguments import MAX_INTEGER
from redstep_spec.delivery import Fate, Replied

names = st.sampled_from(("a", "a", "a", "b", "a:7"))

small_limits = st.integers(1, 5)
limits = small_limits | st.integers(90, 110)
windows_ms = st.integers(1, 12)
starts_ms = st.sampled_from((START_MS, START_MS, 1_795_000_000_123))
LATEST_MS = MAX_INTEGER // 2
any_windows_ms = st.sampled_from((*range(1, 13), *range(1, 13), 86_400_000, 2**31 + 1, MAX_INTEGER - 1))
near = st.sampled_from((0, -1, 1))
costs = st.sampled_from(("one", "one", "two", "half", "all"))
request_ids = st.sampled_from((None, None, "x", "y"))
FATES: tuple[tuple[Fate, ...], ...] = (
    (),
    (Fate.REPLY_LOST,),
    (Fate.NOT_SENT,),
    (Fate.FLUSHED,),
    (Fate.REPLY_LOST, Fate.NOT_SENT),
    (Fate.REPLY_LOST, Fate.REPLY_LOST),
    (Fate.REPLY_LOST, Fate.FLUSHED),
)
BAD_NAMES: tuple[Any, ...] = ("", "x" * 10_000, "a{b", "}", "a\nb", "\ud800", None, b"a")
BAD_COSTS: tuple[Any, ...] = (0, -1, 1.5, "3", True, MAX_INTEGER + 1)
BAD_NUMBERS: tuple[Any, ...] = (0, -1, 1.5, "3", None, MAX_INTEGER + 1)


class RateLimiterMachine(RuleBasedStateMachine):
    """Draws moves; the session makes them on both sides and compares."""

    def __init__(self, begin: Callable[[], RateLimiterSession]) -> None:
        super().__init__()
        self.session = begin()
        self.can = self.session.target.features
        self.now_ms = self.floor_ms = START_MS
        self.limits: tuple[spec.Limit, ...] = ()
        self.region: spec.Region | None = None
        self.named: spec.Acquire | None = None
        """The last request with an identity that was admitted."""
        self.denied: spec.Acquire | None = None
        self.wait_ms = 0

    # ------------------------------------------------------------------------------------------ the policy

    @initialize(limit=limits, window_ms=windows_ms, start_ms=starts_ms)
    def adopt_a_limit(self, limit: int, window_ms: int, start_ms: int) -> None:
        self.now_ms = self.floor_ms = start_ms
        self.limits = (spec.Limit(limit=limit, window_ms=window_ms),)

    @rule(limit=limits)
    def change_the_limit(self, limit: int) -> None:
        self.limits = (evolve(self.limits[0], limit=limit), *self.limits[1:])

    @rule(window_ms=any_windows_ms)
    def change_the_window(self, window_ms: int) -> None:
        self.limits = (evolve(self.limits[0], window_ms=window_ms),)

    @precondition(lambda self: "dear" in self.can)
    @rule(limit=st.sampled_from((MAX_INTEGER, MAX_INTEGER // 2 + 1, MAX_INTEGER // 3)))
    def raise_the_limit_to_the_utmost(self, limit: int) -> None:
        self.limits = (evolve(self.limits[0], limit=limit), *self.limits[1:])

    @precondition(lambda self: "several" in self.can)
    @rule(limit=small_limits, window_ms=st.integers(1, 24), first=st.booleans())
    def add_a_limit(self, limit: int, window_ms: int, first: bool) -> None:
        kept = tuple(each for each in self.limits if each.window_ms != window_ms)[:2]
        added = (spec.Limit(limit=limit, window_ms=window_ms),)
        self.limits = (*added, *kept) if first else (*kept, *added)

    @precondition(lambda self: "region" in self.can)
    @rule(ago_ms=st.integers(0, 20), cold_ms=st.integers(1, 30), percent=st.sampled_from((50, 0, 34, 100)))
    def start_a_region(self, ago_ms: int, cold_ms: int, percent: int) -> None:
        self.region = spec.Region(start_ms=max(0, self.now_ms - ago_ms), cold_ms=cold_ms, percent=percent)

    @precondition(lambda self: {"several", "region", "cost"} <= self.can)
    @rule(cold_ms=st.integers(1, 30))
    def two_limits_wait_for_the_warm(self, cold_ms: int) -> None:
        self.limits = (spec.Limit(limit=4, window_ms=5), spec.Limit(limit=5, window_ms=9))
        self.start_a_region(0, cold_ms, 50)
        self._call(self._acquire("b", "all", None), ())

    # ------------------------------------------------------------------------------------------ the clock

    @rule(ms=st.integers(1, 25))
    def time_passes(self, ms: int) -> None:
        self._jump(self.now_ms + ms)

    @rule(ms=st.integers(1, 15), cost=costs)
    def the_clock_steps_back(self, ms: int, cost: str) -> None:
        self._jump(self.now_ms - ms)
        self._call(self._acquire("a", cost, None), ())

    @rule(which=st.integers(0, 5), off_ms=near)
    def an_admission_ends(self, which: int, off_ms: int) -> None:
        ends = sorted({a.at_ms + log.window_ms for logs in self.session.logs.values() for log in logs for a in log.admissions})
        if ends:
            self._jump(ends[min(which, len(ends) - 1)] + off_ms)

    @precondition(lambda self: self.region is not None)
    @rule(off_ms=near)
    def the_cold_start_ends(self, off_ms: int) -> None:
        assert self.region is not None
        self._jump(self.region.warm_at_ms + off_ms)

    def _jump(self, to_ms: int) -> None:
        self.now_ms = min(max(self.floor_ms, to_ms), LATEST_MS)

    # ------------------------------------------------------------------------------------------ the calls

    @rule(name=names, cost=costs, request_id=request_ids)
    def acquire(self, name: str, cost: str, request_id: str | None) -> None:
        self._call(self._acquire(name, cost, request_id), ())

    @rule(name=names, cost=costs, request_id=request_ids, fates=st.sampled_from(FATES))
    def acquire_under_faults(self, name: str, cost: str, request_id: str | None, fates: tuple[Fate, ...]) -> None:
        self._call(self._acquire(name, cost, request_id), fates)

    @rule(count=st.integers(2, 5))
    def acquire_in_a_burst(self, count: int) -> None:
        for _ in range(count):
            self._call(self._acquire("a", "one", None), ())

    @rule(count=st.integers(4, 6), window_ms=st.integers(3, 5))
    def acquire_in_a_trickle(self, count: int, window_ms: int) -> None:
        """Some admissions end while later ones still count; then a few come at once."""
        self.limits = (spec.Limit(limit=8, window_ms=window_ms),)
        for _ in range(count):
            self._call(self._acquire("a", "one", None), ())
            self._jump(self.now_ms + 1)
        for _ in range(3):
            self._call(self._acquire("a", "one", None), ())

    @precondition(lambda self: "cost" in self.can)
    @rule(times=st.integers(2, 4), window_ms=windows_ms)
    def fill_and_let_expire(self, times: int, window_ms: int) -> None:
        """More goes through a log than it may store."""
        self.limits = (spec.Limit(limit=100, window_ms=window_ms),)
        for _ in range(times):
            self._call(self._acquire("a", "all", None), ())
            self._jump(self.now_ms + window_ms)

    @precondition(lambda self: self.denied is not None)
    @rule(early_ms=st.sampled_from((0, 1)))
    def wait_out_a_denial(self, early_ms: int) -> None:
        """Waiting retry_after is enough, and one millisecond less is not."""
        assert self.denied is not None
        self._jump(self.denied.now_ms + self.wait_ms - early_ms)
        self._call(evolve(self.denied, now_ms=self.now_ms), ())

    @precondition(lambda self: self.named is not None)
    @rule(cost=costs, off_ms=st.sampled_from((None, 0, -1)))
    def repeat_the_request(self, cost: str, off_ms: int | None) -> None:
        """At once, or around the end of the window that began with it."""
        assert self.named is not None
        if off_ms is not None:
            self._jump(self.named.now_ms + max(limit.window_ms for limit in self.named.limits) + off_ms)
        self._call(evolve(self.named, now_ms=self.now_ms, cost=self._cost(cost, self.named.limits)), ())

    @precondition(lambda self: "peek" in self.can)
    @rule(name=names, fates=st.sampled_from(FATES))
    def peek(self, name: str, fates: tuple[Fate, ...]) -> None:
        self._call(spec.Peek(name=name, limits=self.limits, now_ms=self.now_ms, region=self.region), fates)

    @precondition(lambda self: "reset" in self.can)
    @rule(name=names)
    def reset(self, name: str) -> None:
        self._call(spec.Reset(name=name, limits=self.limits, now_ms=self.now_ms), ())

    @precondition(lambda self: "misuse" in self.can)
    @rule(data=st.data())
    def ask_the_impossible(self, data: st.DataObject) -> None:
        """All of one kind: they are refused before anything is sent, and cost next to nothing."""
        good = self._acquire("a", "one", None)
        peek = spec.Peek(name="a", limits=self.limits, now_ms=self.now_ms)
        reset = spec.Reset(name="a", limits=self.limits, now_ms=self.now_ms)
        kinds: list[list[Any]] = [
            [evolve(call, name=name) for call in (good, peek, reset) for name in BAD_NAMES],
            [evolve(good, cost=cost) for cost in (*BAD_COSTS, good.limits[0].limit + 1)],
            [evolve(call, limits=limits) for call in (good, peek) for limits in self._impossible_limits()],
            [evolve(good, limits=(*good.limits, good.limits[0]))],
            [evolve(good, request_id=name) for name in BAD_NAMES if name is not None],
        ]
        for each in data.draw(st.sampled_from(kinds)):
            self.session.play(Called(each))

    def _impossible_limits(self) -> list[tuple[spec.Limit, ...]]:
        """Nonsense in the first limit or in the last; none at all; two of one window."""
        first, last = self.limits[0], self.limits[-1]
        wrong = [evolve(last, limit=number) for number in BAD_NUMBERS] + [
            evolve(last, window_ms=number) for number in BAD_NUMBERS
        ]
        return [(), (first, first), *((each,) for each in wrong), *((first, each) for each in wrong)]

    @precondition(lambda self: "stored" in self.can)
    @rule(later_ms=st.integers(0, 12))
    def what_is_dead_is_removed(self, later_ms: int) -> None:
        """From here on the clock no longer steps back behind the removal: the engine's own would not either."""
        self._jump(self.now_ms + later_ms)
        for name, logs in self.session.logs.items():
            for log in logs:
                if log.admissions and spec.life_ms(log, self.now_ms) == 0:
                    self.session.play(Removed(name, log.window_ms, self.now_ms))
                    self.floor_ms = max(self.floor_ms, self.now_ms)
        self._call(self._acquire("a", "one", None), ())

    # ------------------------------------------------------------------------------------------ helpers

    def _acquire(self, name: str, cost: str, request_id: str | None) -> spec.Acquire:
        return spec.Acquire(
            name=name,
            limits=self.limits,
            now_ms=self.now_ms,
            cost=self._cost(cost, self.limits),
            request_id=request_id if "request_id" in self.can else None,
            region=self.region,
        )

    def _cost(self, which: str, of: tuple[spec.Limit, ...]) -> int:
        most = min(limit.limit for limit in of) if "cost" in self.can else 1
        return {"one": 1, "two": min(2, most), "half": most // 2 + 1 if most > 1 else 1, "all": most}[which]

    def _call(self, call: spec.Call, fates: tuple[Fate, ...]) -> None:
        fates = fates if set(fates) <= self.session.target.fates else ()
        self.session.play(Called(call, fates))
        match call, self.session.story[-1].expected:
            case spec.Acquire(request_id=str()), Replied(spec.Decision(allowed=True)):
                self.named = call
            case spec.Acquire(), Replied(spec.Decision(allowed=False, retry_after_ms=wait_ms)):
                self.denied, self.wait_ms = call, wait_ms
