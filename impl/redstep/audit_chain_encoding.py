"""
The bytes of an audit chain: what is hashed, and what is stored. Numbers are big-endian.

    genesis hash   SHA-256 of  tag, u8 0, u8 1, u16 length of the chain id, chain id
    header         u8 1, u16 length of the chain id, chain id, u64 seq, previous hash (32), append id (16)
    record hash    SHA-256 of  tag, u8 1, header, SHA-256 of the event
    stored record  header, record hash (32), event
    page           of each record: u32 length of the stored record, stored record

The tag is `redstep.audit-chain` and a zero byte; the number after it keeps a genesis apart from a record; the 1 that a header
begins with is the version of this layout. The chain id is the chain's name in UTF-8. Every part has a fixed length or is
preceded by it, so that no two records are hashed as the same bytes.

An event is hashed and stored as the bytes it is, and never encoded again. A page is what the store answers when it is read, and
what a file of exported records holds.
"""

import hashlib
import secrets
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache

from attrs import frozen

TAG = b"redstep.audit-chain\x00"
GENESIS, RECORD = b"\x00", b"\x01"
VERSION = 1
HASH_BYTES = 32
APPEND_ID_BYTES = 16

_OPENING = struct.Struct(">BH")
_LINK = struct.Struct(f">Q{HASH_BYTES}s{APPEND_ID_BYTES}s")
_HASH = struct.Struct(f"{HASH_BYTES}s")
_LENGTH = struct.Struct(">I")


class Unparsable(ValueError):
    """Bytes that are no stored record, or no page of them."""


@frozen
class Record:
    """One record of a chain. What it states need not be true: see `true_hash`."""

    chain_id: bytes
    seq: int
    previous: bytes
    """The hash of the record before it, or the genesis hash."""
    append_id: bytes
    """Drawn once for each logical append, and kept when it is linked anew: two equal events are two records."""
    hash: bytes
    event: bytes


@lru_cache(maxsize=64)
def opening(chain_id: bytes) -> bytes:
    """What every record of a chain begins with."""
    return _OPENING.pack(VERSION, len(chain_id)) + chain_id


def genesis_hash(chain_id: bytes) -> bytes:
    """What the first record of a chain links to. It depends on the chain, so that records cannot move between chains."""
    return hashlib.sha256(TAG + GENESIS + opening(chain_id)).digest()


def linked(chain_id: bytes, seq: int, previous: bytes, append_id: bytes, event: bytes) -> Record:
    """Make the record of an event at a place in a chain."""
    return Record(chain_id, seq, previous, append_id, record_hash(chain_id, seq, previous, append_id, event), event)


def new_append_id() -> bytes:
    """Draw what tells an append from every other."""
    return secrets.token_bytes(APPEND_ID_BYTES)


def digest_of(event: bytes) -> bytes:
    """What a record's hash covers of its event."""
    return hashlib.sha256(event).digest()


def record_hash(chain_id: bytes, seq: int, previous: bytes, append_id: bytes, event: bytes) -> bytes:
    """Hash all that a record holds."""
    header = opening(chain_id) + _LINK.pack(seq, previous, append_id)
    return hashlib.sha256(TAG + RECORD + header + digest_of(event)).digest()


def true_hash(record: Record) -> bytes:
    """What the hash of a record would have to be."""
    return record_hash(record.chain_id, record.seq, record.previous, record.append_id, record.event)


def stored(record: Record) -> bytes:
    """Spell a record out as it is stored."""
    link = _LINK.pack(record.seq, record.previous, record.append_id)
    return opening(record.chain_id) + link + record.hash + record.event


def parsed(text: bytes) -> Record:
    """Read a stored record. Raises Unparsable."""
    try:
        version, length = _OPENING.unpack_from(text)
        at = _OPENING.size + length
        seq, previous, append_id = _LINK.unpack_from(text, at)
        (its_hash,) = _HASH.unpack_from(text, at + _LINK.size)
    except struct.error:
        raise Unparsable(f"{len(text)} bytes are too few for a record") from None
    if version != VERSION:
        raise Unparsable(f"a record of version {version}")
    event = text[at + _LINK.size + HASH_BYTES :]
    if not event:
        raise Unparsable("a record without an event")
    return Record(text[_OPENING.size : at], seq, previous, append_id, its_hash, event)


def page_of(records: Iterable[bytes]) -> bytes:
    """Put stored records, one after the other, into a page."""
    return b"".join(part for record in records for part in (_LENGTH.pack(len(record)), record))


def records_of(page: bytes) -> Iterator[bytes]:
    """Take a page apart. Raises Unparsable."""
    at = 0
    while at < len(page):
        if len(page) < at + _LENGTH.size:
            raise Unparsable("a page ends within a length")
        (length,) = _LENGTH.unpack_from(page, at)
        at += _LENGTH.size
        if len(page) < at + length:
            raise Unparsable("a page ends within a record")
        yield page[at : at + length]
        at += length
