"""
The circuit breaker's terms: what it is made with, what it answers, and why it moves.

                     F failures in a row                     the timeout is over
        CLOSED ────────────────────────────▶ OPEN ────────────────────────────────────▶ HALF_OPEN ⟲ given up
           ▲                                   ▲                                           │   │
           │                                   └──────────────── a probe failed ───────────┘   │
           └───────────────────────── S successes in a row ────────────────────────────────────┘

Each arrow begins a new epoch. A call is made with a permit, which names the epoch and, in HALF_OPEN, the number of the probe;
a result whose permit is of an older epoch, or was counted already, changes nothing. In HALF_OPEN at most S calls are under way
or have succeeded. Those that never report are given up with the probe deadline, so nothing is refused for ever.

There are two breakers, and they answer alike: a local one, for the threads or tasks of one process, and a shared one, a hash
in Redis. A call's outcome is a success, a failure, or neutral: one that tells nothing of what is called.
"""

from enum import StrEnum

from attrs import frozen

from redstep.arguments import checked_integer


class State(StrEnum):
    """Whether calls are made."""

    CLOSED = "closed"
    """All are."""
    OPEN = "open"
    """None is, until the timeout is over."""
    HALF_OPEN = "half_open"
    """A few are, to see whether they succeed."""


class Outcome(StrEnum):
    """What a call tells of what was called."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"
    """Nothing: it was cancelled, or failed for reasons of its own."""


class Reason(StrEnum):
    """Why a breaker moved."""

    FAILURES = "failures"
    """So many calls failed, one after the other."""
    TIMEOUT = "timeout"
    """It had been open for long enough when a call was to be made."""
    PROBE_FAILED = "probe failed"
    PROBES_SUCCEEDED = "probes succeeded"
    PROBES_GIVEN_UP = "probes given up"
    """Probes did not report in time, and are waited for no longer."""
    FORCE_OPEN = "force_open"
    FORCE_CLOSE = "force_close"
    RESET = "reset"


INTERVENTIONS = {Reason.FORCE_OPEN: State.OPEN, Reason.FORCE_CLOSE: State.CLOSED, Reason.RESET: State.CLOSED}
"""The states that people can put a breaker into, whatever state it is in."""


@frozen(kw_only=True)
class Policy:
    """When a breaker opens, for how long, and when it closes again. Raises Misuse when one of them is no integer >= 1."""

    failure_threshold: int = 5
    """How many failures in a row open it."""
    success_threshold: int = 3
    """How many probes in a row must succeed to close it, and how many are under way at most."""
    open_ms: int = 30_000
    """How long it stays open, give or take a fifth; also how long it waits for the last probe that it let through."""

    def __attrs_post_init__(self) -> None:
        checked_integer("failure_threshold", self.failure_threshold, 1)
        checked_integer("success_threshold", self.success_threshold, 1)
        checked_integer("open_ms", self.open_ms, 1)

    @property
    def open_ms_least(self) -> int:
        """The shortest timeout: 80 %, rounded up."""
        return self.open_ms - self.open_ms // 5

    @property
    def open_ms_most(self) -> int:
        """The longest timeout: 120 %, rounded down."""
        return self.open_ms + self.open_ms // 5


@frozen
class Permit:
    """The leave to make one call."""

    epoch: int
    number: int
    """Of the probe, from 1; 0 in CLOSED, where permits are not counted."""


@frozen(kw_only=True)
class Move:
    """What every answer that may move a breaker tells: the state it is in now, and the one that this call made it leave."""

    state: State
    epoch: int
    left: State | None
    """None if this call did not move it."""
    now_ms: int
    """The time that this was decided by."""


@frozen(kw_only=True)
class Admission(Move):
    """The answer to an acquire."""

    permit: Permit | None
    """None if the call is refused."""
    retry_after_ms: int
    """The wait after which a refused call would be admitted, if nothing else happened; 0 when it was."""

    @property
    def why(self) -> str:
        """Why it is refused: the breaker is `open`; or it is half-open, and `full` of probes."""
        return "open" if self.state is State.OPEN else "full"

    @property
    def reason(self) -> Reason:
        """Why an acquire moves a breaker."""
        return Reason.TIMEOUT if self.left is State.OPEN else Reason.PROBES_GIVEN_UP


@frozen(kw_only=True)
class Report(Move):
    """The answer to a report."""

    counted: bool
    """False if the permit is of an older epoch, or was reported before: nothing was changed."""

    @property
    def reason(self) -> Reason:
        """Why a report moves a breaker."""
        if self.state is State.CLOSED:
            return Reason.PROBES_SUCCEEDED
        return Reason.FAILURES if self.left is State.CLOSED else Reason.PROBE_FAILED


@frozen(kw_only=True)
class Intervention(Move):
    """The answer to an intervention."""

    reason: Reason


@frozen(kw_only=True)
class View:
    """What a breaker looks like; looking changes nothing."""

    state: State
    epoch: int
    failures: int
    """In a row, while CLOSED."""
    successes: int
    """Of probes of this epoch, while HALF_OPEN."""
    probes: int
    """Under way, while HALF_OPEN."""
    retry_after_ms: int
    """The wait that a call would be told if it were to be made now; 0 if it would be admitted."""
    now_ms: int


@frozen(kw_only=True)
class Transition:
    """A move of a breaker, as listeners are told of it: once per epoch, or never if the reply that tells of it is lost."""

    name: str
    from_state: State
    to_state: State
    epoch: int
    """The new one."""
    reason: Reason
