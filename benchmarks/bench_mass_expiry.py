"""
PF-2: the first call after many entries have ended together, which in the naive sorted set stalls the whole server.

Two moments are looked at: when all entries but the newest have ended, so that the end of the dead must be found, and when
all have. Each round makes its call on a fresh copy of a full log. The instants are explicit; the time is the engine's.
"""

from collections.abc import Callable, Sequence
from typing import Any

from attrs import frozen

from measuring import Extent, Rounds, Server
from redstep import rate_limiter
from redstep_check.naive.rate_limiter import SCRIPT as NAIVE
from reporting import Row

WINDOW_MS = 10_000_000
START_MS = 1_000_000


@frozen
class Kind:
    """A way to keep a log."""

    name: str
    script: str
    arguments: Callable[[int, int], Sequence[int | str]]
    """Given the instant and the limit."""


KINDS = (
    Kind("packed", rate_limiter.PACKED_ACQUIRE.text, lambda at, limit: (at, 1, 0, WINDOW_MS, limit, limit)),
    Kind("zset", rate_limiter.ZSET_ACQUIRE.text, lambda at, limit: (at, 1, "", 0, WINDOW_MS, limit, limit)),
    Kind("naive sorted set", NAIVE, lambda at, limit: (at, WINDOW_MS, limit)),
)


def test_first_call(server: Server, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """The first call after all entries have ended, or all but one, costs what it costs and is admitted."""
    entries, rounds = extent.expiring, Rounds()
    newest = START_MS + entries - 1
    moments = {"but the newest": newest - 1 + WINDOW_MS, "": newest + WINDOW_MS}
    for kind in KINDS:
        calls = server.all_packed(kind.script, kind.name, [kind.arguments(START_MS + i, entries) for i in range(entries)])
        assert all(admitted(reply) for reply in server.send(calls))
        assert server.bytes_of(kind.name) > 8 * entries
        assert server.client.pttl(kind.name) > 0

    def one_round() -> None:
        for kind in KINDS:
            for moment, at in moments.items():
                server.client.copy(kind.name, "copy", replace=True)
                call = server.packed(kind.script, "copy", *kind.arguments(at, entries))
                block = server.block([call], 1)
                assert admitted(block.replies[0])
                assert server.client.pttl("copy") > 0
                rounds.add(f"{kind.name} {moment}", block.server_us / 1000)

    benchmark.pedantic(one_round, rounds=min(extent.rounds, 15))
    for kind in KINDS:
        for moment in moments:
            subject = f"{kind.name}, {entries:,} entries ended{moment and ', all ' + moment}"
            worst = f"worst {rounds.worst(f'{kind.name} {moment}'):.3g} ms"
            bound = 0.2 if kind.name == rate_limiter.PACKED else None
            found(Row("PF-2 first call after mass expiry", rounds.median(f"{kind.name} {moment}"), "ms", subject, worst, bound))


def admitted(reply: list[int] | int) -> bool:
    """Whether a call was admitted; the naive script says no more than that."""
    return (reply if isinstance(reply, int) else reply[0]) == 1
