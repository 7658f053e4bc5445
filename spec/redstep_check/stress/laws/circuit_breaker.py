"""A breaker's epochs only grow, begin once each, and number their probes."""

from collections import Counter
from collections.abc import Iterator

from redstep_check.stress.binding import Finding, Part
from redstep_check.stress.laws.clients import found
from redstep_check.stress.laws.order import Told, out_of_time


def epochs_announced_once(part: Part) -> Iterator[Finding]:
    """CB-9: a transition is told by the call that made it, and by no other."""
    told = Counter(change.epoch for each in part.requests if (change := each.says.get("transition")) is not None)
    for epoch, times in told.items():
        if times > 1:
            yield found("CB-9", f"{times} calls were told that they began the epoch {epoch}", part)


def epochs_grow(part: Part) -> Iterator[Finding]:
    """CB-1: no call that began after another was answered is told an older epoch."""
    told = [Told(each, int(each.says["epoch"])) for each in part.requests if "epoch" in each.says]
    for early, late in out_of_time(sorted(told, key=lambda each: (each.number, each.began_at))):
        if early.number < late.number:
            yield found("CB-1", f"the epoch {early.number} was told after {late.number}", part)


def probes_given_once(part: Part) -> Iterator[Finding]:
    """CB-5: the permit of a probe is given to one caller."""
    given = Counter((each.says["epoch"], each.says["number"]) for each in part.requests if each.says.get("number"))
    for (epoch, number), times in given.items():
        if times > 1:
            yield found("CB-5", f"the probe {number} of the epoch {epoch} was given {times} times", part)


LAWS = (epochs_announced_once, epochs_grow, probes_given_once)
