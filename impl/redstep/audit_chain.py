"""
The audit chain in its store: what is asked of it, one script call each, and what it answers.

    records   b ── b+1 ── ... ── n-1        a list of stored records, each holding the hash of the one before it
    head      "n b hash"                    next seq, base seq, and the hash of the record n-1
    ids       append id -> seq              of the unsealed records that the engine linked itself

An append is compare-and-set: records that are linked to the end of the chain extend it, others change nothing. So a chain has
one order, whoever appends, and a record that is sent twice finds itself. What is below the base was sealed, which is to say
exported and removed.

All keys share a slot by the chain's name as their hash tag. They have no TTL: nothing of a chain expires. See
`audit_chain_encoding` for the bytes, and `audit_chain_appending` for how a client appends.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from types import MappingProxyType
from typing import cast

from attrs import Factory, field, frozen

from redstep import scripts
from redstep.arguments import PREFIX, as_prefix, checked_integer, checked_name
from redstep.audit_chain_encoding import HASH_BYTES, Record, genesis_hash, opening, stored
from redstep.errors import Misuse, UnexpectedReply
from redstep.protocols import words
from redstep.scripts import Script
from redstep.wishes import Argument, CallScript

APPEND = scripts.load("audit_chain_append")
APPEND_NEXT = scripts.load("audit_chain_append_next")
READ = scripts.load("audit_chain_read")
SEAL = scripts.load("audit_chain_seal")

CAS, BATCH, SERVER_ORDER = "cas", "batch", "server_order"
MODES = (CAS, BATCH, SERVER_ORDER)
"""How a client appends: linked by itself and one at a time, linked by itself and many at a time, or linked by the engine."""

BATCH_RECORDS_MAX = 500
BATCH_BYTES_MAX = 1024 * 1024
"""Of the events of one batch. An event may have as many, so that every event fits into one."""
PAGE_RECORDS_MAX = 500
PAGE_BYTES = 1024 * 1024
"""How long a page may be, if it holds more than one record."""
KEEP = 1_024
"""How many of the newest records a seal leaves."""

_DRIVERS = frozenset({"evalsha", "eval", "script|load"})
_READING = _DRIVERS | {"get", "llen", "lrange"}
_WRITING = _DRIVERS | {"get", "llen", "lindex", "rpush", "set"}
COMMANDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        CAS: _WRITING,
        BATCH: _WRITING,
        SERVER_ORDER: _WRITING | {"hget", "hset"},
        "read": _READING,
        "seal": _READING | {"lindex", "hlen", "ltrim", "hdel", "set"},
    }
)
"""The commands that an ACL user needs, on keys that start with the prefix: to append in a mode, to verify and export, to seal.

    ACL SETUSER auditor on >password ~redstep:* +evalsha +eval +script|load +get +llen +lrange

