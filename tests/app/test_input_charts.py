"""The charts of the Input view through their specifications, and the small maps through their pixels."""

from __future__ import annotations

import io
import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from app.charts.head_maps import make_overview, make_sprite, reduce_to, tile_shape
from app.charts.image_attention import make_overlay, patch_table, smooth_shades, strongest_patch
from app.charts.image_flows import strongest_arrows, strongest_flows
from app.charts.scales import make_scale
from app.charts.text_attention import (
    FAINTEST_LINE,
    attention_table,
    make_lines,
    short_token,
    token_gaps,
    visible_token,
)
from app.palette import SELECTED

TOKENS = ["<s>", "Ann", "\n", "<img src=x onerror=alert(1)>", ""]
CAUSAL = np.tril(np.ones((5, 5), dtype=bool))
ATTENTION = np.where(CAUSAL, np.arange(25).reshape(5, 5) / 100, 0).astype(np.float32)
LABELS = [visible_token(token) for token in TOKENS]
PLACES = [str(position) for position in range(5)]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (" ", "␣"),
        ("\n\n", "⏎⏎"),
        ("\t", "⇥"),
        ("", "∅"),
        (" the", "the"),
        ("a b", "a␣b"),
        ("\x00", "U+0000"),
        ("é", "é"),
    ],
)
def test_every_token_can_be_seen(text, seen):
    assert visible_token(text) == seen


def test_long_tokens_are_cut_for_the_axis_only():
    assert short_token("x" * 40) == "x" * 13 + "…"
    assert len(visible_token("x" * 40)) == 40


def table_of(keep=CAUSAL, stretch=None):
    return attention_table(ATTENTION, LABELS, PLACES, keep, stretch and (stretch, stretch))


def test_the_table_holds_every_allowed_cell_with_its_weight_and_no_other():
    table = table_of()
    assert len(table) == 15
    assert table.set_index(["query", "key"])["weight"].to_dict() == pytest.approx(
        {(q, k): ATTENTION[q, k] for q in range(5) for k in range(q + 1)}
    )
    assert table.loc[table["query"] == 2, ["query_token", "query_at"]].drop_duplicates().to_numpy().tolist() == [
        ["⏎", "2"]
    ]
    part = table_of(stretch=range(1, 4))
    assert set(part["query"]) | set(part["key"]) == {1, 2, 3}
    assert part.set_index(["query", "key"])["weight"][3, 2] == pytest.approx(ATTENTION[3, 2])
    assert len(part) == 6


def test_gaps_are_the_text_between_tokens():
    tokens = pd.DataFrame({"char_start": [0, 0, 4, 7, 7], "char_end": [0, 3, 7, 8, 7]})
    gaps = token_gaps("Ann ran.", tokens)
    assert gaps == ["", "", " ", "", ""]
    without_extent = pd.DataFrame({"char_start": [None, 2], "char_end": [None, 4]})
    assert token_gaps("  ab", without_extent) == ["", "  "]


@pytest.mark.parametrize(("kind", "names"), [("query", "⏎ to"), ("key", "to ⏎")])
def test_charts_say_in_words_whose_weights_are_strongest(kind, names):
    chart = make_lines(table_of(), LABELS, [True] + 4 * [False], 2, kind).to_dict()
    assert f"of {kind} ⏎ (position 2)" in chart["description"]
    strongest = chart["description"].partition("): ")[2].partition(";")[0]
    assert strongest.startswith("⏎ to ⏎") or names in strongest
    assert SELECTED in json.dumps(chart)


def test_lines_leave_out_only_the_faintest_and_dim_what_is_not_marked():
    table = table_of()
    marked = [False, True, False, False, False]
    chart = make_lines(table, LABELS, [True] + 4 * [False], marked=marked).to_dict()
    drawn = max((rows for rows in chart["datasets"].values() if "weight" in rows[0]), key=len)
    assert len(drawn) == (table["weight"] >= FAINTEST_LINE).sum() == 14
    ends = next(rows for rows in chart["datasets"].values() if "dim" in rows[0])
    assert [row["dim"] for row in ends] == [True, False, True, True, True]


def image_tokens(prefix: int = 2, rows: int = 2, columns: int = 3) -> pd.DataFrame:
    names = ["CLS", "REG0"][:prefix]
    places = [(r, c) for r in range(rows) for c in range(columns)]
    return pd.DataFrame(
        {
            "text": [*names, *(f"r{r}c{c}" for r, c in places)],
            "row": [-1] * prefix + [r for r, _ in places],
            "column": [-1] * prefix + [c for _, c in places],
        }
    )


def test_patches_lie_where_the_picture_has_them_and_squares_beside_it():
    weights = np.arange(8) / 28
    table = patch_table(weights, image_tokens())
    patch = table[table["is_patch"]]
    assert patch[["left", "top"]].to_numpy().tolist() == [[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]]
    beside = table[~table["is_patch"]]
    assert (beside["right"] <= 0).all()
    assert beside["top"].iloc[1] > beside["bottom"].iloc[0]
    assert table["name"].tolist()[:3] == ["CLS", "REG0", "patch 0, 0"]
    assert strongest_patch(table) == 7
    assert strongest_patch(patch_table(weights[::-1].copy(), image_tokens())) == 0


