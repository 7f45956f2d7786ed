"""Writing a run: one transaction a batch, so that a job that is killed goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from analysis.errors import RunError
from analysis.store.batch_rows import BatchRows, batch_rows
from analysis.store.database import Database, write_failure
from analysis.store.frames import arrow_table
from analysis.store.locking import WriterLock
from analysis.store.paths import MANIFEST, RUN_FILE, SHARDS, SPEC_FILE, check_name, lock_path, partial_path, retired
from analysis.store.plan_tables import StoredPlan, read_plan, write_plan
from analysis.store.profile_sums import ProfileSumTable, Sums
from analysis.store.publish import flush, seal, write_whole
from analysis.store.reading import Reader
from analysis.store.results import ResultsWriter
from analysis.store.room import is_full, what_is_free
from analysis.store.schema import FORMAT, migrate
from analysis.store.sink_rows import Figures, Received
from analysis.types import Site, SiteCapture


class RunWriter(ResultsWriter):
    """A run being written in ``<run_id>.partial``. Made with `open`; a context manager.

    Leaving it without `publish` leaves the partial run, which the same `open` goes on with.
    """

    def __init__(self, folder: Path, run_id: str, spec: Mapping[str, Any]) -> None:
        self.run_id = run_id
        self.folder = folder
        self.spec = json.loads(json.dumps(dict(spec), sort_keys=True, default=str))
        self._path = partial_path(folder, run_id)
        self._plan: StoredPlan | None = None
        self._points: tuple[np.ndarray, np.ndarray] | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = WriterLock(lock_path(folder, run_id), f"Run {run_id!r}")
        except OSError as error:
            raise _unusable(folder, error) from error
        try:
            if (folder / run_id).exists():
                raise RunError(f"Run {run_id!r} is finished, and runs are never changed: choose another run id.")
            if run_id in retired(folder):
                raise RunError(f"Run {run_id!r} was deleted, and no id is used twice: choose another run id.")
            self._path.mkdir(exist_ok=True)
            self._check_spec()
            self.database = Database(self._path / RUN_FILE)
            self._migrate()
            self._profile_sums = ProfileSumTable(self.database)
        except BaseException as error:
            self._lock.release(remove=True)
            if isinstance(error, OSError):
                raise _unusable(folder, error) from error
            raise

    @classmethod
    def open(cls, runs_dir: str | Path, run_id: str, spec: Mapping[str, Any]) -> RunWriter:
        """Begin a run, or go on with the partial one of this name.

        Args:
            runs_dir: Folder of the runs; made when missing.
            run_id: Name of the run, and of its folder.
            spec: What makes the run (model, data, settings), as plain values. A partial run goes on only with the
                spec it was begun with.

        Raises:
            RunError: The folder cannot be written, the name is taken or unusable, the spec is another, or another job
                is writing the run.
        """
        return cls(Path(runs_dir), check_name(run_id), spec)

    @property
    def sites(self) -> list[Site]:
        """The sites of the plan."""
        return self._stored_plan().sites

    @property
    def shards_path(self) -> Path:
        """Where workers leave batches that this run is to take in; gone when it is published."""
        return self._path / SHARDS

    def done_inputs(self) -> set[int]:
        """Inputs whose captures are stored for good."""
        return {input_id for (input_id,) in self.database.execute("SELECT input_id FROM done_inputs")}

    def put_plan(
        self,
        sites: Sequence[Site],
        key_offsets: Mapping[str, np.ndarray],
        sink_logits: Mapping[str, np.ndarray],
        certificate: Mapping[str, Any],
    ) -> None:
        """Store the capture plan; a second call with the same sites changes nothing.

        Args:
            sites: In forward order.
            key_offsets: Site key to ``[kv_head, d_head]``: subtracted from the keys before they are rounded.
            sink_logits: Site key to ``[head]``, where the softmax has a learned sink.
            certificate: The parity certificate.

        Raises:
            RunError: The partial run has another plan.
        """
        present = self.plan()
        if present is not None:
            if [site.as_dict() for site in present.sites] != [site.as_dict() for site in sites]:
                raise RunError(f"Run {self.run_id!r} was begun with other sites: choose another run id.")
            return
        with self.database.transaction():
            write_plan(self.database, sites, key_offsets, sink_logits, certificate)
        self._plan = None

    def plan(self) -> StoredPlan | None:
        """The plan that is stored, or None. Its key offsets are those to go on with."""
        if self._plan is None and self.database.execute("SELECT 1 FROM sites LIMIT 1"):
            self._plan = read_plan(self.database.execute)
        return self._plan

    def put_inputs(self, inputs: pd.DataFrame, tokens: pd.DataFrame, token_columns: Mapping[str, Any]) -> None:
        """Store the inputs and the token table; a second call changes nothing.

        Args:
            inputs: One row an input: input_id, n_tokens, text or image (PNG bytes), and any other columns.
            tokens: One row a token: input_id, position, text, and any other columns.
            token_columns: What the columns of `tokens` mean: name to an object with ``as_dict``, or to a dict.

        Raises:
            RunError: Tokens and inputs do not fit each other, or differ from those stored.
        """
        inputs = inputs.sort_values("input_id", kind="stable")
        tokens = tokens.sort_values(["input_id", "position"], kind="stable")
        _check_inputs(inputs, tokens)
        if self._has_inputs():
            held = self.database.execute("SELECT input_id, n_tokens FROM inputs ORDER BY input_id")
            if held != list(zip(inputs["input_id"].tolist(), inputs["n_tokens"].tolist())):
                raise RunError(f"Run {self.run_id!r} was begun with other inputs: choose another run id.")
            return
        details = [(rank, name, json.dumps(_as_dict(info))) for rank, (name, info) in enumerate(token_columns.items())]
        with self.database.transaction():
            self.database.replace_table("inputs", arrow_table(inputs))
            self.database.replace_table("tokens", arrow_table(tokens))
            for row in details:
                self.database.execute("INSERT INTO token_columns VALUES (?, ?, ?)", row)

    def put_batch(
        self,
        captures: Sequence[Sequence[SiteCapture]],
        input_scores: pd.DataFrame | None,
        store_attention: Callable[[SiteCapture], bool],
        profile_sums: Sums | None = None,
        received: Received | None = None,
        state_figures: Figures | None = None,
    ) -> None:
        """Store what a batch of inputs gave, in one transaction. Inputs that are stored already are passed over.

        Args:
            captures: For each input, its sites.
            input_scores: Scores of these inputs: metric, site (index, key or label), head, input_id, value, null.
            store_attention: Whether to keep the attention of a capture. Where q and k would not give it back it is
                kept in any case.
            profile_sums: By profile and index of the site, what these inputs add to its sums.
            received: The attention that every token receives.
            state_figures: What was measured of residual states.

        Raises:
            RunError: NaN or infinity in a capture (the batch is not stored), or the disk is full.
        """
        done = self._done_among({sites[0].input_id for sites in captures if sites})
        new = [sites for sites in captures if sites and sites[0].input_id not in done]
        if not new:
            return
        if profile_sums and len(new) != len(captures):
            raise RunError("Part of this batch is stored already, and its sums of profiles cannot be told apart.")
        self.put_rows(
            batch_rows(
                new, self.sites, self._stored_plan().key_offsets, input_scores, store_attention, profile_sums, received,
                state_figures,
            )
        )  # fmt: skip

    def put_rows(self, rows: BatchRows) -> None:
        """Store the rows of a batch, in one transaction; a batch that is stored already is passed over.

        Raises:
            RunError: Part of the batch is stored already, or the disk is full.
        """
        done = self._done_among(rows.input_ids)
        if done.issuperset(rows.input_ids):
            return
        if done:
            raise RunError("Part of this batch is stored already, and its sums of profiles cannot be told apart.")
        sums = self._profile_sums.plus(rows.sums)
        with self.database.transaction():
            for name, table in rows.tables.items():
                self.database.insert(name, table)
            if rows.sums:
                self._profile_sums.replace(sums)
        self._profile_sums.keep(sums)
        self.database.forget_pages()

    def profile_sums(self) -> Sums:
        """The sums of all inputs stored so far."""
        return self._profile_sums.held

    def reader(self) -> Reader:
        """Read what is stored so far, with the same calls as a published run; any thread may use it."""
        return Reader(self.database.cursor)

    def points(self) -> tuple[np.ndarray, np.ndarray]:
        """input_id and position of every token, in token-table order."""
        if self._points is None:
            rows = np.array(self.database.execute("SELECT input_id, position FROM tokens ORDER BY ALL"), np.int32)
            self._points = rows[:, 0].copy(), rows[:, 1].copy()
        return self._points

    def point_rows(self, site: Site) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the token table that a site's queries and its keys belong to."""
        return self._point_rows(site.query_sequence), self._point_rows(site.key_sequence)

    def projection_name(self, method: str, target: str, dims: int, seed: int, aligned: bool = False) -> str:
        """``atlas-2d``, ``atlas-3d-without-sinks``, ``atlas-2d-aligned``; the seed behind it if the name is taken."""
        taken = {name for (name,) in self.database.execute("SELECT projection_id FROM projections")}
        endings = [target.replace("_", "-")] * (target != "attention") + ["aligned"] * aligned
        name = "-".join([method, f"{dims}d", *endings])
        return name if name not in taken else f"{name}-seed{seed}"

    def publish(self, manifest_fields: Mapping[str, Any]) -> Path:
        """Finish the run: from here on it is never changed.

        Args:
            manifest_fields: What the manifest says besides counts and checksums (model, data, code version, ...).

        Returns:
            The folder of the run.

        Raises:
            RunError: Not every input is captured, or the name was taken meanwhile.
        """
        fields = {**self._counts(), **manifest_fields, "format": FORMAT, "run_id": self.run_id, "spec": self.spec}
        self._profile_sums.clear()
        shutil.rmtree(self.shards_path, ignore_errors=True)
        fields.setdefault("created", datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"))
        self.database.close(checkpoint=True)
        seal(self._path, RUN_FILE, MANIFEST, fields)
        # Only now: until there is a manifest, the spec is what an interrupted run is recognised by.
        (self._path / SPEC_FILE).unlink(missing_ok=True)
        flush(self._path)
        target = self.folder / self.run_id
        try:
            self._path.rename(target)
        except OSError as error:
            raise RunError(f"Run {self.run_id!r} could not take its name ({error.strerror}).") from error
        flush(self.folder)
        self._lock.release(remove=True)
        return target

    def close(self) -> None:
        """Stop writing; what is stored stays, and the same `open` goes on with it."""
        self.database.close()
        self._lock.release(remove=True)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _stored_plan(self) -> StoredPlan:
        plan = self.plan()
        if plan is None:
            raise RunError(f"Run {self.run_id!r} has no plan yet: put_plan comes first.")
        return plan

    def _done_among(self, input_ids: Iterable[int]) -> set[int]:
        """Those of these inputs that are stored."""
        wanted = list(map(int, input_ids))
        rows = self.database.execute("SELECT input_id FROM done_inputs WHERE input_id IN (SELECT unnest(?))", [wanted])
        return {input_id for (input_id,) in rows}

    @cached_property
    def _rows_by_sequence(self) -> dict[str, np.ndarray]:
        return {}

    def _point_rows(self, sequence: str) -> np.ndarray:
        if sequence not in self._rows_by_sequence:
            self._rows_by_sequence[sequence] = self.reader().rows_of(sequence)
        return self._rows_by_sequence[sequence]

    def _has_inputs(self) -> bool:
        return bool(
            self.database.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'tokens' AND database_name = 'run'")
        )

    def _migrate(self) -> None:
        try:
            migrate(self.database.connection)
        except BaseException as error:
            self.database.close()
            if isinstance(error, duckdb.Error):
                raise write_failure(self.database.path, error) from error
            raise

    def _check_spec(self) -> None:
        manifest = self._path / MANIFEST
        held = _read_json(self._path / SPEC_FILE)
        if held is None and (sealed := _read_json(manifest)) is not None:
            held = sealed.get("spec")
        if held is not None and held != self.spec:
            differing = sorted(name for name in {*held, *self.spec} if held.get(name) != self.spec.get(name))
            raise RunError(
                f"An unfinished run {self.run_id!r} was begun with other settings ({', '.join(differing)}): "
                f"repeat its command, choose another run id, or delete {self._path.name}."
            )
        write_whole(self._path / SPEC_FILE, (json.dumps(self.spec, indent=1, sort_keys=True) + "\n").encode())
        manifest.unlink(missing_ok=True)

    def _counts(self) -> dict[str, Any]:
        if not self._has_inputs():
            raise RunError(f"Run {self.run_id!r} has no inputs yet: put_inputs comes first.")
        sites = self.sites
        waiting = self.database.execute("SELECT input_id FROM inputs EXCEPT SELECT input_id FROM done_inputs")
        if waiting:
            raise RunError(f"Run {self.run_id!r} still waits for {len(waiting)} inputs: run the same command again.")
        return {
            "modality": sites[0].modality,
            "n_inputs": len(self.done_inputs()),
            "n_tokens": len(self.points()[0]),
            "n_sites": len(sites),
            "n_heads": sum(site.n_heads for site in sites),
            "certificate": self._stored_plan().certificate,
        }


def _unusable(folder: Path, error: OSError) -> RunError:
    if is_full(error):
        return RunError(
            f"The disk of the runs is full ({what_is_free(folder)}): free disk space and run the same command again."
        )
    why = "it is no folder" if isinstance(error, FileExistsError | NotADirectoryError) else error.strerror
    return RunError(f"Runs cannot be written in {str(folder)[:200]!r} ({why}): choose another folder for the runs.")


def _check_inputs(inputs: pd.DataFrame, tokens: pd.DataFrame) -> None:
    ids, counts = inputs["input_id"].to_numpy(), inputs["n_tokens"].to_numpy()
    expected = np.repeat(ids, counts), np.concatenate([np.arange(count) for count in counts]) if len(counts) else []
    if (
        len(set(ids.tolist())) != len(ids)
        or not np.array_equal(expected[0], tokens["input_id"].to_numpy())
        or not np.array_equal(expected[1], tokens["position"].to_numpy())
    ):
        raise RunError("The token table does not have one row per input and position 0, 1, ... n_tokens - 1.")


def _as_dict(info: Any) -> dict[str, Any]:
    return dict(info.as_dict() if hasattr(info, "as_dict") else info)


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None
