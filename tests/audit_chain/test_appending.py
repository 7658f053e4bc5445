"""Appending: each event ends as appended, not appended or unknown, and is in the chain at most once, whatever is lost."""

import copy
import logging
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import pytest
import redis

from redstep import audit_chain_appending as appending
from redstep.audit_chain import SERVER_ORDER, Chain, Head, Kind, seal
from redstep.audit_chain_appending import Appended, Appending, Item, Memory
from redstep.audit_chain_encoding import linked, stored
from redstep.audit_chain_errors import AppendFailed, AppendUnknown, Conflict, NotAppended, Regress, Sealed
from redstep.audit_chain_sending import GaveUp
from redstep.driving import Run
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable, UnexpectedReply
from redstep.wishes import CallScript
from redstep_check.engines import Engine
from redstep_spec.delivery import Fate

from .support import (
    EVENT,
    LongDriver,
    append_raw,
    begun,
    executed,
    head_text,
    made,
    other_writer,
    plant,
    raw,
    records_in,
)

FATES = (Fate.DELIVERED, Fate.REPLY_LOST, Fate.NOT_SENT, Fate.FLUSHED)
LOST, REFUSED = Fate.REPLY_LOST, Fate.NOT_SENT


def write(
    driver: LongDriver, chain: Chain, fates: Sequence[Fate] = (), memory: Memory | None = None
) -> tuple[Appended | AppendFailed, Appending]:
    """Append one event as a client does; return what came of it, and how it stood at its end."""
    under_way = Appending((Item(driver.draw_bytes(16), EVENT),))
    [outcome] = driver.run(appending.outcomes(chain, memory or Memory(), under_way), fates)
    return outcome, under_way


def first_fates(*fates: Fate) -> tuple[Fate, ...]:
    """The fates of a new writer's append: before it, he reads where the chain ends."""
    return (Fate.DELIVERED, *fates)


def times(client: redis.Redis, chain: Chain, append_id: bytes) -> int:
    """How often an append is in the chain."""
    return sum(each.append_id == append_id for each in records_in(client, chain))


SCHEDULES = [*product(FATES, repeat=2), *((Fate.DELIVERED, *later) for later in product(FATES, repeat=3))]
"""Of the first read and the append after it, and of up to three attempts of an append; what comes later is delivered."""


@pytest.mark.parametrize("fates", SCHEDULES, ids=lambda fates: "".join(each.name[0] for each in fates))
def test_exactly_once_whatever_becomes_of_the_attempts(
    engine: Engine, client: redis.Redis, chain: Chain, fates: tuple[Fate, ...]
) -> None:
    """Lost replies, refused connections and forgotten scripts before any attempt, at the first event and at a later one.

    Then every command that was executed arrives a second time, in any order.
    """
    driver = LongDriver(engine)
    memory = Memory()
    for _ in range(2):
        outcome, under_way = write(driver, chain, fates, memory)
        append_id = under_way.items[0].append_id
        found = times(client, chain, append_id)
        match outcome:
            case Appended(seq, its_hash):
                [record] = [each for each in records_in(client, chain) if each.append_id == append_id]
                assert (record.seq, record.hash.hex()) == (seq, its_hash)
            case NotAppended():
                assert found == 0
            case AppendUnknown():
                assert found in (0, 1)
                [settled] = driver.run(appending.settle(chain, memory, under_way))
                assert times(client, chain, append_id) == 1
                assert records_in(client, chain)[settled.seq].append_id == append_id
    before = raw(client, chain)
    for request in (*driver.executions, *reversed(driver.executions)):
        executed(client, request)
    assert raw(client, chain) == before


@pytest.mark.parametrize("between", range(2, 5))
@pytest.mark.parametrize(
    "later", [*product((LOST, REFUSED, Fate.DELIVERED), repeat=2)], ids=lambda f: "".join(e.name[0] for e in f)
)
def test_exactly_once_while_another_appends(
    engine: Engine, client: redis.Redis, chain: Chain, later: tuple[Fate, ...], between: int
) -> None:
    """Somebody else comes first between any two attempts."""
    other = other_writer(engine, chain)
    driver = LongDriver(engine, before=lambda number: number == between and other.append())
    outcome, under_way = write(driver, chain, first_fates(LOST, *later))
    found = times(client, chain, under_way.items[0].append_id)
    assert found == isinstance(outcome, Appended) or isinstance(outcome, AppendUnknown)
    for request in driver.executions:
        executed(client, request)
    assert times(client, chain, under_way.items[0].append_id) == found


