"""Maps of sampled inputs as a table, to go with a shard, and back."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from analysis.pipeline.samples import SampledMap

MAPS = "sampled_maps"
"""Their table in a shard."""


def rows_of_maps(maps: Sequence[SampledMap]) -> pa.Table:
    """One row a map: its site and input, shape, attention (fp32) and mask (a bit a cell)."""
    shapes = np.array([one.rows.shape for one in maps], np.int32).reshape(-1, 3)
    return pa.table(
        {
            "site": pa.array([one.site for one in maps], pa.string()),
            "input_id": pa.array([one.input_id for one in maps], pa.int32()),
            "n_heads": shapes[:, 0],
            "n_queries": shapes[:, 1],
            "n_keys": shapes[:, 2],
            "rows": pa.array([np.ascontiguousarray(one.rows, "<f4").tobytes() for one in maps], pa.large_binary()),
            "allowed": pa.array([np.packbits(one.allowed).tobytes() for one in maps], pa.large_binary()),
        }
    )


def maps_of_rows(table: pa.Table) -> list[SampledMap]:
    """The inverse of `rows_of_maps`."""
    maps = []
    for row in table.to_pylist():
        shape = row["n_heads"], row["n_queries"], row["n_keys"]
        bits = np.unpackbits(np.frombuffer(row["allowed"], np.uint8), count=shape[1] * shape[2])
        rows = np.frombuffer(row["rows"], "<f4").reshape(shape)
        maps.append(SampledMap(row["site"], row["input_id"], rows, bits.reshape(shape[1:]).astype(bool)))
    return maps
