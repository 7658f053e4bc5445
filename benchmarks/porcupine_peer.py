"""Porcupine, compiled, as a process that checks and times histories; see porcupine/main.go."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import frozen

from recorded import Recorded
from redstep_check.linearizability import Replied, operations

SOURCE = Path(__file__).parent / "porcupine"


class NoPorcupine(Exception):
    """It cannot be had here."""


@frozen
class Porcupine:
    """A running one."""

    process: subprocess.Popen[str]

    def check(self, index: int, times: int) -> tuple[float, bool]:
        """Check one of its histories so many times; return the microseconds that one check took, and the verdict."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{index} {times}\n")
        self.process.stdin.flush()
        nanoseconds, verdict = self.process.stdout.readline().split()
        return int(nanoseconds) / 1e3 / times, verdict == "true"


def module_directory() -> Path:
    """Where its module lies, with its histories. Raises NoPorcupine."""
    _go("mod", "download")
    return Path(_go("list", "-m", "-f", "{{.Dir}}", "github.com/anishathalye/porcupine").strip())


def _go(*words: str) -> str:
    program = shutil.which("go")
    if program is None:
        raise NoPorcupine("go is not installed")
    try:
        return subprocess.run((program, *words), cwd=SOURCE, capture_output=True, text=True, check=True).stdout  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise NoPorcupine(f"go {words[0]}: {error.stderr.strip()}") from error


@contextmanager
def porcupine(histories: Sequence[Recorded], directory: Path) -> Iterator[Porcupine]:
    """Compile it, start it on these histories, and stop it. Raises NoPorcupine."""
    program, told = directory / "porcupine", directory / "histories.json"
    _go("build", "-o", str(program), ".")
    told.write_text(json.dumps([{"Model": each.model, "Events": events_of(each)} for each in histories]), encoding="utf-8")
    with subprocess.Popen((program, told), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            yield Porcupine(process)
        finally:
            process.communicate(timeout=60)


def events_of(recorded: Recorded) -> list[dict[str, Any]]:
    """A history as it reads them: what is unknown is answered, by nothing in particular, at the very end."""
    events: list[tuple[float, dict[str, Any]]] = []
    clients = list(dict.fromkeys(each.client for each in recorded.events))
    for each in operations(recorded.events):
        if not each.is_answered and not each.is_open:
            continue
        about = {"Id": each.number, "Client": clients.index(each.client)}
        call = each.call
        asked = {"Function": call.function, "Key": call.key, "Value": call.value, "Old": call.old}
        events.append((each.invoked_at, {**about, **asked}))
        if isinstance(each.outcome, Replied) and each.completed_at is not None:
            events.append((each.completed_at, {**about, "Returns": True, "Value": each.outcome.reply}))
        else:
            events.append((float("inf"), {**about, "Returns": True, "Unknown": True}))
    return [event for _, event in sorted(events, key=lambda each: each[0])]