def test_a_definite_refusal_after_an_ambiguous_attempt_is_not_definite(engine: Engine, client: redis.Redis) -> None:
    """It says nothing of the attempt before: it is asked again until the deadline, then the outcome is unknown."""
    chain = Chain(name="orders", deadline_ms=200)
    driver = LongDriver(engine)
    outcome, under_way = write(driver, chain, (Fate.DELIVERED, LOST, *[REFUSED] * 1000))
    assert isinstance(outcome, AppendUnknown)
    assert isinstance(outcome.cause, Unavailable)
    assert outcome.cause.definite
    assert driver.client_ms == 200
    assert times(client, chain, under_way.items[0].append_id) == 1


def test_a_definite_refusal_is_told_at_once(engine: Engine, client: redis.Redis, chain: Chain) -> None:
    """When no attempt is ambiguous; nothing was sent, and no time passes."""
    driver = LongDriver(engine)
    outcome, _ = write(driver, chain, (REFUSED,))
    assert isinstance(outcome, NotAppended)
    assert driver.client_ms == 0
    assert raw(client, chain).records == ()


def test_a_deadline_of_nothing_means_that_nothing_is_sent_again(engine: Engine) -> None:
    """The first ambiguous error is the end."""
    driver = LongDriver(engine)
    outcome, _ = write(driver, Chain(name="orders", deadline_ms=0), (Fate.DELIVERED, LOST))
    assert isinstance(outcome, AppendUnknown)
    assert len(driver.executions) == 2


def test_conflicts_have_a_budget_of_their_own(engine: Engine, client: redis.Redis) -> None:
    """Three retries by default, each after a longer wait; then it is certain that the event is not in the chain."""
    chain = Chain(name="orders")
    other = other_writer(engine, chain)
    pauses: list[int] = []

    def longest(least: int, most: int) -> int:
        assert 0 < least <= most
        pauses.append(most)
        return most

    driver = LongDriver(engine, before=lambda number: number > 1 and other.append(), draw_integer=longest)
    outcome, under_way = write(driver, chain)
    assert isinstance(outcome, NotAppended)
    assert isinstance(outcome.cause, Conflict)
    assert pauses == [4, 8, 16]
    assert driver.client_ms == sum(pauses)
    assert times(client, chain, under_way.items[0].append_id) == 0
    assert len(records_in(client, chain)) == 4


def test_waits_do_not_grow_for_ever(engine: Engine) -> None:
    """However often others come first, and however long the store is silent."""
    chain = Chain(name="orders", conflict_retries=12, deadline_ms=10_000)
    other = other_writer(engine, chain)
    pauses: list[int] = []

    def longest(_least: int, most: int) -> int:
        pauses.append(most)
        return most

    write(LongDriver(engine, before=lambda number: number > 1 and other.append(), draw_integer=longest), chain)
    assert max(pauses) == 256
    pauses.clear()
    write(LongDriver(engine, draw_integer=longest), chain, (Fate.DELIVERED, *[LOST] * 100))
    assert max(pauses) == 512


def test_lost_replies_use_up_no_retries_of_conflicts(engine: Engine) -> None:
    """Nor the other way round: a conflict, and then lost replies for as long as the deadline allows."""
    chain = Chain(name="orders", conflict_retries=1)
    other = other_writer(engine, chain)
    driver = LongDriver(engine, before=lambda number: number == 2 and other.append())
    outcome, _ = write(driver, chain, (Fate.DELIVERED, *[LOST] * 6))
    assert isinstance(outcome, Appended)
    assert outcome.seq == 1


def test_an_ambiguous_append_is_never_linked_anew(engine: Engine, chain: Chain) -> None:
    """All attempts are the same bytes until the answer is there."""
    driver = LongDriver(engine)
    write(driver, chain, first_fates(LOST, REFUSED, LOST, REFUSED, LOST))
    sent = [request for request in driver.executions if request.script.name.startswith("audit_chain_append")]
    assert len(sent) >= 3
    assert all(request == sent[0] for request in sent)


