"""`tsne`: t-SNE of queries and keys together, by scikit-learn."""

from __future__ import annotations

import numpy as np

from analysis.projection import projection
from analysis.projection.normalise import join
from analysis.projection.pca import pca
from analysis.projection.problem import HeadProblem, Layout


@projection(
    "tsne",
    description="t-SNE of queries and keys together (cosine), for comparison.",
    concurrent=False,
    neighbours_only=True,
)
def tsne(problem: HeadProblem, dims: int, seed: int, perplexity: float = 50.0, max_iter: int = 1000) -> Layout:
    """Barnes-Hut t-SNE under the cosine metric, after both moves of `normalise`; starts from principal components.

    Args:
        problem: The head; its attention is not looked at.
        dims: 2 or 3.
        seed: scikit-learn's random state.
        perplexity: At most a third of the points, as t-SNE needs.
        max_iter: Iterations, early exaggeration included.
    """
    queries, keys, scale = join(problem.queries, problem.keys)
    union = np.vstack([queries, keys]).astype(np.float32)
    perplexity = float(min(perplexity, max((len(union) - 1) / 3, 1.0)))
    parameters = {"seed": seed, "perplexity": perplexity, "max_iter": max_iter, "metric": "cosine"}
    parameters["reciprocal_scale"] = scale
    norms = np.linalg.norm(union, axis=1, keepdims=True)
    directions = union / np.where(norms > 0, norms, 1)
    if len(union) < 5 or np.ptp(directions, axis=0).max() < 1e-6:
        flat = pca(problem, dims, seed)
        return Layout(flat.queries, flat.keys, {**parameters, "fallback": "pca: nothing for t-SNE to tell apart"})
    from sklearn.manifold import TSNE

    start = pca(problem, dims, seed)
    begin = np.vstack([start.queries, start.keys])
    begin = begin / max(float(begin[:, 0].std()), 1e-12) * 1e-4
    # Euclidean distance of unit vectors orders neighbours as the cosine does, and lets scikit-learn use a tree.
    model = TSNE(
        dims, perplexity=perplexity, init=begin.astype(np.float32), max_iter=max_iter, random_state=seed, n_jobs=1
    )
    places = model.fit_transform(directions).astype(np.float32)
    return Layout(places[: len(queries)], places[len(queries) :], parameters)
