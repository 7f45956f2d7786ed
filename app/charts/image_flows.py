"""Arrows over a picture: each patch to its strongest key patch, or the strongest flows of all. Tables only."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

FLOWS = (25, 50, 100, 200, 400)
"""How many of the strongest flows can be asked for."""

_SHORT = 0.22
"""An arrow ends so many patches before the middle of its key, so that arrows into one patch can be told apart."""


def strongest_arrows(weights: Float[np.ndarray, "query key"], table: pd.DataFrame) -> pd.DataFrame:
    """From every patch to the patch it looks at most, itself among them.

    Args:
        weights: Of every query on every key, by position; NaN where hidden or not allowed.
        table: From `app.charts.image_attention.patch_table`.

    Returns:
        As `arrow_table`; a patch whose own weight is the largest has a dot instead of an arrow.
    """
    patches = table.loc[table["is_patch"], "position"].to_numpy()
    part = weights[np.ix_(patches, patches)]
    attends = (np.nan_to_num(part) > 0).any(axis=1)
    best = np.where(np.isnan(part), -np.inf, part).argmax(axis=1)
    return arrow_table(patches[attends], patches[best][attends], weights, table)


def strongest_flows(weights: Float[np.ndarray, "query key"], table: pd.DataFrame, n: int) -> pd.DataFrame:
    """The `n` largest weights between two different tokens, CLS and registers among them, as arrows."""
    seen = np.where(np.isnan(weights), -np.inf, weights)
    np.fill_diagonal(seen, -np.inf)
    n = min(n, int(np.isfinite(seen).sum()))
    flat = np.argpartition(-seen.ravel(), max(n - 1, 0))[:n]
    query, key = np.unravel_index(flat[np.argsort(-seen.ravel()[flat], kind="stable")], seen.shape)
    return arrow_table(query, key, weights, table)


def arrow_table(
    query: Int[np.ndarray, " arrow"],
    key: Int[np.ndarray, " arrow"],
    weights: Float[np.ndarray, "query key"],
    table: pd.DataFrame,
) -> pd.DataFrame:
    """Where arrows begin and end, in units of patches.

    Returns:
        Columns query, key (positions), query_name, key_name, weight, left, top (the query's middle), right, bottom
        (the arrow's end), angle (degrees clockwise from up), is_self.
    """
    middle = np.stack([table["left"] + table["right"], table["top"] + table["bottom"]], axis=1) / 2
    begin, end = middle[query], middle[key]
    way = end - begin
    length = np.linalg.norm(way, axis=1, keepdims=True)
    end = end - np.where(length > 0, way / np.where(length > 0, length, 1) * np.minimum(_SHORT, length / 2), 0)
    names = table["name"].to_numpy()
    return pd.DataFrame(
        {
            "query": query,
            "key": key,
            "query_name": names[query],
            "key_name": names[key],
            "weight": weights[query, key].astype(float),
            "left": begin[:, 0],
            "top": begin[:, 1],
            "right": end[:, 0],
            "bottom": end[:, 1],
            "angle": np.degrees(np.arctan2(way[:, 0], -way[:, 1])),
            "is_self": query == key,
        }
    )