def test_two_writers_with_equal_events_make_two_records(engine: Engine, client: redis.Redis, chain: Chain) -> None:
    """At one head, at one moment: their append ids tell them apart."""
    other = other_writer(engine, chain)
    driver = LongDriver(engine, before=lambda number: number == 2 and other.append())
    outcome, _ = write(driver, chain, first_fates(LOST))
    assert isinstance(outcome, Appended)
    records = records_in(client, chain)
    assert [record.event for record in records] == [EVENT, EVENT]
    assert len({record.append_id for record in records}) == 2


def test_equal_events_with_one_append_id_are_one_record(client: redis.Redis) -> None:
    """So a repetition finds itself."""
    chain = Chain(name="orders")
    [record] = made(chain, 1)
    assert [append_raw(client, chain, [record])[0] for _ in range(2)] == [Kind.APPENDED, Kind.ALREADY]
    assert len(records_in(client, chain)) == 1


def test_a_whole_batch_is_found_again_or_none_of_it(client: redis.Redis) -> None:
    """The last record of a batch tells for all of them; others may have come after."""
    chain = Chain(name="orders")
    batch = made(chain, 3)
    assert append_raw(client, chain, batch)[0] is Kind.APPENDED
    later = linked(chain.chain_id, 3, batch[-1].hash, b"l" * 16, EVENT)
    assert append_raw(client, chain, [later])[0] is Kind.APPENDED
    before = raw(client, chain)
    assert append_raw(client, chain, batch)[0] is Kind.ALREADY
    assert append_raw(client, chain, batch[1:])[0] is Kind.ALREADY
    other = made(chain, 3, event=b"2")
    assert append_raw(client, chain, other)[0] is Kind.MISMATCH
    assert raw(client, chain) == before


def test_appends_across_a_byte_of_the_seq(engine: Engine, client: redis.Redis) -> None:
    """The engine's quick way and its thorough one agree where a seq's last byte wraps."""
    chain = Chain(name="orders")
    begun(client, chain, 250)
    driver, memory = LongDriver(engine), Memory()
    assert [write(driver, chain, memory=memory)[0].seq for _ in range(12)] == list(range(250, 262))  # type: ignore[union-attr]
    assert len(records_in(client, chain)) == 262


# ---------------------------------------------------------------------------------------------- sealed


def sealing(client: redis.Redis, chain: Chain) -> Callable[[], object]:
    """Seal all but the newest record."""

    def now() -> object:
        end = int((raw(client, chain).head or b"0").split()[0])
        return executed(client, seal(chain, end - 1, 1))

    return now


def test_an_append_that_was_sealed_before_its_outcome_was_known_is_unknown(
    engine: Engine, client: redis.Redis, chain: Chain
) -> None:
    """It was appended, its reply was lost, others came after, and then it was sealed: it can't be told, nor appended again."""
    other, seal_now = other_writer(engine, chain), sealing(client, chain)

    def before(number: int) -> None:
        if number == 3:
            other.append()
            other.append()
            seal_now()

    driver = LongDriver(engine, before=before)
    outcome, under_way = write(driver, chain, first_fates(LOST))
    assert isinstance(outcome, AppendUnknown)
    assert isinstance(outcome.cause, Sealed)
    sent = len(driver.executions)
    with pytest.raises(GaveUp):
        driver.run(appending.settle(chain, Memory(), under_way))
    assert len(driver.executions) == sent + 1, "it is asked once more, and not linked anew"


def test_a_writer_that_slept_through_a_seal_is_told_and_goes_on(engine: Engine, client: redis.Redis, chain: Chain) -> None:
    """No attempt of his was ambiguous, so that the refusal is definite."""
    driver, memory = LongDriver(engine), Memory()
    write(driver, chain, memory=memory)
    other = other_writer(engine, chain)
    other.append()
    other.append()
    sealing(client, chain)()
    outcome, _ = write(driver, chain, memory=memory)
    assert isinstance(outcome, Appended)
    assert outcome.seq == 3


def test_a_new_writer_begins_at_a_chain_that_was_sealed(engine: Engine, client: redis.Redis, chain: Chain) -> None:
    """Whatever he knows of it, which is nothing."""
    other = other_writer(engine, chain)
    for _ in range(3):
        other.append()
    sealing(client, chain)()
    outcome, _ = write(LongDriver(engine), chain)
    assert isinstance(outcome, Appended)
    assert outcome.seq == 3


