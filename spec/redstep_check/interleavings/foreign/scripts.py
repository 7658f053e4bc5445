"""
Scripts: the engine's memory of them, as each operation sees it; and the time that they see.

The engine knows all that was ever loaded, until it is made to forget them: then it answers NOSCRIPT, which is a reply as any
other. To load a script is nothing that anybody else can notice; so it is answered at once, and is no stop.
"""

import hashlib

from attrs import Factory, define, field

from redstep_check.interleavings.foreign.requests import EVALS, EVALSHAS, FRAME, Unfit, keys_of, require_fit_script, word
from redstep_check.interleavings.foreign.wire import Command, Commands, bulk, error

NOSCRIPT = error("NOSCRIPT No matching script. Please use EVAL.")
GIVEN_TIME = (
    b"local given_us, given_s = table.remove(ARGV), table.remove(ARGV) "
    b"local function timed(call) return function(name, ...) "
    b"if type(name) == 'string' and string.lower(name) == 'time' then return {given_s, given_us} end "
    b"return call(name, ...) end end "
    b"local redis = setmetatable({call = timed(redis.call), pcall = timed(redis.pcall)}, {__index = redis}) "
    b"local server = redis "
)
"""What stands before each script: to TIME, however it is called, it hears the schedule's, which are two arguments more."""


def sha_of(text: bytes) -> bytes:
    """What a script is called by."""
    return hashlib.sha1(text, usedforsecurity=False).hexdigest().encode()


def called(command: Command) -> Command | None:
    """Which script a command calls, by its SHA, and about which keys; None if it calls none."""
    name = word(command)
    if name not in EVALS | EVALSHAS:
        return None
    sha = sha_of(command[1]) if name in EVALS else command[1].lower()
    return (sha, *keys_of(command))


def forgotten(commands: Commands) -> Commands:
    """The calls by SHA that an engine which has forgotten all scripts does not know."""
    known, unknown = set[bytes](), []
    for command in commands:
        if word(command) in EVALS:
            known.add(sha_of(command[1]))
        elif word(command) in EVALSHAS and command[1].lower() not in known:
            unknown.append(command)
    return tuple(unknown)


def executable(commands: Commands) -> Commands:
    """What of them such an engine executes."""
    unknown = forgotten(commands)
    left = tuple(each for each in commands if each not in unknown)
    return left if {*map(word, left)} - FRAME else ()


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
    """A script as the engine is to have it: with its time given."""

    text: bytes
    sha: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        first, line_end, rest = self.text.partition(b"\n") if self.text.startswith(b"#!") else (b"", b"", self.text)
        self.text = first + line_end + GIVEN_TIME + rest
        self.sha = sha_of(self.text)

    def command(self, call: Command, now_us: int) -> Command:
        """A call of it, by its SHA if it was."""
        script = self.text if word(call) in EVALS else self.sha
        return (call[0], script, *call[2:], b"%d" % (now_us // 1_000_000), b"%d" % (now_us % 1_000_000))
