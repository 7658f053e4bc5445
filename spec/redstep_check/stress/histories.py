"""Histories: from what clients wrote down to what happened to each key, request by request and operation by operation."""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
from attrs import define, evolve, field, frozen

from redstep_check.binding import Answered
from redstep_check.linearizability import Completion, Event, Invocation
from redstep_check.stress.binding import Operation, Part, Request, Said, Tongue, Values
from redstep_check.stress.logs import REFUSED, REPLIED, UNKNOWN, Asked, Began, Ended, Entry, Heard, Worked, load
from redstep_check.timelines.values import Kept
from redstep_spec.audit_chain_encoding import Record
from redstep_spec.delivery import Failed, Outcome, Replied, Unknown

NOT_KNOWN = "NoScriptError"
"""How the refusal of an engine begins that does not know a script."""


def entries(directory: Path) -> list[Entry]:
    """All that the clients of a slice wrote down, in order. Raises BadLog, OSError."""
    found = [entry for path in sorted(directory.glob("*.log")) for entry in load(path)]
    return sorted(found, key=attrgetter("at"))


@define
class _Public:
    began: Began
    ended: Ended | None = None
    requests: list[Request] = field(factory=list)
    works: list[tuple[int, Values]] = field(factory=list)

    def operation(self) -> Operation:
        ended = self.ended
        return Operation(
            name=self.began.operation,
            client=self.began.client,
            key=self.began.key,
            call=self.began.call,
            began_at=self.began.at,
            ended_at=ended.at if ended else None,
            outcome=ended.outcome if ended else UNKNOWN,
            values=ended.values if ended else {},
            requests=tuple(self.requests),
            works=tuple(self.works),
        )


def parts(written: Iterable[Entry], tongue: Tongue) -> dict[str, Part]:
    """What happened to each key. Raises ValueError for a request that is none of the guard's."""
    asked: dict[str, Asked] = {}
    requests: list[Request] = []
    public: dict[str, _Public] = {}
    for entry in written:
        match entry:
            case Asked():
                if entry.lane in asked:
                    raise ValueError(f"at {entry.at}: {entry.lane} sends a request while another is open")
                asked[entry.lane] = entry
            case Heard():
                requests.append(_request(asked.pop(entry.lane), entry, tongue))
            case Began():
                public[entry.operation] = _Public(entry)
            case Ended():
                public[entry.operation].ended = entry
            case Worked():
                public[entry.operation].works.append((entry.at, entry.values))
    requests += [_request(each, None, tongue) for each in asked.values()]
    by_key: dict[str, list[Request]] = {}
    for each in sorted(requests, key=attrgetter("asked_at")):
        by_key.setdefault(each.key, []).append(each)
        if each.operation in public:
            public[each.operation].requests.append(each)
    operations: dict[str, list[Operation]] = {}
    for one in public.values():
        operations.setdefault(one.began.key, []).append(one.operation())
    keys = dict.fromkeys((*by_key, *operations))
    return {key: Part(key=key, requests=tuple(by_key.get(key, ())), operations=tuple(operations.get(key, ()))) for key in keys}


def _request(asked: Asked, heard: Heard | None, tongue: Tongue) -> Request:
    call = tongue.understood(asked.script, asked.keys, asked.args)
    return Request(
        lane=asked.lane,
        operation=asked.operation,
        key=tongue.key(asked.keys[0]),
        call=call,
        asked_at=asked.at,
        heard_at=heard.at if heard else None,
        outcome=_outcome(call, heard, tongue),
    )


def _outcome(call: Any, heard: Heard | None, tongue: Tongue) -> Outcome[Said]:
    """An engine that does not know the script has executed nothing; no step answers any other error."""
    if heard is None or heard.outcome not in (REPLIED, REFUSED):
        return Unknown()
    if heard.outcome == REFUSED:
        return Failed() if str(heard.reply).startswith(NOT_KNOWN) else _wrong(heard.reply)
    answer = tongue.read(call, heard.reply)
    return Replied(Said(answer.values)) if isinstance(answer, Answered) else _wrong(answer)


def _wrong(what: object) -> Replied[Said]:
    return Replied(Said({"error": str(what)}))


