"""Faults for limits across regions: each is caught by lockstep under its rule."""

from redstep_check.targets.planted import Fault


def _regions(name: str, old: str, new: str) -> Fault:
    return Fault(name=name, rule="RL-10", file="redstep.regions", old=old, new=new, variant="packed")


FAULTS = (
    _regions("global asked first", "if decision.allowed or overall is None", "if overall is None"),
    _regions("the longer wait", "retry_after_ms=min(", "retry_after_ms=max("),
    _regions("degraded not marked", "degraded=True", "degraded=False"),
    _regions("global admission not marked", "from_global=True", "from_global=False"),
    _regions("failure admits", "return evolve(decision, degraded=True)", "return evolve(decision, allowed=True)"),
    _regions("failure raised", "    except RedstepError as error:\n", "    except ZeroDivisionError as error:\n"),
)
