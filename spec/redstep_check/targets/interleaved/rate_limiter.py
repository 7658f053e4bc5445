"""The shipped rate limiter among concurrent clients."""

from types import ModuleType
from typing import Any

from redstep import rate_limiter
from redstep.wishes import CallScript, Protocol
from redstep_check.binding import Answer, Answered, Broke, Stored
from redstep_check.engines import Engine
from redstep_check.interleavings.binding import Raw, Refused
from redstep_check.interleavings.sequential.rate_limiter import LIMIT, NAME, Forget, Look, Operation, Take, call_of
from redstep_check.targets.interleaved.protocols import ProtocolsOf
from redstep_check.targets.rate_limiter import require_struct
from redstep_check.targets.stored_logs import read_packed, read_zset
from redstep_spec import rate_limiter as spec

DECISION = ("allowed", "binding", "limit", "remaining", "retry_after_ms", "reset_after_ms", "now_ms")
USAGE = ("binding", "limit", "remaining", "reset_after_ms", "now_ms")


class InterleavedRateLimiter(ProtocolsOf):
    """One key of a shipped limiter."""

    def __init__(self, engine: Engine, representation: str, module: ModuleType = rate_limiter) -> None:
        super().__init__(engine, module)
        require_struct(engine, representation)
        self.representation = representation
        if representation == rate_limiter.ZSET:
            self.features = self.features | {"request_id", "idempotent"}
        limits = self.module.Limit(LIMIT.limit, LIMIT.window_ms)
        self.policy = self.module.Policy(limits=limits, representation=representation, prefix=self.prefix)

    @property
    def keys(self) -> tuple[str, ...]:
        """The log."""
        [key] = self.policy.keys(NAME)
        return (str(key),)

    def protocol(self, operation: Operation, memory: Any) -> Protocol[Any]:
        """Ask, peek or reset."""
        del memory
        match operation:
            case Take(cost, request_id):
                return self.module.acquire(self.policy, NAME, cost, request_id)  # type: ignore[no-any-return]
            case Look():
                return self.module.peek(self.policy, NAME)  # type: ignore[no-any-return]
            case Forget():
                return self.module.reset(self.policy, NAME)  # type: ignore[no-any-return]

    def understood(self, request: CallScript, now_ms: int) -> spec.Call:
        """Each script is one call."""
        if request.script.name == "rate_limiter_reset":
            return call_of(Forget(), now_ms)
        if request.script.name.endswith("peek"):
            return call_of(Look(), now_ms)
        _, cost, *rest = request.args
        identity = rest[0] if self.representation == rate_limiter.ZSET else None
        return call_of(Take(int(str(cost)), str(identity) if identity else None), now_ms)

    def read(self, call: spec.Call, raw: Raw) -> Answer:
        """Name the numbers of a reply."""
        names = {spec.Acquire: DECISION, spec.Peek: USAGE, spec.Reset: ("removed",)}[type(call)]
        if isinstance(raw, Refused) or len(raw) != len(names):
            return Broke(f"the script answers {raw}", "CM-8")
        values = dict(zip(names, raw, strict=True))
        return Answered({**values, **({"allowed": bool(values["allowed"])} if "allowed" in values else {})})

    def seen(self) -> Stored:
        """Read the log."""
        read = read_packed if self.representation == rate_limiter.PACKED else read_zset
        return read(self.client, self.keys[0], LIMIT.window_ms)
