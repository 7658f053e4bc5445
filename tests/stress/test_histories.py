"""Histories: what clients wrote down, put together; and how much of it happened at the same time."""

from collections.abc import Sequence
from typing import Any

import pytest

from redstep_check.binding import Answer, Answered
from redstep_check.linearizability import Completion, Event, Illegal, Invocation, Legal, Model, Undecided, check
from redstep_check.stress.binding import Said, Tongue
from redstep_check.stress.histories import overlap, parts, requests_as_history
from redstep_check.stress.judging import Tally, judge, searched, verdict_of
from redstep_check.stress.logs import ANSWERED, LOST, REFUSED, REPLIED, UNKNOWN, Asked, Began, Ended, Entry, Heard
from redstep_check.stress.registry import RATE_LIMITER
from redstep_check.targets.stressed.rate_limiter import LIMIT
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Failed, Replied, Unknown

KEY = b"prefix:{a}"


class Plain(Tongue):
    """A limiter's requests: the time and the cost; and replies: whether it was admitted."""

    def understood(self, script: str, keys: Sequence[bytes], args: Sequence[Any]) -> spec.Acquire:
        """An acquire."""
        del script, keys
        return spec.Acquire(name="a", limits=(LIMIT,), now_ms=args[0], cost=args[1])

    def read(self, call: object, reply: list[int]) -> Answer:
        """Yes or no."""
        del call
        return Answered({"allowed": bool(reply[0])})

    def key(self, redis_key: bytes) -> str:
        """What stands between its braces."""
        return redis_key.decode().partition("{")[2].rstrip("}")

    def close(self) -> None:
        """Nothing to close."""


def asked(at: int, lane: str, operation: str = "", *, now_ms: int = 1_000, cost: int = 1, key: bytes = KEY) -> Asked:
    """A request is sent."""
    return Asked(at, lane, operation, "sha", [key], [now_ms, cost])


def heard(at: int, lane: str, *reply: int) -> Heard:
    """And answered."""
    return Heard(at, lane, REPLIED, list(reply))


def test_requests_belong_to_their_operations_and_keys() -> None:
    """In order; and what was not heard is unknown."""
    written: list[Entry] = [
        Began(1, "p1", "p1/1", "a", {"do": "acquire"}),
        asked(2, "p1.1", "p1/1"),
        Heard(3, "p1.1", REFUSED, "NoScriptError: No matching script."),
        asked(4, "p1.1", "p1/1"),
        heard(5, "p1.1", 1),
        Ended(6, "p1", "p1/1", ANSWERED, {"allowed": True}),
        asked(7, "p2.1", key=b"prefix:{b}"),
        Heard(8, "p2.1", LOST, None),
    ]
    found = parts(written, Plain())
    assert set(found) == {"a", "b"}
    [operation] = found["a"].operations
    assert (operation.began_at, operation.ended_at, operation.outcome) == (1, 6, ANSWERED)
    assert [each.outcome for each in operation.requests] == [Failed(), Replied(Said({"allowed": True}))]
    assert [each.outcome for each in found["b"].requests] == [Unknown()]
    assert requests_as_history(found["b"])[-1] == Completion(8, "p2.1", Unknown())


def test_what_a_killed_process_was_at_stays_open() -> None:
    """Its request has no completion, its operation no end; and it may explain what others were answered, or not."""
    killed: list[Entry] = [
        Began(1, "p1", "p1/1", "a", {"do": "acquire"}),
        asked(2, "p1.1", "p1/1", cost=LIMIT.limit),
    ]
    found = parts([*killed, asked(3, "p2.1"), heard(4, "p2.1", 0)], Plain())["a"]
    [operation] = found.operations
    assert (operation.ended_at, operation.outcome) == (None, UNKNOWN)
    assert [each for each in requests_as_history(found) if each.client == "p1.1"] == [
        Invocation(2, "p1.1", found.requests[0].call)
    ]
    assert isinstance(searched(RATE_LIMITER, found), Legal)  # it took all
    without = parts([asked(3, "p2.1"), heard(4, "p2.1", 0)], Plain())["a"]
    assert isinstance(searched(RATE_LIMITER, without), Illegal)
    never = parts([*killed, asked(3, "p2.1"), heard(4, "p2.1", 1)], Plain())["a"]
    assert isinstance(searched(RATE_LIMITER, never), Legal)


