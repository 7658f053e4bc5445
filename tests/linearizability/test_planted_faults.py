"""The checker is checked: a fault planted in its text is caught by what the sound one passes."""

import pytest

from .battery import failure
from .planting import SOUND, Fault, planted

FAULTS = [
    Fault(
        name="unknown outcomes are dropped",
        module="checker",
        old="if not isinstance(each.outcome, Failed)]",
        new="if isinstance(each.outcome, Replied)]",
    ),
    Fault(
        name="failed operations may have happened",
        module="checker",
        old="if not isinstance(each.outcome, Failed)]",
        new="]",
    ),
    Fault(
        name="unknown outcomes end where their clients gave up",
        module="points",
        old="self._others + self._unknown)",
        new="self._others + [x for x in self._unknown if (operations[x[0]].completed_at or completed_at) >= completed_at])",
    ),
    Fault(
        name="unknown outcomes end with the last completion",
        module="points",
        old="self._others + self._unknown)",
        new="self._others + (self._unknown if self.due[1:] else []))",
    ),
    Fault(
        name="real time is ignored",
        module="points",
        old="operations[invoked].invoked_at <= completed_at",
        new="True",
    ),
    Fault(
        name="an invocation at the place of a completion comes after it",
        module="points",
        old="operations[invoked].invoked_at <= completed_at",
        new="(operations[invoked].invoked_at < completed_at or invoked == due)",
    ),
    Fault(
        name="the order of completion is that of invocation",
        module="points",
        old="in sorted(completed)",
        new="in completed",
    ),
    Fault(
        name="what was visited is remembered without the state",
        module="search",
        old="if (after | now) in visited[then]:\n                continue\n            visited[then].add(after | now)",
        new="if now in visited[then]:\n                continue\n            visited[then].add(now)",
    ),
    Fault(
        name="what was visited is remembered without what is placed",
        module="search",
        old="if (after | now) in visited[then]:\n                continue\n            visited[then].add(after | now)",
        new="if after in visited[then]:\n                continue\n            visited[then].add(after)",
    ),
    Fault(
        name="what was visited is remembered without the point",
        module="search",
        old="visited: list[set[int]] = [set() for _ in due]",
        new="visited: list[set[int]] = [set()] * len(due)",
    ),
    Fault(
        name="going back forgets the state",
        module="search",
        old="path, untried, at, placed, state, _ = path",
        new="path, untried, at, placed, _, _ = path",
    ),
    Fault(
        name="going back forgets what is placed",
        module="search",
        old="path, untried, at, placed, state, _ = path",
        new="path, untried, at, _, state, _ = path",
    ),
    Fault(
        name="going back does not try the rest",
        module="search",
        old="path, untried, at, placed, state, _ = path",
        new="path, _, at, placed, state, _ = path",
    ),
    Fault(
        name="a bit is used by two that overlap",
        module="points",
        old="            self._free.append(bit)",
        new="            self._free.append(bit)\n            self._free.append(bit)",
    ),
    Fault(
        name="the bit of an unknown outcome is used again",
        module="points",
        old="self._unknown.append((index, bit, bit | twin, twin, {}))",
        new="self._unknown.append((index, bit, bit | twin, twin, {}))\n            self._free.append(bit)",
    ),
    Fault(
        name="twins are told by their looks alone",
        module="points",
        old="pickle.dumps(call)",
        new="repr((type(call), call)).encode()",
    ),
    Fault(
        name="twins are told apart by equality alone",
        module="points",
        old="pickle.dumps(call)",
        new="next((each for each in self._twins if pickle.loads(each) == call), pickle.dumps(call))",
    ),
    Fault(
        name="only one of two that look alike may take effect",
        module="points",
        old="        return twin\n",
        new="        return bit if twin else 0\n",
    ),
    Fault(
        name="whatever changes nothing is taken for a read",
        module="search",
        old="if after == state and is_read[index]:",
        new="if after == state:",
    ),
    Fault(
        name="replies are not compared",
        module="stepping",
        old="            if reply != expected and expected is not OPEN:\n                return IMPOSSIBLE\n",
        new="",
    ),
    Fault(
        name="a reply that never came is compared",
        module="stepping",
        old="            if reply != expected and expected is not OPEN:\n",
        new="            if reply != expected:\n",
    ),
    Fault(
        name="a nondeterministic model goes one way only",
        module="stepping",
        old="return _set(self._steps(state, operation.call, operation.outcome))",
        new="return _set(list(self._steps(state, operation.call, operation.outcome))[:1])",
    ),
    Fault(
        name="a nondeterministic model begins in one state only",
        module="stepping",
        old="self._inits = _set(model.inits)",
        new="self._inits = _set(list(model.inits)[:1])",
    ),
    Fault(
        name="unknown outcomes that narrow nothing down are dropped, and others with them",
        module="stepping",
        old="operation.is_open and after <= before",
        new="operation.is_open and after & before",
    ),
    Fault(
        name="parts are not told apart",
        module="checker",
        old="if model.partition is None:",
        new="if True:",
    ),
    Fault(
        name="the first part decides",
        module="checker",
        old="while waiting:",
        new="while waiting and not done:",
    ),
    Fault(
        name="parts are put together one after the other",
        module="checker",
        old="now = max(now, placed.operation.invoked_at)",
        new="now = 0",
    ),
    Fault(
        name="the parts' orders are put together by invocation",
        module="checker",
        old="now = max(now, placed.operation.invoked_at)",
        new="now = placed.operation.invoked_at",
    ),
    Fault(
        name="nothing heard is taken for a pass",
        module="checker",
        old="return Vacuous(len(every))",
        new="return Legal((), 0)",
    ),
    Fault(
        name="a search that is given up is taken for a pass",
        module="checker",
        old="return Undecided(steps, tuple(each.key for each in waiting))",
        new="return Legal((), steps)",
    ),
    Fault(
        name="parts do not take turns",
        module="checker",
        old="(done if part.result else waiting).append(part)",
        new="done.append(part) if part.result else waiting.appendleft(part)",
    ),
    Fault(
        name="a part goes on as long as it likes",
        module="checker",
        old="min(SLICE_STEPS, max_steps - steps)",
        new="max_steps - steps",
    ),
    Fault(
        name="a slice is a slice, whatever is left",
        module="checker",
        old="min(SLICE_STEPS, max_steps - steps)",
        new="SLICE_STEPS",
    ),
    Fault(
        name="a search is not resumed where it paused",
        module="search",
        old="pause += yield steps",
        new="pause += yield steps\n                path = None",
    ),
    Fault(
        name="a model is believed when it says what only reads",
        module="stepping",
        old="            if is_read[index]:\n",
        new="            if False:\n",
    ),
    Fault(
        name="the last point that was blocked is told",
        module="search",
        old="if at > furthest or (at == furthest and placed.bit_count() > most):",
        new="if True:",
    ),
    Fault(
        name="the first point that was blocked is told",
        module="search",
        old="if at > furthest or (at == furthest and placed.bit_count() > most):",
        new="if furthest < 0:",
    ),
    Fault(
        name="a failure is taken for an unknown outcome",
        module="histories",
        old="(event.outcome, event.at)",
        new="(event.outcome, event.at) if hasattr(event.outcome, 'reply') else NOT_HEARD",
    ),
    Fault(
        name="the oldest call gets the reply",
        module="histories",
        old="heard[busy.pop(client)] =",
        new="heard[busy.pop(client) and min((each for each in range(len(heard)) if heard[each] is NOT_HEARD))] =",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_is_caught(fault: Fault) -> None:
    """By one of many small histories, by its verdict, its witness or its prefix."""
    assert failure(planted(fault))


def test_the_text_as_it_stands_is_not_caught() -> None:
    """What is executed afresh without an edit passes, so that what is caught above is the edit."""
    assert not failure(planted(SOUND))
