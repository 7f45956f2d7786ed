"""What the Head page computes: lasso, lines, ties, filters, patches, figures; with numbers worked out by hand."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from app.charts.attended import strongest_ties
from app.charts.colouring import by_column, by_cycle, by_kind, kept_points
from app.charts.fidelity import FIGURES, fidelity_rows, fidelity_short
from app.charts.lasso import compare_numbers, mean_attention, over_represented, points_inside
from app.charts.neighbours import MOST_LINES, further_links, strongest
from app.charts.patches import TILE_PIXELS, patch_sheet
from app.glossary import meaning
from app.palette import TWILIGHT
from app.state import RunFacts, Selection, cycle_of, resolve

SQUARE = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])


def test_a_polygon_holds_what_lies_inside_it():
    places = np.array([[1.0, 1.0], [3.0, 1.0], [-1.0, 1.0], [1.0, 2.5], [0.1, 1.9]])
    assert points_inside(places, SQUARE).tolist() == [True, False, False, False, True]
    notched = np.array([[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [2.0, 1.0], [0.0, 4.0]])
    assert points_inside(np.array([[2.0, 3.0], [2.0, 0.5], [0.5, 2.0]]), notched).tolist() == [False, True, True]
    assert not points_inside(places, SQUARE[:2]).any()
    assert points_inside(places, SQUARE, middle=[2.0, 0.0]).tolist() == [False, True, False, False, False]


def test_a_polygon_agrees_with_the_angle_its_border_sweeps():
    rng = np.random.default_rng(0)
    polygon = rng.normal(0, 1, (9, 2))
    places = rng.normal(0, 1, (500, 2))
    towards = polygon[None] - places[:, None]
    angles = np.arctan2(towards[..., 1], towards[..., 0])
    turns = np.diff(angles, axis=1, append=angles[:, :1])
    winding = np.round(((turns + np.pi) % (2 * np.pi) - np.pi).sum(axis=1) / (2 * np.pi)).astype(int)
    np.testing.assert_array_equal(points_inside(places, polygon), winding % 2 == 1)


def test_a_turned_map_is_cut_as_it_is_seen():
    """A quarter turn about the vertical: what is seen to the right is what lies towards negative depth."""
    turn = [0, 0, -1, 0, 1, 0, 1, 0, 0]  # column by column: x is seen from z
    places = np.array([[9.0, 1.0, 1.0], [1.0, 1.0, 9.0]])
    assert points_inside(places, SQUARE, turn, [0, 0, 0]).tolist() == [True, False]
    assert points_inside(places, SQUARE).tolist() == [False, True]


def test_over_represented_values_lead_by_evidence_not_by_ratio():
    values = pd.Series(["a"] * 40 + ["b"] * 40 + ["rare"])
    inside = np.array([2] * 30 + [0] * 10 + [0] * 30 + [1] * 10 + [1])
    told = over_represented(values, inside)
    assert [each["value"] for each in told] == ["a"]
    assert (told[0]["inside"], told[0]["outside"]) == (60, 20)
    assert told[0]["share_inside"] == pytest.approx(60 / 71)
    assert told[0]["share_outside"] == pytest.approx(20 / 91)
    prior = 20 * 80 / 162  # as if 20 points with the mix of all had been seen on either side
    odds = [(60 + prior) / (71 + 20 - 60 - prior), (20 + prior) / (91 + 20 - 20 - prior)]
    assert told[0]["z"] == pytest.approx(np.log(odds[0] / odds[1]) / np.sqrt(1 / (60 + prior) + 1 / (20 + prior)))
    assert over_represented(values, np.zeros(81, dtype=int)) == []
    assert over_represented(values, np.full(81, 1)) == []  # the same mix on both sides


def test_numbers_that_differ_are_told_in_standard_deviations():
    tokens = pd.DataFrame({"position": [0.0, 0.0, 10.0, 10.0], "same": [1.0, 2.0, 1.0, 2.0], "word": list("abcd")})
    (told,) = compare_numbers(tokens, ["position", "same", "word"], np.array([2, 2, 0, 0]))
    assert told == {"column": "position", "inside": 0.0, "outside": 10.0, "difference": -2.0}


def test_mean_attention_counts_allowed_pairs_of_one_input():
    attention = np.array([[1.0, 9.0], [0.4, 0.6]])  # what is not allowed must not count
    causal = np.tril(np.ones((2, 2), dtype=bool))
    inputs = [(slice(0, 2), attention, causal), (slice(2, 4), attention, causal)]
    everything = np.ones(4, dtype=bool)
    told = mean_attention(inputs, everything, everything, pd.Series(["a", "b", "a", "b"]))
    assert told["n_pairs"] == 6
    assert told["mean"] == pytest.approx(4 / 6)
    assert (told["rows"], told["columns"]) == (["a", "b"], ["a", "b"])
    assert told["means"] == [[1.0, None], [pytest.approx(0.4), pytest.approx(0.6)]]
    assert told["pairs"] == [[2, 0], [2, 2]]
    apart = mean_attention(inputs, np.array([1, 1, 0, 0], bool), np.array([0, 0, 1, 1], bool), pd.Series(list("abab")))
    assert (apart["mean"], apart["n_pairs"]) == (None, 0)
    assert apart["elsewhere"] == pytest.approx(2 / 3)


def test_lines_are_so_many_or_the_fewest_that_hold_a_share():
    weights = np.array([0.1, 0.5, 0.0, 0.25, 0.15])
    assert strongest(weights, "top3").tolist() == [1, 3, 4]
    assert strongest(weights, "mass50").tolist() == [1]
    assert strongest(weights, "mass90").tolist() == [1, 3, 4]
    assert strongest(weights, "top12").tolist() == [1, 3, 4, 0]  # nothing for a weight of 0
    assert strongest(weights, "none").tolist() == [1, 3, 4, 0]
    assert strongest(np.zeros(3), "mass90").tolist() == []
    assert len(strongest(np.full(1000, 1e-3), "mass90")) == MOST_LINES


def test_a_further_key_is_joined_to_the_queries_that_look_at_it():
    attention = np.array([[1.0, 0.0], [0.25, 0.75]])
    mine = np.array([3, 4])
    assert further_links(attention, mine, 5, 0, "key", "top12") == {
        "start": 8, "rows": [{"point": 3, "weight": 1.0}, {"point": 4, "weight": 0.25}]
    }  # fmt: skip
    assert further_links(attention, mine, 5, 1, "query", "top3")["rows"][0] == {"point": 9, "weight": 0.75}


def test_strongest_ties_of_every_point():
    attention = np.array([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    found = strongest_ties([(attention, np.tril(np.ones((3, 3), bool)))] * 2)
    assert found["key_at"].dtype == np.uint16
    assert found["key_at"][3:9].tolist() == [0, 1, 2, 2, 1, 0]
    np.testing.assert_allclose(found["key_weight"][6:9], [0.5, 0.3, 0.2])
    assert found["query_at"][:3].tolist() == [0, 1, 2]
    np.testing.assert_allclose(found["received"][:3], [1.7 / 3, 0.8 / 2, 0.5])
    np.testing.assert_allclose(found["focus"], [1, 0.5, 0.5] * 2)
    single = strongest_ties([(np.array([[1.0]]), np.array([[True]]))])
    assert single["key_weight"].tolist() == [1, 0, 0]


def test_filters_of_the_legend_leave_what_their_words_say():
    genre = by_column(pd.Series(["x", "x", "y", None]), "categorical", "genre", name="genre")
    queries, keys = kept_points(genre, "genre:0,-1", None, "key")
    assert queries.tolist() == [False, False, True, False]
    assert not keys.any()
    length = by_column(pd.Series([1.0, 2.0, 3.0, np.nan]), "sequential", "length", name="length")
    assert kept_points(length, None, "length:1.5~3", None)[0].tolist() == [False, True, True, False]
    assert kept_points(length, "genre:0", "genre:1~2", None)[0].all()  # of another colouring
    assert kept_points(length, None, "length:a~b", None)[1].tolist() == [True, True, True, False]
    assert kept_points(by_kind(2), None, None, "query")[0].tolist() == [False, False]


def test_position_modulo_k_closes_its_cycle():
    colouring = by_cycle(pd.Series([0, 1, 7, 8, 9]), 8, "position_mod_8")
    assert colouring.queries.tolist() == [0, 1, 7, 0, 1]
    assert (colouring.low, colouring.high, colouring.stops) == (0.0, 8.0, TWILIGHT)
    assert [cycle_of(f"position_mod_{k}") for k in ("8", "1", "0", "513", "x", "²")] == [8, *[None] * 5]
    facts = RunFacts("r", columns=("genre",))
    assert resolve(Selection(colour="position_mod_12"), facts)[0].colour == "position_mod_12"
    assert resolve(Selection(colour="position_mod_1"), facts)[0].colour == "kind"


def test_patches_lie_on_the_sheet_in_token_order():
    def read(input_id: int) -> bytes:
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:16, 16:] = (200, 10 * input_id, 0)
        written = io.BytesIO()
        Image.fromarray(pixels).save(written, "PNG")
        return written.getvalue()

    one = {"row": [None, 0, 0, 1, 1], "column": [None, 0, 1, 0, 1]}
    tokens = pd.concat([pd.DataFrame(one).assign(input_id=i) for i in range(3)], ignore_index=True)
    sheet, tiles, across = patch_sheet(tokens, read)
    assert tiles.tolist() == [-1, 0, 1, 2, 3, -1, 4, 5, 6, 7, -1, 8, 9, 10, 11]
    assert across == 4
    pixels = np.asarray(Image.open(io.BytesIO(sheet)))
    row, column = divmod(9, 4)
    tile = pixels[row * TILE_PIXELS : (row + 1) * TILE_PIXELS, column * TILE_PIXELS : (column + 1) * TILE_PIXELS]
    assert np.abs(tile[4:12, 4:12].mean(axis=(0, 1)) - (200, 20, 0)).max() < 12
    _, fewer, _ = patch_sheet(tokens, read, most=8)
    assert (fewer >= 0).reshape(3, 5).any(axis=1).tolist() == [True, False, True]


def test_every_figure_has_its_sentence_and_the_line_only_two():
    figures = {"kl_explained": 0.8, "key_only_kl": 0.6, "kept_keys": 0.35, "mix": float("nan")}
    rows = fidelity_rows(figures, "without_sinks")
    assert [row["value"].replace("\xa0", " ") for row in rows] == ["80 %", "60 %", "35 %"]
    assert "attention without its sinks" in rows[0]["meaning"]
    assert rows[0]["meaning"].startswith(meaning("map explains"))
    assert rows[2]["meaning"] == meaning("neighbours kept")
    every = dict.fromkeys([name for name, _, _ in FIGURES], 0.5)
    assert len(fidelity_rows(every, "attention")) == len(FIGURES), "every figure has a term of the glossary"
    short = fidelity_short(figures, "attention").replace("\xa0", " ")
    assert short == "Map explains 80 % of this head's attention (popularity of keys alone: 60 %)."
    assert fidelity_rows({}, "attention") == []
