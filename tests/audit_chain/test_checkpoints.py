"""Checkpoints: signed notes that say what a chain was, and a signer that never goes back."""

import base64
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redstep.audit_chain import Checkpoint
from redstep.audit_chain_checkpoints import CheckpointSigner, Verifier, generate_key, text_of
from redstep.audit_chain_errors import CheckpointRefused
from redstep.errors import Misuse

KEY, VKEY = generate_key("auditor.example")
HASH = bytes(range(32)).hex()
CHECKPOINT = Checkpoint("orders", 1042, HASH)


@pytest.fixture
def signer(tmp_path: Path) -> CheckpointSigner:
    """A signer that has signed nothing."""
    return CheckpointSigner(KEY, tmp_path / "signed")


def test_the_text_is_that_of_a_log_checkpoint() -> None:
    """Origin, size and hash, a line each (C2SP tlog-checkpoint)."""
    assert text_of(CHECKPOINT) == f"redstep.audit-chain/orders\n1042\n{base64.b64encode(bytes(range(32))).decode()}\n"


def test_the_note_by_hand(signer: CheckpointSigner) -> None:
    """Text, empty line, em dash, key name, and in base64 the key id and the signature (C2SP signed-note)."""
    note = signer.sign(CHECKPOINT)
    text, line = note.split("\n\n")
    dash, name, raw = line.removesuffix("\n").split(" ")
    assert (dash, name) == ("\u2014", "auditor.example")
    public = base64.b64decode(VKEY.split("+", 2)[2])
    assert public[:1] == b"\1"
    signature = base64.b64decode(raw)
    assert signature[:4] == hashlib.sha256(b"auditor.example\n" + public).digest()[:4] == bytes.fromhex(VKEY.split("+")[1])
    Ed25519PublicKey.from_public_bytes(public[1:]).verify(signature[4:], f"{text}\n".encode())


def test_the_key_of_the_c2sp_example_is_read() -> None:
    """The note of the signed-note specification's Go implementation (golang.org/x/mod/sumdb/note), verified by this code."""
    vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    verifier = Verifier.of(vkey)
    assert (verifier.name, verifier.key_id.hex()) == ("PeterNeumann", "c74f20a3")
    note = (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    with pytest.raises(CheckpointRefused, match="is signed, but is no checkpoint"):
        verifier.open(note)
    with pytest.raises(CheckpointRefused, match="signature"):
        verifier.open(note.replace("answer", "cause"))


@given(
    name=st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="{}"), min_size=1, max_size=40),
    size=st.integers(0, 2**51),
    its_hash=st.binary(min_size=32, max_size=32),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_checkpoint_survives_its_note(tmp_path: Path, name: str, size: int, its_hash: bytes) -> None:
    """Whatever the chain is called."""
    (tmp_path / "signed").unlink(missing_ok=True)
    checkpoint = Checkpoint(name, size, its_hash.hex())
    signer = CheckpointSigner(KEY, tmp_path / "signed")
    assert Verifier.of(VKEY).open(signer.sign(checkpoint)) == checkpoint


def test_every_tampered_byte_is_refused(signer: CheckpointSigner) -> None:
    """Wherever it is; and so is every cut."""
    note = signer.sign(CHECKPOINT)
    verifier = Verifier.of(VKEY)
    for place, character in enumerate(note):
        for other in "0A\n+ ":
            if other != character:
                with pytest.raises(CheckpointRefused):
                    verifier.open(note[:place] + other + note[place + 1 :])
        with pytest.raises(CheckpointRefused):
            verifier.open(note[:place])


def test_a_note_of_another_key_is_refused(signer: CheckpointSigner, tmp_path: Path) -> None:
    """Of another name, and of the same; but a second signature beside one's own is no harm."""
    note = signer.sign(CHECKPOINT)
    for name in ("auditor.example", "other.example"):
        other_key, other_vkey = generate_key(name)
        with pytest.raises(CheckpointRefused, match="not signed by"):
            Verifier.of(other_vkey).open(note)
        other = CheckpointSigner(other_key, tmp_path / name).sign(CHECKPOINT)
        both = note + other.split("\n\n")[1]
        assert Verifier.of(VKEY).open(both) == Verifier.of(other_vkey).open(both) == CHECKPOINT


