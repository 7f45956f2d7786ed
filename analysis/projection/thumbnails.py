"""All maps of one stack in one small picture, for the matrix of heads."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int, UInt8

from analysis.projection.problem import Layout

QUERY_COLOUR, KEY_COLOUR = (0x00, 0x9E, 0x73), (0xCC, 0x33, 0x99)
"""The colours of the two kinds everywhere in the project (Okabe and Ito's green, and a magenta)."""

N_LEVELS = 6
"""Steps of density per kind, the empty one counted: the palette has `N_LEVELS` ** 2 entries."""

MARGIN_PX = 3
"""Empty border of a cell on each side."""


def sprite(layouts: Mapping[tuple[int, int], Layout], cell_px: int = 80) -> bytes:
    """Draw every head's map in its cell of one palette PNG.

    Row r is the r-th depth and column h is head h, each cell `cell_px` wide and high; heads that are missing stay
    empty. Both axes of a cell have one scale, chosen so that 99.5 % of the points are inside; the others lie on the
    border. The ground is transparent, queries and keys have their own ramps of density, and where both fall on a
    pixel their colours are mixed, so the picture reads on light and dark pages. 3-D maps show their first two axes.

    Args:
        layouts: ``(depth, head)`` to layout.
        cell_px: Width of a cell in pixels.

    Returns:
        A PNG with 8-bit palette.
    """
    from PIL import Image

    depths = sorted({depth for depth, _ in layouts})
    n_columns = max(head for _, head in layouts) + 1 if layouts else 1
    canvas = np.zeros((max(len(depths), 1) * cell_px, n_columns * cell_px), dtype=np.uint8)
    for (depth, head), layout in layouts.items():
        top, left = depths.index(depth) * cell_px, head * cell_px
        canvas[top : top + cell_px, left : left + cell_px] = cell(layout, cell_px)
    image = Image.fromarray(canvas, mode=None)
    colours, opacities = palette()
    image = image.convert("P") if image.mode != "P" else image
    image.putdata(canvas.ravel())
    image.putpalette(colours)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=opacities, optimize=True)
    return buffer.getvalue()


def cell(layout: Layout, cell_px: int) -> UInt8[np.ndarray, "row column"]:
    """One map as palette entries: ``query level * N_LEVELS + key level``."""
    flat_index = pixel_indices(np.vstack([layout.queries[:, :2], layout.keys[:, :2]]), cell_px)
    n_queries = len(layout.queries)
    levels = [
        density_levels(np.bincount(part, minlength=cell_px * cell_px))
        for part in (flat_index[:n_queries], flat_index[n_queries:])
    ]
    return (levels[0] * N_LEVELS + levels[1]).reshape(cell_px, cell_px).astype(np.uint8)


def pixel_indices(points: Float[np.ndarray, "point axis"], cell_px: int) -> Int[np.ndarray, " point"]:
    """Where each point of one head falls in its cell, as ``row * cell_px + column``, row 0 at the top.

    Args:
        points: All queries and keys of the head together, or the two axes have no common scale; further axes than
            two are left out.
        cell_px: Width of the cell in pixels.
    """
    flat = points[:, :2].astype(np.float64)
    inside = cell_px - 2 * MARGIN_PX
    low, high = np.quantile(flat, [0.0025, 0.9975], axis=0)
    span = max(float((high - low).max()), 1e-9)
    unit = np.clip((flat - (low + high) / 2) / span + 0.5, 0, 1)
    pixels = np.minimum((unit * inside).astype(int), inside - 1) + MARGIN_PX
    return (cell_px - 1 - pixels[:, 1]) * cell_px + pixels[:, 0]


def density_levels(counts: np.ndarray) -> np.ndarray:
    """Counts per pixel as levels: 0 empty, 1 a single point, doubling from there."""
    return np.minimum(np.ceil(np.log2(counts + 1)), N_LEVELS - 1).astype(int)


def palette() -> tuple[list[int], bytes]:
    """Colours (red, green, blue in a row) and opacities of all entries; entry 0 is fully transparent."""
    colours, opacities = [], []
    for query_level in range(N_LEVELS):
        for key_level in range(N_LEVELS):
            share = query_level / max(query_level + key_level, 1)
            colours += [round(share * q + (1 - share) * k) for q, k in zip(QUERY_COLOUR, KEY_COLOUR)]
            level = max(query_level, key_level)
            opacities.append(round(255 * (0.45 + 0.55 * (level - 1) / (N_LEVELS - 2))) if level else 0)
    return colours, bytes(opacities)
