"""Whose run is whose on a public page, and how much room runs of visitors take. No streamlit in here.

A visitor's run has a mark: an empty file ``.visitors/<run_id>~<visitor>`` in the runs folder, made before the run is.
Runs without a mark are the owner's: listed for everybody, deleted for nobody. To publish a visitor's run, delete its
mark. Imports nothing heavy, for the process that keeps a job within its limits reads it.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path

from analysis.errors import RunError
from app.hosted.public import MB, Limits, NotHere, limits

MARKS = ".visitors"
_PARTIAL = ".partial"
_ID_LETTERS = 32


def visitor_of(secret: str) -> str:
    """Who somebody is in the records, 32 hex digits: by a cookie or a name that no record gives away."""
    return hashlib.sha256(secret.encode()).hexdigest()[:_ID_LETTERS]


def new_run_id() -> str:
    """Of a visitor's run: nobody guesses it, so that it can be the link."""
    return f"visitor-{secrets.token_hex(10)}"


def mark(runs_dir: Path, run_id: str, visitor: str) -> None:
    """Make a run that visitor's, before it is made."""
    folder = runs_dir / MARKS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run_id}~{visitor}").touch()


def owners(runs_dir: Path) -> dict[str, str]:
    """The visitor of each run that is a visitor's."""
    try:
        marks = [entry.name.rpartition("~") for entry in (runs_dir / MARKS).iterdir()]
    except OSError:
        return {}
    return {run_id: visitor for run_id, _, visitor in marks if run_id}


def listed(runs_dir: Path, run_ids: Iterable[str], visitor: str | None, linked: str | None = None) -> list[str]:
    """The runs that a visitor is shown: the owner's, the visitor's own, and the one whose whole name a link gives.

    Where the page is not public all of them.
    """
    if limits() is None:
        return list(run_ids)
    of = owners(runs_dir)
    return [run for run in run_ids if run not in of or of[run] == visitor or run == linked]


def check_whole(runs_dir: Path, run_id: str) -> None:
    """Whether this is the whole name of a run, and not the beginning of one.

    Raises:
        RunError: The page is public and there is no such run.
    """
    if limits() is not None and not (runs_dir / run_id).is_dir():
        raise RunError(f"There is no run {run_id[:80]!r} here.")


def check_deletes(runs_dir: Path, run_id: str, visitor: str | None) -> None:
    """Whether somebody may delete a run.

    Raises:
        NotHere: The page is public and the run is not this visitor's.
    """
    if limits() is None:
        return
    if visitor is None or owners(runs_dir).get(run_id) != visitor:
        raise NotHere("On this public page only whoever has made a run can delete it.")


def remove_run(runs_dir: Path, run_id: str) -> None:
    """Delete a visitor's run, whole or half made, and its mark; a run without a mark is left alone.

    Its name is random and never given again, so nothing need remember it.
    """
    if run_id not in owners(runs_dir):
        return
    for path in (runs_dir / run_id, runs_dir / f"{run_id}{_PARTIAL}"):
        if path.is_dir():
            away = runs_dir / f".deleted-{secrets.token_hex(6)}"
            path.rename(away)
            shutil.rmtree(away, ignore_errors=True)
    (runs_dir / f".{run_id}.lock").unlink(missing_ok=True)
    forget(runs_dir, run_id)


def forget(runs_dir: Path, run_id: str) -> None:
    """Take the mark of a run that is deleted away."""
    visitor = owners(runs_dir).get(run_id)
    if visitor is not None:
        (runs_dir / MARKS / f"{run_id}~{visitor}").unlink(missing_ok=True)


def make_room(runs_dir: Path, known: Limits, needed_bytes: int, keep: Iterable[str]) -> str:
    """Delete the oldest runs of visitors until a new one of that size fits into the budget.

    Args:
        keep: Runs that are being made.

    Returns:
        Why there is no room, in one sentence; empty where there is now.
    """
    kept = set(keep)
    of = owners(runs_dir)
    sizes = {run_id: _size(runs_dir / run_id) + _size(runs_dir / f"{run_id}{_PARTIAL}") for run_id in of}
    room = known.disk_mb * MB - needed_bytes - sum(sizes.values()) - _of_jobs(runs_dir)
    oldest = sorted((run_id for run_id in of if run_id not in kept), key=lambda run: _age(runs_dir, run, of[run]))
    if room + sum(sizes[run_id] for run_id in oldest) < 0:
        return (
            f"It needs about {needed_bytes / MB:,.0f} MB of disk, and {known.disk_mb:,} MB are kept for the runs of "
            "all visitors: take fewer inputs, fewer layers or no map."
        )
    while room < 0:
        run_id = oldest.pop(0)
        remove_run(runs_dir, run_id)
        room += sizes[run_id]
    return ""


def _age(runs_dir: Path, run_id: str, visitor: str) -> float:
    try:
        return (runs_dir / MARKS / f"{run_id}~{visitor}").stat().st_mtime
    except OSError:
        return 0.0


def _of_jobs(runs_dir: Path) -> int:
    return sum(_size(path.parent) for path in (runs_dir / ".jobs").glob("*/limited.json"))


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # it went meanwhile
            continue
    return total
