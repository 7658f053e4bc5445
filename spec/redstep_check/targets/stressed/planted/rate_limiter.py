"""Bugs of a rate limiter that clients under stress show."""

from redstep.rate_limiter import ZSET
from redstep_check.naive.rate_limiter import SCRIPT
from redstep_check.stress.binding import Planted
from redstep_check.targets.interleaved.planted.rate_limiter import WRITE
from redstep_check.targets.planted import Fault
from redstep_check.targets.stressed.clients import Bug

NAIVE = "naive"
MEMBER = "redis.call('ZADD', key, now, now)"
TEXT = SCRIPT.replace(MEMBER, MEMBER.replace("now)", "now .. '-0')"))
"""The naive script, but that looks can read what it stores: two admissions of one millisecond are one."""
ACQUIRE = "    check_acquire(policy, name, cost, request_id)\n    keys = policy.keys(name)\n    identity ="
UNCHECKED = f"""    keys = policy.keys(name)
    usage = yield from peek(policy, name)
    if usage.remaining >= cost:
        [limit] = policy.limits
        args = (NOW, cost, "", limit.limit, limit.window_ms)
        request = CallScript(script=Script("unchecked", {WRITE.text!r}), keys=keys, args=args, idempotent=False)
        allowed, binding, in_force, remaining, retry_after_ms, reset_after_ms, now_ms = integers((yield from send(request)), 7)
        return Decision(bool(allowed), binding, in_force, remaining, retry_after_ms, reset_after_ms, now_ms)
    identity ="""
OF_THE_TUTORIALS = f"""    keys = policy.keys(name)
    [limit] = policy.limits
    request = CallScript(
        script=Script("naive", {TEXT!r}), keys=keys, args=(NOW, limit.window_ms, limit.limit), idempotent=False
    )
    allowed = yield from send(request)
    return Decision(bool(allowed), 0, limit.limit, 0, 0, 0, 0)
    identity ="""


def _bug(name: str, rules: set[str], file: str, old: str, new: str, scripts: dict[str, str], *, needs_kills: bool) -> Bug:
    known = Planted(name=name, rules=frozenset(rules), variant=ZSET, needs_kills=needs_kills)
    return Bug(planted=known, fault=Fault(name=name, rule=min(rules), file=file, old=old, new=new), scripts=scripts)


OVER = {"RL-1", "RL-2", "RL-4", "RL-5", "RL-14"}
"""Who admits too much shows it at an admission, or at the next denial or look, which tell of a log that should not be."""
BUGS = (
    _bug(
        "the naive script",
        OVER,
        "redstep.rate_limiter",
        ACQUIRE,
        OF_THE_TUTORIALS,
        {TEXT: NAIVE},
        needs_kills=False,
    ),
    _bug(
        "read, then write",
        OVER,
        "redstep.rate_limiter",
        ACQUIRE,
        UNCHECKED,
        {WRITE.text: "rate_limiter_zset_acquire"},
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
