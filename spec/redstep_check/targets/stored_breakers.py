"""The circuit breaker's abstraction functions: from a hash, or from what a process holds, to the specification's state."""

import re
from typing import Any

import redis

from redstep_check.binding import Stored, Unreadable
from redstep_spec import circuit_breaker as spec

FIELDS = ("state", "epoch", "failures", "until_ms", "successes", "next", "probes")
"""All of them are there in every state; those that say nothing of a state are 0, or empty."""
NUMBER = re.compile(rb"0|[1-9]\d{0,15}")
PROBES = re.compile(rb"(?:[1-9]\d*(?:,[1-9]\d*)*)?")


def read_hash(client: redis.Redis, key: str) -> Stored:
    """Read a shared breaker. Raises Unreadable."""
    both: Any = client.pipeline()
    both.hgetall(key)
    both.pttl(key)
    fields, ttl_ms = both.execute()
    ttl_ms = None if ttl_ms < 0 else ttl_ms
    if not fields:
        return Stored(spec.INITIAL, 0, ttl_ms, fields)
    if set(fields) != {name.encode() for name in FIELDS}:
        raise Unreadable(f"the fields {sorted(fields)}")
    return Stored(_state(fields[b"state"], fields), len(fields), ttl_ms, fields)


def _state(kind: bytes, fields: dict[bytes, bytes]) -> spec.State:
    numbers = {name: _number(name, fields[name.encode()]) for name in FIELDS[1:-1]}
    epoch, used = numbers["epoch"], {"epoch"}
    if not PROBES.fullmatch(fields[b"probes"]):
        raise Unreadable(f"the probes {fields[b'probes']!r}")
    probes = [int(each) for each in fields[b"probes"].split(b",") if each]
    state: spec.State
    match kind:
        case b"closed":
            state, used = spec.Closed(epoch, numbers["failures"]), {"epoch", "failures"}
        case b"open":
            state, used = spec.Open(epoch, numbers["until_ms"]), {"epoch", "until_ms"}
        case b"half_open":
            state, used = _half_open(numbers, probes), {"epoch", "until_ms", "successes", "next"}
        case _:
            raise Unreadable(f"the state {kind!r}")
    if any(numbers[name] for name in numbers.keys() - used) or (probes and kind != b"half_open"):
        raise Unreadable(f"a breaker that is {kind.decode()}, with {fields}")
    return state


def _half_open(numbers: dict[str, int], probes: list[int]) -> spec.HalfOpen:
    if sorted(set(probes)) != probes or any(number >= numbers["next"] for number in probes):
        raise Unreadable(f"the probes {probes} before {numbers['next']}")
    return spec.HalfOpen(
        numbers["epoch"],
        successes=numbers["successes"],
        probes=frozenset(probes),
        next_number=numbers["next"],
        deadline_ms=numbers["until_ms"],
    )


def _number(name: str, text: bytes) -> int:
    if not NUMBER.fullmatch(text):
        raise Unreadable(f"{name} {text!r}")
    return int(text)


def read_local(state: Any) -> Stored:
    """Read what a local breaker holds, whichever module's classes it is made of."""
    held: spec.State
    match type(state).__name__:
        case "Closed":
            held = spec.Closed(state.epoch, state.failures)
        case "Open":
            held = spec.Open(state.epoch, state.open_until_ms)
        case _:
            held = spec.HalfOpen(
                state.epoch,
                successes=state.successes,
                probes=state.probes,
                next_number=state.next_number,
                deadline_ms=state.deadline_ms,
            )
    return Stored(held, 1, None, held)
