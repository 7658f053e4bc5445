"""Scripts are called as redis-py calls them; when the engine forgets them, that is a reply, and more may go wrong behind it."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
import redis.asyncio
from redis.exceptions import NoScriptError

from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Asks, Ends, Heard, Waits
from redstep_check.interleavings.exhaustive import Bounds
from redstep_check.interleavings.foreign.binding import Foreign
from redstep_check.interleavings.foreign.rate_limiter import Take
from redstep_check.interleavings.foreign.replaying import Reply
from redstep_check.interleavings.moves import Fate, Goes
from redstep_check.lockstep import Mismatch

from . import bound
from .probes import Driven, Probe

HOUR_S = 3_600


@pytest.fixture
def probe(engine: Engine) -> Iterator[Foreign]:
    """A target that runs what it is given."""
    target = Probe(engine)
    yield target
    target.close()


async def script(client: redis.asyncio.Redis, prefix: str) -> Any:
    """By redis-py's own Script."""
    return await client.register_script("return {KEYS[1], ARGV[1]}")(keys=[prefix], args=["x"])


async def script_in_a_pipeline(client: redis.asyncio.Redis, prefix: str) -> Any:
    """The same, in a pipeline."""
    registered = client.register_script("return {KEYS[1], ARGV[1]}")
    async with client.pipeline(transaction=True) as pipe:
        await registered(keys=[prefix], args=["x"], client=pipe)
        [result] = await pipe.execute()
        return result


async def by_text(client: redis.asyncio.Redis, prefix: str) -> Any:
    """EVAL."""
    return await client.eval("return {KEYS[1], ARGV[1]}", 1, prefix, "x")


async def by_sha(client: redis.asyncio.Redis, prefix: str) -> Any:
    """EVALSHA, with nothing that loads the script again."""
    sha = await client.script_load("return {KEYS[1], ARGV[1]}")
    return await client.evalsha(sha, 1, prefix, "x")


@pytest.mark.parametrize("work", [script, script_in_a_pipeline, by_text, by_sha])
def test_scripts_are_called_as_redis_py_calls_them(probe: Foreign, work: Any) -> None:
    """To load one is no stop, to call it is."""
    driven = Driven(probe, work)
    assert driven.to_the_end() == [probe.prefix.encode(), b"x"]
    assert len(driven.fed) == 1


def test_a_forgotten_script_is_loaded_and_called_again(probe: Foreign) -> None:
    """By redis-py, when it hears NOSCRIPT."""
    driven = Driven(probe, script).told(Heard.REPLY, flushed=True)
    assert driven.to_the_end() == [probe.prefix.encode(), b"x"]


def test_a_forgotten_script_that_nobody_loads_again_is_found(probe: Foreign) -> None:
    """Whoever calls it by SHA alone fails."""
    driven = Driven(probe, by_sha).told(Heard.REPLY, flushed=True)
    with pytest.raises(Mismatch, match="CM-6"):
        _ = driven.standing


# ---------------------------------------------------------------------------------------------- what is forgotten

TEXT = "return redis.call('INCR', KEYS[1])"


async def get(client: redis.asyncio.Redis, prefix: str) -> Any:
    """No script."""
    return await client.get(prefix)


