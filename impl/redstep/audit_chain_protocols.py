"""The audit chain's protocols, all in one place: what a client may ask of a chain, and what each module makes of it."""

from redstep.audit_chain import (
    KEEP,
    Chain,
    Checkpoint,
    Head,
    Kind,
    append,
    append_next,
    read_append,
    read_append_next,
    scripts_of,
)
from redstep.audit_chain_appending import (
    Appended,
    Appending,
    Item,
    Memory,
    abandoned,
    append_items,
    outcomes,
)
from redstep.audit_chain_encoding import Record, digest_of, records_of
from redstep.audit_chain_events import canonical, canonical_text, encoder
from redstep.audit_chain_export import Exported, SegmentReader, SegmentWriter, export, seal
from redstep.audit_chain_reading import head, page_from, records_from
from redstep.audit_chain_spool import Drained, Spool, drain
from redstep.audit_chain_verification import Verdict, verify
from redstep.protocols import send

__all__ = [
    "KEEP",
    "Appended",
    "Appending",
    "Chain",
    "Checkpoint",
    "Drained",
    "Exported",
    "Head",
    "Item",
    "Kind",
    "Memory",
    "Record",
    "SegmentReader",
    "SegmentWriter",
    "Spool",
    "Verdict",
    "abandoned",
    "append",
    "append_items",
    "append_next",
    "canonical",
    "canonical_text",
    "digest_of",
    "drain",
    "encoder",
    "export",
    "head",
    "outcomes",
    "page_from",
    "read_append",
    "read_append_next",
    "records_from",
    "records_of",
    "scripts_of",
    "seal",
    "send",
    "verify",
]
