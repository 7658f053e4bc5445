"""
PF-1, peers: what a decision costs the server and the client, of the libraries that services use today.

Denials are on a full key, admissions on one that is half full or fuller.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from attrs import define, field

from measuring import Extent, Rounds, Server
from peers import OURS, PEERS, On, Peer
from reporting import Row

LIMIT = 1_000
CALLS = 100
RULE = f"PF-1 peers, L = {LIMIT:,} a day, a call at a time"


@define
class Subject:
    """A peer that is there, with a key that is full and one that is not yet."""

    peer: Peer
    on: On
    deny: Callable[[], bool]
    bytes_each: float
    admit: Callable[[], bool] = field(init=False)
    left: int = 0
    keys: int = 0

    @classmethod
    def ready(cls, peer: Peer, on: On, server: Server) -> "Subject":
        """Fill a key, and look at what that takes."""
        before = set(server.client.keys())
        deny = on(f"full:{peer.name}")
        assert [deny() for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]
        assert server.round_trips(deny) == 1
        return cls(peer, on, deny, sum(map(server.bytes_of, set(server.client.keys()) - before)) / LIMIT)

    def make_room(self) -> None:
        """See to it that some calls will be admitted."""
        if self.left < CALLS:
            self.keys, self.left = self.keys + 1, LIMIT // 2
            self.admit = self.on(f"filling:{self.peer.name}:{self.keys}")
            assert all(self.admit() for _ in range(LIMIT - self.left))
        self.left -= CALLS


def test_decisions(server: Server, url: str, extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """A denial and an admission by every limiter in turn; one round trip each, all of it one script."""
    if not extent.peers:
        pytest.skip("--quick leaves the peers out")
    rounds, subjects = Rounds(), list[Subject]()

    def one_round() -> None:
        for subject in subjects:
            subject.make_room()
            for what, call, allowed in (("denial", subject.deny, False), ("admission", subject.admit, True)):
                block = server.measured(lambda call=call: [[call()] for _ in range(CALLS)], CALLS)
                assert block.replies == [[allowed]] * CALLS
                rounds.add(f"{subject.peer.name} {what}", block.server_us)
                rounds.add(f"{subject.peer.name} {what}, client", block.wall_us)

    with ExitStack() as stack:
        for peer in PEERS:
            try:
                subjects.append(Subject.ready(peer, stack.enter_context(peer.opened(url, LIMIT)), server))
            except Exception as reason:  # noqa: BLE001  a peer that cannot run is skipped, whatever its reason
                found(Row(RULE, None, "", peer.name, f"{type(reason).__name__}: {reason}"))
        benchmark.pedantic(one_round, rounds=extent.rounds // 2, warmup_rounds=1)

    assert subjects[0].peer is OURS
    for what in ("denial", "admission"):
        for subject in subjects:
            found(row(rounds, subject, what))


def row(rounds: Rounds, subject: Subject, what: str) -> Row:
    """Return how redstep's server time compares with a peer's; the bound is for what is as exact, on the same clock."""
    peer, of_peer = subject.peer, f"{subject.peer.name} {what}"
    kind = f"{peer.algorithm}, {peer.clock}'s clock, {'exact' if peer.exact else 'not exact'}"
    times = f"{rounds.median(of_peer):.2f} µs, client {rounds.median(f'{of_peer}, client'):.0f} µs"
    bound = 1 if peer.is_foreign and peer.exact and peer.clock == "engine" else None
    detail = f"{times}; {subject.bytes_each:.3g} bytes an entry; {kind}"
    against = "" if peer is OURS else f" against {peer.name}"
    return Row(RULE, rounds.ratio(f"{OURS.name} {what}", of_peer), "x theirs", f"{what}, {OURS.name}{against}", detail, bound)
