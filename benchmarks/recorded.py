"""Histories to measure with: those that come with Porcupine, and some that are drawn here."""

import random
import re
from pathlib import Path
from typing import Any, NamedTuple

from attrs import frozen

from redstep_check.linearizability import Event, Failed, Model, Outcome, Recorder, Replied, Unknown


class Call(NamedTuple):
    """A call of any object here; what it does not need is empty. The Go program has the same."""

    function: str
    key: str = ""
    value: str = ""
    old: str = ""


def register(state: str, call: Call) -> tuple[str, str]:
    """Take a step of a register, or of one key."""
    match call.function:
        case "read":
            return state, state
        case "write":
            return call.value, ""
        case "append":
            return state + call.value, ""
        case _:
            return (call.value, "true") if state == call.old else (state, "false")


def queue(state: str, call: Call) -> tuple[str, str]:
    """Take a step of a queue, whose values end with a space."""
    if call.function == "enqueue":
        return f"{state}{call.value} ", ""
    first, _, rest = state.partition(" ")
    return rest, first


def only_reads(call: Call, reply: str) -> bool:
    """Of registers and keys: a read, and a compare-and-set that failed."""
    return call.function == "read" or (call.function == "cas" and reply == "false")


MODELS: dict[str, Model[Any, Any, Any]] = {
    "register": Model(init="", step=register),
    "store": Model(init="", step=register, partition=lambda call: call.key),
    "queue": Model(init="", step=queue),
}
HINTED: dict[str, Model[Any, Any, Any]] = {
    "register": Model(init="", step=register, only_reads=only_reads),
    "store": Model(init="", step=register, partition=lambda call: call.key, only_reads=only_reads),
    "queue": Model(init="", step=queue, only_reads=lambda call, reply: call.function == "dequeue" and not reply),
}


@frozen
class Recorded:
    """A history, and what is known of it beforehand."""

    name: str
    model: str
    events: list[Event]
    legal: bool | None = None


# ---------------------------------------------------------------------------------------------- published

JEPSEN = re.compile(r"INFO\s+jepsen\.util\s+-\s+(?P<client>\d+)\s+:(?P<kind>\w+)\s+:(?P<function>\w+)\s+(?P<value>.*)")
STORE = re.compile(
    r'\{:process (?P<client>\d+), :type :(?P<kind>\w+), :f :(?P<function>\w+), :key "(?P<key>.*)", :value (?P<value>nil|".*")\}'
)


def jepsen(path: Path) -> Recorded:
    """Read a log that Jepsen wrote of five clients and one register of etcd: reads, writes, compare-and-set."""
    recorder = Recorder()
    for line in path.read_text(encoding="utf-8").splitlines():
        if not (told := JEPSEN.fullmatch(line.strip())):
            continue
        client, kind, function, value = told.group("client", "kind", "function", "value")
        if kind == "invoke":
            recorder.invoke(client, _asked_of_etcd(function, value))
        else:
            recorder.complete(client, _heard_of_etcd(kind, function, value))
    return Recorded(path.stem, "register", recorder.history())


def _asked_of_etcd(function: str, value: str) -> Call:
    if function == "cas":
        old, new = value.strip("[]").split()
        return Call("cas", value=new, old=old)
    return Call(function, value="" if value == "nil" else value)


def _heard_of_etcd(kind: str, function: str, value: str) -> Outcome[str]:
    if value == ":timed-out":
        return Failed() if function == "read" else Unknown()
    if function == "cas":
        return Replied("true" if kind == "ok" else "false")
    return Replied(value if function == "read" and value != "nil" else "")


def store(path: Path) -> Recorded:
    """Read a log of a key-value store: get, put and append. Its name tells the verdict."""
    recorder = Recorder()
    for line in path.read_text(encoding="utf-8").splitlines():
        told = STORE.fullmatch(line)
        assert told, line
        client, kind, function, key = told.group("client", "kind", "function", "key")
        value = told["value"].strip('"').removesuffix("nil")
        if kind == "invoke":
            recorder.invoke(client, Call({"get": "read", "put": "write"}.get(function, function), key, value))
        else:
            recorder.complete(client, Replied(value if function == "get" else ""))
    return Recorded(path.stem, "store", recorder.history(), legal=path.stem.endswith("ok"))


# ---------------------------------------------------------------------------------------------- drawn


def drawn(name: str, model: str, *, clients: int, operations: int, keys: int = 1, seed: int, spoilt: bool = False) -> Recorded:
    """
    Play clients that take turns at random on a sound object, each call in three strokes: asked, carried out, answered.

    If it is to be spoilt, one reply of the last tenth is made one that nothing ever wrote, so that the whole of the space
    before it has to be searched.
    """
    choose = random.Random(seed)  # noqa: S311  nobody is to be surprised
    states = {str(key): "" for key in range(keys)}
    recorder, asked, answers = Recorder(), dict[int, Call](), dict[int, str]()
    begun = ended = 0
    while ended < operations:
        client = choose.randrange(clients)
        if client in answers:
            reply = answers.pop(client)
            ended += 1
            if spoilt and ended > operations * 0.9 and asked[client].function in ("read", "dequeue"):
                reply, spoilt = "never written", False
            recorder.complete(client, Replied(reply))
            del asked[client]
        elif client in asked:
            call = asked[client]
            states[call.key], answers[client] = MODELS[model].step(states[call.key], call)
        elif begun < operations:
            begun += 1
            asked[client] = _drawn_call(choose, model, str(choose.randrange(keys)), begun)
            recorder.invoke(client, asked[client])
    return Recorded(name, model, recorder.history())


def _drawn_call(choose: random.Random, model: str, key: str, number: int) -> Call:
    if model == "queue":
        return Call("enqueue", key, str(number)) if choose.random() < 0.5 else Call("dequeue", key)
    if model == "store":
        kind = choose.choice(("read", "write", "append"))
        return Call(kind, key, "" if kind == "read" else f"{number} ")
    old, value = (str(choose.randrange(5)) for _ in range(2))
    kind = choose.choice(("read", "read", "write", "cas"))
    return Call(kind, key, "" if kind == "read" else value, old if kind == "cas" else "")
