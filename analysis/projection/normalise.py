"""AttentionViz's two moves: bring queries and keys to one scale and one place without changing attention.

Neither move changes a softmax row: ``q -> q / c`` with ``k -> c k`` keeps every product, and adding one vector to
all keys adds the same number to every score of a row. Moving the queries is not allowed. The order matters: under
the cosine metric, scaling after centring does nothing.

Source: Yeh et al., "AttentionViz: A Global View of Transformer Attention" (2023), section 4.2 and appendix.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SCALES = np.geomspace(0.1, 10, 41)
"""Candidates for c, relative to the ratio that gives queries and keys one typical norm."""

CLOSE_SHARE = 0.005
"""Only the closest pairs count in the correlation: those under this quantile of distance."""

N_SAMPLED = 512
"""Queries and keys looked at, evenly spaced over the run: 262,144 pairs."""


def join(
    queries: Float[np.ndarray, "query d_head"], keys: Float[np.ndarray, "key d_head"]
) -> tuple[Float[np.ndarray, "query d_head"], Float[np.ndarray, "key d_head"], float]:
    """Both moves: scale by the best c, then move the keys onto the mean query.

    Returns:
        Queries, keys, and c. Every softmax row of ``q·k`` is the same as before.
    """
    scale = best_scale(queries, keys)
    queries, keys = queries / np.float32(scale), keys * np.float32(scale)
    return queries, keys + (queries.mean(axis=0) - keys.mean(axis=0)), scale


def best_scale(queries: Float[np.ndarray, "query d_head"], keys: Float[np.ndarray, "key d_head"]) -> float:
    """The c for which distance tells the product best: their weighted correlation is nearest to -1.

    Only close pairs count, with weight ``(t - distance)^2`` where t is the `CLOSE_SHARE` quantile of distance.
    The grid is `SCALES` times ``sqrt(typical |q| / typical |k|)``, which is also the answer where no correlation
    can be computed (fewer than three pairs, equal vectors).
    """
    queries = queries[np.unique(np.linspace(0, len(queries) - 1, N_SAMPLED).astype(int))].astype(np.float64)
    keys = keys[np.unique(np.linspace(0, len(keys) - 1, N_SAMPLED).astype(int))].astype(np.float64)
    norm_q, norm_k = np.median(np.linalg.norm(queries, axis=1)), np.median(np.linalg.norm(keys, axis=1))
    middle = float(np.sqrt(norm_q / norm_k)) if norm_q > 0 and norm_k > 0 else 1.0
    scales = middle * SCALES
    fits = [distance_correlation(queries / scale, keys * scale) for scale in scales]
    return middle if np.isnan(fits).all() else float(scales[np.nanargmin(fits)])


def distance_correlation(queries: Float[np.ndarray, "query d_head"], keys: Float[np.ndarray, "key d_head"]) -> float:
    """Correlation of distance and product over close pairs, in -1..1; NaN where it is not defined."""
    products = queries @ keys.T
    squares = (queries**2).sum(axis=1)[:, None] + (keys**2).sum(axis=1)[None, :] - 2 * products
    distances = np.sqrt(np.maximum(squares, 0))
    threshold = np.quantile(distances, CLOSE_SHARE)
    close = distances < threshold
    if close.sum() < 3:
        return float("nan")
    weights = (threshold - distances[close]) ** 2
    weights /= weights.sum()
    a, b = distances[close], products[close]
    a, b = a - weights @ a, b - weights @ b
    spread = np.sqrt((weights @ a**2) * (weights @ b**2))
    return float(weights @ (a * b) / spread) if spread > 1e-12 else float("nan")
