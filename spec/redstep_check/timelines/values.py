"""
Values: calls, replies and states, as they are read by people and kept in files.

In a file a value is JSON. What JSON has no form for is an object with a `kind`: a class with its fields, a member of an enum,
bytes, a set, a map. Lists come back as tuples. What has no form at all is kept as its text: to save a failure never fails.
"""

import json
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any

import attrs
from attrs import frozen

Kinds = Mapping[str, type]


@frozen(repr=False)
class Kept:
    """A value of a class that is not at hand: what a file says of it."""

    kind: str
    fields: tuple[tuple[str, Any], ...] = ()
    member: str = ""
    """Instead of fields, the name of a member of an enum."""
    text: str = ""
    """Instead of both, all that is known."""

    def __repr__(self) -> str:
        return self.text or self.member or f"{self.kind}({', '.join(f'{name}={told(value)}' for name, value in self.fields)})"


def told(value: Any) -> str:
    """A value on one line, without anything that a terminal would obey; fields that have their default are left out."""
    if isinstance(value, Enum):
        return printable(value.name)
    if attrs.has(type(value)) and not isinstance(value, Kept):
        its = [each for each in attrs.fields(type(value)) if each.eq and getattr(value, each.name) != each.default]
        named = len(attrs.fields(type(value))) > 1
        fields = (
            f"{each.name}={told(getattr(value, each.name))}" if named else told(getattr(value, each.name)) for each in its
        )
        return f"{type(value).__name__}({', '.join(fields)})"
    return printable(repr(value))


def printable(text: str) -> str:
    """A text with whatever does not print escaped."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def encoded(value: Any) -> Any:
    """A value as JSON."""
    if value is None or isinstance(value, bool | str) or type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    if isinstance(value, Kept):
        if value.member or value.text:
            return {"kind": value.kind, **({"member": value.member} if value.member else {"text": value.text})}
        return {"kind": value.kind, "fields": {name: encoded(each) for name, each in value.fields}}
    fields = fields_of(value)
    if fields is not None:
        return {"kind": type(value).__name__, "fields": {name: encoded(each) for name, each in fields.items()}}
    match value:
        case Enum():
            return {"kind": type(value).__name__, "member": value.name}
        case bytes():
            return {"kind": "bytes", "hex": value.hex()}
        case tuple() | list():
            return [encoded(each) for each in value]
        case AbstractSet():
            return {"kind": "set", "values": sorted(map(encoded, value), key=json.dumps)}
        case Mapping():
            return {"kind": "map", "items": [[encoded(key), encoded(each)] for key, each in value.items()]}
    return {"kind": type(value).__name__, "text": printable(repr(value))}


def fields_of(value: Any) -> dict[str, Any] | None:
    """The fields of an attrs value or a named tuple."""
    if attrs.has(type(value)):
        return {each.name: getattr(value, each.name) for each in attrs.fields(type(value)) if each.init}
    if isinstance(value, tuple) and (names := getattr(value, "_fields", None)):
        return dict(zip(names, value, strict=True))
    return None


def decoded(value: Any, kinds: Kinds) -> Any:
    """The value that JSON stands for; of a class that is not among `kinds`, what is said of it. Raises ValueError."""
    match value:
        case list():
            return tuple(decoded(each, kinds) for each in value)
        case {"kind": str(kind), "fields": dict(fields)}:
            its = {str(name): decoded(each, kinds) for name, each in fields.items()}
            return _made(kinds[kind], its) if kind in kinds else Kept(kind, tuple(its.items()))
        case {"kind": str(kind), "member": str(name)}:
            return _member(kinds[kind], name) if kind in kinds else Kept(kind, member=printable(name))
        case {"kind": "bytes", "hex": str(digits)}:
            return bytes.fromhex(digits)
        case {"kind": "set", "values": list(values)}:
            return frozenset(decoded(each, kinds) for each in values)
        case {"kind": "map", "items": list(items)}:
            return {decoded(key, kinds): decoded(each, kinds) for key, each in items}
        case {"kind": str(kind), "text": str(text)}:
            return Kept(kind, text=printable(text))
        case dict():
            raise ValueError(f"this stands for no value: {value!r}")
    return value


def _made(kind: type, fields: dict[str, Any]) -> Any:
    names = {each.name: each.alias for each in attrs.fields(kind)} if attrs.has(kind) else {}
    try:
        value = kind(**{names.get(name) or name: each for name, each in fields.items()})
    except (TypeError, AttributeError) as error:
        raise ValueError(f"this is no {kind.__name__}: {fields!r} ({error})") from error
    if fields_of(value) is None:
        raise ValueError(f"this is no {kind.__name__}, which has no fields: {fields!r}")
    return value


def _member(kind: type, name: str) -> Any:
    if not issubclass(kind, Enum) or name not in kind.__members__:
        raise ValueError(f"{kind.__name__} has no member {name!r}")
    return kind[name]
