"""The tests of the drivers are tested: a driver with one planted fault fails the test that is there for it."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from unittest.mock import patch

import pytest
from attrs import frozen
from redis.utils import HIREDIS_AVAILABLE

from redstep import asyncio_driver, driving, redis_clients, redis_errors, sync_driver
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy
from support.planting import fails

from . import test_cancellation as cancellation
from . import test_clients as clients
from . import test_connections as connections
from . import test_delivery as delivery
from . import test_finishing as finishing
from . import test_interruptions as interruptions
from . import test_refusals as refusals
from . import test_tasks as tasks
from . import test_wishes as wishes
from .stage import AsyncStage, Stage, SyncStage

DRIVERS = {"sync": sync_driver, "asyncio": asyncio_driver}
SHARED = {"shared": driving, "errors": redis_errors, "clients": redis_clients}
MODULES = {**DRIVERS, **SHARED}
Edits = tuple[tuple[str, str], ...]
"""Texts of a module, each in it exactly once, and what takes their places."""


@frozen(kw_only=True)
class Fault:
    """A fault in one driver, in each or in what they share, the rule that it breaks, and the test that must catch it."""

    name: str
    rule: str
    sync: Edits = ()
    asyncio: Edits = ()
    shared: Edits = ()
    errors: Edits = ()
    clients: Edits = ()
    caught_by: Callable[..., None]
    arguments: tuple[Any, ...] = ()

    def edits(self) -> Iterator[tuple[str, Edits]]:
        """The modules that it is planted in, by themselves, and how."""
        for module in MODULES:
            if edits := getattr(self, module):
                yield module, edits


SEND = "connection.send_command(*words, check_health=False)"
READ = "connection.read_response(disable_decoding=True)"
EVAL = 'self._exchange(connection, command(request, "EVAL", now_ms))'
THE_CALLERS_POOL = ("never_retrying(client.connection_pool)", "client.connection_pool; self._client = client")
ENDLESS_COMPENSATION = ("COMPENSATION_MAX_MS / 1000", "COMPENSATION_MAX_MS / 25")
ONE_LISTENER_FOR_ALL = ("except Exception:\n", "except ArithmeticError:\n")

FAULTS = [
    Fault(
        name="no EVAL after NOSCRIPT",
        rule="CM-6",
        sync=((f"return {EVAL}", "raise"),),
        asyncio=((f"return await {EVAL}", "raise"),),
        caught_by=delivery.test_a_flush_between_any_two_calls_is_not_noticed,
    ),
    Fault(
        name="through the client itself",
        rule="CM-5",
        sync=(THE_CALLERS_POOL, (f"{SEND}\n            return {READ}", "return self._client.execute_command(*words)")),
        asyncio=(
            THE_CALLERS_POOL,
            (
                f"{SEND}\n            _heed_cancellation()\n            return await {READ}",
                "asyncio.sleep(0)\n            return await self._client.execute_command(*words)",
            ),
        ),
        caught_by=delivery.test_a_lost_reply_is_not_asked_for_again,
        arguments=("constructor",),
    ),
    Fault(
        name="the caller's pool, retries and all",
        rule="CM-5",
        sync=(THE_CALLERS_POOL,),
        asyncio=(THE_CALLERS_POOL,),
        caught_by=delivery.test_a_refused_connection_fails_at_once,
        arguments=("pool with retries",),
    ),
    Fault(
        name="the caller's settings are changed in place",
        rule="CM-5",
        clients=(("settings = dict(pool.connection_kwargs)", "settings = pool.connection_kwargs"),),
        caught_by=clients.test_the_callers_client_is_not_altered,
        arguments=("pool with retries",),
    ),
    Fault(
        name="a pool is made of its connections' settings alone",
        rule="CM-5",
        clients=(('("timeout", "queue_class"),', "(),"),),
        caught_by=clients.test_a_pool_of_the_drivers_own_is_like_the_callers,
    ),
    Fault(
        name="in the client's encoding",
        rule="CM-7",
        shared=(("word.encode() if isinstance(word, str) else word", "word"),),
        caught_by=clients.test_the_settings_of_a_client_do_not_matter,
        arguments=("a lossy encoding",),
    ),
    Fault(
        name="a lost reply is definite",
        rule="CM-9",
        errors=(("definite=False", "definite=True"),),
        caught_by=delivery.test_a_lost_reply_is_not_asked_for_again,
        arguments=("pool",),
    ),
    Fault(
        name="LOADING is a lost reply",
        rule="CM-9",
        errors=((" or (isinstance(error, RedisError) and error.status_code)", ""),),
        caught_by=refusals.test_an_engine_that_loads_its_data_is_definite,
    ),
    Fault(
        name="a blocking pool runs out as if the store were away",
        rule="BP-2",
        errors=(("if type(error) is not ConnectionError or", "if True or"),),
        caught_by=connections.test_running_out_of_connections_is_this_processs_fault,
        arguments=("one that waits",),
    ),
    Fault(
        name="what the caller handles is taken for the pool's",
        rule="BP-2",
        errors=((" and raised.tb_frame is caught.tb_frame", ""),),
        caught_by=connections.test_a_store_that_hangs_up_is_not_our_fault,
        arguments=("one that waits",),
    ),
    Fault(
        name="a connection isn't given back",
        rule="BP-4",
        sync=(("finally:\n            self._pool.release(connection)", "finally:\n            pass"),),
        asyncio=(("await self._pool.release(connection)", "pass"),),
        caught_by=connections.test_running_out_of_connections_is_this_processs_fault,
        arguments=("one that refuses",),
    ),
    Fault(
        name="an interrupted connection is used again",
        rule="BP-4",
        sync=(("connection.disconnect()", "pass"),),
        asyncio=(("await connection.disconnect(nowait=True)", "pass"),),
        caught_by=connections.test_an_interruption_between_sending_and_reading_costs_the_connection,
    ),
    Fault(
        name="a listener's error goes on",
        rule="CM-10",
        sync=(ONE_LISTENER_FOR_ALL,),
        asyncio=(ONE_LISTENER_FOR_ALL,),
        caught_by=wishes.test_a_listeners_error_is_logged_and_goes_no_further,
    ),
    Fault(
        name="an interruption is swallowed",
        rule="CM-10",
        shared=(("if self.interruption is not None:", "if self.interruption is not None and result is None:"),),
        caught_by=interruptions.test_an_interruption_is_thrown_in_compensated_and_goes_on,
        arguments=(SystemExit, "work"),
    ),
    Fault(
        name="GeneratorExit is thrown in itself",
        rule="CM-10",
        shared=(("return Interrupted() if isinstance(error, GeneratorExit) else error", "return error"),),
        caught_by=interruptions.test_an_interruption_is_thrown_in_compensated_and_goes_on,
        arguments=(GeneratorExit, "work"),
    ),
    Fault(
        name="what a protocol raises while it's closed goes on instead",
        rule="CM-10",
        shared=(("contextlib.suppress(Exception)", "contextlib.suppress(RuntimeError)"),),
        caught_by=interruptions.test_compensation_has_an_end,
        arguments=("many sleeps", "raises"),
    ),
    Fault(
        name="compensation takes as long as it wants",
        rule="CM-10",
        sync=(ENDLESS_COMPENSATION,),
        asyncio=(ENDLESS_COMPENSATION,),
        caught_by=interruptions.test_compensation_has_an_end,
        arguments=("many sleeps", "goes"),
    ),
    Fault(
        name="compensation that hangs is left hanging",
        rule="CM-10",
        asyncio=(("run.abandon()\n            task.cancel()", "run.abandon()"),),
        caught_by=tasks.test_compensation_that_hangs_is_broken_off,
        arguments=("work",),
    ),
    Fault(
        name="compensation isn't shielded",
        rule="CM-10",
        asyncio=(("await _patiently(task)\n        if", "await task\n        if"),),
        caught_by=cancellation.test_a_cancellation_is_thrown_in_wherever_the_protocol_waits,
        arguments=(cancellation.work, 3),
    ),
    Fault(
        name="a release is cancelled",
        rule="BP-4",
        asyncio=(("if task in self._talking:", "if True:"),),
        caught_by=cancellation.test_a_cancellation_is_thrown_in_wherever_the_protocol_waits,
        arguments=(cancellation.release, 3),
    ),
    Fault(
        name="a call in the caller's own task",
        rule="BP-4",
        asyncio=(("self._apart(self._call(request))", "self._call(request)"),),
        caught_by=cancellation.test_a_cancellation_is_thrown_in_wherever_the_protocol_waits,
        arguments=(cancellation.release, 3),
    ),
    Fault(
        name="a request that finishes is broken off",
        rule="CM-10",
        asyncio=(("if task in self._finishing:", "if not task:"),),
        caught_by=finishing.test_what_was_taken_is_known_whenever_the_caller_is_cancelled,
        arguments=(1,),
    ),
    Fault(
        name="a reply that came before the cancellation is dropped",
        rule="CM-10",
        asyncio=(("if task in self._finishing:", "if task in self._finishing and not task.done():"),),
        caught_by=finishing.test_a_reply_that_came_first_is_not_lost,
    ),
    Fault(
        name="the wish after a cancellation is carried out",
        rule="CM-10",
        shared=(("self.feed(Raised(late.cancellation))", "pass"),),
        caught_by=finishing.test_the_cancellation_comes_at_the_next_wish,
    ),
    Fault(
        name="a StopIteration is changed on its way",
        rule="CB-12",
        shared=(("if self._stop and error.__cause__", "if not self._stop and error.__cause__"),),
        caught_by=wishes.test_work_may_raise_what_ends_a_generator,
    ),
    Fault(
        name="a swallowed cancellation is sent after all",
        rule="CM-10",
        asyncio=(("_heed_cancellation()\n            await", "await"),),
        caught_by=cancellation.test_what_is_cancelled_before_it_is_sent_is_never_sent,
    ),
]


def planted() -> Iterator[pytest.ParameterSet]:
    """Each fault in each module that it can be planted in."""
    for fault in FAULTS:
        for module, edits in fault.edits():
            name = fault.name if module in SHARED else f"{module}: {fault.name}"
            yield pytest.param(fault, module, edits, id=name, marks=pytest.mark.catches(fault.rule, name))


@pytest.mark.parametrize(("fault", "module", "edits"), [*planted()])
def test_a_planted_fault_is_caught(
    fault: Fault, module: str, edits: Edits, engine: Engine, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    """A driver with one fault fails the test that is there for it."""
    if "encoding" in fault.name and HIREDIS_AVAILABLE:
        pytest.skip("hiredis, where it is installed, sends UTF-8 whatever the client's encoding")
    fixtures = {"caplog": caplog} if "caplog" in inspect.signature(fault.caught_by).parameters else {}
    for kind in stages(module, edits):
        with closing(kind(engine, proxy)) as stage:
            assert fails(lambda stage=stage: fault.caught_by(stage, *fault.arguments, **fixtures))  # type: ignore[misc]
        engine.forget()
        proxy.arm([])


def stages(module: str, edits: Edits) -> list[type[Stage]]:
    """The stages that a fault concerns, with drivers that have it."""
    copy = edited(MODULES[module], edits)
    if module in DRIVERS:
        return [_driven_by(copy)]
    with patch.dict(sys.modules, {copy.__name__: copy}):
        return [_driven_by(edited(sync_driver)), _driven_by(edited(asyncio_driver))]


def edited(module: ModuleType, edits: Edits = ()) -> ModuleType:
    """A copy of a module whose text is edited."""
    path = Path(cast("str", module.__file__))
    text = path.read_text(encoding="utf-8")
    for old, new in edits:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    copy = ModuleType(module.__name__)
    exec(compile(text, str(path), "exec"), copy.__dict__)  # noqa: S102  our own text
    return copy


def _driven_by(module: ModuleType) -> type[Stage]:
    if hasattr(module, "SyncDriver"):
        return type("FaultySyncStage", (SyncStage,), {"driver_type": module.SyncDriver})
    return type("FaultyAsyncStage", (AsyncStage,), {"driver_type": module.AsyncDriver})
