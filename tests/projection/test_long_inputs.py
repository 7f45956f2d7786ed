"""A map of a text that is too long to be laid out whole: a sample of its tokens fitted, the others beside them."""

import numpy as np
import pytest

import analysis
from analysis.pipeline import project, thinned_head
from analysis.pipeline.maps import StoredHead
from tests.store.synthetic import make_synthetic_run

LONGEST = 24


@pytest.mark.parametrize("stored", [True, False], ids=["stored", "recomputed"])
def test_a_window_of_the_attention_is_read_alone(tmp_path, stored):
    path = make_synthetic_run(tmp_path, n_inputs=3, n_kv_heads=1, causal=True, store_attention=stored)
    with analysis.open_run(path) as run:
        site, whole, mask = run.sites[1], run.attention(run.sites[1], 2, 1), run.allowed(run.sites[1], 1)
        queries, keys = np.array([1, 4, 5]), np.array([0, 2, 5])
        weights, allowed = run.attention_among(site, 2, 1, queries)
        np.testing.assert_allclose(weights, whole[queries], atol=1e-6)
        np.testing.assert_array_equal(allowed, mask[queries])
        weights, allowed = run.attention_among(site, 2, 1, queries, keys)
        part = whole[np.ix_(queries, keys)]
        np.testing.assert_allclose(weights, part / part.sum(axis=1, keepdims=True), atol=2e-3 if stored else 1e-5)
        np.testing.assert_array_equal(allowed, mask[np.ix_(queries, keys)])


@pytest.mark.parametrize("method", ["linear", "atlas"])
def test_a_sample_of_a_long_text_is_fitted_and_the_others_lie_beside_it(tmp_path, monkeypatch, method):
    monkeypatch.setattr(thinned_head, "LONGEST_INPUT", LONGEST)
    sizes = {"n_inputs": 3, "n_tokens": 60, "n_layers": 1, "n_heads": 2, "with_projection": False}
    path = make_synthetic_run(tmp_path, store_attention=False, **sizes)
    name = project(path, method=method)
    with analysis.open_run(path) as run:
        lengths = run.inputs()["n_tokens"].to_numpy()
        fitted = int(np.minimum(lengths, LONGEST).sum())
        assert fitted < lengths.sum()
        places = run.places(name, run.sites[0])
        assert np.isfinite(places).all()
        parameters = run.head_parameters(name)["parameters"]
        assert {(one["n_fitted"], one["n_placed"]) for one in parameters} == {(fitted, lengths.sum() - fitted)}
        starts = np.concatenate([[0], np.cumsum(lengths)])
        head = StoredHead(run, run.sites[0], 1, starts, run.tokens()["is_special"].to_numpy(bool))
        thinned = head.thinned(0)
        problem = thinned.head.of_inputs(np.arange(3))
        assert [len(weights) for weights in problem.attention] == np.minimum(lengths, LONGEST).tolist()
        np.testing.assert_array_equal(problem.queries, run.queries(run.sites[0], 1)[thinned.rows])
        np.testing.assert_allclose(problem.attention[0].sum(axis=1), 1, atol=1e-5)
        # Those placed beside lie among the fitted: none is farther out than these by much.
        own, others = places[1, 0, thinned.rows], np.delete(places[1, 0], thinned.rows, axis=0)
        spread = np.abs(own - own.mean(axis=0)).max()
        assert np.abs(others - own.mean(axis=0)).max() < 2 * spread


def test_short_texts_are_laid_out_whole(tmp_path):
    path = make_synthetic_run(tmp_path, n_inputs=3, n_layers=1, n_heads=1, with_projection=False)
    with analysis.open_run(path) as run:
        starts = np.concatenate([[0], np.cumsum(run.inputs()["n_tokens"])])
        assert StoredHead(run, run.sites[0], 0, starts, np.zeros(starts[-1], bool)).thinned(0) is None


def test_kept_tokens_are_the_same_for_every_head_and_others_by_another_seed():
    kept = thinned_head.kept_tokens(np.array([5, 90]), seed=0, longest=10)
    again = thinned_head.kept_tokens(np.array([5, 90]), seed=0, longest=10)
    other = thinned_head.kept_tokens(np.array([5, 90]), seed=1, longest=10)
    assert kept[0].tolist() == list(range(5))
    assert len(set(kept[1].tolist())) == 10
    assert (kept[1][0], (np.diff(kept[1]) > 0).all()) == (0, True)
    assert kept[1].tolist() == again[1].tolist() != other[1].tolist()