@pytest.mark.parametrize(
    "text",
    [
        "redstep.audit-chain/orders\n1042\n",
        "redstep.audit-chain/orders\n01\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "redstep.audit-chain/orders\n1\nAAEC\n",
        "redstep.audit-chain/orders\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nmore\n",
        "example.com/log\n1\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
    ],
)
def test_a_note_of_something_else_is_no_checkpoint(signer: CheckpointSigner, text: str) -> None:
    """Though the key signed it."""
    signature = base64.b64encode(signer._key_id + signer._private.sign(text.encode())).decode()
    with pytest.raises(CheckpointRefused, match="no checkpoint"):
        signer.verifier.open(f"{text}\n\u2014 auditor.example {signature}\n")


def test_a_signer_never_goes_back(signer: CheckpointSigner, tmp_path: Path) -> None:
    """Nor does the next one with its memory; the same again is no harm, and other chains are apart."""
    signer.sign(CHECKPOINT)
    for again in (signer, CheckpointSigner(KEY, tmp_path / "signed")):
        with pytest.raises(CheckpointRefused, match="1041 records"):
            again.sign(Checkpoint("orders", 1041, HASH))
        with pytest.raises(CheckpointRefused, match="another hash"):
            again.sign(Checkpoint("orders", 1042, "0" * 64))
        assert Verifier.of(VKEY).open(again.sign(CHECKPOINT)) == CHECKPOINT
        again.sign(Checkpoint("others", 1, HASH))
    assert Verifier.of(VKEY).open(signer.sign(Checkpoint("orders", 1043, "0" * 64))).size == 1043


def test_a_signer_whose_memory_was_tampered_with_refuses(signer: CheckpointSigner, tmp_path: Path) -> None:
    """It would not know whether it goes back."""
    signer.sign(CHECKPOINT)
    state = tmp_path / "signed"
    whole = state.read_text()
    for spoilt in (whole.replace("1042", "0042"), whole[:-5], ""):
        state.write_text(spoilt)
        with pytest.raises(CheckpointRefused):
            signer.sign(Checkpoint("orders", 2000, HASH))


@pytest.mark.parametrize(
    "key",
    ["", "x", VKEY, KEY[:-8], KEY.replace("auditor", "editor"), None, KEY.replace("+A", "+B", 1)],
    ids=["empty", "short", "public", "cut", "of another name", "none", "of another kind"],
)
def test_what_is_no_signing_key_is_misuse(tmp_path: Path, key: str) -> None:
    """Nor is one whose id is another's."""
    with pytest.raises(Misuse):
        CheckpointSigner(key, tmp_path / "signed")


@pytest.mark.parametrize(
    "key",
    ["", "x", KEY, VKEY[:-8], VKEY.replace("auditor", "editor"), None],
    ids=["empty", "short", "secret", "cut", "of another name", "none"],
)
def test_what_is_no_key_is_misuse(key: str) -> None:
    """To verify with."""
    with pytest.raises(Misuse):
        Verifier.of(key)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u00a0b", "a\n", 7])
def test_a_name_that_no_key_may_have_is_misuse(name: str) -> None:
    """Spaces and plus signs would end it."""
    with pytest.raises(Misuse):
        generate_key(name)


def test_a_key_is_not_shown(signer: CheckpointSigner) -> None:
    """In what is printed."""
    secret = KEY.split("+", 4)[4]
    assert len(base64.b64decode(secret)) == 33
    assert secret not in repr(signer) + repr(signer.verifier) + str(vars(signer))


def test_without_the_extra_the_error_says_what_to_install() -> None:
    """When a key is made or read."""
    program = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from redstep.audit_chain_checkpoints import generate_key\n"
        "try: generate_key('a')\n"
        "except ImportError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert "pip install 'redstep[signing]'" in said.stdout
