"""Fidelity on closed forms: perfect, uniform, and examples worked by hand."""

from math import log

import numpy as np
import pytest

from analysis.projection.fidelity import (
    attended_nearby,
    kept,
    key_only_kl,
    kl_explained,
    measure,
    mix,
    near_places,
    reading,
)
from analysis.projection.problem import Layout
from analysis.types import Band
from tests.projection.heads import given_attention, random_head

GAUSSIAN = {"reading": {"power": 0, "sigma": 1.0}}

# Three queries at the origin, keys at squared distances 0, ln 2, ln 2: the map says (1/2, 1/4, 1/4) for each.
THREE = given_attention([[0.5, 0.25, 0.25], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
THREE_MAP = Layout(
    np.zeros((3, 2), dtype=np.float32),
    np.array([[0, 0], [log(2) ** 0.5, 0], [0, -(log(2) ** 0.5)]], dtype=np.float32),
    GAUSSIAN,
)
THREE_UNIFORM = log(3) - 1.5 * log(2) + log(3)  # KL to uniform, query by query; the third is 0


def places(*points) -> np.ndarray:
    return np.array(points, dtype=np.float32)


def map_with_its_own_attention(power, sigma, band=None, seed=0):
    """A random map, and the problem whose attention it says exactly."""
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(2, 20, 2)).astype(np.float32)
    squares = ((x[:, None] - y[None]) ** 2).sum(axis=2).astype(np.float64)
    weights = np.exp(-squares / sigma**2) if power == 0 else (1 + squares / sigma**2) ** -power
    starts, masks, matrices = [0, 8, 20], [], []
    for begin, end in ((0, 8), (8, 20)):
        mask = (band or Band()).allowed(end - begin)
        part = np.where(mask, weights[begin:end, begin:end], 0)
        matrices.append(part / part.sum(axis=1, keepdims=True))
        masks.append(mask)
    problem = given_attention(*matrices, allowed=masks)
    assert list(problem.starts) == starts
    return problem, Layout(x, y, {"reading": {"power": power, "sigma": sigma}})


@pytest.mark.parametrize("band", [None, Band(right=0), Band(left=3, right=0)], ids="full causal window".split())
@pytest.mark.parametrize(("power", "sigma"), [(0, 1.0), (1, 0.7), (8, 2.0)])
def test_a_perfect_map_explains_everything(power, sigma, band):
    problem, layout = map_with_its_own_attention(power, sigma, band)
    figures = measure(problem, layout)
    assert figures["kl_explained"] == pytest.approx(1, abs=1e-5)
    assert figures["recall3_content"] == 1
    assert figures["mass3_skill"] == pytest.approx(1)


def test_a_map_without_distances_explains_nothing():
    problem = random_head()
    flat = Layout(*np.zeros((2, problem.n_points, 2), dtype=np.float32), {"reading": {"power": 8, "sigma": 60.0}})
    assert kl_explained(problem, flat) == pytest.approx(0, abs=1e-9)
    assert attended_nearby(problem, flat)["mass3_skill"] == pytest.approx(0, abs=1e-9)


def test_three_tokens_by_hand():
    to_map = 0 + log(2) + log(32 / 27) / 3
    assert kl_explained(THREE, THREE_MAP) == pytest.approx(1 - to_map / THREE_UNIFORM, abs=1e-6)


def test_key_only_by_hand():
    # With full masks the best popularity is the mean column: (11/18, 7/36, 7/36).
    cross_entropy = -3 * (11 / 18 * log(11 / 18) + 7 / 18 * log(7 / 36))
    entropy = -1.5 * log(2) - log(3)
    assert key_only_kl(THREE) == pytest.approx(1 - (cross_entropy + entropy) / THREE_UNIFORM, abs=1e-6)


def test_key_only_explains_a_head_whose_queries_all_agree():
    row = np.array([0.1, 0.2, 0.3, 0.4])
    assert key_only_kl(given_attention(np.tile(row, (4, 1)))) == pytest.approx(1, abs=1e-6)
    popular = np.array([4.0, 1, 2, 8, 1, 3])
    mask = Band(right=0).allowed(6)
    causal = np.where(mask, popular, 0)
    causal /= causal.sum(axis=1, keepdims=True)
    assert key_only_kl(given_attention(causal, allowed=[mask])) == pytest.approx(1, abs=2e-3)


def test_key_only_explains_nothing_where_every_key_is_as_popular():
    assert key_only_kl(given_attention(np.eye(5))) == pytest.approx(0, abs=1e-6)


def test_a_wrong_map_is_worse_than_uniform():
    wrong = Layout(THREE_MAP.queries, THREE_MAP.keys[::-1].copy() * 3, GAUSSIAN)
    assert kl_explained(THREE, wrong) < 0


def test_nothing_to_explain_is_nan_not_a_number():
    uniform = given_attention(np.full((4, 4), 0.25))
    flat = Layout(*np.zeros((2, 4, 2), dtype=np.float32), GAUSSIAN)
    assert np.isnan(kl_explained(uniform, flat))
    assert np.isnan(key_only_kl(uniform))
    one = given_attention([[1.0]])
    figures = measure(one, Layout(*np.zeros((2, 1, 2), dtype=np.float32), GAUSSIAN))
    assert all(np.isnan(value) for name, value in figures.items() if name != "mix")
    assert figures["mix"] == 1  # the one neighbour of the query is the key


def test_first_causal_queries_add_nothing():
    mask = Band(right=0).allowed(2)
    one = given_attention([[1, 0], [0.9, 0.1]], allowed=[mask])
    layout = Layout(places([5, 5], [0, 0]), places([0, 0], [1, 0]), GAUSSIAN)
    p = 1 / (1 + np.exp(-1))
    to_map = 0.9 * log(0.9 / p) + 0.1 * log(0.1 / (1 - p))
    to_uniform = 0.9 * log(0.9 / 0.5) + 0.1 * log(0.1 / 0.5)
    assert kl_explained(one, layout) == pytest.approx(1 - to_map / to_uniform, abs=1e-6)


def test_three_nearest_by_hand():
    # All queries at the origin, keys at 1, 2, 3, 4, 5: the nearest three are keys 0, 1, 2.
    row = [0.1, 0.3, 0.05, 0.5, 0.05]
    problem = given_attention(np.tile(row, (5, 1)))
    layout = Layout(np.zeros((5, 2), dtype=np.float32), places([1, 0], [0, 2], [-3, 0], [4, 0], [0, 5]))
    found = attended_nearby(problem, layout)
    assert found["mass3_skill"] == pytest.approx((0.45 - 0.6) / (0.9 - 0.6), abs=1e-6)
    assert found["recall3_content"] == pytest.approx(2 / 3)  # the three most attended are 3, 1, 0


def test_special_tokens_take_no_part_in_recall():
    row = [0.9, 0.04, 0.03, 0.02, 0.01]
    problem = given_attention(np.tile(row, (5, 1)), special=[True, False, False, False, False])
    far_special = places([90, 0], [1, 0], [2, 0], [3, 0], [4, 0])
    found = attended_nearby(problem, Layout(np.zeros((5, 2), dtype=np.float32), far_special))
    assert found["recall3_content"] == 1
    assert found["mass3_skill"] < 0


def test_masked_keys_are_never_near():
    mask = Band(right=0).allowed(6)
    weights = np.where(mask, 1.0, 0)
    weights[5] = [0.4, 0.3, 0.2, 0.05, 0.03, 0.02]
    weights[4] = [0.5, 0.3, 0.1, 0.06, 0.04, 0]
    weights[:4] /= weights[:4].sum(axis=1, keepdims=True)
    layout = Layout(np.zeros((6, 2), dtype=np.float32), places([1, 0], [2, 0], [3, 0], [4, 0], [5, 0], [0.1, 0]))
    hits = attended_nearby(given_attention(weights, allowed=[mask]), layout)["recall3_content"]
    # Queries 0 to 2 have three keys or fewer; 3 is uniform over four (each has 3/4 of a place among the three most
    # attended); 4 never sees the near key 5; 5 does.
    assert hits == pytest.approx((3 / 4 + 1 + 2 / 3) / 3)


def test_kept_is_one_for_the_vectors_themselves_and_chance_for_noise():
    random = np.random.default_rng(0)
    vectors = random.normal(size=(400, 2)).astype(np.float32)
    truth = near_places(vectors, 15)
    assert kept(vectors, truth, vectors * 3 + 1) == 1
    assert kept(vectors, truth, random.normal(size=(400, 2))) == pytest.approx(15 / 399, abs=0.02)


def test_kept_by_hand():
    # On a line 0, 1, 3, 7: nearest 1, 0, 1, 3(=the point at 3). The map swaps the last two.
    vectors = places([0], [1], [3], [7])
    truth = near_places(vectors, 1)
    np.testing.assert_array_equal(truth[:, 0], [1, 0, 1, 2])
    # Map: 0, 1, 7, 3: the third's nearest is now the fourth (wrong: 4 > 2), the fourth's the second (wrong: 6 > 4).
    assert kept(vectors, truth, places([0], [1], [7], [3])) == pytest.approx(2 / 4)


def test_equal_vectors_are_one_neighbourhood():
    vectors = np.repeat(np.eye(2, dtype=np.float32) * 9, 20, axis=0)
    problem = random_head(lengths=(40,))
    truth = type(problem)(
        vectors, vectors, 1.0, problem.starts, problem.attention, problem.allowed, problem.is_special
    ).query_neighbours
    shuffled = vectors + np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    assert kept(vectors, truth, shuffled) == 1


def test_mix_tells_apart_and_together():
    random = np.random.default_rng(0)
    cloud = random.normal(size=(200, 2)).astype(np.float32)
    assert mix(Layout(cloud, cloud + 100)) == 0
    assert mix(Layout(cloud, random.normal(size=(200, 2)).astype(np.float32))) == pytest.approx(0.5, abs=0.05)


def test_near_places_leaves_out_the_point_itself_even_among_coinciding_points():
    near = near_places(np.zeros((30, 2)), 15)
    assert near.shape == (30, 15)
    assert not (near == np.arange(30)[:, None]).any()


def test_a_map_without_a_kernel_is_read_the_kindest_way():
    problem, layout = map_with_its_own_attention(8, 2.0)
    bare = Layout(layout.queries, layout.keys)
    power, sigma = reading(problem, bare)
    assert power == 8
    assert 1.4 < sigma < 2.9
    assert kl_explained(problem, bare) > 0.95
    noise = Layout(*np.random.default_rng(1).normal(size=(2, 20, 2)).astype(np.float32))
    assert kl_explained(problem, noise) > -0.01


@pytest.mark.parametrize(("attended_is", "recall"), [("nearest", 2 / 3), ("farthest", 1 / 2)])
def test_recall_shares_the_places_among_keys_of_one_weight(attended_is, recall):
    # Five keys in a row, all attention on one: the two other places among the three most attended are shared by the
    # four keys without weight, half a place each. Nearest three: 1 + 2 halves when it is among them, else 3 halves.
    order = [0, 1, 2, 3, 4] if attended_is == "nearest" else [4, 1, 2, 3, 0]
    weights = np.zeros((5, 5))
    weights[:, 0] = 1
    layout = Layout(places(*[(-1, 0)] * 5), places(*[(place, 0) for place in order]), GAUSSIAN)
    assert attended_nearby(given_attention(weights), layout)["recall3_content"] == pytest.approx(recall)
