"""Attention without its sinks, against rows done by hand."""

import numpy as np
import pytest

from analysis.projection.problem import without_sinks
from analysis.sinks import SinkRule, hide_sinks, sink_columns

RULE = SinkRule(threshold=0.3, min_queries=2)
"""Two other queries are enough: the pencil examples have four tokens."""

CAUSAL = np.tril(np.ones((4, 4), dtype=bool))
FIRST = np.array([[1, 0, 0, 0], [0.8, 0.2, 0, 0], [0.5, 0.1, 0.4, 0], [0.6, 0, 0.1, 0.3]], dtype=np.float32)
"""Key 0 gets 0.8, 0.5 and 0.6 of the others, 19/30 on average; key 1 gets 0.1 and 0, and key 2 is seen by one other."""

EVEN = np.tril(1 / np.arange(1, 5, dtype=np.float32)[:, None] * np.ones((4, 4), dtype=np.float32))
"""Key 0 gets 1/2, 1/3 and 1/4, 13/36 on average, and key 1 gets 1/3 and 1/4, 7/24: under 0.3."""


def test_four_tokens_by_hand():
    hidden = hide_sinks(FIRST, CAUSAL, RULE)
    assert hidden.columns.tolist() == [True, False, False, False]
    by_hand = [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0.2, 0.8, 0], [0, 0, 0.25, 0.75]]
    np.testing.assert_allclose(hidden.weights, by_hand, atol=1e-6)
    np.testing.assert_allclose(hidden.mass, [1, 0.8, 0.5, 0.6], atol=1e-6)
    assert hidden.share == pytest.approx(2.9 / 4)
    assert (int(hidden.n_columns), int(hidden.n_emptied), int(hidden.n_looking)) == (1, 1, 4)
    np.testing.assert_allclose(hidden.learned, 0, atol=1e-6)


def test_every_head_has_sinks_of_its_own():
    second = np.array([[1, 0, 0, 0], [0.2, 0.8, 0, 0], [0.1, 0.7, 0.2, 0], [0.1, 0.5, 0.2, 0.2]], dtype=np.float32)
    hidden = hide_sinks(np.stack([FIRST, second]), CAUSAL, RULE)
    assert hidden.columns.astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]
    np.testing.assert_allclose(hidden.weights[0], hide_sinks(FIRST, CAUSAL, RULE).weights)
    by_hand = [[1, 0, 0, 0], [1, 0, 0, 0], [1 / 3, 0, 2 / 3, 0], [0.2, 0, 0.4, 0.4]]
    np.testing.assert_allclose(hidden.weights[1], by_hand, atol=1e-6)
    np.testing.assert_allclose(hidden.share, [2.9 / 4, 2.0 / 4], atol=1e-6)
    assert hidden.n_emptied.tolist() == [1, 0]


def test_without_a_sink_nothing_changes():
    local = np.array([[1, 0, 0, 0], [0.1, 0.9, 0, 0], [0.1, 0.2, 0.7, 0], [0.1, 0, 0.4, 0.5]], dtype=np.float32)
    hidden = hide_sinks(local, CAUSAL, RULE)
    np.testing.assert_allclose(hidden.weights, local, atol=1e-6)
    assert not hidden.columns.any()
    assert hidden.share == 0


def test_what_the_models_own_sink_took_is_told_and_the_rest_is_scaled_to_1():
    hidden = hide_sinks(EVEN * np.float32(0.75), CAUSAL, SinkRule(threshold=0.25, min_queries=2))
    assert hidden.columns.astype(int).tolist() == [1, 0, 0, 0]
    np.testing.assert_allclose(hidden.weights[3], [0, 1 / 3, 1 / 3, 1 / 3], atol=1e-6)
    np.testing.assert_allclose(hidden.learned, 0.25, atol=1e-6)
    np.testing.assert_allclose(hidden.mass, 0.75 / np.arange(1, 5), atol=1e-6)
    np.testing.assert_allclose(hidden.learned_share, 0.25, atol=1e-6)


def test_a_row_of_which_nearly_nothing_is_left_is_empty_and_counted():
    nearly = FIRST.copy()
    nearly[3] = [1 - 4e-7, 0, 0, 4e-7]
    before = nearly.copy()
    hidden = hide_sinks(nearly, CAUSAL, RULE)
    assert hidden.weights[3].tolist() == [0, 0, 0, 0]
    assert int(hidden.n_emptied) == 2
    np.testing.assert_array_equal(nearly, before)


def test_queries_that_look_at_nothing_count_for_nothing():
    allowed = CAUSAL.copy()
    allowed[3] = False
    weights = np.where(allowed, FIRST, 0).astype(np.float32)
    hidden = hide_sinks(weights, allowed, RULE)
    assert hidden.share == pytest.approx((1 + 0.8 + 0.5) / 3)
    assert (int(hidden.n_looking), int(hidden.n_emptied)) == (3, 1)


@pytest.mark.parametrize("seed", range(3))
def test_sinks_are_found_wherever_they_are_and_maps_explain_the_same_weights(seed):
    """The target of maps without sinks is another piece of code; without special tokens it gives the same rows."""
    rng = np.random.default_rng(seed)
    weights = rng.gamma(0.2, 1, (3, 20, 20))
    for head, place in enumerate((7, 0, 19)):
        weights[head, :, place] += 2
    weights = (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)
    allowed = np.ones((20, 20), dtype=bool)
    hidden = hide_sinks(weights, allowed)
    assert hidden.columns[[0, 1, 2], [7, 0, 19]].all()
    np.testing.assert_array_equal(hidden.columns, sink_columns(weights, allowed))
    target, _ = without_sinks(list(weights), [allowed] * 3, np.zeros(60, dtype=bool), np.array([0, 20, 40, 60]))
    np.testing.assert_allclose(hidden.weights, target, atol=1e-6)
    np.testing.assert_allclose(hidden.weights.sum(axis=-1), 1, atol=1e-5)
