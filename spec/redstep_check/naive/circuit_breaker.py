"""The naive breaker as a target: read the state, decide in Python, write it back. It says yes or no, and nothing else."""

import json
from collections.abc import Sequence
from typing import Any

from redstep_check.binding import Answer, Answered, Target, session_prefix
from redstep_check.engines import Engine
from redstep_check.guards.circuit_breaker import Ask
from redstep_spec import circuit_breaker as spec
from redstep_spec.delivery import Fate


class NaiveCircuitBreaker(Target[Ask]):
    """A record of state, counts and a time; no permits, no epochs, and half-open lets everybody try."""

    def __init__(self, engine: Engine) -> None:
        self._client = engine.client()
        self._engine = engine

    def begin(self) -> None:
        """Start anew under another prefix."""
        self._prefix = session_prefix(self._engine.prefix)

    def call(self, call: Ask, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  it has none but the default
        """Carry out an acquire or a report."""
        if isinstance(call, spec.Acquire):
            return Answered({"admitted": self._allows(call)})
        if isinstance(call, spec.Report):
            self._record(call)
        return Answered({})

    def _allows(self, call: spec.Acquire) -> bool:
        record = self._read(call.name)
        if record["state"] == "open" and call.now_ms >= record["until"]:
            record |= {"state": "half-open", "successes": 0}
            self._write(call.name, record)
        return bool(record["state"] != "open")

    def _record(self, call: spec.Report) -> None:
        record = self._read(call.name)
        if call.outcome is spec.Outcome.SUCCESS:
            record |= {"failures": 0, "successes": record["successes"] + 1}
            if record["state"] == "half-open" and record["successes"] >= call.policy.success_threshold:
                record["state"] = "closed"
        else:
            record["failures"] += 1
            if record["state"] == "half-open" or record["failures"] >= call.policy.failure_threshold:
                record |= {"state": "open", "failures": 0, "until": call.now_ms + call.open_ms}
        self._write(call.name, record)

    def _read(self, name: str) -> dict[str, Any]:
        stored = self._client.get(self._prefix + name)
        record: dict[str, Any] = {"state": "closed", "failures": 0, "successes": 0, "until": 0}
        return record if stored is None else json.loads(stored)

    def _write(self, name: str, record: dict[str, Any]) -> None:
        self._client.set(self._prefix + name, json.dumps(record))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
