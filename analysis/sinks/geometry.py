"""Where the key of the primary sink lies: its length, its angle to the queries, and how little its value carries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from analysis.sinks.towers import Tower

if TYPE_CHECKING:
    import pandas as pd

MOST_INPUTS = 64
"""Of a larger run so many inputs are looked at, drawn by seed."""

FIGURES = (
    "key_norm_sink", "key_norm_others", "value_norm_sink", "value_norm_others", "angle_sink_deg", "angle_others_deg",
)  # fmt: skip


def head_geometry(run: Any, tower: Tower, seed: int = 0) -> pd.DataFrame:
    """Key norm, value norm and angle to the mean query of the primary sink, beside all other tokens.

    Args:
        run: The run of the tower.
        tower: Its primary sinks.
        seed: Of the drawing.

    Returns:
        site, head, `FIGURES` and n (inputs): Euclidean norms, and the angle in degrees, 0..180, between a key and the
        mean of the queries of its own input; 90 is no relation, below it the dot product is positive. Means over inputs
        of the sink's figure, and of the mean over the input's other tokens. From the stored q and k, whose rounding
        moves a norm by less than a thousandth.

    Source: small values at sinks: Guo et al. (2024), "Active-Dormant Attention Heads", and Gu et al. (2024), "When
        Attention Sink Emerges in Language Models", which also has the angle of keys and queries. Means as here are
        ours.
    """
    import pandas as pd

    able = np.flatnonzero(np.bincount(tower.inputs) > 1)
    chosen = np.sort(np.random.default_rng(seed).permutation(able)[:MOST_INPUTS])
    ids = run.inputs()["input_id"].to_numpy()[chosen]
    rows = np.flatnonzero(np.isin(tower.inputs, chosen))
    inputs = np.searchsorted(chosen, tower.inputs[rows])
    is_sink = np.isin(rows, tower.primary[chosen])
    tables = []
    for site in (site for site in tower.sites if site.has_vectors) if len(chosen) else ():
        for head in range(site.n_heads):
            queries, keys = run.queries(site, head, ids), run.keys(site, head, ids)
            figures = _figures(queries, keys, run.value_norms(site, head)[rows], inputs, is_sink)
            tables.append((site.key, head, *figures, len(chosen)))
    return pd.DataFrame(tables, columns=["site", "head", *FIGURES, "n"])


def _figures(
    queries: Float[np.ndarray, "point d_head"],
    keys: Float[np.ndarray, "point d_head"],
    value_norms: Float[np.ndarray, " point"],
    inputs: np.ndarray,
    is_sink: np.ndarray,
) -> list[float]:
    first = np.flatnonzero(np.r_[True, np.diff(inputs) > 0])
    mean_query = np.add.reduceat(queries, first, axis=0)[inputs]  # an angle does not mind the length
    norm = np.linalg.norm(keys, axis=1)
    size = np.maximum(norm * np.linalg.norm(mean_query, axis=1), 1e-30)
    angle = np.degrees(np.arccos(np.clip(np.einsum("pd,pd->p", keys, mean_query) / size, -1, 1)))
    figures = []
    for values in (norm, value_norms, angle):
        figures += [float(values[is_sink].mean()), _mean_of_means(values[~is_sink], inputs[~is_sink])]
    return figures


def _mean_of_means(values: np.ndarray, inputs: np.ndarray) -> float:
    count = np.bincount(inputs)
    return float((np.bincount(inputs, values)[count > 0] / count[count > 0]).mean())
