"""How a head's attention falls off with distance and direction, summed over batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from analysis.metrics import AttentionMap
from analysis.metrics.tokens import grids

if TYPE_CHECKING:
    import pandas as pd

FARTHEST_OFFSET, FARTHEST_RING, FARTHEST_ALIGNED = 64, 32, 15
"""Pairs farther apart have no bin of their own."""

OFFSET, RING, ALIGNED = "offset", "ring", "aligned"


@dataclass
class ProfileSums:
    """Sums of a profile over queries, from which the means of any number of batches are made.

    Attributes:
        kind: `OFFSET`, `RING` or `ALIGNED`.
        weight: Attention in each bin.
        null: What permuted keys would give.
        n_pairs: Pairs of query and key in each bin.
        n_queries: Queries that count.
    """

    kind: str
    weight: Float[np.ndarray, "head bin"]
    null: Float[np.ndarray, "head bin"]
    n_pairs: Int[np.ndarray, " bin"]
    n_queries: int = 0

    @classmethod
    def empty(cls, kind: str, n_heads: int) -> ProfileSums:
        """Nothing summed yet."""
        n_bins = len(bin_places(kind)[0])
        return cls(kind, np.zeros((n_heads, n_bins)), np.zeros((n_heads, n_bins)), np.zeros(n_bins, np.int64))

    def add(self, other: ProfileSums, heads: Int[np.ndarray, " head"] | None = None) -> None:
        """Take in the sums of other inputs, or of other heads of the same inputs.

        Args:
            other: Its rows are the heads of `heads`; pairs and queries count with head 0, so that heads that come one
                by one count each input once.
        """
        heads = np.arange(len(self.weight)) if heads is None else heads
        self.weight[heads] += other.weight
        self.null[heads] += other.null
        if 0 in heads:
            self.n_pairs += other.n_pairs
            self.n_queries += other.n_queries

    def as_array(self) -> Float[np.ndarray, "row bin"]:
        """All of it in one array, whose sum with another's is the sums of both; `from_array` reads it back."""
        queries = np.zeros(len(self.n_pairs))
        queries[0] = self.n_queries
        return np.vstack([self.weight, self.null, self.n_pairs, queries])

    @classmethod
    def from_array(cls, kind: str, rows: Float[np.ndarray, "row bin"]) -> ProfileSums:
        """The inverse of `as_array`."""
        n_heads = (len(rows) - 2) // 2
        return cls(kind, rows[:n_heads], rows[n_heads:-2], rows[-2].astype(np.int64), int(rows[-1, 0]))

    def table(self) -> pd.DataFrame:
        """One row a head and bin that has pairs: ``profile, head, x, y, value, null, n``; value and null are means
        over queries, so that the values of a head sum to 1 where no pair is beyond the bins and no learned sink takes
        a part."""
        import pandas as pd

        x, y = bin_places(self.kind)
        seen = np.flatnonzero(self.n_pairs)
        n_heads, n_queries = len(self.weight), max(self.n_queries, 1)
        return pd.DataFrame(
            {
                "profile": self.kind,
                "head": np.repeat(np.arange(n_heads), len(seen)),
                "x": np.tile(x[seen], n_heads),
                "y": np.tile(y[seen], n_heads),
                "value": (self.weight[:, seen] / n_queries).ravel(),
                "null": (self.null[:, seen] / n_queries).ravel(),
                "n": np.tile(self.n_pairs[seen], n_heads),
            }
        )


def bin_places(kind: str) -> tuple[Int[np.ndarray, " bin"], Int[np.ndarray, " bin"]]:
    """What the bins of a profile stand for.

    Returns:
        x and y. ``offset``: x = query position less key position, 1 being the token before. ``ring``: x = Chebyshev
        distance on the patch grid. ``aligned``: x = columns to the right of the query, y = rows below it.
    """
    if kind == ALIGNED:
        step = np.arange(-FARTHEST_ALIGNED, FARTHEST_ALIGNED + 1)
        return np.tile(step, len(step)), np.repeat(step, len(step))
    x = np.arange(FARTHEST_RING + 1) if kind == RING else np.arange(-FARTHEST_OFFSET, FARTHEST_OFFSET + 1)
    return x, np.zeros_like(x)


