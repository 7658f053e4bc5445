"""Timelines of schedules: each thing that can become of a client has a mark in its lane, and the difference is one of them."""

import pytest

from redstep_check.interleavings.binding import Who
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Move, Settles
from redstep_check.interleavings.telling import brief, tell_call, tell_sides, timeline
from redstep_check.interleavings.watching import Watched, clients_of, watch
from redstep_check.lockstep import Mismatch
from redstep_check.timelines import Sign, Timeline, page, text
from redstep_spec import audit_chain
from redstep_spec.audit_chain_encoding import genesis_hash

from .toy import Add, Counter, Get, InMemory, ReadThenWrite


class Flushing(InMemory):
    """Its scripts can be forgotten."""

    can_flush = True

    def flush(self) -> None:
        """They are none."""


def drawn(*moves: Move, target: InMemory | None = None) -> Timeline:
    """The timeline of a story; where nothing differs, of a difference that there was."""
    watched = watch(target or Flushing(), Counter(), moves)
    return timeline(Counter(), watched, Mismatch("RL-2", "value", 1, 2), title="a counter")


def lane(shown: Timeline, client: str) -> list[tuple[Sign, str]]:
    """The marks of a client."""
    return [(each.sign, each.text) for each in shown.marks if each.client == client and not each.is_wrong]


@pytest.mark.parametrize(
    ("fates", "signs"),
    [
        ((Fate.DELIVERED,), [(Sign.EXECUTED, "get → value 0")]),
        (
            (Fate.HELD, Fate.DELIVERED),
            [(Sign.EXECUTED, "get → value 0, and the reply is on its way"), (Sign.ARRIVED, "the reply arrives")],
        ),
        ((Fate.REPLY_LOST,), [(Sign.LOST, "get → value 0, and the reply is lost")]),
        (
            (Fate.HELD, Fate.REPLY_LOST),
            [(Sign.EXECUTED, "get → value 0, and the reply is on its way"), (Sign.LOST, "the reply is lost")],
        ),
        ((Fate.NOT_SENT,), [(Sign.NOT_SENT, "not sent, and the client can tell: get")]),
        ((Fate.ADRIFT,), [(Sign.ADRIFT, "sent, and given up on its way: get")]),
        ((Fate.TWICE,), [(Sign.TWICE, "twice: get → value 0, then value 0")]),
        ((Fate.FLUSHED,), [(Sign.FLUSHED, "the engine's scripts are flushed; get → value 0")]),
        (
            (Fate.CANCELLED,),
            [(Sign.CANCELLED, "cancelled before it was sent: get"), (Sign.CANCELLED, "the operation is interrupted")],
        ),
        (
            (Fate.ABANDONED,),
            [(Sign.ADRIFT, "sent, and cancelled on its way: get"), (Sign.CANCELLED, "the operation is interrupted")],
        ),
        ((Fate.CRASHED,), [(Sign.CRASHED, "crashes before it sends: get")]),
        (
            (Fate.HELD, Fate.CRASHED),
            [
                (Sign.EXECUTED, "get → value 0, and the reply is on its way"),
                (Sign.CRASHED, "crashes; nobody reads the reply"),
            ],
        ),
    ],
)
def test_what_becomes_of_a_request_is_marked(fates: tuple[Fate, ...], signs: list[tuple[Sign, str]]) -> None:
    """In the lane of its client."""
    shown = drawn(Begins(0, Get(), 1_000), *(Goes(0, fate, 1_000) for fate in fates))
    assert lane(shown, "client 0") == signs
    assert "client 0" in page(shown)


