"""All patches of a run's images on one sheet, so that points can be drawn as what they are."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float32

TILE_PIXELS = 16
"""Side of a patch on the sheet: a block of JPEG with halved colours, so that no patch bleeds into the next."""

MOST_TILES = 16_384
"""Patches on a sheet at most (2048 pixels square); of more images an even choice is shown, the rest stay points."""


def patch_sheet(
    tokens: pd.DataFrame, read_image: Callable[[int], bytes], most: int = MOST_TILES
) -> tuple[bytes, Float32[np.ndarray, " token"], int]:
    """Cut every image into its patches and lay them on one square sheet.

    Args:
        tokens: The token table with ``input_id``, ``row`` and ``column``; other tokens have no row.
        read_image: PNG bytes of an input.
        most: Tiles at most; whole images are left out, evenly over the run, until the rest fits.

    Returns:
        The sheet as JPEG, the tile of each token (-1 without one), and how many tiles lie in a row of the sheet.
    """
    from PIL import Image

    rows, columns = (tokens[name].fillna(-1).to_numpy(dtype=int) for name in ("row", "column"))
    ids = tokens["input_id"].to_numpy()
    grids = tokens["sequence"].astype(str).to_numpy() if "sequence" in tokens else np.full(len(tokens), "")
    is_patch = rows >= 0
    known = np.unique(ids[is_patch])
    per_image = max(int(is_patch.sum()) / max(len(known), 1), 1)
    n_shown = max(min(len(known), int(most / per_image)), 1)
    shown = known[np.linspace(0, len(known) - 1, n_shown).astype(int)] if len(known) else known
    chosen = np.flatnonzero(is_patch & np.isin(ids, shown))[:most]
    tiles = np.full(len(tokens), -1, dtype=np.float32)
    tiles[chosen] = np.arange(len(chosen))
    across = max(int(np.ceil(np.sqrt(len(chosen)))), 1)
    sheet = Image.new("RGB", (across * TILE_PIXELS, across * TILE_PIXELS))
    for input_id in shown:
        mine = chosen[ids[chosen] == input_id]
        picture = Image.open(io.BytesIO(read_image(int(input_id)))).convert("RGB")
        sizes, last = {}, None
        for token in mine:
            if grids[token] not in sizes:
                whole = is_patch & (ids == input_id) & (grids == grids[token])
                sizes[grids[token]] = tuple((int(at[whole].max()) + 1) * TILE_PIXELS for at in (columns, rows))
            if grids[token] != last:
                last = grids[token]
                image = picture.resize(sizes[last], Image.Resampling.BICUBIC)
            left, top = columns[token] * TILE_PIXELS, rows[token] * TILE_PIXELS
            tile = image.crop((left, top, left + TILE_PIXELS, top + TILE_PIXELS))
            place = int(tiles[token])
            sheet.paste(tile, (place % across * TILE_PIXELS, place // across * TILE_PIXELS))
    written = io.BytesIO()
    sheet.save(written, "JPEG", quality=88)
    return written.getvalue(), tiles, across
