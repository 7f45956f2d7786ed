"""A job of a visitor, kept within its limits: ``python -m app.hosted.limited JOB_FOLDER``.

First the dry run, whose plan may be refused; then room is made; then the run. Time is measured from the beginning,
memory ten times a second. It is a process of its own, so that a restart of the page's server lets nothing run on
without limits, and when it is killed its job dies with it. Of a job that did not end well nothing is left but why.

Memory is what the job's processes hold for themselves (anonymous and shared pages). No limit on addresses is set
(RLIMIT_AS): torch reserves several times what it uses, so that such a limit stops small runs or none. What is mapped
from files, as weights are, the system takes back by itself when it needs room. Should memory rise faster than it is
measured, the job is what the system kills first.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.hosted.public import MB, Limits, too_much
from app.hosted.visitors import make_room, remove_run
from app.jobs.files import locked, read_json, write_json

EVERY_SECONDS = 0.1
INTERRUPTED = 130
REFUSED = 2


class Stopped(Exception):
    """The job ends here; the message is the sentence for the visitor."""


def main(folder: Path) -> int:
    """Make the run, or say why not; the exit status as of the command line."""
    asked = json.loads((folder / "limited.json").read_text())
    runs_dir, run_id, known = Path(asked["runs_dir"]), asked["run_id"], Limits(**asked["limits"])
    if os.getpgrp() != os.getpid():  # what is in its group is measured and killed
        os.setpgrp()
    guard = _Guard(folder, known, asked["command"])
    try:
        code, said = guard.make(runs_dir, run_id), ""
    except Stopped as reason:
        code, said = (INTERRUPTED if guard.cancelled else REFUSED), str(reason)
    if code != 0:
        remove_run(runs_dir, run_id)
    shutil.rmtree(folder / "uploads", ignore_errors=True)
    write_json(folder / "exit.json", {"code": code, "ended": time.time(), "said": said})
    return code


class _Guard:
    """Runs one command after the other, and stops the one at work when a limit is reached or the visitor wants it."""

    def __init__(self, folder: Path, known: Limits, command: list[str]) -> None:
        self.folder, self.known, self.command = folder, known, command
        self.deadline = time.monotonic() + known.max_seconds
        self.cancelled = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._cancel)

    def make(self, runs_dir: Path, run_id: str) -> int:
        """The dry run, then the run; the exit status of the one that failed, else 0."""
        says = {"stage": "load", "message": "Looking at the model and its longest input first.", "run_id": run_id}
        write_json(self.folder / "progress.json", says)
        if code := self._watched(["--dry-run", "--json"], "plan.log"):
            return code
        plan = _plan(self.folder / "plan.log")
        if refused := too_much(plan, self.known):
            raise Stopped(refused)
        with locked(runs_dir):
            if refused := make_room(runs_dir, self.known, int(plan["disk_bytes"] * 1.5), _being_made(runs_dir)):
                raise Stopped(refused)
        return self._watched([f"--progress-file={self.folder / 'progress.json'}"], "stdout.log")

    def _watched(self, more: list[str], log: str) -> int:
        with (self.folder / log).open("wb") as stdout, (self.folder / "stderr.log").open("wb") as stderr:
            child = subprocess.Popen(
                [*self.command, *more], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                preexec_fn=lambda: _confine(self.known),
            )  # fmt: skip
        try:
            while (code := child.poll()) is None:
                self._check(child.pid)
                time.sleep(EVERY_SECONDS)
            self._check(None)
        finally:
            _kill_others()
            child.wait()
        return code

    def _check(self, pid: int | None) -> None:
        if self.cancelled:
            raise Stopped("Cancelled. Nothing of it is left.")
        if pid is None:
            return
        if time.monotonic() > self.deadline:
            raise Stopped(
                f"It was stopped after {self.known.max_seconds} seconds, the most that this public page gives a run: "
                "take fewer or shorter inputs, or faster maps."
            )
        if held_bytes() > self.known.max_memory_mb * MB:
            raise Stopped(
                f"It was stopped because it needed more than {self.known.max_memory_mb:,} MB of memory, the most that "
                "this public page gives a run: take shorter inputs or fewer layers."
            )

    def _cancel(self, *_: object) -> None:
        self.cancelled = True


def held_bytes() -> int:
    """Memory of the other processes of this group, without what they only map from files."""
    return sum(_held(pid) for pid in _others())


def _others() -> list[int]:
    """The processes of this group but this one."""
    own, group = os.getpid(), os.getpgrp()
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid="], capture_output=True, text=True).stdout.split()
        found = zip(map(int, listed[::2]), map(int, listed[1::2]))
        return [pid for pid, its_group in found if its_group == group and pid != own]
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != own and _group_of(pid) == group]


def _group_of(pid: int) -> int | None:
    with contextlib.suppress(OSError):
        return os.getpgid(pid)
    return None


def _held(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages, of_files = _resident(pid)
        return max(pages - of_files, 0)
    return 0


def _resident(pid: int) -> tuple[int, int]:
    """Bytes in memory, and how many of them are of files."""
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        said = dict(
            line.split(":", 1) for line in status.read_text().splitlines() if line.startswith(("VmRSS", "RssFile"))
        )
        return tuple(int(said.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "RssFile"))
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True).stdout
    return int(told) * 1024, 0


def _kill_others() -> None:
    for pid in _others():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def _confine(known: Limits) -> None:
    """In the child, before it becomes the command: it dies with this process, is killed first when memory runs out,
    writes no file beyond the budget and leaves no core."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    for what, most in ((resource.RLIMIT_FSIZE, known.disk_mb * MB), (resource.RLIMIT_CORE, 0)):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(what, (most, most))


def _plan(log: Path) -> dict:
    printed = log.read_text(encoding="utf-8", errors="replace")
    return json.loads(printed[printed.index("{") :])


def _being_made(runs_dir: Path) -> list[str]:
    """Runs of jobs that have begun and not ended."""
    records = [path.parent for path in (runs_dir / ".jobs").glob("*/limited.json")]
    return [read_json(each / "limited.json").get("run_id", "") for each in records if not (each / "exit.json").exists()]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
