"""What measuring takes, told before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes, made twice: the first time also warms up."""
    call()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def duration(seconds: float) -> str:
    """A time in words, as in ``45 s`` or ``3 min``."""
    if seconds < 90:
        return f"{max(seconds, 0.1):.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
