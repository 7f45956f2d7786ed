"""Runs of two sequences on the page: everything in its place among all tokens of an input, and nothing elsewhere."""

import numpy as np
import pytest

from analysis.sinks import SinkRule
from analysis.store import open_run
from analysis.types import KEY, QUERY
from app import cache
from app.cache import attended, pictures, two_texts, vectors, whole
from app.cache import sinks as kept
from app.charts.card_points import card_points
from app.charts.colouring import by_kind
from app.charts.text_attention import attention_table, make_lines
from tests.store.synthetic_pairs import make_pair_run

CROSS = "text.dec.cross.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs")
    make_pair_run(path)
    return path


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.setenv("QK_ATLAS_RUNS", str(folder))
    with open_run("pairs", folder) as opened:
        yield opened


def test_attention_stands_among_all_tokens_of_the_input(run):
    whole_map, allowed = cache.attention("pairs", CROSS, 2, 1), pictures.allowed("pairs", CROSS, 1)
    assert whole_map.shape == allowed.shape == (18, 18)
    np.testing.assert_array_equal(whole_map[7:, :7], run.attention(CROSS, 2, 1))
    assert allowed.sum() == allowed[7:, :7].sum() == 11 * 7
    assert whole_map[:7].sum() == whole_map[:, 7:].sum() == 0
    for rows, weights, _ in attended.by_input("pairs", CROSS, 2):
        assert rows.stop - rows.start == len(weights)
    stack = [site for site in run.sites if site.stack_label == "text.dec.cross"]
    layers = {(site.label, head): weights for site, head, weights in pictures.each_head("pairs", stack, 1)}
    np.testing.assert_allclose(layers[CROSS, 2], whole_map, atol=1e-6)


def test_points_norms_and_vectors_are_absent_where_a_token_has_none(run):
    queries, keys = cache.points("pairs", "atlas-2d", CROSS, 0)
    is_decoder = (run.tokens()["sequence"] == "decoder").to_numpy()
    norms, own = attended.norms("pairs", CROSS, 0), vectors.vectors("pairs", CROSS, 0, KEY)
    of_decoder, of_encoder = (queries[:, 0], norms["query"]), (keys[:, 0], norms["key"], norms["value"], own[:, 0])
    for values, there in [*((each, is_decoder) for each in of_decoder), *((each, ~is_decoder) for each in of_encoder)]:
        np.testing.assert_array_equal(np.isfinite(values), there)
    found = vectors.nearest_points("pairs", CROSS, 0, QUERY, int(np.flatnonzero(is_decoder)[0]), 200, False)
    assert len(found.rows) == is_decoder.sum() - 1
    assert is_decoder[found.rows].all()
    assert np.isfinite(found.typical)
    card = card_points(queries, keys, by_kind(len(queries)), picked=int(np.flatnonzero(is_decoder)[0]))
    assert len(card.places) == len(queries)  # one point a token, not two
    assert [ring[0] for ring in card.picked] == [0]


def test_both_texts_are_read_as_one(run):
    text, tokens = cache.input_texts("pairs")[1], cache.tokens("pairs").query("input_id == 1 and not is_special")
    assert text == two_texts.BETWEEN.join(run.inputs().loc[1, ["text", "target"]])
    spelled = [text[start:end] for start, end in zip(tokens["char_start"], tokens["char_end"])]
    assert spelled == tokens["text"].tolist()


def test_runs_of_one_sequence_are_handed_on_as_they_are(run):
    block = np.ones((3, 3))
    assert whole.block_in(3, np.arange(3), np.arange(3), block) is block


def test_lines_begin_at_the_top_on_both_sides():
    weights = np.zeros((5, 5))
    weights[3:, :3] = [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]
    labels, sides = list("abcde"), (range(3, 5), range(3))
    table = attention_table(weights, labels, list("01234"), weights > 0, sides)
    assert table[["query", "key"]].to_numpy().tolist() == [[3, 0], [3, 1], [3, 2], [4, 0], [4, 1], [4, 2]]
    chart = make_lines(table, labels, [False] * 5, places=list("01234"), sides=sides).to_dict()
    ends = [rows for rows in chart["datasets"].values() if "label" in rows[0]]
    told = {tuple(row["token"] for row in rows): [row["y"] for row in rows] for rows in ends}
    assert told == {("d", "e"): [0, 1], ("a", "b", "c"): [0, 1, 2]}
    lines = next(rows for rows in chart["datasets"].values() if "query_y" in rows[0])
    assert {(row["query_y"], row["key_y"]): row["weight"] for row in lines}[1, 2] == pytest.approx(0.8)


def test_the_sinks_of_a_stack_are_told_of_its_own_keys(run):
    rule = SinkRule(0.3, 2)
    assert kept.stacks("pairs") == ["text.enc.self", "text.dec.self", "text.dec.cross"]
    for stack, sequence in zip(kept.stacks("pairs"), ("encoder", "decoder", "encoder")):
        tokens, counted = kept.tokens("pairs", stack), kept.counted("pairs", stack)
        tower = kept.tower("pairs", stack, rule)
        assert set(tokens["sequence"]) == {sequence}
        assert len(tower.inputs) == len(tokens) == len(kept.classes("pairs", stack))
        assert set(kept.findings("pairs", rule, stack).overall["sequence"]) == {sequence}
        assert counted.groupby("input_id")["position"].min().eq(0).all()
        assert kept.seen("pairs", stack, rule).able.any()
    received = kept.received("pairs", CROSS, True)
    weights = run.attention(CROSS, 0, 0)
    np.testing.assert_allclose(received[0, :9], weights.mean(axis=0), atol=2e-3)
    assert kept.tokens("pairs", "text.dec.self")["position"].min() == 7
