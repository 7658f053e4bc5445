"""Arguments: what no state of the store could make right is Misuse, names what is at fault, and sends nothing (CM-9)."""

import asyncio
import pickle
import re
from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
import redis
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from redstep import (
    AsyncAuditChain,
    AsyncIdempotencyStore,
    AsyncRateLimiter,
    AsyncSharedCircuitBreaker,
    AuditChain,
    IdempotencyStore,
    Limit,
    Misuse,
    RateLimiter,
    Region,
    ServiceOverloaded,
    SharedCircuitBreaker,
    Unavailable,
    async_start_region,
    start_region,
)
from redstep.arguments import INTEGER_MAX, NAME_BYTES_MAX, checked_integer, checked_name
from redstep.rate_limiter import Policy
from redstep_check.engines import Engine
from redstep_spec import arguments as specified

HUGE = 10**5_000
"""So large that Python refuses to print it."""

BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "an opening brace": "a{b",
    "a closing brace": "a}b",
    "a newline": "a\nb",
    "a zero byte": "a\0b",
    "a control character beyond ASCII": "a\x85b",
    "10 kB": "x" * 10_000,
    "513 bytes of UTF-8": "x" + "é" * 256,
    "a lone surrogate": "a\ud800",
    "bytes": b"user",
    "None": None,
    "a number": 42,
    "a list": ["user"],
}

BAD_COUNTS: dict[str, Any] = {
    "zero": 0,
    "negative": -1,
    "a fraction": 1.5,
    "a whole float": 1.0,
    "text": "3",
    "a truth": True,
    "None": None,
    "infinite": float("inf"),
    "2**60": 2**60,
    "more than Python prints": HUGE,
    "less than Python prints": -HUGE,
}

GOOD_NAMES = ["a", "a b", "user:42", "*", "é" * 256, "キー", "🔑", "x" * 512, "\u2028", "\u200b", "a\u0301", " "]


def dead() -> redis.Redis:
    """A client of a server that isn't there: whatever sends something, or connects, is Unavailable."""
    return redis.Redis.from_url("unix:///nonexistent/socket")


def async_dead() -> redis.asyncio.Redis:
    """The same for asyncio."""
    return redis.asyncio.Redis.from_url("unix:///nonexistent/socket")


class Cluster(redis.RedisCluster):
    """A client of a cluster, which would connect when it is made."""

    def __init__(self) -> None:
        pass


class AsyncCluster(redis.asyncio.RedisCluster):
    """The same for asyncio."""

    def __init__(self) -> None:
        pass


BAD_CLIENTS: dict[str, Callable[[], Any]] = {
    "a cluster": Cluster,
    "an asyncio cluster": AsyncCluster,
    "a pool": lambda: dead().connection_pool,
    "a sentinel": lambda: redis.Sentinel([]),  # type: ignore[no-untyped-call]
    "a class": lambda: redis.Redis,
    "a URL": lambda: "redis://localhost",
    "None": lambda: None,
}


class SyncCalls:
    """The calls of a limiter."""

    def __init__(self) -> None:
        self.limiter: Any = RateLimiter(dead(), Limit(5, 1_000), representation="zset", on_store_failure="closed")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return getattr(self.limiter, name)  # type: ignore[no-any-return]


class AsyncCalls:
    """Those of an asyncio limiter, each in an event loop of its own."""

    def __init__(self) -> None:
        self.limiter: Any = AsyncRateLimiter(async_dead(), Limit(5, 1_000), representation="zset", on_store_failure="closed")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **options: asyncio.run(getattr(self.limiter, name)(*args, **options))


@pytest.fixture(params=[SyncCalls, AsyncCalls], ids=["sync", "asyncio"])
def limiter(request: pytest.FixtureRequest) -> Any:
    """A limiter of five, whose store isn't there."""
    return request.param()


@pytest.fixture(params=["sync", "asyncio"])
def make(request: pytest.FixtureRequest) -> Callable[..., object]:
    """Makes a limiter of five whose store isn't there; takes other arguments instead."""
    if request.param == "sync":
        return lambda **options: RateLimiter(
            **{"client": dead(), "limits": Limit(5, 1_000), **options}, on_store_failure="closed"
        )
    return lambda **options: AsyncRateLimiter(
        **{"client": async_dead(), "limits": Limit(5, 1_000), **options}, on_store_failure="closed"
    )