All of them: an engine refuses a command when a script comes to it, and keeps what the script wrote before. Whoever may append
can't remove anything; give `seal` to nobody but who exports.
"""


def scripts_of(mode: str) -> tuple[Script, ...]:
    """Return the scripts that a client of a mode calls often: what `load` puts into an engine ahead of time."""
    return (APPEND_NEXT if mode == SERVER_ORDER else APPEND, READ)


def as_mode(value: str) -> str:
    """Take one of the modes."""
    if value not in MODES:
        raise Misuse("mode", f"must be one of {', '.join(MODES)}, not {value!r}")
    return value


def _name(value: str) -> str:
    return checked_name("name", value)


def _conflict_retries(value: int) -> int:
    return checked_integer("conflict_retries", value, 0)


def _deadline_ms(value: int) -> int:
    return checked_integer("deadline_ms", value, 0)


def _size(value: int) -> int:
    return checked_integer("size", value, 0)


def _checkpoint_hash(value: str) -> str:
    if not isinstance(value, str) or not is_hash(value):
        raise Misuse("hash", f"must be 64 lower-case hex digits, not {value!r}")
    return value


def is_hash(text: str) -> bool:
    """Whether a text is a hash as it is written here."""
    return len(text) == 2 * HASH_BYTES and not text.strip("0123456789abcdef")


@frozen(kw_only=True)
class Chain:
    """Which chain, and how patiently it is appended to."""

    name: str = field(converter=_name)
    prefix: str = field(default=PREFIX, converter=as_prefix)
    mode: str = field(default=CAS, converter=as_mode)
    conflict_retries: int = field(default=3, converter=_conflict_retries)
    """How often an append is linked anew after others came first."""
    deadline_ms: int = field(default=5_000, converter=_deadline_ms)
    """For how long the same bytes are sent again when it is unknown whether they were appended."""
    chain_id: bytes = field(init=False, repr=False, default=Factory(lambda self: self.name.encode(), takes_self=True))
    """The name in UTF-8, which is hashed into every record; the prefix is not."""
    opening: bytes = field(init=False, repr=False, default=Factory(lambda self: opening(self.chain_id), takes_self=True))
    """What every record begins with."""
    genesis: bytes = field(init=False, repr=False, default=Factory(lambda self: genesis_hash(self.chain_id), takes_self=True))
    """What the first record links to."""
    keys: tuple[str, str, str] = field(init=False, repr=False, default=Factory(lambda self: self.named_keys(), takes_self=True))
    """Records, head and ids."""

    def named_keys(self) -> tuple[str, str, str]:
        """The name is the hash tag, so they share a slot."""
        stem = f"{self.prefix}audit-chain:{{{self.name}}}"
        return f"{stem}:records", f"{stem}:head", f"{stem}:ids"


@frozen
class Head:
    """Where a chain ends, and where what is stored of it begins."""

    next_seq: int
    base_seq: int
    """The least seq that is still stored; what was below has been sealed."""
    hash: str
    """Of the last record, 64 hex digits; of an empty chain, what its first record will link to."""

    @property
    def hash_bytes(self) -> bytes:
        """The same as 32 bytes."""
        return bytes.fromhex(self.hash)


@frozen
class Checkpoint:
    """What a chain was once: to be remembered elsewhere, and held against it later."""

    name: str = field(converter=_name)
    size: int = field(converter=_size)
    """How many records it had: the next seq."""
    hash: str = field(converter=_checkpoint_hash)
    """Of its last record, 64 hex digits."""


class Kind(IntEnum):
    """How the store answers an append."""

    APPENDED = 1
    ALREADY = 2
    """By an earlier attempt."""
    SEALED = 3
    """It would be below the base, or was before the base moved: it cannot be told."""
    MISMATCH = 4
    """Others appended first."""
    REGRESS = 5
    """The chain does not have, and did not have, what the append links to."""


@frozen
class Answer:
    """What the store answers to an append of linked records."""

    kind: Kind
    head: Head


@frozen
class NextAnswer:
    """What the store answers to an append that it links itself."""

    kind: Kind
    seq: int
    """Of the record; of no meaning when there is none, for the chain was sealed or regressed."""
    hash: str
    """Of the record; when there is none, of the last one."""
    next_seq: int
    base_seq: int

    @property
    def end(self) -> Head:
        """An end of the chain: after the record, for its hash is what was told; when there is none, as it is now."""
        told_of_record = self.kind in (Kind.APPENDED, Kind.ALREADY)
        return Head(self.seq + 1 if told_of_record else self.next_seq, self.base_seq, self.hash)


class SealKind(IntEnum):
    """How the store answers a seal."""

    DONE = 1
    MORE = 2
    """A call removes so many records at most: ask again."""
    REFUSED = 3
    """Too few records would stay; nothing was removed."""


@frozen
class Page:
    """A part of a chain, and where the chain stood at that moment."""

    head: Head | None
    """None if there is none."""
    length: int
    """Of the list."""
    first: int
    """Base seq + place in the list of the page's first record: its seq, where nothing is broken."""
    page: bytes


