"""
The specification is attacked itself: each rule by examples made by hand, and all of them by an oracle that tries everything.

The oracle knows no formula. It keeps every admission for ever, counts by going through all of them, and finds each wait by
trying one millisecond after the other.
"""

import unicodedata
from itertools import product

import pytest
from attrs import evolve, field, frozen, mutable
from hypothesis import example, given, settings
from hypothesis import strategies as st

from redstep_spec.arguments import MAX_BYTES, MAX_INTEGER, Misuse, is_integer, is_name
from redstep_spec.delivery import Failed, Fate, Replied, Unknown, deliver, rules_met
from redstep_spec.rate_limiter import (
    INITIAL,
    Acquire,
    Admission,
    Call,
    Decision,
    Done,
    Limit,
    Log,
    Logs,
    Peek,
    Region,
    Reply,
    Reset,
    Usage,
    is_idempotent,
    life_ms,
    log_of,
    step,
    stored_most,
    tally,
)

LOST, NOT_SENT, FLUSHED, DELIVERED = Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED, Fate.DELIVERED


def limit_of(limit: int, window_ms: int) -> Limit:
    """So much in so many ms."""
    return Limit(limit=limit, window_ms=window_ms)


@mutable
class Limiter:
    """One name under the specification, with its policy and its state."""

    limits: tuple[Limit, ...]
    region: Region | None = None
    logs: Logs = INITIAL

    def acquire(self, at_ms: int, cost: int = 1, request_id: str | None = None) -> Decision:
        """Make an acquire that is no misuse."""
        reply = self.make(
            Acquire(name="a", limits=self.limits, now_ms=at_ms, cost=cost, request_id=request_id, region=self.region)
        )
        assert isinstance(reply, Decision)
        return reply

    def peek(self, at_ms: int) -> Usage:
        """Make a peek."""
        reply = self.make(Peek(name="a", limits=self.limits, now_ms=at_ms, region=self.region))
        assert isinstance(reply, Usage)
        return reply

    def reset(self, at_ms: int) -> None:
        """Make a reset."""
        assert self.make(Reset(name="a", limits=self.limits, now_ms=at_ms)) == Done()

    def make(self, call: Call) -> Reply:
        """Make any call."""
        self.logs, reply = step(self.logs, call)
        return reply

    def log(self, window_ms: int = 10) -> Log:
        """The log of one window."""
        return log_of(self.logs, window_ms)

    def would_admit(self, at_ms: int, cost: int = 1, request_id: str | None = None) -> bool:
        """Ask without changing anything."""
        return evolve(self).acquire(at_ms, cost, request_id).allowed


def limiter(limit: int = 2, window_ms: int = 10, *, region: Region | None = None) -> Limiter:
    """One limit."""
    return Limiter((limit_of(limit, window_ms),), region)


def both(first: Limit, second: Limit, *, region: Region | None = None) -> Limiter:
    """Two limits."""
    return Limiter((first, second), region)


# ---------------------------------------------------------------------------------------------- RL-1, RL-2, RL-3


@pytest.mark.parametrize("window_ms", [1, 2, 10, MAX_INTEGER])
def test_an_admission_that_is_exactly_w_old_does_not_count(window_ms: int) -> None:
    """RL-1: at t + W - 1 it counts, at t + W it does not."""
    one = limiter(1, window_ms)
    assert one.acquire(100).allowed
    assert not one.would_admit(100 + window_ms - 1)
    assert one.would_admit(100 + window_ms)


def test_the_last_unit_is_given_and_not_one_more() -> None:
    """RL-2: L are admitted and the next is denied."""
    three = limiter(3)
    assert [three.acquire(100).allowed for _ in range(4)] == [True, True, True, False]


def test_a_dear_call_does_not_take_what_a_cheap_one_may() -> None:
    """RL-2: a call is denied for its own cost alone; a cheaper one is still admitted, and pays its cost."""
    five = limiter(5)
    assert five.acquire(100, 3).remaining == 2
    assert not five.acquire(100, 3).allowed
    assert five.acquire(100, 2).remaining == 0


def test_the_time_at_the_beginning_of_time_is_a_time() -> None:
    """RL-1, RL-2: nothing is special about the instant 0."""
    one = limiter(1)
    assert one.acquire(0).allowed
    assert one.acquire(0).retry_after_ms == 10
    assert one.acquire(10).allowed


def test_a_denial_changes_nothing() -> None:
    """RL-3: however often it is repeated, the state is the same value, and the wait does not grow."""
    one = limiter(1)
    one.acquire(100)
    before = one.logs
    assert [one.acquire(105).retry_after_ms for _ in range(50)] == [5] * 50
    assert one.logs is before