def misused(call: Callable[[], object]) -> str:
    """The argument that a call says is at fault."""
    with pytest.raises(Misuse) as caught:
        call()
    assert str(caught.value).startswith(f"{caught.value.argument}: ")
    assert isinstance(caught.value, ValueError)
    return caught.value.argument


# --- calls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOOD_NAMES, ids=ascii)
def test_a_good_call_goes_to_the_store(limiter: Any, name: str) -> None:
    """The store that isn't there is asked, so the refusals below are not its."""
    with pytest.raises(Unavailable):
        limiter.acquire(name, 5, request_id=name)
    with pytest.raises(Unavailable):
        limiter.peek(name)


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_a_bad_name_is_misuse(limiter: Any, bad: str) -> None:
    """Of a key in all three calls, and of a request."""
    name = BAD_NAMES[bad]
    assert misused(lambda: limiter.acquire(name)) == "name"
    assert misused(lambda: limiter.peek(name)) == "name"
    assert misused(lambda: limiter.reset(name)) == "name"
    if name is not None:
        assert misused(lambda: limiter.acquire("user", request_id=name)) == "request_id"


def test_an_identity_that_cannot_be_kept_is_misuse() -> None:
    """The packed representation has no place for one (RL-7)."""
    limiter = RateLimiter(dead(), Limit(5, 1_000), representation="packed", on_store_failure="closed")
    assert misused(lambda: limiter.acquire("user", request_id="r1")) == "request_id"


@pytest.mark.parametrize("representation", ["", "Packed", b"zset", None, 0])
def test_a_bad_representation_is_misuse(representation: Any) -> None:
    """There are two."""
    assert (
        misused(lambda: RateLimiter(dead(), Limit(5, 1_000), representation=representation, on_store_failure="closed"))
        == "representation"
    )


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_a_bad_cost_is_misuse(limiter: Any, bad: str) -> None:
    """It is an integer from 1 to the limit; one above can never be admitted, so it's no denial (RL-6, RL-16)."""
    assert misused(lambda: limiter.acquire("user", BAD_COUNTS[bad])) == "cost"
    assert misused(lambda: limiter.acquire("user", 6)) == "cost"


def test_the_smallest_limit_bounds_the_cost() -> None:
    """Of several limits all must admit a call, so the smallest decides what is impossible."""
    limiter = RateLimiter(dead(), [Limit(10, 1_000), Limit(3, 60_000)], on_store_failure="closed")
    assert misused(lambda: limiter.acquire("user", 4)) == "cost"
    with pytest.raises(Unavailable):
        limiter.acquire("user", 3)


def test_the_first_argument_at_fault_is_named(limiter: Any) -> None:
    """One error at a time, in the order of the arguments."""
    assert misused(lambda: limiter.acquire("", 0, request_id="")) == "name"
    assert misused(lambda: limiter.acquire("user", 0, request_id="")) == "cost"


def test_misuse_sends_no_command(engine: Engine) -> None:
    """A real engine has not heard of any of it, not even of a connection."""
    with engine.client() as admin, engine.client() as client:
        limiter: Any = RateLimiter(client, Limit(5, 1_000), on_store_failure="closed")
        connections = admin.info("stats")["total_connections_received"]
        admin.config_resetstat()
        for name in BAD_NAMES.values():
            misused(lambda name=name: limiter.acquire(name))  # type: ignore[misc]
        for cost in BAD_COUNTS.values():
            misused(lambda cost=cost: limiter.acquire("user", cost))  # type: ignore[misc]
        for options in ({"prefix": None}, {"limits": None}, {"region": "eu"}, {"clock": 5}, {"client": "redis://localhost"}):
            good = {"client": client, "limits": Limit(5, 1_000), "on_store_failure": "closed"}
            misused(lambda settings={**good, **options}: RateLimiter(**settings))  # type: ignore[misc]
        misused(lambda: start_region(client, ""))
        sent = set(admin.info("commandstats"))
        assert sent <= {"cmdstat_config|resetstat", "cmdstat_info"}
        assert admin.info("stats")["total_connections_received"] in (0, connections)
        limiter.acquire("user")
        assert "cmdstat_evalsha" in admin.info("commandstats")


# --- what a limiter is made of ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", BAD_COUNTS)
def test_a_bad_limit_is_misuse(bad: str) -> None:
    """So is a bad window; both are integers from 1."""
    assert misused(lambda: Limit(BAD_COUNTS[bad], 1_000)) == "limit"
    assert misused(lambda: Limit(5, BAD_COUNTS[bad])) == "window_ms"


