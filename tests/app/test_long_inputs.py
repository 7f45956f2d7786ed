"""A text that is read some queries at a time says what the same text says from its whole matrix, to 2e-6 of a weight.

The two are as far apart as the order in which float32 numbers are added and multiplied: a product of matrices in tiles
of other sizes, a sum over rows in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import analysis
from analysis.attention import recompute
from analysis.metrics.windowed import Windows, influence, influence_in_windows
from analysis.pipeline import long_sums
from analysis.pipeline.influence import token_influence
from analysis.pipeline.without_sinks import heads_without_sinks
from analysis.store import windows as windows_module
from analysis.types import Band
from app import cache
from app.cache import head_card, hidden, long_inputs, pictures
from app.cache import tour as tour_module
from app.charts.head_maps import TILE_PIXELS, reduce_to
from app.charts.lasso import mean_attention
from app.charts.long_shown import blocks_of, strongest_pairs
from app.charts.scales import make_scale
from app.charts.shown import strongest_both_ways
from app.charts.windowed import MOST_BARS, WAAD, WHOLE_TOKENS, highest_of_blocks, rhythm_table
from app.state import Selection
from app.views.head_parts import picks
from app.views.input_parts import long_input, one_input, read_one
from app.views.input_parts.sources import StoredInput
from tests.store import synthetic

N_TOKENS, CELLS, PIXELS = 160, 3000, 50
BANDS = {"causal": Band(right=0), "full": Band(), "sliding": Band(left=30, right=0), "ahead": Band(left=20, right=12)}
KINDS = [*BANDS, "stored"]
CLOSE = 2e-6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A run for each band, and one whose attention is stored."""
    folder = tmp_path_factory.mktemp("long")
    shape = {"n_inputs": 2, "n_tokens": N_TOKENS, "n_layers": 2, "n_heads": 3, "n_kv_heads": 1, "causal": True}
    for name in KINDS:
        band = BANDS.get(name, BANDS["causal"])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(synthetic, "Band", lambda band=band, **sides: band)
            patch.setattr(synthetic, "make_capture", with_a_sink)
            synthetic.make_synthetic_run(folder, name, **shape, store_attention=name == "stored")
    return folder


@pytest.fixture(params=KINDS)
def run(request, folder, monkeypatch) -> Iterator[analysis.Run]:
    """One run of long texts, read in windows of about twenty rows."""
    monkeypatch.setenv("QK_ATLAS_RUNS", str(folder))
    for module in (windows_module, long_input):
        monkeypatch.setattr(module, "WINDOW_CELLS", CELLS)
    monkeypatch.setattr(long_sums, "WINDOWED_TOKENS", 60)
    monkeypatch.setattr(long_input, "OVERVIEW_PIXELS", PIXELS)
    with analysis.open_run(folder / request.param) as opened:
        yield opened


def with_a_sink(rng, site, *rest, made=synthetic.make_capture):
    """A capture whose head 1 has a sink at position 4."""
    capture = made(rng, site, *rest)
    queries, keys = capture.queries.copy(), capture.keys.copy()
    queries[1, :, 0] += 3
    keys[0, 4, 0] += 7
    attention = recompute(queries, keys, capture.allowed, site.scale, site.softcap)
    return replace(capture, queries=queries, keys=keys, attention=attention)


def selection_of(run: analysis.Run, **words: object) -> Selection:
    return Selection(run=run.run_id, site=run.sites[1].label, head=1, input=1).having(**words)


def both(run: analysis.Run, with_heads: bool = False, **words: object) -> tuple:
    """The input from its whole matrix, and read in windows."""
    selection, source = selection_of(run, **words), StoredInput(run.run_id, 1)
    heads = [(run.sites[1], 1), *([(run.sites[0], 2), (run.sites[1], 0)] if with_heads else [])]
    assert long_input.is_long(source, heads)
    return read_one.read_one(selection, source, heads), long_input.read_long(selection, source, heads)


