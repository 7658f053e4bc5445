"""
Stories: what a failing run leaves behind, to be replayed by anybody.

A story holds the moves themselves, not the choices that led to them: it can be replayed when the machine has changed, and
read by a person. Values keep their exact form, the impossible ones that a misuse is made of included.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import instance_of, min_len

from redstep_check.lockstep import Mismatch

FORMAT = "redstep-story/1"


class BadStory(ValueError):
    """A file is no story, or one that this version cannot read."""


@frozen(kw_only=True)
class Story:
    """A difference between a target and the specification, and the moves that show it."""

    guard: str = field(validator=instance_of(str))
    engine: str = field(validator=instance_of(str))
    client: str = field(validator=instance_of(str))
    """Which way into the implementation: a client's name, `naive`, or `module:name`."""
    seed: int = field(validator=instance_of(int))
    examples: int = field(validator=instance_of(int))
    """Of the batch that found it."""
    rule: str = field(validator=instance_of(str))
    difference: str = field(validator=instance_of(str))
    moves: tuple[Any, ...] = field(validator=[instance_of(tuple), min_len(1)])


def story_of(mismatch: Mismatch, *, guard: str, engine: str, client: str, seed: int, examples: int) -> Story:
    """Make a story of a difference."""
    return Story(
        guard=guard,
        engine=engine,
        client=client,
        seed=seed,
        examples=examples,
        rule=mismatch.rule,
        difference=str(mismatch),
        moves=tuple(told.move for told in mismatch.story),
    )


def save(story: Story, directory: Path) -> Path:
    """Write a story to a file of its own. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    engine = "".join(c if c.isalnum() else "-" for c in story.engine)
    client = "".join(c if c.isalnum() else "-" for c in story.client)
    path = directory / f"{story.guard}-{engine}-{client}-{story.seed}.json"
    content = {"format": FORMAT, **attrs.asdict(story, recurse=False), "moves": [encoded(move) for move in story.moves]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    return path


def load(path: Path, kinds: Mapping[str, Mapping[str, type]]) -> Story:
    """Read a story; `kinds` are the classes of each guard's moves, by name. Raises BadStory, OSError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadStory(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise BadStory(f"{path}: not of the format {FORMAT}")
    guard = str(content.get("guard"))
    if guard not in kinds:
        raise BadStory(f"{path}: no guard is called {guard!r}: there is {', '.join(kinds)}")
    try:
        return Story(**{**content, "moves": decoded(content["moves"], kinds[guard])})
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise BadStory(f"{path}: not a story of this version ({type(error).__name__}: {error})") from error


def encoded(value: Any) -> Any:
    """Turn a move into JSON: attrs values and members of enums carry the name of their class."""
    if isinstance(value, Enum):
        return {"kind": type(value).__name__, "value": value.value}
    if isinstance(value, bytes):
        return {"kind": "bytes", "value": value.hex()}
    if attrs.has(type(value)):
        return {
            "kind": type(value).__name__,
            **{each.name: encoded(getattr(value, each.name)) for each in attrs.fields(type(value))},
        }
    if isinstance(value, tuple):
        return [encoded(each) for each in value]
    return value


def decoded(value: Any, kinds: Mapping[str, type]) -> Any:
    """Turn JSON back into a move. Raises KeyError for a class that is not among `kinds`, TypeError for other fields."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return tuple(decoded(each, kinds) for each in value)
    if not isinstance(value, dict):
        return value
    fields = {name: decoded(each, kinds) for name, each in value.items()}
    kind = fields.pop("kind")
    return bytes.fromhex(fields["value"]) if kind == "bytes" else kinds[kind](**fields)
