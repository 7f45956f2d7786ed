"""The files of an export, written one after the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.progress import Progress, Report
from analysis.store.export.attention import (
    HeadAttention,
    Matrices,
    arrow_rows,
    arrow_schema,
    cell_rows,
    heads_of,
    tensors_of,
)
from analysis.store.export.card import data_card, manifest_text
from analysis.store.export.tables import tables_of
from analysis.store.export.vectors import offset_rows, vector_rows, vector_schema, vector_tensors
from analysis.store.frames import arrow_table
from analysis.store.importing import copy_run, files_of_run
from analysis.store.run import Run
from analysis.types import VISION_AND_TEXT, Site

_PART_BYTES = 2**28
"""A safetensors file of attention is no longer than this and one input: it is held in memory until it is written."""

_GROUP_BYTES = 2**25
"""Rows of Parquet are written in groups of about this size: a group a head and input would be thousands of small ones.
"""

RUN = "run"
"""The format that is the run itself."""

@dataclass
class ExportFiles:
    """One export being written."""

    run: Run
    folder: Path
    matrices: Sequence[Matrices]
    report: Report
    rows: dict[str, int] = field(default_factory=dict)
    _n_done: int = 0
    _n_files: int = 0

    def write(self, format: str) -> None:
        """Everything, in this format, and the card."""
        if format == RUN:
            self._write_own_files()
        else:
            self._write_as(format)
        card = data_card(self.run, self.rows, format, self.matrices)
        (self.folder / "README.md").write_text(card, encoding="utf-8")

    def _write_own_files(self) -> None:
        self._n_files = len(files_of_run(self.run))
        for _ in copy_run(self.run, self.folder):
            self._tell()

    def _write_as(self, format: str) -> None:
        tables = tables_of(self.run)
        n_vectors = 0 if format == "csv" else len(self.run.mapped_sites)
        self._n_files = len(tables) + n_vectors + len(self.matrices)
        _WRITERS[format](self, tables)
        (self.folder / "manifest.json").write_text(manifest_text(self.run), encoding="utf-8")
        if self.run.modality in ("vision", VISION_AND_TEXT):
            (self.folder / "images").mkdir()
            for input_id in self.run.inputs()["input_id"]:
                (self.folder / "images" / f"{input_id}.png").write_bytes(self.run.image(int(input_id)))

    def parquet(self, tables: dict[str, pd.DataFrame]) -> None:
        """Tables, vectors and attention as Parquet."""
        self._tables(tables, self._write_parquet)
        if offsets := [row for site in self.run.mapped_sites for row in offset_rows(self.run, site)]:
            self._write_parquet(pa.Table.from_pylist(offsets), "key_offsets")
        for site in self.run.mapped_sites:
            self._write_parts("vectors", site, vector_schema(self.run, site), vector_rows(self.run, site))
        for each in self.matrices:
            rows = (arrow_rows(each, one) for one in heads_of(self.run, each))
            self._write_parts("attention", each.site, arrow_schema(each), rows)

    def csv(self, tables: dict[str, pd.DataFrame]) -> None:
        """Tables and attention as CSV."""
        from pyarrow import csv

        self._tables(tables, lambda rows, name: csv.write_csv(rows, self.folder / f"{name}.csv"))
        for each in self.matrices:
            writer = None
            for one in heads_of(self.run, each):
                rows = cell_rows(each, one)
                writer = writer or csv.CSVWriter(self.folder / f"attention-{each.site.index:03d}.csv", rows.schema)
                writer.write_table(rows)
            if writer is not None:
                writer.close()
            self._tell()

    def safetensors(self, tables: dict[str, pd.DataFrame]) -> None:
        """Tables as Parquet, vectors and attention as tensors."""
        from safetensors.numpy import save_file

        self._tables(tables, self._write_parquet)
        for site in self.run.mapped_sites:
            save_file(
                vector_tensors(self.run, site), self.folder / f"site-{site.index:03d}.safetensors", _metadata(site)
            )
            self._tell()
        for each in self.matrices:
            for part, tensors in enumerate(_parts(each, heads_of(self.run, each))):
                name = f"attention-{each.site.index:03d}-part-{part}.safetensors"
                save_file(tensors, self.folder / name, _metadata(each.site))
            self._tell()

    def _tables(self, tables: dict[str, pd.DataFrame], write: Callable[[pa.Table, str], None]) -> None:
        for name, frame in tables.items():
            write(arrow_table(frame), name)
            self.rows[name] = len(frame)
            self._tell()

    def _write_parquet(self, rows: pa.Table, name: str) -> None:
        from pyarrow import parquet

        parquet.write_table(rows, self.folder / f"{name}.parquet", compression="zstd")
        self.rows[name] = len(rows)

    def _write_parts(self, what: str, site: Site, schema: pa.Schema, parts: Iterable[pa.Table]) -> None:
        from pyarrow import parquet

        folder = self.folder / what / f"site={site.index}"
        folder.mkdir(parents=True)
        with parquet.ParquetWriter(folder / "part-0.parquet", schema, compression="zstd") as writer:
            for rows in _grouped(parts):
                writer.write_table(rows)
        self._tell()

    def _tell(self) -> None:
        self._n_done += 1
        self.report(Progress("export", self._n_done, self._n_files, "files", run_id=self.run.run_id))


_WRITERS: dict[str, Callable[[ExportFiles, dict[str, pd.DataFrame]], None]] = {
    "parquet": ExportFiles.parquet,
    "csv": ExportFiles.csv,
    "safetensors": ExportFiles.safetensors,
}
FORMATS = (*_WRITERS, RUN)


def _parts(matrices: Matrices, heads: Iterable[HeadAttention]) -> Iterator[dict[str, np.ndarray]]:
    """Tensors of as many inputs as a file takes."""
    waiting: dict[int, list[HeadAttention]] = {}
    tensors: dict[str, np.ndarray] = {}
    for one in heads:
        every = waiting.setdefault(one.input_id, [])
        every.append(one)
        if len(every) < matrices.site.n_heads:
            continue
        tensors |= tensors_of(matrices, waiting.pop(one.input_id))
        if sum(array.nbytes for array in tensors.values()) >= _PART_BYTES:
            yield tensors
            tensors = {}
    if tensors:
        yield tensors


def _grouped(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    group: list[pa.Table] = []
    n_bytes = 0
    for part in parts:
        group.append(part)
        n_bytes += part.nbytes
        if n_bytes >= _GROUP_BYTES:
            yield pa.concat_tables(group)
            group, n_bytes = [], 0
    if group:
        yield pa.concat_tables(group)


def _metadata(site: Site) -> dict[str, str]:
    return {name: json.dumps(value) for name, value in site.as_dict().items()}