def test_windows_are_the_rows_of_the_attention_and_leave_out_only_what_is_never_seen(run):
    site, whole, mask = run.sites[1], run.shares(run.sites[1], 2, 1), run.allowed(run.sites[1], 1)
    windows = list(run.attention_windows(site, 2, 1))
    assert len(windows) >= 5
    assert [window.rows.start for window in windows[1:]] == [window.rows.stop for window in windows[:-1]]
    assert windows[-1].rows.stop == len(whole)
    for window in windows:
        np.testing.assert_allclose(window.weights, whole[window.rows, window.keys], atol=CLOSE)
        np.testing.assert_array_equal(window.allowed, mask[window.rows, window.keys])
        assert np.delete(mask[window.rows], np.r_[window.keys], axis=1).sum() == 0
    if site.band == Band(left=30, right=0):
        assert max(window.weights.shape[1] for window in windows) < 60


LOOKS = {
    "plain": {}, "averaged": {"with_heads": True}, "sinks": {"sinks": "hidden"},
    "averaged without sinks": {"with_heads": True, "sinks": "hidden"}, "hidden": {"hide": "special,3,7,80,81"},
    "first hidden": {"hide": "0,1"}, "weighed": {"weigh": "norm", "with_heads": True},
    "weighed without sinks": {"weigh": "norm", "sinks": "hidden", "with_heads": True},
    "words": {"words": "1", "with_heads": True},
    "words and hidden": {"words": "1", "hide": "5,6,7,100", "sinks": "hidden"},
}  # fmt: skip


@pytest.fixture(params=LOOKS)
def seen(request, run, monkeypatch) -> tuple:
    def in_threes(selection, source):
        return np.arange(len(source.tokens)) // (3 if selection.options.get("words") else 1)

    for module in (one_input, read_one, long_input):
        monkeypatch.setattr(module, "groups", in_threes)
    return both(run, **LOOKS[request.param])


