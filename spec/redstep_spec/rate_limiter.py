"""
Rate limiter: at most L in any window of W, exactly; a sliding-window log.

        W = 10                        now
    ───┬──────────┬────────┬───────────┬──▶ ms
       2          5        9          15     an admission at t counts while t > now - W:
       gone      gone     counts             the one at 5 is exactly W old, and has just stopped counting

A log of admissions is kept for every name and every window length. A call is admitted when what is counted and its cost
stay within the limit, and only then is anything written. Three laws carry the rest:

- no over-admission and no needless denial: in any window at most L, and a denial means that L would be exceeded;
- `retry_after_ms` is exact: that wait is enough, and one millisecond less is not;
- the time of a log never runs backward: a clock behind the newest admission is taken for that admission's.

A call may name several limits (ten a second and a thousand an hour): it is admitted by all of them or charged to none.
Time is an argument, in integer milliseconds; so is the region, whose limits are lower in the first minutes of its life.

The sliding-window log is the folklore algorithm (a sorted set of timestamps) made exact at its edges; the reply holds
what the IETF's draft of the RateLimit header fields asks for, with a reset that is exact.
"""

from collections import Counter
from typing import Annotated

from attrs import evolve, field, frozen
from attrs.validators import ge, le

from redstep_spec.arguments import Misuse, is_integer, is_name

# ---------------------------------------------------------------------------------------------- policy


@frozen(kw_only=True)
class Limit:
    """At most `limit` in any `window_ms` milliseconds."""

    limit: int
    window_ms: int


@frozen(kw_only=True)
class Region:
    """Since when a service runs in a place: its limits start cold, so that a mass restart floods nobody (RL-9)."""

    start_ms: int = field(validator=ge(0))
    cold_ms: int = field(default=300_000, validator=ge(0))
    percent: int = field(default=50, validator=[ge(0), le(100)])

    @property
    def warm_at_ms(self) -> int:
        """The first instant at which the whole limit holds."""
        return self.start_ms + self.cold_ms


# ---------------------------------------------------------------------------------------------- state


@frozen
class Admission:
    """What one admitted call left in a log."""

    at_ms: Annotated[int, "RL-1"]
    cost: Annotated[int, "RL-2"]
    request_id: Annotated[str | None, "RL-7"] = None


@frozen
class Log:
    """The admissions of one window length, oldest first, none of them so old that it can never count again."""

    window_ms: Annotated[int, "RL-6"]
    admissions: Annotated[tuple[Admission, ...], "RL-2"] = ()

    @property
    def newest_ms(self) -> int | None:
        """The stamp of the newest admission."""
        return self.admissions[-1].at_ms if self.admissions else None


Logs = tuple[Log, ...]
"""The state of one name: a log for each window length, the shortest first. One without admissions is not kept."""

INITIAL: Logs = ()


def log_of(logs: Logs, window_ms: int) -> Log:
    """The log of a window length; a length not seen before starts empty (RL-6)."""
    return next((log for log in logs if log.window_ms == window_ms), Log(window_ms))


def with_log(logs: Logs, new: Log) -> Logs:
    """The logs with that of one window length replaced."""
    others = [log for log in logs if log.window_ms != new.window_ms]
    return tuple(sorted([*others, new] if new.admissions else others, key=lambda log: log.window_ms))


def tally(log: Log) -> Counter[tuple[int, str | None]]:
    """What of a log can be told from outside: the cost admitted at each instant under each request id."""
    costs: Counter[tuple[int, str | None]] = Counter()
    for admission in log.admissions:
        costs[admission.at_ms, admission.request_id] += admission.cost
    return costs


# ---------------------------------------------------------------------------------------------- calls and replies


@frozen(kw_only=True)
class Acquire:
    """May this call of the caller's proceed? If so, charge it."""

    name: str
    limits: tuple[Limit, ...]
    now_ms: int
    cost: int = 1
    request_id: str | None = None
    region: Region | None = None


@frozen(kw_only=True)
class Peek:
    """How much is left, without using any?"""

    name: str
    limits: tuple[Limit, ...]
    now_ms: int
    region: Region | None = None


@frozen(kw_only=True)
class Reset:
    """Forget what was admitted under these limits."""

    name: str
    limits: tuple[Limit, ...]
    now_ms: int


Call = Acquire | Peek | Reset


