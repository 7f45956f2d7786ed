"""What measuring takes, told before it begins."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

MOST_TIMES, MOST_SECONDS = 5, 0.5
"""A call is timed so often at most, and not again when that has taken so long."""


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes: made once to warm up, then a few times where it is quick; the median."""
    call()
    seconds: list[float] = []
    while len(seconds) < MOST_TIMES and sum(seconds) < MOST_SECONDS:
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def duration(seconds: float) -> str:
    """A time in words, as in ``45 s`` or ``3 min``."""
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
