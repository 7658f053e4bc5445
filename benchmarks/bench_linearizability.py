"""PF-7: the linearizability checker beside Porcupine, compiled, on the same histories; and a large history."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from measuring import Extent, Rounds
from porcupine_peer import NoPorcupine, Porcupine, module_directory, porcupine
from recorded import HINTED, MODELS, Recorded, drawn, jepsen, store
from redstep_check.linearizability import AnyModel, Illegal, Legal, Verdict, check
from reporting import Row

RULE = "PF-7 linearizability"
ROUNDS = 5
A_MOMENT_US = 1_000
"""How long, at least, one of the two is busy with a history before it is the other's turn."""


def test_two_thousand_operations(extent: Extent, found: Callable[[Row], None], benchmark: Any) -> None:
    """50 clients over 10 keys: in under 2 s."""
    rounds = Rounds()
    histories = [
        drawn("large", "store", clients=50, operations=2_000, keys=10, seed=seed) for seed in range(min(extent.rounds, ROUNDS))
    ]
    waiting = iter(histories)

    def one_round() -> None:
        recorded = next(waiting)
        for subject, models in (("plain", MODELS), ("hinted", HINTED)):
            started = time.perf_counter()
            verdict = check(models[recorded.model], recorded.events)
            rounds.add(subject, time.perf_counter() - started)
            assert isinstance(verdict, Legal)
            rounds.add(f"{subject} steps", verdict.steps)

    benchmark.pedantic(one_round, rounds=len(histories))
    for subject, told in (("plain", ""), ("hinted", ", told what only reads")):
        steps = rounds.median(f"{subject} steps")
        detail = f"median of {len(histories)} histories; worst {rounds.worst(subject):.2f} s; {steps:.0f} steps"
        what = f"2,000 operations of 50 clients over 10 keys{told}"
        found(Row(RULE, rounds.median(subject), "s", what, detail, 2))


CONTENDED = {
    "register, 8 clients": {"model": "register", "clients": 8, "operations": 100},
    "register, 12 clients": {"model": "register", "clients": 12, "operations": 60},
    "queue, 5 clients": {"model": "queue", "clients": 5, "operations": 30},
}


def families(module: Path) -> dict[str, list[Recorded]]:
    """The histories, by what they are of."""
    found = {
        "etcd, by Jepsen (published)": [
            each for path in sorted((module / "test_data" / "jepsen").glob("*.log")) if (each := jepsen(path)).events
        ],
        "key-value store (published)": [store(path) for path in sorted((module / "test_data" / "kv").glob("*.txt"))],
    }
    for name, about in CONTENDED.items():
        for spoilt in (False, True):
            told = f"{name}, {'one reply spoilt' if spoilt else 'legal'}"
            found[told] = [drawn(f"{told} {seed}", **about, seed=seed, spoilt=spoilt) for seed in range(10)]  # type: ignore[arg-type]
    return found


@contextmanager
def frozen_heap() -> Iterator[None]:
    """Spare the collector the histories that lie about: they are the benchmark's, and not the checker's."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def test_porcupine(extent: Extent, found: Callable[[Row], None], benchmark: Any, tmp_path: Path) -> None:
    """Both give the same verdicts, and each history is timed by turns; first without, then with the word on what only reads."""
    if not extent.peers:
        pytest.skip("a quick run measures no peers")
    try:
        histories = families(module_directory())
        every = list(chain.from_iterable(histories.values()))
        with porcupine(every, tmp_path) as peer, frozen_heap():
            ratios = [Rounds() for _ in every]
            benchmark.pedantic(lambda: one_round(peer, every, ratios), rounds=min(extent.rounds, ROUNDS))
    except NoPorcupine as reason:
        found(Row(RULE, None, "", "Porcupine", str(reason)))
        return
    at = dict(zip((each.name for each in every), ratios, strict=True))
    for name, its in histories.items():
        for subject, told in (("plain", ""), ("hinted", ", told what only reads")):
            each = {one.name: at[one.name].ratio(subject, "porcupine") for one in its}
            worst = max(each, key=lambda one: each[one])
            total = [sum(at[one.name].median(who) for one in its) / 1e3 for who in (subject, "porcupine")]
            found(
                Row(
                    RULE,
                    statistics.median(each.values()),
                    "x Porcupine",
                    f"{name}{told}",
                    f"median of {len(its)} histories; worst {each[worst]:.2g} x; all {total[0]:.3g} ms and {total[1]:.3g} ms",
                    5,
                )
            )


def one_round(peer: Porcupine, every: list[Recorded], ratios: list[Rounds]) -> None:
    """Time each history on both sides, a moment apart."""
    for index, (recorded, rounds) in enumerate(zip(every, ratios, strict=True)):
        took, legal = peer.check(index, 1)
        times = max(1, round(A_MOMENT_US / took))
        if times > 1:
            took, legal = peer.check(index, times)
        rounds.add("porcupine", took)
        assert recorded.legal in (None, legal)
        for subject, models in (("plain", MODELS), ("hinted", HINTED)):
            took, verdict = timed(models[recorded.model], recorded, times)
            rounds.add(subject, took)
            assert isinstance(verdict, Legal if legal else Illegal), recorded.name


def timed(model: AnyModel, recorded: Recorded, times: int) -> tuple[float, Verdict]:
    """Check a history so many times; return the microseconds that one check took, and the verdict."""
    verdict = check(model, recorded.events)
    started = time.perf_counter()
    for _ in range(times):
        verdict = check(model, recorded.events)
    return (time.perf_counter() - started) * 1e6 / times, verdict