@frozen(kw_only=True)
class Decision:
    """The answer to an acquire; of several limits, it speaks of the binding one."""

    allowed: Annotated[bool, "RL-2"]
    """May the caller proceed?"""
    binding: Annotated[int, "RL-15"] = 0
    """Which limit this is about: when denied the one to wait for longest, else the one with least remaining."""
    limit: Annotated[int, "RL-9"]
    """The limit in force: lower than the configured one during a cold start."""
    remaining: Annotated[int, "RL-2"]
    """How much is left after this call."""
    retry_after_ms: Annotated[int, "RL-4"]
    """The least wait after which this very call would be admitted, if nothing else happened; 0 when admitted."""
    reset_after_ms: Annotated[int, "RL-2"]
    """The wait after which nothing is counted any more, if nothing else happened."""
    now_ms: Annotated[int, "CM-2"]
    """The time that was used."""
    because: tuple[str, ...] = field(eq=False)
    """The rules that decided, the most specific first."""


@frozen(kw_only=True)
class Usage:
    """The answer to a peek, about the limit with least remaining."""

    binding: Annotated[int, "RL-15"] = 0
    limit: Annotated[int, "RL-9"]
    remaining: Annotated[int, "RL-14"]
    reset_after_ms: Annotated[int, "RL-14"]
    now_ms: Annotated[int, "CM-2"]
    because: tuple[str, ...] = field(eq=False)


@frozen
class Done:
    """The answer to a reset: whether there was something to forget cannot be told (CM-3)."""

    because: tuple[str, ...] = field(eq=False, default=("RL-14",))


Reply = Decision | Usage | Done | Misuse


# ---------------------------------------------------------------------------------------------- one limit


