"""The guarded in-memory database through which one run is read."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from analysis.errors import RunError, first_line
from analysis.store import schema
from analysis.store.database import quoted
from analysis.store.paths import RUN_FILE
from analysis.store.schema import RESULT_TABLES, RUN_TABLES

MEMORY, THREADS, SPILL, SECONDS = "1GB", 2, "4GB", 120
"""What the queries of one run may take: memory, threads, temporary disk, and seconds a query."""

MIGRATE_BYTES = 2 << 30
"""An older run up to this size is brought to the newest format in a temporary copy; a larger one is refused."""

_ADDON_STRIDE = 1000
"""Numbers of maps of the n-th add-on begin at n times this, so that they stay apart in the joined tables."""

_GUARDS = (
    "python_enable_replacements = false",
    "autoinstall_known_extensions = false",
    "autoload_known_extensions = false",
    f"max_execution_time = {SECONDS * 1000}",
    "enable_external_access = false",
    "lock_configuration = true",
)
"""In this order, after the files are attached and before anything in them is looked at: a view in a file of a stranger
would read what it names as soon as a view of ours is made on it. From then on no other file can be reached and nothing
be set. Set globally: a plain SET of the execution time holds for its own connection only, not for the cursors."""

_BEFORE = {
    "python_enable_replacements": False, "autoinstall_known_extensions": False, "autoload_known_extensions": False,
}  # fmt: skip
"""What holds while files are attached."""


class Root:
    """A run's file and its add-ons attached read-only to a database of their own, then locked.

    The tables of run and add-ons are joined in views of the same names.

    Args:
        path: The run's folder.
        manifest: The run's.
        addons: Names of the add-ons (``add-<name>``) to their manifests.

    Raises:
        RunError: A file cannot be opened.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any], addons: Mapping[str, Mapping[str, Any]]) -> None:
        self._copies: tempfile.TemporaryDirectory | None = None
        self.connection = duckdb.connect(":memory:", config={"threads": THREADS, "memory_limit": MEMORY, **_BEFORE})
        try:
            self._execute(f"SET temp_directory = {quoted(Path(tempfile.gettempdir()) / 'qk-atlas-spill')}")
            self._execute(f"SET max_temp_directory_size = '{SPILL}'")
            lacking = self._attach(path / RUN_FILE, manifest["format"], "run")
            for place, (name, of_addon) in enumerate(addons.items(), start=1):
                self._attach(path / f"{name}.duckdb", of_addon["format"], f"addon_{place}")
            for guard in _GUARDS:
                self._execute(f"SET GLOBAL {guard}")
            self._make_views(len(addons), lacking)
        except BaseException as error:
            self.close()
            if isinstance(error, duckdb.Error):
                raise RunError(f"Run {path.name!r} cannot be opened: {first_line(error)}") from error
            raise

    def close(self) -> None:
        """Let go of the files."""
        self.connection.close()
        if self._copies is not None:
            self._copies.cleanup()

    def _execute(self, query: str) -> None:
        self.connection.execute(query)

    def _attach(self, file: Path, found: int, name: str) -> Mapping[str, Mapping[str, str]]:
        """Attach a file, brought to the newest format where it has to be; what columns it lacks, with their values."""
        lacking = schema.lacking_columns(found, schema.MIGRATIONS)
        if lacking is None:
            file, lacking = self._migrated(file, found), {}
        self._execute(f"ATTACH {quoted(file)} AS {name} (READ_ONLY)")
        return lacking

    def _migrated(self, file: Path, found: int) -> Path:
        if file.stat().st_size > MIGRATE_BYTES:
            raise RunError(
                f"Run {file.parent.name!r} has the older format {found} and is too large to be converted on reading: "
                "open it with the version that wrote it, or make it again."
            )
        if self._copies is None:
            self._copies = tempfile.TemporaryDirectory(prefix="qk-atlas-")
        copy = Path(self._copies.name) / file.name
        shutil.copyfile(file, copy)
        with duckdb.connect(":memory:", config=_BEFORE) as connection:
            connection.execute(f"ATTACH {quoted(copy)} AS run")
            connection.execute("SET enable_external_access = false")
            connection.execute("USE run")
            schema.migrate(connection, schema.MIGRATIONS)
            connection.execute("USE memory")
            connection.execute("DETACH run")
        return copy

    def _make_views(self, n_addons: int, lacking: Mapping[str, Mapping[str, str]]) -> None:
        for table in RUN_TABLES:
            added = "".join(f", {value} AS {column}" for column, value in lacking.get(table, {}).items())
            self._execute(f"CREATE VIEW {table} AS SELECT *{added} FROM run.main.{table}")
        for table in RESULT_TABLES:
            parts = [f"SELECT * FROM run.main.{table}"]
            is_numbered = table in ("projections", "coordinates", "head_maps", "fidelity", "thumbnails")
            for place in range(1, n_addons + 1):
                shift = f" REPLACE (projection + {place * _ADDON_STRIDE} AS projection)" if is_numbered else ""
                parts.append(f"SELECT *{shift} FROM addon_{place}.main.{table}")
            self._execute(f"CREATE VIEW {table} AS {' UNION ALL '.join(parts)}")
