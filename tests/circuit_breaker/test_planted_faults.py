"""These tests are tested: a breaker's client with one planted fault fails the test that is there for it."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from unittest.mock import patch

import pytest
from attrs import frozen

from redstep_check.engines import Engine
from redstep_check.targets.planted import Fault, planted
from support.planting import fails

from . import plays
from . import test_calls as calls
from . import test_concurrency as concurrency
from . import test_interruptions as interruptions
from . import test_listeners as listeners
from . import test_outcomes as outcomes
from .plays import PLAYS

CLIENTS = "redstep.clients.circuit_breaker"
NAMES = ("CircuitBreaker", "AsyncCircuitBreaker", "SharedCircuitBreaker", "AsyncSharedCircuitBreaker")


@frozen(kw_only=True)
class Caught:
    """A fault, the play that it is planted in, and the test that must fail."""

    fault: Fault
    play: str
    by: Callable[..., None]
    arguments: tuple[Any, ...] = ()


def _caught(name: str, rule: str, file: str, old: str, new: str, play: str, by: Callable[..., None], *arguments: Any) -> Caught:
    fault = Fault(name=name, rule=rule, file=f"redstep.{file}", old=old, new=new)
    return Caught(fault=fault, play=play, by=by, arguments=arguments)


PROTOCOLS, PERMITS, OUTCOMES = "circuit_breaker_protocols", "clients.circuit_breaker_permits", "circuit_breaker_outcomes"
CANCELLED = (interruptions.test_a_cancelled_task_leaves_no_probe_behind, interruptions.wrapped, 1)

FAULTS = [
    _caught(
        "a cancelled call keeps its permit",
        "CB-10",
        PROTOCOLS,
        "    if outcome is Outcome.NEUTRAL:\n        yield from free(breaker, permit)\n    else:\n        yield",
        "    if outcome is not Outcome.NEUTRAL:\n        yield",
        "local-asyncio",
        *CANCELLED,
    ),
    _caught(
        "a permit that came before the cancellation is kept",
        "CM-10",
        PROTOCOLS,
        "    except BaseException:\n        yield from free(breaker, admission.permit)\n        raise",
        "    except ArithmeticError:\n        raise",
        "shared-asyncio",
        *CANCELLED,
    ),
    _caught(
        "an acquire is broken off",
        "CM-10",
        "circuit_breaker_shared",
        "finishes=True",
        "finishes=False",
        "shared-asyncio",
        *CANCELLED,
    ),
    _caught(
        "one call at a time",
        "CB-11",
        "clients.circuit_breaker",
        "        return cast(",
        '        with vars(self).setdefault("_turn", __import__("threading").Lock()):\n            return cast(',
        "local-sync",
        concurrency.test_a_crowd_of_threads_is_inside_at_the_same_time,
    ),
    _caught(
        "listeners are told within one another",
        "CB-11",
        PROTOCOLS,
        "while self._waiting and self._telling.setdefault(process, me) is me:",
        "while self._waiting:",
        "local-sync",
        listeners.test_a_listener_may_use_the_breaker,
    ),
    _caught(
        "a crowd of tellers",
        "CB-9",
        PROTOCOLS,
        "self._telling.setdefault(process, me) is me",
        "self._telling.setdefault(process, me)",
        "local-asyncio",
        listeners.test_a_slow_listener_is_not_told_two_things_at_a_time,
    ),
    _caught(
        "the error of the call is wrapped",
        "CB-12",
        PROTOCOLS,
        "        yield from conclude(breaker, permit, error)\n        raise\n",
        "        yield from conclude(breaker, permit, error)\n        raise type(error)(*error.args) from error\n",
        "local-sync",
        calls.test_an_error_of_the_call_is_raised_as_it_is,
    ),
    _caught(
        "a refusal without its wait",
        "CB-12",
        PROTOCOLS,
        "admission.why, admission.retry_after_ms",
        "admission.why, 0",
        "local-sync",
        calls.test_a_refused_call_is_not_made,
    ),
    _caught(
        "a permit counts as often as it is reported",
        "CB-7",
        PERMITS,
        "return self.use() and bool(self._run",
        "return bool(self._run",
        "local-sync",
        calls.test_a_permit_is_reported_by_its_holder,
        "failure",
        2,
    ),
    _caught(
        "a permit is looked at before it is taken",
        "CB-7",
        PERMITS,
        "return self._unused.acquire(blocking=False)",
        'if self._unused.locked():\n            return False\n        __import__("time").sleep(0.01)\n'
        "        self._unused.acquire(blocking=False)\n        return True",
        "local-sync",
        concurrency.test_a_permit_that_threads_race_for_counts_once,
    ),
    _caught(
        "the outermost block ends first",
        "CB-7",
        PERMITS,
        "own[-1] if own",
        "own[0] if own",
        "local-sync",
        calls.test_blocks_can_be_nested,
    ),
    *(
        _caught(
            f"{what} is a failure",
            "CB-10",
            OUTCOMES,
            old,
            new,
            "local-sync",
            outcomes.test_a_neutral_outcome_changes_no_count_and_frees_the_permit,
            what,
        )
        for what, old, new in (
            ("Ctrl-C", "not isinstance(error, Exception)", "False"),
            ("a full store", '"NOSCRIPT", "OOM",', '"NOSCRIPT",'),
            ("a wrong type", ', "WRONGTYPE"}', "}"),
            ("no connection free", "        or ran_out(error)\n", ""),
        )
    ),
    _caught(
        "this breaker's refusal is a failure",
        "CB-10",
        OUTCOMES,
        "(isinstance(error, CircuitOpen) and error.identity == identity)",
        "False",
        "local-sync",
        outcomes.test_this_breakers_refusal_is_neutral,
    ),
    _caught(
        "a refusal is known by its name alone",
        "CB-10",
        PROTOCOLS,
        "admission.retry_after_ms, breaker.identity)",
        "admission.retry_after_ms, breaker.name)",
        "local-sync",
        outcomes.test_this_breakers_refusal_is_neutral,
    ),
    _caught(
        "a step at a time older than its state",
        "CB-3",
        "circuit_breaker_local",
        "if self.state is state:",
        "if state:",
        "local-sync",
        concurrency.test_who_comes_late_takes_no_step_in_the_past,
    ),
    _caught(
        "a timeout is neutral",
        "CB-10",
        OUTCOMES,
        "not isinstance(error, Exception)\n",
        "not isinstance(error, Exception)\n        or isinstance(error, TimeoutError)\n",
        "local-sync",
        outcomes.test_any_other_exception_is_a_failure,
        "a timeout",
    ),
]


def cases() -> Iterator[pytest.ParameterSet]:
    """Each fault, marked with the rule that it breaks."""
    for each in FAULTS:
        yield pytest.param(each, id=each.fault.name, marks=pytest.mark.catches(each.fault.rule, each.fault.name))


@pytest.mark.parametrize("caught", [*cases()])
def test_a_planted_fault_is_caught(engine: Engine, caught: Caught) -> None:
    """And the same test passes without it, on the same play: that is what the tests are."""
    module = planted(caught.fault, CLIENTS)
    faulty = {name: getattr(module, name) for name in NAMES}
    with (
        patch.multiple(plays, **faulty),
        patch.multiple(concurrency, CROWD=10, LONG_S=0.3),
        closing(PLAYS[caught.play](engine)) as play,
    ):
        assert fails(lambda: caught.by(play, *caught.arguments))
