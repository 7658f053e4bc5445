"""Bugs of an audit chain that clients under stress show."""

from redstep.audit_chain import BATCH, CAS, SERVER_ORDER
from redstep_check.stress.binding import Planted
from redstep_check.targets.interleaved.planted.audit_chain import WRITE
from redstep_check.targets.planted import Fault
from redstep_check.targets.stressed.clients import Bug

APPEND = "script=APPEND, keys=chain.keys[:2]"


def _bug(
    name: str,
    variant: str,
    rules: set[str],
    file: str,
    old: str,
    new: str,
    scripts: dict[str, str] | None = None,
    *,
    needs_kills: bool = False,
) -> Bug:
    known = Planted(name=name, rules=frozenset(rules), variant=variant, needs_kills=needs_kills)
    return Bug(planted=known, fault=Fault(name=name, rule=min(rules), file=file, old=old, new=new), scripts=scripts or {})


BUGS = (
    _bug(
        "read, then write",
        CAS,
        {"AC-3", "AC-6", "AC-8", "AC-9"},
        "redstep.audit_chain",
        APPEND,
        f"script=Script('unchecked', {WRITE.text!r}), keys=chain.keys[:2]",
        {WRITE.text: "audit_chain_append"},
    ),
    _bug(
        "only the first of several records",
        BATCH,
        {"AC-3", "AC-6", "AC-7", "AC-8", "AC-9"},
        "audit_chain_append.lua",
        "else call('RPUSH', records, unpack(ARGV, 8)) end",
        "else call('RPUSH', records, ARGV[8]) end",
    ),
    _bug(
        "append ids forgotten",
        SERVER_ORDER,
        {"AC-4", "AC-7"},
        "audit_chain_append_next.lua",
        "redis.call('HSET', KEYS[3], append_id, format('%.0f', next_seq))\n",
        "",
        needs_kills=True,
    ),
)