def test_reset_after_is_the_wait_until_nothing_counts() -> None:
    """RL-2: it counts from the raw now, to the end of the newest admission."""
    two = limiter()
    assert two.acquire(100).reset_after_ms == 10
    assert two.acquire(104).reset_after_ms == 10
    assert two.acquire(105).reset_after_ms == 9
    assert two.peek(113).reset_after_ms == 1
    assert two.peek(114).reset_after_ms == 0


def test_of_an_empty_log_all_is_left() -> None:
    """RL-14: and there is nothing to wait for."""
    usage = limiter(7).peek(100)
    assert (usage.limit, usage.remaining, usage.reset_after_ms, usage.now_ms) == (7, 7, 0, 100)


# ---------------------------------------------------------------------------------------------- RL-4


def test_retry_after_waits_for_as_many_as_it_takes() -> None:
    """RL-4: a cost of 2 waits for two units to end, a cost of 1 for one, and a big unit may free more than is needed."""
    four = limiter(4)
    for at_ms, cost in ((100, 1), (102, 2), (105, 1)):
        assert four.acquire(at_ms, cost).allowed
    assert [four.acquire(106, cost).retry_after_ms for cost in (1, 2, 3, 4)] == [4, 6, 6, 9]


def test_retry_after_is_zero_when_admitted() -> None:
    """RL-4: there is nothing to wait for."""
    assert limiter().acquire(100).retry_after_ms == 0


def test_retry_after_is_counted_from_a_clock_that_is_behind() -> None:
    """RL-4, RL-5: from the raw now, not from the log's time."""
    one = limiter(1)
    one.acquire(100)
    assert one.acquire(40).retry_after_ms == 70
    assert not one.would_admit(109)
    assert one.would_admit(110)


def test_retry_after_ends_with_the_cold_start() -> None:
    """RL-4, RL-9: the whole limit makes room before any admission ends."""
    region = Region(start_ms=100, cold_ms=5)
    four = limiter(4, region=region)
    four.acquire(101, 2)
    assert four.acquire(102, 2).retry_after_ms == 3
    assert not four.would_admit(104, 2)
    assert four.would_admit(105, 2)


def test_retry_after_may_need_both_the_warmth_and_an_end() -> None:
    """RL-4, RL-9: warm at 105, but only at 111 has enough ended."""
    four = limiter(4, region=Region(start_ms=100, cold_ms=5))
    four.acquire(101, 2)
    assert four.acquire(102, 3).retry_after_ms == 9
    assert not four.would_admit(110, 3)
    assert four.would_admit(111, 3)


# ---------------------------------------------------------------------------------------------- RL-5


def test_a_clock_that_steps_back_frees_nothing() -> None:
    """RL-5: what counted before still counts, and an admission behind is stamped with the log's time."""
    two = limiter()
    two.acquire(100)
    assert two.acquire(50).remaining == 0
    assert [a.at_ms for a in two.log().admissions] == [100, 100]
    assert not two.would_admit(109)
    assert two.would_admit(110, 2)


def test_a_call_with_a_clock_ahead_destroys_nothing_that_counts() -> None:
    """RL-5: what it no longer counts itself was dead at its own time; what is still counted then, still counts later."""
    two = limiter()
    two.acquire(100)
    assert two.acquire(105).allowed
    assert not two.acquire(101).allowed
    ahead = limiter()
    ahead.acquire(100)
    assert ahead.acquire(1_000).allowed
    assert ahead.acquire(101).remaining == 0
    assert ahead.acquire(101).retry_after_ms == 909


def test_a_peek_with_a_clock_behind_sees_the_logs_time() -> None:
    """RL-5: peek is no way around it."""
    one = limiter(1)
    one.acquire(100)
    assert one.peek(20).remaining == 0
    assert one.peek(20).reset_after_ms == 90
    assert one.peek(20).now_ms == 20


def test_the_time_of_one_log_is_not_that_of_another() -> None:
    """RL-5: each window length of a name has its own newest stamp."""
    one = limiter(1)
    one.acquire(100)
    one.limits = (limit_of(1, 5),)
    assert one.acquire(30).allowed
    assert one.log(5).newest_ms == 30


# ---------------------------------------------------------------------------------------------- RL-6, RL-16, CM-7


@pytest.mark.parametrize("cost", [0, -1, 6, 1.0, 1.5, "3", True, None, MAX_INTEGER + 1])
def test_a_cost_that_no_state_could_admit_is_misuse(cost: object) -> None:
    """RL-6, RL-16: it is no denial, and the cost of the whole limit is a good one."""
    five = limiter(5)
    call = Acquire(name="a", limits=five.limits, now_ms=100, cost=cost)  # type: ignore[arg-type]
    assert five.make(call) == Misuse("cost")
    assert five.logs == INITIAL
    assert five.acquire(100, 5).allowed


def test_the_smallest_limit_bounds_the_cost() -> None:
    """RL-6, RL-15: a cost above any limit can never be admitted by all."""
    pair = both(limit_of(9, 10), limit_of(3, 20))
    assert pair.make(Acquire(name="a", limits=pair.limits, now_ms=100, cost=4)) == Misuse("cost")
    assert pair.acquire(100, 3).allowed


