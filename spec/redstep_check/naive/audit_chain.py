"""
The audit chain that everybody writes first: read the head, hash, append. `redstep check audit-chain --naive` tells why not.

Nothing is compared, so whoever appends between the reading and the writing is overtaken: two records of one seq link to the
same one before them. MULTI makes the two writes one, and that is not where the mistake is.
"""

from collections.abc import Sequence

from redstep_check.binding import Answer, Answered, session_prefix
from redstep_check.engines import Engine
from redstep_check.guards.audit_chain import Asking, AuditChainTarget, Wrote
from redstep_spec.audit_chain import End, end_after, linked
from redstep_spec.audit_chain_encoding import Record, encoded, genesis_hash
from redstep_spec.audit_chain_writer import Entry
from redstep_spec.canonical_json import canonical_text
from redstep_spec.delivery import Fate


class NaiveAuditChain(AuditChainTarget):
    """GET the head, hash in Python, RPUSH and SET."""

    features = frozenset({"cas", "several_writers", "rivals"})

    def __init__(self, engine: Engine) -> None:
        self._client = engine.client()
        self._engine = engine

    def begin(self) -> None:
        """Start anew under another prefix."""
        self._prefix = session_prefix(self._engine.prefix)

    def call(self, call: Asking, fates: Sequence[Fate]) -> Answer:  # noqa: ARG002  it has none but the default
        """Append; a rival comes between the reading and the writing."""
        if not isinstance(call, Wrote):
            raise TypeError(call)
        [entry] = call.call.entries
        name, rivals = call.call.name, call.call.rivals[:1]
        end = self._end(name)
        for rival in rivals:
            if rival is not None:
                self._append(name, self._end(name), rival)
        record = self._append(name, end, entry)
        return Answered({"outcome": "appended", "seqs": (record.seq,), "hashes": (record.hash,)})

    def _end(self, name: str) -> End:
        head = self._client.get(f"{self._prefix}{name}:head")
        if not isinstance(head, bytes):
            return End(0, genesis_hash(name.encode("utf-8")))
        next_seq, digest = head.split()
        return End(int(next_seq), bytes.fromhex(digest.decode("ascii")))

    def _append(self, name: str, end: End, entry: Entry) -> Record:
        [record] = linked(end, name, ((entry.append_id, canonical_text(entry.event)),))
        after = end_after(record)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.rpush(f"{self._prefix}{name}:records", encoded(record))
        pipeline.set(f"{self._prefix}{name}:head", f"{after.seq} {after.hash.hex()}")
        pipeline.execute()
        return record

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
