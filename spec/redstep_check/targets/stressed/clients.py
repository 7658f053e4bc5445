"""What the shipped clients under stress share: recorded connections, errors told by name, planted bugs."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha1
from importlib import import_module
from types import ModuleType
from typing import Any

import attrs

from redstep.errors import ServiceOverloaded, Unavailable
from redstep.scripts import load
from redstep_check.stress.binding import Clients, Planted, Surroundings, Tongue, Values
from redstep_check.stress.logs import ANSWERED, BROKE, FAILED, UNKNOWN
from redstep_check.targets.planted import Fault, edited, planted
from redstep_check.targets.stressed.connections import CURRENT, Recorder, async_recorded, recorded


@attrs.frozen(kw_only=True)
class Bug:
    """A bug of clients: an edit of the shipped text."""

    planted: Planted
    fault: Fault
    scripts: Mapping[str, str] = attrs.field(factory=dict)
    """Texts of scripts that only it has, and what they stand for."""


def client_module(name: str, bugs: Iterable[Bug], bug: str) -> ModuleType:
    """A guard's client module as it ships, or with a bug in it."""
    found = [each for each in bugs if each.planted.name == bug]
    return planted(found[0].fault, name) if found else import_module(name)


class ShippedClients(Clients):
    """Public clients of one guard, sync or asyncio."""

    def __init__(self, own: Surroundings, module: ModuleType) -> None:
        logging.getLogger("redstep").addHandler(logging.NullHandler())  # what it would log of the faults done to it is no news
        self.own = own
        self.module: Any = module
        recorder = Recorder(own.name, own.tick, own.log)
        self.redis: Any = (
            async_recorded(own.where.async_kind, own.where.settings, recorder)
            if own.is_async
            else recorded(own.where.kind, own.where.settings, recorder)
        )

    def kind(self, name: str) -> Any:
        """A client class by the name of the sync one."""
        return getattr(self.module, f"Async{name}" if self.own.is_async else name)

    def begin(self, name: str, key: str, call: Values) -> Any:
        """Note who calls, for the requests that are sent on its behalf."""
        CURRENT.set(name)
        return self.ask(key, call)

    @abstractmethod
    def ask(self, key: str, call: Values) -> Any:
        """Call a public method."""

    def raised(self, error: Exception) -> tuple[str, Values]:
        """An outage is definite or not; whatever is no answer of the guard is allowed by no rule."""
        match error:
            case Unavailable():
                return (FAILED if error.definite else UNKNOWN), {}
            case ServiceOverloaded():
                return FAILED, {}
        answer = self.answered(error)
        return (ANSWERED, answer) if answer is not None else (BROKE, {"problem": repr(error)})

    def answered(self, error: Exception) -> Values | None:
        """What an error says, if it is an answer of this guard."""
        del error
        return None

    def close(self) -> Any:
        """Close all connections."""
        return self.redis.aclose() if self.own.is_async else self.redis.close()


class WireTongue(Tongue):
    """Scripts by their SHA-1; keys by what stands between their braces."""

    names: Sequence[str]
    """The scripts of the guard."""

    def __init__(self, bugs: Iterable[Bug], bug: str) -> None:
        self._names = {load(name).sha1: name for name in self.names}
        for each in bugs:
            if each.planted.name != bug:
                continue
            if each.fault.script:
                self._names[_sha1(edited(each.fault, load(each.fault.script).text))] = each.fault.script
            self._names |= {_sha1(text): name for text, name in each.scripts.items()}

    def name(self, script: str) -> str:
        """What a script is called. Raises ValueError."""
        try:
            return self._names[script]
        except KeyError:
            raise ValueError(f"{script} is the SHA-1 of no script of this guard") from None

    def key(self, redis_key: bytes) -> str:
        """The hash tag, or the last part of one that has parts."""
        tag = redis_key.decode().partition("{")[2].partition("}")[0]
        return tag.rpartition(":")[2]


def _sha1(text: str) -> str:
    return sha1(text.encode(), usedforsecurity=False).hexdigest()


def number(value: Any) -> int:
    """An argument as it was sent, or text of digits. Raises ValueError."""
    return int(value)
