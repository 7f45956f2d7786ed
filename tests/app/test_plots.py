"""The pictures for notebooks: numbers of the charts against those of the run, and what they refuse, in one sentence."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import altair as alt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.errors import UserError
from analysis.store import add_to_run, open_run
from analysis.store.run import Run
from app import plots
from app.palette import QUIET, SELECTED
from app.plots.chosen import find_head
from tests.sinks.run_with_states import FIRST, LIVES, SECONDARY_AT, SINK, make_run_with_states
from tests.store.synthetic import make_synthetic_run
from tests.store.synthetic_pairs import make_pair_run

PROFILED = 2
"""Heads of each site that have profiles and a score ``induction``; the others have none."""


def add_profiles(path: Path, places: dict[str, list[tuple[int, int]]]) -> None:
    """Made-up profiles of some heads, and induction, which says nothing of the others."""
    rng = np.random.default_rng(3)
    with add_to_run(path, "more") as writer:
        heads = [(site.key, head) for site in writer.sites for head in range(PROFILED)]
        rows = [
            (name, key, head, x, y, share, 1 / len(at), 40)
            for key, head in heads
            for name, at in places.items()
            for (x, y), share in zip(at, rng.dirichlet(np.ones(len(at))))
        ]
        writer.put_head_profiles(pd.DataFrame(rows, columns="profile site head x y value null n".split()))
        scores = [("induction", *each, share, share - 0.05, share + 0.05, 0.02, 4) for each, share in
                  zip(heads, rng.uniform(0.1, 0.9, len(heads)))]  # fmt: skip
        writer.put_head_scores(pd.DataFrame(scores, columns="metric site head value ci_low ci_high null n".split()))
        writer.publish()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    words = make_run_with_states(runs, "words", n_inputs=3, n_tokens=20, n_layers=6, n_heads=3, causal=True)
    add_profiles(words, {"offset": [(x, 0) for x in range(13)]})
    images = make_synthetic_run(runs, "images", n_inputs=2, n_tokens=17, n_heads=2, modality="vision")
    add_profiles(images, {"aligned": [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)], "ring": [(0, 0), (1, 0)]})
    make_synthetic_run(runs, "long", n_inputs=1, n_tokens=90, n_layers=1, n_heads=1, with_projection=False)
    make_pair_run(runs)
    return runs


@pytest.fixture(scope="module")
def runs(folder: Path) -> Iterator[dict[str, Run]]:
    opened = {name: open_run(name, folder) for name in ("words", "images", "long", "pairs")}
    yield opened
    for run in opened.values():
        run.close()


@pytest.fixture
def words(runs: dict[str, Run]) -> Run:
    return runs["words"]


@pytest.fixture
def images(runs: dict[str, Run]) -> Run:
    return runs["images"]


def rows_of(chart: alt.LayerChart, *columns: str) -> pd.DataFrame:
    """Every row of the chart's data that has these columns, once."""
    data = chart.to_dict(validate=False)["datasets"].values()
    found = [row for rows in data for row in rows if all(column in row for column in columns)]
    return pd.DataFrame(found)[list(columns)].drop_duplicates(ignore_index=True)


def under_title(chart: alt.LayerChart) -> str:
    return "" if chart.title.subtitle is alt.Undefined else " ".join(chart.title.subtitle)


