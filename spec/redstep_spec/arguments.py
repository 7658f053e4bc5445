"""
Arguments: what a caller may call its keys and requests (CM-7), and which numbers it may use (CM-8).

A name is 1 to 512 bytes of UTF-8 without control characters and braces: braces, because the name becomes the hash tag
that keeps all keys of a call in one slot; control characters, because names are read by people in logs.
"""

import unicodedata
from typing import Annotated

from attrs import field, frozen

MAX_BYTES = 512
MAX_INTEGER = 2**51
"""The largest integer a caller may give: sums of three such stay below 2^53, where Lua's doubles are exact (CM-8)."""


def is_name(value: object) -> bool:
    """Whether `value` may name a key, a request or an owner."""
    if not isinstance(value, str):
        return False
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 1 <= size <= MAX_BYTES and not any(c in "{}" or unicodedata.category(c) == "Cc" for c in value)


def is_integer(value: object, least: int, most: int = MAX_INTEGER) -> bool:
    """Whether `value` is an integer within bounds; True and 1.0 are none."""
    return type(value) is int and least <= value <= most


@frozen
class Misuse:
    """The caller's fault, found before any command is sent: in no state could this be answered otherwise."""

    argument: Annotated[str, "RL-16"]
    """The name of the argument at fault."""
    because: tuple[str, ...] = field(eq=False, default=("RL-16",))
