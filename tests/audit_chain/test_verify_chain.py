"""The command `redstep verify-chain`: what it says, and how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from attrs import evolve
from click.testing import CliRunner, Result

from redstep.audit_chain import Chain, Checkpoint
from redstep.audit_chain_checkpoints import CheckpointSigner, generate_key
from redstep.audit_chain_encoding import Record, page_of, stored
from redstep_check.commands.verify_chain import verify_chain
from redstep_check.engines import Engine

from .support import begun, head_text, long_chain, made, plant

CHAIN = Chain(name="orders")
SIZE = 40


@pytest.fixture
def url(server: Engine) -> str:
    """Where the chain is."""
    return f"unix://{server.address}"


def run(*arguments: object) -> Result:
    """Run the command."""
    return CliRunner().invoke(verify_chain, [str(each) for each in arguments])


def signed(tmp_path: Path, record: Record) -> tuple[Path, str]:
    """A checkpoint of a chain that ended with this record, and the key to verify it with."""
    key, vkey = generate_key("auditor")
    note = CheckpointSigner(key, tmp_path / "state").sign(Checkpoint("orders", record.seq + 1, record.hash.hex()))
    (tmp_path / "note").write_text(note, encoding="utf-8")
    return tmp_path / "note", vkey


def test_a_sound_chain(url: str, server_client: redis.Redis, tmp_path: Path) -> None:
    """Consistent without an anchor, verified against one."""
    records = begun(server_client, CHAIN, SIZE)
    result = run(url, "orders")
    assert result.exit_code == 0
    assert result.output == (
        "orders: internally consistent, 40 records from seq 0; only an anchor tells whether its end was rewritten\n"
    )
    note, vkey = signed(tmp_path, records[20])
    result = run(url, "orders", "--anchor", note, "--key", vkey)
    assert (result.exit_code, result.output) == (0, "orders: verified, 40 records from seq 0\n")


def test_a_chain_of_another_prefix(url: str, server_client: redis.Redis) -> None:
    """It is looked for where it is said to be; where nothing is, an empty chain is."""
    begun(server_client, Chain(name="orders", prefix="x:"), 3)
    assert "0 records" in run(url, "orders").output
    assert "3 records" in run(url, "orders", "--prefix", "x:").output


def test_a_sealed_chain(url: str, server_client: redis.Redis, tmp_path: Path) -> None:
    """From its base on, or from the files."""
    records = begun(server_client, CHAIN, SIZE, 30)
    note, vkey = signed(tmp_path, records[20])
    result = run(url, "orders", "--anchor", note, "--key", vkey)
    assert result.exit_code == 0
    assert "10 records from seq 30; what the anchor is about is sealed" in result.output
    files = []
    for number in range(3):
        files += ["--segment", tmp_path / str(number)]
        (tmp_path / str(number)).write_bytes(page_of(map(stored, records[10 * number : 10 * number + 10])))
    result = run(url, "orders", "--anchor", note, "--key", vkey, *files)
    assert (result.exit_code, result.output) == (0, "orders: verified, 40 records from seq 0\n")


def test_a_broken_chain(url: str, server_client: redis.Redis) -> None:
    """Where, and how."""
    records = begun(server_client, CHAIN, SIZE)
    texts = [stored(record) for record in records]
    plant(server_client, CHAIN, [*texts[:7], stored(evolve(records[7], event=b"2")), *texts[8:]], head_text(records))
    result = run(url, "orders")
    assert result.exit_code == 1
    assert result.output == "orders: broken at seq 7: modified (this record's own hash is wrong, or it cannot be read)\n"
    told = json.loads(run(url, "orders", "--json").output)
    assert told.pop("seconds") >= 0
    assert told == {
        "chain": "orders",
        "integrity": "broken",
        "position": 7,
        "why": "modified",
        "first_seq": 0,
        "next_seq": 7,
        "compared": None,
    }


def test_a_tail_that_was_made_anew(url: str, server_client: redis.Redis, tmp_path: Path) -> None:
    """Against an anchor, and only so."""
    note, vkey = signed(tmp_path, made(CHAIN, SIZE)[-1])
    forged = made(CHAIN, SIZE, event=b'"forged"')
    plant(server_client, CHAIN, [stored(record) for record in forged], head_text(forged))
    assert run(url, "orders").exit_code == 0
    result = run(url, "orders", "--anchor", note, "--key", vkey)
    assert (result.exit_code, "broken at seq 39: diverged" in result.output) == (1, True)


def test_a_head_that_cannot_be_read(url: str, server_client: redis.Redis) -> None:
    """It is broken, though nobody can say where."""
    begun(server_client, CHAIN, SIZE)
    server_client.set(CHAIN.keys[1], "x")
    result = run(url, "orders")
    assert result.exit_code == 1
    assert "orders: broken: corrupt" in result.output


def test_a_store_that_cannot_be_reached(tmp_path: Path) -> None:
    """Nothing is said of the chain."""
    result = run(f"unix://{tmp_path}/none", "orders")
    assert result.exit_code == 3
    assert "orders could not be read" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["localhost", "orders"],
        ["redis://user:pa/ss@host", "orders"],
        ["redis://127.0.0.1:1", "a{b"],
        ["redis://127.0.0.1:1", "orders", "--prefix", "{"],
        ["redis://127.0.0.1:1", "orders", "--key", "x"],
        ["redis://127.0.0.1:1", "orders", "--anchor", __file__],
        ["redis://127.0.0.1:1", "orders", "--anchor", __file__, "--key", "x"],
        ["redis://127.0.0.1:1", "orders", "--anchor", __file__, "--key", generate_key("a")[1]],
        ["redis://127.0.0.1:1", "orders", "--segment", "/nowhere/at/all"],
        ["redis://127.0.0.1:1", "orders", "--no-such-option"],
    ],
    ids=lambda arguments: " ".join(each.partition("+")[0] for each in arguments),
)
def test_misuse(arguments: list[str]) -> None:
    """Of names, options, keys and notes; no password is shown."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage:" in result.output
    assert "pa/ss" not in result.output