def binary(value: bytes) -> Argument:
    """Pass bytes as an argument: they are sent as they are."""
    return cast("str", value)


def append(chain: Chain, records: Sequence[Record], base_seq: int = 0) -> CallScript:
    """Ask to append records, linked one after the other, all or none. `base_seq` is a hint."""
    first, last = records[0], records[-1]
    texts = tuple(binary(stored(record)) for record in records)
    link = (first.seq, first.previous.hex(), last.hash.hex(), base_seq, len(records))
    args = (binary(chain.opening), chain.genesis.hex(), *link, *texts)
    return CallScript(script=APPEND, keys=chain.keys[:2], args=args, idempotent=True)


def read_append(reply: list[int | bytes]) -> Answer:
    """Read the answer. Raises UnexpectedReply."""
    kind, next_seq, base_seq, its_hash = words(reply, int, int, int, str)
    return Answer(_kind(kind, tuple(Kind)), Head(next_seq, base_seq, _hash(its_hash)))


def append_next(chain: Chain, since: int, previous: str, append_id: bytes, event: bytes, digest: bytes) -> CallScript:
    """Ask to append an event at the end, wherever that is.

    `since` and `previous` are an end that was told before the append began: its next seq, and the hash, 64 hex digits.
    """
    told = (since, previous, binary(append_id), binary(digest), binary(event))
    args = (binary(chain.opening), chain.genesis.hex(), *told)
    return CallScript(script=APPEND_NEXT, keys=chain.keys, args=args, idempotent=True)


def read_append_next(reply: list[int | bytes]) -> NextAnswer:
    """Read the answer. Raises UnexpectedReply."""
    number, seq, next_seq, base_seq, its_hash = words(reply, int, int, int, int, str)
    kind = _kind(number, (Kind.APPENDED, Kind.ALREADY, Kind.SEALED, Kind.REGRESS))
    return NextAnswer(kind, seq, _hash(its_hash), next_seq, base_seq)


def read(chain: Chain, first: int, count: int = PAGE_RECORDS_MAX, page_bytes: int = PAGE_BYTES) -> CallScript:
    """Ask for the head, and for what is stored from a position on."""
    return CallScript(script=READ, keys=chain.keys[:2], args=(first, count, page_bytes), idempotent=True)


def read_page(reply: list[int | bytes]) -> Page:
    """Read the answer. Raises UnexpectedReply."""
    match reply:
        case [int(next_seq), int(base_seq), bytes(its_hash), int(length), int(first), bytes(page)]:
            head = Head(next_seq, base_seq, _hash(its_hash.decode("ascii", "replace"))) if its_hash else None
            return Page(head, length, first, page)
    raise UnexpectedReply(f"a script answered {reply!r} where a page belongs")


def seal(chain: Chain, upto: int, keep: int = KEEP) -> CallScript:
    """Ask to remove the records below a seq."""
    return CallScript(script=SEAL, keys=chain.keys, args=(binary(chain.opening), upto, keep), idempotent=True)


def read_seal(reply: list[int | bytes]) -> tuple[SealKind, int]:
    """Read the answer, and the base as it is now. Raises UnexpectedReply."""
    kind, _next_seq, base_seq, _hash = words(reply, int, int, int, str)
    if kind not in tuple(SealKind):
        raise UnexpectedReply(f"a script answered {kind} to a seal")
    return SealKind(kind), base_seq


def _kind(number: int, of: Sequence[Kind]) -> Kind:
    if number not in of:
        raise UnexpectedReply(f"a script answered {number} where one of {', '.join(str(int(each)) for each in of)} belongs")
    return Kind(number)


def _hash(text: str) -> str:
    if not is_hash(text):
        raise UnexpectedReply(f"a script answered {text!r} where a hash belongs")
    return text
