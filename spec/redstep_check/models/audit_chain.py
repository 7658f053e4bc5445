"""The specification of the audit chain as a target: what every machine must agree with."""

from collections.abc import Sequence

import attrs

from redstep_check.binding import Answer, Answered, Misused, Stored
from redstep_check.guards.audit_chain import Asking, AuditChainTarget, Wrote
from redstep_spec import audit_chain as store
from redstep_spec import audit_chain_verification as verification
from redstep_spec import audit_chain_writer as writer
from redstep_spec.arguments import Misuse
from redstep_spec.audit_chain import Chain, End
from redstep_spec.audit_chain_writer import Mode
from redstep_spec.delivery import Fate
from redstep_spec.properties.audit_chain import Reply

MODES = frozenset(mode.value for mode in Mode)


class ModelAuditChain(AuditChainTarget):
    """It can do all that there is to do, and shows what it keeps."""

    features = MODES | {
        *("several_writers", "rivals", "budgets", "resend", "seal", "read", "verify"),
        *("misuse", "stored", "put"),
    }
    fates = frozenset(Fate)

    def begin(self) -> None:
        """Forget everything."""
        self.chains: dict[str, Chain] = {}
        self.known: dict[tuple[str, str, Mode], End | None] = {}

    def call(self, call: Asking, fates: Sequence[Fate]) -> Answer:
        """Take a step."""
        reply = self.reply(call, fates)
        return Misused(reply.argument) if isinstance(reply, Misuse) else Answered(attrs.asdict(reply, recurse=False))

    def reply(self, call: Asking, fates: Sequence[Fate]) -> Reply:
        """What the specification says, and the step taken."""
        match call:
            case Wrote(who, write):
                key = (write.name, who, write.mode)
                course = writer.write(self.chain(write.name), self.known.get(key), write, fates)
                self.chains[write.name], self.known[key] = course.chain, course.known
                if course.outcome is None:
                    raise AssertionError("an append without an outcome")
                return course.outcome
            case verification.Verify():
                return verification.verify(self.chain(call.name), call)
            case _:
                self.chains[call.name], reply = store.step(self.chain(call.name), call)
                return reply

    def chain(self, name: str) -> Chain:
        """What is stored of a chain."""
        return self.chains.get(name, store.INITIAL)

    def stored(self, *key: str) -> Stored:
        """Show a chain."""
        [name] = key
        chain = self.chain(name)
        return Stored(chain, len(chain.records), None, chain)

    def put(self, name: str, chain: Chain) -> None:
        """Take this for what is stored."""
        self.chains[name] = chain
