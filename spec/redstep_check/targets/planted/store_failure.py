"""Faults for a limiter whose store fails: each is caught by lockstep under its rule."""

from redstep_check.targets.planted import Fault


def _failure(name: str, rule: str, old: str, new: str) -> Fault:
    return Fault(name=name, rule=rule, file="redstep.store_failure", old=old, new=new, variant="packed")


FAULTS = (
    _failure("no breaker", "RL-12", "permit = yield from breakers.acquire(breaker)", "permit = breakers.Permit(0, 0)"),
    _failure(
        "the breaker learns nothing of failures",
        "RL-12",
        "        yield from breakers.conclude(breaker, permit, error)\n        raise",
        "        yield from breakers.conclude(breaker, permit, None)\n        raise",
    ),
    _failure(
        "a lost reply is no failure",
        "RL-12",
        "        yield from breakers.conclude(breaker, permit, error)\n        raise",
        "        lost = isinstance(error, Unavailable) and not error.definite\n"
        "        yield from breakers.conclude(breaker, permit, None if lost else error)\n        raise",
    ),
    _failure(
        "a pool that ran out is a failure",
        "RL-13",
        "        yield from breakers.conclude(breaker, permit, error)\n        raise",
        "        yield from breakers.conclude(breaker, permit, OSError() if 'pool' in str(error) else error)\n        raise",
    ),
    _failure(
        "a pool that ran out is admitted",
        "RL-13",
        "        except Unavailable as error:\n            if",
        "        except Exception as error:\n            error.problem = str(error)\n            if",
    ),
    _failure(
        "failing closed does not raise for the breaker",
        "RL-12",
        "            if self.on_failure == FAIL_CLOSED:\n                raise unavailable(error) from error\n",
        "            pass\n",
    ),
    _failure(
        "failing open raises for the breaker",
        "RL-12",
        "            if self.on_failure == FAIL_CLOSED:\n                raise unavailable(error) from error\n",
        "            raise unavailable(error) from error\n",
    ),
    _failure(
        "the policies are swapped",
        "RL-12",
        "            if self.on_failure == FAIL_CLOSED:\n                raise\n",
        "            if self.on_failure == FAIL_OPEN:\n                raise\n",
    ),
    Fault(
        name="an uncounted admission is not marked",
        rule="RL-12",
        file="redstep.rate_limiter",
        old="0, 0, 0, 0, degraded=True)",
        new="0, 0, 0, 0)",
        variant="packed",
    ),
    Fault(
        name="a store out of memory is a failure",
        rule="RL-17",
        file="redstep.circuit_breaker_outcomes",
        old='frozenset({"NOSCRIPT", "OOM", "WRONGTYPE"})',
        new='frozenset({"NOSCRIPT", "WRONGTYPE"})',
        variant="packed",
    ),
    Fault(
        name="the permit of a neutral call is kept",
        rule="RL-17",
        file="redstep.circuit_breaker_protocols",
        old="    if permit.number:\n        yield from settle",
        new="    if not permit.number:\n        yield from settle",
        variant="packed",
    ),
)
