"""The thumbnails of all heads drawn anew: in the colours of a token column, and the marked points alone.

Every point keeps the pixel that the stored thumbnails give it (`analysis.projection.thumbnails`), so that the picture
does not move when its colours change.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Bool, UInt8, UInt16

from analysis.projection.thumbnails import KEY_COLOUR, N_LEVELS, QUERY_COLOUR, density_levels, palette
from app.charts.colouring import Colouring
from app.palette import QUIET

RAMP_TONES = 24
"""Steps of a ramp. With `N_LEVELS` - 1 densities each, and grey, at most 51 fit into a palette of 256; fewer steps
make smaller pictures, and in a thumbnail nobody tells 24 from 48."""

CELL_PX = 80
"""Width of a thumbnail where the run has none of its own."""

NOWHERE = 65535
"""The pixel of a point that a head has not."""

DOT_SHARE = 0.02
"""Marked points that cover less than this share of a cell are drawn as dots of five pixels, others as single ones."""

Pixels = UInt16[np.ndarray, "head point"]
"""Pixel of every point in its head's cell: all queries, then all keys, in token-table order."""


def tones(colouring: Colouring) -> tuple[list[str], UInt8[np.ndarray, " point"]]:
    """Colours, the last one for points without a value, and the colour number of every query, then every key."""
    values = np.concatenate([colouring.queries, colouring.keys]).astype(float)
    finite = np.isfinite(values)
    if colouring.kind in ("kind", "categorical"):
        colours = [*colouring.stops, QUIET]
        codes = np.where(finite, values, len(colours) - 1)
    else:
        colours = [*_between(colouring.stops, RAMP_TONES), QUIET]
        share = (values - colouring.low) / max(colouring.high - colouring.low, 1e-12)
        codes = np.where(finite, np.clip(np.nan_to_num(share) * RAMP_TONES, 0, RAMP_TONES - 1), RAMP_TONES)
    return colours, codes.astype(np.uint8)


def coloured_cells(pixels: Pixels, colouring: Colouring, cell_px: int) -> UInt8[np.ndarray, "head row column"]:
    """All heads of a site as entries of `coloured_palette`.

    Where several points share a pixel it shows their mean on a ramp (along the circle on a cyclic one), the
    commonest class among classes, and both kinds mixed; more points make it less transparent.
    """
    where, n_bins = _bins(pixels, cell_px)
    _, codes = tones(colouring)
    codes = np.broadcast_to(codes, pixels.shape).ravel()[where >= 0]
    where = where[where >= 0]
    if colouring.kind == "kind":
        kinds = [density_levels(np.bincount(where[codes == kind], minlength=n_bins)) for kind in (0, 1)]
        entries = kinds[0] * N_LEVELS + kinds[1]
    else:
        merge = _commonest if colouring.classes else partial(_mean_tone, is_cyclic=colouring.kind == "cyclic")
        tone, level = merge(where, codes, n_bins), density_levels(np.bincount(where, minlength=n_bins))
        entries = np.where(level > 0, 1 + tone * (N_LEVELS - 1) + level - 1, 0)
    return entries.astype(np.uint8).reshape(len(pixels), cell_px, cell_px)


def coloured_palette(colouring: Colouring) -> tuple[list[int], bytes]:
    """Red, green, blue of all entries in a row, and their opacities; entry 0 is fully transparent."""
    if colouring.kind == "kind":
        return palette()
    colours, opacities = [0, 0, 0], [0]
    for tone in tones(colouring)[0]:
        for level in range(1, N_LEVELS):
            colours += _rgb(tone)
            opacities.append(round(255 * (0.45 + 0.55 * (level - 1) / (N_LEVELS - 2))))
    return colours, bytes(opacities)


def marked_cells(
    pixels: Pixels, marked: Bool[np.ndarray, " token"], cell_px: int
) -> UInt8[np.ndarray, "head row column"]:
    """Only the marked points: 0 nothing, 1 a query, 2 a key, 3 both. Few points are drawn larger."""
    n_tokens = len(marked)
    rows = np.flatnonzero(marked)
    cells = np.zeros((len(pixels), cell_px * cell_px), dtype=np.uint8)
    heads = np.arange(len(pixels))[:, None]
    for bit, places in ((1, pixels[:, rows]), (2, pixels[:, n_tokens + rows])):
        layer = np.zeros_like(cells)
        known = places != NOWHERE
        layer[np.broadcast_to(heads, places.shape)[known], places[known]] = bit
        cells |= layer
    cells = cells.reshape(len(pixels), cell_px, cell_px)
    return _as_dots(cells) if len(rows) < DOT_SHARE * cell_px * cell_px else cells


