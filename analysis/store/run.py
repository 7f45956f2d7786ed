"""Opening published runs: read only, guarded, from any number of threads."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pandas as pd

from analysis.errors import RunError, UserError
from analysis.store.database import quoted
from analysis.store.listing import list_runs
from analysis.store.paths import MANIFEST, RUN_FILE, locate, runs_dir
from analysis.store.publish import addon_manifests, check_files, read_manifest
from analysis.store.reading import Reader
from analysis.store.schema import RESULT_TABLES, RUN_TABLES, check_format

__all__ = ["Run", "list_runs", "open_run", "runs_dir"]

_ADDON_STRIDE = 1000
"""Numbers of projections of the n-th add-on begin at n times this, so that they stay apart in the joined tables."""


def open_run(run: str | Path, runs_dir: str | Path | None = None) -> Run:
    """Open a published run for reading.

    Args:
        run: Its id, or the path of its folder.
        runs_dir: Folder of the runs. When given, `run` must be an id: a path is refused.

    Raises:
        RunError: Missing, unfinished, damaged, or of a newer format.
    """
    return Run(locate(run, None if runs_dir is None else Path(runs_dir)))


class Run(Reader):
    """A published run. Made with `open_run`; a context manager; safe to use from many threads.

    Each run has an in-memory database of its own, to which the run's file and its add-ons are attached read-only and
    which is then locked: no other file can be reached from it. A connection of this database is made for each thread.
    Add-ons published later are seen at the next call.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manifest: dict[str, Any] = read_manifest(path / MANIFEST)
        check_format(self.manifest.get("format"))
        check_files(path, self.manifest)
        self.run_id: str = path.name
        self._mutex = threading.Lock()
        self._threads = threading.local()
        self._closed = False
        self._addons: tuple[str, ...] = ()
        self._root = self._open_root(addon_names(path))
        super().__init__(self._thread_cursor)

    @property
    def modality(self) -> str:
        """``text`` or ``vision``."""
        return str(self.manifest.get("modality") or self.sites[0].modality)

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> pd.DataFrame:
        """Ask the tables of the run (see `analysis.store.schema`) a question of one SELECT.

        Args:
            query: SQL, with ``?`` or ``$name`` for values.
            parameters: The values.

        Raises:
            UserError: Not a single SELECT, an error in it, or too slow.
        """
        try:
            statements = duckdb.extract_statements(query)
        except duckdb.Error as error:
            raise UserError(f"The SQL could not be read: {_first_line(error)}") from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UserError("Runs are read only: one SELECT statement was expected.")
        cursor = self._new_cursor()
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            values = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
            return cursor.execute(query, values).df()
        except duckdb.Error as error:
            raise UserError(f"The SQL failed: {_first_line(error)}") from error
        finally:
            cursor.close()

    def close(self) -> None:
        """Let go of the files."""
        with self._mutex:
            self._closed = True
            self._root.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _thread_cursor(self) -> duckdb.DuckDBPyConnection:
        if getattr(self._threads, "root", None) is not self._current_root():
            with self._mutex:
                self._threads.root, self._threads.cursor = self._root, self._root.cursor()
        return self._threads.cursor

    def _new_cursor(self) -> duckdb.DuckDBPyConnection:
        root = self._current_root()
        with self._mutex:
            return root.cursor()

    def _current_root(self) -> duckdb.DuckDBPyConnection:
        if self._closed:
            raise RunError(f"Run {self.run_id!r} was closed: open it again.")
        names = addon_names(self.path)
        if names != self._addons:
            with self._mutex:
                if names != self._addons:
                    self._root = self._open_root(names)
        return self._root

    def _open_root(self, names: tuple[str, ...]) -> duckdb.DuckDBPyConnection:
        root = duckdb.connect(":memory:", config={"threads": 2, "memory_limit": "2GB"})
        try:
            root.execute(f"SET temp_directory = {quoted(Path(tempfile.gettempdir()) / 'qk-atlas')}")
            root.execute("SET max_temp_directory_size = '4GB'")
            root.execute(f"ATTACH {quoted(self.path / RUN_FILE)} AS run (READ_ONLY)")
            for place, name in enumerate(names, start=1):
                root.execute(f"ATTACH {quoted(self.path / f'{name}.duckdb')} AS addon_{place} (READ_ONLY)")
            _make_views(root, len(names))
            for setting in (
                "python_enable_replacements = false",
                "autoinstall_known_extensions = false",
                "autoload_known_extensions = false",
                "max_execution_time = 120000",
                "enable_external_access = false",
                "lock_configuration = true",
            ):
                root.execute(f"SET {setting}")
        except duckdb.Error as error:
            root.close()
            raise RunError(f"Run {self.run_id!r} cannot be opened: {_first_line(error)}") from error
        self._addons = names
        return root


def addon_names(path: Path) -> tuple[str, ...]:
    """The add-ons of a run, oldest name first in the order of their names."""
    return tuple(manifest.stem for manifest in addon_manifests(path))


def _make_views(root: duckdb.DuckDBPyConnection, n_addons: int) -> None:
    for table in RUN_TABLES:
        root.execute(f"CREATE VIEW {table} AS FROM run.main.{table}")
    for table in RESULT_TABLES:
        parts = [f"SELECT * FROM run.main.{table}"]
        numbered = table in ("projections", "coordinates", "fidelity", "thumbnails")
        for place in range(1, n_addons + 1):
            shift = f" REPLACE (projection + {place * _ADDON_STRIDE} AS projection)" if numbered else ""
            parts.append(f"SELECT *{shift} FROM addon_{place}.main.{table}")
        root.execute(f"CREATE VIEW {table} AS {' UNION ALL '.join(parts)}")


def _first_line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0][:300]
