"""The clients, sync and asyncio, on real connections: they differ by `await` alone."""

import asyncio
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep.audit_chain import BATCH, CAS, MODES, SERVER_ORDER, Chain, Checkpoint
from redstep.audit_chain_appending import Appended
from redstep.audit_chain_errors import AppendUnknown, NotAppended
from redstep.audit_chain_verification import Integrity
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Misuse, Unavailable
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy, notice_endings
from redstep_spec.delivery import Fate
from support.servers import blocked, writes_paused
from support.tasks import cancelled, soon

from .support import records_in

LOST, REFUSED = Fate.REPLY_LOST, Fate.NOT_SENT


class Awaited:
    """An asyncio chain whose calls are waited for."""

    def __init__(self, chain: AsyncAuditChain, runner: asyncio.Runner) -> None:
        self._chain, self._runner = chain, runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            await notice_endings()
            return await getattr(self._chain, name)(*args, **options)

        return lambda *args, **options: self._runner.run(call(*args, **options))


def closed(runner: asyncio.Runner, close: Callable[[], Any]) -> None:
    """Close something, and wait for it."""
    runner.run(close())


Maker = Callable[..., Any]
"""Makes a chain from the options of a client and of the chain."""


@pytest.fixture(params=["sync", "asyncio"])
def make(request: pytest.FixtureRequest, server: Engine) -> Iterator[Maker]:
    """Chains of either kind, on the engine or on a proxy before it."""
    with ExitStack() as stack:
        runner = stack.enter_context(asyncio.Runner()) if request.param == "asyncio" else None

        def made(of: Engine | FaultProxy = server, client: dict[str, Any] | None = None, **options: Any) -> Any:
            options = {"name": "orders", **options}
            if runner is None:
                sync = stack.enter_context(of.client(**(client or {})))
                return stack.enter_context(AuditChain(sync, **options))
            other = of.async_client(**(client or {}))
            chain = AsyncAuditChain(other, **options)
            stack.callback(closed, runner, other.aclose)
            stack.callback(closed, runner, chain.close)
            return Awaited(chain, runner)

        yield made


@pytest.fixture
def proxy(server: Engine) -> Iterator[FaultProxy]:
    """A proxy before the engine."""
    assert server.address
    with FaultProxy(server.address) as proxy:
        yield proxy


@pytest.mark.parametrize("mode", MODES)
def test_all_that_a_chain_does(make: Maker, server_client: redis.Redis, mode: str, tmp_path: Path) -> None:
    """Append, read the head, verify, export, seal, go on."""
    chain = make(mode=mode)
    chain.load()
    assert chain.head().next_seq == 0
    assert chain.verify().integrity is Integrity.CONSISTENT
    appended = [chain.append({"n": number, "caf\u00e9": [1.5, None]}) for number in range(5)]
    assert [each.seq for each in appended] == [0, 1, 2, 3, 4]
    assert chain.append_json('{"b": 1, "a": 2}').seq == 5
    records = records_in(server_client, Chain(name="orders"))
    assert [each.hash.hex() for each in records[:5]] == [each.hash for each in appended]
    assert records[5].event == b'{"a":2,"b":1}'
    checkpoint = chain.checkpoint()
    assert (checkpoint.size, checkpoint.hash) == (6, records[5].hash.hex())
    assert chain.verify(checkpoint).integrity is Integrity.VERIFIED
    exported = chain.export(tmp_path / "segment", upto_seq=4)
    assert chain.seal(exported, keep=1) == 4
    assert chain.append("last").seq == 6
    told: list[Any] = []
    verdict = chain.verify(checkpoint, [tmp_path / "segment"], progress=told.append)
    assert (verdict.integrity, verdict.first_seq, verdict.next_seq) == (Integrity.VERIFIED, 0, 7)
    assert (told[-1].records, told[-1].of) == (3, 3)


@pytest.mark.parametrize("mode", MODES)
def test_records_are_read(make: Maker, mode: str) -> None:
    """From a seq on, or from the base; up to so many; with the events as they were stored."""
    chain = make(mode=mode)
    assert chain.read() == ()
    for number in range(8):
        chain.append(number)
    chain.seal(3, keep=1)
    assert [(record.seq, record.event) for record in chain.read(5, 2)] == [(5, b"5"), (6, b"6")]
    assert [record.seq for record in chain.read()] == [3, 4, 5, 6, 7]
    assert chain.read(9) == ()
    for argument, arguments in (("from_seq", (-1,)), ("count", (0, 0)), ("count", (0, 501))):
        with pytest.raises(Misuse) as caught:
            chain.read(*arguments)
        assert caught.value.argument == argument