@pytest.mark.parametrize("number", [0, -1, 1.0, "3", True, None, MAX_INTEGER + 1])
def test_a_limit_and_a_window_are_integers_from_one_on(number: object) -> None:
    """RL-6: and the argument at fault is named."""
    bad: list[tuple[Limit, str]] = [
        (Limit(limit=number, window_ms=10), "limit"),  # type: ignore[arg-type]
        (Limit(limit=10, window_ms=number), "window_ms"),  # type: ignore[arg-type]
    ]
    for limit, argument in bad:
        for call in (Acquire, Peek, Reset):
            assert step(INITIAL, call(name="a", limits=(limit,), now_ms=1))[1] == Misuse(argument)


@pytest.mark.parametrize("limits", [(), (limit_of(1, 10), limit_of(2, 10))])
def test_limits_are_some_and_of_different_windows(limits: tuple[Limit, ...]) -> None:
    """RL-15, RL-16: two limits of one window would be one log charged twice."""
    assert step(INITIAL, Acquire(name="a", limits=limits, now_ms=1))[1] == Misuse("limits")


def test_a_misuse_changes_nothing_in_any_state() -> None:
    """RL-16: whatever the state, the answer is the same."""
    one = limiter(1)
    one.acquire(100)
    before = one.logs
    for bad in ({"name": ""}, {"cost": 2}, {"request_id": ""}, {"limits": ()}):
        call = evolve(Acquire(name="a", limits=one.limits, now_ms=100), **bad)
        [argument] = bad
        assert one.make(call) == Misuse(argument)
    assert one.logs is before


def test_a_cost_above_the_cold_limit_waits_for_the_warmth() -> None:
    """RL-6: it is a denial, whose wait is exact, although nothing was admitted yet."""
    ten = limiter(10, region=Region(start_ms=100, cold_ms=50))
    denied = ten.acquire(120, 6)
    assert (denied.allowed, denied.limit, denied.remaining, denied.retry_after_ms) == (False, 5, 5, 30)
    assert not ten.would_admit(149, 6)
    assert ten.would_admit(150, 6)


def test_a_lowered_limit_holds_at_once() -> None:
    """RL-6: what was admitted stays counted, nothing is left, and the wait is for as many as it takes."""
    one = limiter(5)
    for at_ms in (100, 101, 102, 103, 104):
        one.acquire(at_ms)
    one.limits = (limit_of(2, 10),)
    denied = one.acquire(105)
    assert (denied.limit, denied.remaining, denied.retry_after_ms) == (2, 0, 8)
    assert not one.would_admit(112)
    assert one.would_admit(113)


def test_a_raised_limit_holds_at_once() -> None:
    """RL-6: what is missing is given."""
    one = limiter(1)
    one.acquire(100)
    one.limits = (limit_of(3, 10),)
    assert one.acquire(100).remaining == 1


def test_another_window_starts_an_empty_log() -> None:
    """RL-6: and the old one is there when the window is changed back."""
    one = limiter(1)
    one.acquire(100)
    one.limits = (limit_of(1, 11),)
    assert one.acquire(100).allowed
    one.limits = (limit_of(1, 10),)
    assert not one.acquire(100).allowed


# ---------------------------------------------------------------------------------------------- RL-7


def test_the_same_request_is_charged_once_inside_its_window() -> None:
    """RL-7: its first cost stands, and it is admitted even when nothing is left."""
    two = limiter()
    assert two.acquire(100, 2, "x").remaining == 0
    before = two.logs
    assert two.acquire(109, 1, "x") == evolve(two.acquire(109, 2, "x"), because=())
    assert two.acquire(109, 1, "x").allowed
    assert two.logs is before
    assert not two.acquire(109, 1, "y").allowed


def test_the_same_request_is_new_after_its_window() -> None:
    """RL-7: exactly W later it is charged again, and for its new cost."""
    two = limiter()
    two.acquire(100, 1, "x")
    assert two.acquire(109, 2, "x").remaining == 1
    assert two.acquire(110, 2, "x").remaining == 0
    assert two.log().admissions == (Admission(110, 2, "x"),)


def test_a_denied_request_is_decided_anew() -> None:
    """RL-7, CM-4: a denial leaves no trace of its id."""
    one = limiter(1)
    one.acquire(100, 1, "x")
    assert not one.acquire(105, 1, "y").allowed
    assert one.acquire(110, 1, "y").allowed


def test_a_repeated_request_is_admitted_under_a_lowered_limit() -> None:
    """RL-7: it is looked up before anything is counted."""
    five = limiter(5)
    five.acquire(100, 5, "x")
    five.limits = (limit_of(1, 10),)
    again = five.acquire(101, 1, "x")
    assert (again.allowed, again.remaining, again.retry_after_ms) == (True, 0, 0)