def test_the_store_has_a_lane_of_its_own() -> None:
    """Where its clock goes on, late requests arrive, and it is told that all go on in turn."""
    shown = drawn(
        Begins(0, Add(1), 1_000), Goes(0, Fate.ADRIFT, 1_000), Arrives(0, 1_005), Begins(1, Get(), 1_005), Settles(1_006)
    )
    assert lane(shown, "store") == [
        (Sign.CLOCK, "it is 1,000 ms"),
        (Sign.CLOCK, "it is 1,005 ms"),
        (Sign.EXECUTED, "the late request of client 0 arrives: add (amount 1) → value 1"),
        (Sign.CLOCK, "it is 1,006 ms"),
        (Sign.NOTED, "from here on all go on in turn, without a fault"),
    ]
    assert lane(shown, "client 1") == [(Sign.EXECUTED, "get → value 1")]


def test_the_execution_that_differs_is_marked() -> None:
    """Of two clients that read and then write, the second to write; both sides are told."""
    moves = (Begins(0, Add(1), 1_000), Begins(1, Add(2), 1_000), Settles(1_000))
    shown = drawn(*moves, target=ReadThenWrite())
    assert text(shown) == (
        "a counter\n"
        "RL-2 is broken: value: the specification says 3, the implementation 2\n"
        "A call is admitted if and only if what is counted and its cost stay within the effective limit.\n"
        "\n"
        " 1    +  store     it is 1,000 ms\n"
        " 2  ┌    client 0  add\n"
        " 3  │┌   client 1  add\n"
        " 4  ││▪  store     from here on all go on in turn, without a fault\n"
        " 5  ●│   client 0  get → value 0\n"
        " 6  │●   client 1  get → value 0\n"
        " 7  ●│   client 0  add (amount 1) → value 1\n"
        " 8  └│   client 0  add → value 1\n"
        " 9   ●   client 1  add (amount 2)\n"
        "10   ✗   client 1  RL-2: value: the specification says 3, the implementation 2\n"
    )
    assert [each.client for each in shown.marks if each.is_wrong] == ["client 1"]


def test_a_difference_that_does_not_show_again_says_so() -> None:
    """The one that was seen is told none the less."""
    shown = drawn(Begins(0, Get(), 1_000), Settles(1_000))
    [wrong] = [each for each in shown.marks if each.is_wrong]
    assert wrong.text == "played again, it does not show any more: RL-2: value: the specification says 1, the implementation 2"


def test_a_history_that_has_no_order_is_marked_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """No move of it is to blame."""

    def judged(*_: object) -> None:
        raise Mismatch("CK-5", "the history", "linearizable", "it is not")

    monkeypatch.setattr("redstep_check.interleavings.histories.History.judge", judged)
    [wrong] = [each for each in drawn(Begins(0, Get(), 1_000), Settles(1_000)).marks if each.is_wrong]
    assert wrong.client == "store"
    assert wrong.text.startswith("looked at as a whole: CK-5")


def test_a_story_of_many_clients_is_watched_with_all_of_them() -> None:
    """At least three, for schedules are drawn for so many."""
    assert clients_of((Begins(4, Get(), 0),)) == 5
    assert clients_of((Begins(0, Get(), 0), Settles(0))) == 3
    watched = watch(InMemory(), Counter(), (Begins(4, Get(), 1_000), Settles(1_000)))
    assert isinstance(watched, Watched)
    assert len(watched.moments) == 2


def test_long_values_are_told_briefly_unless_that_hides_the_difference() -> None:
    """Bytes by their first digits; both sides in full where these are the same."""
    chain, end = b"a", audit_chain.INITIAL.end("a")
    [record] = audit_chain.linked(end, "a", ((bytes(16), b"1"),))
    assert brief(genesis_hash(chain)) == f"{genesis_hash(chain).hex()[:8]}…"
    assert brief((record, b"short", "x" * 99, None)) == f"[record 0, short, {'x' * 8}…, None]"
    assert brief(Who(1, 2, Get())) == "operation 2 of client 1"
    assert tell_call(audit_chain.Append(name="a", records=(record,))) == "append (records [record 0])"
    assert tell_sides(Counter(), Mismatch("RL-2", "x", bytes(99), b"\x01" * 99)) == ("00000000…", "01010101…")
    long, longer = tell_sides(Counter(), Mismatch("RL-2", "x", bytes(99), bytes(100)))
    assert long != longer
