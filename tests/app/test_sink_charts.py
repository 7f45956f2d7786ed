"""Tables and charts of the page Sinks: worked out by hand, and by what they tell."""

from __future__ import annotations

import io
import json

import altair as alt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.sinks.levels import NOISE, PRIMARY, SECONDARY, Levels
from analysis.types import Band, Site
from app.charts import sink_layers
from app.charts.sink_evidence import heads_by_value, heads_of_rows, layer_words, rate_words
from app.charts.sink_heads import PAIRS, geometry_words, make_learned, make_pair
from app.charts.sink_layers import OTHERS, REST, group_table, layer_table, make_groups, make_layers
from app.charts.sink_levels import level_table, make_levels, nearest_words
from app.charts.sink_places import busiest_layer, count_words, make_image, make_places, place_table, token_table
from app.charts.sink_rows import describe_tokens, examples, members, ranked, row_name, value_of
from app.charts.sink_states import make_massive, make_relation, make_weakening, rank_words, relation_table
from app.charts.text_attention import visible_token

HOSTILE = "<img src=x onerror=alert(1)>"


def rows_of(chart: alt.Chart, *columns: str) -> list[dict]:
    """Every row of the chart's data that has these columns."""
    data = chart.to_dict()["datasets"].values()
    return [row for rows in data for row in rows if all(column in row for column in columns)]


def site(depth: int, n_heads: int = 2) -> Site:
    label = f"text.dec.self.{depth}"
    return Site(depth, f"h.{depth}#0", label, "text", "dec", "self", depth, n_heads, n_heads, 4, 4, 0.5, Band(right=0))


@pytest.fixture
def layers() -> pd.DataFrame:
    share = np.array([[0.0, 1.0], [0.5, 0.5]])
    received = np.array([[0.2, 0.4], [0.6, 0.6]])
    return layer_table(share, received, np.array([[0.1, 0.3], [0.1, 0.3]]))


def test_a_layer_is_told_as_means_over_inputs_with_interval_and_null(layers):
    assert layers[["layer", "rate", "received", "null", "n"]].values.tolist() == [
        [0, 0.5, pytest.approx(0.3), 0.2, 2], [1, 0.5, pytest.approx(0.6), 0.2, 2],
    ]  # fmt: skip
    assert layers.loc[0, ["rate_low", "rate_high"]].tolist() == [0, 1]  # two inputs: 0 and 1
    assert layers.loc[1, ["received_low", "received_high"]].tolist() == pytest.approx([0.6, 0.6])
    one = layer_table(np.array([[1.0]]), np.array([[0.9]]), np.array([[0.1]]))
    assert np.isnan(one.loc[0, "rate_low"])


def test_the_lines_by_layer_have_the_values_and_any_place_of_a_layer_can_be_clicked(layers):
    chart = make_layers(layers, 0.4, picked=1, n_layers=5)
    lines = pd.DataFrame(rows_of(chart, "what", "value"))
    of = {what: rows.sort_values("layer")["value"].tolist() for what, rows in lines.groupby("what")}
    assert of[sink_layers.RECEIVED] == pytest.approx([0.3, 0.6])
    assert of[sink_layers.RATE] == [0.5, 0.5]
    assert of[sink_layers.NULL] == [0.2, 0.2]
    assert rows_of(chart, "said")[0]["said"] == "threshold 0.4"
    said = chart.to_dict()
    picks = next(param for param in said["params"] if param["name"] == sink_layers.LAYER)
    assert picks["select"]["fields"] == ["pick"]
    assert '"domain": [-0.5, 4.5]' in json.dumps(said)  # as many layers as the other run has
    assert "layer 1 0.50 and 0.60" in said["description"]


def test_figures_are_quartiles_over_each_kind_of_token():
    values = np.array([[1.0, 2, 3, 4, 10, 20], [5, 5, 5, 5, 0.1, 7]])
    is_primary = np.array([0, 0, 0, 0, 1, 0], dtype=bool)
    is_other = np.array([0, 0, 0, 0, 1, 1], dtype=bool)  # a primary sink among them does not count twice
    table = group_table(values, is_primary, is_other).set_index(["layer", "tokens"])
    assert table.loc[(0, REST), ["low", "median", "high", "n"]].tolist() == [1.75, 2.5, 3.25, 4]
    assert table.loc[(0, OTHERS), ["median", "n"]].tolist() == [20, 1]
    assert table.loc[(1, sink_layers.PRIMARY), "median"] == pytest.approx(0.1)
    without = group_table(values, is_primary, np.zeros(6, dtype=bool))
    assert OTHERS not in set(without["tokens"])
    chart = make_groups(without, None, "norm", behind=True).to_dict()
    # Behind the last layer there is no layer: a click there picks the last one.
    assert "min(datum.layer, 0)" in json.dumps(chart)
    scale = chart["layer"][2]["encoding"]["y"]["scale"]
    assert scale["type"] == "log"
    assert scale["domain"][0] < 0.1 < 10 < scale["domain"][1]


