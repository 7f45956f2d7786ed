"""Maps of heads whose queries and keys are different tokens, and how they are judged."""

import numpy as np
import pytest

from analysis.projection import PROJECTIONS
from analysis.projection.fidelity import attended_nearby, key_only_kl, kl_explained, measure
from analysis.projection.fit import fit_one
from analysis.projection.problem import HeadProblem, Layout
from analysis.sinks import USUAL
from tests.projection.heads import cross_head

LONG = dict(n_queries=(30, 21, 25, 40) * 3, n_keys=(25, 40, 12, 31) * 3, sharpness=2.0)


@pytest.mark.parametrize("method", ["linear", "atlas", "pca", "umap", "tsne"])
@pytest.mark.parametrize("target", ["attention", "without_sinks"])
def test_every_method_places_each_query_and_each_key(method, target):
    problem = cross_head(n_queries=(30, 21, 25, 40), n_keys=(25, 40, 12, 31), sharpness=2.0).with_target(target)
    layout, figures = fit_one(problem, PROJECTIONS[method], 2, 0, target, 20_000, {})
    assert layout.queries.shape == (116, 2)
    assert layout.keys.shape == (108, 2)
    assert np.isfinite(layout.queries).all()
    assert np.isfinite(layout.keys).all()
    assert all(np.isfinite(value) for value in figures.values())


def test_a_map_of_a_cross_head_says_its_attention():
    problem = cross_head(**LONG)
    layout, figures = fit_one(problem, PROJECTIONS["atlas"], 2, 0, "attention", 20_000, {})
    assert figures["kl_explained"] > 0.4
    shuffled = Layout(layout.queries, np.random.default_rng(0).permutation(layout.keys), layout.parameters)
    assert kl_explained(problem, shuffled) < 0
    assert figures["mass3_skill"] > attended_nearby(problem, shuffled)["mass3_skill"] + 0.2


def test_figures_are_those_of_the_pairs_that_may_attend_counted_by_hand():
    problem = cross_head()
    random = np.random.default_rng(1)
    layout = Layout(*(random.normal(size=(n, 2)).astype(np.float32) for n in (36, 26)), {"reading": _READING})
    to_map = to_even = hits = n_recalled = 0.0
    for number, weights in enumerate(problem.attention):
        rows = slice(problem.starts[number], problem.starts[number + 1])
        columns = slice(problem.key_starts[number], problem.key_starts[number + 1])
        squares = ((layout.queries[rows, None] - layout.keys[None, columns]) ** 2).sum(axis=-1).astype(np.float64)
        said = (1 + squares / 9) ** -2.0
        said /= said.sum(axis=1, keepdims=True)
        to_map += (weights * np.log(weights / said)).sum()
        to_even += (weights * np.log(weights * weights.shape[1])).sum()
        for query in range(len(weights) - 1):  # the last one is special
            near, most = np.argsort(squares[query, 1:])[:3], np.argsort(-weights[query, 1:])[:3]
            hits += len(set(near) & set(most))
            n_recalled += 1
    figures = measure(problem, layout)
    assert figures["kl_explained"] == pytest.approx(1 - to_map / to_even, abs=1e-5)
    assert figures["recall3_content"] == pytest.approx(hits / n_recalled / 3, abs=1e-6)


_READING = {"power": 2, "sigma": 3.0}


def test_popularity_of_keys_is_exact_where_queries_attend_alike():
    problem = cross_head()
    alike = [np.repeat(weights[:1], len(weights), axis=0) for weights in problem.attention]
    same = HeadProblem(**{**_fields(problem), "attention": alike})
    assert key_only_kl(same) == pytest.approx(1, abs=1e-6)
    assert 0 < key_only_kl(problem) < 1


def test_without_sinks_takes_away_special_keys_whatever_queries_are():
    whole = cross_head()
    problem = whole.with_target("without_sinks")
    assert not any(mask[:, 0].any() for mask in problem.allowed)
    for weights, mask in zip(whole.attention, problem.allowed, strict=True):
        is_sink = (weights.mean(axis=0) >= USUAL.threshold) & (len(weights) >= USUAL.min_queries)
        assert (mask[:, 1:] == ~is_sink[1:]).all()


def test_some_inputs_bring_their_own_queries_and_keys():
    whole = cross_head()
    part = whole.of_inputs(np.array([0, 2]))
    np.testing.assert_array_equal(part.starts, [0, 12, 27])
    np.testing.assert_array_equal(part.key_starts, [0, 7, 12])
    np.testing.assert_array_equal(part.queries[12:], whole.queries[21:])
    np.testing.assert_array_equal(part.keys[7:], whole.keys[21:])
    np.testing.assert_array_equal(part.pairs.first[12:], 7)
    np.testing.assert_array_equal(np.flatnonzero(part.is_special), [0, 7])
    np.testing.assert_array_equal(np.flatnonzero(part.is_special_query), [11, 26])


def test_a_head_too_large_to_be_fitted_at_once_is_placed_in_blocks():
    problem = cross_head(**LONG)
    layout, figures = fit_one(problem, PROJECTIONS["atlas"], 2, 0, "attention", 200, {})
    assert (layout.queries.shape, layout.keys.shape) == ((348, 2), (324, 2))
    assert layout.parameters["n_blocks"] > 1
    assert layout.parameters["n_fitted"] + layout.parameters["n_placed"] == 348
    assert figures["kl_explained"] == pytest.approx(kl_explained(problem, layout), abs=1e-6)


def _fields(problem: HeadProblem) -> dict:
    return {name: getattr(problem, name) for name in HeadProblem.__dataclass_fields__}