def test_everything_that_is_drawn_of_it_is_that_of_the_whole_matrix(seen):
    whole, long = seen
    n = len(whole.shown)
    assert (len(long.shown), long.attention, long.is_long, whole.is_long) == (n, None, True, False)
    np.testing.assert_allclose(long.means, whole.means, atol=CLOSE)
    for name in ("unit_of", "first", "last", "sinks"):
        np.testing.assert_array_equal(getattr(long.shown, name), getattr(whole.shown, name))
    top = whole.shown.largest
    close = dict(atol=CLOSE * max(1.0, top), rtol=0)
    for rows, columns in (
        (slice(0, 30), slice(0, 40)),
        (slice(n - 20, n), slice(50, 90)),
        (slice(20, 45), slice(None)),
    ):
        for ours, theirs in zip(long.shown.part(rows, columns), whole.shown.part(rows, columns)):
            np.testing.assert_allclose(ours, theirs, **close)
    for unit in (0, n // 2, n - 1):
        np.testing.assert_allclose(long.shown.row(unit), whole.shown.row(unit), **close)
        np.testing.assert_allclose(long.shown.column(unit), whole.shown.column(unit), **close)
    np.testing.assert_allclose(long.weights(), whole.weights(), **close)
    assert long.shown.largest == pytest.approx(top, abs=close["atol"])
    assert long.shown.facts.n_allowed == whole.shown.allowed.sum()
    np.testing.assert_allclose(long.shown.hidden_mass, whole.shown.hidden_mass, atol=CLOSE)
    assert long.shown.n_emptied == whole.shown.n_emptied
    assert long.notes == whole.notes
    overview = reduce_to(whole.cut(whole.shown.seen()), PIXELS)
    np.testing.assert_allclose(long.shown.facts.blocks, overview, **close)
    small = blocks_of(long.reader.windows(), n, TILE_PIXELS)
    np.testing.assert_allclose(small, reduce_to(whole.shown.seen(), TILE_PIXELS), **close)


def test_the_strongest_are_those_of_the_whole_matrix(seen):
    whole, long = seen
    ours, theirs = long.strongest, strongest_both_ways(whole.shown)
    for name in ("key_weights", "query_weights"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=CLOSE * max(1, whole.shown.largest))
    for units, weights, matrix in (
        (ours.keys, ours.key_weights, whole.shown.seen()), (ours.queries, ours.query_weights, whole.shown.seen().T)
    ):  # fmt: skip
        line, place = np.nonzero(units >= 0)
        np.testing.assert_allclose(weights[line, place], matrix[line, units[line, place]], atol=CLOSE * 5)
        assert all(len(set(row[row >= 0].tolist())) == (row >= 0).sum() for row in units)
        assert ((units >= 0) == (np.isfinite(matrix).sum(axis=1)[:, None] > np.arange(3))).all()
    query, key, weight = strongest_pairs(long.reader.windows(), 500)
    flat = np.sort(whole.shown.weights[whole.shown.allowed])[::-1][: len(weight)]
    np.testing.assert_allclose(np.sort(weight)[::-1], flat, atol=CLOSE * 5)
    np.testing.assert_allclose(weight, whole.shown.weights[query, key], atol=CLOSE * 5)
    assert len(weight) == min(500, whole.shown.allowed.sum())
    assert len({*zip(query.tolist(), key.tolist())}) == len(weight)


@pytest.mark.parametrize("name", ["linear", "log", "rank"])
def test_the_colour_scale_is_that_of_the_whole_matrix(run, name, monkeypatch):
    monkeypatch.setattr("app.charts.scales.RANKED", 1000)
    monkeypatch.setattr("app.charts.long_shown.RANKED", 1000)
    whole, long = both(run, scale=name)
    made = make_scale(whole.shown.seen(), name)
    assert long.scale.name == name
    np.testing.assert_allclose(long.scale.weights, made.weights, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(long.scale.shares, made.shares, atol=1e-9)


def test_sinks_and_what_is_said_of_them_are_those_of_the_whole_matrix(run):
    names = [str(place) for place in range(N_TOKENS)]
    n_sinks = 0
    for head in range(3):
        whole = hidden.hide_sinks(run.shares(run.sites[1], head, 1), run.allowed(run.sites[1], 1))
        sums = long_inputs.head_sums(run.run_id, run.sites[1].label, head, 1)
        np.testing.assert_array_equal(sums.sinks, whole.columns)
        n_sinks += whole.columns.sum()
        assert bool(sums.sinks[4]) == (head == 1)
    assert n_sinks == 1
    for with_heads in (False, True):
        whole, long = both(run, with_heads, sinks="hidden", token=9)
        assert long.sinks.sentence("L1H1", names, 9) == whole.sinks.sentence("L1H1", names, 9)
        np.testing.assert_array_equal(long.sinks.emptied, whole.sinks.emptied)


@pytest.mark.parametrize("hides", [False, True], ids=["whole", "sinks hidden"])
def test_what_the_page_of_a_head_tells_of_a_long_text_is_that_of_the_whole_matrix(run, hides, monkeypatch):
    selection = selection_of(run, token=37, **({"sinks": "hidden"} if hides else {}))
    site, where = run.sites[1], (run.run_id, run.sites[1].label, 1)
    tokens = cache.tokens(run.run_id)
    flags = np.random.default_rng(0).random((2, len(tokens))) < 0.3
    ours = picks.picked(selection)
    lassoed = mean_attention(hidden.by_input(*where, hides), *flags, tokens["text"])
    means = pictures.averages(*where, hides=hides)
    tile = head_card.tile(*where, 1)
    for cached in (pictures._averages, head_card._tile):
        cached.clear()
    monkeypatch.setattr(long_sums, "WINDOWED_TOKENS", 10_000)
    theirs = picks.picked(selection)
    for side in ("sees", "seen"):
        assert [row["point"] for row in ours[side]["rows"]] == [row["point"] for row in theirs[side]["rows"]]
        weights = [[row["weight"] for row in told[side]["rows"]] for told in (ours, theirs)]
        np.testing.assert_allclose(*weights, atol=CLOSE)
        assert ours[side]["note"] == theirs[side]["note"]
    expected = mean_attention(hidden.by_input(*where, hides), *flags, tokens["text"])
    assert lassoed["pairs"] == expected["pairs"]
    assert lassoed["n_pairs"] == expected["n_pairs"]
    for name in ("mean", "elsewhere"):
        assert lassoed[name] == pytest.approx(expected[name], rel=1e-5)
    np.testing.assert_allclose(
        np.array(lassoed["means"], dtype=float), np.array(expected["means"], dtype=float), atol=CLOSE
    )
    for ours_, theirs_ in zip(means, pictures.averages(*where, hides=hides), strict=True):
        np.testing.assert_allclose(ours_, theirs_, atol=CLOSE)
    assert tile == head_card.tile(*where, 1)
    assert site.n_heads == 3


@pytest.mark.parametrize("settings", [Windows(), Windows(0.5, 4, 3, 20, 30)], ids=["published", "changed"])
def test_the_rhythm_of_a_long_text_is_that_of_its_whole_matrices(run, settings):
    heads = [(site.label, head) for site in run.sites for head in range(3)]
    if not run.sites[0].band.is_causal:
        with pytest.raises(analysis.errors.UserError, match="later tokens"):
            influence_in_windows((_rows(run, *each) for each in heads), settings)
        return
    found = influence_in_windows((_rows(run, *each) for each in heads), settings)
    whole = influence(lambda: (run.shares(*each, 1) for each in heads), settings)
    np.testing.assert_allclose(found.distance, whole.distance, rtol=1e-4)
    assert (found.local.tolist(), found.far.tolist()) == (whole.local.tolist(), whole.far.tolist())
    np.testing.assert_allclose(found.waad_tokens, whole.waad_tokens, atol=1e-5)
    np.testing.assert_allclose(found.fai, whole.fai, atol=CLOSE)


def _rows(run, site, head):
    return ((first, rows) for first, rows, _ in long_inputs.drawn(run.run_id, site, head, 1, False))


def test_the_tour_looks_at_the_beginning_of_a_long_text(run, monkeypatch):
    monkeypatch.setattr(tour_module, "LONGEST_TOKENS", 60)
    found = tour_module._example(run.run_id, run.sites[1].label, 1, "previous_token")
    assert found is not None
    assert found.query < 60
    assert found.weight == pytest.approx(run.shares(run.sites[1], 1, found.input)[found.query, found.key], abs=CLOSE)


def test_many_bars_are_those_of_the_highest_of_each_block_and_few_are_all():
    n = WHOLE_TOKENS + 500
    found = SimpleNamespace(waad_tokens=np.random.default_rng(0).random(n), fai=np.full(n, 0.5))
    table = rhythm_table(found, ["a"] * n)
    drawn = highest_of_blocks(table, WAAD)
    step = -(-n // MOST_BARS)
    assert len(drawn) == -(-n // step) <= MOST_BARS
    for place in (1, 400, len(drawn) - 1):
        block = found.waad_tokens[place * step : (place + 1) * step]
        assert drawn[WAAD].iloc[place] == block.max()
        assert drawn["position"].iloc[place] == place * step + block.argmax()
    assert len(highest_of_blocks(table.iloc[:WHOLE_TOKENS], WAAD)) == WHOLE_TOKENS


def test_a_text_that_is_no_longer_than_is_said_is_read_whole(run, monkeypatch):
    site = run.sites[0]
    assert long_inputs.is_long(run.run_id, 1, site)
    monkeypatch.setattr(long_sums, "WINDOWED_TOKENS", N_TOKENS)
    assert not long_inputs.is_long(run.run_id, 1, site)


def test_heads_without_sinks_and_the_influence_of_tokens_are_those_of_the_whole_matrix(run, monkeypatch):
    names = ("entropy", "first_token", "special_share", "nmi", "same_token")
    ours = heads_without_sinks(run, names)
    causal = run.sites[0].band.is_causal
    told = token_influence(run, 1) if causal else None
    monkeypatch.setattr(long_sums, "WINDOWED_TOKENS", 10_000)
    theirs = heads_without_sinks(run, names)
    assert theirs.heads["n_hidden"].max() > 0
    assert (ours.n_inputs, ours.heads.columns.tolist()) == (theirs.n_inputs, theirs.heads.columns.tolist())
    numbers = [each.heads.drop(columns=["site", "head"]).to_numpy(float) for each in (ours, theirs)]
    np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-5)
    if causal:
        whole = token_influence(run, 1)
        assert (told.local_heads, told.global_heads) == (whole.local_heads, whole.global_heads)
        np.testing.assert_allclose(told.tokens["waad_tokens"], whole.tokens["waad_tokens"], atol=1e-5)
        np.testing.assert_allclose(told.tokens["fai"], whole.tokens["fai"], atol=CLOSE)
