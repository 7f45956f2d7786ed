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
        while True:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # The holder before us removes the file as it lets go: then this is a lock on nothing.
                if os.fstat(self._descriptor).st_ino == path.stat().st_ino:
                    return
            except BlockingIOError as error:
                os.close(self._descriptor)
                raise RunError(
                    f"{what} is being written by another job: wait for it or cancel it, or choose another name."
                ) from error
            except FileNotFoundError:
                # Removed between the two calls: the run was published or given up; try again.
                path.parent.stat()
            os.close(self._descriptor)

    def release(self, remove: bool = False) -> None:
        """Let go; with `remove`, the file goes too."""
        if self._descriptor is None:
            return
        if remove:
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None