def test_a_map_has_every_point_where_the_run_has_it_and_says_what_it_explains(words):
    chart = plots.head_map(words, "L1H2", colour="length")
    drawn = rows_of(chart, "kind", "input", "position", "x", "y", "value", "token")
    own = words.coordinates("atlas-2d", site="text.dec.self.1", head=2)
    both = own.merge(drawn, left_on=["kind", "input_id", "position"], right_on=["kind", "input", "position"])
    assert len(both) == len(own) == len(drawn) == 2 * len(words.tokens())
    np.testing.assert_allclose(both[["x_x", "y_x"]], both[["x_y", "y_y"]], atol=1e-6)
    tokens = words.tokens().set_index(["input_id", "position"]).loc[list(zip(both["input"], both["position"]))]
    assert both["value"].tolist() == tokens["length"].tolist()
    assert both["token"].tolist() == tokens["text"].tolist()
    fidelity = words.fidelity("atlas-2d").set_index(["site", "head"])
    assert f"{fidelity.loc[(words.sites[1].key, 2), 'kl_explained'] * 100:.0f}\u00a0%" in under_title(chart)
    said = chart.to_dict(validate=False)
    assert said["title"]["text"] == "L1H2, text decoder, self-attention: joint map atlas-2d"
    color = next(layer["encoding"]["color"] for layer in said["layer"])
    assert color["legend"]["title"] == "length, characters"


def test_a_map_of_more_points_than_are_drawn_keeps_whole_tokens_and_says_so(words):
    chart, again = (plots.head_map(words, "L0H0", most=20) for _ in range(2))
    drawn = rows_of(chart, "kind", "input", "position", "x")
    assert len(drawn) == 20
    assert (drawn.groupby(["input", "position"])["kind"].nunique() == 2).all()
    pd.testing.assert_frame_equal(drawn, rows_of(again, "kind", "input", "position", "x"))
    assert f"20 of {2 * len(words.tokens())} points are drawn" in under_title(chart)
    assert "points are drawn" not in under_title(plots.head_map(words, "L0H0"))


def test_colours_of_a_map_are_those_of_the_page_and_what_has_no_value_is_grey(images, words):
    hue = plots.head_map(images, "L0H1", colour="hue").to_dict(validate=False)
    grey, coloured = hue["layer"]
    assert grey["mark"]["color"] == QUIET
    n_images = len(images.inputs())
    assert len(hue["datasets"][grey["data"]["name"]]) == 2 * n_images  # query and key of CLS
    assert coloured["encoding"]["color"]["scale"]["domain"] == [0, 360]
    kinds = plots.head_map(words, "L0H1").to_dict(validate=False)["layer"][0]["encoding"]["color"]
    assert kinds["scale"] == {"domain": ["query", "key"], "range": ["#009E73", "#CC3399"]}
    mod = rows_of(plots.head_map(words, "L0H1", colour="position_mod_4"), "position", "value")
    assert (mod["value"] == mod["position"] % 4).all()
    is_special = rows_of(plots.head_map(words, "L0H1", colour="is_special"), "token", "value")
    assert set(is_special[is_special["value"] == "True"]["token"]) == {"[CLS]", "[SEP]"}


def test_a_heat_map_has_the_weights_of_the_run_and_no_cell_where_a_query_may_not_attend(words):
    own = words.attention("text.dec.self.2", 1, 2)
    chart = plots.attention(words, "L2H1", input_id=2, token=4)
    cells = rows_of(chart, "query", "key", "weight", "query_token", "share")
    assert set(zip(cells["query"], cells["key"])) == set(zip(*np.tril_indices(len(own))))
    np.testing.assert_allclose(cells["weight"], own[cells["query"], cells["key"]], atol=1e-7)
    np.testing.assert_allclose(cells["share"], cells["weight"] / own.max(), atol=1e-6)
    texts = words.tokens().query("input_id == 2")["text"].tolist()
    assert cells["query_token"].tolist() == [texts[at] for at in cells["query"]]
    framed = next(layer for layer in chart.to_dict(validate=False)["layer"] if layer["mark"].get("stroke") == SELECTED)
    assert {row["query"] for row in chart.to_dict(validate=False)["datasets"][framed["data"]["name"]]} == {4}
    part = rows_of(plots.attention(words, "L2H1", 2, queries=range(4, 6), keys=range(2, 5)), "query", "key")
    assert set(zip(part["query"], part["key"])) == {(4, 2), (4, 3), (4, 4), (5, 2), (5, 3), (5, 4)}


