"""
Scripts: the engine's memory of them, as each operation sees it; and the time that they see.

The engine knows all that was ever loaded, until it is made to forget them. What a client does about that takes nothing but
loading, which nobody else can notice; so it is answered at once, and is no stop.
"""

import hashlib
import re

from attrs import Factory, define, field

from redstep_check.interleavings.foreign.requests import EVALS, EVALSHAS, Unfit, require_fit_script, word
from redstep_check.interleavings.foreign.wire import Command, bulk, error

NOSCRIPT = error("NOSCRIPT No matching script. Please use EVAL.")
ASKS_TIME = re.compile(rb"'time'|\"time\"", re.IGNORECASE)
GIVEN_TIME = (
    b"local given_us, given_s = table.remove(ARGV), table.remove(ARGV) "
    b"local function timed(call) return function(name, ...) "
    b"if string.lower(name) == 'time' then return {given_s, given_us} end return call(name, ...) end end "
    b"local redis = setmetatable({call = timed(redis.call), pcall = timed(redis.pcall)}, {__index = redis}) "
    b"local server = redis "
)
"""What stands before a script that calls TIME: it is given the schedule's, as two arguments more."""


def sha_of(text: bytes) -> bytes:
    """What a script is called by."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


@define
class Scripts:
    """What was loaded by whomever, and what of it is not forgotten, as an operation sees it."""

    texts: dict[bytes, bytes]
    known: set[bytes] = field(init=False, default=Factory(lambda self: set(self.texts), takes_self=True))

    def load(self, text: bytes) -> bytes:
        """Take a script. Raises Unfit."""
        require_fit_script(text)
        sha = sha_of(text)
        self.texts[sha] = text
        self.known.add(sha)
        return sha

    def answered(self, command: Command) -> bytes | None:
        """The reply to what only concerns this memory; None for what must be executed. Raises Unfit."""
        match word(command), *command[1:]:
            case b"SCRIPT", kind, *rest if kind.upper() == b"LOAD":
                return bulk(self.load(rest[0]))
            case b"SCRIPT", kind, *rest if kind.upper() == b"EXISTS":
                return b"*%d\r\n" % len(rest) + b"".join(b":%d\r\n" % (sha.lower() in self.known) for sha in rest)
            case b"SCRIPT", kind, *_:
                raise Unfit(f"SCRIPT {kind.decode(errors='replace')} is the scheduler's to do")
            case name, sha, *_ if name in EVALSHAS and sha.lower() not in self.known:
                return NOSCRIPT
            case name, text, *_ if name in EVALS:
                self.load(text)
        return None


@define
class Engineered:
    """A script as the engine is to have it: with its time given, if it asks for that."""

    text: bytes
    asks_time: bool = field(init=False)
    sha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.asks_time = ASKS_TIME.search(self.text) is not None
        if self.asks_time:
            first, line_end, rest = self.text.partition(b"\n") if self.text.startswith(b"#!") else (b"", b"", self.text)
            self.text = first + line_end + GIVEN_TIME + rest
        self.sha = sha_of(self.text)

    def command(self, called: Command, now_us: int) -> Command:
        """The call of it, by its SHA."""
        name = b"EVALSHA_RO" if word(called).endswith(b"_RO") else b"EVALSHA"
        time = (b"%d" % (now_us // 1_000_000), b"%d" % (now_us % 1_000_000)) if self.asks_time else ()
        return (name, self.sha, *called[2:], *time)
