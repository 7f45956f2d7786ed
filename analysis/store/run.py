"""Opening published runs: read only, guarded, from any number of threads."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import pandas as pd

from analysis.errors import RunError, UserError, first_line
from analysis.store.listing import list_runs
from analysis.store.paths import MANIFEST, locate, runs_dir
from analysis.store.publish import addon_manifests, check_files, read_manifest
from analysis.store.reading import Reader
from analysis.store.root import Root
from analysis.store.schema import check_format

__all__ = ["Run", "list_runs", "open_run", "runs_dir"]


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
        self.run_id: str = path.name
        try:
            self.manifest: dict[str, Any] = read_manifest(path / MANIFEST)
            check_format(self.manifest.get("format"))
            check_files(path, self.manifest)
        except RunError as error:
            raise RunError(f"Run {self.run_id!r} cannot be opened: {error}") from error
        self._mutex = threading.Lock()
        self._threads = threading.local()
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._is_closed = False
        self._seen, self.problems = self._look_for_addons()
        self._root = Root(path, self.manifest, self._seen)
        super().__init__(self._thread_cursor, is_frozen=True)

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
            raise UserError(f"The SQL could not be read: {first_line(error)}") from error
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise UserError("Runs are read only: one SELECT statement was expected.")
        cursor = self._new_cursor(self._current_root())
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            values = dict(parameters) if isinstance(parameters, Mapping) else list(parameters)
            return cursor.execute(query, values).df()
        except duckdb.Error as error:
            raise UserError(f"The SQL failed: {first_line(error)}") from error
        finally:
            cursor.close()

    def close(self) -> None:
        """Let go of the files, also where other threads have them open."""
        with self._mutex:
            self._is_closed = True
            for cursor in list(self._cursors):
                cursor.close()
            self._root.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _thread_cursor(self) -> duckdb.DuckDBPyConnection:
        root = self._current_root()
        if getattr(self._threads, "root", None) is not root:
            self._threads.root, self._threads.cursor = root, self._new_cursor(root)
        return self._threads.cursor

    def _new_cursor(self, root: Root) -> duckdb.DuckDBPyConnection:
        with self._mutex:
            cursor = root.connection.cursor()
            self._cursors.add(cursor)
        return cursor

    def _current_root(self) -> Root:
        """The database of the thread's next query: a new one when an add-on was published since.

        The old one stays for the threads that still read from it.
        """
        if self._is_closed:
            raise RunError(f"Run {self.run_id!r} was closed: open it again.")
        seen, problems = self._look_for_addons()
        if seen != self._seen:
            with self._mutex:
                if seen != self._seen:
                    self._root = Root(self.path, self.manifest, seen)
                    self._seen, self.problems = seen, problems
        return self._root

    def _look_for_addons(self) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
        """Manifests of the add-ons by name, and what is wrong with those that are left out."""
        names = {path.stem: path for path in addon_manifests(self.path)}
        if getattr(self, "_names", None) == set(names):
            return self._seen, self.problems
        found, problems = {}, []
        for name, path in names.items():
            try:
                manifest = read_manifest(path)
                check_format(manifest.get("format"))
                check_files(self.path, manifest)
                found[name] = manifest
            except RunError as error:
                problems.append(f"The add-on {name} is left out: {error}")
        self._names = set(names)
        return found, tuple(problems)