def test_a_request_lives_as_long_as_any_of_its_limits_counts_it() -> None:
    """RL-7, RL-15: with windows of 10 and 20 ms it is met again at 119, and charged to neither."""
    pair = both(limit_of(1, 10), limit_of(5, 20))
    pair.acquire(100, 1, "x")
    before = pair.logs
    assert pair.acquire(119, 1, "x").allowed
    assert pair.logs is before
    pair.acquire(120, 1, "x")
    assert pair.log(20).admissions == (Admission(120, 1, "x"),)


def test_the_same_id_under_another_window_is_another_request() -> None:
    """RL-6, RL-7: logs of different windows know nothing of each other."""
    one = limiter(1)
    one.acquire(100, 1, "x")
    one.limits = (limit_of(3, 20),)
    assert one.acquire(100, 1, "x").remaining == 2


# ---------------------------------------------------------------------------------------------- RL-8, CM-3


def test_what_can_never_count_again_is_dropped_by_the_next_admission() -> None:
    """RL-8: and only by an admission."""
    two = limiter()
    two.acquire(100)
    two.acquire(105)
    two.peek(110)
    assert len(two.log().admissions) == 2
    two.acquire(110)
    assert [a.at_ms for a in two.log().admissions] == [105, 110]


def test_a_log_lives_until_its_newest_admission_ends() -> None:
    """RL-8: counted from the raw now; an empty one does not live at all."""
    two = limiter()
    assert life_ms(two.log(), 100) == 0
    two.acquire(100)
    two.acquire(105)
    assert [life_ms(two.log(), at_ms) for at_ms in (90, 105, 114, 115, 200)] == [25, 10, 1, 0, 0]


@pytest.mark.parametrize(("limit", "most"), [(1, 65), (3, 67), (4, 69), (100, 189), (100_000, 125_064)])
def test_no_more_is_stored_than_a_quarter_above_the_limit(limit: int, most: int) -> None:
    """RL-8: 1.25 L + 64, rounded down."""
    assert stored_most(limit) == most == int(1.25 * limit + 64)


def test_a_tally_merges_what_cannot_be_told_apart() -> None:
    """RL-2: two calls of one instant and one call of their cost leave the same; another id or instant does not."""
    log = Log(10, (Admission(5, 1), Admission(5, 2), Admission(5, 1, "x"), Admission(6, 1)))
    assert tally(log) == {(5, None): 3, (5, "x"): 1, (6, None): 1}


# ---------------------------------------------------------------------------------------------- RL-9


@pytest.mark.parametrize(("at_ms", "limit"), [(0, 5), (100, 5), (399, 5), (400, 10), (401, 10)])
def test_from_exactly_the_end_of_the_cold_start_on_the_whole_limit_holds(at_ms: int, limit: int) -> None:
    """RL-9: one millisecond before it does not; and a clock before the region's start sees a cold one."""
    assert limiter(10, region=Region(start_ms=100, cold_ms=300)).peek(at_ms).limit == limit


@pytest.mark.parametrize(
    ("limit", "percent", "cold"), [(10, 50, 5), (5, 50, 2), (1, 50, 1), (3, 33, 1), (7, 99, 6), (5, 0, 1), (5, 100, 5)]
)
def test_a_cold_limit_is_rounded_down_and_at_least_one(limit: int, percent: int, cold: int) -> None:
    """RL-9: max(1, floor(L * percent / 100))."""
    assert limiter(limit, region=Region(start_ms=0, percent=percent)).peek(0).limit == cold


def test_a_region_is_cold_for_five_minutes_by_half() -> None:
    """RL-9: the defaults."""
    assert Region(start_ms=7).warm_at_ms == 300_007
    assert Region(start_ms=7).percent == 50


