"""For every point of a head what it is tied to most: read once, told wherever the pointer goes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from jaxtyping import Bool, Float

N_STRONGEST = 3
"""Keys of a query, and queries of a key, that the tooltip tells."""


def strongest_ties(
    inputs: Iterable[tuple[Float[np.ndarray, "query key"], Bool[np.ndarray, "query key"]]],
) -> dict[str, np.ndarray]:
    """The strongest keys of every query, the strongest queries of every key, and what labels are chosen by.

    Args:
        inputs: Attention and allowed pairs of each input, in token-table order.

    Returns:
        ``key_at``, ``query_at``: uint16 [token * 3], positions in the input, the strongest first, ties by position;
        ``key_weight``, ``query_weight``: float32 [token * 3], 0 where there is none;
        ``received``: float32 [token], the key's mean weight over the queries that may look at it, 0 to 1;
        ``focus``: float32 [token], the weight of the query's strongest key, 0 to 1.
    """
    parts: dict[str, list[np.ndarray]] = {}
    for attention, allowed in inputs:
        keys, weights = _leading(attention)
        queries, shares = _leading(attention.T)
        looking = np.maximum(allowed.sum(axis=0), 1)
        for name, values in (
            ("key_at", keys), ("key_weight", weights), ("query_at", queries), ("query_weight", shares),
            ("received", attention.sum(axis=0) / looking), ("focus", weights[:, 0]),
        ):  # fmt: skip
            parts.setdefault(name, []).append(values.ravel())
    kinds = {"key_at": np.uint16, "query_at": np.uint16}
    return {name: np.concatenate(values).astype(kinds.get(name, np.float32)) for name, values in parts.items()}


def _leading(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The largest entries of each row, by repeated maximum: the first of equals leads."""
    left, rows = np.array(weights, dtype=np.float32), np.arange(len(weights))
    places = np.zeros((len(left), N_STRONGEST), dtype=np.int64)
    found = np.zeros((len(left), N_STRONGEST), dtype=np.float32)
    for rank in range(min(N_STRONGEST, left.shape[1])):
        places[:, rank] = left.argmax(axis=1)
        found[:, rank] = left[rows, places[:, rank]]
        left[rows, places[:, rank]] = -1
    return places, found