class Swallowing(LongDriver):
    """The first append is lost on its way, and never executed."""

    swallowed = False

    def attempt(self, request: CallScript) -> object:
        """Lose it, or let it through."""
        if not self.swallowed and request.script.name.startswith("audit_chain_append"):
            self.swallowed = True
            raise Unavailable("the request was lost", definite=False)
        return super().attempt(request)


def test_a_new_writer_knows_that_an_append_lost_on_its_way_was_not_sealed(
    engine: Engine, client: redis.Redis, chain: Chain
) -> None:
    """It read the end first, beyond all that was sealed then: the resend is appended, and is no unknown outcome."""
    other = other_writer(engine, chain)
    for _ in range(3):
        other.append()
    sealing(client, chain)()
    driver = Swallowing(engine)
    outcome, _ = write(driver, chain)
    assert driver.swallowed
    assert isinstance(outcome, Appended)
    assert outcome.seq == 3


# ---------------------------------------------------------------------------------------------- what was lost


@pytest.mark.parametrize("left", range(3))
@pytest.mark.parametrize("go_on", [False, True])
def test_a_writer_that_sees_its_records_lost_stops(
    engine: Engine, client: redis.Redis, chain: Chain, left: int, go_on: bool
) -> None:
    """A failover lost the tail, and perhaps others went on: nothing is linked on silently, now or later, in any mode."""
    driver, memory = LongDriver(engine), Memory()
    for _ in range(3):
        write(driver, chain, memory=memory)
    begun(client, chain, left) if left else client.delete(*chain.keys)
    if go_on:
        for _ in range(3):
            other_writer(engine, chain).append(b"2")
    before = raw(client, chain)
    for fates in ((), (LOST,), ()):
        outcome, _ = write(driver, chain, fates, memory)
        assert isinstance(outcome, NotAppended)
        assert isinstance(outcome.cause, Regress)
        assert raw(client, chain) == before
    outcome, _ = write(driver, chain)
    assert isinstance(outcome, Appended), "a new writer goes on"


@pytest.mark.parametrize("longer", range(3))
def test_a_writer_that_sees_its_records_replaced_stops(engine: Engine, client: redis.Redis, chain: Chain, longer: int) -> None:
    """The chain is as long as he knew it, or longer, but another: whoever made it, and however often he asks."""
    driver, memory = LongDriver(engine), Memory()
    for _ in range(3):
        write(driver, chain, memory=memory)
    client.delete(*chain.keys)
    begun(client, chain, 3)
    for _ in range(longer):
        other_writer(engine, chain).append()
    before = raw(client, chain)
    for _ in range(2):
        outcome, _ = write(driver, chain, memory=memory)
        assert isinstance(outcome, NotAppended)
        assert isinstance(outcome.cause, Regress)
        assert raw(client, chain) == before


def test_an_end_that_is_far_back_is_found(engine: Engine, client: redis.Redis, chain: Chain) -> None:
    """By a writer that slept while others appended; and that it is in the middle of a batch does not matter."""
    driver, memory = LongDriver(engine), Memory()
    write(driver, chain, memory=memory)
    records = records_in(client, chain)
    others = made(chain, 400, first=1, previous=records[0].hash)
    append_raw(client, chain, others)
    outcome, _ = write(driver, chain, memory=memory)
    assert isinstance(outcome, Appended)
    assert outcome.seq == 401
    assert len(records_in(client, chain)) == 402


@pytest.mark.parametrize("known", [False, True])
def test_an_answer_that_is_read_late_makes_nobody_forget(
    engine: Engine, client: redis.Redis, chain: Chain, known: bool
) -> None:
    """Two threads of one writer: the store answers the one first, who reads it last. Then the newest record is lost."""
    driver, memory = LongDriver(engine), Memory()
    if known:
        write(driver, chain, memory=memory)
    slow = Run(appending.settle(chain, memory, Appending((Item(b"s" * 16, EVENT),))))
    assert slow.wish
    late = driver.outcome(slow.wish)
    outcome, _ = write(driver, chain, memory=memory)
    assert isinstance(outcome, Appended)
    slow.feed(late)
    assert memory.head
    assert memory.head.next_seq == outcome.seq + 1
    records = records_in(client, chain)[:-1]
    plant(client, chain, [stored(each) for each in records], head_text(records) if records else None)
    outcome, _ = write(driver, chain, memory=memory)
    assert isinstance(outcome, NotAppended)
    assert isinstance(outcome.cause, Regress)