@pytest.mark.parametrize("bad", BAD_CLIENTS)
def test_a_bad_client_is_misuse(make: Callable[..., object], bad: str) -> None:
    """What is no client of redis-py's, or one of many servers; it is named before the limits, which come after it."""
    client = BAD_CLIENTS[bad]()
    assert misused(lambda: make(client=client)) == "client"
    assert misused(lambda: make(client=client, limits=[])) == "client"
    if client is not None:
        assert misused(lambda: make(global_limits=Limit(5, 1_000), global_client=client)) == "global_client"


TAKE_CLIENTS: dict[str, Callable[[Any], object]] = {
    "RateLimiter": lambda client: RateLimiter(client, Limit(5, 1_000), on_store_failure="closed"),
    "AsyncRateLimiter": lambda client: AsyncRateLimiter(client, Limit(5, 1_000), on_store_failure="closed"),
    "SharedCircuitBreaker": lambda client: SharedCircuitBreaker(client, "payments"),
    "AsyncSharedCircuitBreaker": lambda client: AsyncSharedCircuitBreaker(client, "payments"),
    "IdempotencyStore": IdempotencyStore,
    "AsyncIdempotencyStore": AsyncIdempotencyStore,
    "AuditChain": lambda client: AuditChain(client, "orders"),
    "AsyncAuditChain": lambda client: AsyncAuditChain(client, "orders"),
    "start_region": lambda client: start_region(client, "eu"),
    "async_start_region": lambda client: asyncio.run(async_start_region(client, "eu")),
}


@pytest.mark.parametrize("name", TAKE_CLIENTS)
def test_a_client_of_the_other_kind_is_misuse(name: str) -> None:
    """Its refusal tells which kind is wanted, and what takes the one that was given."""
    take = TAKE_CLIENTS[name]
    if name.lower().startswith("async"):
        other: Any = dead()
        problem = "must be a redis.asyncio.Redis, not a redis.client.Redis; the classes without Async take a redis.Redis"
    else:
        other = async_dead()
        problem = "must be a redis.Redis, not a redis.asyncio.client.Redis; the Async... classes take a redis.asyncio.Redis"
    with pytest.raises(Misuse, match=rf"^client: {re.escape(problem)}$"):
        take(other)


def test_a_cluster_is_refused_by_name(make: Callable[..., object]) -> None:
    """It says that a client of one server is wanted."""
    with pytest.raises(Misuse, match=r"RedisCluster cannot be used, so give a client of one server"):
        make(client=BAD_CLIENTS["a cluster"]())


@pytest.mark.parametrize("clock", [5, 0, "now", 1_000.0])
def test_a_bad_clock_is_misuse(make: Callable[..., object], clock: object) -> None:
    """It is a function; what the function returns is not known before it is called."""
    assert misused(lambda: make(clock=clock)) == "clock"
    assert make(clock=lambda: 5)


@pytest.mark.parametrize("limits", [None, 5, "", "5/s", [], [5], [Limit(5, 1_000), None], Limit])
def test_bad_limits_are_misuse(make: Callable[..., object], limits: object) -> None:
    """They are one Limit or several."""
    assert misused(lambda: make(limits=limits)) == "limits"
    assert make(limits=(Limit(5, window) for window in (1_000, 2_000)))


def test_limits_have_different_windows(make: Callable[..., object]) -> None:
    """Of two for the same window the lower alone would decide."""
    assert misused(lambda: make(limits=[Limit(5, 1_000), Limit(6, 1_000)])) == "limits"


@pytest.mark.parametrize("bad", [bad for bad in BAD_NAMES if bad != "empty"])
def test_a_bad_prefix_is_misuse(make: Callable[..., object], bad: str) -> None:
    """It becomes part of the key, so it is as a name is, or empty; a brace would move the hash tag."""
    assert misused(lambda: make(prefix=BAD_NAMES[bad])) == "prefix"
    assert make(prefix="")


@pytest.mark.parametrize("prefix", [0, b"", False, [], ()])
def test_what_is_false_is_no_prefix(make: Callable[..., object], prefix: object) -> None:
    """Only the empty string means none."""
    assert misused(lambda: make(prefix=prefix)) == "prefix"


