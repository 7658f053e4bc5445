"""The audit chain's abstraction function: from a list, a head and the append ids beside them to a chain; and back."""

import re

import redis

from redstep_check.binding import Stored, Unreadable
from redstep_spec.audit_chain import Chain, Head
from redstep_spec.audit_chain_encoding import decoded

Keys = tuple[str, str, str]
HEAD = re.compile(rb"(0|[1-9]\d*) (0|[1-9]\d*) ([0-9a-f]{64})")


def keys_of(prefix: str, name: str) -> Keys:
    """Where a chain is."""
    stem = f"{prefix}audit-chain:{{{name}}}"
    return f"{stem}:records", f"{stem}:head", f"{stem}:ids"


def read(client: redis.Redis, records_key: str, head_key: str, ids_key: str) -> Stored:
    """Read a chain. Raises Unreadable."""
    all_of_it = client.pipeline()
    all_of_it.lrange(records_key, 0, -1)
    all_of_it.get(head_key)
    all_of_it.hgetall(ids_key)
    for key in (records_key, head_key, ids_key):
        all_of_it.pttl(key)
    listed, head, ids, *ttls_ms = all_of_it.execute()
    chain = Chain(None if head is None else head_of(head), tuple(listed))
    check_ids(chain, ids)
    return Stored(chain, len(listed), max(ttls_ms) if max(ttls_ms) >= 0 else None, (tuple(listed), head, sorted(ids.items())))


def head_of(text: bytes) -> Head:
    """Read a head. Raises Unreadable."""
    parts = HEAD.fullmatch(text)
    if parts is None:
        raise Unreadable(f"the head {text!r}")
    return Head(next_seq=int(parts[1]), base_seq=int(parts[2]), hash=bytes.fromhex(parts[3].decode()))


def check_ids(chain: Chain, ids: dict[bytes, bytes]) -> None:
    """Each append id is that of an unsealed record, and tells its place. Raises Unreadable."""
    for append_id, seq in ids.items():
        record = chain.at(int(seq))
        if record is not None and record.append_id != append_id:
            raise Unreadable(f"the append id {append_id.hex()} of record {seq.decode()}, which has {record.append_id.hex()}")
        if int(seq) < chain.base_seq:
            raise Unreadable(f"the append id {append_id.hex()} of record {seq.decode()}, which is sealed")


def put(client: redis.Redis, keys: Keys, chain: Chain, chain_id: bytes) -> None:
    """Store a chain, whether or not it makes sense; the ids beside it are those of the records that state that they are its."""
    both = client.pipeline()
    both.delete(*keys)
    if chain.records:
        both.rpush(keys[0], *chain.records)
    if chain.head is not None:
        both.set(keys[1], f"{chain.head.next_seq} {chain.head.base_seq} {chain.head.hash.hex()}")
    for place, text in enumerate(chain.records):
        if (record := decoded(text)) and record.chain_id == chain_id:
            both.hsetnx(keys[2], record.append_id, str(chain.base_seq + place))
    both.execute()
