"""
Binding: what the scheduler needs of an implementation, and of a specification.

An implementation gives operations that stop wherever they wait: for a round trip to the store, or for something within their
own process. Where one stops is a function of what it was told so far; so an operation under way is a *value*, and whoever
wants to go on with it in two ways tells a fresh one the same, and then something else. Generators can do that; so can a
coroutine or a greenlet, if whoever binds it is its event loop.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import field, frozen

from redstep_check.binding import Answer, Answered, Stored, Target
from redstep_spec.delivery import Fate as Delivery

# ---------------------------------------------------------------------------------------------- where an operation stops


@frozen
class Asks:
    """It has a request for the store, and waits for the reply."""

    request: Any
    """Hashable; equal requests are the same bytes."""
    is_idempotent: bool
    """Whether the implementation thinks that the same request may be sent again when its outcome was lost."""
    finishes: bool = False
    """Whether a cancellation may wait for the reply, and be thrown in after it."""
    needs_script: bool = True
    """Whether it makes a difference that the engine has forgotten its scripts."""


@frozen
class Pauses:
    """It waits for something within its own process, of which nobody else can tell when it happens."""

    what: str
    """`sleep`, `work`, `announce`, ..."""


Stop = Asks | Pauses


@frozen
class Waits:
    """It is under way."""

    stop: Stop


@frozen
class Interrupted:
    """It was cancelled, and its caller hears of nothing else."""


@frozen
class Ends:
    """It is over."""

    answer: Answer | Interrupted
    memory: Hashable = None
    """What the client's process remembers of it."""


Standing = Waits | Ends

# ---------------------------------------------------------------------------------------------- what it is told


@frozen
class Refused:
    """A script answered with an error."""

    text: str


Raw = tuple[Any, ...] | Refused
"""What a script answered."""


class Heard(Enum):
    """What a stop comes to."""

    REPLY = "reply"
    NOT_SENT = "not sent"
    LOST = "lost"
    """It was sent, and nobody will hear what it came to."""
    OVERTAKEN = "overtaken"
    """The reply came, but a cancellation came first and waited for it."""
    GOES_ON = "goes on"
    """Of a pause: it is over."""
    CANCELLED = "cancelled"


@frozen
class Fed:
    """What a stop came to, and the reply if there was one; else what the implementation keeps of it."""

    heard: Heard
    raw: Raw | None = None


# ---------------------------------------------------------------------------------------------- the implementation


class Concurrent(Target[Any]):
    """An implementation whose operations stop at every round trip, bound to the scheduler."""

    can_flush = False
    """Whether the engine's scripts may be flushed."""

    @abstractmethod
    def stand(self, client: int, begun: int, operation: Any, memory: Hashable, fed: Sequence[Fed]) -> Standing:
        """Begin the `begun`th operation of a client afresh, tell it all this, and say where it stands. No I/O, no chance."""

    @abstractmethod
    def understood(self, request: Any, now_ms: int) -> Any:
        """The call of the specification that one execution of a request is."""

    @abstractmethod
    def execute(self, request: Any, now_ms: int) -> Raw:
        """Have the engine execute a request at a time of its own."""

    @abstractmethod
    def read(self, call: Any, raw: Raw) -> Answer:
        """Read what a script answered, by the names of the specification's reply fields."""

    @abstractmethod
    def seen(self) -> Stored:
        """Read what is stored. Raises Unreadable."""

    @abstractmethod
    def save(self) -> Hashable:
        """Take all that is stored, byte for byte."""

    @abstractmethod
    def restore(self, saved: Any) -> None:
        """Put it back."""

    def unheard(self, asked: Asks | None, raw: Raw | None, now_ms: int) -> Raw | None:
        """What is kept of a request whose reply (if it was executed) nobody hears, or of a pause: as a rule, nothing."""
        del asked, raw, now_ms
        return None

    def flush(self) -> None:
        """Make the engine forget its scripts, for the next execution."""
        raise NotImplementedError

    def call(self, call: Any, fates: Sequence[Delivery]) -> Answer:
        """Calls are made by clients here, who take turns."""
        raise NotImplementedError


# ---------------------------------------------------------------------------------------------- the specification