@pytest.fixture
def levels() -> Levels:
    tokens = pd.DataFrame({
        "row": [0, 3, 4, 5], "input_id": 0, "position": [0, 3, 4, 5], "text": ["a", HOSTILE, " ", "b"],
        "first_layer": [1, 2, 2, 3], "lifetime": [4, 3, 3, 1], "label": [PRIMARY, SECONDARY, SECONDARY, NOISE],
        "score": [0.9, 0.2, 0.4, 0.1], "mlp_norm": [np.nan, 5.0, 7.0, 1.0], "mlp_cosine": [np.nan, 0.5, 0.7, 0.1],
    })  # fmt: skip
    cells = pd.DataFrame({"first_layer": [2, 3], "lifetime": [3, 1], "n": [2, 1], "label": [SECONDARY, NOISE],
                          "score": [0.3, 0.1], "strings": [[HOSTILE, " "], ["b"]]})  # fmt: skip
    return Levels(tokens, cells, 1, 5, 20.0, 0.1, 0.8, np.nan)


def test_the_map_of_levels_counts_tokens_and_shades_by_the_logarithm(levels):
    table = level_table(levels)
    assert table["shade"].tolist() == pytest.approx([np.log(3), np.log(2)])
    assert table["strings"].tolist() == [f"{visible_token(HOSTILE)}, ␣", "b"]
    chart = make_levels(table, levels, picked=(3, 1))
    assert {(row["first_layer"], row["lifetime"], row["n"]) for row in rows_of(chart, "n")} == {(2, 3, 2), (3, 1, 1)}
    said = chart.to_dict()
    assert "2 secondary from layer 2 for 3; 1 noise from layer 3 for 1" in said["description"]
    frames = json.dumps([layer.get("transform") for layer in said["layer"]])
    assert SECONDARY in frames
    assert "first_layer === 3" in frames
    could = {(row["first_layer"], row["lifetime"]) for row in rows_of(chart, "first_layer") if "n" not in row}
    assert (1, 5) in could
    assert (2, 5) not in could  # nothing lives longer than there are layers


def test_without_levels_the_nearest_is_told(levels):
    cosine = np.array([[1, 0.99], [1, 0.2], [1, -0.55], [1, 0.1], [1, 0], [1, 0], [1, 0.9]])
    said = nearest_words(cosine, np.array([True, False]), levels, 0.9)
    assert "the nearest comes to 0.55, in front of layer 2" in said  # layers outside 1 to 5 are not looked at


def test_tokens_in_hand_are_those_with_the_highest_score_one_of_each_kind():
    score = np.array([0.5, 0.9, 0.8, np.nan, 0.7])
    chosen = np.array([True, True, True, True, False])
    assert examples(score, chosen, np.array([0, 1, 1, 2, 3]), most=3).tolist() == [1, 0]
    assert examples(score, chosen, np.arange(5), most=2).tolist() == [1, 2]


def test_rows_of_the_table_stand_for_their_tokens():
    tokens = pd.DataFrame({"text": [".", "a", "."], "position": [0, 1, 2]})
    classes = np.array(["punctuation", "word", "punctuation"], dtype=object)
    assert members("class", "punctuation", tokens, classes).tolist() == [True, False, True]
    assert members("token", ".", tokens, classes).tolist() == [True, False, True]
    assert members("position", "1", tokens, classes).tolist() == [False, True, False]
    assert not members("position", "x", tokens, classes).any()
    overall = pd.DataFrame({"kind": ["position", "position", "token"], "position": pd.array([3, 0, None], "Int64"),
                            "token": [None, "\n", " "], "score": [0.1, 0.5, 0.9]})  # fmt: skip
    rows = ranked(overall, "position")
    assert [value_of(row, "position") for row in rows.itertuples()] == ["0", "3"]
    assert [row_name(row, "position") for row in rows.itertuples()] == ["position 0 · ⏎", "position 3"]
    assert row_name(next(ranked(overall, "token").itertuples()), "token") == "␣"