def test_attention_between_two_sequences_is_drawn_at_the_positions_of_the_input(runs):
    run = runs["pairs"]
    own = run.attention("text.dec.cross.1", 2, 1)
    for how in ("map", "lines"):
        cells = rows_of(plots.attention(run, "L1H2", 1, how, stack="text.dec.cross"), "query", "key", "weight")
        cells = cells.dropna()
        assert set(cells["query"]) == set(range(7, 18))
        assert set(cells["key"]) == set(range(7))
        seen = own[cells["query"] - 7, cells["key"]]
        np.testing.assert_allclose(cells["weight"], seen, atol=1e-7)
        assert len(cells) == (own >= 0.01).sum() if how == "lines" else own.size


def test_a_long_input_is_one_picture_and_a_part_of_it_is_drawn_cell_by_cell(runs):
    own = runs["long"].attention("text.enc.self.0", 0, 0)
    assert own.size > 5000
    chart = plots.attention(runs["long"], "L0H0", 0)
    assert "strongest weight of its block" in under_title(chart)
    url = rows_of(chart, "url")["url"].item()
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as picture:
        assert picture.size == own.shape[::-1]
        top = np.unravel_index(own.argmax(), own.shape)
        assert picture.convert("RGB").getpixel((int(top[1]), int(top[0]))) == (253, 231, 37)  # the top of the ramp
    assert f"query {top[0]} on key {top[1]}" in chart.to_dict(validate=False)["description"]
    chart = plots.attention(runs["long"], "L0H0", 0, queries=range(70, 75), scale="rank")
    cells = rows_of(chart, "query", "key", "weight")
    np.testing.assert_allclose(cells["weight"], own[cells["query"], cells["key"]], atol=1e-7)
    assert len(cells) == 5 * len(own)
    lines = plots.attention(runs["long"], "L0H0", 0, "lines")
    assert "the first 48 of" in under_title(lines)
    with pytest.raises(UserError, match="takes 48 tokens a side"):
        plots.attention(runs["long"], "L0H0", 0, "lines", queries=range(60))


def test_an_image_is_shaded_by_what_its_patches_get(images):
    own = images.attention("vision.enc.self.1", 0, 1)
    chart = plots.attention(images, "L1H0", 1)
    mean = rows_of(chart, "position", "weight", "name").dropna()
    np.testing.assert_allclose(mean["weight"], own.mean(axis=0)[mean["position"]], atol=1e-6)
    assert len(mean) == len(own)
    assert mean.set_index("position")["name"][[0, 1]].tolist() == ["CLS", "patch 0, 0"]
    picture = base64.b64decode(rows_of(chart, "url")["url"][0].partition(",")[2])
    assert picture == images.image(1)
    for kind, weights in (("query", own[3]), ("key", own[:, 3])):
        of_one = rows_of(plots.attention(images, "L1H0", 1, token=3, kind=kind), "position", "weight").dropna()
        np.testing.assert_allclose(of_one["weight"], weights[of_one["position"]], atol=1e-6)
    cells = rows_of(plots.attention(images, "L1H0", 1, "map"), "query", "key", "weight", "key_token")
    assert len(cells) == own.size
    assert cells["key_token"].iloc[1] == "patch 0, 0"