def test_a_memory_learns_only_what_is_newer() -> None:
    """A later end, or the same end of which more is sealed; not another hash at an end that is known."""
    memory = Memory()
    known, other = "1" * 64, "2" * 64
    assert memory.learn(Head(5, 2, known)) == Head(5, 2, known)
    for older in (Head(4, 3, other), Head(5, 1, known), Head(5, 4, other), Head(0, 0, other)):
        assert memory.learn(older) == Head(5, 2, known)
    for newer in (Head(5, 3, known), Head(6, 0, other)):
        assert memory.learn(newer) == memory.head == newer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_forked_process_has_a_memory_of_its_own() -> None:
    """It knows what its parent knew, and does not wait for a thread of the parent's that was just learning."""
    memory = Memory(Head(5, 2, "1" * 64))
    with memory._lock:
        child = os.fork()
        if not child:
            signal.alarm(20)  # ends one that waits for ever
            os._exit(memory.learn(Head(4, 2, "2" * 64)).next_seq)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 5
    assert memory.learn(Head(6, 2, "3" * 64)).next_seq == 6


# ---------------------------------------------------------------------------------------------- errors


def pickled(error: AppendFailed) -> AppendFailed:
    """What comes out of a pickle that it was put into."""
    again: AppendFailed = pickle.loads(pickle.dumps(error))  # noqa: S301  it is our own
    return again


class Answering(LongDriver):
    """Appends are answered by something else."""

    def __init__(self, engine: Engine, answer: Any) -> None:
        super().__init__(engine)
        self.answer = answer

    def attempt(self, request: CallScript) -> object:
        """Answer, or raise."""
        if request.script.name == "audit_chain_read":
            return super().attempt(request)
        self.executions.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (Unavailable("refused", definite=True), NotAppended),
        (ServiceOverloaded("no connection"), NotAppended),
        (Corrupt("the head"), NotAppended),
        (Misuse("record", "was refused by the script"), NotAppended),
        (Unavailable("lost", definite=False), AppendUnknown),
        (UnexpectedReply("what?"), AppendUnknown),
        ([1], AppendUnknown),
        ([9, 0, 0, 0, b"0" * 64], AppendUnknown),
        ([9, 0, 0, b"0" * 64], AppendUnknown),
        ([1, 1, 0, b"x"], AppendUnknown),
        (b"OK", AppendUnknown),
    ],
)
def test_every_error_becomes_one_of_two_that_carry_the_event(
    engine: Engine, chain: Chain, answer: object, verdict: type[AppendFailed]
) -> None:
    """What the store says definitely executed nothing; what nobody understands may have."""
    outcome, under_way = write(Answering(engine, answer), chain)
    assert isinstance(outcome, AppendFailed)
    assert type(outcome) is verdict
    assert (outcome.event, outcome.append_id) == (EVENT, under_way.items[0].append_id)
    assert outcome.__cause__ is outcome.cause
    if isinstance(answer, Exception):
        assert outcome.cause is answer
    again = pickled(outcome)
    assert (type(again), again.event, again.append_id, str(again)) == (verdict, EVENT, outcome.append_id, str(outcome))
    assert type(again.cause) is type(outcome.cause)


@pytest.mark.parametrize("again", [pickled, copy.copy, copy.deepcopy])
def test_an_error_that_is_copied_tells_of_all_events(engine: Engine, again: Callable[[AppendFailed], AppendFailed]) -> None:
    """By a pickle or otherwise: of each that failed together, its event, its id and its cause; and notes come with it."""
    items = tuple(Item(bytes([number]) * 16, b"%d" % number) for number in range(3))
    protocol = appending.append_items(Chain(name="orders", mode="batch"), Memory(), items)
    with pytest.raises(NotAppended) as caught:
        LongDriver(engine).run(protocol, (REFUSED,))
    caught.value.add_note("seen")
    copied = again(caught.value)
    assert [(each.append_id, each.event) for each in copied.together] == [(each.append_id, each.event) for each in items]
    assert [str(each) for each in copied.together] == [str(each) for each in caught.value.together]
    assert all(isinstance(each.cause, Unavailable) for each in copied.together)
    assert copied.__notes__ == ["seen"]


