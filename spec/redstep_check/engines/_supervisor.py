"""
The supervisor of one server: however its owner ends, the server and its directory go too.

    owner ══ stdin ══▶ supervisor ── starts, reaps, kills ──▶ server
      ◀═════ stdout ═══════╯

A byte or end-of-file on standard input ends it all. A process forked from the owner keeps a copy of that pipe's end, so
the supervisor also watches its parent: when that is no longer the owner, the owner is dead.

Standard output carries the server's process id and a newline, and is closed when the server has ended. Standard error,
which the server shares, is the log. The server is killed rather than asked: it has nothing to save, and may be paused.

This file is run as a program of its own, isolated from site-packages, because that starts in a few milliseconds.
"""

import os
import select
import shutil
import signal
import sys
from typing import NoReturn

PARENT_CHECK_S = 0.2


def main(owner: int, directory: str, command: list[str]) -> None:
    """Run the command until it is no longer wanted, then remove the directory. `owner` is the parent's process id."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    server = None
    try:
        server = _start(command)
        os.write(1, b"%d\n" % server)
        while not _abandoned(owner):
            if server and _reaped(server):
                server = None
                os.close(1)
    finally:
        if server:
            os.kill(server, signal.SIGKILL)
            os.waitpid(server, 0)
        shutil.rmtree(directory, ignore_errors=True)


def _start(command: list[str]) -> int:
    """Start the server with an empty input, and its output sent to the log; raises OSError if it can't be executed."""
    nothing_to_read = (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    output_to_log = (os.POSIX_SPAWN_DUP2, 2, 1)
    return os.posix_spawn(command[0], command, os.environ, file_actions=[nothing_to_read, output_to_log])


def _abandoned(owner: int) -> bool:
    """Wait a moment: did the owner write, close its end, or die?"""
    readable, _, _ = select.select([0], [], [], PARENT_CHECK_S)
    return bool(readable) or os.getppid() != owner


def _reaped(server: int) -> bool:
    """Has the server ended? Its process id is free from then on, and no longer ours to kill."""
    return os.waitpid(server, os.WNOHANG)[0] == server


def _program(arguments: list[str]) -> NoReturn:
    """Run as `_supervisor.py OWNER DIRECTORY COMMAND...`."""
    owner, directory, *command = arguments
    main(int(owner), directory, command)
    sys.exit()


if __name__ == "__main__":
    _program(sys.argv[1:])
