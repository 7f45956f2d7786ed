"""`pca`: the plain principal components of queries and keys together."""

from __future__ import annotations

import numpy as np

from analysis.projection import projection
from analysis.projection.normalise import join
from analysis.projection.problem import HeadProblem, Layout


@projection(
    "pca", description="Principal components of queries and keys together: plain and linear.", neighbours_only=True
)
def pca(problem: HeadProblem, dims: int, seed: int) -> Layout:
    """Principal components of the union, after both moves of `analysis.projection.normalise`.

    Args:
        problem: The head; its attention is not looked at.
        dims: 2 or 3.
        seed: Recorded only: nothing is random. Each axis points to where its largest loading is positive.
    """
    queries, keys, scale = join(problem.queries, problem.keys)
    union = np.vstack([queries, keys]).astype(np.float64)
    union -= union.mean(axis=0)
    values, axes = np.linalg.eigh(union.T @ union)
    axes = axes[:, ::-1][:, :dims]
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])] < 0, -1, 1)
    places = np.zeros((len(union), dims), dtype=np.float32)
    places[:, : axes.shape[1]] = union @ axes
    share = float(values[::-1][:dims].sum() / values.sum()) if values.sum() > 0 else 0.0
    parameters = {"seed": seed, "reciprocal_scale": scale, "variance_share": share}
    return Layout(places[: len(queries)], places[len(queries) :], parameters)
