"""The thumbnails of all heads between reruns: in any colours, with any points marked."""

from __future__ import annotations

import struct

import numpy as np
import streamlit as st

from analysis.errors import UnknownName
from analysis.store.run import runs_dir
from app import cache
from app.charts.atlas_sprite import (
    CELL_PX,
    NOWHERE,
    coloured_cells,
    coloured_palette,
    marked_cells,
    marked_palette,
    sprite_png,
)
from app.charts.colouring import Colouring, colouring_of
from app.state import KIND_COLOUR


def colouring(run_id: str, colour: str) -> Colouring:
    """The colours that the left column asks for: the same in every head."""
    return colouring_of(cache.tokens(run_id), cache.run(run_id).token_columns(), colour)


def thumbnails(run_id: str, map_name: str, stack: str, colour: str) -> tuple[bytes, int]:
    """The thumbnails of a stack in these colours as one PNG, and the width of one in pixels."""
    return _thumbnails(run_id, str(runs_dir()), cache.stamp(run_id), map_name, stack, colour)


def marked(run_id: str, map_name: str, stack: str, tokens: np.ndarray) -> bytes:
    """Only the points of these tokens, in the places they have in `thumbnails`, as a PNG.

    Args:
        tokens: [token] true where marked.
    """
    rows = stack_pixels(run_id, map_name, stack)
    px = cell_px(run_id, map_name, stack)
    return sprite_png([marked_cells(row, tokens, px) for row in rows], *marked_palette(), compression=1)


def picked(run_id: str, map_name: str, stack: str, row: int) -> np.ndarray:
    """Pixels of one token's query and key in every head, uint16 ``[layer * head * 2]``; `NOWHERE` where there is none.

    Args:
        row: Of the token table.
    """
    rows = stack_pixels(run_id, map_name, stack)
    n_heads, n_tokens = max(map(len, rows)), len(cache.tokens(run_id))
    places = np.full((len(rows), n_heads, 2), NOWHERE, dtype=np.uint16)
    for place, pixels in enumerate(rows):
        places[place, : len(pixels)] = pixels[:, [row, n_tokens + row]]
    return places.ravel()


def stack_pixels(run_id: str, map_name: str, stack: str) -> list[np.ndarray]:
    """The pixels of every site of a stack, by depth: uint16 ``[head, point]``, not to be written to."""
    sites = sorted((site for site in cache.facts(run_id).sites if site.stack_label == stack), key=lambda s: s.depth)
    px = cell_px(run_id, map_name, stack)
    folder, stamp = str(runs_dir()), cache.stamp(run_id)
    return [_pixels(run_id, folder, stamp, map_name, site.label, px) for site in sites]


def cell_px(run_id: str, map_name: str, stack: str) -> int:
    """Width of a thumbnail: that of the run's own sprite, whose header says how wide it is."""
    png = cache.sprite(run_id, map_name, stack)
    n_heads = max(site.n_heads for site in cache.facts(run_id).sites if site.stack_label == stack)
    # PNG specification, section 11.2.2: the width comes first in IHDR.
    return struct.unpack(">I", png[16:20])[0] // n_heads if png else CELL_PX


@st.cache_resource(max_entries=128, show_spinner=False)
def _pixels(run_id: str, folder: str, stamp: str, map_name: str, site: str, px: int) -> np.ndarray:
    from analysis.projection.thumbnails import pixel_indices

    run = cache.run(run_id)
    n_points = 2 * len(cache.tokens(run_id))
    try:
        places = run.places(map_name, site)
    except UnknownName:  # The map leaves this site out, as maps of older runs may.
        pixels = np.full((run.site(site).n_heads, n_points), NOWHERE, dtype=np.uint16)
    else:
        flat = places.reshape(len(places), n_points, -1)
        there = np.isfinite(flat[0, :, 0])  # a token of another sequence has no such point, in no head of the site
        pixels = np.full((len(flat), n_points), NOWHERE, dtype=np.uint16)
        pixels[:, there] = np.stack([pixel_indices(head[there], px) for head in flat])
    pixels.flags.writeable = False
    return pixels


@st.cache_data(max_entries=24, show_spinner=False)
def _thumbnails(run_id: str, folder: str, stamp: str, map_name: str, stack: str, colour: str) -> tuple[bytes, int]:
    px, stored = cell_px(run_id, map_name, stack), cache.sprite(run_id, map_name, stack)
    if colour == KIND_COLOUR and stored:
        return stored, px
    rows, colours = stack_pixels(run_id, map_name, stack), colouring(run_id, colour)
    if all((row == NOWHERE).all() for row in rows):
        return b"", px
    return sprite_png([coloured_cells(row, colours, px) for row in rows], *coloured_palette(colours)), px
