"""Attention received and figures of residual states as rows of the tables `received` and `state_figures`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Float

Received = Mapping[tuple[int, int], tuple[Float[np.ndarray, "head token"], Float[np.ndarray, "head token"]]]
"""By input and index of the site: from all queries that see the token, and from those but its own."""

Figures = Mapping[tuple[int, str], Mapping[str, Float[np.ndarray, "layer token"]]]
"""By input and tower, each by measure."""


def received_rows(received: Received) -> pa.Table:
    """One row an input and site."""
    return pa.table(
        {
            "input_id": np.array([input_id for input_id, _ in received], np.int32),
            "site": np.array([site for _, site in received], np.int16),
            "attention": _blobs([both[0] for both in received.values()]),
            "others": _blobs([both[1] for both in received.values()]),
        }
    )


def figure_rows(figures: Figures) -> pa.Table:
    """One row an input, tower and measure."""
    rows = [(*key, name, values) for key, by_measure in figures.items() for name, values in by_measure.items()]
    return pa.table(
        {
            "input_id": np.array([row[0] for row in rows], np.int32),
            "stack": pa.array([row[1] for row in rows], pa.string()),
            "measure": pa.array([row[2] for row in rows], pa.string()),
            "n_layers": np.array([len(row[3]) for row in rows], np.int16),
            "figures": _blobs([row[3] for row in rows]),
        }
    )


def unpack(blobs: list[bytes], n_rows: int) -> Float[np.ndarray, "row point"]:
    """Arrays of as many rows side by side, the tokens of one input after those of the other."""
    return np.concatenate([np.frombuffer(blob, "<f4").reshape(n_rows, -1) for blob in blobs], axis=1)


def _blobs(arrays: list[np.ndarray]) -> pa.Array:
    return pa.array([np.ascontiguousarray(array, "<f4").tobytes() for array in arrays], pa.large_binary())
