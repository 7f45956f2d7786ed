"""Disks that are full: before and after it shows, in one sentence."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from analysis.errors import RunError

_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_WORDS = ("no space left", "quota exceeded", "file too large")
_LEAST = 1_000_000
"""What is asked for where less is known to be needed: small writes go along with the large ones."""


def is_full(error: BaseException) -> bool:
    """An error of the system, or of DuckDB, that means that no more can be written."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _ERRORS
    return any(words in str(error).lower() for words in _WORDS)


def free_bytes(path: Path) -> int:
    """Free on the disk of a path that need not be there yet."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def what_is_free(path: Path, needed: int = 0) -> str:
    """``1.2 MB are free, about 30.0 MB more are needed``: of the disk of a path.

    Args:
        needed: Bytes still to be written, as far as it is known.
    """
    missing = max(needed - free_bytes(path), _LEAST)
    return f"{in_units(free_bytes(path))} are free, about {in_units(missing)} more are needed"


def check_room(path: Path, needed: int, what: str) -> None:
    """Before much is written.

    Args:
        path: Where; it need not be there yet.
        needed: Bytes.
        what: As in ``The run``.

    Raises:
        RunError: The disk has less.
    """
    if needed > free_bytes(path):
        raise RunError(
            f"{what} takes about {in_units(needed)} of disk, and {in_units(free_bytes(path))} are free: "
            "free disk space and run the same command again."
        )


def in_units(n_bytes: float) -> str:
    """``1.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.0f} {unit}" if unit == "bytes" else f"{n_bytes:.1f} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.1f} TB"
