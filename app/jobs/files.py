"""The folders that jobs live in, under the runs folder: their records, and the files that somebody uploaded."""

from __future__ import annotations

import contextlib
import fcntl
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from analysis.errors import UserError
from app.jobs.room import told_if_full

DRAFT_SECONDS = 86_400.0
"""How long uploads wait for a job to be started on them, and files of an export to be fetched."""

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
TABLES = (".txt", ".csv", ".tsv", ".jsonl", ".parquet")

JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


def jobs_root(runs_dir: Path | str) -> Path:
    """Where the folders of all jobs are."""
    return Path(runs_dir).resolve() / ".jobs"


def new_job_folder(runs_dir: Path | str) -> Path:
    """An empty folder for a job that is still being filled in, where its uploads can go."""
    folder = Path(runs_dir) / ".jobs" / f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    return folder


def save_upload(folder: Path, name: str, content: bytes) -> Path:
    """Write one uploaded file into a job folder under a safe name.

    The name a browser sends is anybody's text: only its last part survives, letters, digits, dots and dashes; two files
    of one name get a number.
    """
    stem, dot, ending = re.split(r"[/\\]", name)[-1].rpartition(".")
    stem, ending = (_safe(part) for part in ((stem, ending) if dot else (ending, "")))
    uploads = folder / "uploads"
    with told_if_full(folder, "The upload could not be kept"):
        uploads.mkdir(parents=True, exist_ok=True)
        for number in range(100_000):
            path = uploads / f"{stem or 'file'}{f'-{number}' if number else ''}{f'.{ending.lower()}' if ending else ''}"
            with contextlib.suppress(FileExistsError), path.open("xb") as file:
                file.write(content)
                return path
    raise UserError(f"More than 100,000 uploads are called {stem!r}: put them in a folder and name the folder.")


def save_data(folder: Path, files: Sequence[tuple[str, bytes]]) -> Path:
    """Write what somebody uploaded, each file as name and content.

    Returns:
        What to read as data: the folder of images, or the one table or text.

    Raises:
        UserError: Tables and images together, or several tables.
    """
    are_images = check_kinds(files)
    paths = [save_upload(folder, name, content) for name, content in files]
    return paths[0].parent if are_images else paths[0]


def check_kinds(files: Sequence[tuple[str, bytes]]) -> bool:
    """Whether these are images, and not one table or text.

    Raises:
        UserError: Both, or several tables.
    """
    are_images = {Path(name).suffix.lower() in IMAGES for name, _ in files}
    if len(are_images) > 1 or (False in are_images and len(files) > 1):
        raise UserError("Upload either images, or one table or text file; these files are mixed.")
    return True in are_images


def delete_old_drafts(runs_dir: Path | str, older_than_seconds: float = DRAFT_SECONDS) -> None:
    """Delete uploads that no extraction was ever started on. Those of a started one stay: a resume needs them.

    When the record of any job cannot be read nothing is deleted, for it may be the one that needs them.
    """
    folders = [folder for folder in jobs_root(runs_dir).glob("*") if JOB_ID.fullmatch(folder.name) and folder.is_dir()]
    records = [read_json(folder / "job.json") for folder in folders if (folder / "job.json").exists()]
    if not all("request" in record for record in records):
        return
    started = {
        part for record in records if not record.get("dry_run") for part in _parts(record["request"].get("data", ""))
    }
    for folder in folders:
        is_old = time.time() - folder.stat().st_mtime > older_than_seconds
        if is_old and folder not in started and not (folder / "job.json").exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def locked(runs_dir: Path | str) -> Iterator[None]:
    """Nobody else, in any thread or process, looks at the line of waiting jobs or moves it meanwhile."""
    root = jobs_root(runs_dir)
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".line.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a small record so that a reader sees all of it or none."""
    temporary = path.with_suffix(f".{secrets.token_hex(4)}.tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """A small record; empty where there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_text())
        return content if isinstance(content, dict) else {}
    return {}


def _parts(path: str) -> tuple[Path, ...]:
    return tuple(Path(path).parents) if Path(path).is_absolute() else ()


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")[:60]