def test_a_score_of_every_head_is_that_of_the_run_and_a_head_without_one_is_left_out(words):
    own = words.head_scores().query("metric == 'induction'").set_index(["site", "head"])
    assert len(own) == PROFILED * len(words.sites)
    keys = {site.depth: site.key for site in words.sites}
    chart = plots.heads(words, "induction")
    cells = rows_of(chart, "layer", "head", "shown", "said")
    assert len(cells) == len(own)
    for row in cells.itertuples():
        value = own.loc[(keys[row.layer], row.head)]
        assert row.shown == pytest.approx(value["value"])
        assert row.said.startswith(f"{value['value']:.3g} (95 %: {value['ci_low']:.3g} to")
    assert chart.to_dict(validate=False)["layer"][0]["encoding"]["color"]["legend"]["title"][0] == "Induction"
    less = rows_of(plots.heads(words, "induction", less_null=True), "layer", "head", "shown")
    np.testing.assert_allclose(less["shown"], cells["shown"] - 0.02)
    strip = plots.heads(words, "induction", "strip", most=5)
    drawn = rows_of(strip, "name", "value", "ci_low", "ci_high", "null")
    assert drawn["value"].tolist() == pytest.approx(own["value"].nlargest(5).tolist())
    assert (drawn["null"] == 0.02).all()
    assert f"The 5 highest of {len(own)} heads." in under_title(strip)
    layers = rows_of(plots.heads(words, "induction", "layers"), "layer", "median")
    assert layers["median"].tolist() == pytest.approx(own["value"].groupby("site").median().loc[keys.values()].tolist())


def test_the_scores_and_the_profile_of_a_head_are_those_of_the_run(words, images):
    scores = words.head_scores()
    own = scores[(scores["site"] == words.sites[3].key) & (scores["head"] == 1)].set_index("metric")
    drawn = rows_of(plots.head_scores(words, "l3h1"), "metric", "value", "ci_low", "ci_high", "null").dropna()
    assert set(drawn["metric"]) == set(own.index)
    expected = own.loc[drawn["metric"], ["value", "ci_low", "ci_high", "null"]]
    np.testing.assert_allclose(drawn.drop(columns="metric"), expected)
    profile = words.head_profiles("offset", "text.dec.self.3", 1)
    lines = rows_of(plots.head_profile(words, "L3H1"), "x", "what", "share").query("what == 'attention'")
    assert lines.sort_values("x")["share"].tolist() == pytest.approx(profile.sort_values("x")["value"].tolist())
    aligned = images.head_profiles("aligned", "vision.enc.self.0", 1)
    cells = rows_of(plots.head_profile(images, "L0H1"), "x", "y", "value")
    np.testing.assert_allclose(cells.sort_values(["x", "y"]), aligned.sort_values(["x", "y"])[["x", "y", "value"]])
    ring = rows_of(plots.head_profile(images, "L0H1", "ring", scale="log"), "x", "what", "share")
    assert len(ring.query("what == 'attention'")) == 2


def test_sinks_by_layer_are_counted_from_attention_itself(words):
    """Expected without `analysis.sinks`: what the token at `SINK` receives from the queries behind it."""
    chart = plots.sinks(words)
    drawn = rows_of(chart, "layer", "what", "value").pivot(index="layer", columns="what", values="value")
    for site in words.sites:
        received = np.array([
            [words.attention(site, head, input_id)[SINK + 1 :, SINK].mean() for head in range(site.n_heads)]
            for input_id in words.inputs()["input_id"]
        ])  # fmt: skip
        assert drawn.loc[site.depth, "attention received"] == pytest.approx(received.mean(), abs=2e-3)
        assert drawn.loc[site.depth, "share of heads it is a sink in"] == pytest.approx((received > 0.3).mean())
    assert chart.to_dict(validate=False)["layer"][-3]["encoding"]["color"]["legend"]["orient"] == "top"
    norms = rows_of(plots.sinks(words, "norms"), "layer", "tokens", "median").query("tokens == 'primary sink'")
    is_sink = (words.tokens()["position"] == SINK).to_numpy()
    expected = np.median(words.state_figures("text.dec.self")["norm"][:, is_sink], axis=1)
    np.testing.assert_allclose(norms.sort_values("layer")["median"], expected)
    levels = rows_of(plots.sinks(words, "levels"), "first_layer", "lifetime", "n")
    n = (words.tokens()["position"].isin(SECONDARY_AT)).sum()
    assert [FIRST, LIVES, n] in levels.to_numpy().tolist()