# ---------------------------------------------------------------------------------------------- as others take them


def requests_as_history(part: Part) -> list[Event]:
    """Every request as an operation of its own, for the search."""
    events: list[Event] = []
    for each in part.requests:
        events.append(Invocation(each.asked_at, each.lane, each.call))
        if each.heard_at is not None:
            events.append(Completion(each.heard_at, each.lane, each.outcome))
    return sorted(events, key=attrgetter("at"))


KNOWN = frozenset({"name", "limits", "policy", "scope", "region", "response_max_bytes"})
"""What is the same in all calls about a key, and needs not be said."""


def in_brief(part: Part) -> list[Event]:
    """The same for the eye: without what all of them have in common, and bytes cut short."""
    events: list[Event] = []
    for each in requests_as_history(part):
        if isinstance(each, Invocation):
            fields = attrs.asdict(each.call, recurse=False)
            said = (f"{name}={_brief(value)}" for name, value in fields.items() if name not in KNOWN and value is not None)
            events.append(evolve(each, call=" ".join((type(each.call).__name__, *said))))
        elif isinstance(each.outcome, Replied):
            told = ", ".join(f"{name} {_brief(value)}" for name, value in each.outcome.reply.values.items())
            events.append(evolve(each, outcome=Replied(Kept("reply", text=told))))
        else:
            events.append(each)
    return events


def _brief(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()[:8] if len(value) > 4 else repr(value)
    if isinstance(value, tuple):
        return ",".join(f"{each.seq}:{each.hash.hex()[:8]}" if isinstance(each, Record) else str(each) for each in value)
    return str(value.value) if isinstance(value, Enum) else str(value)


def operations_as_history(operations: Sequence[Operation]) -> list[Event]:
    """What callers asked and were told, for the eye."""
    events: list[Event] = []
    for each in operations:
        events.append(Invocation(each.began_at, each.client, _asked(each)))
        if each.ended_at is not None:
            events.append(Completion(each.ended_at, each.client, _told(each)))
    return sorted(events, key=attrgetter("at"))


def _asked(operation: Operation) -> str:
    what = dict(operation.call)
    return " ".join([str(what.pop("do")), *(f"{name}={value}" for name, value in what.items() if value)])


def _told(operation: Operation) -> Outcome[Any]:
    if operation.outcome == UNKNOWN:
        return Unknown()
    return Failed() if operation.outcome == "failed" else Replied(dict(operation.values))


# ---------------------------------------------------------------------------------------------- overlap


@frozen
class Overlap:
    """How much happened at the same time, among requests that were answered."""

    invocations: int = 0
    open_others: int = 0
    """Summed over all invocations: how many other requests were open."""
    most: int = 0
    same_key: int = 0
    """How many invocations found another request about the same key open, or were found so."""

    @property
    def mean(self) -> float:
        """How many other requests were open at an invocation."""
        return self.open_others / self.invocations if self.invocations else 0.0

    @property
    def share(self) -> float:
        """The share of requests that overlapped another about the same key."""
        return self.same_key / self.invocations if self.invocations else 0.0

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(
            self.invocations + other.invocations,
            self.open_others + other.open_others,
            max(self.most, other.most),
            self.same_key + other.same_key,
        )


def overlap(of: Mapping[str, Part]) -> Overlap:
    """Measure it in one pass. What nobody heard the end of is left out: it would overlap all that came after."""
    heard = [each for part in of.values() for each in part.requests if isinstance(each.outcome, Replied) and each.heard_at]
    events = sorted([(each.asked_at, number) for number, each in enumerate(heard)])
    ends = sorted([(each.heard_at or 0, number) for number, each in enumerate(heard)], reverse=True)
    is_open: dict[str, set[int]] = {}
    overlapping: set[int] = set()
    others = most = under_way = 0
    for at, number in events:
        while ends and ends[-1][0] < at:
            _, over = ends.pop()
            is_open[heard[over].key].discard(over)
            under_way -= 1
        same = is_open.setdefault(heard[number].key, set())
        if same:
            overlapping |= {number, *same}
        same.add(number)
        others += under_way
        most = max(most, under_way)
        under_way += 1
    return Overlap(len(heard), others, most, len(overlapping))