def test_a_token_is_shown_where_it_stands():
    text = f"one two {HOSTILE} three"
    at = text.index(HOSTILE)
    tokens = pd.DataFrame({
        "input_id": 7, "position": [0, 1, 2], "text": ["<s>", HOSTILE, "</s>"],
        "char_start": [np.nan, at, len(text)], "char_end": [np.nan, at + len(HOSTILE), len(text)],
    })  # fmt: skip
    first, middle, last = describe_tokens(np.array([0, 1, 2]), np.array([0.9, 0.5, 0.1]), tokens, {7: text})
    assert (first.before, first.text) == ("", "<s>")
    assert first.after.startswith("one two")
    assert (middle.before, middle.text, middle.after) == ("one two ", HOSTILE, " three")
    assert last.before.endswith("three")
    assert (middle.input, middle.token, middle.value) == (7, 1, 0.5)
    image = pd.DataFrame({"input_id": 1, "position": [0, 1, 2], "text": ["CLS", "r0c0", "r0c1"], "row": [-1, 0, 0],
                          "column": [-1, 0, 1]})  # fmt: skip
    cls, patch = describe_tokens(np.array([0, 2]), np.ones(2), image, {})
    assert (cls.patch, patch.patch, patch.place) == (None, [0.5, 0, 0.5, 1], "row 0, column 1")


def test_heads_are_told_by_name_strongest_first():
    sites = [site(0), site(3)]
    found = heads_by_value([np.array([0.1, 0.5]), np.array([0.9, 0.2])], sites)
    assert [(head.name, head.site, head.value) for head in found[:2]] == [
        ("L3H0", "text.dec.self.3", 0.9), ("L0H1", "text.dec.self.0", 0.5),
    ]  # fmt: skip
    by_head = pd.DataFrame({"site": ["h.3#0", "other", "h.0#0"], "head": [1, 0, 0], "score": [0.3, 0.99, 0.4]})
    assert [head.name for head in heads_of_rows(by_head, sites)] == ["L0H0", "L3H1"]


def test_figures_are_told_in_sentences(layers):
    table = {"score": [0.4936], "null": [0.1206], "rate": [0.5446], "ci_low": [0.531], "ci_high": [0.558], "n": [190]}
    said = rate_words(next(pd.DataFrame(table).itertuples()))
    assert "receives 0.493 of attention on average, where even attention would give 0.121" in said.replace(
        "0.494", "0.493"
    )
    assert "a sink in 54 % of heads and tokens (95 % interval 53 to 56 %); 190 inputs" in said
    said = layer_words(next(layers.itertuples()), 0.25, 4.0)
    assert "is a sink in 50 % of the heads" in said
    assert "25 % of the other tokens" in said
    assert "4 times the median" in said


PLACES = pd.DataFrame({
    "input_id": [0] * 5 + [1] * 5, "position": [*range(5)] * 2, "text": ["CLS", "a", "b", "c", "d"] * 2,
    "row": [-1, 0, 0, 1, 1] * 2, "column": [-1, 0, 1, 0, 1] * 2,
})  # fmt: skip


def test_the_mean_map_is_the_rate_of_each_place_over_images():
    share = np.zeros((2, 10))
    share[0, 1], share[1, 1], share[1, 6], share[1, 0] = 0.5, 0.5, 1.0, 1.0
    table = place_table(share, PLACES)
    at = table.set_index(["layer", "row", "column"])
    assert at.loc[(0, 0, 0), ["rate", "some", "n"]].tolist() == [0.25, 0.5, 2]
    assert at.loc[(1, 0, 0), ["rate", "some"]].tolist() == [0.75, 1]
    assert table["rate"].sum() == 1  # the CLS is no place of the image
    assert busiest_layer(table) == 1
    chart = make_places(table, picked=1, pixels=400)
    cells = pd.DataFrame(rows_of(chart, "pick"))
    assert len(cells) == 8
    assert cells.groupby("layer")[["left", "top"]].nunique().values.tolist() == [[2, 2], [2, 2]]
    assert cells.loc[cells["layer"] == 1, "left"].min() >= cells.loc[cells["layer"] == 0, "right"].max()
    assert {row["name"] for row in rows_of(chart, "is_picked") if row["is_picked"]} == {"L1"}


def test_of_very_many_patches_an_even_choice_of_layers_is_drawn():
    row, column = np.divmod(np.arange(900), 30)
    tokens = pd.DataFrame({"row": row, "column": column})
    table = place_table(np.random.default_rng(0).random((20, 900)), tokens)
    drawn = {row["layer"] for row in rows_of(make_places(table, None, 400), "pick")}
    assert drawn == {0, 4, 9, 14, 19}


