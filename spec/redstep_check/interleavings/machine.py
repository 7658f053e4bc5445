"""
The machine: it draws the moves that a session makes, for any guard.

All choices are small integers, and 0 is the tamest: the client that waits longest, no fault, the first operation of the menu.
So what Hypothesis finds is simple already, and replays from its choices alone.
"""

import sys
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from redstep_check.interleavings.binding import Pauses
from redstep_check.interleavings.moves import Arrives, Begins, Fate, Goes, Settles
from redstep_check.interleavings.session import InterleavedSession
from redstep_check.interleavings.situations import fates

small = st.integers(0, 7)
near_ms = st.sampled_from((0, -1, 1))


class InterleavingMachine(RuleBasedStateMachine):
    """Draws moves; the session makes them."""

    def __init__(self, begin: Callable[[], InterleavedSession]) -> None:
        super().__init__()
        self.session = begin()
        self.now_ms = self.session.situation.now_ms
        self.menu = self.session.sequential.menu(self.session.target.features)

    # ------------------------------------------------------------------------------------------ who goes next

    @precondition(lambda self: self._idle())
    @rule(client=small, operation=small)
    def a_client_begins(self, client: int, operation: int) -> None:
        """Draws an operation."""
        self._begin(client, operation)

    @precondition(lambda self: len(self._idle()) > 1)
    @rule(operation=small, same=st.booleans())
    def all_idle_clients_begin(self, operation: int, same: bool) -> None:
        """With the same operation, or with different ones."""
        for number in range(len(self._idle())):
            self._begin(0, operation + (0 if same else number))

    @precondition(lambda self: bool(self.session.waiting))
    @rule(which=small)
    def a_client_goes_on(self, which: int) -> None:
        """Without a fault."""
        self._go(which, Fate.DELIVERED)

    @precondition(lambda self: bool(self.session.waiting))
    @rule(which=small, times=st.integers(1, 4))
    def a_client_runs_ahead(self, which: int, times: int) -> None:
        """The same client several times, or to the end of its operation."""
        client = self._waiting(which)
        for _ in range(times):
            if client in self.session.waiting:
                self.session.play(Goes(client, Fate.DELIVERED, self.now_ms))

    @precondition(lambda self: bool(self.session.waiting))
    @rule(which=small)
    def a_reply_is_held(self, which: int) -> None:
        """The request is executed, and the client will hear later."""
        self._go(which, Fate.HELD)

    @precondition(lambda self: bool(self._idle()))
    @rule(client=small, operation=small)
    def an_operation_runs_alone(self, client: int, operation: int) -> None:
        """From its beginning to its end, amid others that stand still."""
        number = self._begin(client, operation)
        while number in self.session.waiting:
            self.session.play(Goes(number, Fate.DELIVERED, self.now_ms))

    # ------------------------------------------------------------------------------------------ faults

    @precondition(lambda self: bool(self.session.waiting))
    @rule(which=small, fate=small)
    def a_fault_hits(self, which: int, fate: int) -> None:
        """One of those that can."""
        self._fault(which, fate)

    @precondition(lambda self: bool(self.session.waiting))
    @rule(which=small, fate=small)
    def a_fault_hits_a_held_reply(self, which: int, fate: int) -> None:
        """Between execution and delivery."""
        client = self._waiting(which)
        self._go(which, Fate.HELD)
        self._fault(self.session.waiting.index(client), fate)

    @precondition(lambda self: bool(self._idle()))
    @rule(
        operation=small,
        times=st.integers(0, 3),
        faults=st.lists(small, min_size=1, max_size=2),
        held=st.booleans(),
        later=st.booleans(),
    )
    def an_operation_runs_into_faults(self, operation: int, times: int, faults: list[int], held: bool, later: bool) -> None:
        """After so many steps; and once more, at the request after it. Perhaps something has ended before."""
        if later:
            self._jump(0, 0)
        number = self._begin(0, operation)
        for _ in range(times):
            if number in self.session.waiting:
                self.session.play(Goes(number, Fate.DELIVERED, self.now_ms))
        for fate in faults:
            if number in self.session.waiting:
                if held:
                    self._go(self.session.waiting.index(number), Fate.HELD)
                self._fault(self.session.waiting.index(number), fate)
            while isinstance(self.session.situation.clients[number].stop, Pauses):
                self.session.play(Goes(number, Fate.DELIVERED, self.now_ms))

    @precondition(lambda self: bool(self.session.situation.adrift))
    @rule(which=small)
    def a_late_request_arrives(self, which: int) -> None:
        """After its client has gone on."""
        self.session.play(Arrives(which % len(self.session.situation.adrift), self.now_ms))

    # ------------------------------------------------------------------------------------------ the clock

    @rule(ms=st.integers(1, 12))
    def time_passes(self, ms: int) -> None:
        """For whoever moves next."""
        self.now_ms += ms

    @rule(which=small, off_ms=near_ms)
    def something_ends(self, which: int, off_ms: int) -> None:
        """The clock goes on to an instant that matters, or to one beside it."""
        self._jump(which, off_ms)

    def _jump(self, which: int, off_ms: int) -> None:
        instants = sorted(self.session.sequential.instants_ms(self.session.situation.state))
        ahead = [each + off_ms for each in instants if each + off_ms > self.now_ms]
        if ahead:
            self.now_ms = ahead[min(which, len(ahead) - 1)]

    # ------------------------------------------------------------------------------------------ the end

    def teardown(self) -> None:
        """All go on to their ends, unless a Ctrl-C came amid a move: then half of one may have been made."""
        if self.session.mismatch is None and not isinstance(sys.exc_info()[1], KeyboardInterrupt):
            self.session.play(Settles(self.now_ms))

    # ------------------------------------------------------------------------------------------ helpers

    def _idle(self) -> list[int]:
        return [each.number for each in self.session.situation.clients if each.is_idle]

    def _begin(self, client: int, operation: int) -> int:
        idle = self._idle()
        number = idle[client % len(idle)]
        self.session.play(Begins(number, self.menu[operation % len(self.menu)], self.now_ms))
        return number

    def _waiting(self, which: int) -> int:
        return self.session.waiting[which % len(self.session.waiting)]

    def _go(self, which: int, fate: Fate) -> None:
        client = self._waiting(which)
        if fate in self._fates(client):
            self.session.play(Goes(client, fate, self.now_ms))

    def _fault(self, which: int, fate: int) -> None:
        client = self._waiting(which)
        faults = [each for each in self._fates(client) if each not in (Fate.DELIVERED, Fate.HELD)]
        self.session.play(Goes(client, faults[fate % len(faults)], self.now_ms))

    def _fates(self, client: int) -> tuple[Fate, ...]:
        return fates(self.session.situation.clients[client], can_flush=self.session.stage.target.can_flush)
