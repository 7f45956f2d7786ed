"""Later results in a file of their own beside a published run, which itself never changes."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np

from analysis.errors import RunError
from analysis.store.database import Database
from analysis.store.locking import WriterLock
from analysis.store.paths import SPEC_FILE, check_name, locate
from analysis.store.publish import flush, seal, write_whole
from analysis.store.results import ResultsWriter
from analysis.store.room import is_full, what_is_free
from analysis.store.run import Run, open_run
from analysis.store.schema import FORMAT, migrate
from analysis.types import Site


def add_to_run(run_path: str | Path, name: str, spec: Mapping[str, Any] | None = None) -> AddonWriter:
    """Begin an add-on of a published run: maps and scores computed later.

    Args:
        run_path: The run's folder, or its id.
        name: Of the add-on; unique in the run.
        spec: What makes the add-on, as plain values. With it, what is stored stays when the job is killed or stopped,
            and the next call with the same spec goes on with it.

    Raises:
        RunError: No such run, the name is taken, or another job is writing this add-on.
    """
    return AddonWriter(locate(run_path), check_name(name, "name of an add-on"), spec)


class AddonWriter(ResultsWriter):
    """Writes ``add-<name>.duckdb``. Made with `add_to_run`; a context manager.

    It is written in a hidden folder and moved into the run by `publish`; left without, nothing of it stays, unless a
    `spec` was given and there is a map in it to go on with.
    """

    def __init__(self, folder: Path, name: str, spec: Mapping[str, Any] | None = None) -> None:
        self.folder, self.name = folder, name
        self._file, self._manifest = f"add-{name}.duckdb", f"add-{name}.json"
        self._making = folder / f".add-{name}"
        self._spec = None if spec is None else json.dumps(dict(spec), sort_keys=True)
        self._lock = WriterLock(folder / f".add-{name}.lock", f"The add-on {name!r} of run {folder.name!r}")
        try:
            if (folder / self._manifest).exists():
                raise RunError(f"Run {folder.name!r} has an add-on {name!r} already: choose another name.")
            self.run: Run = open_run(folder)
            self._begin()
            self.database = Database(self._making / self._file)
            migrate(self.database.connection)
        except BaseException as error:
            self._lock.release(remove=True)
            if is_full(error):
                raise RunError(
                    f"Nothing can be added to run {folder.name!r}, for the disk is full ({what_is_free(folder)}): "
                    "free disk space and run the same command again."
                ) from error
            raise

    @property
    def sites(self) -> list[Site]:
        """The sites of the run."""
        return self.run.sites

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """input_id and position of every token, in token-table order."""
        return self._points

    def point_rows(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the token table that a site's queries and its keys belong to."""
        return self.run.query_rows(site), self.run.key_rows(site)

    @cached_property
    def _points(self) -> tuple[np.ndarray, np.ndarray]:
        tokens = self.run.sql("SELECT input_id, position FROM tokens ORDER BY ALL")
        return tokens["input_id"].to_numpy(np.int32), tokens["position"].to_numpy(np.int32)

    def projection_name(self, method: str, target: str, dims: int, seed: int, aligned: bool = False) -> str:
        """The name of the add-on, which no other map has; numbered from the second map on."""
        taken = {name for (name,) in self.database.execute("SELECT projection_id FROM projections")}
        taken |= set(self.run.projections()["projection_id"])
        name, number = self.name, 2
        while name in taken:
            name, number = f"{self.name}.{number}", number + 1
        return name

    def publish(self, manifest_fields: Mapping[str, Any] | None = None) -> Path:
        """Finish the add-on and move it into the run; readers see it from their next call on.

        Returns:
            The file.

        Raises:
            RunError: Another job published an add-on of this name meanwhile.
        """
        fields = {
            **(manifest_fields or {}),
            "format": FORMAT,
            "name": self.name,
            "run_id": self.folder.name,
            "created": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        }
        self.database.close(checkpoint=True)
        seal(self._making, self._file, self._manifest, fields)
        target = self.folder / self._file
        try:
            # The data first, then the manifest that makes it count.
            os.replace(self._making / self._file, target)
            flush(self.folder)
            os.replace(self._making / self._manifest, self.folder / self._manifest)
            flush(self.folder)
        except OSError as error:
            raise RunError(f"The add-on {self.name!r} could not take its place ({error.strerror}).") from error
        return target

    def close(self) -> None:
        """Stop; what was not published is thrown away."""
        keeps = self._holds_maps()
        self.database.close()
        self.run.close()
        if not keeps:
            self._clear()
        self._lock.release(remove=True)

    def __enter__(self) -> AddonWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """An empty hidden folder, or the one of an interrupted job of the same spec."""
        # Data without its manifest, which is moved after it: the publishing before us was interrupted.
        moved = self.folder / self._file
        if self._spec is None or self._held_spec() != self._spec:
            self._clear()
            moved.unlink(missing_ok=True)
            self._making.mkdir()
            if self._spec is not None:
                write_whole(self._making / SPEC_FILE, self._spec.encode())
        elif moved.exists():
            os.replace(moved, self._making / self._file)
        (self._making / self._manifest).unlink(missing_ok=True)

    def _held_spec(self) -> str | None:
        try:
            return (self._making / SPEC_FILE).read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None

    def _holds_maps(self) -> bool:
        if self._spec is None or (self.folder / self._manifest).exists():
            return False
        try:
            return bool(self.database.execute("SELECT 1 FROM projections LIMIT 1"))
        except duckdb.Error:
            return True  # closed, or unusable after a failed write: the file is in order

    def _clear(self) -> None:
        if self._making.is_dir():
            shutil.rmtree(self._making)