def test_charts_stand_side_by_side(words):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = plots.head_map(words, "L0H0") | plots.head_map(words, "L0H1") & plots.attention(words, "L0H1", 0)
        names = [param["name"] for param in both.to_dict(validate=False)["params"]]
    assert len(set(names)) == len(names) == 2  # each map moves by itself, and no click waits for a page


def test_a_head_is_named_in_two_ways(words, runs):
    site = words.sites[2]
    for said in ("L2H1", "l2h1", (site, 1), (site.label, 1), (site.key, 1)):
        assert find_head(words, said) == (site, 1)
    assert find_head(runs["pairs"], "L1H0", "text.dec.self")[0].label == "text.dec.self.1"


REFUSED = {
    "no head": ("words", lambda run: plots.head_map(run, "head 3"), "named as in 'L3H5'"),
    "no index": ("words", lambda run: plots.head_map(run, ("text.dec.self.1", "H3")), "named as in 'L3H5'"),
    "no such layer": ("words", lambda run: plots.head_scores(run, "L9H0"), "has the layers 0, 1, 2, 3, 4, 5; there"),
    "no such head": ("words", lambda run: plots.head_map(run, "L0H7"), "heads 0 to 2; there is no head 7"),
    "no such site": ("words", lambda run: plots.head_map(run, ("text.dec.self.9", 0)), "no site 'text.dec.self.9'"),
    "which stack": ("pairs", lambda run: plots.heads(run, "entropy"), r"several stacks \(text.enc.self, text.dec.self"),
    "no such stack": ("pairs", lambda run: plots.sinks(run, stack="text"), "no stack 'text'; it has: text.enc.self"),
    "no such map": ("words", lambda run: plots.head_map(run, "L0H0", map="umap"), "no map 'umap'; it has: atlas-2d"),
    "in 3-D": ("words", lambda run: plots.head_map(run, "L0H0", map="pca-3d"), "pca-3d is in three dimensions"),
    "no map": ("long", lambda run: plots.head_map(run, "L0H0"), "analysis project long --method atlas"),
    "no such column": ("words", lambda run: plots.head_map(run, "L0H0", "hue"), "coloured by: kind, position, "),
    "no such score": ("words", lambda run: plots.heads(run, "nmi"), "has no score 'nmi'; it has: .*entropy"),
    "none across": (
        "pairs", lambda run: plots.heads(run, "first_token", stack="text.dec.cross"), "no score 'first_token'; it has: "
    ),
    "no such picture": ("words", lambda run: plots.heads(run, "entropy", "pie"), "one of: grid, strip, layers"),
    "no such input": ("words", lambda run: plots.attention(run, "L0H0", 99), "no input 99; the run has 3"),
    "no such token": ("words", lambda run: plots.attention(run, "L0H0", 0, token=99), "no query that is drawn"),
    "no such part": ("words", lambda run: plots.attention(run, "L0H0", 0, keys=range(90, 99)), r"keys=range\(0, "),
    "not allowed": (
        "words", lambda run: plots.attention(run, "L0H0", 0, queries=range(2), keys=range(4, 6)), "nothing to draw"
    ),
    "no image": ("words", lambda run: plots.attention(run, "L0H0", 0, "picture"), "no picture that tokens of"),
    "no profile": ("words", lambda run: plots.head_profile(run, "L0H2"), "keeps no profile of text.dec.self.0"),
    "no distance": (
        "pairs", lambda run: plots.head_profile(run, "L0H0", stack="text.dec.cross"), "two sequences there is no"
    ),
    "no sinks": ("long", lambda run: plots.sinks(run), "before sinks were measured: extract it again"),
    "no states": ("pairs", lambda run: plots.sinks(run, "norms", stack="text.dec.self"), "again with --states"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(runs, case):
    name, draw, said = REFUSED[case]
    with pytest.raises(UserError, match=said) as refused:
        draw(runs[name])
    assert "\n" not in str(refused.value)
