"""Exact nearest neighbours of a few thousand vectors, by blocks of a matrix product."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from analysis.projection.kernels.compiled import compiled

BLOCK = 512
"""Rows of the distance matrix held at a time."""


def nearest(
    vectors: Float[np.ndarray, "point d"], n_neighbours: int, among: Float[np.ndarray, "other d"] | None = None
) -> Int[np.ndarray, "point neighbour"]:
    """The nearest rows by Euclidean distance, nearest first.

    Args:
        vectors: Rows to find neighbours for.
        n_neighbours: How many; at most the rows of `among`, one fewer without it.
        among: Rows to choose from. Without it, the other rows of `vectors`, never the row itself.

    Returns:
        Row numbers. Of equally near rows the first are taken.
    """
    centre = (vectors if among is None else among).mean(axis=0)
    points = np.ascontiguousarray(vectors - centre, dtype=np.float32)
    others = points if among is None else np.ascontiguousarray(among - centre, dtype=np.float32)
    found = np.zeros((len(points), max(n_neighbours, 0)), dtype=np.int32)
    if n_neighbours <= 0:
        return found
    half_norms = 0.5 * np.einsum("nd,nd->n", others, others)
    for begin in range(0, len(points), BLOCK):
        block = half_norms[None, :] - points[begin : begin + BLOCK] @ others.T
        if among is None:
            rows = np.arange(len(block))
            block[rows, begin + rows] = np.inf
        smallest(block, found[begin : begin + BLOCK])
    return found


@compiled
def smallest(values, found):
    """Write the columns of the smallest values of each row into `found`, in rising order."""
    n_kept = found.shape[1]
    best = np.empty(n_kept, dtype=np.float32)
    for row in range(values.shape[0]):
        best[:] = np.float32(3.4e38)
        limit = best[n_kept - 1]
        for column in range(values.shape[1]):
            value = values[row, column]
            if value < limit:
                place = n_kept - 1
                while place > 0 and best[place - 1] > value:
                    best[place] = best[place - 1]
                    found[row, place] = found[row, place - 1]
                    place -= 1
                best[place] = value
                found[row, place] = column
                limit = best[n_kept - 1]