@frozen
class Who:
    """An operation of a client."""

    client: int
    begun: int
    """Which one: from 1 on."""
    operation: Any


@frozen
class Attempt:
    """One request of an operation, and what became of it."""

    call: Any
    """Of the specification; its time is that of the execution, or of the decision that there was none. Or a pause."""
    heard: Heard | None
    """None while its reply is held back."""
    replies: tuple[Any, ...] = ()
    """Of the specification, to each of its executions that are known; none if it was not executed, or is adrift."""
    changed: bool = False
    """Whether an execution of it changed what is stored."""


Course = tuple[Attempt, ...]
"""What an operation has asked so far, and where it paused."""


def requests(course: Course) -> list[Attempt]:
    """What it asked."""
    return [each for each in course if not isinstance(each.call, Pauses)]


def was_cancelled(course: Course) -> bool:
    """Whether it was interrupted."""
    return any(each.heard in (Heard.CANCELLED, Heard.OVERTAKEN) for each in course)


@frozen
class Glance:
    """A script that only reads, and is no step of the specification."""

    now_ms: int


@frozen
class Glanced:
    """The answer to it, of which nothing is said."""

    because: tuple[str, ...] = field(eq=False, default=("CM-1",))


class Sequential(ABC):
    """The specification of a guard, as concurrent clients meet it: one key, one step after the other.

    Beside it stands a ledger: what must be remembered to judge operations that take more than one step. It is a value too.
    """

    name: str
    initial: Any
    ledger: Hashable = ()
    decided: frozenset[str] = frozenset()
    """The reply fields of which the most specific rule of the decision is to blame."""

    @abstractmethod
    def step(self, state: Any, call: Any) -> tuple[Any, Any]:
        """One step of the specification."""

    @abstractmethod
    def is_idempotent(self, call: Any) -> bool:
        """CM-4: may it be sent again?"""

    @abstractmethod
    def abstracted(self, state: Any) -> Any:
        """What of a state can be read back from a store."""

    @abstractmethod
    def blame(self, before: Any, call: Any, reply: Any) -> str:
        """The rule that is broken when something else is stored."""

    @abstractmethod
    def instants_ms(self, state: Any) -> Collection[int]:
        """When time changes something."""

    @abstractmethod
    def menu(self, features: Collection[str]) -> Sequence[Any]:
        """The operations that clients draw from."""

    @abstractmethod
    def programs(self, features: Collection[str]) -> Mapping[str, Sequence[Any]]:
        """For worlds that are exhausted: what clients do, by name; client c begins as its nth operation number c + n."""

    def stepped(self, state: Any, call: Any) -> tuple[Any, Any]:
        """One step of the specification; what only reads is none."""
        return (state, Glanced()) if isinstance(call, Glance) else self.step(state, call)

    def decided_of(self, reply: Any) -> frozenset[str]:
        """The fields of a reply of which the most specific rule of the decision is to blame."""
        del reply
        return self.decided

    def executed(self, ledger: Any, who: Who, call: Any, before: Any, reply: Any, after: Any) -> Hashable:
        """Note that a request was executed. Raises Mismatch if no operation may do that."""
        del who, call, before, reply, after
        return ledger  # type: ignore[no-any-return]

    def worked(self, ledger: Any, who: Who, course: Course, state: Any, now_ms: int) -> Hashable:
        """Note that the caller's own work is run. Raises Mismatch."""
        del who, course, state, now_ms
        return ledger  # type: ignore[no-any-return]

    @abstractmethod
    def ended(self, ledger: Any, who: Who, course: Course, answer: Answer | Interrupted, state: Any, now_ms: int) -> Hashable:
        """Note how an operation ended. Raises Mismatch if that is not what its course comes to."""

    @abstractmethod
    def tell(self, operation: Any) -> str:
        """An operation as a person would say it."""

    def tell_reply(self, reply: Any) -> str:
        """A reply of the specification in a few words."""
        return repr(reply)


def values(answer: Answer | Interrupted) -> Mapping[str, object]:
    """What an operation answered; nothing if it did not."""
    return answer.values if isinstance(answer, Answered) else {}
