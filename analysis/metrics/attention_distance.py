"""How far a head looks."""

import numpy as np
from jaxtyping import Float

from analysis.metrics import AttentionMap, Rows, metric


@metric(
    "attention_distance", title="Attention distance", unit="tokens, or patches of an image; 0 = the token itself",
    high="looks far", group="spread",
)  # fmt: skip
def attention_distance(attended: AttentionMap) -> Rows:
    """Mean distance between a query and its keys, weighted by attention.

    Texts: sum_j A_ij |i - j| over all tokens, the row scaled to sum to 1 where a learned sink takes a part. Images:
    patches only, CLS and registers left out and the row scaled to sum to 1, Euclidean distance on the patch grid.

    Returns:
        Tokens, or patches. Null: the mean distance to the allowed keys. Rows with a single key are left out.

    Source: images: Dosovitskiy et al. (2021) and Walmer et al. (2023), "Teaching Matters", who scale the grid to 0..1
        where we keep patch units, as Park et al. (2023), "What Do Self-Supervised Vision Transformers Learn?", do in
        pixels. Texts: d(l, h) of Li et al. (2025), "Attention Illuminates LLM Reasoning".
    """
    patches = attended.of_patches
    distance = distances(patches) * patches.allowed
    reach, mass = np.einsum("bhqk,bqk->bhq", patches.attention, distance), patches.mass
    null = distance.sum(axis=-1) / np.maximum(patches.n_allowed, 1)
    value = np.where(mass > 0, reach / np.where(mass > 0, mass, 1), np.float32(np.nan))
    return Rows(value, null[:, None], patches.rows_with_a_choice())


def distances(attended: AttentionMap) -> Float[np.ndarray, "input query key"]:
    """Distance of every key from every query: tokens between positions, or Euclidean patches on the grid."""
    row, column = attended.tokens.row, attended.tokens.column
    if row is None or column is None:
        query, key = attended.places.astype(np.float32), np.arange(attended.allowed.shape[2], dtype=np.float32)
        return np.abs(query[:, None] - key)[None]
    down, right = (place[:, :, None] - place[:, None, :] for place in (row, column))
    return np.hypot(down, right).astype(np.float32)