def test_an_error_reply_is_what_no_step_answers() -> None:
    """The history is illegal, under the rule of what the specification would have answered."""
    written: list[Entry] = [asked(1, "p1.1"), Heard(2, "p1.1", REFUSED, "ResponseError: ECORRUPT key")]
    tally = Tally()
    judge(RATE_LIMITER, parts(written, Plain()), Plain(), tally, in_full=True)
    assert tally.broken is not None
    assert tally.broken.rule == "RL-2"
    assert "ECORRUPT" in tally.broken.problem


def test_two_requests_on_one_connection_are_refused() -> None:
    """Nobody can have left that behind."""
    with pytest.raises(ValueError, match="another is open"):
        parts([asked(1, "p1.1"), asked(2, "p1.1")], Plain())


def test_overlap_is_measured_and_what_was_lost_does_not_count() -> None:
    """One that is never heard of would overlap all that came after."""
    one_by_one = parts([asked(1, "p1.1"), heard(2, "p1.1", 1), asked(3, "p2.1"), heard(4, "p2.1", 1)], Plain())
    assert overlap(one_by_one).same_key == 0
    lost = parts([asked(1, "p1.1"), asked(3, "p2.1"), heard(4, "p2.1", 1)], Plain())
    assert overlap(lost).same_key == 0
    both = parts([asked(1, "p1.1"), asked(2, "p2.1"), heard(3, "p1.1", 1), heard(4, "p2.1", 1)], Plain())
    assert (overlap(both).same_key, overlap(both).most, overlap(both).mean) == (2, 1, 0.5)
    others: list[Entry] = [asked(1, "p1.1"), asked(2, "p2.1", key=b"prefix:{b}"), heard(3, "p1.1", 1), heard(4, "p2.1", 1)]
    assert (overlap(parts(others, Plain())).same_key, overlap(parts(others, Plain())).most) == (0, 1)


def sound() -> Tally:
    """A run that reached all it is about."""
    requests: list[Entry] = [
        Began(1, "p1", "p1/1", "a", {"do": "acquire"}),
        asked(2, "p1.1", "p1/1", cost=LIMIT.limit),
        asked(3, "p2.1"),
        heard(4, "p1.1", 1),
        heard(5, "p2.1", 0),
        Ended(6, "p1", "p1/1", ANSWERED, {}),
        asked(7, "p3.1"),
    ]
    tally = Tally()
    tally.note(RATE_LIMITER, parts(requests, Plain()))
    return tally


def test_a_run_that_reached_nothing_is_vacuous() -> None:
    """No overlap, no kill that hit, no answer, no denial: each is told; and what was given up is no pass."""
    assert verdict_of(RATE_LIMITER, "zset", sound(), kills=True) == ("holds", ())
    unhit = sound()
    unhit.lost = 0
    assert verdict_of(RATE_LIMITER, "zset", unhit, kills=False)[0] == "holds"
    assert verdict_of(RATE_LIMITER, "zset", unhit, kills=True) == ("vacuous", ("a kill that hits a request under way",))
    assert verdict_of(RATE_LIMITER, "zset", Tally(), kills=False)[0] == "vacuous"
    undecided = sound()
    undecided.undecided = 1
    assert verdict_of(RATE_LIMITER, "zset", undecided, kills=True)[0] == "undecided"


def test_a_search_that_is_given_up_is_undecided() -> None:
    """Neither legal nor illegal."""
    written = [asked(each, f"p{each}.1") for each in range(1, 9)] + [heard(20 + each, f"p{each}.1", 1) for each in range(1, 9)]
    assert isinstance(searched(RATE_LIMITER, parts(written, Plain())["a"], max_steps=3), Undecided)


def test_what_is_said_equals_whatever_says_the_same() -> None:
    """Field by field; a field that is not there is another."""
    model: Model[int, str, Said] = Model(init=0, step=lambda state, _: (state, Said({"allowed": True, "remaining": 1})))
    history: list[Event] = [Invocation(1, "A", "ask"), Completion(2, "A", Replied(Said({"allowed": True, "remaining": 1})))]
    assert check(model, history)
    _, reply = spec.step(spec.INITIAL, spec.Acquire(name="a", limits=(LIMIT,), now_ms=1))
    assert reply == Said({"allowed": True})
    assert reply != Said({"allowed": False})
    assert reply != Said({"admitted": True})
