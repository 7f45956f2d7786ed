"""The atlas redrawn: colours, marked points and orders of heads, with numbers worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.projection.problem import Layout
from analysis.projection.thumbnails import N_LEVELS, cell, palette, pixel_indices
from app.charts.atlas_sprite import (
    NOWHERE,
    RAMP_TONES,
    coloured_cells,
    coloured_palette,
    marked_cells,
    marked_palette,
    sprite_png,
    tones,
)
from app.charts.card_points import MOST_TOKENS, card_points
from app.charts.colouring import by_column, by_kind
from app.charts.head_order import arrange
from app.palette import KEY, OKABE_ITO, QUERY, QUIET

PX = 16


def one_head(*pixels: int) -> np.ndarray:
    """Pixels of a head: queries, then keys."""
    return np.array([pixels], dtype=np.uint16)


def colour_at(cells: np.ndarray, colouring, pixel: int) -> tuple[int, ...]:
    colours, opacities = coloured_palette(colouring)
    entry = int(cells.reshape(-1)[pixel])
    return (*colours[3 * entry : 3 * entry + 3], opacities[entry])


def test_by_kind_is_the_stored_picture():
    rng = np.random.default_rng(0)
    layout = Layout(rng.normal(0, 3, (500, 2)).astype(np.float32), rng.normal(2, 1, (500, 2)).astype(np.float32))
    pixels = pixel_indices(np.vstack([layout.queries, layout.keys]), 80)[None].astype(np.uint16)
    np.testing.assert_array_equal(coloured_cells(pixels, by_kind(500), 80)[0], cell(layout, 80))
    assert coloured_palette(by_kind(500)) == palette()


def test_a_pixel_shows_the_mean_of_a_ramp_and_grey_without_a_value():
    values = pd.Series([0.0, 1.0, np.nan, 0.0, 1.0])
    colouring = by_column(values, "sequential", "x")
    cells = coloured_cells(one_head(5, 5, 9, 11, 12, 100, 100, 100, 100, 100), colouring, PX)
    ramp = tones(colouring)[0]
    assert len(ramp) == RAMP_TONES + 1
    middle = round((RAMP_TONES - 1) / 2)
    assert colour_at(cells, colouring, 5)[:3] == tuple(bytes.fromhex(ramp[middle][1:]))
    assert colour_at(cells, colouring, 9)[:3] == tuple(bytes.fromhex(QUIET[1:]))
    assert colour_at(cells, colouring, 11)[:3] == (0x44, 0x01, 0x54)
    assert colour_at(cells, colouring, 12)[:3] == (0xFD, 0xE7, 0x25)
    assert colour_at(cells, colouring, 6)[3] == 0
    assert colour_at(cells, colouring, 100)[3] > colour_at(cells, colouring, 9)[3]


def test_a_cycle_is_averaged_along_the_circle():
    """350 and 10 degrees meet at 0, not at 180."""
    colouring = by_column(pd.Series([350.0, 10.0, 180.0]), "cyclic", "hue", "degrees")
    cells = coloured_cells(one_head(5, 5, 9, 200, 201, 202), colouring, PX)
    tone = (int(cells.reshape(-1)[5]) - 1) // (N_LEVELS - 1)
    assert tone in (0, RAMP_TONES - 1)


def test_the_commonest_class_of_a_pixel_wins():
    colouring = by_column(pd.Series(["a", "a", "a", "b", "b"]), "categorical", "x")
    cells = coloured_cells(one_head(5, 7, 8, 5, 5, 100, 101, 102, 103, 104), colouring, PX)
    assert colour_at(cells, colouring, 5)[:3] == tuple(bytes.fromhex(OKABE_ITO[1][1:]))
    assert colour_at(cells, colouring, 7)[:3] == tuple(bytes.fromhex(OKABE_ITO[0][1:]))


def test_marked_points_alone_stand_in_their_own_pixels():
    middle = 8 * PX + 8
    pixels = np.concatenate([one_head(middle, 3, 4, 40, 41, 42), one_head(NOWHERE, 3, 4, middle, 41, 42)])
    cells = marked_cells(pixels, np.array([True, False, False]), PX)
    assert cells[0, 8, 8] == 1
    assert cells[0, 7, 8] == cells[0, 9, 8] == cells[0, 8, 7] == cells[0, 8, 9] == 1
    assert cells[0].reshape(-1)[40] == 2
    assert cells[0].reshape(-1)[3] == 0
    assert cells[1, 8, 8] == 2
    assert (cells[1] == 1).sum() == 0
    many = np.ones(3000, dtype=bool)
    everywhere = marked_cells(np.full((1, 6000), middle, dtype=np.uint16), many, PX)
    assert everywhere[0, 8, 8] == 3
    assert (everywhere > 0).sum() == 1


def test_sprite_keeps_cells_in_rows_and_columns():
    rows = [np.full((2, 4, 4), 1, np.uint8), np.full((1, 4, 4), 2, np.uint8)]
    for compression in (1, 6):
        png = sprite_png(rows, *marked_palette(), compression)
        seen = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))
        assert seen.shape == (8, 8, 4)
        assert tuple(seen[0, 7]) == (*bytes.fromhex(QUERY[1:]), 255)
        assert tuple(seen[4, 0]) == (*bytes.fromhex(KEY[1:]), 255)
        assert seen[4, 7, 3] == 0


LAYERS, HEADS = [0, 0, 1, 1, 2, 2], [0, 1, 0, 1, 0, 1]
SCORES = [0.1, 0.3, 0.9, 0.8, np.nan, 0.5]


@pytest.mark.parametrize(
    ("order", "labels", "heads"),
    [
        ("layer", ["L0", "L1", "L2"], [(0, 1), (2, 3), (4, 5)]),
        ("layers", ["L1", "L2", "L0"], [(2, 3), (4, 5), (0, 1)]),
        ("heads", ["L0", "L1", "L2"], [(1, 0), (2, 3), (5, 4)]),
        ("both", ["L1", "L2", "L0"], [(2, 3), (5, 4), (1, 0)]),
        ("rank", ["1", "3", "5"], [(2, 3), (5, 1), (0, 4)]),
    ],
)
def test_heads_are_arranged_highest_first_with_their_labels(order, labels, heads):
    rows = arrange(LAYERS, HEADS, SCORES, order)
    assert [row.label for row in rows] == labels
    assert [row.heads for row in rows] == heads


def test_the_hint_of_a_layer_says_its_mean():
    assert arrange(LAYERS, HEADS, SCORES, "layers")[0].hint == "layer 1, mean 0.85"
    assert arrange(LAYERS, HEADS, SCORES, "layer")[0].hint == "layer 0"


def test_card_draws_marked_points_last_and_rings_the_picked_token():
    queries, keys = np.array([[0.0, 0], [1, 1], [2, 2]]), np.array([[0.0, 2], [2, 0], [1, 0]])
    points = card_points(queries, keys, by_kind(3), np.array([False, True, False]), picked=2)
    assert [points.colours[tone] for tone in points.tones[-2:]] == [QUERY, KEY]
    assert all(points.colours[tone] == QUIET for tone in points.tones[:-2])
    assert [kind for kind, *_ in points.picked] == [1, 0]
    assert points.picked[1][1:] == (255, 0)  # the query at 2, 2: right and up
    plain = card_points(queries, keys, by_kind(3))
    assert plain.faint == -1
    assert [plain.colours[tone] for tone in plain.tones] == [QUERY] * 3 + [KEY] * 3


def test_card_thins_out_but_keeps_what_is_marked():
    n = 3 * MOST_TOKENS
    places = np.random.default_rng(0).normal(size=(n, 2))
    marked = np.zeros(n, dtype=bool)
    marked[[1, 4]] = True
    points = card_points(places, places, by_kind(n), marked)
    assert len(points.tones) == 2 * (MOST_TOKENS + 2)
    assert (points.tones > points.faint).sum() == 4
