"""Where runs live and what they may be called."""

from __future__ import annotations

import os
import re
from pathlib import Path

from analysis.errors import RunError, printable

RUN_FILE = "run.duckdb"
MANIFEST = "manifest.json"
SPEC_FILE = "spec.json"
PARTIAL = ".partial"
SHARDS = "shards"
RETIRED_FILE = ".retired"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
_PROJECT_ROOT = Path(__file__).resolve().parents[2]


def runs_dir() -> Path:
    """The folder that holds all runs: ``QK_ATLAS_RUNS``, or ``data/runs`` of the project."""
    chosen = os.environ.get("QK_ATLAS_RUNS")
    return Path(chosen).expanduser() if chosen else _PROJECT_ROOT / "data" / "runs"


def check_name(name: str, what: str = "run id") -> str:
    """The name itself, when it is safe as the name of a folder or file.

    Raises:
        RunError: Empty, too long, a path, hidden, or ending in a word the store keeps for itself.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name or name.lower().endswith(PARTIAL):
        raise RunError(
            f"{printable(str(name)[:100])!r} cannot be a {what}: use 1 to 80 letters, digits, '-', '_' or '.', "
            f"beginning with a letter or digit, without '..' and not ending in '{PARTIAL}'."
        )
    return name


def retire(folder: Path, run_id: str) -> None:
    """Remember that this id belonged to a run that is deleted: links to it must never lead to another run."""
    with open(folder / RETIRED_FILE, "a", encoding="utf-8") as file:
        file.write(f"{run_id}\n")


def retired(folder: Path) -> frozenset[str]:
    """Ids of deleted runs, which no run may have again."""
    try:
        return frozenset((folder / RETIRED_FILE).read_text(encoding="utf-8").split())
    except OSError:
        return frozenset()


def partial_path(folder: Path, run_id: str) -> Path:
    """Where a run is while it is being written."""
    return folder / f"{run_id}{PARTIAL}"


def lock_path(folder: Path, run_id: str) -> Path:
    """The file whose lock says that a job is writing this run. It is beside the run, not in it."""
    return folder / f".{run_id}.lock"


def locate(run: str | Path, folder: Path | None = None) -> Path:
    """The folder of a published run.

    Args:
        run: A run id, the beginning of one that no other run shares, or the path of a run's folder. With `folder`
            given only an id will do, so that a name from an address bar never becomes a path.
        folder: The folder that holds the runs; default `runs_dir()`.

    Raises:
        RunError: No such run, or one that is not finished.
    """
    if folder is None and (isinstance(run, Path) or os.sep in run or "/" in run):
        path = Path(run).expanduser()
        if path.is_file():
            path = path.parent
    else:
        folder = runs_dir() if folder is None else Path(folder)
        path = folder / _completed(check_name(str(run)), folder)
        if not path.exists() and partial_path(folder, path.name).exists():
            raise RunError(f"Run {path.name!r} is not finished: run the same extract command again to complete it.")
    if path.name.endswith(PARTIAL):
        raise RunError(f"Run {path.name!r} is not finished: run the same extract command again to complete it.")
    if not path.is_dir():
        raise RunError(f"There is no run at {str(run)[:200]!r}; `python -m analysis runs` lists the runs.")
    return path


def _completed(name: str, folder: Path) -> str:
    """The one run id that begins with `name`; the name itself when there is none, or it is one.

    Raises:
        RunError: Several runs begin so.
    """
    if (folder / name).exists() or partial_path(folder, name).exists() or not folder.is_dir():
        return name
    ids = sorted(path.name for path in folder.glob(f"{name}*/") if (path / MANIFEST).exists())
    if len(ids) > 1:
        raise RunError(f"{name!r} is the beginning of several runs: {', '.join(ids[:5])}; give more of the name.")
    return ids[0] if ids else name