@pytest.mark.parametrize("wrong", [{"start_ms": -1}, {"cold_ms": -1}, {"percent": -1}, {"percent": 101}])
def test_a_region_that_cannot_be_is_not_built(wrong: dict[str, int]) -> None:
    """RL-9: percent is one of 0 to 100, and no time is negative."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Region(**{"start_ms": 0, **wrong})


def test_a_log_ahead_of_the_warmth_is_warm() -> None:
    """RL-5, RL-9: its time is its newest stamp, for the cold start as for all else."""
    ten = limiter(10, region=Region(start_ms=100, cold_ms=50))
    ten.acquire(150)
    assert ten.acquire(120).limit == 10


# ---------------------------------------------------------------------------------------------- RL-14


def test_a_peek_takes_nothing() -> None:
    """RL-14: however often."""
    two = limiter()
    two.acquire(100)
    before = two.logs
    assert {two.peek(101).remaining for _ in range(20)} == {1}
    assert two.logs is before


def test_a_reset_forgets_the_admissions_their_ids_and_their_time() -> None:
    """RL-14: an acquire with an earlier clock is stamped with that clock."""
    one = limiter(1)
    one.acquire(100, 1, "x")
    one.reset(100)
    assert one.logs == INITIAL
    assert one.acquire(50, 1, "x").allowed
    assert one.log().newest_ms == 50


def test_a_reset_forgets_only_the_windows_it_names() -> None:
    """RL-14: the log of another window stays."""
    pair = both(limit_of(1, 10), limit_of(1, 20))
    pair.acquire(100)
    pair.limits = (limit_of(1, 10),)
    pair.reset(100)
    assert [log.window_ms for log in pair.logs] == [20]


# ---------------------------------------------------------------------------------------------- RL-15


def test_what_one_limit_denies_is_charged_to_none() -> None:
    """RL-15: the limit with room is as it was."""
    pair = both(limit_of(5, 10), limit_of(1, 20))
    pair.acquire(100)
    before = pair.logs
    assert not pair.acquire(101).allowed
    assert pair.logs is before


def test_when_denied_the_longest_wait_binds() -> None:
    """RL-15: and waiting for it is enough for all."""
    pair = both(limit_of(1, 10), limit_of(1, 20))
    pair.acquire(100)
    denied = pair.acquire(101)
    assert (denied.binding, denied.retry_after_ms) == (1, 19)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_when_two_wait_equally_long_the_first_given_binds(order: tuple[int, int]) -> None:
    """RL-15: both wait for the warmth."""
    limits = (limit_of(4, 10), limit_of(6, 20))
    pair = both(limits[order[0]], limits[order[1]], region=Region(start_ms=100, cold_ms=50))
    denied = pair.acquire(100, 4)
    assert (denied.binding, denied.retry_after_ms) == (0, 50)


@pytest.mark.parametrize(("first", "second", "binding"), [(3, 2, 1), (2, 3, 0), (2, 2, 0)])
def test_when_admitted_the_least_remaining_binds(first: int, second: int, binding: int) -> None:
    """RL-15: the first given on a tie; a peek speaks of the same one."""
    pair = both(limit_of(first, 10), limit_of(second, 20))
    assert pair.peek(100).binding == binding
    assert pair.acquire(100).binding == binding


def test_a_limit_that_admits_may_bind_after_an_admission_of_another() -> None:
    """RL-15: least remaining is counted after the call is charged."""
    pair = both(limit_of(3, 10), limit_of(4, 20))
    pair.acquire(100, 2)
    assert pair.acquire(115).binding == 1


# ---------------------------------------------------------------------------------------------- the oracle


@frozen
class Row:
    """One admission, kept for ever."""

    at_ms: int
    cost: int
    request_id: str | None


@mutable
class Oracle:
    """A limiter that knows no formula: it tries."""

    rows: dict[int, list[Row]] = field(factory=dict)

    def counted(self, window_ms: int, now_ms: int) -> list[Row]:
        """Go through all of them, at the later of now and the newest."""
        rows = self.rows.get(window_ms, [])
        time_ms = max([now_ms, *(row.at_ms for row in rows)])
        return [row for row in rows if time_ms - row.at_ms < window_ms]

    def in_force(self, limit: Limit, region: Region | None, now_ms: int) -> int:
        """Warm or cold, by the log's time."""
        time_ms = max([now_ms, *(row.at_ms for row in self.rows.get(limit.window_ms, []))])
        if region is None or time_ms - region.start_ms >= region.cold_ms:
            return limit.limit
        cold = [number for number in range(1, limit.limit + 1) if number * 100 <= limit.limit * region.percent]
        return max(cold, default=1)

    def admits(self, limit: Limit, region: Region | None, now_ms: int, cost: int) -> bool:
        """Does one limit alone admit?"""
        used = sum(row.cost for row in self.counted(limit.window_ms, now_ms))
        return not used + cost > self.in_force(limit, region, now_ms)

    def knows(self, call: Acquire) -> bool:
        """Was the request admitted before, and does it still count somewhere?"""
        ids = [row.request_id for limit in call.limits for row in self.counted(limit.window_ms, call.now_ms)]
        return call.request_id is not None and call.request_id in ids

    def wait(self, limit: Limit, call: Acquire) -> int:
        """Try every millisecond."""
        waits = range(1_000)
        return next(ms for ms in waits if self.admits(limit, call.region, call.now_ms + ms, call.cost))

    def left(self, limit: Limit, call: Acquire | Peek) -> int:
        """Try every cost."""
        costs = [cost for cost in range(1, limit.limit + 1) if self.admits(limit, call.region, call.now_ms, cost)]
        return max(costs, default=0)

    def quiet_after(self, limit: Limit, call: Acquire | Peek) -> int:
        """Try every millisecond until nothing counts."""
        return next(ms for ms in range(1_000) if not self.counted(limit.window_ms, call.now_ms + ms))

    def charge(self, call: Acquire) -> None:
        """Charge it to every limit, at the log's time."""
        for limit in call.limits:
            rows = self.rows.setdefault(limit.window_ms, [])
            rows.append(Row(max([call.now_ms, *(row.at_ms for row in rows)]), call.cost, call.request_id))

    def acquire(self, call: Acquire) -> Decision:
        """Decide, by trying."""
        waits = [self.wait(limit, call) for limit in call.limits]
        allowed = self.knows(call) or not any(waits)
        if allowed and not self.knows(call):
            self.charge(call)
        binding = self.scarcest(call) if allowed else min(i for i, wait in enumerate(waits) if wait == max(waits))
        limit = call.limits[binding]
        return Decision(
            allowed=allowed,
            binding=binding,
            limit=self.in_force(limit, call.region, call.now_ms),
            remaining=self.left(limit, call),
            retry_after_ms=0 if allowed else max(waits),
            reset_after_ms=self.quiet_after(limit, call),
            now_ms=call.now_ms,
            because=(),
        )

    def scarcest(self, call: Acquire | Peek) -> int:
        """The first of those with least left."""
        left = [self.left(limit, call) for limit in call.limits]
        return left.index(min(left))

    def peek(self, call: Peek) -> Usage:
        """Look, by trying."""
        binding = self.scarcest(call)
        limit = call.limits[binding]
        return Usage(
            binding=binding,
            limit=self.in_force(limit, call.region, call.now_ms),
            remaining=self.left(limit, call),
            reset_after_ms=self.quiet_after(limit, call),
            now_ms=call.now_ms,
            because=(),
        )

    def make(self, call: Call) -> Reply:
        """Make any call that is no misuse."""
        match call:
            case Acquire():
                return self.acquire(call)
            case Peek():
                return self.peek(call)
            case Reset():
                for limit in call.limits:
                    self.rows.pop(limit.window_ms, None)
                return Done()


