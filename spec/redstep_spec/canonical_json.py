"""
Canonical JSON: the one way to write a value down (RFC 8785, JSON Canonicalization Scheme).

    {"b": 1e1, "a": "€"}  ──▶  {"a":"€","b":10}     as UTF-8: 7b2261223a22e282ac222c2262223a31307d

Two laws. Equal values have equal bytes, whoever writes them and in whatever language. And nothing is altered to get there:
what another language would read as a different value is refused.

- Names are sorted by their UTF-16 code units, no white space is left, and only what must be escaped is.
- A number is written as ECMAScript does: the fewest digits that are read as the same IEEE 754 double.
- An integer, that is a number written without fraction and exponent, is at most 2^53 - 1 either way (RFC 7493, I-JSON):
  what lies beyond may be read as its neighbour. A number with a fraction or an exponent is the nearest double, however large.
- Refused are duplicate names, NaN and the infinities, lone surrogates, and what is nested deeper than 100 arrays and objects.

Integers of a canonical text can lie beyond that bound: 1e20 is written 100000000000000000000. So what comes out is
to be hashed and kept, not to be read and written again.
"""

import json
from collections.abc import Iterable
from decimal import Decimal
from math import isfinite
from typing import Any

INTEGER_MAX = 2**53 - 1
"""The largest integer that has a double of its own (RFC 7493)."""
DEPTH_MAX = 100
"""How deep arrays and objects may be nested."""
POINT_MAX, POINT_MIN = 21, -6
"""Between these places of its decimal point a number is written without an exponent (ECMAScript, Number::toString)."""

ESCAPED = {chr(code): f"\\u{code:04x}" for code in range(0x20)} | {
    "\b": "\\b",
    "\t": "\\t",
    "\n": "\\n",
    "\f": "\\f",
    "\r": "\\r",
    '"': '\\"',
    "\\": "\\\\",
}


class NotCanonical(ValueError):
    """A value has no canonical form."""


def canonical(value: Any) -> bytes:
    """Write a value of JSON's own types: dict, list, str, int, float, bool, None; no others. Raises NotCanonical."""
    try:
        return _written(value, DEPTH_MAX).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonical("a lone surrogate") from error


def canonical_text(text: str) -> bytes:
    """Write anew what a JSON text (RFC 8259) says. Raises NotCanonical."""
    return canonical(read(text))


def read(text: str) -> Any:
    """The value of a JSON text, in which no name stands twice; NaN and infinities are read too. Raises NotCanonical."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(str(error)) from error


def _written(value: Any, depth: int) -> str:
    kind = type(value)
    if value is None or kind is bool:
        return {None: "null", True: "true", False: "false"}[value]
    if kind is str:
        return _string(value)
    if kind is int:
        if abs(value) > INTEGER_MAX:
            raise NotCanonical("an integer beyond 2^53 - 1")
        return str(value)
    if kind is float:
        return _number(value)
    if depth == 0:
        raise NotCanonical(f"nested deeper than {DEPTH_MAX}")
    if kind is list:
        return "[" + ",".join(_written(each, depth - 1) for each in value) + "]"
    if kind is dict:
        members = (f"{_string(name)}:{_written(value[name], depth - 1)}" for name in _sorted(value))
        return "{" + ",".join(members) + "}"
    raise NotCanonical(f"{kind.__name__} is no type of JSON")


def _sorted(names: Iterable[Any]) -> list[str]:
    if not all(type(name) is str for name in names):
        raise NotCanonical("a name that is no string")
    return sorted(names, key=lambda name: name.encode("utf-16-be"))


def _string(text: str) -> str:
    return '"' + "".join(ESCAPED.get(character, character) for character in text) + '"'


def _number(number: float) -> str:
    if not isfinite(number):
        raise NotCanonical("neither NaN nor an infinity is a number of JSON")
    if number == 0:
        return "0"
    sign, places, exponent = Decimal(repr(number)).normalize().as_tuple()
    digits, point = "".join(map(str, places)), len(places) + int(exponent)  # the value is 0.digits * 10^point
    return "-" * sign + _plain_or_scientific(digits, point)


def _plain_or_scientific(digits: str, point: int) -> str:
    if len(digits) <= point <= POINT_MAX:
        return digits + "0" * (point - len(digits))
    if 0 < point <= POINT_MAX:
        return f"{digits[:point]}.{digits[point:]}"
    if POINT_MIN < point <= 0:
        return "0." + "0" * -point + digits
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) < len(members):
        raise NotCanonical("a duplicate name")
    return value
