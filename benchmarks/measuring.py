"""
How things are measured here.

Server time is what the engine itself books for EVALSHA in `INFO commandstats`: read before and after a block of calls,
divided by their number. It has neither network nor client in it, and holds the whole of a script with all it calls.

A ratio is taken between blocks of one round, a moment apart, under the same load; the median over rounds is reported. So
a neighbour who takes the processor for a second spoils rounds, not results.

The yardsticks are scripts that do nothing: `null` answers one integer, `null6` six, called with the keys and arguments of
what they are held against. The floors do no more than what cannot be left out.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import redis
from attrs import frozen

from redstep_check.engines import Engine, open_listening

DAY_MS = 86_400_000
IN_FLIGHT = 100
"""How many calls a pipeline holds."""

NULL = "return 1"
NULL6 = "return {1,0,0,0,0,0}"
DENIAL_FLOOR = """
local time = redis.call('TIME')
local header = redis.call('GETRANGE', KEYS[1], 0, 55)
return {0, 0, #header, 0, 0, 0, time[1] * 1000}
"""
"""The engine's clock, one read, and a reply of seven integers: no denial that keeps its state in one string does less."""

ADMISSION_FLOOR = """
local time = redis.call('TIME')
local header = redis.call('GETRANGE', KEYS[1], 0, 55)
redis.call('SETRANGE', KEYS[1], 56, '0123456789abcdef')
redis.call('SETRANGE', KEYS[1], 0, header)
redis.call('PEXPIREAT', KEYS[1], time[1] * 1000 + 86400000)
return {1, 0, #header, 0, 0, 0, time[1] * 1000}
"""
"""Besides: a record and a header written, and a TTL."""


@frozen
class Extent:
    """How much to do."""

    rounds: int
    limits: tuple[int, ...]
    expiring: int
    """How many entries expire together."""

    peers: bool


FULL = Extent(rounds=60, limits=(100, 1_000, 100_000), expiring=100_000, peers=True)
QUICK = Extent(rounds=3, limits=(100, 1_000), expiring=2_000, peers=False)


@frozen
class Block:
    """What a block of calls cost, and what it answered."""

    server_us: float
    """Server time of one call, in microseconds."""

    wall_us: float
    """The client's time for one call, in microseconds."""

    replies: Sequence[list[int]]


class Server:
    """An engine, and the clock it keeps of its own work. Nobody else may use it meanwhile: calls are counted, and asserted."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_pool(redis.ConnectionPool.from_url(url))
        self._connection = self.client.connection_pool.get_connection()
        self.client.evalsha(self.client.script_load(NULL), 0)  # an engine tells nothing of a command never called

    def command(self, *words: str | int) -> bytes:
        """Return a command as it goes over the wire."""
        return b"".join(self._connection.pack_command(*words))

    def packed(self, script: str, key: str, *args: str | int) -> bytes:
        """Return a call of a script as it goes over the wire."""
        return self.command("EVALSHA", self.client.script_load(script), 1, key, *args)

    def all_packed(self, script: str, key: str, argument_lists: Sequence[Sequence[str | int]]) -> list[bytes]:
        """Return many calls of one script."""
        sha = self.client.script_load(script)
        return [self.command("EVALSHA", sha, 1, key, *args) for args in argument_lists]

    def send(self, calls: Sequence[bytes], in_flight: int = IN_FLIGHT) -> list[list[int]]:
        """Make calls, so many at a time; returns their replies."""
        replies = []
        for first in range(0, len(calls), in_flight):
            some = calls[first : first + in_flight]
            self._connection.send_packed_command([b"".join(some)])
            replies += [self._connection.read_response() for _ in some]
        return replies

    def block(self, calls: Sequence[bytes], in_flight: int) -> Block:
        """Make calls, so many at a time, and have them measured."""
        return self.measured(lambda: self.send(calls, in_flight), len(calls))

    def measured(self, work: Callable[[], Sequence[list[int]]], calls: int) -> Block:
        """Do what makes so many calls of scripts, and have them measured."""
        calls_before, us_before = self._booked()
        started = time.perf_counter()
        replies = work()
        wall_us = (time.perf_counter() - started) * 1e6
        calls_after, us_after = self._booked()
        assert calls_after - calls_before == calls, "somebody else called a script"
        return Block((us_after - us_before) / calls, wall_us / calls, replies)

    def round_trips(self, work: Callable[[], object]) -> int:
        """Count the reads from sockets that the engine needed: the round trips, when each call awaits its reply."""
        before = self.client.info("stats")["total_reads_processed"]
        work()
        return self.client.info("stats")["total_reads_processed"] - before - 1

    def bytes_of(self, key: str) -> int:
        """Return what a key takes, with all overhead that the engine knows of."""
        return int(self.client.memory_usage(key, samples=0) or 0)

    def close(self) -> None:
        """Close the connections."""
        self.client.connection_pool.release(self._connection)
        self.client.close()

    def _booked(self) -> tuple[int, int]:
        booked = self.client.info("commandstats")["cmdstat_evalsha"]
        return booked["calls"], booked["usec"]


@contextmanager
def open_loopback(name: str) -> Iterator[tuple[Engine, str]]:
    """Have a private engine that listens on the loopback interface; gives its URL too. Raises EngineUnavailable."""
    with open_listening(name) as (engine, (host, port)):
        yield engine, f"redis://{host}:{port}/0"


class Rounds:
    """What was measured in each round, by subject."""

    def __init__(self) -> None:
        self._of: dict[str, list[float]] = {}

    def add(self, subject: str, value: float) -> None:
        """Add what a round measured of a subject."""
        self._of.setdefault(subject, []).append(value)

    def median(self, subject: str) -> float:
        """Return the median of a subject."""
        return statistics.median(self._of[subject])

    def worst(self, subject: str) -> float:
        """Return the highest value of a subject."""
        return max(self._of[subject])

    @property
    def count(self) -> int:
        """How much has been measured of the subject with the most."""
        return max(map(len, self._of.values()), default=0)

    def ratio(self, subject: str, to: str) -> float:
        """Return the median of the ratios that the rounds found."""
        return statistics.median(one / other for one, other in zip(self._of[subject], self._of[to], strict=True))
