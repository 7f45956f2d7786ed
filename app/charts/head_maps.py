"""Small maps of many heads as one picture: matrices in, PNG bytes out."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float

from app.palette import VIRIDIS

TILE_PIXELS = 48
"""Longer side of a small map at most; larger matrices are reduced so that the strongest weight of a block stays."""

OVERVIEW_PIXELS = 340
"""Longer side of the overview of one long text's matrix."""


def make_sprite(maps: list[list[Float[np.ndarray, "row column"]]]) -> tuple[bytes, tuple[int, int]]:
    """All maps on one grid, each coloured from 0 to its own maximum on a square-root scale.

    Args:
        maps: Rows of maps of one shape; short rows are filled up with empty tiles. NaN is drawn empty.

    Returns:
        A palette PNG and the pixels (rows, columns) of one tile.
    """
    tiles = [[_levels(reduce_to(each, TILE_PIXELS)) for each in row] for row in maps]
    height, width = tiles[0][0].shape
    n_columns = max(len(row) for row in tiles)
    sheet = np.zeros((height * len(tiles), width * n_columns), dtype=np.uint8)
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            sheet[i * height : (i + 1) * height, j * width : (j + 1) * width] = tile
    return _png(sheet), (height, width)


def make_overview(attention: Float[np.ndarray, "query key"]) -> bytes:
    """The whole matrix of one head as a PNG, the strongest weight of a block kept, square-root scale, NaN empty."""
    return _png(_levels(reduce_to(attention, OVERVIEW_PIXELS)))


def reduce_to(matrix: Float[np.ndarray, "row column"], pixels: int) -> Float[np.ndarray, "pixel_row pixel_column"]:
    """The matrix with at most `pixels` rows and columns, each the maximum of its block; NaN only where all is NaN."""
    step = -(-max(matrix.shape) // pixels)
    if step == 1:
        return matrix
    n_rows, n_columns = (-(-size // step) for size in matrix.shape)
    padded = np.full((n_rows * step, n_columns * step), -np.inf, dtype=np.float32)
    padded[: matrix.shape[0], : matrix.shape[1]] = np.where(np.isnan(matrix), -np.inf, matrix)
    reduced = padded.reshape(n_rows, step, n_columns, step).max(axis=(1, 3))
    return np.where(np.isinf(reduced), np.nan, reduced)


def _levels(tile: np.ndarray) -> np.ndarray:
    """Palette indices: 0 where empty, 1 to 255 for 0 to the maximum."""
    top = float(np.nanmax(tile)) if np.isfinite(tile).any() else 0.0
    share = np.sqrt(np.clip(np.nan_to_num(tile) / (top or 1.0), 0, 1))
    return np.where(np.isnan(tile), 0, 1 + np.round(share * 254)).astype(np.uint8)


def _png(levels: np.ndarray) -> bytes:
    from PIL import Image

    stops = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in VIRIDIS], dtype=float)
    at = np.linspace(0, len(stops) - 1, 255)
    colours = np.stack([np.interp(at, np.arange(len(stops)), stops[:, part]) for part in range(3)], axis=1)
    image = Image.fromarray(levels, mode="P")
    image.putpalette([0, 0, 0, *np.round(colours).astype(int).ravel().tolist()])
    written = io.BytesIO()
    image.save(written, "PNG", transparency=0)
    return written.getvalue()