def test_events_that_belong_together_go_in_together(make: Maker, proxy: FaultProxy, server_client: redis.Redis) -> None:
    """All or none, in one call; and when they fail, the error tells of each."""
    chain = make(proxy, mode=BATCH, deadline_ms=0)
    assert [each.seq for each in chain.append_all([1, "two", None])] == [0, 1, 2]
    assert [each.seq for each in chain.append_all_json(['{"b":1,"a":2}', b"7"])] == [3, 4]
    proxy.arm((REFUSED,))
    with pytest.raises(NotAppended) as caught:
        chain.append_all(["x", "y"])
    assert [each.event for each in caught.value.together] == [b'"x"', b'"y"']
    proxy.restore()
    events = [record.event for record in records_in(server_client, Chain(name="orders"))]
    assert events == [b"1", b'"two"', b"null", b'{"a":2,"b":1}', b"7"]
    for values in ([], [0] * 501, ["x" * 600_000] * 2):
        with pytest.raises(Misuse) as misuse:
            chain.append_all(values)
        assert misuse.value.argument == "events"
    with pytest.raises(Misuse):
        make(mode=CAS).append_all([1, 2])
    assert make(mode=CAS).append_all([1])[0].seq == 5


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("options", [{"decode_responses": True}, {"protocol": 3}, {"encoding": "utf-16"}, {"db": 3}], ids=str)
def test_whatever_the_client_is_made_with(make: Maker, mode: str, options: dict[str, Any]) -> None:
    """Records are bytes, whatever the client's own replies are decoded to."""
    chain = make(client=options, mode=mode)
    assert [chain.append({"n": number, "caf\u00e9": "\U0010ffff"}).seq for number in range(3)] == [0, 1, 2]
    assert chain.verify(chain.checkpoint()).integrity is Integrity.VERIFIED


FATES: list[Sequence[Fate]] = [(LOST,), (LOST, LOST, LOST), (Fate.FLUSHED,), (LOST, Fate.FLUSHED), (Fate.FLUSHED, LOST)]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fates", FATES, ids=lambda fates: "-".join(each.name for each in fates))
def test_lost_replies_and_forgotten_scripts_are_not_noticed(
    make: Maker, proxy: FaultProxy, server_client: redis.Redis, mode: str, fates: Sequence[Fate]
) -> None:
    """Each event is appended once, on connections that really break."""
    chain = make(proxy, mode=mode)
    for number in range(3):
        proxy.arm(fates)
        assert chain.append(number).seq == number
    assert [record.event for record in records_in(server_client, Chain(name="orders"))] == [b"0", b"1", b"2"]


@pytest.mark.parametrize("mode", MODES)
def test_a_store_that_cannot_be_reached_is_told_at_once(
    make: Maker, proxy: FaultProxy, server_client: redis.Redis, mode: str
) -> None:
    """Not appended, for nothing was sent; and when it is back, all goes on."""
    chain = make(proxy, mode=mode)
    chain.append("first")
    proxy.arm((REFUSED,))
    with pytest.raises(NotAppended) as caught:
        chain.append("second")
    assert isinstance(caught.value.cause, Unavailable)
    assert caught.value.event == b'"second"'
    proxy.restore()
    assert chain.append("second").seq == 1
    assert len(records_in(server_client, Chain(name="orders"))) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_store_that_stays_away_after_a_lost_reply_is_unknown(
    make: Maker, proxy: FaultProxy, server_client: redis.Redis, mode: str
) -> None:
    """That it can't be reached any more says nothing of the attempt that was lost."""
    chain = make(proxy, mode=mode, deadline_ms=60)
    chain.append("first")
    proxy.arm((LOST, REFUSED))
    with pytest.raises(AppendUnknown) as caught:
        chain.append("second")
    assert caught.value.event == b'"second"'
    proxy.restore()
    assert [record.event for record in records_in(server_client, Chain(name="orders"))] == [b'"first"', b'"second"']


class Counting:
    """What a client's pool would have given."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0

        def counted(*_: Any, **__: Any) -> Any:
            self.asked += 1
            raise AssertionError("a connection was asked for")

        monkeypatch.setattr(redis.ConnectionPool, "get_connection", counted)
        monkeypatch.setattr(redis.asyncio.ConnectionPool, "get_connection", counted)


@pytest.mark.parametrize("mode", MODES)
def test_misuse_comes_before_anything_is_sent(make: Maker, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an event, of a text, of what an anchor is about, of a seal."""
    chain = make(mode=mode)
    counting = Counting(monkeypatch)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("event", lambda: chain.append(float("nan"))),
        ("event", lambda: chain.append({1: 2})),
        ("event", lambda: chain.append("x" * 1024 * 1024)),
        ("event", lambda: chain.append_json('{"a":1,"a":1}')),
        ("anchor", lambda: chain.verify(Checkpoint("others", 0, "0" * 64))),
        ("upto_seq", lambda: chain.seal(-1)),
        ("upto_seq", lambda: chain.export("/nowhere/at/all", upto_seq=-1)),
        ("keep", lambda: chain.seal(1, keep=0)),
        ("spool", lambda: chain.drain()),
    ]
    for argument, call in calls:
        with pytest.raises(Misuse) as caught:
            call()
        assert caught.value.argument == argument
    assert counting.asked == 0


