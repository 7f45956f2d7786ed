"""One writer at a time: a lock that dies with its owner."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from analysis.errors import RunError


class WriterLock:
    """An exclusive lock on a file; the operating system lets go of it when the process ends, however it ends.

    Args:
        path: The lock file; made when missing.
        what: What is locked, for the message.

    Raises:
        RunError: Another writer holds it.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path = path
        self._descriptor: int | None = None
        while self._descriptor is None:
            self._descriptor = _try_lock(path, what)

    def release(self, remove: bool = False) -> None:
        """Let go; with `remove`, the file goes too."""
        if self._descriptor is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None


def _try_lock(path: Path, what: str) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RunError(
            f"{what} is being written by another job: wait for it, cancel it, or choose another name."
        ) from error
    # The holder before us may have removed the file as it let go: then this is a lock on nothing, to be tried again.
    if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
        return descriptor
    os.close(descriptor)
    return None