@pytest.mark.parametrize("region", ["eu", 0, "", Region])
def test_what_is_no_region_is_misuse(make: Callable[..., object], region: object) -> None:
    """Its name alone doesn't tell when it started."""
    assert misused(lambda: make(region=region)) == "region"
    assert make(region=Region("eu", 0))


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_a_bad_region_is_misuse(bad: str) -> None:
    """Its name is a name."""
    assert misused(lambda: Region(BAD_NAMES[bad], 0)) == "region"
    assert misused(lambda: start_region(dead(), BAD_NAMES[bad])) == "region"


@pytest.mark.parametrize("percent", [101, -1, 50.0, "50", True, None, pytest.param(HUGE, id="huge")])
def test_a_bad_percentage_is_misuse(percent: Any) -> None:
    """It is an integer from 0 to 100."""
    assert misused(lambda: Region("r", 0, percent=percent)) == "percent"
    assert misused(lambda: start_region(dead(), "r", percent=percent)) == "percent"
    assert Region("r", 0, percent=0).cold_limit(100) == 1
    assert Region("r", 0, percent=100).cold_limit(100) == 100


@pytest.mark.parametrize("duration", [-1, 1.5, "0", True, None, pytest.param(HUGE, id="huge")])
def test_a_bad_cold_start_is_misuse(duration: Any) -> None:
    """Its beginning and its length are integers from 0."""
    assert misused(lambda: Region("r", duration)) == "start_ms"
    assert misused(lambda: Region("r", 0, cold_ms=duration)) == "cold_ms"
    assert misused(lambda: start_region(dead(), "r", cold_ms=duration)) == "cold_ms"


# --- the checks themselves --------------------------------------------------------------------------------------------


@given(st.one_of(st.text(st.characters(), max_size=8), st.text(max_size=600), st.binary(), st.integers(), st.none()))
def test_a_name_is_what_the_specification_calls_one(value: object) -> None:
    """Neither more nor less (CM-7); what is accepted is returned as it is."""
    try:
        accepted = checked_name("name", value) is value
    except Misuse:
        accepted = False
    assert accepted == specified.is_name(value)


class Plan(str, Enum):  # noqa: UP042  such as are there, which print as Plan.FREE
    """Names of a service's own."""

    FREE = "free"


class Tricky(str):
    """Prints as something that is no name."""

    __slots__ = ()

    def __str__(self) -> str:
        return "a}{b"


@pytest.mark.parametrize("name", [Plan.FREE, Tricky("free")])
def test_a_name_is_the_text_that_was_checked(name: str) -> None:
    """Not what its type prints, which may be another name's, or no name (CM-7)."""
    accepted = checked_name("name", name)
    assert (type(accepted), accepted) == (str, "free")
    assert f"{name}" != "free"

    def keys(name: str) -> tuple[str, ...]:
        return Policy(limits=Limit(5, 1_000), prefix=name).keys(name)

    assert keys(name) == keys("free")
    assert type(Region(name, 0).name) is str


@given(
    st.one_of(st.integers(), st.integers(2**51 - 2, 2**51 + 2), st.floats(), st.booleans(), st.text(), st.none()),
    st.integers(0, 5),
    st.sampled_from([5, 100, INTEGER_MAX]),
)
def test_an_integer_is_what_the_specification_calls_one(value: object, least: int, most: int) -> None:
    """Neither more nor less (CM-8)."""
    try:
        accepted = checked_integer("cost", value, least, most) == value
    except Misuse:
        accepted = False
    assert accepted == specified.is_integer(value, least, most)


def test_the_bounds_are_the_specifications() -> None:
    """Written down twice, on purpose, and the same."""
    assert NAME_BYTES_MAX == specified.MAX_BYTES
    assert INTEGER_MAX == specified.MAX_INTEGER


def test_a_huge_integer_is_described_and_not_printed() -> None:
    """Python refuses to print it, with a ValueError that names no argument."""
    with pytest.raises(Misuse, match=r"^cost: must be an integer from 1 to 5, not one of 16610 bits$"):
        checked_integer("cost", HUGE, 1, 5)
    with pytest.raises(Misuse, match=r"^cost: must be an integer from 1 to 5, not 6$"):
        checked_integer("cost", 6, 1, 5)


@pytest.mark.parametrize(
    "error",
    [
        Misuse("cost", "is bad"),
        Unavailable("gone", definite=True),
        Unavailable("lost", definite=False),
        ServiceOverloaded("full"),
    ],
    ids=str,
)
def test_an_error_reaches_another_process_as_it_is(error: Exception) -> None:
    """Pools of processes pickle what their workers raise; one that can't be made anew breaks the whole pool."""
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
