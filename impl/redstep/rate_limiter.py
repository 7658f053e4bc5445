"""
The rate limiter's protocols: at most L in any window of W, exactly, counted in Redis.

One script call decides and charges, so there is no moment between the two; the engine's clock is the only clock, so the
clocks of clients do not matter. All limits of a call are kept in one hash slot, one log for each window length.

Two representations answer alike. `packed` keeps a log in one string: cheap, small, and a call costs the same whatever its cost.
`zset` keeps it in a sorted set, one member for each unit of cost: easy to inspect, and a request id makes a call idempotent.

The algorithm is the sliding-window log (a sorted set of timestamps); a reply holds what the IETF's draft of the RateLimit
header fields asks for.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from attrs import field, frozen

from redstep import scripts
from redstep.arguments import PREFIX, as_prefix, checked_integer, checked_name
from redstep.errors import Misuse
from redstep.protocols import integers, send
from redstep.scripts import Script
from redstep.wishes import NOW, Argument, CallScript, Protocol, Store

PACKED_ACQUIRE = scripts.load("rate_limiter_packed_acquire")
PACKED_PEEK = scripts.load("rate_limiter_packed_peek")
ZSET_ACQUIRE = scripts.load("rate_limiter_zset_acquire")
ZSET_PEEK = scripts.load("rate_limiter_zset_peek")
RESET = scripts.load("rate_limiter_reset")
CLOCK = scripts.load("engine_clock")

PACKED, ZSET = "packed", "zset"
REPRESENTATIONS = (PACKED, ZSET)
"""How a log can be kept."""

_EITHER = frozenset({"evalsha", "eval", "script|load", "time", "pexpire", "pexpireat", "unlink"})
COMMANDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        PACKED: _EITHER | {"getrange", "set", "setrange"},
        ZSET: _EITHER | {"zadd", "zcard", "zcount", "zrange", "zremrangebyscore", "zscore"},
    }
)
"""The commands that an ACL user needs, on keys that start with the prefix, by representation; `start_region` needs no others.

    ACL SETUSER limiter on >password ~redstep:* +evalsha +eval +script|load +time ...

All of them: an engine refuses a command when a script comes to it, and keeps what the script wrote before. `script|load` is for
`load` alone, `pexpire` for an explicit clock. redis-py itself asks for `select` if the client is made with a database other
than 0, and for `client|setname` if it is made with a name.
"""


def scripts_of(representation: str) -> tuple[Script, ...]:
    """Return the scripts that a limiter may call: what `load` puts into an engine ahead of time."""
    own = (PACKED_ACQUIRE, PACKED_PEEK) if representation == PACKED else (ZSET_ACQUIRE, ZSET_PEEK)
    return (*own, RESET)


@frozen
class Limit:
    """At most `limit` (cost, summed) in any `window_ms` milliseconds. Raises Misuse when either is no integer >= 1."""

    limit: int = field()
    window_ms: int = field()

    def __attrs_post_init__(self) -> None:
        checked_integer("limit", self.limit, 1)
        checked_integer("window_ms", self.window_ms, 1)


def _region_name(value: str) -> str:
    return checked_name("region", value)


@frozen
class Region:
    """Where a service runs, and since when.

    For the first `cold_ms` milliseconds each limit is only `percent` of itself, rounded down and at least 1: caches are cold
    and a whole region has just restarted. `start_ms` is on the engine's clock: make a region with `start_region`, once.
    """

    name: str = field(converter=_region_name)
    start_ms: int
    cold_ms: int = 300_000
    percent: int = 50

    def __attrs_post_init__(self) -> None:
        checked_integer("start_ms", self.start_ms, 0)
        checked_integer("cold_ms", self.cold_ms, 0)
        checked_integer("percent", self.percent, 0, 100)

    @property
    def warm_at_ms(self) -> int:
        """The first instant at which whole limits hold."""
        return self.start_ms + self.cold_ms

    def cold_limit(self, limit: int) -> int:
        """A limit during the cold start."""
        return max(1, limit * self.percent // 100)


@frozen
class Decision:
    """The answer to an acquire. Of several limits it speaks of the binding one; all durations are in ms."""

    allowed: bool
    binding: int
    """Index of the limit this is about: the one to wait for longest when denied, else the one with least remaining.
    Of the global limits, if one of them admitted."""
    limit: int
    """The limit in force, which is lower during a cold start."""
    remaining: int
    """How much is left after this call."""
    retry_after_ms: int
    """The least wait after which this very call would be admitted, if nothing else happened; 0 when it was."""
    reset_after_ms: int
    """The wait after which nothing counts any more, if nothing else happened."""
    now_ms: int
    """The engine's time at which this was decided; of a cached denial, what it is by now."""
    from_global: bool = False
    """Whether the global limit admitted what the region's own had denied."""
    degraded: bool = False
    """Whether a store should have been asked and could not be. Of a denial, the global one: this is the region's own. Of an
    admission, the region's: it was not counted, and the numbers beside it say nothing."""
    cached: bool = False
    """Whether this repeats an earlier denial without asking the engine again."""


@frozen
class Usage:
    """The answer to a peek, about the limit with the least remaining; all durations are in ms."""

    binding: int
    limit: int
    remaining: int
    reset_after_ms: int
    now_ms: int