def marked_palette() -> tuple[list[int], bytes]:
    """Colours and opacities of `marked_cells`."""
    both = [(q + k) // 2 for q, k in zip(QUERY_COLOUR, KEY_COLOUR)]
    return [0, 0, 0, *QUERY_COLOUR, *KEY_COLOUR, *both], bytes([0, 255, 255, 255])


def sprite_png(
    rows: Sequence[UInt8[np.ndarray, "head row column"]], colours: Sequence[int], opacities: bytes, compression: int = 6
) -> bytes:
    """Cells as one palette PNG: a row of cells a site, missing heads stay empty.

    Args:
        rows: Sites from top to bottom.
        colours, opacities: Of the palette; four entries or fewer are packed into two bits.
        compression: Level of zlib: 1 is fast, 9 small.
    """
    from PIL import Image

    cell_px = rows[0].shape[1]
    canvas = np.zeros((len(rows) * cell_px, max(map(len, rows)) * cell_px), dtype=np.uint8)
    for place, heads in enumerate(rows):
        line = heads.transpose(1, 0, 2).reshape(cell_px, -1)
        canvas[place * cell_px : (place + 1) * cell_px, : line.shape[1]] = line
    image = Image.fromarray(canvas)
    image.putpalette(list(colours))
    buffer = io.BytesIO()
    bits = {"bits": 2} if len(opacities) <= 4 else {}
    image.save(buffer, "PNG", transparency=opacities, compress_level=compression, **bits)
    return buffer.getvalue()


def _bins(pixels: Pixels, cell_px: int) -> tuple[np.ndarray, int]:
    size = cell_px * cell_px
    where = pixels.astype(np.int64) + size * np.arange(len(pixels))[:, None]
    where[pixels == NOWHERE] = -1
    return where.ravel(), size * len(pixels)


def _mean_tone(where: np.ndarray, codes: np.ndarray, n_bins: int, is_cyclic: bool) -> np.ndarray:
    has_value = codes < RAMP_TONES
    where, codes = where[has_value], codes[has_value]
    counts = np.bincount(where, minlength=n_bins)
    if is_cyclic:
        turn = np.exp(2j * np.pi * (np.arange(RAMP_TONES) + 0.5) / RAMP_TONES)[codes]
        real, imaginary = (np.bincount(where, part, n_bins) for part in (turn.real, turn.imag))
        share = np.mod(np.arctan2(imaginary, real) / (2 * np.pi), 1)
        mean = np.minimum((share * RAMP_TONES).astype(int), RAMP_TONES - 1)
    else:
        mean = np.rint(np.bincount(where, codes, n_bins) / np.maximum(counts, 1)).astype(int)
    return np.where(counts > 0, mean, RAMP_TONES)


def _commonest(where: np.ndarray, codes: np.ndarray, n_bins: int) -> np.ndarray:
    best, most = np.zeros(n_bins, dtype=int), np.zeros(n_bins, dtype=int)
    for code in np.unique(codes):
        counts = np.bincount(where[codes == code], minlength=n_bins)
        best[counts > most] = code
        most = np.maximum(most, counts)
    return best


def _as_dots(cells: UInt8[np.ndarray, "head row column"]) -> UInt8[np.ndarray, "head row column"]:
    dots = cells.copy()
    dots[:, 1:] |= cells[:, :-1]
    dots[:, :-1] |= cells[:, 1:]
    dots[:, :, 1:] |= cells[:, :, :-1]
    dots[:, :, :-1] |= cells[:, :, 1:]
    return dots


def _between(stops: Sequence[str], n_tones: int) -> list[str]:
    """A ramp of `n_tones` colours through the stops."""
    known = np.array([_rgb(stop) for stop in stops], dtype=float)
    at = np.linspace(0, len(stops) - 1, n_tones)
    mixed = np.stack([np.interp(at, np.arange(len(stops)), known[:, channel]) for channel in range(3)], axis=1)
    return ["#" + "".join(f"{round(part):02X}" for part in colour) for colour in mixed]


def _rgb(colour: str) -> list[int]:
    return [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
