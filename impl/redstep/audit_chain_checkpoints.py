"""
Checkpoints: what a chain was, signed, so that whoever can rewrite the store cannot rewrite the past.

A checkpoint is a signed note (C2SP signed-note) whose text is that of a log's checkpoint (C2SP tlog-checkpoint), with the hash
of the last record in the place of a tree's root:

    redstep.audit-chain/orders                                       origin: the chain
    1042                                                             size
    q1Xk...=                                                         hash of the last record, base64

    — auditor.example Az3grl...=                                     key name, key id and Ed25519 signature

A signer never goes back: it refuses a checkpoint smaller than the last that it signed of a chain, or of the same size with
another hash. What it signed last lies in a file, which is synced before a note is handed out.

Ed25519 is that of the library `cryptography`, of the extra `redstep[signing]`.
"""

import base64
import binascii
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

from redstep.arguments import checked_name
from redstep.audit_chain import Checkpoint
from redstep.audit_chain_errors import CheckpointRefused
from redstep.errors import Misuse

ORIGIN = "redstep.audit-chain/"
ED25519 = b"\x01"
SECRET = "PRIVATE+KEY+"  # noqa: S105  what a signing key begins with
DASH = "\N{EM DASH} "


def ed25519() -> Any:
    """Import the library. Raises ImportError that says what to install."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise ImportError("checkpoints need the package cryptography: pip install 'redstep[signing]'") from error
    return ed25519


def text_of(checkpoint: Checkpoint) -> str:
    """Spell a checkpoint out: what is signed."""
    return f"{ORIGIN}{checkpoint.name}\n{checkpoint.size}\n{_base64(bytes.fromhex(checkpoint.hash))}\n"


def generate_key(name: str) -> tuple[str, str]:
    """Make a key; return it to sign with, to be kept secret, and to verify with. Raises Misuse."""
    private = ed25519().Ed25519PrivateKey.generate()
    seed, public = private.private_bytes_raw(), private.public_key().public_bytes_raw()
    stem = f"{_key_name(name)}+{_key_id(name, public).hex()}"
    return f"{SECRET}{stem}+{_base64(ED25519 + seed)}", f"{stem}+{_base64(ED25519 + public)}"


@frozen
class Verifier:
    """A key to verify with, as `generate_key` returns it."""

    name: str
    key_id: bytes
    _public: Any = field(repr=False)

    @classmethod
    def of(cls, vkey: str) -> "Verifier":
        """Read a key. Raises Misuse."""
        name, key_id, raw = _key("key", vkey)
        if _key_id(name, raw) != key_id:
            raise Misuse("key", "its id is not that of its name and its bytes")
        return cls(name, key_id, ed25519().Ed25519PublicKey.from_public_bytes(raw))

    def open(self, note: str) -> Checkpoint:
        """Read a signed checkpoint. Raises CheckpointRefused unless this key signed it, just as it is."""
        text, separator, signatures = note.rpartition("\n\n")
        text += "\n"
        if not separator or not signatures.endswith("\n"):
            raise CheckpointRefused("this is no signed note")
        found = False
        for line in signatures.removesuffix("\n").split("\n"):
            name, key_id, signature = _signature(line)
            if (name, key_id) == (self.name, self.key_id):
                self._check(signature, text)
                found = True
        if not found:
            raise CheckpointRefused(f"the note is not signed by {self.name}")
        return _checkpoint(text)

    def _check(self, signature: bytes, text: str) -> None:
        from cryptography.exceptions import InvalidSignature

        try:
            self._public.verify(signature, text.encode())
        except InvalidSignature:
            raise CheckpointRefused(f"the signature of {self.name} is not that of this text") from None


class CheckpointSigner:
    """Signs checkpoints of chains, and never goes back. `state` is the file that remembers; give each key one of its own.

    Raises Misuse for what is no key; CheckpointRefused, OSError when the state cannot be read.
    """

    def __init__(self, key: str, state: str | os.PathLike[str]) -> None:
        if not isinstance(key, str) or not key.startswith(SECRET):
            raise Misuse("key", f"must be a signing key, which begins with {SECRET}")
        name, key_id, seed = _key("key", key.removeprefix(SECRET))
        self._private = ed25519().Ed25519PrivateKey.from_private_bytes(seed)
        public = self._private.public_key().public_bytes_raw()
        if _key_id(name, public) != key_id:
            raise Misuse("key", "its id is not that of its name and its bytes")
        self._name, self._key_id = name, key_id
        self.verifier = Verifier.of(f"{name}+{key_id.hex()}+{_base64(ED25519 + public)}")
        """The key to verify with."""
        self._state = Path(state)

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return a signed note. Raises CheckpointRefused when it would go back behind the last one."""
        with _alone(self._state):
            notes = self._notes()
            if earlier := notes.get(checkpoint.name):
                _refuse_to_go_back(self.verifier.open(earlier), checkpoint)
            text = text_of(checkpoint)
            signature = _base64(self._key_id + self._private.sign(text.encode()))
            note = f"{text}\n{DASH}{self._name} {signature}\n"
            _replace(self._state, json.dumps({**notes, checkpoint.name: note}))
        return note

    def _notes(self) -> dict[str, str]:
        """The last note of each chain."""
        try:
            notes: dict[str, str] = json.loads(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise CheckpointRefused(f"{self._state} is not what the signer remembers: {error}") from error
        return notes


def _refuse_to_go_back(earlier: Checkpoint, checkpoint: Checkpoint) -> None:
    if checkpoint.size < earlier.size:
        raise CheckpointRefused(f"{checkpoint.name} has {checkpoint.size} records; {earlier.size} were signed before")
    if checkpoint.size == earlier.size and checkpoint.hash != earlier.hash:
        raise CheckpointRefused(f"{checkpoint.name} has another hash at size {checkpoint.size} than was signed before")


@contextmanager
def _alone(state: Path) -> Iterator[None]:
    held = os.open(state.with_name(f"{state.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _replace(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _checkpoint(text: str) -> Checkpoint:
    shape = re.fullmatch(re.escape(ORIGIN) + r"([^\n]+)\n(0|[1-9]\d*)\n([^\n]+)\n", text, re.ASCII)
    its_hash = _bytes_of(shape[3]) if shape else None
    if shape is None or its_hash is None or len(its_hash) != hashlib.sha256().digest_size:
        raise CheckpointRefused("the note is signed, but is no checkpoint of an audit chain")
    return Checkpoint(shape[1], int(shape[2]), its_hash.hex())


def _signature(line: str) -> tuple[str, bytes, bytes]:
    words = line.removeprefix(DASH).split(" ")
    raw = _bytes_of(words[-1])
    if not line.startswith(DASH) or len(words) != 2 or not words[0] or raw is None or len(raw) < 5:
        raise CheckpointRefused(f"{line!r} is no signature line")
    return words[0], raw[:4], raw[4:]


def _key(argument: str, key: str) -> tuple[str, bytes, bytes]:
    """Take a key apart: name, id, and the 32 bytes of an Ed25519 key."""
    parts = key.split("+", 2) if isinstance(key, str) else []
    raw = _bytes_of(parts[2]) if len(parts) == 3 else None
    if raw is None or raw[:1] != ED25519 or len(raw) != 33 or not re.fullmatch("[0-9a-f]{8}", parts[1]):
        raise Misuse(argument, "is no Ed25519 key of the form name+id+base64")
    return _key_name(parts[0]), bytes.fromhex(parts[1]), raw[1:]


def _key_name(name: str) -> str:
    plain = checked_name("key", name)
    if "+" in plain or any(each.isspace() for each in plain):
        raise Misuse("key", "a key's name must hold neither spaces nor a plus sign")
    return plain


def _key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + ED25519 + public).digest()[:4]


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes_of(text: str) -> bytes | None:
    """Decode base64, of which each text has but one."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if _base64(raw) == text else None
