"""PF-7: the linearizability checker beside Porcupine, compiled, on the same histories; and a large history."""

import statistics
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from measuring import Extent, Rounds
from porcupine_peer import NoPorcupine, Porcupine, module_directory, porcupine
from recorded import HINTED, MODELS, Recorded, drawn, jepsen, store
from redstep_check.linearizability import Legal, check
from reporting import Row

RULE = "PF-7 linearizability"
ROUNDS = 9
A_MOMENT_US = 2_000
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
        detail = f"median of {len(histories)} histories; worst {rounds.worst(subject):.2f} s; {rounds.median(f'{subject} steps'):.0f} steps"
        what = f"2,000 operations of 50 clients over 10 keys{told}"
        found(Row(RULE, rounds.median(subject), "s", what, detail, 2))
