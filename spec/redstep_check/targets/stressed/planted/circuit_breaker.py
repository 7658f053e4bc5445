"""Bugs of a shared breaker that clients under stress show."""

from redstep_check.stress.binding import Planted
from redstep_check.targets.interleaved.planted.circuit_breaker import WRITE
from redstep_check.targets.planted import Fault
from redstep_check.targets.stressed.clients import Bug

ACQUIRE = "        request = self._step(ACQUIRE, NOW, self.policy.success_threshold, self.policy.open_ms)\n"
UNCHECKED = """        view = yield from self.view()
        script = ACQUIRE if view.state is not State.HALF_OPEN or view.retry_after_ms else _UNCHECKED
        request = self._step(script, NOW, self.policy.success_threshold, self.policy.open_ms)
"""
OVERWRITTEN = {"CB-1", "CB-3", "CB-4", "CB-5", "CB-6", "CB-7", "CB-8", "CB-9", "CB-15"}
"""Who writes over a state that has moved on breaks whatever rule the next call is about."""


def _bug(name: str, rules: set[str], file: str, old: str, new: str, scripts: dict[str, str], *, needs_kills: bool) -> Bug:
    known = Planted(name=name, rules=frozenset(rules), variant="shared", needs_kills=needs_kills)
    return Bug(planted=known, fault=Fault(name=name, rule=min(rules), file=file, old=old, new=new), scripts=scripts)


BUGS = (
    _bug(
        "read, then write",
        OVERWRITTEN,
        "redstep.circuit_breaker_shared",
        ACQUIRE,
        UNCHECKED.replace("_UNCHECKED", f"scripts.Script('unchecked', {WRITE.text!r})"),
        {WRITE.text: "circuit_breaker_acquire"},
        needs_kills=False,
    ),
    _bug(
        "a report credited to a later epoch",
        {"CB-7"},
        "circuit_breaker_report.lua",
        "if permit_epoch ~= epoch or permit_number ~= 0 then return",
        "if permit_number ~= 0 then return",
        {},
        needs_kills=False,
    ),
    _bug(
        "a blind retry",
        {"CM-4"},
        "redstep.protocols",
        "RESENDS_MAX if request.idempotent else 0",
        "RESENDS_MAX",
        {},
        needs_kills=True,
    ),
)
