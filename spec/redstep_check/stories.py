"""
Stories: what a failing run leaves behind, to be replayed by anybody.

A story holds the moves themselves, not the choices that led to them: it can be replayed when the machine has changed, and
read by a person. Values keep their exact form, the impossible ones that a misuse is made of included. Beside them stands the
timeline of it, which can be looked at without the engine, and without the implementation that was wrong.
"""

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import attrs
from attrs import field, frozen
from attrs.validators import in_, instance_of, min_len

from redstep_check.lockstep import Mismatch
from redstep_check.timelines import BadHistory, Timeline
from redstep_check.timelines import load as load_history
from redstep_check.timelines.files import as_json, of_json

FORMAT = "redstep-story/1"
LOCKSTEP, SCHEDULE = "lockstep", "schedule"
"""The kinds of stories: one call after the other, or the moves of several clients."""


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
    kind: str = field(default=LOCKSTEP, validator=in_((LOCKSTEP, SCHEDULE)))
    timeline: Timeline | None = field(default=None, eq=False, repr=False)
    """What it looks like; None if it was saved without."""


def story_of(
    mismatch: Mismatch,
    *,
    guard: str,
    engine: str,
    client: str,
    seed: int,
    examples: int,
    kind: str = LOCKSTEP,
    timeline: Timeline | None = None,
) -> Story:
    """Make a story of a difference."""
    return Story(
        kind=kind,
        timeline=timeline,
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
    content["timeline"] = story.timeline and as_json(story.timeline)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="ascii")
    return path


def load(
    path: Path, kinds: Mapping[str, Mapping[str, type]], of_schedules: Mapping[str, Mapping[str, type]] | None = None
) -> Story:
    """
    Read a story. Raises BadStory, OSError.

    `kinds` are the classes of each guard's moves, by name; `of_schedules` those of the moves that several clients of it make.
    """
    content = _content(path)
    if content.get("format") != FORMAT:
        raise BadStory(f"{path}: not of the format {FORMAT}")
    if content.get("kind", LOCKSTEP) not in (LOCKSTEP, SCHEDULE):
        raise BadStory(f"{path}: no kind of story is called {content['kind']!r}: there is {LOCKSTEP}, {SCHEDULE}")
    known = (of_schedules or {}) if content.get("kind") == SCHEDULE else kinds
    guard = str(content.get("guard"))
    if guard not in known:
        raise BadStory(f"{path}: no guard is called {guard!r}: there is {', '.join(known) or 'none'}")
    its = {name: each for name, each in content.items() if name != "format"}
    try:
        drawn = its.get("timeline")
        its["timeline"] = None if drawn is None else of_json(drawn, {})
        return Story(**{**its, "moves": decoded(its["moves"], known[guard])})
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BadStory(f"{path}: not a story of this version ({type(error).__name__}: {(*error.args, '')[0]})") from error


def shown(path: Path) -> Timeline:
    """The timeline in a file: a history, or what a story looks like. Raises BadStory, BadHistory, OSError."""
    content = _content(path)
    if content.get("format") != FORMAT:
        return load_history(path)
    if content.get("timeline") is None:
        raise BadStory(f"{path}: a story that was saved without a timeline; `redstep replay {path}` plays it")
    try:
        return of_json(content["timeline"], {})
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BadHistory(f"{path}: not a timeline of this version ({type(error).__name__}: {error})") from error


def _content(path: Path) -> dict[str, Any]:
    """What a file says; nothing if it is JSON, but no object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadStory(f"{path}: not JSON: {error}") from error
    return content if isinstance(content, dict) else {}


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
