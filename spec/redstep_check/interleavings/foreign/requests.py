"""
Requests: what of redis-py's commands can stop at one round trip, on one connection for all clients; the rest is refused.

What one client's connection would remember (WATCH, a subscription, another database) can't be replayed, nor can what blocks,
nor what goes by the engine's own clock: expiry at an absolute time, lives of fields, names of entries, idle times.
"""

import re
from typing import Any

from attrs import frozen

from redstep_check.interleavings.foreign.wire import Command, Commands

OF_A_CONNECTION = frozenset(
    b"WATCH UNWATCH SUBSCRIBE PSUBSCRIBE SSUBSCRIBE MONITOR SELECT CLIENT HELLO AUTH RESET QUIT READONLY ASKING".split()
)
BLOCKING = frozenset(b"BLPOP BRPOP BLMOVE BLMPOP BRPOPLPUSH BZPOPMIN BZPOPMAX BZMPOP WAIT WAITAOF".split())
OF_A_CLOCK = frozenset(
    b"EXPIREAT PEXPIREAT EXPIRETIME PEXPIRETIME HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HEXPIRETIME HPEXPIRETIME HSETEX HGETEX"
    b" XCLAIM XAUTOCLAIM".split()
)
WORDS_OF_A_CLOCK = {
    **dict.fromkeys((b"SET", b"GETEX", b"MSETEX"), frozenset({b"EXAT", b"PXAT"})),
    b"RESTORE": frozenset({b"ABSTTL"}),
    b"XADD": frozenset({b"*"}),
}
"""Commands that go by it if one of these is among their arguments."""
OF_A_SERVER = frozenset(b"FLUSHALL FLUSHDB FCALL FCALL_RO FUNCTION CONFIG DEBUG SHUTDOWN SWAPDB RANDOMKEY DBSIZE".split())
FRAME = frozenset({b"MULTI", b"EXEC"})
"""What stands around a transaction."""
EVALS = frozenset({b"EVAL", b"EVAL_RO"})
EVALSHAS = frozenset({b"EVALSHA", b"EVALSHA_RO"})
OPEN, CLOSED = rb"(?:['\"]|\[\[)", rb"(?:['\"]|\]\])"
OF_A_CLOCK_IN_LUA = re.compile(
    rb"%b(?:%b|exat|pxat|absttl)%b|%bxadd%b.*?%b\*%b"
    % (OPEN, b"|".join(sorted(OF_A_CLOCK)), CLOSED, OPEN, CLOSED, OPEN, CLOSED),
    re.IGNORECASE | re.DOTALL,
)
"""A quoted word of these, or XADD with a name that the engine gives."""
OWN_CLOCK = "goes by the engine's own clock; the scheduler has another"


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


def keys_of(call: Command) -> Command:
    """The keys of a script's call; none if it does not say how many."""
    return call[3 : 3 + int(call[2])] if len(call) > 2 and call[2].isdigit() else ()


def is_transaction(commands: Commands) -> bool:
    """Whether they are executed as one."""
    return len(commands) > 1 and word(commands[0]) == b"MULTI" and word(commands[-1]) == b"EXEC"


def require_fit(commands: Commands) -> None:
    """Refuse what can't be followed. Raises Unfit."""
    inner = commands[1:-1] if is_transaction(commands) else commands
    for command in inner:
        name = word(command)
        if name in FRAME | {b"DISCARD"}:
            raise Unfit("a transaction must be sent as one, from MULTI to EXEC, as a pipeline of redis-py's sends it")
        if name in OF_A_CONNECTION:
            raise Unfit(f"{name.decode()} changes one connection, and the scheduler's clients share theirs")
        if name in BLOCKING or (name in (b"XREAD", b"XREADGROUP") and b"BLOCK" in map(bytes.upper, command)):
            raise Unfit(f"{name.decode()} blocks: who would go on is not the scheduler's to say")
        if name in OF_A_SERVER:
            raise Unfit(f"{name.decode()} is about more than one implementation's keys")
        if name in OF_A_CLOCK or WORDS_OF_A_CLOCK.get(name, frozenset()) & {each.upper() for each in command[2:]}:
            raise Unfit(f"{name.decode()} {OWN_CLOCK}")
        if name in EVALS:
            require_fit_script(command[1])
        if name == b"TIME" and is_transaction(commands):
            raise Unfit("TIME within a transaction is not given")


def require_fit_script(text: bytes) -> None:
    """Refuse a script that goes by the engine's own clock, but for TIME, which is given. Raises Unfit."""
    if (found := OF_A_CLOCK_IN_LUA.search(text)) is not None:
        raise Unfit(f"a script's {found[0].decode(errors='replace')} {OWN_CLOCK}")