def sum_profiles(attended: AttentionMap) -> dict[str, ProfileSums]:
    """The profiles of a batch: by offset for texts, by ring and direction for images.

    Texts: all queries with a choice. Images: patches only, CLS and registers left out and the rows scaled to sum to 1.

    Source: ``ring`` is the k-hop strength s_k = mean_i sum_{j: Chebyshev distance k} A_ij of Li et al. (2023), "How
        Does Attention Work in Vision Transformers?"; near the border a patch has fewer neighbours at a distance, which
        the null (the same under permuted keys) has too: value over null is the strength corrected for it. ``aligned``
        is the query-centred map of Walmer et al. (2023), "Teaching Matters".
    """
    if not attended.is_image:
        binned = (_by_offset(values, attended.first) for values in _totals(attended))
        return {OFFSET: _filled(OFFSET, attended, *binned)}
    sums = {kind: ProfileSums.empty(kind, attended.attention.shape[1]) for kind in (RING, ALIGNED)}
    patches = attended.of_patches
    for members, row, column in grids(patches.tokens):
        part = AttentionMap(patches.attention[members], patches.allowed[members])
        down, right = (_differences(place) for place in (row, column))
        totals = _totals(part)
        for kind, bins in ((RING, np.maximum(abs(down), abs(right))), (ALIGNED, _aligned_bin(down, right))):
            sums[kind].add(_filled(kind, part, *(_by_bin(values, bins, kind) for values in totals)))
    return sums


def _differences(place: Int[np.ndarray, " token"]) -> Int[np.ndarray, "query key"]:
    """Place of the key less place of the query."""
    return place[None, :] - place[:, None]


def _aligned_bin(down: np.ndarray, right: np.ndarray) -> np.ndarray:
    width = 2 * FARTHEST_ALIGNED + 1
    inside = np.maximum(abs(down), abs(right)) <= FARTHEST_ALIGNED
    return np.where(inside, (down + FARTHEST_ALIGNED) * width + right + FARTHEST_ALIGNED, width**2)


def _totals(
    attended: AttentionMap,
) -> tuple[Float[np.ndarray, "head query key"], Float[np.ndarray, "#head query key"], Float[np.ndarray, "1 query key"]]:
    """Sums over the inputs of a batch, queries without a choice left out: attention, the same of rows spread evenly
    (one for all heads where every row sums to 1), and how many pairs there are."""
    counts = attended.rows_with_a_choice()
    total = np.einsum("bhqk,bq->hqk", attended.attention, counts.astype(np.float32))
    pairs = attended.allowed & counts[:, :, None]
    even = pairs / np.maximum(attended.n_allowed, 1)[:, :, None].astype(np.float32)
    rows = np.broadcast_to(counts[:, None], attended.mass.shape)
    if np.allclose(attended.mass[rows], 1, atol=1e-4):
        by_chance = even.sum(axis=0)[None]
    else:
        by_chance = np.einsum("bqk,bhq->hqk", even, attended.mass)
    return total, by_chance, pairs.sum(axis=0, dtype=np.float32)[None]


def _by_offset(values: Float[np.ndarray, "head query key"], begin: int = 0) -> Float[np.ndarray, "head bin"]:
    """Values summed by offset; `begin` is the position of the first query."""
    n_queries, n_keys = values.shape[1:]
    binned = np.zeros((len(values), 2 * FARTHEST_OFFSET + 1))
    for place, offset in enumerate(range(-FARTHEST_OFFSET, FARTHEST_OFFSET + 1)):
        if -n_queries < begin - offset < n_keys:
            binned[:, place] = np.diagonal(values, begin - offset, 1, 2).sum(axis=-1, dtype=np.float64)
    return binned


def _by_bin(
    values: Float[np.ndarray, "head query key"], bins: Int[np.ndarray, "query key"], kind: str
) -> Float[np.ndarray, "head bin"]:
    """Values summed into bins; what is beyond the last is left out."""
    n_bins = len(bin_places(kind)[0])
    places = np.minimum(bins, n_bins).ravel()
    return np.stack([np.bincount(places, of_head.ravel(), n_bins + 1)[:n_bins] for of_head in values])


def _filled(
    kind: str,
    attended: AttentionMap,
    weight: Float[np.ndarray, "head bin"],
    null: Float[np.ndarray, "#head bin"],
    n_pairs: Float[np.ndarray, "1 bin"],
) -> ProfileSums:
    null = np.broadcast_to(null, weight.shape).copy()
    return ProfileSums(kind, weight, null, n_pairs[0].astype(np.int64), int(attended.rows_with_a_choice().sum()))
