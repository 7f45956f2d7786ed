"""Room on the disk for the first and the last words of a job: kept from its start, so that even where the disk fills up
meanwhile the page can tell how the job ended. No streamlit in here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from analysis.errors import UserError
from analysis.store.room import is_full, what_is_free

START, END = "start", "end"
_RECORD_BYTES, _WORDS_BYTES = 8192, 16_384


@contextlib.contextmanager
def told_if_full(folder: Path, what: str) -> Iterator[None]:
    """An error of a full disk as one sentence.

    Args:
        folder: On that disk.
        what: Could not be done, as in ``The job could not be started``.

    Raises:
        UserError: The disk was full.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise UserError(
            f"{what}, for the disk of the runs is full ({what_is_free(folder)}): delete runs that nobody needs, or "
            "free disk space otherwise, and try again."
        ) from error


def keep_room(folder: Path, log: IO[bytes]) -> None:
    """Before a job is started: room for its records, and for what it says at the end of `log`, as zeros there."""
    for moment in (START, END):
        (folder / f".room-{moment}").write_bytes(bytes(_RECORD_BYTES))
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(log.fileno(), 0, _WORDS_BYTES)


def give_room(folder: Path, moment: str) -> None:
    """Right before the record of this moment is written."""
    (folder / f".room-{moment}").unlink(missing_ok=True)


def words_of(log: Path, most: int = 20_000) -> bytes:
    """The end of a log, without the room that was kept for it."""
    return log.read_bytes().rstrip(b"\0")[-most:] if log.exists() else b""
