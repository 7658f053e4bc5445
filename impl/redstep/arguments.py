"""What a caller may pass: the checks behind Misuse, made before any command is sent."""

import unicodedata

from redstep.errors import Misuse

PREFIX = "redstep:"
"""What all keys start with, unless a caller says otherwise."""
NAME_BYTES_MAX = 512
INTEGER_MAX = 2**51
"""Sums of three stay below 2^53, up to which the engine's scripts count exactly."""


def checked_name(argument: str, value: object) -> str:
    """Return a name: 1 to 512 bytes of UTF-8 without control characters and braces (a brace would end the hash tag).

    It is a plain str, whatever was given: a member of an enumeration, say, would be printed otherwise than it was checked.
    """
    if not isinstance(value, str):
        raise Misuse(argument, f"must be a str, not {type(value).__name__}")
    name = str.__str__(value)
    try:
        size_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise Misuse(argument, "holds a lone surrogate, which UTF-8 cannot encode") from None
    if not 1 <= size_bytes <= NAME_BYTES_MAX:
        raise Misuse(argument, f"must have 1 to {NAME_BYTES_MAX} bytes of UTF-8, has {size_bytes}")
    for character in name:
        if character in "{}" or unicodedata.category(character) == "Cc":
            raise Misuse(argument, f"must not contain braces or control characters, contains {character!r}")
    return name


def as_prefix(value: str) -> str:
    """Take what all keys start with: nothing, or anything that a name may be."""
    return "" if value == "" else checked_name("prefix", value)


def checked_integer(argument: str, value: object, least: int, most: int = INTEGER_MAX) -> int:
    """Return an integer within bounds; True, 1.0 and "1" are refused."""
    if type(value) is not int:
        raise Misuse(argument, f"must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        given = value if value.bit_length() <= 64 else f"one of {value.bit_length()} bits"  # Python won't print a huge one
        raise Misuse(argument, f"must be an integer from {least} to {most}, not {given}")
    return value
