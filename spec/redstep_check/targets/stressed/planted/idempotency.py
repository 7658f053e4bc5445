"""Bugs of an idempotency store that clients under stress show."""

from redstep_check.stress.binding import Planted
from redstep_check.targets.interleaved.planted.idempotency import READ as THERE
from redstep_check.targets.interleaved.planted.idempotency import WRITE
from redstep_check.targets.planted import Fault
from redstep_check.targets.stressed.clients import Bug

READ = "is it there?"
CLAIM = "    request = CallScript(script=CLAIM, keys=(key,), args=args, idempotent=True, finishes=True)\n"
UNCHECKED = f"""    known = yield CallScript(script=Script("read", {THERE.text!r}), keys=(key,), args=(NOW,), idempotent=True)
    script = CLAIM if known[0] else Script("unchecked", {WRITE.text!r})
    request = CallScript(script=script, keys=(key,), args=args, idempotent=True, finishes=True)
"""
OVERWRITTEN = {"ID-1", "ID-2", "ID-3", "ID-4", "ID-5", "ID-6", "ID-10"}
"""Who writes over a record breaks whatever rule the next call is about."""


def _bug(name: str, rules: set[str], file: str, old: str, new: str, scripts: dict[str, str], *, needs_kills: bool) -> Bug:
    known = Planted(name=name, rules=frozenset(rules), variant="hash", needs_kills=needs_kills)
    return Bug(planted=known, fault=Fault(name=name, rule=min(rules), file=file, old=old, new=new), scripts=scripts)


BUGS = (
    _bug(
        "read, then write",
        OVERWRITTEN,
        "redstep.idempotency_protocols",
        CLAIM,
        UNCHECKED,
        {WRITE.text: "idempotency_claim", THERE.text: READ},
        needs_kills=False,
    ),
    _bug(
        "complete after takeover",
        {"ID-3", "ID-6"},
        "idempotency_complete.lua",
        "local mine = 'claimed {' .. token .. '} '\n",
        "local mine = claim and string.match(claim, '^claimed {[^}]+} ') or 'nobody'\n",
        {},
        needs_kills=False,
    ),
)