async def around_a_script(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A transaction, of which a script is a part."""
    sha = await client.script_load(TEXT)
    async with client.pipeline(transaction=True) as pipe:
        pipe.incr(prefix + "a")
        pipe.evalsha(sha, 1, prefix + "b")
        return await pipe.execute()


async def known_within(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A transaction that brings its script along."""
    sha = await client.script_load(TEXT)
    async with client.pipeline(transaction=True) as pipe:
        pipe.eval(TEXT, 1, prefix + "b")
        pipe.evalsha(sha, 1, prefix + "b")
        return await pipe.execute()


async def twice_in_a_pipeline(client: redis.asyncio.Redis, prefix: str) -> Any:
    """A plain pipeline, and once more if its script was forgotten."""
    registered = client.register_script(TEXT)
    for _ in range(2):
        async with client.pipeline(transaction=False) as pipe:
            for key in "ab":
                pipe.get(prefix + key)
                await registered(keys=[prefix + key], client=pipe)
            try:
                return await pipe.execute()
            except NoScriptError:
                pass
    return None


@pytest.mark.parametrize(
    ("work", "matters"),
    [
        (get, False),
        (by_text, False),
        (known_within, False),
        (script, True),
        (script_in_a_pipeline, True),
        (around_a_script, True),
    ],
)
def test_a_flush_is_offered_where_it_makes_a_difference(probe: Foreign, work: Any, matters: bool) -> None:
    """To a call by SHA, that is, which is not preceded by its text."""
    standing = Driven(probe, work).standing
    assert isinstance(standing, Waits)
    assert isinstance(standing.stop, Asks)
    assert standing.stop.needs_script is matters


def test_a_flush_that_makes_no_difference_is_not_counted(engine: Engine) -> None:
    """Of three commands none is a script."""
    target = bound.Naive(engine)
    found = target.world("plain", Bounds(clients=1, operations=1, faults=1, ticks=0)).explore()
    target.close()
    assert found.exhausted
    assert Fate.REPLY_LOST.value in found.tally.faults
    assert Fate.FLUSHED.value not in found.tally.faults
    assert "flush" not in target.features


def test_noscript_is_a_reply_and_the_next_request_a_stop(probe: Foreign) -> None:
    """Others may come between; who heard it is not flushed again, as that is a gap of redis-py's own."""
    driven = Driven(probe, script).told(Heard.REPLY, flushed=True)
    standing = driven.standing
    assert isinstance(standing, Waits)
    assert isinstance(standing.stop, Asks)
    assert not standing.stop.needs_script
    assert driven.asked == [b"EVALSHA"]
    assert driven.told(Heard.LOST).standing != standing


def test_no_time_passes_between_a_reading_and_the_script_that_is_called_again(engine: Engine) -> None:
    """What heard NOSCRIPT was not executed; redis-py calls it again with the reading that it has."""
    target = bound.Script(engine)
    driven = Driven(target, Take()).told(Heard.REPLY, 1_000, flushed=True).told(Heard.REPLY, 1_005)
    assert isinstance(driven.standing, Ends)
    assert list(target.charged_ms()) == [1_005 * target.unit_ms]
    target.close()


def test_within_a_transaction_a_forgotten_script_alone_fails(probe: Foreign) -> None:
    """As an engine has it: the rest is executed; and NOSCRIPT reaches the caller, which is found."""
    driven = Driven(probe, around_a_script).told(Heard.REPLY, flushed=True)
    reply = Reply.of(driven.fed[-1].raw)
    commands = ((b"MULTI",), (b"INCR", probe.prefix.encode() + b"a"), (b"EVALSHA", b"0" * 40, b"0"), (b"EXEC",))
    expected = probe.store.exchange(commands)
    assert b"-NOSCRIPT" in expected
    assert reply.data == expected.replace(b":2\r\n", b":1\r\n")
    with pytest.raises(Mismatch, match=r"CM-6: what comes after NOSCRIPT is 'its end'"):
        _ = driven.standing


def test_in_a_plain_pipeline_a_forgotten_script_fails_until_it_is_loaded_again(probe: Foreign) -> None:
    """Each call of it; the other commands are executed, and the pipeline as a whole is sent once more."""
    driven = Driven(probe, twice_in_a_pipeline).told(Heard.REPLY).told(Heard.REPLY, flushed=True)
    assert driven.asked == [b"GET"]
    assert driven.to_the_end() == [None, 1, None, 1]
    assert len(driven.fed) == 3 + 4


@pytest.mark.parametrize(
    ("kind", "rule"), [(bound.Pipelined, "CM-6"), (bound.PipelinedTransaction, "CM-6"), (bound.PatientTransaction, None)]
)
def test_a_pipeline_that_a_flush_breaks_is_found(engine: Engine, kind: type[Foreign], rule: str | None) -> None:
    """redis-py loads its scripts before it, and lets NOSCRIPT pass; who then executes it anew is right."""
    target = kind(engine)
    found = target.world("plain", Bounds(clients=2, operations=1, faults=1, ticks=1)).explore()
    target.close()
    assert (found.mismatch.rule if found.mismatch else None) == rule, found.mismatch
    assert found.exhausted == (rule is None)


def test_what_goes_wrong_behind_noscript_is_found(engine: Engine) -> None:
    """A blind retry of the text: it takes a flush, and then a lost reply."""
    target = bound.RetryingFallback(engine)
    one = target.world("plain", Bounds(clients=1, operations=1, faults=1, ticks=0)).explore()
    two = target.world("plain", Bounds(clients=1, operations=1, faults=2, ticks=0)).explore()
    target.close()
    assert one.mismatch is None, one.mismatch
    assert one.exhausted
    assert two.mismatch is not None
    assert two.mismatch.rule == "CM-4"
    moves = [told.move for told in two.mismatch.story]
    assert [each.fate for each in moves if isinstance(each, Goes)][:1] == [Fate.FLUSHED]


# ---------------------------------------------------------------------------------------------- the time that they see


@pytest.mark.parametrize("name", ["'TI' .. 'ME'", "[[TIME]]", "ARGV[1]", "({'time'})[1]"])
def test_a_script_is_given_the_schedules_time_however_it_asks(probe: Foreign, name: str) -> None:
    """Its own arguments are as they were."""

    async def work(client: redis.asyncio.Redis, prefix: str) -> Any:
        return await client.eval(f"return {{redis.call({name})[1], #ARGV, ARGV[1]}}", 1, prefix, "TIME")

    assert Driven(probe, work).to_the_end(1_004) == [b"%d" % (1_004 * HOUR_S), 1, b"TIME"]
