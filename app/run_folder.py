"""A run as files: how much room it takes, and how it is deleted. No streamlit in here."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

from analysis.errors import RunError
from analysis.store.locking import WriterLock
from analysis.store.paths import check_name, lock_path, partial_path, retire
from analysis.store.room import is_full
from app.hosted.visitors import check_deletes, forget


def size_bytes(folder: Path) -> int:
    """Bytes of all files of a run's folder, later additions among them; 0 where it is gone."""
    try:
        return sum(entry.stat().st_size for entry in folder.iterdir() if entry.is_file())
    except OSError:
        return 0


def find_folder(runs_dir: Path, run_id: str) -> Path:
    """Where the files of a run are, finished, damaged or partial.

    Raises:
        RunError: The name is none, or there is no such run.
    """
    check_name(run_id)
    for path in (runs_dir / run_id, partial_path(runs_dir, run_id)):
        if path.is_dir():
            return path
    raise RunError(f"There is no run {run_id!r} here any more: it may have been deleted in another window.")


def delete_run(runs_dir: Path, run_id: str, visitor: str | None = None) -> int:
    """Delete a run for good, whatever its state; it leaves the list at once, then its files go.

    Returns:
        Bytes that were freed.

    Raises:
        RunError: There is no such run, or a job is writing it.
        NotHere: The page is public and the run is not this visitor's.
    """
    check_deletes(runs_dir, run_id, visitor)
    path = find_folder(runs_dir, run_id)
    lock = WriterLock(lock_path(runs_dir, run_id), f"Run {run_id!r}")
    try:
        freed = size_bytes(path)
        away = runs_dir / f".deleted-{secrets.token_hex(6)}"
        is_published = path.name == run_id  # a partial run never was: its id is still free
        is_noted = is_published and _note(runs_dir, run_id)
        path.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        if is_published and not is_noted:
            retire(runs_dir, run_id)  # the disk was full, and now there is room
    finally:
        lock.release(remove=True)
    forget(runs_dir, run_id)
    return freed


def _note(runs_dir: Path, run_id: str) -> bool:
    """Remember that the id was used; False where the disk is full, for a run must go all the same."""
    try:
        retire(runs_dir, run_id)
    except OSError as error:
        if not is_full(error):
            raise
        return False
    return True
