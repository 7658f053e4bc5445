"""Verification of somebody's audit chain by the shipped verifier, for the command line."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import redis
from attrs import frozen

from redstep import arguments
from redstep.audit_chain import Checkpoint
from redstep.audit_chain_checkpoints import Verifier
from redstep.audit_chain_errors import CheckpointRefused
from redstep.audit_chain_verification import Integrity, Progress
from redstep.clients.audit_chain import AuditChain
from redstep.errors import Corrupt, Misuse, ServiceOverloaded, Unavailable

CONNECT_S, REPLY_S = 5, 60
PREFIX = arguments.PREFIX
"""What the keys of a chain start with, unless its writers said otherwise."""


class BadRequest(Exception):
    """What was asked for makes no sense, or an anchor is not what its key signed."""


class NotRead(Exception):
    """The chain, a file or the anchor could not be read."""


@frozen(kw_only=True)
class Found:
    """What a verification came to."""

    integrity: str
    position: int | None
    """The first seq that breaks."""
    why: str | None
    first_seq: int | None
    next_seq: int | None
    compared: bool | None
    """Whether the anchor could be compared; None if there was none."""

    @property
    def is_broken(self) -> bool:
        """Whether the chain is not what its writers made."""
        return self.integrity == Integrity.BROKEN.value


def verified(
    url: str,
    name: str,
    *,
    prefix: str,
    anchor: Path | None,
    key: str | None,
    segments: Sequence[Path],
    on_progress: Callable[[int, int], object],
) -> Found:
    """Verify a chain on a server; `anchor` is a file with a signed checkpoint, `key` what verifies it.

    Raises BadRequest, NotRead.
    """

    def listen(progress: Progress) -> None:
        on_progress(progress.records, progress.of)

    try:
        checkpoint = _checkpoint(anchor, key) if anchor and key else None
        with _client(url) as client, AuditChain(client, name, prefix=prefix) as chain:
            verdict = chain.verify(checkpoint, segments, progress=listen)
    except (Misuse, CheckpointRefused, ImportError) as error:
        raise BadRequest(str(error)) from error
    except Corrupt:
        return Found(integrity="broken", position=None, why="corrupt", first_seq=None, next_seq=None, compared=None)
    except (Unavailable, ServiceOverloaded, OSError) as error:
        raise NotRead(str(error)) from error
    return Found(
        integrity=verdict.integrity.value,
        position=verdict.position,
        why=verdict.why and verdict.why.value,
        first_seq=verdict.first_seq,
        next_seq=verdict.next_seq,
        compared=verdict.compared,
    )


def _client(url: str) -> redis.Redis:
    try:
        pool = redis.ConnectionPool.from_url(url, socket_connect_timeout=CONNECT_S, socket_timeout=REPLY_S)
    except ValueError as error:
        raise BadRequest(f"not the URL of a server: {error}") from error
    return redis.Redis.from_pool(pool)


def _checkpoint(anchor: Path, key: str) -> Checkpoint:
    try:
        note = anchor.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointRefused(f"{anchor} is no signed note") from error
    return Verifier.of(key).open(note)


SENTENCES: Mapping[str, str] = {
    "modified": "this record's own hash is wrong, or it cannot be read",
    "foreign": "this is a record of another chain",
    "reordered": "this record comes later",
    "removed": "this record is missing",
    "inserted": "a record stands here that belongs further up",
    "replaced": "this record does not link to the one before it",
    "wrong genesis": "the first record does not link to this chain's genesis",
    "head mismatch": "the list does not end where the head says",
    "truncated": "the anchor has more records than the chain",
    "diverged": "the anchor had another record here",
    "corrupt": "the head cannot be read, or a key holds something else",
}
"""What each kind of break means."""
