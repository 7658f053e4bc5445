"""
Requests: what of redis-py's commands can stop at one round trip, on one connection for all clients; the rest is refused.

What one client's connection would remember (WATCH, a subscription, another database) can't be replayed, nor can what blocks,
nor an expiry at an absolute time of the engine's own clock.
"""

import re
from typing import Any

from attrs import frozen

from redstep_check.interleavings.foreign.wire import Command, Commands

OF_A_CONNECTION = frozenset(
    b"WATCH UNWATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR SELECT CLIENT HELLO AUTH RESET QUIT READONLY ASKING".split()
)
BLOCKING = frozenset(b"BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF".split())
ABSOLUTE = frozenset(b"EXPIREAT PEXPIREAT EXAT PXAT".split())
OF_A_SERVER = frozenset(b"FLUSHALL FLUSHDB FCALL FCALL_RO FUNCTION CONFIG DEBUG SHUTDOWN SWAPDB".split())
EVALS = frozenset({b"EVAL", b"EVAL_RO"})
EVALSHAS = frozenset({b"EVALSHA", b"EVALSHA_RO"})
ABSOLUTE_IN_LUA = re.compile(rb"expireat|'(?:exat|pxat)'|\"(?:exat|pxat)\"", re.IGNORECASE)


class Unfit(Exception):
    """A foreign implementation does something with which the scheduler can't follow it; the text says what."""


@frozen(cache_hash=True)
class Recipe:
    """An operation under way: whose it is, and what it was told."""

    client: int
    begun: int
    operation: Any
    fed: tuple[Any, ...]


@frozen(cache_hash=True)
class Sent:
    """What waits to be executed at once: a command, or a transaction from MULTI to EXEC."""

    commands: Commands
    recipe: Recipe | None = None
    """How to come to them again, if they depend on the time at which they are sent."""


def word(command: Command) -> bytes:
    """What a command is called."""
    return command[0].upper()


def is_transaction(commands: Commands) -> bool:
    """Whether they are executed as one."""
    return len(commands) > 1 and word(commands[0]) == b"MULTI" and word(commands[-1]) == b"EXEC"


def require_fit(commands: Commands) -> None:
    """Refuse what can't be followed. Raises Unfit."""
    inner = commands[1:-1] if is_transaction(commands) else commands
    for command in inner:
        name = word(command)
        if name in (b"MULTI", b"EXEC", b"DISCARD"):
            raise Unfit("a transaction must be sent as one, from MULTI to EXEC, as a pipeline of redis-py's sends it")
        if name in OF_A_CONNECTION:
            raise Unfit(f"{name.decode()} changes one connection, and the scheduler's clients share theirs")
        if name in BLOCKING or (name in (b"XREAD", b"XREADGROUP") and b"BLOCK" in map(bytes.upper, command)):
            raise Unfit(f"{name.decode()} blocks: who would go on is not the scheduler's to say")
        if name in OF_A_SERVER:
            raise Unfit(f"{name.decode()} is about more than one implementation's keys")
        if name in ABSOLUTE or (name in (b"SET", b"GETEX") and ABSOLUTE & {each.upper() for each in command[2:]}):
            raise Unfit(f"{name.decode()} expires at a time of the engine's own clock; the scheduler has another")
        if name in EVALS:
            require_fit_script(command[1])
        if name == b"TIME" and is_transaction(commands):
            raise Unfit("TIME within a transaction is not given")


def require_fit_script(text: bytes) -> None:
    """Refuse a script with an absolute expiry. Raises Unfit."""
    if ABSOLUTE_IN_LUA.search(text):
        raise Unfit("a script expires keys at a time of the engine's own clock; the scheduler has another")