WINDOWS = (1, 2, 3, 5, 8)
regions = st.none() | st.builds(
    Region, start_ms=st.integers(0, 20), cold_ms=st.integers(0, 25), percent=st.sampled_from((0, 34, 50, 99, 100))
)
several_limits = st.lists(
    st.builds(limit_of, st.integers(1, 6), st.sampled_from(WINDOWS)),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each.window_ms,
).map(tuple)


@st.composite
def some_calls(draw: st.DrawFn) -> list[Call]:
    """Calls of one name, close together, so that they meet; clocks step forward and back, limits change."""
    calls: list[Call] = []
    limits, now_ms = draw(several_limits), 20
    for _ in range(draw(st.integers(1, 25))):
        if draw(st.integers(0, 5)) == 0:
            limits = draw(several_limits)
        now_ms = max(0, now_ms + draw(st.sampled_from((0, 0, 1, 1, 2, 3, 7, -1, -2, -5))))
        kind = draw(st.sampled_from((Acquire, Acquire, Acquire, Acquire, Peek, Reset)))
        region = draw(regions)
        if kind is Acquire:
            cost = draw(st.integers(1, min(limit.limit for limit in limits)))
            request_id = draw(st.sampled_from((None, None, "x", "y")))
            calls.append(Acquire(name="a", limits=limits, now_ms=now_ms, cost=cost, request_id=request_id, region=region))
        elif kind is Peek:
            calls.append(Peek(name="a", limits=limits, now_ms=now_ms, region=region))
        else:
            calls.append(Reset(name="a", limits=limits, now_ms=now_ms))
    return calls


@settings(max_examples=400, deadline=None)
@given(some_calls())
def test_the_specification_agrees_with_the_oracle_that_tries(calls: list[Call]) -> None:
    """RL-1 to RL-9, RL-14, RL-15: every field of every reply, whatever was called before."""
    one, oracle = limiter(), Oracle()
    for call in calls:
        assert one.make(call) == oracle.make(call)


@settings(max_examples=200, deadline=None)
@given(some_calls())
def test_a_peek_sees_what_an_acquire_would(calls: list[Call]) -> None:
    """RL-14: what a peek says is left is admitted, and one more is not."""
    one = limiter()
    for call in calls:
        one.make(call)
        if isinstance(call, Reset):
            continue
        asked = Acquire(name="a", limits=call.limits, now_ms=call.now_ms, region=call.region)
        left = evolve(one).make(Peek(name="a", limits=call.limits, now_ms=call.now_ms, region=call.region))
        assert isinstance(left, Usage)
        for cost in range(1, min(limit.limit for limit in call.limits) + 1):
            answer = evolve(one).make(evolve(asked, cost=cost))
            assert isinstance(answer, Decision)
            assert answer.allowed == (cost <= left.remaining)


