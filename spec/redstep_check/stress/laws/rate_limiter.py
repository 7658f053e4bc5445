"""No window of the limit's length holds more than the limit, by the times that the limiter itself tells."""

from collections import Counter, deque
from collections.abc import Iterator

from redstep_check.stress.binding import Finding, Part, Request
from redstep_check.stress.laws.clients import found
from redstep_spec import rate_limiter as spec
from redstep_spec.delivery import Unknown


def never_too_many(part: Part) -> Iterator[Finding]:
    """
    RL-2: of what was admitted, and answered, never more than the limit in any window.

    The time of an admission is its stamp, which never runs backward, whatever the clock does: the answer tells it, for the
    newest admission is the call's own. An identity that may have been admitted more than once, heard of or not, was charged
    once, nobody knows by which call: it is left out.
    """
    asked = [each for each in part.requests if isinstance(each.call, spec.Acquire)]
    again = Counter(each.call.request_id for each in asked if each.call.request_id and _may_be_admitted(each))
    charged = [each for each in asked if again[each.call.request_id] <= 1 and each.says.get("allowed")]
    charged = [each for each in charged if "reset_after_ms" in each.says]
    if not charged:
        return
    [limit] = charged[0].call.limits
    window: deque[tuple[int, int]] = deque()
    used = 0
    for at_ms, cost in sorted((_stamp_ms(each, limit), each.call.cost) for each in charged):
        window.append((at_ms, cost))
        used += cost
        while window[0][0] <= at_ms - limit.window_ms:
            used -= window.popleft()[1]
        if used > limit.limit:
            yield found(
                "RL-2", f"{used} were admitted in the {limit.window_ms} ms up to {at_ms}, and the limit is {limit.limit}", part
            )
            return


def _may_be_admitted(request: Request) -> bool:
    return isinstance(request.outcome, Unknown) or bool(request.says.get("allowed"))


def _stamp_ms(request: Request, limit: spec.Limit) -> int:
    return int(request.says["now_ms"]) + int(request.says["reset_after_ms"]) - limit.window_ms


LAWS = (never_too_many,)
