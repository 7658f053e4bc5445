"""The tests of running work are tested: with one planted fault in the shipped text, the test that is there for it fails."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import CodeType, FunctionType, ModuleType
from typing import Any

import pytest
from attrs import frozen

from redstep import idempotency, idempotency_protocols, idempotency_run
from redstep_check.engines import Engine
from redstep_check.faults import FaultProxy
from redstep_spec.delivery import Fate

from . import test_cancellation as cancellation
from . import test_delivery as delivery
from . import test_late_owners as late_owners
from . import test_responses as responses
from . import test_run as running
from . import test_scopes as scopes
from .stage import AsyncStage, SyncStage


@frozen(kw_only=True)
class Fault:
    """One edit of the shipped text, the rule that it breaks, and the test that must catch it."""

    name: str
    rule: str
    module: ModuleType = idempotency_run
    old: str
    new: str
    caught_by: Callable[..., None]
    arguments: tuple[Any, ...] = ()


FAULTS = [
    Fault(
        name="the work is run though the store is down",
        rule="ID-11",
        old="if policy.on_store_failure == FAIL_CLOSED:",
        new="if policy is None:",
        caught_by=running.test_when_the_store_is_down_the_work_is_not_run,
        arguments=([Fate.NOT_SENT],),
    ),
    Fault(
        name="unprotected work is not marked",
        rule="ID-11",
        old="recorded=False, degraded=True)",
        new="recorded=False)",
        caught_by=running.test_it_may_be_told_to_fail_open,
        arguments=([Fate.NOT_SENT],),
    ),
    Fault(
        name="every error frees the key",
        rule="ID-7",
        old="if isinstance(error, NoEffect) or",
        new="if True or",
        caught_by=running.test_any_other_error_leaves_the_lease_standing,
        arguments=(ValueError("mine"),),
    ),
    Fault(
        name="no error frees the key",
        rule="ID-7",
        old="isinstance(error, NoEffect) or",
        new="",
        caught_by=running.test_an_error_without_effect_frees_the_key,
        arguments=(running.OutOfStock("nothing"),),
    ),
    Fault(
        name="a refused response is stored",
        rule="ID-7",
        old="is_kept = yield from _says(scope, manner.store_if, response, otherwise=True)",
        new="is_kept = True",
        caught_by=running.test_a_refused_response_is_not_stored,
    ),
    Fault(
        name="a completion that fails costs the response",
        rule="ID-7",
        old='{problem}: {error}")\n        return None',
        new='{problem}: {error}")\n        raise',
        caught_by=running.test_a_completion_that_fails_costs_nobody_the_response,
        arguments=([Fate.DELIVERED, Fate.NOT_SENT],),
    ),
    Fault(
        name="what can't be encoded is forgotten",
        rule="ID-10",
        old="_settle(scope, partial(protocols.complete_without_response, policy, scope, claim.token), NOT_RECORDED)",
        new="iter(())",
        caught_by=running.test_a_response_that_is_no_bytes_is_not_lost,
        arguments=(None,),
    ),
    Fault(
        name="a lost lease is nobody's business",
        rule="ID-6",
        old="if settled is None or isinstance(settled, Done):",
        new="if settled is None or settled:",
        caught_by=late_owners.test_work_that_took_too_long_loses_nothing,
    ),
    Fault(
        name="the work is given no fence",
        rule="ID-5",
        old="response = yield RunWork(partial(work, claim))",
        new="response = yield RunWork(partial(work, UNPROTECTED))",
        caught_by=running.test_the_work_is_given_its_claim,
    ),
    Fault(
        name="an interrupted completion is left undone",
        rule="CM-10",
        old="            yield from ask()\n        except RedstepError as error:",
        new="            yield Sleep(0)\n        except RedstepError as error:",
        caught_by=cancellation.test_a_thread_is_interrupted_at_every_wish,
        arguments=("complete", False),
    ),
    Fault(
        name="what was interrupted while it was encoded is left undone",
        rule="CM-10",
        old="    except BaseException as error:\n        yield from _settle(scope, partial(protocols.complete_without",
        new="    except Exception as error:\n        yield from _settle(scope, partial(protocols.complete_without",
        caught_by=cancellation.test_what_is_interrupted_after_the_work_is_done,
        arguments=("encode",),
    ),
    Fault(
        name="what never began blocks the key",
        rule="ID-7",
        old="if dropped(response):",
        new="if dropped(response) and False:",
        caught_by=running.test_work_that_returns_what_never_began_is_not_done,
        arguments=("generator",),
    ),
    Fault(
        name="what never began is done",
        rule="ID-10",
        old="    if is_unfinished(response):\n        if",
        new="    if False:\n        if",
        caught_by=running.test_work_that_returns_what_never_began_is_not_done,
        arguments=("generator",),
    ),
    Fault(
        name="an interrupted claim stands",
        rule="CM-10",
        module=idempotency_protocols,
        old="if not isinstance(error, Exception) or (",
        new="if (",
        caught_by=cancellation.test_a_thread_is_interrupted_at_every_wish,
        arguments=("claim", True),
    ),
    Fault(
        name="a claim that nobody heard of stands",
        rule="CM-4",
        module=idempotency_protocols,
        old=" or (isinstance(error, Unavailable) and not error.definite)",
        new="",
        caught_by=running.test_a_claim_that_nobody_heard_of_is_released,
    ),
    Fault(
        name="a claim is asked for only once",
        rule="CM-4",
        module=idempotency_protocols,
        old="args=args, idempotent=True",
        new="args=args, idempotent=False",
        caught_by=delivery.test_a_lost_reply_is_asked_for_once_more,
        arguments=("constructor",),
    ),
    Fault(
        name="one token for all",
        rule="ID-3",
        module=idempotency_protocols,
        old="return drawn.hex()",
        new="return drawn.hex()[:0] + 'token'",
        caught_by=running.test_no_two_calls_share_a_token,
    ),
    Fault(
        name="the limit is off by one",
        rule="ID-10",
        module=idempotency_protocols,
        old="> policy.response_max_bytes:",
        new=">= policy.response_max_bytes:",
        caught_by=responses.test_the_limit_is_exact,
        arguments=(responses.LIMIT,),
    ),
    Fault(
        name="no digest is kept",
        rule="ID-6",
        module=idempotency_protocols,
        old="hashlib.sha256(response).digest()",
        new='b""',
        caught_by=responses.test_the_same_response_is_told_from_another,
        arguments=(responses.LIMIT + 1,),
    ),
    Fault(
        name="a scope is its parts, joined",
        rule="ID-9",
        module=idempotency,
        old='f"{len(name.encode())}:{name}" for name',
        new="name for name",
        caught_by=scopes.test_two_scopes_have_two_keys,
    ),
    Fault(
        name="a fingerprint's parts run together",
        rule="ID-2",
        module=idempotency,
        old='b"%s:%d:" % (kind, len(text)) + text',
        new="text",
        caught_by=scopes.test_two_payloads_have_two_fingerprints,
    ),
]


def marked() -> Iterator[Any]:
    """Each fault, with the mark that tells its rule."""
    for fault in FAULTS:
        yield pytest.param(fault, id=fault.name, marks=pytest.mark.catches(fault.rule, fault.name))


@pytest.mark.parametrize("fault", [*marked()])
def test_a_planted_fault_is_caught(fault: Fault, engine: Engine, proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> None:
    """The test passes without the fault, and fails with it."""
    wanted = inspect.signature(fault.caught_by).parameters
    kinds = [SyncStage] if "sync_stage" in wanted else [SyncStage, AsyncStage] if "stage" in wanted else [None]
    for kind in kinds:
        assert not fails(fault, kind, engine, proxy, caplog)
        with planted(fault):
            assert fails(fault, kind, engine, proxy, caplog)


def fails(fault: Fault, kind: Any, engine: Engine, proxy: FaultProxy, caplog: pytest.LogCaptureFixture) -> bool:
    """Does the test fail, for another reason than an edit that makes no sense?"""
    engine.forget()
    proxy.arm([])
    caplog.clear()
    further = [caplog] if "caplog" in inspect.signature(fault.caught_by).parameters else []
    try:
        if kind is None:
            fault.caught_by()
        else:
            with closing(kind(engine, proxy)) as stage:
                fault.caught_by(stage, *further, *fault.arguments)
    except (NameError, SyntaxError):
        raise
    except (Exception, pytest.fail.Exception, KeyboardInterrupt):  # noqa: BLE001  however it fails
        return True
    return False


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """With the edit in the functions that everybody has imported already."""
    source = inspect.getsource(fault.module)
    assert source.count(fault.old) == 1, fault.old
    copy = ModuleType(fault.module.__name__)
    exec(compile(source.replace(fault.old, fault.new), "<planted>", "exec"), vars(copy))  # noqa: S102  it is our own text, edited
    edited = dict(functions(copy))
    before: list[tuple[FunctionType, CodeType]] = []
    for name, function in functions(fault.module):
        before.append((function, function.__code__))
        function.__code__ = edited[name].__code__
    try:
        yield
    finally:
        for function, code in before:
            function.__code__ = code


def functions(module: ModuleType) -> Iterator[tuple[str, FunctionType]]:
    """The functions of a module and the properties of its classes, which hold no variable of another function."""
    for name, value in vars(module).items():
        if isinstance(value, FunctionType) and value.__module__ == module.__name__:
            yield name, value
        elif isinstance(value, type) and value.__module__ == module.__name__:
            for attribute, member in vars(value).items():
                if isinstance(member, property) and isinstance(member.fget, FunctionType):
                    yield f"{name}.{attribute}", member.fget


def test_a_fault_that_no_longer_applies_is_an_error() -> None:
    """An edit must apply exactly once."""
    gone = Fault(name="gone", rule="ID-1", old="no such text", new="", caught_by=print)
    with pytest.raises(AssertionError, match="no such text"), planted(gone):
        pass
