"""`umap`: the AttentionViz recipe by stock umap-learn, for comparison with the published pictures."""

from __future__ import annotations

import warnings

import numpy as np

from analysis.projection import projection
from analysis.projection.normalise import join
from analysis.projection.pca import pca
from analysis.projection.problem import N_NEIGHBOURS, HeadProblem, Layout
from analysis.stock_umap import stock_umap


@projection(
    "umap",
    description="UMAP by the AttentionViz recipe (cosine), for comparison.",
    concurrent=False,
    neighbours_only=True,
)
def umap(problem: HeadProblem, dims: int, seed: int, n_neighbors: int = N_NEIGHBOURS, min_dist: float = 0.1) -> Layout:
    """UMAP of queries and keys together under the cosine metric, after both moves of `normalise`.

    Args:
        problem: The head; its attention is not looked at.
        dims: 2 or 3.
        seed: Gives umap-learn one thread and its random state.
        n_neighbors: Fewer in tiny problems.
        min_dist: As umap-learn has it.

    Returns:
        The layout; principal components instead where there are too few points (under 5) for UMAP.
    """
    queries, keys, scale = join(problem.queries, problem.keys)
    union = np.vstack([queries, keys]).astype(np.float32)
    n_neighbors = min(n_neighbors, len(union) - 1)
    parameters = {"seed": seed, "n_neighbors": n_neighbors, "min_dist": min_dist, "metric": "cosine"}
    parameters["reciprocal_scale"] = scale
    if len(union) < 2 * (dims + 2):
        flat = pca(problem, dims, seed)
        return Layout(flat.queries, flat.keys, {**parameters, "fallback": "pca: too few points for UMAP"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stock_umap()(
            n_components=dims, n_neighbors=n_neighbors, min_dist=min_dist, metric="cosine", random_state=seed, n_jobs=1,
            init="random" if len(union) < 4 * N_NEIGHBOURS else "spectral",
        )  # fmt: skip
        places = model.fit_transform(union)
    places = stood_in(places)
    return Layout(places[: len(queries)], places[len(queries) :], parameters)


def stood_in(places: np.ndarray) -> np.ndarray:
    """Points UMAP gives no place (no neighbour at all) put in the middle of the others."""
    missing = ~np.isfinite(places).all(axis=1)
    if missing.any():
        places = places.copy()
        places[missing] = 0 if missing.all() else places[~missing].mean(axis=0)
    return places.astype(np.float32)
