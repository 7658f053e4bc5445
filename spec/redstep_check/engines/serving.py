"""Servers that the kit starts, and that end with it."""

import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast
from urllib.parse import quote

from redstep_check.engines.addressing import CONNECT_MS_MAX, engine_at
from redstep_check.engines.binaries import Binary
from redstep_check.engines.engine import Engine, EngineUnavailable

START_MS_MAX = 10_000


def private_directory() -> Path:
    """A new directory for nobody else, with a path so short that a unix socket fits in (104 bytes on some systems)."""
    long = len(os.fsencode(tempfile.gettempdir())) > 70
    return Path(tempfile.mkdtemp(prefix="redstep-", dir="/tmp" if long else None))  # noqa: S108 - mkdtemp makes it safe


@contextmanager
def private_server(binary: Binary, config: Mapping[str, str]) -> Iterator[Engine]:
    """Run a server for the length of a `with` block. Raises EngineUnavailable."""
    path, version = binary.locate()
    directory = private_directory()
    address = str(directory / "socket")
    settings = directory / "server.conf"
    settings.write_text(_settings(directory, address, config))
    with _supervised([str(path), str(settings)], directory, address, binary.engine) as pid:
        url = f"unix://{quote(address)}"
        yield engine_at(url, name=binary.engine, version=version, owned=True, address=address, pid=pid)


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