@frozen
class View:
    """One limit as a call sees it at `now_ms`."""

    limit: Limit
    region: Region | None
    log: Log
    now_ms: int

    @property
    def time_ms(self) -> int:
        """RL-5: the later of now and the newest stamp."""
        return max(self.now_ms, self.log.newest_ms or 0)

    def counted(self, at_ms: int) -> tuple[Admission, ...]:
        """RL-1: an admission counts while it is younger than the window."""
        return tuple(a for a in self.log.admissions if a.at_ms > at_ms - self.limit.window_ms)

    def used(self, at_ms: int) -> int:
        """What is counted at an instant."""
        return sum(admission.cost for admission in self.counted(at_ms))

    def is_cold(self, at_ms: int) -> bool:
        """RL-9: from exactly the end of the cold start on, it is over."""
        return self.region is not None and at_ms < self.region.warm_at_ms

    def effective(self, at_ms: int) -> int:
        """RL-9: the limit in force at an instant."""
        if self.region is not None and self.is_cold(at_ms):
            return max(1, self.limit.limit * self.region.percent // 100)
        return self.limit.limit

    def fits(self, cost: int, at_ms: int) -> bool:
        """RL-2: would a call of this cost be within the limit at an instant, if nothing else happened?"""
        return self.used(at_ms) + cost <= self.effective(at_ms)

    def admissible_at(self, cost: int) -> int:
        """RL-4: the first instant at which it fits: now, or when an admission ends, or when the region is warm."""
        instants = {self.time_ms, *(a.at_ms + self.limit.window_ms for a in self.log.admissions)}
        if self.region is not None:
            instants.add(self.region.warm_at_ms)
        return min(at for at in instants if at >= self.time_ms and self.fits(cost, at))

    def retry_after(self, cost: int) -> int:
        """RL-4: counted from the raw now, whatever the log's time; 0 when it fits."""
        return 0 if self.fits(cost, self.time_ms) else self.admissible_at(cost) - self.now_ms

    def remaining(self) -> int:
        """RL-2: never below zero, even when the limit was lowered under what is counted."""
        return max(0, self.effective(self.time_ms) - self.used(self.time_ms))

    def reset_after(self) -> int:
        """Until the newest admission stops counting."""
        return max((a.at_ms + self.limit.window_ms - self.now_ms for a in self.counted(self.time_ms)), default=0)

    def admit(self, cost: int, request_id: str | None) -> "View":
        """RL-5: stamped with the log's time. What can never count again is dropped (RL-8)."""
        admissions = (*self.counted(self.time_ms), Admission(self.time_ms, cost, request_id))
        return evolve(self, log=evolve(self.log, admissions=admissions))


def views(logs: Logs, limits: tuple[Limit, ...], region: Region | None, now_ms: int) -> list[View]:
    """Each limit over its own log."""
    return [View(limit, region, log_of(logs, limit.window_ms), now_ms) for limit in limits]


def scarcest(candidates: list[View]) -> int:
    """RL-15: the limit with the least remaining, the first given on a tie."""
    return min(range(len(candidates)), key=lambda i: candidates[i].remaining())


# ---------------------------------------------------------------------------------------------- the operations


def acquire(logs: Logs, call: Acquire) -> tuple[Logs, Decision]:
    """RL-2, RL-15: admitted by all limits and charged to all, or denied and charged to none (RL-3)."""
    before = views(logs, call.limits, call.region, call.now_ms)
    because = (*deciding_rules(logs, before, call), "RL-2")
    if is_duplicate(before, call.request_id):
        return logs, decision(before, scarcest(before), because, allowed=True)
    waits = [view.retry_after(call.cost) for view in before]
    if any(waits):
        longest = waits.index(max(waits))
        because = (*because, "RL-3", "RL-4")
        return logs, decision(before, longest, because, allowed=False, retry_after_ms=waits[longest])
    after = [view.admit(call.cost, call.request_id) for view in before]
    for view in after:
        logs = with_log(logs, view.log)
    return logs, decision(after, scarcest(after), (*because, "RL-8"), allowed=True)


def is_duplicate(before: list[View], request_id: str | None) -> bool:
    """RL-7: a request id that is still counted somewhere was admitted already."""
    return request_id is not None and any(a.request_id == request_id for view in before for a in view.counted(view.time_ms))


def decision(
    candidates: list[View], binding: int, because: tuple[str, ...], *, allowed: bool, retry_after_ms: int = 0
) -> Decision:
    """The reply about the binding limit."""
    view = candidates[binding]
    return Decision(
        allowed=allowed,
        binding=binding,
        limit=view.effective(view.time_ms),
        remaining=view.remaining(),
        retry_after_ms=retry_after_ms,
        reset_after_ms=view.reset_after(),
        now_ms=view.now_ms,
        because=because,
    )


def peek(logs: Logs, call: Peek) -> tuple[Logs, Usage]:
    """RL-14: reads without consuming."""
    seen = views(logs, call.limits, call.region, call.now_ms)
    view = seen[binding := scarcest(seen)]
    return logs, Usage(
        binding=binding,
        limit=view.effective(view.time_ms),
        remaining=view.remaining(),
        reset_after_ms=view.reset_after(),
        now_ms=call.now_ms,
        because=(*deciding_rules(logs, seen, call), "RL-14"),
    )


def reset(logs: Logs, call: Reset) -> tuple[Logs, Done]:
    """RL-14: the logs of these limits are forgotten, and with them their time."""
    for limit in call.limits:
        logs = with_log(logs, Log(limit.window_ms))
    return logs, Done()


def deciding_rules(logs: Logs, before: list[View], call: Acquire | Peek) -> tuple[str, ...]:
    """Which rules this call puts to the test, the most specific first: where a reply differs, the first is to blame."""
    cost = call.cost if isinstance(call, Acquire) else 1
    windows = {view.limit.window_ms for view in before}
    tests = {
        "RL-7": isinstance(call, Acquire) and call.request_id is not None,
        "RL-5": any(view.now_ms < view.time_ms for view in before),
        "RL-6": any(view.is_cold(view.time_ms) and cost > view.effective(view.time_ms) for view in before)
        or any(log.window_ms not in windows for log in logs),
        "RL-9": any(view.region is not None for view in before),
        "RL-15": len(before) > 1,
        "RL-1": any(a.at_ms == view.time_ms - view.limit.window_ms for view in before for a in view.log.admissions),
    }
    return tuple(rule for rule, met in tests.items() if met)


def misuse(call: Call) -> Misuse | None:
    """RL-6, RL-16, CM-7: what is wrong with a call that no state could ever answer."""
    if not is_name(call.name):
        return Misuse("name", ("CM-7", "RL-16"))
    for limit in call.limits:
        if not is_integer(limit.limit, 1):
            return Misuse("limit")
        if not is_integer(limit.window_ms, 1):
            return Misuse("window_ms")
    if not call.limits or len({limit.window_ms for limit in call.limits}) < len(call.limits):
        return Misuse("limits")
    if isinstance(call, Acquire):
        if not is_integer(call.cost, 1, min(limit.limit for limit in call.limits)):
            return Misuse("cost", ("RL-6", "RL-16"))
        if call.request_id is not None and not is_name(call.request_id):
            return Misuse("request_id", ("CM-7", "RL-16"))
    return None


def is_idempotent(call: Call) -> bool:
    """CM-4: may the same call be sent again after an ambiguous error?"""
    return isinstance(call, Peek) or (isinstance(call, Acquire) and call.request_id is not None)


def step(logs: Logs, call: Call) -> tuple[Logs, Reply]:
    """One operation on the logs of one name."""
    if wrong := misuse(call):
        return logs, wrong
    match call:
        case Acquire():
            return acquire(logs, call)
        case Peek():
            return peek(logs, call)
        case Reset():
            return reset(logs, call)


# ---------------------------------------------------------------------------------------------- life and death


def life_ms(log: Log, now_ms: int) -> int:
    """RL-8: how long a log must be kept, counted from now: until its newest admission stops counting."""
    return 0 if log.newest_ms is None else max(0, log.newest_ms + log.window_ms - now_ms)


def stored_most(limit: int) -> int:
    """RL-8: the most entries that may be stored of a log, dead ones included, once it was written under this limit."""
    return limit + limit // 4 + 64
