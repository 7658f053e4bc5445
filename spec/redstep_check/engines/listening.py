"""Private servers that listen on the loopback interface, beside their unix socket."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from redstep_check.engines.binaries import Binary
from redstep_check.engines.engine import Engine, EngineUnavailable
from redstep_check.engines.serving import private_server

LOOPBACK = "127.0.0.1"
DRAWS_MAX = 8


@contextmanager
def listening_server(binary: Binary, settings: Sequence[str], config: Mapping[str, str]) -> Iterator[tuple[Engine, list[int]]]:
    """
    Run a server, with a free port in each of the settings, for the length of a `with` block; gives the ports too.

    A port that is free when it is drawn may be another process's when the server starts: then others are drawn. Raises
    EngineUnavailable if there is no such server here, and RuntimeError if there is, but it starts on no ports.
    """
    binary.locate()
    with ExitStack() as stack:
        yield _started(stack, binary, settings, config)


def _started(stack: ExitStack, binary: Binary, settings: Sequence[str], config: Mapping[str, str]) -> tuple[Engine, list[int]]:
    reasons: list[EngineUnavailable] = []
    while len(reasons) < DRAWS_MAX:
        ports = free_ports(len(settings))
        drawn = dict(zip(settings, map(str, ports), strict=True))
        try:
            return stack.enter_context(private_server(binary, {**config, **drawn, "bind": LOOPBACK})), ports
        except EngineUnavailable as reason:
            reasons.append(reason)
    raise RuntimeError(f"{binary.engine} starts on none of the ports that were drawn") from reasons[-1]


def free_ports(number: int) -> list[int]:
    """Ports of the loopback interface that nobody listens on at this moment, no two the same."""
    with ExitStack() as stack:
        held = [stack.enter_context(socket.create_server((LOOPBACK, 0))) for _ in range(number)]
        return [each.getsockname()[1] for each in held]