def test_the_overlay_shades_by_weight_and_outlines_the_picked_patch_in_both_pictures():
    picture = io.BytesIO()
    Image.new("RGB", (24, 16), (200, 30, 30)).save(picture, "PNG")
    table = patch_table(np.arange(8) / 28, image_tokens())
    chart = make_overlay(table, picture.getvalue(), make_scale(table["weight"]), picked=3).to_dict()
    data = list(chart["datasets"].values())
    shaded = max((rows for rows in data if "shade" in rows[0]), key=len)
    on_the_right = {row["position"]: row for row in shaded if row["shade"] > 0}
    assert max(on_the_right.values(), key=lambda row: row["shade"])["position"] == 7
    assert {position: row["weight"] for position, row in on_the_right.items()} == pytest.approx(
        dict(enumerate(np.arange(8) / 28))
    )
    assert sum(row.get("position") == 3 and len(rows) == 2 for rows in data for row in rows) == 2
    assert "of query patch 0, 1. Strongest: patch 1, 2 0.25" in chart["description"]
    assert chart["width"] / chart["height"] > 2 * 24 / 16


def test_a_picture_without_prefix_tokens_has_no_squares():
    picture = io.BytesIO()
    Image.new("L", (24, 16)).save(picture, "PNG")
    table = patch_table(np.full(6, 1 / 6), image_tokens(prefix=0))
    assert table["is_patch"].all()
    make_overlay(table, picture.getvalue(), make_scale(table["weight"])).to_dict()


def test_arrows_go_to_the_strongest_key_patch_and_flows_are_the_largest_weights():
    table = patch_table(np.zeros(8), image_tokens())
    weights = np.full((8, 8), 0.01)
    weights[:, 0] = 0.5  # CLS is no patch
    weights[2, 7], weights[3, 3], weights[4, 2], weights[5, 6] = 0.3, 0.4, 0.2, np.nan
    arrows = strongest_arrows(weights, table).set_index("query")
    assert arrows.loc[[2, 3, 4], "key"].tolist() == [7, 3, 2]
    assert arrows["is_self"].sum() == 1 + (arrows.loc[[5, 6, 7], "key"] == [5, 6, 7]).sum()
    one = arrows.loc[2]
    assert (one["left"], one["top"]) == (0.5, 0.5)
    assert one["right"] == pytest.approx(2.5, abs=0.25)
    assert one["bottom"] == pytest.approx(1.5, abs=0.25)
    assert arrows.loc[4, "angle"] == pytest.approx(-90)
    flows = strongest_flows(weights, table, 8)
    assert set(zip(flows["query"], flows["key"])) == {(q, 0) for q in range(1, 8)} | {(2, 7)}
    assert len(strongest_flows(weights, table, 400)) == 8 * 7 - 1


def test_smooth_shading_keeps_the_patches_middle_and_clears_what_is_hidden():
    weights = np.array([0.1, 0.1, 0, 0, 0, 0, 1, np.nan])
    table = patch_table(weights, image_tokens())
    table["share"] = make_scale(weights).share(weights)
    with Image.open(io.BytesIO(smooth_shades(table))) as image:
        pixels = np.asarray(image).astype(int)
    assert pixels.shape == (32, 48, 4)
    assert (pixels[16:, 32:, 3] == 0).all()
    assert pixels[24, 24, 0] > 200 > pixels[8, 8, 0]
    assert len(np.unique(pixels[24, 4:28, 1])) > 10


def test_reducing_keeps_the_strongest_weight_of_every_block():
    matrix = np.zeros((100, 100), dtype=np.float32)
    matrix[37, 81] = 0.9
    matrix[0, :] = np.nan
    small = reduce_to(matrix, 48)
    assert small.shape == (34, 34)
    assert small[12, 27] == np.float32(0.9)
    assert (small > 0).sum() == 1
    assert not np.isnan(small).any()
    assert reduce_to(matrix[:5, :5], 48) is not None


def test_the_sprite_has_a_tile_for_every_head_and_is_brightest_where_attention_is():
    first, second = np.zeros((4, 4)), np.zeros((4, 4))
    first[1, 2], second[3, 0] = 0.5, 0.1
    second[0, 3] = np.nan
    png = make_sprite([[first, second]])
    image = Image.open(io.BytesIO(png))
    assert (tile_shape(png, 1, 2), image.size) == ((4, 4), (8, 4))
    rgba = np.asarray(image.convert("RGBA")).astype(int)
    assert rgba[1, 2, :3].tolist() == rgba[3, 4, :3].tolist() == [253, 231, 37]  # each to its own maximum
    assert rgba[0, 0, :3].tolist() == [68, 1, 84]
    assert rgba[0, 7, 3] == 0
    assert rgba[:, :4, 3].min() == 255


def test_the_overview_of_a_long_text_stays_small():
    matrix = np.eye(3000, dtype=np.float32)
    assert Image.open(io.BytesIO(make_overview(matrix, make_scale(matrix)))).size[0] <= 340


def test_many_object_queries_stand_in_rows_beside_the_picture():
    tokens = pd.DataFrame(
        {
            "text": ["r0c0", "r0c1", "r1c0", "r1c1", *(f"query {number}" for number in range(100))],
            "row": pd.array([0, 0, 1, 1, *[None] * 100], dtype="Int32"),
            "column": pd.array([0, 1, 0, 1, *[None] * 100], dtype="Int32"),
        }
    )
    table = patch_table(np.full(104, 0.01), tokens)
    beside = table[~table["is_patch"]]
    assert (beside["right"] < 0).all()
    assert beside["top"].min() == 0
    assert beside["bottom"].max() <= 2.6  # the picture is 2 high
    assert not beside[["left", "top"]].duplicated().any()
    assert len(beside["top"].unique()) == 20
    assert len(beside["left"].unique()) == 5