@settings(max_examples=200, deadline=None)
@given(some_calls())
def test_several_limits_decide_as_each_of_them_would(calls: list[Call]) -> None:
    """RL-15: without ids, the decision is the conjunction, the wait the longest, and what is stored the same."""
    one = limiter()
    for call in calls:
        before = one.logs
        one.make(call)
        if isinstance(call, Acquire):
            plain = evolve(call, request_id=None)
            after, decided = step(before, plain)
            singles = [step(before, evolve(plain, limits=(limit,))) for limit in call.limits]
            alone = [reply for _, reply in singles if isinstance(reply, Decision)]
            assert isinstance(decided, Decision)
            assert decided.allowed == all(each.allowed for each in alone)
            assert decided.retry_after_ms == max(each.retry_after_ms for each in alone)
            for limit, (logs, _) in zip(call.limits, singles, strict=True):
                window_ms = limit.window_ms
                assert log_of(after, window_ms) == log_of(logs if decided.allowed else before, window_ms)


@settings(max_examples=200, deadline=None)
@given(
    limit=st.integers(1, 5),
    window_ms=st.integers(1, 9),
    steps=st.lists(st.tuples(st.integers(-6, 9), st.integers(1, 5)), max_size=60),
)
def test_no_window_holds_more_than_the_limit(limit: int, window_ms: int, steps: list[tuple[int, int]]) -> None:
    """RL-2: of any two admissions, look at all that lie between them; counted in the order of n squared."""
    one, now_ms, admitted = limiter(limit, window_ms), 20, list[tuple[int, int]]()
    for by_ms, cost in steps:
        now_ms = max(0, now_ms + by_ms)
        if cost <= limit and one.acquire(now_ms, cost).allowed:
            admitted.append((log_of(one.logs, window_ms).admissions[-1].at_ms, cost))
    for since_ms, _ in admitted:
        assert sum(cost for at_ms, cost in admitted if since_ms <= at_ms < since_ms + window_ms) <= limit


def delayed(call: Call, by_ms: int) -> Call:
    """The same call later, in a region as much younger."""
    if isinstance(call, Acquire | Peek) and call.region is not None:
        region = evolve(call.region, start_ms=call.region.start_ms + by_ms)
        return evolve(call, now_ms=call.now_ms + by_ms, region=region)
    return evolve(call, now_ms=call.now_ms + by_ms)


@settings(max_examples=200, deadline=None)
@given(some_calls(), st.integers(1, 10**12))
def test_only_differences_of_time_matter(calls: list[Call], later_ms: int) -> None:
    """CM-2: the same story at another time has the same answers."""
    now, then = limiter(), limiter()
    for call in calls:
        mine, theirs = now.make(call), then.make(delayed(call, later_ms))
        if isinstance(mine, Decision | Usage):
            assert theirs == evolve(mine, now_ms=mine.now_ms + later_ms)


@settings(max_examples=200, deadline=None)
@given(some_calls(), st.integers(0, 30))
def test_what_is_dead_can_be_removed(calls: list[Call], later_ms: int) -> None:
    """CM-3: while clocks do not step back behind the removal, it changes no answer."""
    kept, collected = limiter(), limiter()
    for call in calls:
        assert kept.make(call) == collected.make(call)
    now_ms = max(call.now_ms for call in calls) + later_ms
    collected.logs = tuple(log for log in collected.logs if life_ms(log, now_ms) > 0)
    for call in calls:
        moved = evolve(call, now_ms=now_ms + call.now_ms)
        assert kept.make(moved) == collected.make(moved)


# ---------------------------------------------------------------------------------------------- CM-4: identity


@pytest.mark.parametrize(
    ("call", "idempotent"),
    [
        (Acquire(name="a", limits=(limit_of(1, 10),), now_ms=1), False),
        (Acquire(name="a", limits=(limit_of(1, 10),), now_ms=1, request_id="x"), True),
        (Peek(name="a", limits=(limit_of(1, 10),), now_ms=1), True),
        (Reset(name="a", limits=(limit_of(1, 10),), now_ms=1), False),
    ],
)
def test_what_carries_an_identity_may_be_sent_again(call: Call, idempotent: bool) -> None:
    """CM-4: and a peek, which changes nothing; a reset made again would forget what came between."""
    assert is_idempotent(call) is idempotent


@settings(max_examples=200, deadline=None)
@given(some_calls())
def test_what_is_idempotent_can_be_made_twice(calls: list[Call]) -> None:
    """CM-4: the second run gives the same verdict and changes nothing more."""
    one = limiter()
    for call in calls:
        first = one.make(call)
        if is_idempotent(call):
            before = one.logs
            again = one.make(call)
            assert one.logs == before
            assert getattr(again, "allowed", None) == getattr(first, "allowed", None)


# ---------------------------------------------------------------------------------------------- delivery


def executions(fates: tuple[Fate, ...], resends: int) -> tuple[int, object]:
    """How often a call was executed, and what the client may say."""
    return deliver(lambda count: (count + 1, "reply"), 0, fates, resends=resends)


