"""DuckDB files opened for writing by one writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from analysis.errors import RunError, first_line
from analysis.store.room import is_full, what_is_free

_ROW_GROUP = 2048
"""Rows of a row group. DuckDB's default of 122,880 makes each checkpoint rewrite gigabytes of blobs; small groups are
written once, straight to their place, and let a reader skip the inputs and heads it did not ask for."""

_BLOCK_BYTES = 65536
"""Bytes of a block. Of DuckDB's sizes the largest (262,144, its default) makes the small tables cost 6 MB a run."""

_KEPT_PAGES = "128MB"
"""What may stay in memory of pages that are on disk, after a batch."""

_HEADER_BYTES = 3 * 4096
"""A file shorter than its headers was left by a job that was stopped while making it, and DuckDB would refuse it."""

_SETTINGS = {
    "threads": 1,
    # The log is held in memory until it is written out.
    "checkpoint_threshold": "128MB",
    # Merging of small row groups: it would rewrite blobs and leave holes in the file.
    "max_vacuum_tasks": 0,
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class Database:
    """One file, open for reading and writing, with the tables of `analysis.store.schema` as the current database.

    Args:
        path: The file; made when missing.

    Attributes:
        expected_bytes: How long the file will be, as far as it is known: told where the disk is full.
    """

    expected_bytes = 0

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._local = threading.local()
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        if path.exists() and path.stat().st_size < _HEADER_BYTES and not path.with_name(f"{path.name}.wal").exists():
            path.unlink()
        try:
            self.connection = duckdb.connect(":memory:", config=_SETTINGS)
            self.connection.execute(
                f"ATTACH {quoted(path)} AS run (ROW_GROUP_SIZE {_ROW_GROUP}, BLOCK_SIZE {_BLOCK_BYTES})"
            )
            self.connection.execute("USE run")
        except duckdb.Error as error:
            raise self._failure(error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing.

        Raises:
            RunError: The file cannot be written (disk full, ...).
        """
        with self._lock:
            try:
                self.connection.execute("BEGIN TRANSACTION")
                yield
                self.connection.execute("COMMIT")
            except BaseException as error:
                self._roll_back()
                if isinstance(error, duckdb.Error):
                    raise self._failure(error) from error
                raise

    def forget_pages(self) -> None:
        """Let go of pages that are on disk: DuckDB would keep what was written in memory as long as there is room."""
        with self._lock:
            try:
                self.connection.execute(f"SET memory_limit = '{_KEPT_PAGES}'")
            except duckdb.Error:
                return  # More than that is in use; it goes with a later call.
            finally:
                self.connection.execute("RESET memory_limit")

    def insert(self, table: str, rows: pa.Table) -> None:
        """Append rows by column name."""
        if rows.num_rows:
            columns = ", ".join(f'"{name}"' for name in rows.column_names)
            with self._registered(rows):
                self.connection.execute(f"INSERT INTO {table} ({columns}) SELECT * FROM incoming")

    def replace_table(self, table: str, rows: pa.Table) -> None:
        """Make a table of these columns and rows in the place of the one of this name."""
        with self._registered(rows):
            self.connection.execute(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM incoming")

    def execute(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple]:
        """Run one statement and give its rows."""
        with self._lock:
            return self.connection.execute(query, list(parameters)).fetchall()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of this thread's own, for reading what is committed."""
        if not hasattr(self._local, "cursor"):
            with self._lock:
                self._local.cursor = self.connection.cursor()
                self._cursors.append(self._local.cursor)
            self._local.cursor.execute("USE run")
        return self._local.cursor

    def close(self, checkpoint: bool = False) -> None:
        """Let go of the file; with `checkpoint`, with everything in it and nothing in a log beside it."""
        with self._lock:
            for cursor in self._cursors:
                cursor.close()
            try:
                if checkpoint:
                    self.connection.execute("CHECKPOINT run")
                    self.connection.execute("USE memory")
                    self.connection.execute("DETACH run")
            except duckdb.Error as error:
                raise self._failure(error) from error
            finally:
                self.connection.close()

    @contextmanager
    def _registered(self, rows: pa.Table) -> Iterator[None]:
        self.connection.register("incoming", rows)
        try:
            yield
        finally:
            self.connection.unregister("incoming")

    def _failure(self, error: duckdb.Error) -> RunError:
        try:
            log = self.path.with_name(f"{self.path.name}.wal")
            held, waiting = (path.stat().st_size if path.exists() else 0 for path in (self.path, log))
        except OSError:
            held, waiting = 0, 0
        return write_failure(self.path, error, max(self.expected_bytes - held, waiting))

    def _roll_back(self) -> None:
        try:
            self.connection.execute("ROLLBACK")
        except duckdb.Error:
            # Nothing to roll back, or the instance is unusable after a failed write; the file is in order either way.
            return


def quoted(path: Path) -> str:
    """A path as an SQL string; ATTACH takes no parameters."""
    return "'" + str(path).replace("'", "''") + "'"


def write_failure(path: Path, error: duckdb.Error, needed: int = 0) -> RunError:
    """The sentence for an error of DuckDB while writing.

    Args:
        needed: Bytes that were still to be written.
    """
    name, reason = f"{path.parent.name}/{path.name}", first_line(error)
    if "lock" in reason.lower():
        return RunError(f"{name} is being written by another job: wait for it, or choose another run id ({reason}).")
    if is_full(error) or "disk" in reason.lower():
        said = f"{reason.rpartition(': ')[2]}; {what_is_free(path, needed)}"
        return RunError(
            f"{name} could not be written for want of room ({said}): free disk space and run the same command again, "
            "which goes on from what is stored."
        )
    return RunError(
        f"{name} could not be written; what was saved before is kept, run the same command again ({reason})."
    )
