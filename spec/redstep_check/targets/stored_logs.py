"""The rate limiter's abstraction functions: from what is stored of a log to the cost at each instant, by identity."""

import re
import struct
from collections import Counter

import redis

from redstep_check.binding import Stored, Unreadable

Tally = Counter[tuple[int, str | None]]
MEMBER = re.compile(rb"(?P<at>\d+)-\d+|id:\d+:(?P<id>.+)", re.DOTALL)
HEADER, RECORD = struct.Struct(">7d"), struct.Struct(">2d")


def read_zset(client: redis.Redis, key: str, window_ms: int) -> Stored:
    """Read a sorted set of units. Raises Unreadable."""
    both = client.pipeline()
    both.zrange(key, 0, -1, withscores=True)
    both.pttl(key)
    entries: list[tuple[bytes, float]]
    entries, ttl_ms = both.execute()
    newest_ms = entries[-1][1] if entries else 0
    tally: Tally = Counter(unit(member, score) for member, score in entries if score > newest_ms - window_ms)
    return Stored(tally, len(entries), _ttl(ttl_ms), tuple(entries))


def unit(member: bytes, score: float) -> tuple[int, str | None]:
    """Read one unit of cost: when it was admitted, and under which request id. Raises Unreadable."""
    parts = MEMBER.fullmatch(member)
    if parts is None or score != int(score) or (parts["at"] and int(parts["at"]) != score):
        raise Unreadable(f"member {member!r} at score {score}")
    return int(score), parts["id"].decode() if parts["id"] else None


def read_packed(client: redis.Redis, key: str, window_ms: int) -> Stored:
    """Read a ring of records. Raises Unreadable."""
    both = client.pipeline()
    both.get(key)
    both.pttl(key)
    text, ttl_ms = both.execute()
    if text is None:
        return Stored(Counter(), 0, None, None)
    if len(text) < HEADER.size or (len(text) - HEADER.size) % RECORD.size:
        raise Unreadable(f"a string of {len(text)} bytes")
    newest_ms, total, head_ms, head_total, head, count, slots = HEADER.unpack_from(text)
    if len(text) != HEADER.size + slots * RECORD.size or not 1 <= count <= slots:
        raise Unreadable(f"{count} records in {slots} slots of {len(text)} bytes")
    places = [int(head + number) % int(slots) for number in range(int(count))]
    records = [RECORD.unpack_from(text, HEADER.size + place * RECORD.size) for place in places]
    if records[0] != (head_ms, head_total) or records[-1][0] != newest_ms:
        raise Unreadable(f"the header says {head_ms, head_total, newest_ms}, the records {records[0]} to {records[-1]}")
    ends = [*(total_before for _, total_before in records[1:]), total]
    tally: Tally = Counter()
    for (at_ms, total_before), end in zip(records, ends, strict=True):
        if at_ms > newest_ms - window_ms:
            tally[int(at_ms), None] += int(end - total_before)
    return Stored(tally, int(slots), _ttl(ttl_ms), text)


def _ttl(ttl_ms: int) -> int | None:
    return None if ttl_ms < 0 else ttl_ms
