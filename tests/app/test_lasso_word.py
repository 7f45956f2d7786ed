"""A lasso as a word of the link: what is written is read again, short, and nonsense is one sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest

from analysis.errors import InputError
from app.charts.lasso import points_inside
from app.charts.lasso_word import GRID, LONGEST_WORD, MOST_CORNERS, Lasso, drawn_lasso, read_lasso, write_lasso

PLACE = ("text.dec.self.1", 2, "atlas-2d")
TURN = [0.8, 0.24, -0.55, 0.0, 0.92, 0.39, 0.6, -0.31, 0.74]


def blob(n_corners: int, seed: int = 0) -> np.ndarray:
    """A wobbling line round the origin, as drawn by hand."""
    angles = np.linspace(0, 2 * np.pi, n_corners, endpoint=False)
    reach = 3 + np.sin(3 * angles + seed) + 0.4 * np.cos(7 * angles)
    return np.column_stack([reach * np.cos(angles) - 40, reach * np.sin(angles) + 1000])


def test_a_square_is_written_as_its_four_corners():
    """By hand: corners 0 and 4095 are AA and __."""
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [0.0, 1.0]])
    word = write_lasso(Lasso(*PLACE, square))
    assert word == "text.dec.self.1.2~atlas-2d~0_0_2_1~AAAA__AA____AA__"
    read = read_lasso(word)
    assert (read.site, read.head, read.map, read.turn, read.kinds) == (*PLACE, None, None)
    np.testing.assert_array_equal(read.polygon, square)


@pytest.mark.parametrize("n_corners", [5, 80, 240])
def test_what_is_read_holds_the_points_that_were_drawn_round(n_corners):
    drawn, points = blob(n_corners), np.random.default_rng(0).normal([-40, 1000], 3, (4000, 2))
    word = write_lasso(Lasso(*PLACE, drawn))
    read = read_lasso(word)
    assert len(word) <= LONGEST_WORD
    assert len(read.polygon) <= min(n_corners, MOST_CORNERS)
    assert re.fullmatch(r"[\w.~-]+", word), "nothing that an address writes otherwise"
    wrong = points_inside(points, read.polygon) != points_inside(points, drawn)
    assert wrong.mean() <= 0.002
    assert write_lasso(read).count("~") == word.count("~")


def test_corners_are_kept_within_a_step_of_the_grid():
    drawn = blob(40)
    read = read_lasso(write_lasso(Lasso(*PLACE, drawn))).polygon
    nearest = np.linalg.norm(read[:, None] - drawn[None], axis=-1).min(axis=1)
    assert nearest.max() <= np.ptp(drawn, axis=0).max() / (GRID - 1)


def test_a_turned_map_is_cut_as_it_was_seen_wherever_its_middle_lies():
    angles = (0.7, -0.3)
    turn, middle = Lasso(*PLACE, blob(9), angles).rotation, [4.0, -2.0, 9.0]
    points = np.random.default_rng(1).normal(middle, 2, (500, 3))
    drawn = blob(30) - [-40, 1000]
    before = points_inside(points, drawn, turn, middle)
    read = read_lasso(write_lasso(drawn_lasso(*PLACE, drawn, turn, middle)))
    np.testing.assert_allclose(read.turn, angles, atol=1e-5)
    np.testing.assert_allclose(read.rotation, turn, atol=1e-5)
    assert before.sum() > 50
    assert (points_inside(points, read.polygon, read.rotation) != before).mean() <= 0.01


def test_a_flat_lasso_is_told_about_the_maps_own_origin():
    drawn = drawn_lasso(*PLACE, [[0, 0], [1, 0], [0, 1]], None, [5.0, -1.0, 0.0])
    np.testing.assert_array_equal(drawn.polygon, [[5, -1], [6, -1], [5, 0]])


def test_filters_come_back_even_of_a_column_with_odd_letters():
    filters = {"kinds": "key", "hide": "a:b~c:0,-1", "range": "a:b~c:0.5~1e-3"}
    read = read_lasso(write_lasso(drawn_lasso(*PLACE, blob(5), **filters)))
    assert {name: getattr(read, name) for name in filters} == filters
    assert read.colour == "a:b~c"


SQUARE = "text.dec.self.1.2~atlas-2d~0_0_2_1~AAAA__AA____AA__"


@pytest.mark.parametrize(
    "word",
    ["x", SQUARE[:-1], SQUARE.replace("~0_0", "~0_nan"), SQUARE.replace(".2~", ".two~"), SQUARE[:-8],
     SQUARE.replace("_1~", "~"), SQUARE.replace("AAAA", "A?AA"), SQUARE + "AAAA" * 400, SQUARE + "~1"],
)  # fmt: skip
def test_a_word_that_was_cut_or_changed_is_one_sentence(word):
    with pytest.raises(InputError, match=r"lasso cannot be read.*draw it again"):
        read_lasso(word)
