"""How far a long call has come: told to a function, shown as a bar, or written to a file for the page."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

STAGES = ("load", "encode", "capture", "scores", "project", "publish", "export", "done", "failed")


@dataclass(frozen=True, slots=True)
class Progress:
    """One message of a long call.

    Attributes:
        stage: One of `STAGES`.
        done: Units finished, counting those of an earlier, interrupted call.
        total: Units in this stage; 0 when not known.
        unit: What is counted, as in ``inputs`` or ``heads``.
        message: A short sentence.
        run_id: The run being made, once it has a name.
    """

    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""
    message: str = ""
    run_id: str | None = None


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The report nobody reads: the default of the library."""


class Bar:
    """A progress bar per stage on standard error, with time left; plain lines where it is not a terminal."""

    def __init__(self) -> None:
        self._bar = None
        self._stage = ""

    def __call__(self, progress: Progress) -> None:
        from tqdm import tqdm

        if progress.stage != self._stage or progress.message:
            self.close()
            self._stage = progress.stage
            if progress.message:
                print(progress.message, file=sys.stderr, flush=True)
        if progress.unit and self._bar is None:
            interval = 0.1 if sys.stderr.isatty() else 5.0
            self._bar = tqdm(
                total=progress.total, initial=progress.done, unit=f" {progress.unit}", desc=progress.stage,
                mininterval=interval, dynamic_ncols=True, leave=True,
            )  # fmt: skip
        if self._bar is not None:
            self._bar.update(progress.done - self._bar.n)

    def close(self) -> None:
        """End the bar of the present stage."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ProgressFile:
    """Writes the latest progress to a JSON file, replaced in one step, so that a reader never sees half of it.

    Where the disk is full it stays as it was: that is no reason for a job to end, and the job will tell it itself.

    The file holds the fields of `Progress` and ``rate`` (units a second or null), ``eta_s`` (seconds left in the
    stage or null), ``pid`` and ``updated`` (Unix time).
    """

    def __init__(self, path: Path, every_s: float = 0.2) -> None:
        self._path = Path(path)
        self._every_s = every_s
        self._last = Progress("")
        self._written = 0.0
        self._start = (0.0, 0)

    def __call__(self, progress: Progress) -> None:
        now = time.time()
        new_stage = progress.stage != self._last.stage
        if new_stage:
            self._start = (now, progress.done)
        self._last = replace(progress, run_id=progress.run_id or self._last.run_id)
        if new_stage or now - self._written >= self._every_s or progress.done == progress.total:
            self._write(now)

    def _write(self, now: float) -> None:
        started, first = self._start
        elapsed, finished = now - started, self._last.done - first
        rate = finished / elapsed if finished > 0 and elapsed > 0 else None
        left = self._last.total - self._last.done
        values = {
            **asdict(self._last),
            "rate": rate,
            "eta_s": left / rate if rate and self._last.total else None,
            "pid": os.getpid(),
            "updated": now,
        }
        temporary = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(values), encoding="utf-8")
            os.replace(temporary, self._path)
        self._written = now
