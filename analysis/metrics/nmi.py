"""Whether queries attend to different keys (local) or all to the same ones (global)."""

import numpy as np
from jaxtyping import Bool, Float

from analysis.metrics import AttentionMap, PerInput, metric


class NmiSums:
    """`nmi` of a text from its queries, some at a time."""

    def __init__(self) -> None:
        self._own, self._n_queries = np.float64(0), np.int64(0)
        self._on_keys: list[np.ndarray | np.float64] = [np.float64(0), np.float64(0)]

    def add(self, window: AttentionMap) -> None:
        """Take in some queries with all their keys."""
        mass = window.mass
        counts = mass > 0
        share = np.where(counts, 1 / np.where(counts, mass, 1), 0).astype(np.float32)
        self._own = self._own + _own(window, counts, share).astype(np.float64)
        self._n_queries = self._n_queries + counts.sum(axis=-1)
        for place, weights in enumerate((window.attention, window.shifted)):
            self._on_keys[place] = self._on_keys[place] + _mean_row(share, weights).astype(np.float64)

    def result(self) -> PerInput:
        """The metric of all of them."""
        n = np.maximum(self._n_queries, 1)
        both = (on_keys / n[..., None] for on_keys in self._on_keys)
        return PerInput(*(_normalised(self._own / n, p_key, self._n_queries) for p_key in both))


@metric(
    "nmi", title="Mutual information", unit="0 to 1; 0 = all queries attend alike, 1 = each to keys of its own",
    high="what is attended depends on the query", group="homogeneity", on_cross=True,
    over_windows=NmiSums,
)  # fmt: skip
def nmi(attended: AttentionMap) -> PerInput:
    """Normalised mutual information between the query and the key it attends to, every query counting alike.

    With p(q) = 1/N and p(k) = mean_q A_qk: MI = sum_qk p(q) A_qk log(A_qk / p(k)), NMI = MI / sqrt(H(q) H(k)). Images:
    patches only, CLS and registers left out and the rows scaled to sum to 1. Texts: all tokens.

    Returns:
        0..1. Low: collapsed, or global, as in a head whose tokens all look at one sink; high: local. Null: one seeded
        draw in which the weights of each row are shifted round its allowed keys, the same shifts for every head. Causal
        masks alone make some of it (early queries see few keys), which is why the null is not 0.

    Source: Park et al. (2023), "What Do Self-Supervised Vision Transformers Learn?"; as a reading of local, hybrid and
        global layers, UNIP (2025). The null is ours.
    """
    patches = attended.of_patches
    mass = patches.mass
    counts = mass > 0
    n_queries = counts.sum(axis=-1)
    share = (counts / np.maximum(n_queries, 1)[..., None] / np.where(counts, mass, 1)).astype(np.float32)
    own = _own(patches, counts, share)
    both = (patches.attention, patches.shifted)
    return PerInput(*(_normalised(own, _mean_row(share, weights), n_queries) for weights in both))


def _own(
    attended: AttentionMap, counts: Bool[np.ndarray, "input head query"], share: Float[np.ndarray, "input head query"]
) -> Float[np.ndarray, "input head"]:
    """sum_k of (a/m) log (a/m), a row whose weights sum to m, summed over rows by their share."""
    return ((attended.p_log2_p - attended.mass * np.log2(np.where(counts, attended.mass, 1))) * share).sum(axis=-1)


def _mean_row(
    share: Float[np.ndarray, "input head query"], weights: Float[np.ndarray, "input head query key"]
) -> Float[np.ndarray, "input head key"]:
    return np.matmul(share[:, :, None, :], weights)[:, :, 0]


def _normalised(
    own: Float[np.ndarray, "input head"], p_key: Float[np.ndarray, "input head key"], n_queries: np.ndarray
) -> Float[np.ndarray, "input head"]:
    entropy = -(p_key * np.log2(np.where(p_key > 0, p_key, 1))).sum(axis=-1)
    most = np.sqrt(np.log2(np.maximum(n_queries, 1)) * np.maximum(entropy, 0))
    # All on one key: the queries do not differ at all.
    value = np.where(most > 1e-6, np.clip(own + entropy, 0, None) / np.where(most > 1e-6, most, 1), 0.0)
    return np.where(n_queries >= 2, value, np.nan)
