"""Processes by identity: is it still the one we started, and how to stop it politely."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path


def process_start(pid: int) -> str | None:
    """When a process began, in the system's own words; None when there is no such process (or only its remains)."""
    with contextlib.suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if status[0] in "ZX" else status[19]
    if Path("/proc/self/stat").exists():
        return None
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True
    ).stdout.split()
    return " ".join(listed[1:]) if listed and not listed[0].startswith("Z") else None


def is_alive(pid: int | None, started: str | None) -> bool:
    """True when this very process still runs: same id and same start, since ids are used again."""
    return pid is not None and started is not None and process_start(pid) == started


def stop_process(pid: int | None, started: str | None, grace_seconds: float) -> None:
    """Ctrl-C to a whole process group, then a termination, then a kill, waiting `grace_seconds` after each.

    Does nothing to a process that only has the same id. Returns when it is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        if pid is None or not is_alive(pid, started):
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        deadline = time.monotonic() + grace_seconds
        while time.monotonic() < deadline and is_alive(pid, started):
            time.sleep(0.1)
