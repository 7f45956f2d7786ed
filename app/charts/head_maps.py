"""Small maps of many heads as one picture: matrices in, PNG bytes out."""

from __future__ import annotations

import io

import numpy as np
from jaxtyping import Float

from app.charts.ramps import viridis
from app.charts.scales import ColourScale, make_scale
from app.palette import VIRIDIS

TILE_PIXELS = 48
"""Longer side of a small map at most; larger matrices are reduced so that the strongest weight of a block stays."""

OVERVIEW_PIXELS = 340
"""Longer side of the overview of one long text's matrix."""


def make_sprite(maps: list[list[Float[np.ndarray, "row column"]]]) -> bytes:
    """All maps on one grid, each coloured from 0 to its own maximum on a square-root scale.

    Args:
        maps: Rows of maps of one shape; short rows are filled up with empty tiles. NaN is drawn empty.

    Returns:
        A palette PNG; `tile_shape` says how large a tile is.
    """
    tiles = [[_levels(reduce_to(each, TILE_PIXELS)) for each in row] for row in maps]
    height, width = tiles[0][0].shape
    n_columns = max(len(row) for row in tiles)
    sheet = np.zeros((height * len(tiles), width * n_columns), dtype=np.uint8)
    for i, row in enumerate(tiles):
        for j, tile in enumerate(row):
            sheet[i * height : (i + 1) * height, j * width : (j + 1) * width] = tile
    return _png(sheet)


def tile_shape(sprite: bytes, n_rows: int, n_columns: int) -> tuple[int, int]:
    """Pixels (rows, columns) of one tile of a sprite."""
    from PIL import Image

    with Image.open(io.BytesIO(sprite)) as image:
        return image.height // n_rows, image.width // n_columns


def make_overview(attention: Float[np.ndarray, "query key"], scale: ColourScale) -> bytes:
    """The whole matrix as a PNG in the colours of the window beside it, the strongest weight of a block kept."""
    blocks = reduce_to(attention, OVERVIEW_PIXELS)
    if scale.is_signed:
        low = -reduce_to(-attention, OVERVIEW_PIXELS)
        blocks = np.where(np.abs(low) > np.abs(blocks), low, blocks)
    # Nearly every block has a weight that ranks high among single weights: blocks are ranked among blocks.
    shares = (make_scale(blocks, scale.name) if scale.name == "rank" else scale).share(blocks)
    levels = np.where(np.isnan(shares), 0, 1 + np.round(np.nan_to_num(shares) * 254)).astype(np.uint8)
    return _png(levels, scale.ramp)


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


def _png(levels: np.ndarray, ramp: tuple[str, ...] = VIRIDIS) -> bytes:
    from PIL import Image

    image = Image.fromarray(levels, mode="P")
    image.putpalette([0, 0, 0, *viridis(np.linspace(0, 1, 255), ramp).ravel().tolist()])
    written = io.BytesIO()
    image.save(written, "PNG", transparency=0)
    return written.getvalue()