BAD: list[tuple[str, dict[str, Any]]] = [
    ("name", {"name": ""}),
    ("name", {"name": "a{b"}),
    ("name", {"name": "x" * 513}),
    ("name", {"name": None}),
    ("prefix", {"prefix": "a\n"}),
    ("mode", {"mode": "CAS"}),
    ("conflict_retries", {"conflict_retries": -1}),
    ("conflict_retries", {"conflict_retries": 1.5}),
    ("deadline_ms", {"deadline_ms": -1}),
    ("deadline_ms", {"deadline_ms": True}),
]


@pytest.mark.parametrize(("argument", "options"), BAD, ids=str)
def test_misuse_of_what_a_chain_is_made_with(make: Maker, argument: str, options: dict[str, Any]) -> None:
    """When it is made."""
    with pytest.raises(Misuse) as caught:
        make(**options)
    assert caught.value.argument == argument


def test_a_checkpoint_that_is_none_is_misuse() -> None:
    """A size below nothing, a hash that is none."""
    for size, its_hash in ((-1, "0" * 64), (1.0, "0" * 64), (1, "0" * 63), (1, "G" * 64), (1, "A" * 64), (1, b"0" * 64)):
        with pytest.raises(Misuse):
            Checkpoint("orders", size, its_hash)  # type: ignore[arg-type]


def test_names_and_prefixes_make_chains_of_their_own(make: Maker) -> None:
    """The same name under two prefixes are two chains with one id; two names never collide."""
    chains = [make(name=name, prefix=prefix) for name in ("a", "a:b") for prefix in ("redstep:", "x:")]
    for number, chain in enumerate(chains):
        for _ in range(number):
            chain.append(number)
    assert [chain.head().next_seq for chain in chains] == [0, 1, 2, 3]


def test_sync_and_asyncio_offer_the_same() -> None:
    """Name by name, parameter by parameter."""
    kinds = [(AuditChain, "__enter__", "__exit__"), (AsyncAuditChain, "__aenter__", "__aexit__")]
    offered = []
    for kind, *context in kinds:
        methods = {name: each for name, each in vars(kind).items() if inspect.isfunction(each) and not name.startswith("_")}
        assert all(hasattr(kind, name) for name in context)
        offered.append(
            {name: [(p.name, p.default) for p in inspect.signature(each).parameters.values()] for name, each in methods.items()}
        )
        offered[-1]["made with"] = [(p.name, p.default) for p in inspect.signature(kind).parameters.values()]
    assert offered[0] == offered[1]


@pytest.mark.parametrize("mode", [CAS, BATCH, SERVER_ORDER])
def test_a_cancelled_task_is_told_of_in_the_log(
    server: Engine, mode: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """And kept in the spool, if there is one; the cancellation goes on. In a batch it is appended all the same."""

    async def play() -> tuple[int, list[Any]]:
        client = server.async_client()
        with server.client() as admin:
            chain = AsyncAuditChain(client, "orders", mode=mode, spool=tmp_path / "spool")
            await chain.append("first")
            with writes_paused(admin):
                task = asyncio.create_task(chain.append("second"))
                await soon(lambda: blocked(admin))
                task.cancel()
                assert await cancelled(task)
            if mode == BATCH:
                await soon(lambda: admin.llen(Chain(name="orders").keys[0]) == 2)
            kept = chain.spooled
            drained = await chain.drain()
            head = await chain.head()
            await chain.close()
            await client.aclose()
            return kept, [head.next_seq, len(drained.appended), drained.left]

    kept, after = asyncio.run(play())
    assert kept == (mode != BATCH)
    assert after == [2, kept, 0]
    assert len(caplog.records) == kept


def test_what_somebody_has_seen_to_is_taken_out_of_the_spool(make: Maker, proxy: FaultProxy, tmp_path: Path) -> None:
    """By its append id; another is misuse."""
    chain = make(proxy, spool=tmp_path / "spool")
    proxy.arm((REFUSED,))
    with pytest.raises(NotAppended) as caught:
        chain.append(1)
    with pytest.raises(Misuse, match="append_id"):
        chain.discard(b"x" * 16)
    chain.discard(caught.value.append_id)
    assert chain.drain().left == 0


def test_the_result_is_a_value(make: Maker) -> None:
    """With seq and hash."""
    appended = make().append(None)
    assert appended == Appended(0, appended.hash)
