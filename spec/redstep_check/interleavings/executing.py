"""
Executing: at every execution of a script the specification steps too, and both must agree there and then.

The engine is real, and takes requests one at a time. `Live` has it execute them in the order in which they come. `Recalled`
goes to and fro between states: it has the engine execute each request in each abstract state once, restoring what was stored
there, and remembers what came of it.
"""

from typing import Any

from attrs import define, field, frozen

from redstep_check.binding import Answer, Answered, Unreadable
from redstep_check.interleavings.binding import Concurrent, Glance, Raw, Sequential
from redstep_check.lockstep import Mismatch, compare
from redstep_spec.delivery import Replied


@frozen
class Executed:
    """One execution of a request, on which both sides agreed."""

    call: Any
    raw: Raw
    answer: Answer
    """What the script answered, by the names of the specification's reply fields."""
    reply: Any
    before: Any
    after: Any


@define
class Live:
    """Executes requests one after the other."""

    sequential: Sequential
    target: Concurrent
    executions: int = 0
    """How many the engine made."""

    def execute(self, state: Any, request: Any, now_ms: int, *, flushed: bool = False) -> Executed:
        """Execute a request on both sides. Raises Mismatch."""
        if flushed:
            self.target.flush()
        call = self.target.understood(request, now_ms)
        self.executions += 1
        raw = self.target.execute(request, now_ms)
        after, reply = self.sequential.stepped(state, call)
        answer = Answered({}) if isinstance(call, Glance) else self.target.read(call, raw)
        compare(Replied(reply), answer, ("CM-6",) if flushed else (), self.sequential.decided_of(reply))
        self._compare_stored(state, call, reply, after)
        return Executed(call, raw, answer, reply, state, after)

    def _compare_stored(self, state: Any, call: Any, reply: Any, after: Any) -> None:
        rule = "CM-1" if isinstance(call, Glance) else self.sequential.blame(state, call, reply)
        expected = self.sequential.abstracted(after)
        try:
            actual = self.target.seen().state
        except Unreadable as error:
            raise Mismatch(rule, "what is stored", "the documented form", str(error)) from error
        if actual != expected:
            raise Mismatch(rule, "what is stored", expected, actual)


@define
class Recalled(Live):
    """Executes each request once in each state, whatever the order in which it is asked to."""

    _saved: dict[Any, Any] = field(factory=dict)
    _known: dict[Any, Executed] = field(factory=dict)
    _at: Any = None
    """The state that the engine is in."""

    def begin(self, state: Any) -> None:
        """Take what is stored now as what stands for a state."""
        self._saved[state] = self.target.save()
        self._at = state

    def execute(self, state: Any, request: Any, now_ms: int, *, flushed: bool = False) -> Executed:
        """Execute a request on both sides, or remember what that came to. Raises Mismatch."""
        key = (state, request, now_ms, flushed)
        if (known := self._known.get(key)) is not None:
            return known
        if self._at != state:
            self.target.restore(self._saved[state])
        self._at = None
        executed = Live.execute(self, state, request, now_ms, flushed=flushed)
        if executed.after not in self._saved:
            self._saved[executed.after] = self.target.save()
        self._at = executed.after
        self._known[key] = executed
        return executed
