"""
Random decisions, many of them: `packed` against `zset` against the specification.

A world is one name and the calls made under it, drawn from a seed: costs, one to three limits, limits that change, regions that
start cold, clocks that creep, jump ahead, step back, and stop just before, at and after the end of an admission or of a cold
start. The specification is stepped while the calls are drawn; the scripts answer in batches, and every reply is compared.

`REDSTEP_DECISIONS` says how many decisions are made (`make differential`: 500,000).
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
import redis
from attrs import field, frozen

from redstep.rate_limiter import PACKED_ACQUIRE, ZSET_ACQUIRE
from redstep_check.engines import Engine
from redstep_check.targets.planted import Fault, edited
from redstep_check.targets.planted.rate_limiter import FAULTS as PLANTED
from redstep_spec import rate_limiter as spec

DECISIONS = int(os.environ.get("REDSTEP_DECISIONS", "30000"))
FAULTY_DECISIONS = 20_000
CALLS_PER_WORLD = 60
WORLDS_PER_BATCH = 8
WINDOWS_MS: tuple[tuple[int, ...], ...] = ((5,), (20,), (60,), (20, 50), (50, 7), (3, 20, 60))
LIMIT_MOST = 12
EDGES = (-1, 0, 1)
SEED = 20_260
LEAST_SHARE = 0.01
"""What share of the decisions each rule must bear upon, lest the comparison be of little."""
RULES = ("RL-1", "RL-3", "RL-5", "RL-6", "RL-8", "RL-9", "RL-15")


@frozen
class Expected:
    """A call, and what all three must answer."""

    call: spec.Acquire
    reply: list[int]
    because: tuple[str, ...]


@frozen
class Difference:
    """A call that was answered differently."""

    expected: Expected
    packed: object
    zset: object


class World:
    """The calls of one name. The clock has a true course, and readings that stray from it."""

    def __init__(self, rng: random.Random, name: str) -> None:
        self._rng = rng
        self._name = name
        self._logs = spec.INITIAL
        self._true_ms = 1_000
        self._windows_ms = rng.choice(WINDOWS_MS)
        self._region: spec.Region | None = None
        if rng.random() < 0.4:
            self._region = spec.Region(
                start_ms=990 + rng.randrange(20), cold_ms=rng.randrange(120), percent=rng.choice((0, 30, 50, 70, 100))
            )
        self._switch()

    def __iter__(self) -> Iterator[Expected]:
        for _ in range(CALLS_PER_WORLD):
            if self._rng.random() < 0.08:
                self._switch()
            call = self._call()
            self._logs, decision = spec.acquire(self._logs, call)
            yield Expected(call, as_reply(decision), decision.because)

    def _switch(self) -> None:
        """Other limits; at times of only some of the windows, or in another order."""
        windows_ms = self._windows_ms
        if len(windows_ms) > 1 and self._rng.random() < 0.3:
            windows_ms = tuple(self._rng.sample(windows_ms, self._rng.randint(1, len(windows_ms))))
        self._limits = tuple(spec.Limit(limit=self._rng.randint(1, LIMIT_MOST), window_ms=each) for each in windows_ms)

    def _call(self) -> spec.Acquire:
        cost_most = min(limit.limit for limit in self._limits)
        cost = 1 if self._rng.random() < 0.6 else self._rng.randint(1, cost_most)
        return spec.Acquire(name=self._name, limits=self._limits, now_ms=self._now_ms(), cost=cost, region=self._region)

    def _now_ms(self) -> int:
        chance = self._rng.random()
        if chance < 0.25 and (edges := self._edges_ms()):
            edge_ms = self._rng.choice(edges) + self._rng.choice(EDGES)
            self._true_ms = max(self._true_ms, edge_ms) if chance < 0.2 else self._true_ms
            return max(0, edge_ms)
        if chance < 0.35:
            return self._true_ms - self._rng.randrange(1, 80)
        if chance < 0.37:
            return self._true_ms + self._rng.randrange(1, 80)
        if chance < 0.4:
            self._true_ms += self._rng.randrange(1, 120)
        self._true_ms += self._rng.randrange(3)
        return self._true_ms

    def _edges_ms(self) -> list[int]:
        """When an admission, or the cold start, ends."""
        logs = ((limit, spec.log_of(self._logs, limit.window_ms)) for limit in self._limits)
        edges = [admission.at_ms + limit.window_ms for limit, log in logs for admission in log.admissions[:3]]
        return [*edges, self._region.warm_at_ms] if self._region else edges


def as_reply(decision: spec.Decision) -> list[int]:
    """A decision as the scripts answer it."""
    return [
        int(decision.allowed),
        decision.binding,
        decision.limit,
        decision.remaining,
        decision.retry_after_ms,
        decision.reset_after_ms,
        decision.now_ms,
    ]


def worlds(seed: int) -> Iterator[World]:
    """Worlds without end, the same for the same seed."""
    rng = random.Random(seed)  # noqa: S311  no secret is made of it
    number = 0
    while True:
        yield World(rng, f"world-{seed}-{number}")
        number += 1


@frozen
class Scripts:
    """The two scripts in an engine."""

    client: redis.Redis
    packed: str = PACKED_ACQUIRE.text
    zset: str = ZSET_ACQUIRE.text
    _sha1s: tuple[str, str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        sha1s = self.client.script_load(self.packed), self.client.script_load(self.zset)
        object.__setattr__(self, "_sha1s", sha1s)

    def replies(self, batch: list[Expected]) -> Iterator[tuple[object, object]]:
        """What both answer to each call, all sent at once."""
        pipeline = self.client.pipeline(transaction=False)
        packed_sha1, zset_sha1 = self._sha1s
        for each in batch:
            call = each.call
            warm_at_ms, limits = scripts_limits(call)
            keys = [f"{{{call.name}}}:{limit.window_ms}" for limit in call.limits]
            count = len(keys)
            pipeline.evalsha(packed_sha1, count, *(f"{key}:p" for key in keys), call.now_ms, call.cost, warm_at_ms, *limits)
            pipeline.evalsha(zset_sha1, count, *(f"{key}:z" for key in keys), call.now_ms, call.cost, "", warm_at_ms, *limits)
        answers = iter(pipeline.execute(raise_on_error=False))
        return zip(answers, answers, strict=True)


def scripts_limits(call: spec.Acquire) -> tuple[int, list[int]]:
    """The end of the cold start, and window, limit and cold limit of each limit, said apart from the client that ships."""
    region = call.region
    percent = region.percent if region else 100
    numbers = [number for each in call.limits for number in (each.window_ms, each.limit, max(1, each.limit * percent // 100))]
    return region.warm_at_ms if region else 0, numbers


@frozen
class Comparison:
    """What came of comparing: how many decisions, what they were about, and the first that differ."""

    decisions: int
    fired: Counter[str]
    differences: list[Difference]


def compare(scripts: Scripts, decisions: int, seed: int = SEED) -> Comparison:
    """Make that many decisions, or as many as it takes to see a difference."""
    made, fired = 0, Counter[str]()
    endless = worlds(seed)
    while made < decisions:
        batch = [each for world in islice(endless, WORLDS_PER_BATCH) for each in world]
        differences = [
            Difference(each, packed, zset)
            for each, (packed, zset) in zip(batch, scripts.replies(batch), strict=True)
            if packed != each.reply or zset != each.reply
        ]
        made += len(batch)
        for each in batch:
            fired.update(each.because)
        if differences:
            return Comparison(made, fired, differences)
    return Comparison(made, fired, [])


@pytest.mark.timeout(900)
def test_packed_and_zset_decide_as_the_specification_does(engine_named: Callable[[str], Engine]) -> None:
    """RL-0: whatever is asked, both representations give the specification's answer, in every field."""
    with engine_named("valkey9").client() as client:
        result = compare(Scripts(client), DECISIONS)
    assert not result.differences, result.differences[0]
    assert result.decisions >= DECISIONS
    rare = {rule: result.fired[rule] for rule in RULES if result.fired[rule] < LEAST_SHARE * result.decisions}
    assert not rare, "every rule is put to the test often"


CAUGHT = ("packed: edge off by one in the ring", "packed: retry_after of the oldest", "member collision", "time backward")


@pytest.mark.parametrize("fault", [fault for fault in PLANTED if fault.name in CAUGHT], ids=lambda fault: fault.name)
def test_a_planted_fault_makes_a_difference(engine_named: Callable[[str], Engine], fault: Fault) -> None:
    """RL-0 can fail: the same comparison of a script with one edit in it differs, and in the faulty one alone."""
    with engine_named("valkey9").client() as client:
        if fault.variant == "packed":
            scripts = Scripts(client, packed=edited(fault, PACKED_ACQUIRE.text))
        else:
            scripts = Scripts(client, zset=edited(fault, ZSET_ACQUIRE.text))
        [first, *_] = compare(scripts, FAULTY_DECISIONS).differences
    sound = first.zset if fault.variant == "packed" else first.packed
    assert sound == first.expected.reply


def test_every_such_fault_is_planted() -> None:
    """The faults above are there: a name that no fault has would leave nothing to be caught."""
    assert {fault.name for fault in PLANTED} >= set(CAUGHT)