def as_limits(value: Limit | Iterable[Limit], argument: str = "limits") -> tuple[Limit, ...]:
    """Take one limit or several, of different windows. Raises Misuse, naming the argument."""
    if isinstance(value, str) or not isinstance(value, Limit | Iterable):
        raise Misuse(argument, f"must be a Limit or several, not a {type(value).__name__}")
    limits = (value,) if isinstance(value, Limit) else tuple(value)
    if not limits:
        raise Misuse(argument, "at least one is needed")
    for limit in limits:
        if not isinstance(limit, Limit):
            raise Misuse(argument, f"must hold Limit values, holds a {type(limit).__name__}")
    if len({limit.window_ms for limit in limits}) < len(limits):
        raise Misuse(argument, "two limits have the same window_ms: the lower one alone decides")
    return limits


def as_region(value: Region | None) -> Region | None:
    """Take a region, or none."""
    if not isinstance(value, Region | None):
        raise Misuse("region", f"must be a Region, as start_region returns it, or None, not a {type(value).__name__}")
    return value


def as_representation(value: str) -> str:
    """Take one of the representations."""
    if value not in REPRESENTATIONS:
        raise Misuse("representation", f"must be one of {', '.join(REPRESENTATIONS)}, not {value!r}")
    return value


@frozen(kw_only=True)
class Policy:
    """What a limiter limits and how: its limits, the region whose start counts, the representation, the prefix of its keys."""

    limits: tuple[Limit, ...] = field(converter=as_limits)
    region: Region | None = field(default=None, converter=as_region)
    representation: str = field(default=PACKED, converter=as_representation)
    prefix: str = field(default=PREFIX, converter=as_prefix)
    store: Store = Store.HOME

    def keys(self, name: str) -> tuple[str, ...]:
        """One log a limit. The name is the hash tag, so they share a slot; the window and the region are part of the key."""
        tag = "{" + checked_name("name", name) + "}"
        guard = "rate-limiter" if self.store is Store.HOME else "rate-limiter-global"
        place = f":{self.region.name}" if self.region is not None and self.store is Store.HOME else ""
        return tuple(f"{self.prefix}{guard}:{tag}:{each.window_ms}:{self.representation}{place}" for each in self.limits)

    @property
    def cost_most(self) -> int:
        """The greatest cost that can ever be admitted."""
        return min(limit.limit for limit in self.limits)

    @property
    def warm_at_ms(self) -> int:
        """The first instant at which whole limits hold."""
        return self.region.warm_at_ms if self.region else 0

    def uncounted(self) -> Decision:
        """The admission that stands for the store's decision when a limiter fails open."""
        return Decision(True, 0, self.limits[0].limit, 0, 0, 0, 0, degraded=True)

    @property
    def limit_args(self) -> tuple[int, ...]:
        """Window, limit and cold limit of each limit, as the scripts take them."""
        cold = self.region.cold_limit if self.region else int
        return tuple(number for each in self.limits for number in (each.window_ms, each.limit, cold(each.limit)))


def check_acquire(policy: Policy, name: str, cost: int, request_id: str | None) -> None:
    """Raise Misuse if no state of the store could ever admit this."""
    checked_name("name", name)
    checked_integer("cost", cost, 1, policy.cost_most)
    if request_id is not None:
        checked_name("request_id", request_id)
        if policy.representation == PACKED:
            raise Misuse("request_id", f"needs representation={ZSET!r}, which keeps identities")


def acquire(policy: Policy, name: str, cost: int = 1, request_id: str | None = None) -> Protocol[Decision]:
    """Ask whether one call may proceed, and charge it if so.

    With a request id (representation `zset`) the call is idempotent: while it counts, the same id is admitted once. Without,
    it is charged at most once, and never sent again after an ambiguous error.

    Raises Misuse, Unavailable, Corrupt, ServiceOverloaded. A denial is an answer, not an error.
    """
    check_acquire(policy, name, cost, request_id)
    keys = policy.keys(name)
    identity = () if policy.representation == PACKED else (request_id or "",)
    args: tuple[Argument, ...] = (NOW, cost, *identity, policy.warm_at_ms, *policy.limit_args)
    script = PACKED_ACQUIRE if policy.representation == PACKED else ZSET_ACQUIRE
    request = CallScript(script=script, keys=keys, args=args, idempotent=request_id is not None, store=policy.store)
    allowed, binding, limit, remaining, retry_after_ms, reset_after_ms, now_ms = integers((yield from send(request)), 7)
    return Decision(bool(allowed), binding, limit, remaining, retry_after_ms, reset_after_ms, now_ms)


def peek(policy: Policy, name: str) -> Protocol[Usage]:
    """Ask how much is left, without using any. Raises as `acquire`."""
    args: tuple[Argument, ...] = (NOW, policy.warm_at_ms, *policy.limit_args)
    script = PACKED_PEEK if policy.representation == PACKED else ZSET_PEEK
    request = CallScript(script=script, keys=policy.keys(name), args=args, idempotent=True)
    return Usage(*integers((yield from send(request)), 5))


def reset(policy: Policy, name: str) -> Protocol[None]:
    """Forget what was admitted. Raises as `acquire`; not idempotent, for a second one would forget what came between."""
    request = CallScript(script=RESET, keys=policy.keys(name), args=(), idempotent=False)
    integers((yield from send(request)), 1)


def start_region(name: str, cold_ms: int = 300_000, percent: int = 50) -> Protocol[Region]:
    """Read the engine's clock once, and make the region that starts now. Raises as `acquire`."""
    region = Region(name, 0, cold_ms, percent)
    request = CallScript(script=CLOCK, keys=(), args=(NOW,), idempotent=True)
    [now_ms] = integers((yield from send(request)), 1)
    return Region(region.name, now_ms, cold_ms, percent)
