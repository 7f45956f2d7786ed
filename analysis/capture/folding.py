"""Calls whose batch axis holds several blocks of an input, such as the crops of a picture, as one list of tokens."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor


def n_blocks(inputs: dict[str, Tensor], n_inputs: int) -> int:
    """Pictures that each input of a batch is given as: 1 where the batch axis of pixels counts inputs.

    A vision tower attends within each picture, and has the blocks of an input behind each other in its batch axis.
    """
    pixels = inputs.get("pixel_values")
    if pixels is None or pixels.ndim < 4:
        return 1
    n_pictures = pixels.shape[0] * (pixels.shape[1] if pixels.ndim == 5 else 1)
    return n_pictures // n_inputs if n_pictures % n_inputs == 0 else 1


def folded(
    rows: Float[np.ndarray, "picture head token ..."], n_blocks: int
) -> Float[np.ndarray, "input head all_tokens ..."]:
    """The tokens of an input's blocks behind each other: ``picture = input * n_blocks``, ``all = n_blocks * token``."""
    if n_blocks == 1:
        return rows
    n_pictures, n_heads, n_tokens, *rest = rows.shape
    apart = rows.reshape(n_pictures // n_blocks, n_blocks, n_heads, n_tokens, *rest)
    return np.moveaxis(apart, 1, 2).reshape(n_pictures // n_blocks, n_heads, n_blocks * n_tokens, *rest)


def block_diagonal(
    squares: Float[np.ndarray, "block *head query key"] | Bool[np.ndarray, "block *head query key"],
) -> Float[np.ndarray, "*head all_queries all_keys"] | Bool[np.ndarray, "*head all_queries all_keys"]:
    """The squares of one input's blocks along the diagonal; nothing between tokens of different blocks."""
    if len(squares) == 1:
        return squares[0]
    count, *heads, n_queries, n_keys = squares.shape
    whole = np.zeros((*heads, count * n_queries, count * n_keys), dtype=squares.dtype)
    for block, square in enumerate(squares):
        rows, columns = (slice(block * n, (block + 1) * n) for n in (n_queries, n_keys))
        whole[..., rows, columns] = square
    return whole
