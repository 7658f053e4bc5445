"""
Files: a history as JSON, with its verdict, to be looked at and checked again by anybody, in any language.

    {"format": "redstep-history/1", "title": "…", "notes": ["…"],
     "events": [{"at": 1, "client": "A", "call": {"kind": "Write", "fields": {"value": 1}}},
                {"at": 2, "client": "A", "outcome": "replied", "reply": null}],
     "verdict": {"kind": "legal", "steps": 1, "order": [{"operation": 0, "state": 1}]}}

An outcome is `replied`, `failed` or `unknown`; an operation is named by its place among the calls, from 0. Values are told in
`redstep_check.timelines.values`. Where there are marks, they stand beside the events, and the verdict may be a difference:

     "marks": [{"at": 3, "client": "store", "sign": "clock", "text": "1,001 ms", "wrong": false}],
     "verdict": {"kind": "differs", "rule": "RL-2", "sentence": "…", "what": "allowed", "expected": "False", "actual": "True"}}
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import asdict, fields

from redstep_check.linearizability import (
    Completion,
    Event,
    Failed,
    Illegal,
    Invocation,
    Legal,
    MalformedHistory,
    Operation,
    Outcome,
    Placed,
    Replied,
    Undecided,
    Unknown,
    Vacuous,
    Verdict,
    operations,
)
from redstep_check.timelines.timeline import Differs, Mark, Sign, Timeline, placed
from redstep_check.timelines.values import Kinds, decoded, encoded

FORMAT = "redstep-history/1"


class BadHistory(ValueError):
    """A file holds no history, or one that this version cannot read."""


def save(timeline: Timeline, path: Path) -> Path:
    """Write a timeline to a file. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(timeline), indent=1) + "\n", encoding="ascii")
    return path


def load(path: Path, kinds: Kinds | None = None) -> Timeline:
    """
    Read a timeline. `kinds` are the classes of calls, replies and states by name; what is not among them can be looked at,
    but not checked again. Raises BadHistory, OSError.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadHistory(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise BadHistory(f"{path}: not of the format {FORMAT}")
    try:
        return of_json(content, kinds or {})
    except MalformedHistory as error:
        raise BadHistory(f"{path}: {error}") from error
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise BadHistory(f"{path}: not a history of this version ({type(error).__name__}: {error})") from error


def as_json(timeline: Timeline) -> dict[str, Any]:
    """All of a timeline."""
    return {
        "format": FORMAT,
        "title": timeline.title,
        "notes": list(timeline.notes),
        "events": [_event(each) for each in timeline.history],
        **({"marks": [_mark(each) for each in timeline.marks]} if timeline.marks else {}),
        "verdict": None if timeline.verdict is None else _verdict(timeline.verdict),
    }


def of_json(content: Mapping[str, Any], kinds: Kinds) -> Timeline:
    """The timeline that JSON stands for. Raises ValueError, and others where it stands for none."""
    history = [_event_of(each, kinds) for each in content["events"]]
    its = operations(history)
    verdict = content.get("verdict")
    return Timeline(
        history=history,
        verdict=None if verdict is None else _verdict_of(verdict, its, kinds),
        title=str(content.get("title", "")),
        notes=tuple(map(str, content.get("notes", ()))),
        marks=tuple(_mark_of(each, kinds) for each in content.get("marks", ())),
    )


def _mark(mark: Mark) -> dict[str, Any]:
    its = {"at": mark.at, "client": encoded(mark.client), "sign": mark.sign.value}
    return {**its, "text": mark.text, "wrong": mark.is_wrong}


def _mark_of(content: Mapping[str, Any], kinds: Kinds) -> Mark:
    at, client = content["at"], decoded(content["client"], kinds)
    if type(at) is not int:
        raise ValueError(f"the place of a mark is an integer: {at!r}")
    hash(client)
    return Mark(at, client, Sign(content["sign"]), str(content["text"]), is_wrong=bool(content["wrong"]))


def _event(event: Event) -> dict[str, Any]:
    about = {"at": event.at, "client": encoded(event.client)}
    if isinstance(event, Invocation):
        return {**about, "call": encoded(event.call)}
    match event.outcome:
        case Replied(reply):
            return {**about, "outcome": "replied", "reply": encoded(reply)}
        case Failed():
            return {**about, "outcome": "failed"}
        case Unknown():
            return {**about, "outcome": "unknown"}


def _event_of(content: Mapping[str, Any], kinds: Kinds) -> Event:
    at, client = content["at"], decoded(content["client"], kinds)
    if "call" in content:
        return Invocation(at, client, decoded(content["call"], kinds))
    outcomes: dict[str, Outcome[Any]] = {"failed": Failed(), "unknown": Unknown()}
    if content["outcome"] == "replied":
        return Completion(at, client, Replied(decoded(content["reply"], kinds)))
    return Completion(at, client, outcomes[content["outcome"]])


def _verdict(verdict: Verdict | Differs) -> dict[str, Any]:
    order = [{"operation": each.operation.number, "state": encoded(each.state)} for each in placed(verdict)]
    match verdict:
        case Legal():
            return {"kind": "legal", "steps": verdict.steps, "order": order}
        case Illegal():
            stuck = {
                "stuck": verdict.stuck.number,
                "instead": encoded(verdict.instead),
                "partition": encoded(verdict.partition),
            }
            return {"kind": "illegal", "steps": verdict.steps, **stuck, "order": order}
        case Undecided():
            return {"kind": "undecided", "steps": verdict.steps, "open_partitions": encoded(verdict.open_partitions)}
        case Vacuous():
            return {"kind": "vacuous", "operations": verdict.operations}
        case Differs():
            return {"kind": "differs", **asdict(verdict)}


def _verdict_of(content: Mapping[str, Any], its: Sequence[Operation], kinds: Kinds) -> Verdict | Differs:
    order = tuple(Placed(its[_index(each["operation"])], decoded(each["state"], kinds)) for each in content.get("order", ()))
    match content["kind"]:
        case "legal":
            return Legal(order, content["steps"])
        case "illegal":
            stuck = its[_index(content["stuck"])]
            instead, partition = decoded(content["instead"], kinds), decoded(content["partition"], kinds)
            return Illegal(stuck, order, content["steps"], partition=partition, instead=instead)
        case "undecided":
            return Undecided(content["steps"], decoded(content["open_partitions"], kinds))
        case "vacuous":
            return Vacuous(content["operations"])
        case "differs":
            return Differs(**{each.name: str(content[each.name]) for each in fields(Differs)})
    raise ValueError(f"no verdict is called {content['kind']!r}")


def _index(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"this names no operation: {number!r}")
    return number
