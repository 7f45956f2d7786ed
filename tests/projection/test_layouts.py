"""The moves, the linear map, the forces of `atlas` and the problem they share."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.attention import recompute
from analysis.errors import UnknownName
from analysis.projection import PROJECTIONS
from analysis.projection.atlas_layout import UNDER_START, atlas
from analysis.projection.fidelity import kl_explained, measure
from analysis.projection.kernels.forces import attention_pull, neighbour_pull, softmax_pull
from analysis.projection.kernels.neighbours import nearest
from analysis.projection.linear import linear, place, training_part
from analysis.projection.normalise import best_scale, join
from analysis.projection.problem import attention_extent, without_sinks
from analysis.sinks import SinkRule, sink_columns
from analysis.types import Band
from tests.projection.heads import given_attention, random_head


def numeric_gradient(loss, *arrays, step=1e-3):
    """Central differences of `loss` in every entry of the arrays."""
    gradients = []
    for array in arrays:
        gradient = np.zeros(array.shape)
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + step
            above = loss()
            array[index] = kept - step
            gradient[index] = (above - loss()) / (2 * step)
            array[index] = kept
        gradients.append(gradient)
    return gradients


def squares(x, y):
    return ((x[:, :, None] - y[:, None, :]) ** 2).sum(axis=0)


def attention_loss(problem, x, y, power, sigma, eps):
    total = 0.0
    for begin, weights, mask in zip(problem.starts, problem.attention, problem.allowed):
        rows = slice(begin, begin + len(weights))
        distance = squares(x[:, rows].astype(float), y[:, rows].astype(float))
        kernel = np.exp(-distance) if power == 0 else (1 + distance / sigma**2) ** -power
        for i in range(len(weights)):
            if mask[i].sum() > 1:
                total -= (weights[i, mask[i]] * np.log(kernel[i, mask[i]])).sum()
                total += np.log(eps + kernel[i, mask[i]].sum())
    return total


@pytest.mark.parametrize("band", [None, Band(right=0)], ids=["full", "causal"])
@pytest.mark.parametrize(("power", "eps"), [(1, 0.0), (2, 0.1), (5, 0.0), (8, 0.0)])
def test_attention_forces_are_the_gradient_of_the_objective(power, eps, band):
    problem = random_head(lengths=(5, 3), band=band)
    x, y = np.random.default_rng(1).normal(size=(2, 2, 8)).astype(np.float32)
    pulls, pairs = np.zeros((2, 2, 8), dtype=np.float32), problem.pairs
    work = np.empty((3, 8), dtype=np.float32)
    cross = attention_pull(x, y, *pairs[:4], power, 1.5, eps, 2.0, *pulls, work, True)
    expected = numeric_gradient(lambda: 2 * attention_loss(problem, x, y, power, 1.5, eps), x, y)
    np.testing.assert_allclose(pulls, expected, atol=2e-3)
    assert cross == pytest.approx(attention_loss(problem, x, y, power, 1.5, 0.0), rel=1e-5)


def test_linear_forces_are_the_gradient_of_the_cross_entropy():
    problem = random_head(lengths=(5, 3), band=Band(right=0))
    x, y = np.random.default_rng(1).normal(size=(2, 2, 8)).astype(np.float32)
    pulls = np.zeros((2, 2, 8), dtype=np.float32)
    softmax_pull(x, y, *problem.pairs[:4], *pulls)
    expected = numeric_gradient(lambda: attention_loss(problem, x, y, 0, 1.0, 0.0), x, y)
    np.testing.assert_allclose(pulls, expected, atol=2e-3)


def test_neighbour_forces_are_half_of_t_sne():
    """With every shift sampled once, the repulsion is exact."""
    random = np.random.default_rng(0)
    n_points, places = 9, random.normal(size=(2, 9)).astype(np.float32)
    neighbours = nearest(random.normal(size=(9, 4)).astype(np.float32), 3)
    edges = np.zeros((n_points, n_points))
    edges[np.arange(n_points)[:, None], neighbours] = 1 / 3
    edges = (edges + edges.T) / 2

    def loss():
        distance = squares(places.astype(float), places.astype(float))
        kernel = 1 / (1 + distance)[~np.eye(n_points, dtype=bool)]
        return 0.5 * (edges * np.log1p(distance)).sum() + 0.5 * n_points * np.log(kernel.mean())

    pull, push, work = np.zeros((2, 9), np.float32), np.zeros((2, 9), np.float32), np.zeros((3, 9), np.float32)
    neighbour_pull(places, neighbours, np.arange(1, n_points), 0.0, 1.0, 1.0, pull, push, work)
    np.testing.assert_allclose(pull, numeric_gradient(loss, places)[0], atol=2e-3)


def test_nearest_is_exact():
    vectors = np.random.default_rng(0).normal(size=(700, 6)).astype(np.float32) + 50
    distance = np.linalg.norm(vectors[:, None].astype(float) - vectors[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    np.testing.assert_array_equal(nearest(vectors, 15), np.argsort(distance, axis=1)[:, :15])
    near = nearest(vectors[:130], 129)  # every other point, over an edge of the chunks
    assert (np.sort(near, axis=1) == [[j for j in range(130) if j != i] for i in range(130)]).all()
    among = np.argsort(np.linalg.norm(vectors[:5, None].astype(float) - vectors[None, 5:], axis=2), axis=1)[:, :3]
    np.testing.assert_array_equal(nearest(vectors[:5], 3, among=vectors[5:]), among)


@pytest.mark.parametrize("n_points", [2, 64, 512, 1100])
def test_of_equally_near_vectors_the_first_are_taken(n_points):
    near = nearest(np.ones((n_points, 3), dtype=np.float32), min(15, n_points - 1))
    rest = np.array([[j for j in range(min(n_points, 16)) if j != i] for i in range(n_points)], dtype=object)
    assert all(list(found) == list(expected)[: len(found)] for found, expected in zip(near, rest))


@pytest.mark.parametrize("factor", [0.05, 1.0, 40.0])
def test_the_two_moves_change_no_attention_and_undo_a_scale(factor):
    problem = random_head(lengths=(40,), d_head=6, sharpness=2.0)
    queries, keys = problem.queries * np.float32(factor), problem.keys / np.float32(factor) + 3
    moved_q, moved_k, scale = join(queries, keys)
    after = recompute(moved_q[None], moved_k[None], problem.allowed[0], problem.scale)[0]
    np.testing.assert_allclose(after, problem.attention[0], atol=2e-5)
    np.testing.assert_allclose(moved_q.mean(axis=0), moved_k.mean(axis=0), atol=1e-4)
    assert scale == pytest.approx(best_scale(queries, keys))


def test_the_scale_follows_the_sizes():
    problem = random_head(lengths=(60,), d_head=6)
    plain, stretched = best_scale(problem.queries, problem.keys), best_scale(problem.queries * 16, problem.keys)
    assert stretched == pytest.approx(4 * plain, rel=1e-3)


def test_linear_recovers_attention_that_is_a_distance():
    """Scores that are the product of 2-d vectors are explained by a linear map fully."""
    random = np.random.default_rng(0)
    turn_q, turn_k = random.normal(size=(2, 2, 8))
    planar = random.normal(size=(2, 60, 2))
    problem = random_head(lengths=(20, 20, 20))
    queries, keys = (planar[0] @ turn_q).astype(np.float32), (planar[1] @ turn_k).astype(np.float32)
    scale = 0.02
    attention = [recompute(queries[None, a:b], keys[None, a:b], problem.allowed[0], scale)[0] for a, b in
                 ((0, 20), (20, 40), (40, 60))]  # fmt: skip
    problem = replace(problem, queries=queries, keys=keys, scale=scale, attention=attention)
    assert kl_explained(problem, linear(problem, 2, 0, steps=300)) > 0.9


def test_training_helps_and_new_tokens_go_where_they_belong():
    problem = random_head(lengths=(20,) * 10, d_head=8, sharpness=1.5)
    start, trained = (linear(problem, 2, 0, steps=steps) for steps in (0, 40))
    assert kl_explained(problem, trained) > kl_explained(problem, start) + 0.05
    np.testing.assert_array_equal(place(trained.parameters, problem.queries[7:9], "query"), trained.queries[7:9])
    np.testing.assert_array_equal(place(trained.parameters, problem.keys[7:9], "key"), trained.keys[7:9])
    assert np.shape(trained.parameters["query_matrix"]) == np.shape(trained.parameters["key_matrix"]) == (8, 2)


def test_linear_is_trained_on_whole_inputs_spread_over_the_run():
    problem = random_head(lengths=(20, 10, 30) * 8, d_head=4, band=Band(left=9, right=0))
    rows, key_rows, pairs = training_part(problem, n_tokens=120)
    np.testing.assert_array_equal(key_rows, rows)
    assert len(pairs.first) == len(pairs.length) == len(rows)
    assert 90 <= len(rows) <= 150
    inputs = np.searchsorted(problem.starts, rows, side="right") - 1
    chosen = np.unique(inputs)
    assert {0, 23} <= set(chosen)
    assert len(rows) == np.diff(problem.starts)[chosen].sum()
    for i in np.flatnonzero(pairs.length):
        keys = rows[pairs.first[i] : pairs.first[i] + pairs.length[i]]
        np.testing.assert_array_equal(keys, problem.pairs.first[rows[i]] + np.arange(pairs.length[i]))
    everything, every_key, same = training_part(problem, n_tokens=10_000)
    assert same is problem.pairs
    np.testing.assert_array_equal(everything, np.arange(problem.n_points))
    np.testing.assert_array_equal(every_key, np.arange(problem.n_points))


def clustered_head():
    """Twenty kinds of token, each with its own query and key direction and a little noise: neighbourhoods to keep."""
    random = np.random.default_rng(0)
    kinds = np.repeat(np.arange(20), 20)
    random.shuffle(kinds)
    queries, keys = (random.normal(size=(2, 20, 8))[:, kinds] * 1.3).astype(np.float32)
    queries, keys = (part + 0.2 * random.normal(size=part.shape).astype(np.float32) for part in (queries, keys))
    plain = random_head(lengths=(25,) * 16)
    attention = [
        recompute(queries[None, a : a + 25], keys[None, a : a + 25], plain.allowed[0], plain.scale)[0]
        for a in plain.starts[:-1]
    ]
    return replace(plain, queries=queries, keys=keys, attention=attention)


def test_atlas_balances_attention_and_neighbours():
    problem = clustered_head()
    linear_map, pca_map = (measure(problem, PROJECTIONS[name](problem, 2, 0)) for name in ("linear", "pca"))
    both, neighbours_only = (measure(problem, atlas(problem, 2, 0, **changed)) for changed in ({}, {"strength": 0.0}))
    assert both["kl_explained"] > linear_map["kl_explained"] + 0.05
    assert both["recall3_content"] > linear_map["recall3_content"] + 0.05
    for kind in ("kept_queries", "kept_keys"):
        assert neighbours_only[kind] > pca_map[kind] + 0.1
    assert neighbours_only["kl_explained"] < both["kl_explained"] - 0.15


def test_three_dimensions_hold_more_than_two():
    problem = random_head(lengths=(25,) * 8, d_head=8, sharpness=1.3, seed=3)
    flat, deep = (measure(problem, PROJECTIONS["atlas"](problem, dims, 0)) for dims in (2, 3))
    assert deep["kept_keys"] > flat["kept_keys"]
    assert deep["kl_explained"] > flat["kl_explained"] - 0.02


def test_atlas_refuses_an_unknown_constant():
    with pytest.raises(TypeError, match="pwer"):
        atlas(random_head(), 2, 0, pwer=3)


def test_packed_pairs_hold_each_allowed_weight_once():
    problem = random_head(lengths=(6, 4), band=Band(left=2, right=0))
    pairs = problem.pairs
    for index, (begin, weights, mask) in enumerate(zip(problem.starts, problem.attention, problem.allowed)):
        for i in range(len(weights)):
            row = begin + i
            run = pairs.target[pairs.offset[row] : pairs.offset[row] + pairs.length[row]]
            np.testing.assert_allclose(run, weights[i][mask[i]], rtol=1e-6)
            assert pairs.first[row] == begin + mask[i].argmax()
            assert pairs.n_allowed[row] == mask[i].sum(), index


def test_learned_sinks_leave_proportions():
    weights = np.full((3, 3), 0.1)
    weights[:, 0] = 0.2
    problem = given_attention(weights)
    np.testing.assert_allclose(problem.pairs.target.reshape(3, 3), np.tile([0.5, 0.25, 0.25], (3, 1)))


def test_extent_by_hand():
    entropy, ceiling = attention_extent(given_attention([[1, 0], [0.5, 0.5]]))
    assert entropy == pytest.approx(-np.log(2))
    assert ceiling == pytest.approx(np.log(2))


def test_sinks_and_special_columns_go_and_the_rest_is_rescaled():
    n = 12
    weights = np.full((n, n), 0.5 / (n - 1))
    weights[:, 3] = 0.5
    special = np.zeros(n, dtype=bool)
    special[0] = True
    before = weights.copy()
    rest, allowed = without_sinks([weights], [np.ones((n, n), dtype=bool)], special, np.array([0, n]))
    assert list(np.flatnonzero(~allowed[0][0])) == [0, 3]
    np.testing.assert_allclose(rest[0].sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(rest[0][:, allowed[0][0]], 0.1, rtol=1e-6)
    np.testing.assert_array_equal(weights, before)


def test_late_causal_keys_are_not_sinks_for_being_seen_by_few():
    mask = Band(right=0).allowed(12)
    weights = np.where(mask, 0.0, 0)
    weights[:, 0] = 0.6
    weights[np.arange(12), np.arange(12)] += 0.4
    assert list(np.flatnonzero(sink_columns(weights, mask))) == [0]


def test_a_query_that_saw_nothing_but_sinks_has_nothing_to_explain():
    problem = given_attention(np.tile([1.0] + [0.0] * 9, (10, 1))).with_target("without_sinks")
    assert problem.pairs.length.sum() == 0
    assert np.isnan(kl_explained(problem, linear(problem, 2, 0)))


def test_targets_are_a_closed_list():
    with pytest.raises(UnknownName, match="without_sinks"):
        random_head().with_target("no_sinks")
    with pytest.raises(UnknownName, match="starting from"):
        random_head().with_target("without_sinks").with_target("attention")


def test_without_sinks_atlas_brings_queries_to_their_keys():
    problem = random_head(lengths=(25,) * 12, d_head=8, sharpness=1.3, seed=4)
    whole, rest = problem, problem.with_target("without_sinks")
    mixed = [measure(head, PROJECTIONS["atlas"](head, 2, 0))["mix"] for head in (whole, rest)]
    assert mixed[1] > mixed[0]


def test_a_key_that_only_looks_at_itself_is_no_sink():
    weights = np.full((9, 9), 0.1 / 8)
    np.fill_diagonal(weights, 0.9)
    assert not sink_columns(weights, np.ones((9, 9), dtype=bool), SinkRule(threshold=0.1)).any()


def test_atlas_aims_near_what_its_linear_start_explains():
    random = np.random.default_rng(0)
    planar = random.normal(size=(2, 60, 2)).astype(np.float32) * 3
    plain = random_head(lengths=(20, 20, 20), d_head=2)
    attention = [recompute(*(part[None, a : a + 20] for part in planar), plain.allowed[0], 0.3)[0] for a in (0, 20, 40)]
    problem = replace(plain, queries=planar[0], keys=planar[1], scale=0.3, attention=attention)
    begin = kl_explained(problem, linear(problem, 2, 0, steps=120))
    assert begin > 0.85
    assert atlas(problem, 2, 0).parameters["goal_of_head"] == pytest.approx(begin - UNDER_START)
    assert atlas(random_head(lengths=(40,)), 2, 0).parameters["goal_of_head"] == 0.82
