"""Rows of a Parquet file, weighed before they are unpacked: a few kilobytes of it can stand for terabytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from analysis.errors import InputError, first_line
from analysis.inputs.media_files import MAX_BYTES
from analysis.inputs.records import Row, Skipped, Table

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

MOST_UNPACKED, MOST_TIMES = 1_000_000_000, 100
"""Cells may take a gigabyte, or a hundred times the file where that is more. Text shrinks tenfold when it is packed, a
label that every row shares takes little either way; what shrinks a thousandfold was made to fill the memory."""

_ROWS = 256
_SMALL_CHUNK = 1_000_000
"""Bytes of a column's chunk that `_ROWS` rows of it may each be as long as."""


def read_parquet(path: Path) -> Table:
    """Open a Parquet file; rows with a cell of more than `MAX_BYTES` are listed as skipped.

    Raises:
        InputError: It is none; later, while rows are read, that it is damaged or unpacks to more than `MOST_UNPACKED`.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        shared = _shared_columns(file.metadata)
        if shared:
            file.close()
            file = pyarrow.parquet.ParquetFile(path, read_dictionary=shared)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path.name} is not a Parquet file that can be read ({first_line(error, 120)}).") from error
    table = Table(list(file.schema_arrow.names), iter(()))
    table.rows = _rows(path, file, table.skipped)
    return table


def _shared_columns(metadata: pyarrow.parquet.FileMetaData) -> list[str]:
    """Columns of long values that many rows may share: they are read as numbers into a list of values. It is slower."""
    found = set()
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(place)
            if (
                chunk.physical_type == "BYTE_ARRAY"
                and chunk.has_dictionary_page
                and chunk.total_uncompressed_size > _SMALL_CHUNK
            ):
                found.add(chunk.path_in_schema)
    return sorted(found)


def _rows(path: Path, file: pyarrow.parquet.ParquetFile, skipped: list[Skipped]) -> Iterator[Row]:
    import pyarrow

    number, unpacked, most = 0, 0, max(MOST_UNPACKED, MOST_TIMES * path.stat().st_size)
    try:
        for batch in file.iter_batches(batch_size=_ROWS):
            sizes = _sizes(batch)
            is_light = sizes.sum() <= MAX_BYTES
            cells = batch.to_pylist() if is_light else None
            for row, size in enumerate(sizes.tolist()):
                number += 1
                if size > MAX_BYTES:
                    reason = f"{size / 1e6:,.0f} MB; at most {MAX_BYTES / 1e6:,.0f} MB a row are read"
                    skipped.append(Skipped(f"row {number}", reason))
                    continue
                unpacked += size
                if unpacked > most:
                    raise InputError(
                        f"{path.name} unpacks to more than {most / 1e9:,.3g} GB, {MOST_TIMES} times its size or more: "
                        "give fewer rows, or images and sounds as files beside a table of their names."
                    )
                yield f"row {number}", cells[row] if is_light else batch.slice(row, 1).to_pylist()[0]
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        reason = first_line(error, 120)  # a date beyond the calendar, a time zone of no place, text that is no UTF-8
        raise InputError(f"{path.name} is damaged after row {number:,} ({reason}).") from error


def _sizes(batch: pyarrow.RecordBatch) -> Int[np.ndarray, " row"]:
    """Bytes of every row's text and binary cells, once unpacked."""
    return sum((_cell_sizes(column) for column in batch.columns), np.zeros(batch.num_rows, np.int64))


def _cell_sizes(cells: pyarrow.Array) -> Int[np.ndarray, " row"]:
    import pyarrow.compute
    from pyarrow import types

    kind: Any = cells.type
    if types.is_dictionary(kind):
        sizes, at = _cell_sizes(cells.dictionary), cells.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.append(sizes, 0)[at]
    if any(test(kind) for test in (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)):
        sizes = pyarrow.compute.binary_length(cells).fill_null(0)
        return sizes.to_numpy(zero_copy_only=False).astype(np.int64)
    if types.is_struct(kind):
        parts = [_cell_sizes(cells.field(place)) for place in range(kind.num_fields)]
        return sum(parts, np.zeros(len(cells), np.int64))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_map(kind):
        ends = np.concatenate([[0], np.cumsum(_cell_sizes(cells.values))])
        return np.diff(ends[cells.offsets.to_numpy()])
    return np.full(len(cells), 8, np.int64)
