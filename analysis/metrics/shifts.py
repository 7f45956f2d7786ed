"""A null that keeps the weights of every row and takes away what rows share: each is shifted by a step of its own."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

SEED = 0
"""Of the steps."""


def shift_rows(
    weights: Float[np.ndarray, "input head query key"],
    allowed: Bool[np.ndarray, "input query key"],
    begin: int = 0,
) -> Float[np.ndarray, "input head query key"]:
    """Each row's weights shifted round its allowed keys, by a seeded step that depends on the position of the query
    alone, the same for every head and input: one draw from the permutations of its keys. `begin` is the position of
    the first query."""
    n_inputs, n_heads, n_queries, n_keys = weights.shape
    n_allowed = allowed.sum(axis=-1, keepdims=True, dtype=np.int32)
    by = (np.random.default_rng(SEED).random(begin + n_queries)[None, begin:, None] * n_allowed).astype(np.int32)
    first = np.argmax(allowed, axis=-1)[..., None].astype(np.int32)
    last = n_keys - 1 - np.argmax(allowed[..., ::-1], axis=-1)[..., None].astype(np.int32)
    size = np.maximum(n_allowed, 1)
    if (n_allowed == np.where(n_allowed > 0, last - first + 1, 0)).all():
        moved = np.arange(n_keys, dtype=np.int32) - first + by
        moved = first + np.where(moved >= size, moved - size, moved)
    else:
        allowed_first = np.argsort(~allowed, axis=-1, kind="stable")
        rank = np.cumsum(allowed, axis=-1) - 1
        moved = np.take_along_axis(allowed_first, (rank + by) % size, axis=-1)
    moved = np.where(allowed, moved, np.arange(n_keys, dtype=np.int32))
    cells = (moved + np.arange(n_queries)[:, None] * n_keys).reshape(n_inputs, -1)
    flat = weights.reshape(n_inputs, n_heads, -1)
    return np.stack([flat[i].take(cells[i], axis=1) for i in range(n_inputs)]).reshape(weights.shape)
