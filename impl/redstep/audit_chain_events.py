"""
Events: from a JSON value to the bytes that are hashed and stored, RFC 8785's canonical form.

Two ways to write one value are one sequence of bytes: keys sorted by UTF-16 code units, numbers as ECMAScript prints them, no
space. So whoever has the value can compute the hash, in any language. What has no such form is Misuse: a number that an IEEE
double does not hold exactly, NaN and infinities, lone surrogates, keys that are no strings, and in a text keys given twice.

The encoder is the library `rfc8785`, of the extra `redstep[audit]`. It is what refuses numbers and lone surrogates.
"""

import json
from typing import Any, NoReturn

from redstep.errors import Misuse

EVENT_BYTES_MAX = 1024 * 1024
"""Of the canonical form."""
DEPTH_MAX = 100
"""How deep lists and objects may be nested: what encodes and decodes them recurs."""
SCALARS = frozenset({str, int, float, bool, type(None)})
"""What needs no further look."""


def encoder() -> Any:
    """Import the encoder. Raises ImportError that says what to install."""
    try:
        import rfc8785
    except ModuleNotFoundError as error:
        raise ImportError("the audit chain needs the package rfc8785: pip install 'redstep[audit]'") from error
    return rfc8785


def canonical(event: object) -> bytes:
    """Encode a JSON value: dict, list, str, int, float, bool or None. Raises Misuse."""
    _check(event)
    try:
        encoded: bytes = encoder().dumps(event)
    except (ValueError, RecursionError) as error:
        raise Misuse("event", str(error) or type(error).__name__) from error
    if len(encoded) > EVENT_BYTES_MAX:
        raise Misuse("event", f"has {len(encoded)} bytes in its canonical form, more than {EVENT_BYTES_MAX}")
    return encoded


def canonical_text(text: object) -> bytes:
    """Encode the value of a JSON text, a str or its UTF-8 bytes. Raises Misuse."""
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError:
            raise Misuse("event", "is no UTF-8") from None
    if not isinstance(text, str):
        raise Misuse("event", f"must be a str or bytes, not {type(text).__name__}")
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except Misuse:
        raise
    except (ValueError, RecursionError) as error:
        raise Misuse("event", f"is no JSON text that can be read: {error}") from error
    return canonical(value)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Misuse("event", "gives a key twice")
    return found


def _no_number(name: str) -> NoReturn:
    raise Misuse("event", f"holds {name}, which JSON does not know")


def _check(event: object) -> None:
    """Walk through a value, without recursion, for what the encoder would take or fall over: other types, depth, size.

    What lists and objects share counts wherever it is, so a small value may have a canonical form without end.
    """
    left, bytes_least = [(event, 0)], 0
    while left:
        value, depth = left.pop()
        if isinstance(value, dict | list):
            if depth >= DEPTH_MAX:
                raise Misuse("event", f"is nested more than {DEPTH_MAX} deep")
            if isinstance(value, dict):
                _check_keys(value)
                bytes_least += sum(map(len, value))
                value = value.values()
            bytes_least += 1 + len(value) + sum(len(each) for each in value if isinstance(each, str))
            if bytes_least > EVENT_BYTES_MAX:
                raise Misuse("event", f"has more than {EVENT_BYTES_MAX} bytes in its canonical form")
            left += [(each, depth + 1) for each in value if type(each) not in SCALARS]
        elif not isinstance(value, str | int | float | None):
            raise Misuse("event", f"holds a {type(value).__name__}, which JSON does not know")


def _check_keys(value: dict[object, object]) -> None:
    for key in value:
        if not isinstance(key, str):
            raise Misuse("event", f"has a key that is no str, but {type(key).__name__}")
