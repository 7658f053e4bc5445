"""What a window holds, counted afterwards: the law of the limiter, as one measures it on stamps."""

from bisect import bisect_right
from collections.abc import Iterable


def most_in_a_window(stamps_ms: Iterable[int], window_ms: int) -> int:
    """The most admissions that any window (t - W, t] holds."""
    ordered_ms = sorted(stamps_ms)
    return max(number - bisect_right(ordered_ms, t - window_ms) for number, t in enumerate(ordered_ms, start=1))
