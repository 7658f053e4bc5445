"""Bugs of an idempotency store that only interleavings show."""

from functools import partial
from typing import Any

from redstep.errors import Unavailable
from redstep.protocols import send
from redstep.scripts import Script
from redstep.wishes import NOW, CallScript, Protocol, RunWork
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Glance
from redstep_check.interleavings.sequential.idempotency import LEASE_MS, RETENTION_MS, Run
from redstep_check.interleavings.subjects import Bug
from redstep_check.targets.interleaved.idempotency import InterleavedIdempotency
from redstep_check.targets.planted import Fault, planted

READ = Script("read_then_write_read", "return {redis.call('EXISTS', KEYS[1])}")
WRITE = Script(
    "idempotency_claim",
    """
local now, token, fingerprint, lease, retention = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'claim', string.format('claimed {%s} %d %d 1 %s', token, now + lease + retention, now + lease,
  fingerprint))
redis.call('PEXPIRE', KEYS[1], lease + retention + 86400000)
return {'ACQUIRED', 1, now + lease, 0, '', now}
""",
)


class ReadThenWrite(InterleavedIdempotency):
    """Looks whether the key is new, and then takes it: right as long as nobody comes between."""

    def protocol(self, operation: Run, memory: Any) -> Protocol[Any]:
        """In two round trips."""
        if operation.renews or operation.waits:
            return super().protocol(operation, memory)
        return self.run(operation)

    def run(self, operation: Run) -> Protocol[Any]:
        """Read, then write."""
        token = yield from self.module.protocols.draw_token()
        reply: Any = yield CallScript(script=READ, keys=self.keys, args=(NOW,), idempotent=True)
        if reply[0]:
            claim = yield from self.module.protocols.claim(self.policy, self.scope, operation.payload, token)
            if type(claim).__name__ != "Acquired":
                return claim
        else:
            args = (NOW, token, operation.payload, LEASE_MS, RETENTION_MS)
            yield from send(CallScript(script=WRITE, keys=self.keys, args=args, idempotent=True))
            claim = self.module.Acquired(token, 1, 0, 0)
        response = yield RunWork(partial(self.work, operation, claim))
        try:
            settled = yield from self.module.protocols.complete(self.policy, self.scope, token, response)
        except Unavailable:
            return self.module.Outcome(response=response, recorded=False)
        return (settled, response)

    def understood(self, request: CallScript, now_ms: int) -> Any:
        """To read is no step of the specification."""
        return Glance(now_ms) if request.script is READ else super().understood(request, now_ms)


def _faulty(name: str, rule: str, file: str, old: str, new: str, faults: int = 1, also: frozenset[str] = frozenset()) -> Bug:
    fault = Fault(name=name, rule=rule, file=file, old=old, new=new)

    def make(engine: Engine) -> InterleavedIdempotency:
        return InterleavedIdempotency(engine, planted(fault, "redstep.idempotency_run"))

    return Bug(name=name, rule=rule, variant="hash", make=make, faults=faults, also=also)


BUGS = (
    Bug(
        name="read, then write",
        rule="ID-3",
        variant="hash",
        make=ReadThenWrite,
        faults=0,
        also=frozenset({"CM-10", "ID-1", "ID-2"}),
    ),
    _faulty(
        "a claim retried under a new token",
        "ID-1",
        "redstep.idempotency_protocols",
        old="    reply = yield from send(request)\n    verdict, fence, lease_until_ms, retry",
        new="""    try:
        reply = yield request
    except Unavailable as error:
        if error.definite:
            raise
        token = yield from draw_token()
        try:
            reply = yield CallScript(script=CLAIM, keys=(key,), args=(NOW, token, *args[2:]), idempotent=True, finishes=True)
        except Unavailable as again:
            raise Unavailable(again.problem, definite=False) from again
    verdict, fence, lease_until_ms, retry""",
        also=frozenset({"CM-10"}),
    ),
    _faulty(
        "complete after takeover",
        "ID-6",
        "idempotency_complete.lua",
        old="local mine = 'claimed {' .. token .. '} '\n",
        new="local mine = claim and string.match(claim, '^claimed {[^}]+} ') or 'nobody'\n",
        faults=0,
    ),
    _faulty(
        "a lost lease passed over",
        "ID-6",
        "redstep.idempotency_run",
        old="if settled is None or isinstance(settled, Done):",
        new="if settled is None or settled:",
        faults=0,
    ),
    _faulty(
        "a claim kept on cancel",
        "CM-10",
        "redstep.idempotency_protocols",
        old="            with suppress(RedstepError):\n                yield _releasing(policy, scope, token)\n",
        new="            pass\n",
    ),
)
