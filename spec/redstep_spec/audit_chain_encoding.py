"""
Audit chain, byte by byte: how a record is laid out, and what is hashed. Numbers are unsigned and big-endian.

    chain id        the chain's name in UTF-8, 1 to 512 bytes; a prefix of the store's keys is no part of it
    header          u8 version = 1 | u16 length of the chain id | chain id | u64 seq | 32 previous hash | 16 append id
    genesis hash    SHA-256( tag | u8 0 | u8 version = 1 | u16 length of the chain id | chain id )
    record hash     SHA-256( tag | u8 1 | header | 32 SHA-256 of the event bytes )
    stored record   header | 32 record hash | event bytes, to the end
    segment         u32 length of a stored record | the stored record, one after the other and nothing between; a file

    tag             "redstep.audit-chain" in ASCII | u8 0

Three laws. No two inputs of a hash are the same bytes: what varies in length has its length before it or is at the end, and tag
and kind keep these hashes apart from all others. A record states its chain, so that one of another chain can be told as such.
And the event bytes are stored and hashed as they were given: nobody decodes them and encodes them again (AC-1).
"""

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Annotated

from attrs import evolve, frozen

TAG = b"redstep.audit-chain\0"
GENESIS, RECORD = 0, 1
VERSION = 1
HASH_BYTES, APPEND_ID_BYTES = 32, 16

START = struct.Struct(">BH")
"""Of a header: version, and length of the chain id."""
LINK = struct.Struct(f">Q{HASH_BYTES}s{APPEND_ID_BYTES}s")
"""The rest of it: seq, previous hash and append id."""
LENGTH = struct.Struct(">I")
"""Before each record of a segment."""


@frozen(kw_only=True)
class Record:
    """One record, taken apart."""

    chain_id: Annotated[bytes, "AC-2"]
    seq: Annotated[int, "AC-3"]
    previous: Annotated[bytes, "AC-2"]
    """The hash of the record before it; of the first one, the genesis hash."""
    append_id: Annotated[bytes, "AC-1"]
    hash: Annotated[bytes, "AC-2"]
    event: Annotated[bytes, "AC-1"]
    """Canonical JSON, exactly as it was given."""


def genesis_hash(chain_id: bytes) -> bytes:
    """AC-2: what the first record of a chain links to."""
    return sha256(TAG + bytes([GENESIS]) + START.pack(VERSION, len(chain_id)) + chain_id).digest()


def record_hash(record: Record) -> bytes:
    """AC-2: what the hash of a record must be; the hash that it states has no part in it."""
    return sha256(TAG + bytes([RECORD]) + header(record) + sha256(record.event).digest()).digest()


def header(record: Record) -> bytes:
    """AC-2: what is said about an event."""
    start = START.pack(VERSION, len(record.chain_id))
    return start + record.chain_id + LINK.pack(record.seq, record.previous, record.append_id)


def hashed(record: Record) -> Record:
    """The record with its right hash."""
    return evolve(record, hash=record_hash(record))


def encoded(record: Record) -> bytes:
    """AC-1: the record as it is stored."""
    return header(record) + record.hash + record.event


def decoded(stored: bytes) -> Record | None:
    """Take a stored record apart; None if it is too short for its own lengths and an event, or of another version."""
    if len(stored) < START.size:
        return None
    version, size = START.unpack_from(stored)
    link_at = START.size + size
    hash_at = link_at + LINK.size
    event_at = hash_at + HASH_BYTES
    if version != VERSION or len(stored) <= event_at:
        return None
    seq, previous, append_id = LINK.unpack_from(stored, link_at)
    return Record(
        chain_id=stored[START.size : link_at],
        seq=seq,
        previous=previous,
        append_id=append_id,
        hash=stored[hash_at:event_at],
        event=stored[event_at:],
    )


def segment(records: Iterable[bytes]) -> bytes:
    """AC-12: stored records as an exported file."""
    return b"".join(LENGTH.pack(len(each)) + each for each in records)


def records_of(exported: bytes) -> Iterator[bytes]:
    """AC-12: the stored records of an exported file; what is left of one that was cut off comes last, as it is."""
    at = 0
    while at < len(exported):
        is_cut = len(exported) - at < LENGTH.size
        size = 0 if is_cut else LENGTH.unpack_from(exported, at)[0]
        yield exported[at + LENGTH.size : at + LENGTH.size + size]
        at += LENGTH.size + size
