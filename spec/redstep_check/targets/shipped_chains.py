"""What the targets of the shipped audit chain share: how it is stored, and how what came of a call is told."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redstep.audit_chain import BATCH, CAS, MODES, SERVER_ORDER
from redstep.audit_chain_errors import AppendFailed, Conflict, NotAppended, Regress, Sealed, SealRefused
from redstep.audit_chain_verification import Verdict
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable, UnexpectedReply
from redstep_check.binding import Answer, Answered, Broke, Misused, Stored, Unsupported, session_prefix
from redstep_check.engines import Engine
from redstep_check.guards.audit_chain import AuditChainTarget
from redstep_check.targets.stored_chains import keys_of, read
from redstep_spec import audit_chain_verification as verification

MIXED = "mixed"
MODES_OF = {CAS: {CAS}, BATCH: {BATCH}, SERVER_ORDER: {SERVER_ORDER, CAS}, MIXED: {*MODES}}
"""The modes of the writers that share a chain: nothing conflicts unless somebody links for himself."""
FEATURES = frozenset({"several_writers", "seal", "read", "verify", "misuse", "stored"})
CAUSES: dict[type[BaseException], str] = {
    Unavailable: "unavailable",
    ServiceOverloaded: "unavailable",
    Conflict: "conflict",
    Regress: "regress",
    Sealed: "sealed",
    Corrupt: "corrupt",
}
"""What the specification calls the causes of a failure."""


class ShippedAuditChain(AuditChainTarget):
    """What the shipped targets share: which modes their writers have, and how what they store is read."""

    def __init__(self, engine: Engine, mode: str) -> None:
        self.engine = engine
        self.features = FEATURES | MODES_OF[mode]
        self.client = engine.client()
        self.prefix = engine.prefix
        if SERVER_ORDER in self.features and not self.client.eval("return bit and 1 or 0", 0):
            self.client.close()
            raise Unsupported(f"the Lua of {engine.name} lacks `bit`, with which `{SERVER_ORDER}` hashes")

    def begin(self) -> None:
        """Start anew under another prefix."""
        self.prefix = session_prefix(self.engine.prefix)

    def stored(self, *key: Any) -> Stored:
        """Read a chain through the abstraction function."""
        [name] = key
        return read(self.client, *keys_of(self.prefix, name))

    def close(self) -> None:
        """Close the connection."""
        self.client.close()


def answer(run: Callable[[], dict[str, object]]) -> Answer:
    """Tell what a caller of the shipped implementation saw."""
    try:
        return Answered(run())
    except AppendFailed as error:
        return Answered(failure(error)) if type(error.cause) in CAUSES else Broke(repr(error))
    except Misuse as error:
        return Misused("entries" if error.argument == "events" else error.argument)
    except UnexpectedReply as error:
        return Broke(str(error), "CM-8")
    except Corrupt:
        return Answered({"verdict": "corrupt"})
    except Exception as error:  # noqa: BLE001  whatever else is raised, no rule allows it
        return Broke(repr(error))


def failure(error: AppendFailed) -> dict[str, object]:
    """An append that failed, in the specification's terms."""
    outcome = "not appended" if isinstance(error, NotAppended) else "unknown"
    return {"outcome": outcome, "cause": CAUSES[type(error.cause)], "events": tuple(each.event for each in error.together)}


def placed(appended: Sequence[Any]) -> dict[str, object]:
    """One that did not, likewise."""
    hashes = tuple(bytes.fromhex(each.hash) for each in appended)
    return {"outcome": "appended", "seqs": tuple(each.seq for each in appended), "hashes": hashes}


def judged(verdict: Verdict) -> dict[str, object]:
    """What a verification came to."""
    finding = verdict.why or verdict.integrity
    return {"finding": finding.value, "position": verdict.position, "comparable": verdict.compared}


def kind_of(kind: Any, seq: int, its_hash: bytes) -> dict[str, object]:
    """How the store answered an append."""
    match kind.name:
        case "APPENDED" | "ALREADY":
            return {"verdict": kind.name.lower(), "seq": seq, "hash": its_hash}
        case "SEALED":
            return {"verdict": "sealed"}
    return {"verdict": "hash_mismatch", "continues": kind.name == "MISMATCH"}


def told_of(head: Any) -> dict[str, object]:
    """The head."""
    return {"next_seq": head.next_seq, "base_seq": head.base_seq, "head_hash": bytes.fromhex(head.hash)}


def sealed(seal: Callable[[], int]) -> dict[str, object]:
    """Seal, and tell what came of it."""
    try:
        return {"verdict": "removed", "base_seq": seal()}
    except SealRefused:
        return {"verdict": "refused"}


@contextmanager
def files_of(call: verification.Verify) -> Iterator[list[Path]]:
    """With the segments of a verification as files."""
    with tempfile.TemporaryDirectory(prefix="redstep-segments-") as directory:
        paths = [Path(directory) / str(number) for number in range(len(call.segments))]
        for path, content in zip(paths, call.segments, strict=True):
            path.write_bytes(content)
        yield paths