def test_a_checkpoint_that_was_tampered_with(url: str, server_client: redis.Redis, tmp_path: Path) -> None:
    """It is not used."""
    note, vkey = signed(tmp_path, begun(server_client, CHAIN, SIZE)[20])
    note.write_text(note.read_text(encoding="utf-8").replace("\n21\n", "\n22\n"), encoding="utf-8")
    result = run(url, "orders", "--anchor", note, "--key", vkey)
    assert result.exit_code == 2
    assert "is not that of this text" in result.output


PROGRAM = """
import time
from redstep.sync_driver import SyncDriver
from redstep_check.commands.verify_chain import verify_chain

def page(driver, request):
    pages.append(request)
    if len(pages) == 20:
        time.sleep(3600)
    return read(driver, request)

pages, read = [], SyncDriver.call_script
SyncDriver.call_script = page
verify_chain()
"""
"""It goes no further than the middle of a long chain, so that an interruption finds it at work, however late it comes."""


def test_ctrl_c_ends_it_cleanly(url: str, server_client: redis.Redis) -> None:
    """With 130, and a word, in the middle of a run that shows a bar on a terminal."""
    long_chain(server_client, CHAIN, 20_000)
    terminal, end = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, url, "orders"]
    running: Any = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=end, env={**os.environ, "TERM": "xterm"})  # noqa: S603
    os.close(end)
    shown = b""
    while b"/20000" not in shown:
        shown += os.read(terminal, 4096)
    running.send_signal(signal.SIGINT)
    try:
        while part := os.read(terminal, 4096):
            shown += part
    except OSError:  # a terminal whose other end is closed
        pass
    said, _ = running.communicate(timeout=60)
    os.close(terminal)
    assert running.returncode == 130
    assert said == b""
    assert b"interrupted" in shown
    assert b"Traceback" not in shown
