"""Heads on a plane, like beside like, and groups of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from analysis.errors import UnknownName, UserError
from analysis.patterns.features import standardised
from analysis.stock_umap import stock_umap

if TYPE_CHECKING:
    import pandas as pd

METHODS = ("umap", "pca")
FEWEST_HEADS = 6
"""With fewer, places come from principal components whatever was asked for, and there are no clusters."""

N_NEIGHBORS = 15
MOST_CLUSTERS, SMALLEST_CLUSTER = 16, 3
NO_STRUCTURE = 0.25
"""Mean silhouettes below this mean no substantial structure."""


@dataclass(frozen=True)
class Arrangement:
    """Heads arranged by likeness.

    Attributes:
        places: site, head, x, y, cluster (-1: in none); heads in the order they came in.
        method: What made the places: ``umap`` or ``pca``, perhaps not what was asked for (`FEWEST_HEADS`).
        parameters: Everything that made them: seed, features used, neighbours, variance shown and the like.
    """

    places: pd.DataFrame
    method: str
    parameters: Mapping[str, Any]

    @property
    def n_clusters(self) -> int:
        """Groups of heads, those in none apart."""
        return int(self.places["cluster"].max()) + 1 if len(self.places) else 0


def arrange(features: pd.DataFrame, method: str = "umap", seed: int = 0) -> Arrangement:
    """Heads on a plane by their features, and clusters of them.

    Args:
        features: As `head_features` makes them; of one stack, or heads differ by what cannot be measured of them.
        method: ``umap`` keeps near heads near (distances between groups say little); ``pca`` is linear, with the same
            meaning everywhere.
        seed: Of UMAP; nothing else is random.

    Returns:
        Places and clusters. Principal components where there are fewer than `FEWEST_HEADS` heads.

    Raises:
        UnknownName: Another method.
        UserError: No head, or nothing known that tells the heads apart.
    """
    if method not in METHODS:
        raise UnknownName(f"There is no arrangement {str(method)[:100]!r} of features; known: {', '.join(METHODS)}.")
    if features.empty:
        raise UserError("There are no heads to arrange: the run has no scores of heads.")
    values, names = standardised(features)
    if not names and len(features) > 1:
        raise UserError("The heads cannot be arranged: nothing that is known of them tells them apart.")
    return arranged(features[["site", "head"]], values, method, seed, {"features": names})


def arranged(
    heads: pd.DataFrame,
    values: Float[np.ndarray, "head feature"],
    method: str,
    seed: int,
    parameters: Mapping[str, Any],
) -> Arrangement:
    """`arrange` for numbers that are on one scale already, such as the codes of an autoencoder."""
    flat, variance_share = principal_components(values)
    made: dict[str, Any] = {**parameters, "seed": seed, "asked_for": method}
    if method == "umap" and len(heads) < FEWEST_HEADS:
        method, made["fallback"] = "pca", f"fewer than {FEWEST_HEADS} heads"
    if method == "umap":
        n_neighbors = min(N_NEIGHBORS, len(heads) - 1)
        places = _umap(values, flat, n_neighbors, seed)
        made |= {"n_neighbors": n_neighbors, "min_dist": 0.1, "metric": "euclidean"}
    else:
        places, made["variance_share"] = flat[:, :2], float(variance_share[:2].sum())
    found = clusters(values)
    made["clusters"] = f"Ward, cut at the largest mean silhouette above {NO_STRUCTURE:g}"
    table = heads.reset_index(drop=True).assign(
        x=places[:, 0].astype(np.float32), y=places[:, 1].astype(np.float32), cluster=found
    )
    return Arrangement(table, method, made)


def clusters(values: Float[np.ndarray, "head feature"]) -> Int[np.ndarray, " head"]:
    """Groups of like heads, found among the features, not in the picture.

    Ward's hierarchical clustering, cut where the mean silhouette is largest, among cuts that leave two groups or more
    of at least `SMALLEST_CLUSTER` heads (or the best cut often sets one odd head apart from all others). Where even
    that is below 0.25, which the book calls no substantial structure, there are no groups. Heads in smaller groups and
    heads whose own silhouette is not positive belong to none.

    Returns:
        0, 1, ... from the largest group down (ties: by first head); -1 for heads in none, and for all heads where
        there are fewer than `FEWEST_HEADS`.

    Source: Kaufman and Rousseeuw (1990), "Finding Groups in Data", chapter 2 (silhouette and the reading of 0.25);
        the least size of a group is ours.
    """
    n_heads = len(values)
    if n_heads < FEWEST_HEADS or not values.size or not np.ptp(values, axis=0).any():
        return np.full(n_heads, -1)
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import silhouette_samples

    best, found = NO_STRUCTURE, np.full(n_heads, -1)
    for n_groups in range(2, min(MOST_CLUSTERS, n_heads // 2) + 1):
        group = AgglomerativeClustering(n_clusters=n_groups).fit_predict(values)
        large = np.bincount(group) >= SMALLEST_CLUSTER
        silhouette = silhouette_samples(values, group)
        if large.sum() >= 2 and silhouette.mean() > best:
            best, found = float(silhouette.mean()), np.where(large[group] & (silhouette > 0), group, -1)
    groups = sorted(
        (group for group in dict.fromkeys(found.tolist()) if group >= 0),
        key=lambda group: -int((found == group).sum()),
    )
    numbers = {group: number for number, group in enumerate(groups)}
    return np.array([numbers.get(group, -1) for group in found.tolist()])


def principal_components(
    values: Float[np.ndarray, "head feature"],
) -> tuple[Float[np.ndarray, "head component"], Float[np.ndarray, " component"]]:
    """Scores on all principal components, two at least, and the share of the variance each holds.

    Each axis points to where its largest loading is positive, so that a map does not flip between versions.
    """
    if min(values.shape, default=0) < 2:
        only = (values - values.mean(axis=0)).sum(axis=1, keepdims=True) if values.size else np.zeros((len(values), 1))
        return np.hstack([only, np.zeros((len(values), 1))]), np.array([1.0, 0.0])
    from sklearn.decomposition import PCA

    model = PCA(svd_solver="full")
    flat = model.fit_transform(values)
    axes = model.components_
    sign = np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)] < 0, -1, 1)
    return flat * sign, np.nan_to_num(model.explained_variance_ratio_)


def _umap(
    values: Float[np.ndarray, "head feature"], flat: Float[np.ndarray, "head component"], n_neighbors: int, seed: int
) -> Float[np.ndarray, "head 2"]:
    """UMAP from the principal components on: spectral starts fail on few points, random ones differ by version."""
    start = flat[:, :2] / max(float(np.abs(flat[:, :2]).max()), 1e-12) * 10
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = stock_umap()(
            n_neighbors=n_neighbors, min_dist=0.1, metric="euclidean", random_state=seed, n_jobs=1,
            init=start.astype(np.float32),
        )  # fmt: skip
        places = model.fit_transform(values)
    missing = ~np.isfinite(places).all(axis=1)
    return np.where(missing[:, None], start, places)
