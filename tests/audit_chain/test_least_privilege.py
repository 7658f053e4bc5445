"""
Least privilege: a user who may run `COMMANDS` of a task on the prefix, and nothing else, may do all that the task is.

As everywhere, the list is a contract: an engine refuses a command when a script comes to it, and does not undo what the script
wrote before. Whoever may append cannot remove anything, and whoever verifies cannot write.
"""

import asyncio
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from redstep import audit_chain
from redstep.audit_chain import COMMANDS, MODES, SERVER_ORDER, Chain
from redstep.audit_chain_errors import AppendFailed
from redstep.audit_chain_verification import Integrity
from redstep.clients.audit_chain import AsyncAuditChain, AuditChain
from redstep.errors import Unavailable
from redstep.scripts import Script
from redstep_check import headers
from redstep_check.engines import Engine

from .support import begun, raw

READ, SEAL = "read", "seal"
BY_DRIVERS = {"evalsha", "eval", "script|load"}
EACH = [(task, command) for task in COMMANDS for command in sorted(COMMANDS[task])]
CHAIN = Chain(name="orders")


def use(chain: Any, task: str, path: Path) -> None:
    """All that a task is, on a chain of ten records that the engine linked."""
    if task in MODES:
        for number in range(3):
            chain.append(number)
        chain.load()
    elif task == READ:
        assert chain.verify(chain.checkpoint()).integrity is Integrity.VERIFIED
        chain.export(path / "segment", upto_seq=4)
        chain.load()
    else:
        chain.seal(chain.export(path / "segment", upto_seq=4), keep=1)
        chain.load()


def use_sync(login: dict[str, Any], task: str, path: Path) -> None:
    """By a thread."""
    mode = task if task in MODES else "cas"
    with redis.Redis(**login) as client, AuditChain(client, "orders", mode=mode) as chain:
        use(chain, task, path)


def use_asyncio(login: dict[str, Any], task: str, path: Path) -> None:
    """By a task."""

    class Awaited:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            return lambda *args, **options: runner.run(getattr(chain, name)(*args, **options))

    with asyncio.Runner() as runner:
        client = redis.asyncio.Redis(**login)
        chain = AsyncAuditChain(client, "orders", mode=task if task in MODES else "cas")
        use(Awaited(), task, path)
        runner.run(chain.close())
        runner.run(client.aclose())


def prepare(engine: Engine) -> None:
    """A chain of ten records, whose ids are known."""
    with engine.client() as admin:
        for record in begun(admin, CHAIN, 10):
            admin.hset(CHAIN.keys[2], items=[record.append_id, record.seq])
    engine.flush_scripts()


@pytest.mark.parametrize("task", COMMANDS)
@pytest.mark.parametrize("used", [use_sync, use_asyncio])
def test_the_list_is_enough(
    acl_engine: Engine, user: Callable[..., Any], task: str, used: Callable[[dict[str, Any], str, Path], None], tmp_path: Path
) -> None:
    """And so redis-py's handshake needs no more."""
    prepare(acl_engine)
    with user(COMMANDS[task]) as login:
        used(login, task, tmp_path)


@pytest.mark.parametrize(("task", "command"), EACH)
def test_no_command_of_the_list_can_be_left_out(
    acl_engine: Engine, user: Callable[..., Any], task: str, command: str, tmp_path: Path
) -> None:
    """Without it a call fails, definitely, by the engine's refusal."""
    prepare(acl_engine)
    with user(COMMANDS[task] - {command}) as login:
        with pytest.raises((Unavailable, AppendFailed), match=r"NOPERM|ACL|can't run this command") as caught:
            use_sync(login, task, tmp_path)
        cause = caught.value.cause if isinstance(caught.value, AppendFailed) else caught.value
        assert isinstance(cause, Unavailable)
        assert cause.definite


@pytest.mark.parametrize("task", COMMANDS)
def test_the_list_is_that_of_the_scripts(task: str) -> None:
    """What the scripts call, what the drivers send, and nothing else; who appends reads the head, but no records."""
    scripts = {READ: (audit_chain.READ,), SEAL: (audit_chain.READ, audit_chain.SEAL)}.get(task) or audit_chain.scripts_of(task)[
        :1
    ]
    called = {command for script in scripts for command in calls(script)}
    assert COMMANDS[task] == {command.lower() for command in called} | BY_DRIVERS


def calls(script: Script) -> Iterator[str]:
    """The commands of a script's calls, all of which are literals."""
    for _, command in headers._calls(headers.parse(script.text)):
        assert command is not None, script.name
        yield command


def test_every_script_of_the_chain_is_counted() -> None:
    """None lies in the folder that the chain calls and the list leaves out."""
    known = {each.name for each in (audit_chain.APPEND, audit_chain.APPEND_NEXT, audit_chain.READ, audit_chain.SEAL)}
    files = {file.name.removesuffix(".lua") for file in resources.files("redstep_lua").iterdir() if file.name.endswith(".lua")}
    assert known == {name for name in files if name.startswith("audit_chain_")}


def test_who_may_append_cannot_remove(acl_engine: Engine, user: Callable[..., Any]) -> None:
    """Nor can who may only read write."""
    prepare(acl_engine)
    with acl_engine.client() as admin:
        before = raw(admin, CHAIN)
        for task in (*MODES, READ):
            with user(COMMANDS[task]) as login, redis.Redis(**login) as client, AuditChain(client, "orders") as chain:
                with pytest.raises(Unavailable):
                    chain.seal(4, keep=1)
                if task == READ:
                    with pytest.raises(AppendFailed):
                        chain.append(1)
        assert raw(admin, CHAIN) == before


def test_half_a_list_leaves_half_a_write(acl_engine: Engine, user: Callable[..., Any]) -> None:
    """The danger that makes the list a contract: without SET the record is there and the head is not, which is then Corrupt."""
    prepare(acl_engine)
    with user(COMMANDS[SERVER_ORDER] - {"set"}) as login, redis.Redis(**login) as client:
        chain = AuditChain(client, "orders", mode=SERVER_ORDER)
        with pytest.raises(AppendFailed, match="Unavailable"):
            chain.append(1)
        with pytest.raises(AppendFailed, match="Corrupt"):
            chain.append(1)
        chain.close()