def test_one_image_counts_what_is_drawn_on_it():
    tokens = PLACES[PLACES["input_id"] == 0]
    share, visual = np.array([0.5, 0.25, 0, 0, 1]), np.array([False, True, False, False, True])
    large = np.array([False, False, True, False, False])
    said = count_words(share, visual, large, tokens)
    assert said == (
        "2 of 4 patches are a sink of some head; 2 visual sinks; 1 large norm. "
        "Beside the picture: CLS in 0.5 of the heads."
    )  # fmt: skip
    table = token_table(share, visual, large, tokens)
    assert table["share of heads"].tolist() == share.tolist()
    assert table.loc[table["visual sink"], "position"].tolist() == [1, 4]
    assert table.loc[table["large norm"], "token"].tolist() == [tokens["text"].iloc[2]]
    png = io.BytesIO()
    Image.new("RGB", (8, 8)).save(png, "PNG")
    chart = make_image(share, visual, large, tokens, png.getvalue(), picked=4).to_dict()
    assert chart["description"] == said
    names = [data["name"] for data in (layer["data"] for layer in chart["layer"])]
    marks = [(layer["mark"]["type"], layer["mark"].get("stroke"), len(chart["datasets"][name]))
             for layer, name in zip(chart["layer"], names)]  # fmt: skip
    assert ("rect", "#E69F00", 2) in marks
    assert [n for kind, _, n in marks if kind == "point"] == [1, 1]
    shaded = next(rows for rows in chart["datasets"].values() if any("shade" in row for row in rows))
    assert sorted(row["position"] for row in shaded if row["shade"] > 0) == [0, 1, 4]
    assert {row["value"] for row in shaded if row["position"] == 2} == {"no sink"}


def test_only_tokens_whose_mlp_is_known_are_related(levels):
    table = relation_table(levels.tokens)
    assert table["text"].tolist() == [visible_token(HOSTILE), "␣", "b"]
    chart = make_relation(table, "score", "attention it receives")
    assert [row["mlp_norm"] for row in rows_of(chart, "mlp_norm")] == [5, 7, 1]
    assert rank_words(0.81, 12) == "rank correlation 0.81 over 12 secondary sinks"
    assert rank_words(np.nan, 2).startswith("no rank correlation")


def test_the_dimension_of_most_sinks_is_named_in_every_layer():
    table = pd.DataFrame({"layer": [0, 0, 1], "dimension": [7, 2, 7], "inputs": [0.9, 0.1, 1.0], "ratio": [3.0, 9, 5],
                          "most": 8.0, "shared": [np.nan, np.nan, 0.5]})  # fmt: skip
    chart = make_massive(table, [1.5, 1.6], None)
    assert [(row["layer"], row["dim"], row["rest"]) for row in rows_of(chart, "dim")] == [(0, "7", 1.5), (1, "7", 1.6)]
    assert "at most 8: layer 0 dimension 7 3; layer 1 dimension 7 5" in chart.to_dict()["description"]


def test_layers_without_secondary_sinks_have_no_point_for_them():
    table = pd.DataFrame({"layer": [0, 1], "with_secondary": [np.nan, 0.2], "without": [0.5, 0.8], "n_with": [0, 3],
                          "n_without": [5, 2]})  # fmt: skip
    chart = make_weakening(table, None)
    assert sorted(row["value"] for row in rows_of(chart, "what")) == [0.2, 0.5, 0.8]
    assert "layer 0 none and 0.5; layer 1 0.2 and 0.8" in chart.to_dict()["description"]


def test_geometry_counts_heads_whose_sink_is_smaller():
    table = pd.DataFrame({
        "name": ["L0H0", "L0H1"], "site": "s", "head": [0, 1], "share": [0.1, 0.9], "n": 4,
        "key_norm_sink": [1.0, 5], "key_norm_others": [2.0, 4], "value_norm_sink": [0.1, 0.1],
        "value_norm_others": [1.0, 1], "angle_sink_deg": [80.0, 95], "angle_others_deg": [90.0, 90],
    })  # fmt: skip
    assert geometry_words(table) == (
        "Of 2 heads, the primary sink has a shorter key in 1, a shorter value in 2, and a key nearer to the mean query "
        "in 1."
    )
    for what in PAIRS:
        chart = make_pair(table, what, "L0H1")
        assert f"{what}, of the primary sink" in chart.to_dict()["description"]
    learned = table.assign(layer=0, place=[0.0, 0.1], score=[0.2, 0.7], rate=0.0, ci_low=0.0, ci_high=0.0)
    assert {row["score"] for row in rows_of(make_learned(learned, "L0H0"), "score")} == {0.2, 0.7}