EVERY_DELIVERY = [(fates, resends) for n in range(4) for fates in product(Fate, repeat=n) for resends in range(3)]


@pytest.mark.parametrize("resends", [0, 1, 2])
def test_a_call_is_executed_as_often_as_it_may_be_and_no_oftener(resends: int) -> None:
    """CM-4, CM-5: without a resend at most once, whatever its fates."""
    counts = [executions(fates, each)[0] for fates, each in EVERY_DELIVERY if each == resends]
    assert max(counts) == resends + 1
    assert min(counts) == 0


def test_an_error_is_definite_exactly_when_nothing_was_executed() -> None:
    """CM-9: over all fates of up to three attempts."""
    for fates, resends in EVERY_DELIVERY:
        count, outcome = executions(fates, resends)
        assert (outcome == Failed()) == (count == 0), (fates, resends)
        assert isinstance(outcome, Failed | Unknown | Replied)


def test_the_first_reply_that_arrives_ends_the_call() -> None:
    """CM-4: nothing is sent again once there is a reply, nor once the client knows that it was not sent."""
    for fates, resends in EVERY_DELIVERY:
        count, outcome = executions(fates, resends)
        lost = next((n for n, fate in enumerate(fates) if fate is not LOST), len(fates))
        expected = [resends + 1] if lost > resends else [lost, lost + 1]
        assert count in expected
        assert (outcome == Replied("reply")) == (lost <= resends and (*fates, DELIVERED)[lost] is not NOT_SENT)


def test_a_forgotten_script_is_not_noticed() -> None:
    """CM-6: it uses no resend up."""
    assert executions((FLUSHED,), 0) == (1, Replied("reply"))
    assert executions((LOST, FLUSHED), 1) == (2, Replied("reply"))


@pytest.mark.parametrize(
    ("fates", "resends", "rules"),
    [
        ((), 0, ()),
        ((DELIVERED, LOST), 1, ()),
        ((NOT_SENT,), 1, ("CM-9",)),
        ((FLUSHED,), 0, ("CM-6",)),
        ((LOST,), 1, ("CM-4", "CM-9")),
        ((LOST,), 0, ("CM-4", "CM-5", "CM-9")),
    ],
)
def test_fates_put_rules_to_the_test(fates: tuple[Fate, ...], resends: int, rules: tuple[str, ...]) -> None:
    """CM-4 to CM-9: only of what can be sent once is it a question whether it was repeated (CM-5)."""
    assert rules_met(fates, resends=resends) == rules


# ---------------------------------------------------------------------------------------------- arguments


@given(st.text(st.characters(codec=None), max_size=600))
@example("x" * MAX_BYTES)
@example("x" * (MAX_BYTES + 1))
@example("\u20ac" * 170 + "xx")
@example("\u20ac" * 171)
@example("\x7f")
@example("\x85")
@example("\u2028")
@example("\ud800")
def test_a_name_is_what_the_rule_says(text: str) -> None:
    """CM-7: 1 to 512 bytes of UTF-8, no control characters and no braces."""
    encoded = text.encode("utf-8", "surrogatepass")
    has_surrogate = any("\ud800" <= c <= "\udfff" for c in text)
    forbidden = any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "{}" for c in text)
    assert is_name(text) == (1 <= len(encoded) <= 512 and not has_surrogate and not forbidden)


@pytest.mark.parametrize("value", [None, b"a", 1, ["a"], ("a",)])
def test_what_is_no_text_is_no_name(value: object) -> None:
    """CM-7: bytes neither."""
    assert not is_name(value)


def test_two_names_that_look_alike_are_two() -> None:
    """CM-7: composed and decomposed are different bytes, and nobody makes them equal."""
    composed, decomposed = "é", unicodedata.normalize("NFD", "é")
    assert is_name(composed)
    assert is_name(decomposed)
    assert composed != decomposed


@pytest.mark.parametrize("value", [True, 1.0, "1", None, 0, 6, -1, 2**70])
def test_an_integer_is_an_int_within_bounds(value: object) -> None:
    """CM-8: True and 1.0 are none, though they are equal to one."""
    assert not is_integer(value, 1, 5)
    assert is_integer(1, 1, 5)
    assert is_integer(5, 1, 5)


def test_three_of_the_largest_can_be_added() -> None:
    """CM-8: below 2^53 a double counts exactly."""
    assert is_integer(MAX_INTEGER, 1)
    assert not is_integer(MAX_INTEGER + 1, 1)
    assert 3 * MAX_INTEGER < 2**53


def test_two_misuses_are_equal_when_they_name_the_same_argument() -> None:
    """RL-16: the rules behind it are no part of the reply."""
    assert Misuse("cost", ("RL-6",)) == Misuse("cost")
    assert Misuse("cost") != Misuse("name")