def test_an_overload_after_an_ambiguous_attempt_is_waited_out(engine: Engine) -> None:
    """That no connection is free says nothing of the attempt before."""
    chain = Chain(name="orders")
    driver = LongDriver(engine)

    def overloaded(number: int) -> None:
        if number == 3:
            raise ServiceOverloaded("no connection")

    driver.before = overloaded
    outcome, _ = write(driver, chain, (Fate.DELIVERED, LOST))
    assert isinstance(outcome, Appended)
    assert driver.attempts == 4


def test_exhausting_a_budget_is_critical(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """And an error that is definite at once is told, but is no alarm; the event itself is in no log."""
    chain = Chain(name="orders", deadline_ms=10)
    levels = []
    for fates in ((REFUSED,), (Fate.DELIVERED, *[LOST] * 100)):
        caplog.clear()
        write(LongDriver(engine), chain, fates)
        [said] = caplog.records
        assert "'orders'" in said.getMessage()
        assert EVENT.decode() not in said.getMessage()
        levels.append(said.levelno)
    assert levels == [logging.ERROR, logging.CRITICAL]


def test_no_reply_to_the_first_read_is_no_doubt_about_the_append(engine: Engine, client: redis.Redis) -> None:
    """It executed nothing: lost replies are asked again, and what fails then is definite."""
    chain = Chain(name="orders", deadline_ms=100)
    outcome, _ = write(LongDriver(engine), chain, (LOST, LOST))
    assert isinstance(outcome, Appended)
    for fates in ([LOST] * 100, (LOST, REFUSED)):
        outcome, _ = write(LongDriver(engine), chain, fates)
        assert isinstance(outcome, NotAppended)
    assert len(records_in(client, chain)) == 1


# ---------------------------------------------------------------------------------------------- modes


def test_the_modes_make_byte_identical_chains(server: Any, server_client: redis.Redis) -> None:
    """For the same order of events and append ids; one batch, or one by one."""
    events = [b"1", b'"\xc3\xa9"', b'{"a":[1,2]}', b"1", b"x" * 3000]
    stored = []
    for mode in ("cas", "batch", SERVER_ORDER):
        chain = Chain(name="orders", mode=mode)
        driver, memory = LongDriver(server), Memory()
        items = [Item(bytes([number]) * 16, event) for number, event in enumerate(events)]
        groups = [tuple(items)] if mode == "batch" else [(item,) for item in items]
        for group in groups:
            driver.run(appending.settle(chain, memory, Appending(group)))
        stored.append(raw(server_client, chain))
        server_client.delete(*chain.keys)
    assert {(each.records, each.head) for each in stored} == {(stored[0].records, stored[0].head)}
    assert [len(each.ids) for each in stored] == [0, 0, len(events)]


@pytest.mark.parametrize("name", ["a", "caf\u00e9", "x" * 512, "\U0001f600" * 100], ids=len)
def test_the_engine_hashes_as_python_does(server: Any, server_client: redis.Redis, name: str) -> None:
    """For chain ids of every length: SHA-256 of one block up to ten."""
    for size in (*range(1, 70), len(name.encode())):
        chain = Chain(name=name.encode()[:size].decode(errors="ignore") or "b", mode=SERVER_ORDER)
        server_client.delete(*chain.keys)
        driver, memory = LongDriver(server), Memory()
        for _ in range(2):
            assert isinstance(write(driver, chain, memory=memory)[0], Appended)
        records_in(server_client, chain)


def drawn(number: int, size: int) -> bytes:
    """Bytes of one value."""
    return bytes([number]) * size


def test_the_modes_share_one_chain(server: Any, server_client: redis.Redis) -> None:
    """Writers of different modes take turns."""
    chains = [Chain(name="orders", mode=mode) for mode in ("cas", "batch", SERVER_ORDER)]
    pairs = [(LongDriver(server), chain, Memory()) for chain in chains]
    for turn in range(4):
        for number, (driver, chain, memory) in enumerate(pairs):
            driver.draw_bytes = partial(drawn, 3 * turn + number)
            outcome, _ = write(driver, chain, memory=memory)
            assert isinstance(outcome, Appended)
            assert outcome.seq == 3 * turn + number
    assert len(records_in(server_client, chains[0])) == 12
