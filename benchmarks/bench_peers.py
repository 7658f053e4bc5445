"""PF-1, peers: what a decision costs the server and the client, of the libraries that services use today."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from conftest import Extent
from measuring import Rounds, Server
from peers import PEERS, On, Peer
from reporting import Row

LIMIT = 1_000
CALLS = 100
RULE = f"PF-1 peers, L = {LIMIT:,} a day, a call at a time: server time of "
ENGINES_CLOCK_AND_EXACT = "exact, engine's clock"


def test_decisions(server: Server, url: str, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """A denial on a full key and an admission on a fresh one, by every limiter in turn."""
    if not extent.peers:
        pytest.skip("--quick leaves the peers out")
    rounds, on, denying, bytes_each = Rounds(), dict[Peer, On](), dict[Peer, Callable[[], bool]](), dict[Peer, float]()

    def one_round() -> None:
        number = rounds.count
        for peer in on:
            fresh = on[peer](f"fresh:{label(peer)}:{number}")
            assert fresh(), "the first call may have to load a script"
            for what, acquire, expected in (("admission", fresh, True), ("denial", denying[peer], False)):
                block = server.measured(lambda acquire=acquire: [[acquire()] for _ in range(CALLS)], CALLS)
                assert block.replies == [[expected]] * CALLS
                rounds.add(f"{label(peer)} {what}", block.server_us)
                rounds.add(f"{label(peer)} {what} wall", block.wall_us)

    with ExitStack() as stack:
        for peer in PEERS:
            try:
                on[peer] = stack.enter_context(peer.opened(url, LIMIT))
                before = set(server.client.keys())
                denying[peer] = on[peer](f"full:{label(peer)}")
                assert [denying[peer]() for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
                bytes_each[peer] = sum(map(server.bytes_of, set(server.client.keys()) - before)) / LIMIT
                assert server.round_trips(denying[peer]) == 1
            except Exception as reason:  # noqa: BLE001  a peer that cannot run is skipped, whatever its reason
                on.pop(peer, None)
                found(Row(f"{RULE}a denial", None, "", label(peer), f"{type(reason).__name__}: {reason}"))
        benchmark.pedantic(one_round, rounds=extent.rounds // 2, warmup_rounds=1)

    ours = label(PEERS[0])
    for what in ("denial", "admission"):
        for peer in on:
            subject = f"{label(peer)} {what}"
            us, wall = rounds.median(subject), rounds.median(f"{subject} wall")
            detail = f"{us:.2f} µs, client {wall:.0f} µs, {bytes_each[peer]:.0f} bytes an entry; {nature(peer)}"
            found(Row(f"{RULE}{'a denial' if what == 'denial' else 'an admission'}", rounds.ratio(subject, f"{ours} {what}"), f"x {ours}", label(peer), detail))


def label(peer: Peer) -> str:
    """What a peer is called."""
    return f"{peer.name} {peer.algorithm.rpartition('(')[2].rstrip(')')}" if peer.name == "throttled-py" else peer.name


def nature(peer: Peer) -> str:
    """What a peer is."""
    return f"{'exact' if peer.exact else 'approximate or other rule'}, {peer.clock}'s clock, {peer.algorithm}"
